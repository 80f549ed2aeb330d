"""Loops that Numba compiles, and instructions for them; types are what it infers."""
