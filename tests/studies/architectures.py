"""Which architectures of transformers are accepted, why the others are not, and whether the accepted ones are right.

python tests/studies/architectures.py                          # the table of architectures.md, about five minutes
python tests/studies/architectures.py --only llama gemma       # a sample

Every causal language model that transformers has a configuration for is looked at as it is by default, without
weights. One that is refused for its kinds of layers is looked at again with full attention in all of them. One that is
accepted is built small, with random weights, and has to be right in memory, streamed, transformed and generated.
"""

import argparse
import collections
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from quantguard.errors import ModelError
from quantguard.modeling import require_described
from quantguard.modeling.streaming import skeleton
from tests.support import small_models

FULL = "full_attention"
# What transformers raises for configurations that it cannot build by default.
FAILURES = (
    TypeError,
    ValueError,
    AttributeError,
    KeyError,
    ImportError,
    AssertionError,
    RuntimeError,
    StrictDataclassError,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="model types (default: all)")
    options = parser.parse_args()
    settings: Any = transformers.utils.logging
    settings.set_verbosity_error()
    settings.disable_progress_bar()
    torch.set_num_threads(1)
    counts: collections.Counter[str] = collections.Counter()
    print("| architecture | result | reason |")
    print("|---|---|---|")
    for kind in options.only or MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        for name, result, reason in rows(kind):
            counts[result] += 1
            print(f"| {name} | {result} | {reason} |", flush=True)
    print(f"\n{', '.join(f'{count} {result}' for result, count in sorted(counts.items()))}")


def rows(kind: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, result and reason of an architecture, and of its variant with full attention where that is one."""
    result, reason = examined(kind)
    yield kind, result, reason
    if "layer_types" in reason:
        yield f"{kind}, full attention", *examined(kind, full=True)


def examined(kind: str, *, full: bool = False) -> tuple[str, str]:
    """Return what becomes of an architecture, and why."""
    try:
        model = _built(kind, full=full)
    except FAILURES as error:
        return "not built", f"transformers: {_line(error)}"
    try:
        require_described(model)
    except ModelError as error:
        return "refused", _line(error).partition("; supported:")[0]
    try:
        settings = {"layer_types": [FULL] * small_models.SIZES["num_hidden_layers"]} if full else {}
        small = small_models.small_model(kind, **settings)
    except FAILURES as error:
        return "accepted", f"not built small: {_line(error)}"
    with tempfile.TemporaryDirectory() as folder:
        broken = list(small_models.broken_laws(small, pathlib.Path(folder)))
    return ("WRONG", "; not: ".join(("", *broken)).removeprefix("; ")) if broken else ("right", "")


def _built(kind: str, *, full: bool) -> Any:
    """Return the model without weights, small where its default configuration cannot be built."""
    try:
        return skeleton(config_of(kind, full=full), torch.float32)
    except FAILURES:
        if full:
            raise
        return skeleton(small_models.small_config(kind), torch.float32)


def config_of(kind: str, *, full: bool) -> Any:
    """Return the default configuration with few layers, where it can have few."""
    default = transformers.AutoConfig.for_model(kind)
    known = default.to_dict()
    few = {"num_hidden_layers": 2} if isinstance(known.get("num_hidden_layers"), int) else {}
    types = {"layer_types": [FULL] * 2} if full else {}
    try:
        return transformers.AutoConfig.for_model(kind, **few, **types)
    except FAILURES:
        if full:
            raise
        return default


def _line(error: Exception) -> str:
    return " ".join(f"{error}".split())[:240].replace("|", "/")


if __name__ == "__main__":
    main()
