"""Scorers: ``score(sample, generation)`` returns a Score; ``VERSION`` changes whenever the judgement does."""
