"""Roundings turn one float weight into integers.

A member has ``NEEDS_GRAM`` and ``quantize_weight(weight, args, *, stats, options)``, which returns a QuantTensor. The
law for all: on correlated inputs the layer's output error is no worse than that of ``nearest``.
"""
