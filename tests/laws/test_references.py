"""SmoothQuant's scale and GPTQ's rounding against their papers, written out plainly in float64."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from quantguard.modeling import BlockCalibration, InputStats, embed, find_decoder, folding
from quantguard.numerics import choose_group_scales
from quantguard.records import QuantArgs, Recipe
from quantguard.rounding import gptq
from quantguard.transforms import smoothquant
from tests.support.families import build, tokens

RECIPE = Recipe(name="reference", weights=QuantArgs(num_bits=8, strategy="channel"))


def smoothed_scales(alpha: float) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return what the norms of a block were divided by, and ``max|X|^alpha / max|W|^(1 - alpha)`` (eq. 4)."""
    loaded = build("llama with biases")
    decoder = find_decoder(loaded.model)
    block, inputs = decoder.blocks[0], embed(decoder, tokens())
    groups, norms = (block.groups["qkv"], block.groups["gate_up"]), (block.norms.attention, block.norms.mlp)
    seen = BlockCalibration(block, inputs, loaded.model.config)
    expected = []
    for group in groups:
        activations = seen.stats(group, gram=False).absmax.double().tolist()
        weights = torch.cat([linear.weight for linear in group.linears]).abs().amax(dim=0).tolist()
        scale = [x**alpha / w ** (1 - alpha) for x, w in zip(activations, weights, strict=True)]
        expected.append(torch.tensor(scale, dtype=torch.float64))
    before = [norm.weight.clone() for norm in norms]  # type: ignore[operator]
    transform = smoothquant.create(RECIPE, {"alpha": alpha})
    transform.apply(BlockCalibration(block, inputs, loaded.model.config))
    found = [old / norm.weight for old, norm in zip(before, norms, strict=True)]  # type: ignore[operator]
    return found, expected


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.85, 1.0])
def test_smoothing_is_that_of_the_paper(alpha: float) -> None:
    found, expected = smoothed_scales(alpha)
    for ours, paper in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, paper, rtol=1e-5, atol=0)


