"""Calibration sets: one file each, with ``token_sequences(loaded, args)`` returning lists of token ids.

``RUNS_MODEL`` says whether the set needs the model itself, and not its tokenizer alone. A set that draws from a
benchmark has ``items(args)``, the names ``benchmark/id`` of what it draws: no gate may run one of them.
"""
