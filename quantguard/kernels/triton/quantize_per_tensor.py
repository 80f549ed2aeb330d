"""Per-tensor quantization on the vector cores: the tokens are one run of numbers."""

import torch
import triton
import triton.language as tl

from quantguard.kernels.triton.forms import QUANTIZE_FLAT
from quantguard.kernels.triton.launch import float_type, kernel, launch
from quantguard.kernels.triton.rounding import quantize_block
from quantguard.records import QuantArgs


def unsupported(activations: QuantArgs) -> str | None:
    """Give the reason why the kernel cannot make such activations, or None."""
    if activations.symmetric:
        return None
    return "it takes static activations without a zero point: use backend='cpu' or 'reference' on the CPU."


def apply(x: torch.Tensor, scale: torch.Tensor, *, args: QuantArgs) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize as the contract says."""
    x = x.detach().contiguous()
    q = torch.empty(x.shape, dtype=torch.int8, device=x.device)
    tile = QUANTIZE_FLAT.tiles[0]
    form = QUANTIZE_FLAT.form(float_type(x.dtype), tile, CLAMP=int(args.num_bits < 8))
    launch(
        quantize_flat,
        form,
        num_blocks=triton.cdiv(x.numel(), tile["VALUES"]),
        p_x=x,
        p_q=q,
        p_scale=scale,
        num_values=x.numel(),
        maximum=float(args.maximum),
    )
    return q, scale.expand(x.shape[0], 1).contiguous()


@kernel
def quantize_flat(p_x, p_q, p_scale, num_values, maximum, VALUES: tl.constexpr, CLAMP: tl.constexpr):
    """Quantize blocks of consecutive numbers with the one scale that there is."""
    b_scale = tl.load(p_scale + tl.arange(0, 1))
    for i_block in range(tl.program_id(0), tl.cdiv(num_values, VALUES), tl.num_programs(0)):
        o_x = i_block * VALUES + tl.arange(0, VALUES)
        b_x = tl.load(p_x + o_x, mask=o_x < num_values, other=0.0).to(tl.float32)
        b_q = quantize_block(b_x[None, :], b_scale, maximum, CLAMP)
        tl.store(p_q + o_x[None, :], b_q, mask=o_x[None, :] < num_values)
