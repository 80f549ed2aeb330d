"""FlatQuant (Sun et al., arXiv 2410.09426): learned affine transforms that flatten weights and activations.

Every quantized input is multiplied by a Kronecker product ``P1 ⊗ P2`` of small invertible matrices (eq. 4), weights
by its inverse; a diagonal scale goes with it and folds into the norm, or into up. Values have a matrix per head,
folded into v and o; keys one after RoPE, undone on the queries. Clipping ratios of every weight row and
of every input are learned beside them. What is learned minimises, block by block, the distance of the quantized
block's output from the float block's, each on float inputs (eq. 7), relative to its own size.

The defaults are the paper's, which can diverge; the recipe ``flatquant-w4a4kv4-npu`` has gentler ones.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from quantguard.errors import MeasurementError, RecipeError
from quantguard.modeling import Batch, BlockCalibration, LearnedClips, LinearGroup
from quantguard.modeling.attention import extend_attention
from quantguard.modeling.folding import SMALLEST, multiply_written, readers, smoothing_divisor
from quantguard.modeling.rotating import attach_transform, rotate_value_heads, transform_keys
from quantguard.modeling.simulating import simulated_cache, simulated_inputs
from quantguard.modeling.sites import INPUTS, OUTPUT_INPUT
from quantguard.numerics import fake_quantize
from quantguard.numerics.kronecker import kronecker_multiply
from quantguard.recipes.options import settings
from quantguard.records import LayerArgs, Recipe
from quantguard.transforms._affine import AffineMaps
from quantguard.transforms._functional import FunctionalLayer
from quantguard.transforms._transform import Transform

DEFAULTS = {
    "learning_rate": 5e-3,
    "epochs": 15,
    "batch_size": 4,
    "warm_up_steps": 0,
    "parametrization": "direct",
    "scale_init": "smoothquant",
    "alpha": 0.3,
    "clip_init": 4.0,
    "share_clips": False,
    "seed": 0,
}
# What `quantguard tune` tries, one option after the other.
SEARCH_SPACE = {
    "learning_rate": (5e-4, 1e-3, 2e-3, 5e-3),
    "warm_up_steps": (0, 16),
    "parametrization": ("direct", "svd"),
    "scale_init": ("ones", "smoothquant"),
    "alpha": (0.3, 0.5),
}
PARAMETRIZATIONS = ("direct", "svd")
SCALE_INITS = ("smoothquant", "ones")
# The inputs that have a pair of matrices and a scale of their own; values have a matrix per head.
_SCALED = tuple(site for site in INPUTS if site.absorbs == "diagonal")
# Past this the inverse that goes into the weights has lost half of float32's digits.
LARGEST_CONDITION = 1e4


def create(recipe: Recipe, options: dict[str, Any]) -> "FlatQuant":
    """Return the transform; raise RecipeError for options that cannot be meant.

    ``learning_rate`` is that of matrices and scales, clipping ratios learn ten times as fast; ``batch_size`` counts
    sequences. ``parametrization`` of a matrix is ``direct`` (its entries) or ``svd`` (two rotations and positive
    singular values). ``scale_init`` starts the diagonal from SmoothQuant's scale with ``alpha``, or from ``ones``.
    ``share_clips`` learns one clipping ratio for linears of one input, as servers need that run them as one.
    """
    chosen = settings("flatquant", DEFAULTS, options)
    for name, possible in (("parametrization", PARAMETRIZATIONS), ("scale_init", SCALE_INITS)):
        if chosen[name] not in possible:
            raise RecipeError(f"flatquant: {name} is {chosen[name]!r}; possible: {', '.join(possible)}")
    if chosen["learning_rate"] <= 0 or chosen["epochs"] < 1 or chosen["batch_size"] < 1:
        raise RecipeError("flatquant: learning_rate must be above 0, epochs and batch_size at least 1")
    return FlatQuant(recipe, chosen)


class FlatQuant(Transform):
    """Learned affine transforms with one set of hyper-parameters for all blocks."""

    scales_norms = True

    def __init__(self, recipe: Recipe, options: dict[str, Any]) -> None:
        self._recipe, self._options = recipe, options
        if options["scale_init"] == "smoothquant":
            self.cancels_scales = "starts its own from magnitudes that the old one is in (scale_init = 'smoothquant')"

    def apply(self, calibration: BlockCalibration) -> None:
        """Learn the transforms of a block and put them in; a block that they make worse is left as it was."""
        learned = _Learner(calibration, self._recipe, self._options)
        losses, before = learned.fit()
        calibration.losses = losses
        if losses[-1] >= before:
            calibration.rolled_back = (*calibration.rolled_back, calibration.block.name)
            return
        learned.fold()
        calibration.changed()


class _Learner:
    """Fitting the transforms of one block."""

    def __init__(self, calibration: BlockCalibration, recipe: Recipe, options: dict[str, Any]) -> None:
        self.calibration, self.recipe, self.options = calibration, recipe, options
        block = calibration.block
        self.block = block
        self.group_of = {name: group.name for group in block.groups.values() for name in group.names}
        self._values = {block.linear_name(role) for role in OUTPUT_INPUT.writers}
        self.args: dict[str, LayerArgs | None] = {name: recipe.layer_args(name) for name in block.linears}
        scales = {site.group: self._first_scale(block.groups[site.group]) for site in _SCALED}
        self.learned = AffineMaps(block, options, scales, keys=recipe.kv_cache is not None)
        self.batches = self._batches()

    def _first_scale(self, group: LinearGroup) -> torch.Tensor:
        if self.options["scale_init"] == "ones":
            return torch.ones(group.in_features)
        absmax = self.calibration.stats(group, gram=False).absmax
        divisor = smoothing_divisor(group, absmax, self.options["alpha"])
        return 1.0 / divisor.clamp_min(SMALLEST)

    def _batches(self) -> list[tuple[Batch, torch.Tensor]]:
        """Return inputs and float outputs in batches of ``batch_size`` sequences."""
        size, targets = self.options["batch_size"], self.calibration.float_outputs().batches
        return [
            (part.in_float32(), target.hidden)
            for batch, outputs in zip(self.calibration.activations.batches, targets, strict=True)
            for part, target in zip(batch.split(size), outputs.split(size), strict=True)
        ]

    def fit(self) -> tuple[tuple[float, ...], float]:
        """Learn; return the mean loss of every epoch and at the end, and the loss of rounding without transforms.

        Raises MeasurementError, naming the block, where the loss turns to NaN or a matrix becomes ill-conditioned.
        """
        with self._simulation():
            with torch.no_grad():
                before = self._mean_loss(transformed=False)
            losses = self._descend()
            with torch.no_grad():
                losses.append(self._mean_loss(transformed=True))
        self._check(losses)
        return tuple(losses), before

    def _descend(self) -> list[float]:
        rate, epochs = self.options["learning_rate"], self.options["epochs"]
        clips = [*self.learned.weight_clips.values(), *self.learned.input_clips.values()]
        known = set(map(id, clips))
        others = [p for p in self.learned.parameters() if id(p) not in known]
        optimizer = torch.optim.AdamW(
            [{"params": others, "lr": rate}, {"params": clips, "lr": 10 * rate}], weight_decay=0.0
        )
        num_steps, warm_up = epochs * len(self.batches), self.options["warm_up_steps"]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, num_steps, warm_up))
        losses: list[float] = []
        generator = torch.Generator().manual_seed(self.options["seed"])
        for _ in range(epochs):
            total = 0.0
            for index in torch.randperm(len(self.batches), generator=generator).tolist():
                try:
                    loss = self._loss(*self.batches[index], transformed=True)
                except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
                    raise self._diverged("a matrix has no inverse", losses) from error
                optimizer.zero_grad()
                (loss / loss.detach()).backward()
                optimizer.step()
                schedule.step()
                total += loss.item()
            losses.append(total / len(self.batches))
            self._check(losses)
        return losses

    def _mean_loss(self, *, transformed: bool) -> float:
        return sum(self._loss(*pair, transformed=transformed).item() for pair in self.batches) / len(self.batches)

    def _loss(self, batch: Batch, target: torch.Tensor, *, transformed: bool) -> torch.Tensor:
        """Return the relative squared error of the block's output, averaged over tokens.

        Each token counts by its own size: a massive one would otherwise be all that is learned from.
        """
        output = self._forward(batch, transformed=transformed)
        difference = (output - target).float().square().sum(dim=-1)
        return batch.words(difference / target.float().square().sum(dim=-1).clamp_min(1e-12)).mean()

    def _forward(self, batch: Batch, *, transformed: bool) -> torch.Tensor:
        self._maps = self.learned.maps() if transformed else {}
        weights = {}
        prefix = f"{self.block.name}."
        for name, linear in self.block.linears.items():
            weight, bias = self._weight(name, linear, transformed=transformed)
            weights[f"{name.removeprefix(prefix)}.weight"] = weight
            if bias is not None:
                weights[f"{name.removeprefix(prefix)}.bias"] = bias
        self._set_keys(transformed=transformed)
        runner = FunctionalLayer(self.block.layer, weights)
        return self.calibration.run(batch, runner)

    def _weight(self, name: str, linear: nn.Linear, *, transformed: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        weight, bias = linear.weight.detach().float(), None if linear.bias is None else linear.bias.detach().float()
        args = self.args[name]
        clip: torch.Tensor | float = 1.0
        if transformed:
            weight = self._maps[self.group_of[name]].of_weight(weight)
            if name in self._values:
                matrix = self._maps[OUTPUT_INPUT.group].right
                weight = kronecker_multiply(weight.t(), None, matrix).t()
                bias = None if bias is None else kronecker_multiply(bias, None, matrix)
            clip, _ = self.learned.clip_of(name)
        if args is not None:
            weight = fake_quantize(weight, args.weights, clip_low=clip, clip_high=clip)
        return weight, bias

    def _set_keys(self, *, transformed: bool) -> None:
        if self.learned.keys is None:
            return
        extension = extend_attention(self.calibration.config, self.block)
        extension.key_transform, extension.query_transform = self.learned.keys() if transformed else (None, None)

    def _change_input(self, name: str, x: torch.Tensor) -> torch.Tensor:
        args, key = self.args[name], self.group_of[name]
        clip: torch.Tensor | float = 1.0
        if self._maps:
            mapped = self._maps[key]
            # Values come mapped already: only what mixes the heads is left to do.
            x = kronecker_multiply(x, mapped.left, None) if key == OUTPUT_INPUT.group else mapped.of_input(x)
            _, clip = self.learned.clip_of(name)
        if args is None or args.input_activations is None:
            return x
        return fake_quantize(x, args.input_activations, clip_low=clip, clip_high=clip)

    @contextlib.contextmanager
    def _simulation(self) -> Iterator[None]:
        with (
            simulated_inputs(self.block, self._change_input),
            simulated_cache(self.calibration.config, self.block, self.recipe.kv_cache),
        ):
            try:
                yield
            finally:
                self._set_keys(transformed=False)

    def _check(self, losses: list[float]) -> None:
        if not math.isfinite(losses[-1]):
            raise self._diverged("the loss is not finite", losses)
        worst = self.learned.largest_condition()
        if worst >= LARGEST_CONDITION:
            raise self._diverged(f"a matrix has condition number {worst:.1e}", losses)

    def _diverged(self, found: str, losses: list[float]) -> MeasurementError:
        return MeasurementError(
            f"{self.block.name}: FlatQuant diverged at learning_rate {self.options['learning_rate']}: {found}; loss by"
            f" epoch: {', '.join(f'{loss:.3g}' for loss in losses) or 'none ended'}. Lower learning_rate, or take the"
            " gentle settings of the recipe flatquant-w4a4kv4-npu, or search: quantguard tune"
        )

    @torch.no_grad()
    def fold(self) -> None:
        """Put what was learned into the block: what folds into weights, what runs online, and the clipping ratios."""
        learned = self.learned.double()
        maps = learned.maps()
        block = self.block
        for site in _SCALED:
            scale = maps[site.group].scale
            assert scale is not None
            for linear in readers(block, site):
                linear.weight.copy_(maps[site.group].of_weight(linear.weight.double()))
            multiply_written(block, site, scale)
        values = maps[OUTPUT_INPUT.group]
        rotate_value_heads(block, values.right, values.right_dual)
        for linear in readers(block, OUTPUT_INPUT):
            linear.weight.copy_(kronecker_multiply(linear.weight.double(), values.left_dual, None))
        # Only now: what is in front of a linear from here on absorbs no scale.
        attach_transform(block.groups[OUTPUT_INPUT.group], values.left, None)
        for site in _SCALED:
            attach_transform(block.groups[site.group], maps[site.group].left, maps[site.group].right)
        if learned.keys is not None:
            transform_keys(self.calibration.config, self.block, *learned.keys())
        for name in self.block.linears:
            weight, activation = learned.clip_of(name)
            self.calibration.clips[name] = LearnedClips(weight=weight.float(), activation=float(activation))


def _rate(step: int, num_steps: int, warm_up: int) -> float:
    """Warm up linearly, then follow a cosine down to a thousandth."""
    if step < warm_up:
        return (step + 1) / warm_up
    fraction = (step - warm_up) / max(1, num_steps - warm_up)
    return 1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))
