"""Transforms rewrite a model so that it quantizes better, and keep the function that it computes.

A member has ``apply(blocks, stats, options)``, which changes the float weights of the blocks in place and returns the
input statistics as they are afterwards. The law for all: in float64 the logits move by less than 1e-10.
"""
