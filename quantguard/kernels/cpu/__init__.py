"""True INT8 on a CPU: integer dot products from oneDNN, the elementwise ends compiled by Numba."""
