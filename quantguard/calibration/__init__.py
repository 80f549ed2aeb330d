"""Calibration sets: one file each, with ``token_sequences(loaded, args)`` returning lists of token ids."""
