"""Watching what flows into linear layers: one pass over the calibration text serves every method."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import torch

from quantguard.errors import MeasurementError
from quantguard.modeling.loading import LoadedModel
from quantguard.modeling.structure import Block, LinearGroup


@dataclasses.dataclass(slots=True, kw_only=True)
class InputStats:
    """Statistics over all tokens that entered a linear layer.

    absmax: float32 ``[in_features]``, the largest magnitude of each channel.
    gram: float32 ``[in_features, in_features]``, the sum of ``x xT`` over tokens; absent unless asked for.
    """

    num_tokens: int
    absmax: torch.Tensor
    gram: torch.Tensor | None

    def rescaled(self, divisor: torch.Tensor) -> "InputStats":
        """Return the statistics of inputs whose channels are divided by ``divisor``, float ``[in_features]``."""
        inverse = 1.0 / divisor.double()
        gram = None if self.gram is None else (self.gram * inverse[:, None] * inverse).float()
        return InputStats(num_tokens=self.num_tokens, absmax=(self.absmax * inverse).float(), gram=gram)

    def update(self, x: torch.Tensor) -> None:
        """Add the tokens of ``x``, float ``[..., in_features]``."""
        flat = x.detach().reshape(-1, x.shape[-1]).float()
        self.num_tokens += flat.shape[0]
        torch.maximum(self.absmax, flat.abs().amax(dim=0), out=self.absmax)
        if self.gram is not None:
            self.gram.addmm_(flat.t(), flat)


def observe_inputs(
    loaded: LoadedModel, blocks: list[Block], sequences: Sequence[Sequence[int]], *, gram: bool
) -> dict[str, InputStats]:
    """Run the model over token sequences and return the input statistics of each linear by full name.

    Linears of one group share their statistics. Raises MeasurementError where there is nothing to run.
    """
    if not sequences:
        raise MeasurementError("calibration has no text: its set gave no sequence")
    with _watching(blocks, gram=gram) as stats, torch.inference_mode():
        for sequence in sequences:
            loaded.model.model(input_ids=torch.tensor([list(sequence)], device=loaded.model.device), use_cache=False)
    return stats


@contextlib.contextmanager
def _watching(blocks: list[Block], *, gram: bool) -> Iterator[dict[str, InputStats]]:
    stats: dict[str, InputStats] = {}
    hooks = []
    for group in (group for block in blocks for group in block.groups):
        shared = _empty_stats(group, gram=gram)
        stats.update(dict.fromkeys(group.names, shared))
        hooks.append(group.linears[0].register_forward_pre_hook(lambda _module, args, s=shared: s.update(args[0])))
    try:
        yield stats
    finally:
        for hook in hooks:
            hook.remove()


def _empty_stats(group: LinearGroup, *, gram: bool) -> InputStats:
    width, device = group.linears[0].in_features, group.linears[0].weight.device
    matrix = torch.zeros(width, width, device=device) if gram else None
    return InputStats(num_tokens=0, absmax=torch.zeros(width, device=device), gram=matrix)
