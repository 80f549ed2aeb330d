"""Scorers: ``score(sample, generation)`` returns a Score; ``VERSION`` changes whenever the judgement does.

``KNOWN_ANSWERS``, where a scorer has some, are scored before a model's: with one of them wrong nothing is judged.
"""
