"""Quantized models on disk: one module a format."""
