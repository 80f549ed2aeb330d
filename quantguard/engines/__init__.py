"""Ways to get answers from a model: one file each, whose ``generate`` hands every generation to ``finished``."""
