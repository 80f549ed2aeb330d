"""The embedded model: the problems it was taught, how it was trained, and its files in ``model/``."""
