"""What a module may consist of: a part that is not there, or that nobody accounts for, is refused by its name."""

from collections.abc import Collection, Iterator

from torch import nn

from quantguard.errors import ModelError

SUPPORTED = "supported: Llama, Mistral, Qwen2, Qwen3, Granite, openPangu-Embedded and their kin"


def child(parent: nn.Module, name: str, part: str) -> nn.Module:
    """Return a child of a module called ``name``; raise ModelError where it has none."""
    found = getattr(parent, part, None)
    if not isinstance(found, nn.Module):
        raise ModelError(f"{name} is a {type(parent).__name__} without {part}; {SUPPORTED}")
    return found


def require_kind(parent: nn.Module, name: str, part: str, kind: type[nn.Module]) -> None:
    """Raise ModelError for a child that is of another kind."""
    found = child(parent, name, part)
    if not isinstance(found, kind):
        raise ModelError(
            f"{name}.{part} is a {type(found).__name__}, not a float {kind.__name__}: is the model quantized already?"
        )


def require_accounted(parent: nn.Module, name: str, known: Collection[str]) -> None:
    """Raise ModelError for a child that holds weights, or a parameter or buffer of its own, that is not ``known``."""
    for child_name, part in parent.named_children():
        if child_name not in known and (held := next(_held(part), None)) is not None:
            raise ModelError(
                f"{name}.{child_name} is a {type(part).__name__} with {held}, and nothing here accounts for it in a"
                f" {type(parent).__name__}; {SUPPORTED}"
            )
    require_parameters(parent, name, (), recurse=False)


def require_norm(parent: nn.Module, name: str, part: str) -> None:
    """Raise ModelError for a norm that has no weight, or anything beside it."""
    norm = child(parent, name, part)
    # An online transform stands behind it once a recipe has put one there.
    norm = norm.norm if isinstance(getattr(norm, "input_transform", None), nn.Module) else norm  # type: ignore[assignment]
    if not isinstance(getattr(norm, "weight", None), nn.Parameter):
        raise ModelError(f"{name}.{part} is a {type(norm).__name__} without a weight; {SUPPORTED}")
    require_parameters(norm, f"{name}.{part}", ("weight",))


def require_parameters(module: nn.Module, name: str, known: Collection[str], *, recurse: bool = True) -> None:
    """Raise ModelError for a parameter or buffer in a module that is not ``known``."""
    for held in _held(module, recurse=recurse):
        # An online transform in front of a linear belongs to quantguard.
        if held not in known and not held.startswith("input_transform."):
            raise ModelError(
                f"{name}.{held} belongs to a {type(module).__name__}, and nothing here accounts for it; {SUPPORTED}"
            )


def _held(module: nn.Module, *, recurse: bool = True) -> Iterator[str]:
    """Name the parameters and buffers of a module."""
    for name, _ in (*module.named_parameters(recurse=recurse), *module.named_buffers(recurse=recurse)):
        yield name
