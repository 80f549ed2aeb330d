"""Settings for the whole test run."""

import os
from collections.abc import Iterator

import pytest

# One process a core is enough: more threads in each would only get into each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["pytester"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let gates take as long as their models do: the limit in pyproject.toml is one for tests."""
    if config.getoption("--quantguard") and config.getoption("--timeout") is None:
        for item in items:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session", autouse=True)
def _keep_answers_apart(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the tests have the models that were fetched, and kept answers of their own."""
    if pytestconfig.getoption("--quantguard"):
        yield
        return
    from quantguard import catalog  # noqa: PLC0415 - the gates themselves do without

    folder = tmp_path_factory.mktemp("cache")
    models = catalog.cache_root() / "models"
    if models.is_dir():
        (folder / "models").symlink_to(models, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTGUARD_CACHE", str(folder))
        yield


@pytest.fixture(scope="session")
def _import_what_a_gate_imports() -> None:
    """Run a model once before pytester does: it forgets modules first imported in its runs, torch among them."""
    import quantguard  # noqa: PLC0415 - the gates themselves do without
    import quantguard.kernels.ascend.emulation  # noqa: PLC0415 - what it registers with torch lives as long as it

    quantized = quantguard.quantize("tiny-reasoner", recipe="smoothquant-w8a8")
    quantguard.evaluate(quantized, subset=1, max_new_tokens=2)


@pytest.fixture
def pytester(
    _import_what_a_gate_imports: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """Let only those tests wait for torch and a model that run pytest inside."""
    # Each process that such a run starts would import hypothesis for its plugin, which takes longer than pytest itself.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
    return pytester