@pytest.mark.parametrize("alpha", [0.3, 0.85])
def test_alpha_on_the_other_side_is_seen(alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    right = folding.smoothing_divisor
    monkeypatch.setattr(smoothquant, "smoothing_divisor", lambda group, x, a: right(group, x, 1 - a))
    found, expected = smoothed_scales(alpha)
    assert all((ours / paper - 1).abs().max() > 0.1 for ours, paper in zip(found, expected, strict=True))


# More inputs than GPTQ takes in a block of columns, and no multiple of it.
WIDTH, ROWS = 300, 24
ARGS = {
    "4 bits per channel": QuantArgs(num_bits=4, strategy="channel"),
    "3 bits in groups of 64": QuantArgs(num_bits=3, strategy="group", group_size=64),
    "4 bits in groups of 128, asymmetric": QuantArgs(num_bits=4, strategy="group", group_size=128, symmetric=False),
}
CASES = [
    pytest.param(args, damping, order, id=f"{name}, damping {damping}, {'by importance' if order else 'in order'}")
    for (name, args), damping, order in itertools.product(ARGS.items(), (0.01, 0.1), (True, False))
]


def layer() -> tuple[torch.Tensor, InputStats]:
    """Return a weight and the statistics of inputs that are correlated and of very different sizes."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(40, WIDTH, generator=generator) * torch.logspace(-1, 1, WIDTH)
    x = torch.randn(900, 40, generator=generator) @ mixing + 0.2 * torch.randn(900, WIDTH, generator=generator)
    stats = InputStats(num_tokens=len(x), largest=x.abs().amax(dim=0), abs_sum=x.abs().sum(dim=0), gram=x.t() @ x)
    return torch.randn(ROWS, WIDTH, generator=generator), stats


def reference(
    weight: torch.Tensor, stats: InputStats, args: QuantArgs, damping: float, *, act_order: bool
) -> torch.Tensor:
    """Return the integers of GPTQ's algorithm 1, one column after the other and no blocks, in float64."""
    assert stats.gram is not None
    hessian = stats.gram.double()
    order = list(range(WIDTH))
    if act_order:
        order.sort(key=lambda column: -float(hessian[column, column]))
    scale, zero_point = choose_group_scales(weight, args)
    damped = hessian + damping * hessian.diagonal().mean() * torch.eye(WIDTH, dtype=torch.float64)
    inverse = torch.linalg.inv(damped[order][:, order])
    factor = torch.linalg.cholesky(inverse, upper=True)
    groups = torch.tensor([column // (args.group_size or WIDTH) for column in order])
    terms: dict[str, Any] = {"scale": scale.double(), "zero_point": zero_point, "args": args}
    data = torch.empty(ROWS, WIDTH, dtype=torch.int8)
    data[:, order] = gptq.round_one_by_one(weight.double().t()[order], factor, groups, **terms).t()
    return data


def share_that_differs(args: QuantArgs, damping: float, *, act_order: bool) -> float:
    weight, stats = layer()
    expected = reference(weight, stats, args, damping, act_order=act_order)
    options = {"damping": damping, "act_order": act_order}
    found = gptq.quantize_weight(weight, args, stats=stats, options=options).data
    return float((found != expected).double().mean())


# A value that is halfway between two integers may fall to either side in float32, and what follows makes up for it.
LARGEST_SHARE = 0.01


@pytest.mark.parametrize(("args", "damping", "act_order"), CASES)
def test_gptq_is_the_algorithm_of_the_paper(args: QuantArgs, damping: float, act_order: bool) -> None:  # noqa: FBT001
    assert share_that_differs(args, damping, act_order=act_order) < LARGEST_SHARE


def both_bodies(args: QuantArgs, width: int, *, fault: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the integers of the loop of the paper and of the fast body, both in float32, from the same terms.

    With a fault the error of an input in the middle is not passed on in the fast one.
    """
    weight, stats = layer()
    assert stats.gram is not None
    work, order, alive = weight.t()[:width], torch.arange(width), torch.zeros(width, dtype=torch.bool)
    factor = gptq._inverse_factor(stats.gram[:width, :width], order, alive, 0.01)
    scale, zero_point = choose_group_scales(weight[:, :width], args)
    terms: dict[str, Any] = {"scale": scale, "zero_point": zero_point, "args": args}
    groups = order // (args.group_size or width)
    plain = gptq.round_one_by_one(work, factor, groups, **terms)
    if fault:
        factor[width // 2, width // 2 + 1 :] = 0
    return plain, gptq._round_inputs(work.clone(), factor, groups, **terms)


@pytest.mark.parametrize("width", [1, 63, gptq.BLOCK_SIZE], ids="{} inputs".format)
@pytest.mark.parametrize("name", ARGS)
def test_the_fast_body_of_gptq_gives_the_integers_of_the_plain_one(name: str, width: int) -> None:
    plain, fast = both_bodies(ARGS[name], width)
    assert torch.equal(plain, fast)


@pytest.mark.parametrize("name", ARGS)
def test_beyond_a_block_the_order_of_sums_alone_tells_the_bodies_of_gptq_apart(name: str) -> None:
    plain, fast = both_bodies(ARGS[name], WIDTH)
    # The block's errors are summed up in a matrix product: a value that is halfway may fall to either side.
    assert (plain != fast).sum() <= 0.001 * plain.numel()


@pytest.mark.parametrize("name", ARGS)
def test_an_error_that_is_not_passed_on_tells_the_bodies_of_gptq_apart(name: str) -> None:
    plain, fast = both_bodies(ARGS[name], 63, fault=True)
    assert not torch.equal(plain, fast)
    plain, fast = both_bodies(ARGS[name], WIDTH, fault=True)
    assert (plain != fast).sum() > 0.001 * plain.numel()


def more_damping(patch: pytest.MonkeyPatch) -> None:
    right = gptq._inverse_factor
    patch.setattr(gptq, "_inverse_factor", lambda g, o, d, damping: right(g, o, d, min(1.0, 100 * damping)))


def less_damping(patch: pytest.MonkeyPatch) -> None:
    right = gptq._inverse_factor
    patch.setattr(gptq, "_inverse_factor", lambda g, o, d, damping: right(g, o, d, damping / 100))


def no_block_update(patch: pytest.MonkeyPatch) -> None:
    """What follows a block is left as it was: errors are made up for within their block alone."""
    patch.setattr(torch.Tensor, "addmm_", lambda self, *_terms, **_more: self)


def block_update_half(patch: pytest.MonkeyPatch) -> None:
    right = torch.Tensor.addmm_
    patch.setattr(torch.Tensor, "addmm_", lambda self, a, b, *, alpha: right(self, a, b, alpha=alpha / 2))


def no_feedback_within_a_block(patch: pytest.MonkeyPatch) -> None:
    right = gptq._inverse_factor

    def blockwise(*terms: object) -> torch.Tensor:
        factor = right(*terms)  # type: ignore[arg-type]
        for start in range(0, WIDTH, gptq.BLOCK_SIZE):
            block = factor[start : start + gptq.BLOCK_SIZE, start : start + gptq.BLOCK_SIZE]
            block.copy_(torch.diag(block.diagonal()))
        return factor

    patch.setattr(gptq, "_inverse_factor", blockwise)


FAULTS = (more_damping, less_damping, no_block_update, block_update_half, no_feedback_within_a_block)


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__.replace("_", " "))
def test_the_reference_sees(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    args = ARGS["4 bits per channel"]
    assert share_that_differs(args, 0.01, act_order=True) > 5 * LARGEST_SHARE
