"""``quantguard.json``: what is known of a quantized model beside its tensors, and the hash of every file."""

import dataclasses
import pathlib

from quantguard.errors import ModelError
from quantguard.modeling.block_state import BlockState
from quantguard.records import CalibrationArgs, Recipe
from quantguard.records.files import file_sha256
from quantguard.records.sealed_file import SealedFile

MANIFEST = "quantguard.json"
UNFINISHED = ".unfinished"
# What files are called where compressed-tensors says all, and where it does not.
STANDARD, OWN = "model", "quantguard"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is known of a quantized model beside its tensors; files are by name with their sha256.

    ``source`` is what the full-precision model was called when it was quantized, ``weights_sha256`` and
    ``stored_bytes`` are of its weight files, ``backend`` is what its blocks ran on. ``beyond`` says what of it
    compressed-tensors cannot express; empty where the folder is of that format.
    """

    source: str
    name: str
    weights_sha256: str
    stored_bytes: int
    dtype: str
    recipe: Recipe
    calibration: CalibrationArgs
    calibration_sha256: str | None
    calibration_items: tuple[str, ...] = ()
    backend: str
    notes: tuple[str, ...]
    versions: dict[str, str]
    beyond: tuple[str, ...] = ()
    blocks: dict[str, BlockState]
    files: dict[str, str]

    @property
    def stem(self) -> str:
        """What the names of the files of tensors begin with."""
        return OWN if self.beyond else STANDARD

    @property
    def index(self) -> str:
        """The name of the index over all tensors."""
        return f"{self.stem}.safetensors.index.json"


MANIFEST_FILE = SealedFile(
    record=Manifest, error=ModelError, damaged="{path} is damaged: {problem}. Quantize the model again."
)


def is_native(path: pathlib.Path) -> bool:
    """Tell whether a folder is a finished quantized model of ours."""
    return (path / MANIFEST).is_file()


def is_unfinished(path: pathlib.Path) -> bool:
    """Tell whether a folder is one that a run was ended in."""
    return (path / UNFINISHED).is_dir()


def read_manifest(path: pathlib.Path, *, hashes: bool) -> Manifest:
    """Read what a folder says of itself; with ``hashes`` every file is held against it, else that it is there.

    Raises ModelError where the manifest is damaged, or a file is missing or is not what was written.
    """
    manifest = MANIFEST_FILE.read(path / MANIFEST)
    for name, expected in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise ModelError(f"{file} is missing, and {MANIFEST} names it. Quantize the model again.")
        if hashes and file_sha256(file) != expected:
            raise ModelError(f"{file} is not what was written: its hash differs. Quantize the model again.")
    return manifest
