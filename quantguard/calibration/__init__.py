"""Calibration sets: one file each, with ``token_sequences(tokenizer, args)`` returning lists of token ids."""
