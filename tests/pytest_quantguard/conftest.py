"""What tests of the plugin share."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def _models_to_share() -> Iterator[None]:
    """See at the end that no test changed what others were given."""
    from tests.support import shared_models

    yield
    shared_models.require_unchanged()


@pytest.fixture
def shared_models(_models_to_share: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantize with each recipe once, and answer each question once, for all tests of what a gate makes of it."""
    from tests.support import shared_models as models

    models.share(monkeypatch)
