"""compressed-tensors: what llm-compressor writes and vLLM, SGLang and transformers load."""

import pathlib

from quantguard.checkpoints.compressed_tensors import config as ct_config
from quantguard.checkpoints.compressed_tensors.read import CompressedTensors
from quantguard.checkpoints.native.manifest import is_native
from quantguard.modeling.configuration import quantization_settings, read_config
from quantguard.modeling.stored_parameters import find_index
from quantguard.modeling.tensor_files import TensorFiles

DESCRIPTION = "integers of llm-compressor, vLLM and transformers"


def recognises(path: pathlib.Path) -> bool:
    """Tell whether a folder's configuration names this format."""
    settings = quantization_settings(path) or {}
    return settings.get("quant_method") == ct_config.METHOD and not is_native(path)


def open_checkpoint(path: pathlib.Path) -> CompressedTensors:
    """Read the configuration of a checkpoint; raise ModelError where it is damaged or says what is not built."""
    scheme = ct_config.parse(quantization_settings(path) or {}, str(path / "config.json"))
    config = read_config(path)
    del config.quantization_config
    return CompressedTensors(path=path, config=config, scheme=scheme, tensors=TensorFiles(path, index=find_index(path)))
