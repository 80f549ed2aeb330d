"""QuaRot (Ashkboos et al., arXiv 2404.00456): rotate what is quantized, so that no channel stands out.

The residual stream is rotated by a randomised Hadamard matrix R1, which folds into the embedding, every weight that
reads or writes the stream, and the head, once the scales of the norms have been folded into the weights behind them.
Values are rotated per head, which folds into v and o. What cannot be folded runs online: a Hadamard transform across
heads before o, one before down, and one of queries and keys after RoPE where keys are quantized. All folding is in
float64. ``block_size`` makes R1 and the rotation before down block-diagonal.
"""

from typing import Any

import torch

from quantguard.errors import RecipeError
from quantguard.modeling import BlockCalibration, Decoder
from quantguard.modeling.rotating import (
    fold_norms,
    rotate_down_input,
    rotate_ends,
    rotate_output_input,
    rotate_stream,
    rotate_value_heads,
    transform_keys,
)
from quantguard.numerics.hadamard import random_orthogonal
from quantguard.recipes.options import settings
from quantguard.records import Recipe
from quantguard.transforms._transform import FOLDS_NORMS, Transform

DEFAULTS = {"seed": 0, "block_size": 0, "online": True}


def create(recipe: Recipe, options: dict[str, Any]) -> "Hadamard":
    """Return the transform; raise RecipeError for a block size that is no power of two.

    ``online`` false leaves out what would have to run with the model, which is then faster and less protected.
    """
    return Hadamard(quantizes_keys=recipe.kv_cache is not None, **settings("hadamard", DEFAULTS, options))


class Hadamard(Transform):
    """Rotations drawn by ``seed``."""

    cancels_scales = FOLDS_NORMS

    def __init__(self, *, quantizes_keys: bool, seed: int, block_size: int, online: bool) -> None:
        if block_size < 0 or block_size & (block_size - 1):
            raise RecipeError(f"hadamard: block_size is {block_size}; a power of two, or 0 for the whole width")
        self._quantizes_keys, self._seed, self._block_size, self._online = quantizes_keys, seed, block_size, online

    def _stream_rotation(self, width: int) -> torch.Tensor:
        if self._block_size and width % self._block_size:
            raise RecipeError(f"hadamard: block_size {self._block_size} does not divide a width of {width}")
        return random_orthogonal(self._block_size or width, seed=self._seed)

    def prepare(self, decoder: Decoder) -> None:
        """Rotate the embedding and the head."""
        decoder.untie()
        rotate_ends(decoder, self._stream_rotation(decoder.hidden_size))

    def apply(self, calibration: BlockCalibration) -> None:
        """Fold the norms and rotate what the block reads, writes and quantizes."""
        block = calibration.block
        fold_norms(block)
        rotation = self._stream_rotation(block.attention.q.in_features)
        rotate_stream(block, rotation)
        calibration.rotated(rotation)
        rotate_value_heads(block, random_orthogonal(block.attention.head_dim, seed=self._seed + 1))
        if self._online:
            rotate_output_input(block)
            rotate_down_input(block, block_size=self._block_size)
        if self._quantizes_keys and self._online:
            transform_keys(calibration.config, block, random_orthogonal(block.attention.head_dim, seed=self._seed + 2))
        calibration.changed()
