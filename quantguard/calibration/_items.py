"""A model is not judged on what it was calibrated on."""

from collections.abc import Sequence

from quantguard import registry
from quantguard.benchmarks import SUBSET_SEED, Benchmark, choose_subset
from quantguard.errors import MeasurementError
from quantguard.modeling import LoadedModel
from quantguard.records import CalibrationArgs, Sample

_SHOWN = 5


def calibration_items(args: CalibrationArgs) -> tuple[str, ...]:
    """Return the items of a benchmark, ``benchmark/id``, that a calibration set is made of, if of any."""
    dataset = registry.calibration[args.dataset]
    return tuple(dataset.items(args)) if hasattr(dataset, "items") else ()


def require_unseen(loaded: LoadedModel, data: Benchmark, samples: Sequence[Sample]) -> None:
    """Raise MeasurementError where a model was calibrated on one of the samples, or does not say on which."""
    _require_told(loaded)
    seen = set(loaded.calibration_items)
    shared = [sample.id for sample in samples if f"{data.name}/{sample.id}" in seen]
    if shared:
        ids = ", ".join(shared[:_SHOWN]) + (", …" if len(shared) > _SHOWN else "")
        raise MeasurementError(
            f"{loaded.name} was calibrated on {len(shared)} of the {len(samples)} items of {data.name} that it is to"
            f" be judged on: {ids}. Calibrate on another source (source = in the recipe's [calibration]) or on fewer"
            f" items (num_samples), or judge it on others: {_others(data, seen)}"
        )


def _others(data: Benchmark, seen: set[str]) -> str:
    """Say what gates may take."""
    order = choose_subset(data, len(data.samples), seed=SUBSET_SEED)
    first = next(index for index, sample in enumerate(order) if f"{data.name}/{sample.id}" in seen)
    return (
        f"gates of up to subset={first} take none of these" if first else "every subset of a gate takes some of these"
    )


def _require_told(loaded: LoadedModel) -> None:
    """Raise MeasurementError for a folder of before items were recorded, where its text is of a benchmark."""
    if loaded.recipe is None or loaded.calibration_sha256 is None or loaded.calibration_items:
        return
    args = loaded.recipe.calibration or loaded.calibration
    if hasattr(registry.calibration[args.dataset], "items"):
        raise MeasurementError(
            f"{loaded.name} was calibrated on items of {args.source}, and does not say which: it was quantized by an"
            " older quantguard. Quantize it again"
        )
