"""Quantizing a model from disk to disk, a decoder layer in memory at a time; what was finished is not done again."""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import safetensors.torch
import torch

from quantguard import registry
from quantguard.calibration._items import calibration_items
from quantguard.checkpoints import _native as native
from quantguard.checkpoints import recognise
from quantguard.checkpoints._native_writing import FolderWriter, write_json, write_tensors
from quantguard.errors import MeasurementError, ModelError, RecipeError, RecordError, UsageError
from quantguard.modeling import Activations, Block, Decoder, LoadedModel, find_decoder, load, quantizable_linears
from quantguard.modeling.block_state import block_state
from quantguard.modeling.loading import default_calibration, find_folder, load_streamed
from quantguard.modeling.streaming import skeleton
from quantguard.pipeline import provenance
from quantguard.pipeline.block_step import BlockStep
from quantguard.pipeline.float_law import FloatLaw
from quantguard.pipeline.progress import Progress, silent
from quantguard.pipeline.quantizing import (
    Journal,
    calibration_text,
    check_weight_types,
    quantize_decoder,
    short_groups,
)
from quantguard.recipes import load_recipe
from quantguard.records import LayerReport, Recipe
from quantguard.records.codec import digest
from quantguard.records.files import parse_json, read_text
from quantguard.transforms._composition import create_transforms

# Before the names of what the float law keeps beside the hidden states.
_LAW = "law."


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """A finished folder: its path, how every layer came out, and how many layers an earlier run had finished."""

    path: pathlib.Path
    reports: tuple[LayerReport, ...]
    num_resumed: int
    notes: tuple[str, ...]


def quantize_to_folder(
    model: str | os.PathLike[str],
    recipe: Recipe | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    dtype: str | None = None,
    device: str = "cpu",
    backend: str = "auto",
    progress: Progress = silent,
) -> SavedModel:
    """Quantize a model into a folder, layer by layer; go on where an earlier run with the same settings was ended.

    The embeddings, two decoder layers and the calibration text's hidden states are in memory, not the model, unless
    the recipe needs it whole (:func:`needs_whole_model` says why). Raises UsageError where the folder holds
    something else, and what :func:`quantguard.quantize` raises.
    """
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(os.fspath(recipe))
    check_weight_types(chosen)
    folder = pathlib.Path(output)
    if native.is_native(folder) and not native.is_unfinished(folder):
        raise UsageError(f"{folder} is a quantized model already; give another folder, or remove it")
    source = find_folder(model)
    if recognise(source) is not None:
        raise ModelError(f"{source} is quantized already; a full-precision model is wanted here")
    if source.resolve() == folder.resolve():
        raise UsageError(f"{folder} is the model itself; give another folder for the quantized one")
    streams = needs_whole_model(model, chosen) is None
    loaded = load_streamed(model, dtype=dtype, device=device) if streams else load(model, dtype=dtype, device=device)
    return _Run(loaded, chosen, source, folder, backend=backend).finish(os.fspath(model), progress)


def needs_whole_model(model: str | os.PathLike[str], recipe: Recipe) -> str | None:
    """Say why a recipe needs the whole model in memory, or return None where it streams."""
    calibration = recipe.calibration or default_calibration(model)
    for name, transform in create_transforms(recipe).items():
        if transform.learns:
            return f"{name} learns on the whole model"
    if registry.calibration[calibration.dataset].RUNS_MODEL:
        return f"calibration on {calibration.dataset} runs the model"
    return None


class _Run:
    """One model on its way into a folder."""

    def __init__(
        self, loaded: LoadedModel, recipe: Recipe, source: pathlib.Path, folder: pathlib.Path, *, backend: str
    ) -> None:
        self._loaded, self._recipe, self._source, self._folder = loaded, recipe, source, folder
        self._backend = backend
        self._decoder: Decoder = loaded.decoder or find_decoder(loaded.model)
        self._notes = short_groups(recipe, self._widths())

    def _widths(self) -> dict[str, int]:
        empty = find_decoder(self._loaded.model)
        return {n: linear.in_features for n, linear in quantizable_linears(empty.blocks, self._recipe.ignore).items()}

    def finish(self, name: str, progress: Progress) -> SavedModel:
        loaded, decoder = self._loaded, self._decoder
        settings = self._recipe.calibration or loaded.calibration
        sequences, calibration_sha256 = calibration_text(loaded, self._recipe, settings)
        manifest = native.Manifest(
            source=str(self._source.resolve()) if pathlib.Path(name).exists() else name,
            name=loaded.name,
            weights_sha256=loaded.weights_sha256,
            stored_bytes=loaded.stored_bytes,
            dtype=loaded.dtype,
            recipe=self._recipe,
            calibration=loaded.calibration,
            calibration_sha256=calibration_sha256,
            calibration_items=() if sequences is None else calibration_items(settings),
            backend=self._backend,
            notes=self._notes,
            versions=provenance.versions(),
            blocks={},
            files={},
        )
        empty = find_decoder(skeleton(loaded.model.config, decoder.dtype)).blocks
        journal = _FolderJournal(self._folder, empty, manifest)
        try:
            reports = quantize_decoder(
                decoder,
                self._recipe,
                sequences,
                settings,
                backend=self._backend,
                device_type=loaded.device_type,
                progress=progress,
                journal=journal,
            )
        except (MeasurementError, RecipeError):
            # Going on would end there again.
            journal.discard()
            raise
        journal.writer.finish(self._source, decoder, manifest)
        journal.close()
        return SavedModel(path=self._folder, reports=reports, num_resumed=journal.num_resumed, notes=self._notes)


