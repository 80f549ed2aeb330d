"""Real pretrained weights behave as measured before; runs where ``quantguard fetch smollm2-135m`` has been called."""

import pytest

import quantguard
from quantguard import benchmarks, calibration
from quantguard.catalog import cache_folder
from quantguard.modeling import LoadedModel
from quantguard.records import RunRecord

NAME = "smollm2-135m"
MEASURED_TEXT = "33e2b86d1080"

pytestmark = pytest.mark.skipif(
    not cache_folder(NAME).exists(), reason=f"needs the model; type: quantguard fetch {NAME}"
)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return quantguard.load(NAME)


@pytest.fixture(scope="module")
def w8a8(model: LoadedModel) -> RunRecord:
    return quantguard.evaluate(quantguard.quantize(model, recipe="w8a8"), benchmark="text-fidelity")


def test_w8a8_costs_what_was_measured(w8a8: RunRecord) -> None:
    assert w8a8.metrics["perplexity"] / w8a8.metrics["reference_perplexity"] == pytest.approx(1.03, abs=0.015)
    assert w8a8.metrics["kl"] == pytest.approx(0.033, rel=0.2)
    assert w8a8.metrics["top1_agreement"] == pytest.approx(0.914, abs=0.02)


def test_perplexity_is_what_was_measured(w8a8: RunRecord) -> None:
    if not benchmarks.members["text-fidelity"].load().sha256.startswith(MEASURED_TEXT):
        pytest.skip("this Python's documentation is another text than that of 3.11.7, which was measured")
    assert w8a8.metrics["reference_perplexity"] == pytest.approx(12.13, rel=0.01)
    assert w8a8.metrics["perplexity"] == pytest.approx(12.40, rel=0.01)


def test_full_precision_agrees_with_itself(model: LoadedModel) -> None:
    record = quantguard.evaluate(model, benchmark="text-fidelity")
    assert record.metrics["kl"] == pytest.approx(0, abs=1e-6)
    assert record.metrics["top1_agreement"] == 1


def test_calibration_text_is_disjoint_from_the_evaluated_text(model: LoadedModel) -> None:
    evaluated = benchmarks.members["text-fidelity"].load().samples[0].input
    sequences = calibration.members["python-docs"].token_sequences(model, model.calibration)
    assert len(sequences) == model.calibration.num_samples
    for sequence in sequences[:: len(sequences) // 8]:
        assert model.tokenizer.decode(sequence)[50:200] not in evaluated
