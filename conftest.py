"""Settings for the whole test run."""

import os

import pytest

# One process a core is enough: more threads in each would only get into each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["pytester"]


@pytest.fixture(scope="session", autouse=True)
def _import_what_a_gate_imports(pytestconfig: pytest.Config) -> None:
    """Run a model once before the tests: pytester forgets modules first imported in its runs, torch among them."""
    if pytestconfig.getoption("--quantguard"):
        return
    import hypothesis  # noqa: F401, PLC0415 - its plugin would import it anew in each of pytester's runs

    import quantguard  # noqa: PLC0415 - the gates themselves do without
    import quantguard.kernels.ascend.emulation  # noqa: PLC0415 - what it registers with torch lives as long as it

    quantized = quantguard.quantize("tiny-reasoner", recipe="smoothquant-w8a8")
    quantguard.evaluate(quantized, subset=1, max_new_tokens=2)
