"""Saying what was decided, for people and for machines."""
