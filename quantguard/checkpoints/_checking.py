"""Holding a checkpoint against what its format asks of it."""

from collections.abc import Iterable, Iterator, Sequence

import torch

from quantguard.checkpoints._stored import FINITE, FLOATS, Spec, StoredCheckpoint
from quantguard.errors import ModelError
from quantguard.modeling import Decoder, require_described
from quantguard.modeling.block_state import Tensors
from quantguard.modeling.descriptions import COMPUTED
from quantguard.modeling.finite import is_finite, overflow_of
from quantguard.modeling.streaming import skeleton
from quantguard.records import Defect

_NUM_TOLD = 5


def check(stored: StoredCheckpoint) -> list[Defect]:
    """Return every rule that a checkpoint breaks, from the headers of its files and the values that are floats.

    The integers of the weights are not read. Raises ModelError where there is nothing to check,
    such as a configuration that cannot be read.
    """
    decoder = empty_decoder(stored, stored.dtype)
    specs = all_specs(stored, decoder)
    found = header_defects(stored, specs)
    broken = {defect.tensor for defect in found}
    readable = stored.tensors.entries.keys() - broken
    for name, spec in specs.items():
        if name in readable and spec.values is not None and not spec.bulk:
            tensors = stored.tensors.read_named([name])
            found.extend(value_defects(stored, {name: spec}, tensors))
            found.extend(overflow_defects(stored, decoder, specs, tensors))
    return found


def empty_decoder(stored: StoredCheckpoint, dtype: torch.dtype) -> Decoder:
    """Return the model of a checkpoint's configuration, without memory for its weights."""
    return require_described(skeleton(stored.config, dtype))


def all_specs(stored: StoredCheckpoint, decoder: Decoder) -> dict[str, Spec]:
    """Return what every tensor has to be."""
    specs = dict(stored.end_specs(decoder))
    for block in decoder.blocks:
        specs |= stored.block_specs(block)
    return specs


def header_defects(stored: StoredCheckpoint, specs: dict[str, Spec]) -> list[Defect]:
    """Return what is wrong with files, names, types and shapes."""
    entries = stored.tensors.entries
    found = [*stored.tensors.defects, *stored.defects()]
    told = {defect.tensor for defect in found}
    unread = {defect.file for defect in found if defect.tensor is None}
    files = stored.tensors.files
    for name, spec in specs.items():
        if name in entries:
            found.extend(_entry_defects(stored, name, spec))
        elif not spec.optional and name not in told and not files <= unread:
            where = stored.tensors.index if stored.tensors.has_index else min(files)
            found.append(Defect(file=where, tensor=name, rule="the tensor is missing"))
    for name, entry in entries.items():
        if name not in specs and name not in told and not name.endswith(COMPUTED):
            found.append(Defect(file=entry.file, tensor=name, rule="the model has no place for this tensor"))
    return found


def _entry_defects(stored: StoredCheckpoint, name: str, spec: Spec) -> Iterator[Defect]:
    entry = stored.tensors.entries[name]
    if entry.dtype not in spec.dtypes:
        yield Defect(file=entry.file, tensor=name, rule=f"its type is {entry.dtype}; possible: {_list(spec.dtypes)}")
    if entry.shape != spec.shape:
        yield Defect(
            file=entry.file, tensor=name, rule=f"its shape is {_list(entry.shape)}; expected: {_list(spec.shape)}"
        )


def value_defects(stored: StoredCheckpoint, specs: dict[str, Spec], tensors: Tensors) -> Iterator[Defect]:
    """Find values that break the rule of their tensor, the first of each."""
    for name, tensor in tensors.items():
        rule = specs[name].values
        if rule is None:
            continue
        if rule is FINITE and is_finite(tensor):
            continue
        fits = rule.hold(tensor)
        if not bool(fits.all()):
            first = torch.nonzero(~fits)[0].tolist()
            file = stored.tensors.entries[name].file
            told = f"{rule.rule}; {tensor[tuple(first)].item()} is at {first}"
            yield Defect(file=file, tensor=name, rule=told)


def overflow_defects(
    stored: StoredCheckpoint, decoder: Decoder, specs: dict[str, Spec], tensors: Tensors
) -> Iterator[Defect]:
    """Find floats of the model itself that are infinite in the type that the model is loaded in."""
    places = decoder.model.state_dict()
    for name, tensor in tensors.items():
        weight = specs.get(name.removesuffix(".bias") + ".weight") if name.endswith(".bias") else specs[name]
        # The bias of a quantized linear is added in float32.
        if name in places and weight is not None and weight.dtypes == FLOATS:
            told = overflow_of(tensor, stored.dtype)
            if told is not None:
                yield Defect(
                    file=stored.tensors.entries[name].file, tensor=name, rule=f"values fit the type; it {told}"
                )


def refuse(stored: StoredCheckpoint, defects: Iterable[Defect]) -> None:
    """Raise ModelError for defects, if there are any, naming the first few."""
    found = list(defects)
    if not found:
        return
    more = f"\n  and {len(found) - _NUM_TOLD} more" if len(found) > _NUM_TOLD else ""
    lines = "".join(f"\n  {defect}" for defect in found[:_NUM_TOLD])
    raise ModelError(f"{stored.path} is damaged or contradicts itself:{lines}{more}")


def _list(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) or "none"
