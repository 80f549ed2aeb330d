"""Quantized models on disk: one module a format.

A format has ``DESCRIPTION``, ``recognises(path)``, which looks at configuration files alone, and
``open_checkpoint(path)``, which returns a :class:`quantguard.checkpoints._stored.StoredCheckpoint` or raises
ModelError. One that can be written has ``export``, and ``refusals(folder)``, which both ``export`` and ``quantguard
check`` ask what there is no place for.
"""

import pathlib
import types

from quantguard import registry
from quantguard.errors import ModelError
from quantguard.modeling.configuration import quantization_settings


def recognise(path: pathlib.Path) -> types.ModuleType | None:
    """Return the format of a folder's checkpoint; None for one that is not quantized, or is no folder.

    Raises ModelError where the folder claims to be of two formats, or is quantized in none of them.
    """
    if not path.is_dir():
        return None
    found = [name for name in registry.checkpoints if registry.checkpoints[name].recognises(path)]
    if len(found) > 1:
        raise ModelError(
            f"{path} says that it is of the formats {' and '.join(found)}; it can be one. Remove what is left of the"
            " other: a quantization_config in config.json, or a quant_model_description.json"
        )
    settings = quantization_settings(path)
    if not found and settings is not None:
        raise ModelError(
            f"{path} is quantized by the method {settings.get('quant_method')!r}, which quantguard does not read;"
            f" formats that it reads: {', '.join(registry.checkpoints)}. Give the full-precision model, or one of these"
        )
    return registry.checkpoints[found[0]] if found else None
