"""The pytest plugin: runs quantized models on benchmarks and fails when they regress from stored baselines."""
