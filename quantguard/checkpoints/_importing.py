"""Loading a checkpoint that another tool quantized onto kernels of ours."""

import json
import pathlib
from collections.abc import Iterable

import torch

from quantguard import catalog
from quantguard.checkpoints._checking import all_specs, empty_decoder, header_defects, refuse, value_defects
from quantguard.checkpoints._stored import Spec, StoredCheckpoint
from quantguard.devices import device_type
from quantguard.kernels import torch_device
from quantguard.modeling import Block, Decoder, LoadedModel
from quantguard.modeling.block_state import Tensors, restore_block
from quantguard.modeling.configuration import read_generation_config
from quantguard.modeling.finite import named_tensors, require_finite_as_read
from quantguard.modeling.loading import default_calibration, emulated
from quantguard.modeling.streaming import place_ends
from quantguard.modeling.tokenizer_files import load_tokenizer
from quantguard.records import Defect
from quantguard.records.codec import digest
from quantguard.records.files import file_sha256


def read(stored: StoredCheckpoint, *, dtype: torch.dtype, device: str, backend: str) -> LoadedModel:
    """Load a checkpoint onto a device, every rule of its format held against every tensor on the way.

    What is not quantized is brought into ``dtype``, which the model runs in. The hash of its weights is that of all
    files in the folder: what is measured belongs to these bytes. Raises ModelError naming file, tensor and rule.
    """
    # Kernels look for their operations as soon as layers are put in place, so emulated ones have to be there by then.
    placed = torch_device(device)
    decoder = empty_decoder(stored, dtype)
    specs = all_specs(stored, decoder)
    refuse(stored, header_defects(stored, specs))
    _fill_ends(stored, decoder, specs)
    for block in decoder.blocks:
        _fill_block(stored, block, specs, backend=backend, device_type=device_type(device))
    hashes = {file.name: file_sha256(file) for file in sorted(stored.path.iterdir()) if file.is_file()}
    whole = digest(hashes)
    return LoadedModel(
        name=stored.path.resolve().name,
        model=decoder.model.to(placed),
        emulates=emulated(device),
        tokenizer=load_tokenizer(stored.path, num_tokens=decoder.embedding.num_embeddings),
        weights_sha256=whole,
        stored_bytes=sum((stored.path / file).stat().st_size for file in stored.tensors.files),
        calibration=default_calibration(stored.path),
        recipe=stored.recipe,
        notes=(*stored.notes, *_in_short(stored.warnings())),
        source=_source(stored.path),
        checkpoint=stored.path,
        files_sha256=whole,
    )


def _in_short(warnings: Iterable[Defect]) -> tuple[str, ...]:
    """Return a note of the first warning, and how many there are."""
    found = list(warnings)
    return (f"{found[0]}{f', and {len(found) - 1} more like it' if found[1:] else ''}",) if found else ()


def _fill_ends(stored: StoredCheckpoint, decoder: Decoder, specs: dict[str, Spec]) -> None:
    names = [name for name in stored.end_specs(decoder) if name in stored.tensors.entries]
    tensors = stored.tensors.read_named(names)
    refuse(stored, value_defects(stored, specs, tensors))
    place_ends(decoder, {name: tensor.to(decoder.dtype) for name, tensor in tensors.items()})
    for prefix, module in decoder.ends.items():
        require_finite_as_read(named_tensors(module, prefix), stored.tensors)
    decoder.model.generation_config = read_generation_config(stored.path, stored.config)


def _fill_block(
    stored: StoredCheckpoint, block: Block, specs: dict[str, Spec], *, backend: str, device_type: str
) -> None:
    names = [name for name in stored.block_specs(block) if name in stored.tensors.entries]
    tensors = stored.tensors.read_named(names)
    refuse(stored, value_defects(stored, specs, tensors))
    state, decoded = stored.decode(block, tensors)
    kept = float_tensors(block, decoded, quantized=state.linears)
    require_finite_as_read(kept.items(), stored.tensors)
    restore_block(block, state, kept, config=stored.config, backend=backend, device_type=device_type)


def float_tensors(block: Block, tensors: Tensors, *, quantized: Iterable[str] = ()) -> Tensors:
    """Bring what a float block has a place for into the type that this place has; the rest stays as it is.

    So does the bias of a quantized linear, which is added in float32.
    """
    biases = {f"{name}.bias" for name in quantized}
    names = {f"{block.name}.{name}": place.dtype for name, place in block.layer.state_dict().items()}
    places = {name: dtype for name, dtype in names.items() if name not in biases}
    return {name: tensor.to(places.get(name, tensor.dtype)) for name, tensor in tensors.items()}


def _source(path: pathlib.Path) -> str | None:
    """Return what config.json says that the model was made from, where that is on this machine."""
    named = str(json.loads((path / "config.json").read_text()).get("_name_or_path") or "")
    here = named and (pathlib.Path(named).is_dir() or catalog.find(named) is not None)
    return named if here and pathlib.Path(named).resolve() != path.resolve() else None
