"""A linear's tensors as compressed-tensors stores them, and as ours.

``int-quantized``: ``weight`` int8 ``[out, in]``. ``pack-quantized``: ``weight_packed``, a bit stream along ``in``,
int32, and ``weight_shape``. Both: ``weight_scale`` ``[out, groups]``, ``weight_zero_point`` where asymmetric (a bit
stream along ``out`` in the packed form), ``input_scale`` and ``input_zero_point`` ``[1]`` where activations are
static, and ``weight_g_idx`` ``[in]`` where act-order rounding spread the groups.
"""

import torch

from quantguard.checkpoints._act_order import input_order, spread_groups
from quantguard.checkpoints._stored import FLOATS, POSITIVE, Spec, Values, within
from quantguard.checkpoints.compressed_tensors.config import LinearScheme
from quantguard.modeling.block_state import Tensors
from quantguard.numerics import QuantTensor, dequantize, pack_int4, unpack_int4
from quantguard.numerics.affine import group_slices
from quantguard.numerics.bit_stream import num_words, pack_bits, unpack_bits
from quantguard.records import QuantArgs


def linear_specs(name: str, scheme: LinearScheme, shape: tuple[int, int]) -> dict[str, Spec]:
    """Return what the tensors of a quantized linear ``[out, in]`` have to be, its bias left out."""
    (rows, columns), args = shape, scheme.args.weights
    groups = len(group_slices(columns, args))
    scales = (1,) if scheme.per_tensor else (rows, groups)
    specs = {"weight_scale": Spec(dtypes=FLOATS, shape=scales, values=POSITIVE)}
    if scheme.packed:
        words = (rows, num_words(columns, args.num_bits))
        specs["weight_packed"] = Spec(dtypes=("I32",), shape=words, bulk=True)
        specs["weight_shape"] = Spec(dtypes=("I64", "I32"), shape=(2,), values=_equal(shape))
    else:
        integers = within(args.minimum, args.maximum)
        specs["weight"] = Spec(dtypes=("I8",), shape=shape, values=integers, bulk=True)
    if not args.symmetric and scheme.packed:
        specs["weight_zero_point"] = Spec(dtypes=("I32",), shape=(num_words(rows, args.num_bits), groups))
    elif not args.symmetric:
        zeros = within(args.minimum, args.maximum)
        specs["weight_zero_point"] = Spec(dtypes=("I8", "I32"), shape=scales, values=zeros)
    inputs = scheme.args.input_activations
    if inputs is not None and not inputs.dynamic:
        specs["input_scale"] = Spec(dtypes=FLOATS, shape=(1,), values=POSITIVE)
        if not inputs.symmetric:
            integers = within(inputs.minimum, inputs.maximum)
            specs["input_zero_point"] = Spec(dtypes=("I8", "I32"), shape=(1,), values=integers)
    if scheme.act_order:
        grouping = spread_groups(columns, args.group_size or columns)
        specs["weight_g_idx"] = Spec(dtypes=("I32",), shape=(columns,), values=grouping)
    return {f"{name}.{key}": spec for key, spec in specs.items()}


def _equal(shape: tuple[int, int]) -> Values:
    return Values(f"it holds the shape {list(shape)}", lambda stored: stored == torch.tensor(shape))


def decode_linear(name: str, scheme: LinearScheme, shape: tuple[int, int], stored: Tensors) -> Tensors:
    """Turn a linear's tensors, which fit their specs, into ours."""
    (rows, columns), args = shape, scheme.args.weights
    groups = len(group_slices(columns, args))
    if scheme.packed:
        data = unpack_bits(stored[f"{name}.weight_packed"], args.num_bits, columns)
    else:
        data = stored[f"{name}.weight"]
    order = input_order(stored.get(f"{name}.weight_g_idx"))
    if order is not None:
        data = data[:, order]
    ours = {
        "weight_data": pack_int4(data) if args.num_bits <= 4 else data,
        "weight_scale": _per_row(stored[f"{name}.weight_scale"].float(), rows, groups),
    }
    zeros = stored.get(f"{name}.weight_zero_point")
    if zeros is not None and scheme.packed:
        zeros = unpack_bits(zeros.t(), args.num_bits, rows).t()
    if zeros is not None:
        ours["weight_zero_point"] = _per_row(zeros.to(torch.int32), rows, groups)
    if f"{name}.input_scale" in stored:
        ours["input_scale"] = stored[f"{name}.input_scale"].float().view(1, 1)
    if order is not None:
        ours["input_permutation"] = order
    if f"{name}.input_zero_point" in stored:
        ours["input_zero_point"] = stored[f"{name}.input_zero_point"].to(torch.int32).view(1, 1)
        ours["bias"] = _with_zero_point(data, ours, args, stored.get(f"{name}.bias"))
    return {f"{name}.{key}": tensor for key, tensor in ours.items()}


def _with_zero_point(data: torch.Tensor, ours: Tensors, args: QuantArgs, bias: torch.Tensor | None) -> torch.Tensor:
    """Return the bias with what the zero point of the inputs takes from every product, float32 ``[out]``."""
    whole = QuantTensor(data=data, scale=ours["weight_scale"], zero_point=ours.get("weight_zero_point"), args=args)
    sums = dequantize(whole).double().sum(dim=1)
    taken = ours["input_scale"].double() * ours["input_zero_point"].double() * sums
    return (-taken[0] if bias is None else bias.double() - taken[0]).float()


def _per_row(values: torch.Tensor, rows: int, groups: int) -> torch.Tensor:
    return values.expand(rows, groups).contiguous() if values.numel() == 1 else values.contiguous()


def encode_linear(name: str, scheme: LinearScheme, shape: tuple[int, int], ours: Tensors) -> Tensors:
    """Turn a linear's tensors in our form into those that are stored; scales stay float32."""
    args = scheme.args.weights
    data = _integers(ours[f"{name}.weight_data"], args, shape[1])
    stored = {"weight_scale": ours[f"{name}.weight_scale"]}
    zeros = ours.get(f"{name}.weight_zero_point")
    if scheme.packed:
        stored |= {"weight_packed": pack_bits(data, args.num_bits), "weight_shape": torch.tensor(shape)}
    else:
        stored["weight"] = data
    if zeros is not None:
        narrow = zeros.to(torch.int8)
        stored["weight_zero_point"] = pack_bits(narrow.t(), args.num_bits).t().contiguous() if scheme.packed else narrow
    if f"{name}.input_scale" in ours:
        stored["input_scale"] = ours[f"{name}.input_scale"].view(1)
    return {f"{name}.{key}": tensor for key, tensor in stored.items()}


def _integers(data: torch.Tensor, args: QuantArgs, columns: int) -> torch.Tensor:
    return unpack_int4(data, columns) if args.num_bits <= 4 else data
