"""Settings for the whole test run."""

import os

# The tests run side by side, one process a core: more threads in each would only get into each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["pytester"]
