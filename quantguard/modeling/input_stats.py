"""Statistics over the inputs of linear layers: what transforms and roundings know of activations."""

import dataclasses

import torch

from quantguard.kernels.cpu import gram as tiled_gram

# A Gram matrix up to this wide is added up whole: smaller products do not pay.
_WHOLE_GRAM = 1024


@dataclasses.dataclass(slots=True, kw_only=True)
class InputStats:
    """Statistics over all tokens that entered a linear layer.

    largest, abs_sum: float32 ``[in_features]``, the largest magnitude of each channel and the sum of magnitudes; gram:
    float32 ``[in_features, in_features]``, the sum of ``x xT`` over tokens. Each is absent unless it was asked for.
    """

    num_tokens: int
    largest: torch.Tensor | None
    abs_sum: torch.Tensor | None
    gram: torch.Tensor | None

    @property
    def absmax(self) -> torch.Tensor:
        """The largest magnitude of each channel, float32 ``[in_features]``."""
        assert self.largest is not None, "statistics without magnitudes were asked for"
        return self.largest

    @property
    def mean_abs(self) -> torch.Tensor:
        """The mean magnitude of each channel, float32 ``[in_features]``."""
        assert self.abs_sum is not None, "statistics without magnitudes were asked for"
        return self.abs_sum / self.num_tokens

    def rescaled(self, divisor: torch.Tensor) -> "InputStats":
        """Return the statistics of inputs whose channels are divided by ``divisor``, float ``[in_features]``."""
        inverse = 1.0 / divisor.double()
        gram = None if self.gram is None else (self.gram * inverse[:, None] * inverse).float()
        largest, abs_sum = (
            None if values is None else (values * inverse.abs()).float() for values in (self.largest, self.abs_sum)
        )
        return InputStats(num_tokens=self.num_tokens, largest=largest, abs_sum=abs_sum, gram=gram)

    def update(self, x: torch.Tensor) -> None:
        """Add the tokens of ``x``, float ``[..., in_features]``."""
        flat = x.detach().reshape(-1, x.shape[-1])
        self.num_tokens += flat.shape[0]
        if self.largest is not None and self.abs_sum is not None:
            magnitudes = flat.abs()
            torch.maximum(self.largest, magnitudes.amax(dim=0).float(), out=self.largest)
            self.abs_sum += magnitudes.sum(dim=0, dtype=torch.float32)
        if self.gram is None:
            return
        if tiled_gram.suits(flat):
            tiled_gram.add(self.gram, flat)
            return
        wide = flat.float()
        # The matrix is symmetric: what is left of the diagonal strip is filled in at the end, by `finish`.
        for rows in _strips(wide.shape[1]):
            self.gram[rows, rows.start :].addmm_(wide[:, rows].t(), wide[:, rows.start :])

    def finish(self) -> None:
        """Complete the Gram matrix, of which :meth:`update` adds to the upper part alone."""
        if self.gram is not None:
            self.gram.triu_()
            self.gram += self.gram.triu(1).t()


def _strips(width: int) -> list[slice]:
    """Cut a symmetric matrix into strips of rows; a narrow one is left whole, where more products do not pay."""
    size = width if width <= _WHOLE_GRAM else -(-width // 4)
    return [slice(start, min(start + size, width)) for start in range(0, width, size)]


def empty_stats(width: int, *, magnitudes: bool, gram: bool, device: torch.device | str = "cpu") -> InputStats:
    """Return the statistics of no token yet."""
    vectors = [torch.zeros(width, device=device) if magnitudes else None for _ in range(2)]
    matrix = torch.zeros(width, width, device=device) if gram else None
    return InputStats(num_tokens=0, largest=vectors[0], abs_sum=vectors[1], gram=matrix)