class _FolderJournal(Journal):
    """Writes every block to its file, and what the next one is shown beside it, so that a killed run can go on.

    A block counts as finished when the hidden states behind it are written, which is after its own file.
    """

    def __init__(self, folder: pathlib.Path, empty: Sequence[Block], manifest: native.Manifest) -> None:
        self._folder, self._empty = folder, empty
        self.writer = FolderWriter(folder, len(empty))
        self._has_text = manifest.calibration_sha256 is not None
        # Sums come in another order on other numbers of threads, and the files would not be those of one run.
        self._claim(digest([manifest, torch.get_num_threads()]))
        self._reports: list[LayerReport] = self._finished()
        self.num_resumed = len(self._reports)

    def finished_reports(self) -> Sequence[LayerReport]:
        return tuple(self._reports)

    def _stored(self) -> dict[str, torch.Tensor]:
        file = self._hidden_file(len(self._reports))
        try:
            stored = safetensors.torch.load_file(file)
        except (OSError, safetensors.SafetensorError) as error:
            raise ModelError(f"{file} cannot be read: {error}. Begin anew: rm -r '{self._folder}'") from error
        return stored

    def hidden_states(self) -> Sequence[torch.Tensor]:
        stored = self._stored()
        return [stored[name] for name in sorted(filter(str.isdigit, stored), key=int)]

    def law_states(self) -> Mapping[str, torch.Tensor]:
        found = {n.removeprefix(_LAW): tensor for n, tensor in self._stored().items() if n.startswith(_LAW)}
        if not found:
            raise ModelError(f"{self._folder} was begun by an earlier version. Begin anew: rm -r '{self._folder}'")
        return found

    def block_finished(self, step: BlockStep, activations: Activations | None, law: FloatLaw | None) -> None:
        state, tensors = block_state(step.block, step.layers, step.report)
        index = len(self._reports)
        self.writer.write_block(index, self._empty[index], state, tensors)
        self._reports.append(step.report)
        count = len(self._reports)
        hidden = {} if activations is None else {str(i): b.hidden for i, b in enumerate(activations.batches)}
        hidden |= {} if law is None else {_LAW + name: tensor for name, tensor in law.hidden.items()}
        write_tensors(self._hidden_file(count), {n: t.cpu().contiguous() for n, t in hidden.items()})
        self._hidden_file(count - 1).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what was written, and the folder unless there is more in it: model and recipe do not go together."""
        self.writer.remove_blocks()
        self.close()
        if not any(self._folder.iterdir()):
            self._folder.rmdir()

    def close(self) -> None:
        """Remove what only an unfinished folder needs."""
        shutil.rmtree(self.writer.scratch)

    def _claim(self, settings: str) -> None:
        """Take the folder for a run with these settings; raise UsageError where it holds anything else."""
        note = self.writer.scratch / "settings.json"
        if note.is_file():
            if self._read_note(note) != {"settings": settings}:
                raise UsageError(
                    f"{self._folder} holds an unfinished run of another model, recipe, calibration text, version or"
                    " number of threads; give the same again to go on with it, or remove the folder"
                )
            self.writer.remove_half_written()
            return
        if self._folder.exists() and any(self._folder.iterdir()):
            raise UsageError(f"{self._folder} is not empty; give an empty or a new folder")
        self.writer.scratch.mkdir(parents=True)
        write_json(note, {"settings": settings})

    def _finished(self) -> list[LayerReport]:
        notes = self.writer.written_blocks()
        counts = [count for count in range(len(notes) + 1) if self._hidden_file(count).is_file()]
        return [note.state.report for note in notes[: max(counts, default=0)]]

    def _read_note(self, note: pathlib.Path) -> Any:
        try:
            return parse_json(read_text(note))
        except RecordError as error:
            raise UsageError(f"{note} is damaged: {error}. Begin anew: rm -r '{self._folder}'") from error

    def _hidden_file(self, count: int) -> pathlib.Path:
        return self.writer.scratch / f"behind-{count}.safetensors"
