"""What the vendor's operations take silently though it is wrong: looked at by us before each call.

torch_npu's own checks let pass a token scale of the wrong length, activations of float32, group counts that do not fit,
quantized keys without a scale and more. Every function here raises KernelError saying what was found and is possible.
"""

import torch

from quantguard.errors import KernelError

LONGEST_SIDE = 65535
ACTIVATION_DTYPES = (torch.float16, torch.bfloat16)


def need(op: str, *, holds: bool, found: str, possible: str, advice: str) -> None:
    """Raise KernelError unless a condition of the operation holds."""
    if not holds:
        raise KernelError(f"{op}: found {found}; possible: {possible}. {advice}")


def activations(op: str, x: torch.Tensor) -> None:
    """Ask for float16 or bfloat16 ``[num_tokens, width]``."""
    need(
        op,
        holds=x.dtype in ACTIVATION_DTYPES,
        found=f"activations of {name(x.dtype)}",
        possible="float16, bfloat16",
        advice="Load the model with dtype='bfloat16'.",
    )
    shape(op, "the activations", x, (x.shape[0], x.shape[-1]), "Flatten the tokens to two dimensions first.")


def integers(op: str, x: torch.Tensor, dtype: torch.dtype = torch.int8) -> None:
    """Ask for two dimensions of an integer type."""
    need(
        op,
        holds=x.dtype == dtype and x.ndim == 2,
        found=f"{name(x.dtype)} with shape {tuple(x.shape)}",
        possible=f"{name(dtype)} with two dimensions",
        advice="Quantize it with quantize_per_token or pack it with the linear op's pack().",
    )


def shape(op: str, what: str, tensor: torch.Tensor, expected: tuple[int, ...], advice: str = "") -> None:
    """Ask for an exact shape."""
    need(
        op,
        holds=tuple(tensor.shape) == expected,
        found=f"{what} of shape {tuple(tensor.shape)}",
        possible=f"shape {expected}",
        advice=advice or "Pack the weight anew with the linear op's pack().",
    )


def dtype(op: str, what: str, tensor: torch.Tensor, *allowed: torch.dtype) -> None:
    """Ask for one of some types."""
    need(
        op,
        holds=tensor.dtype in allowed,
        found=f"{what} of {name(tensor.dtype)}",
        possible=", ".join(map(name, allowed)),
        advice=f"Cast {what} first.",
    )


def inner_sides(op: str, x: torch.Tensor, rows: int, columns: int) -> None:
    """Ask that a ``[rows, columns]`` weight fits the activations and the operation's limit."""
    need(
        op,
        holds=x.shape[1] == rows,
        found=f"activations of width {x.shape[1]} and a weight of {rows} inputs",
        possible="the same number",
        advice="The weight is laid out as [in_features, out_features].",
    )
    need(
        op,
        holds=0 < rows <= LONGEST_SIDE and 0 < columns <= LONGEST_SIDE and x.shape[0] > 0,
        found=f"{x.shape[0]} tokens, {rows} inputs, {columns} outputs",
        possible=f"1 to {LONGEST_SIDE} inputs and outputs, and at least one token",
        advice="Ignore this layer in the recipe.",
    )


def whole_int32(op: str, columns: int) -> None:
    """Ask for columns that fill whole int32 of eight 4-bit integers."""
    need(
        op,
        holds=columns % 8 == 0,
        found=f"{columns} columns",
        possible="a multiple of 8",
        advice="Pad weights with zeros; ignore a layer of other inputs in the recipe.",
    )


def one_of(op: str, what: str, value: object, *allowed: object) -> None:
    """Ask for one of some values."""
    need(op, holds=value in allowed, found=f"{what} {value}", possible=", ".join(map(str, allowed)), advice="")


def vector(op: str, what: str, tensor: torch.Tensor, length: int, *allowed: torch.dtype) -> None:
    """Ask for one dimension of an exact length and one of some types."""
    dtype(op, what, tensor, *allowed)
    shape(op, what, tensor, (length,))


def output_dtype(op: str, wanted: torch.dtype) -> None:
    """Ask for an output of float16 or bfloat16."""
    need(
        op,
        holds=wanted in ACTIVATION_DTYPES,
        found=f"output_dtype {name(wanted)}",
        possible="float16, bfloat16",
        advice="Load the model with dtype='bfloat16'.",
    )


def name(dtype_: torch.dtype) -> str:
    """Word a type without its module."""
    return str(dtype_).removeprefix("torch.")
