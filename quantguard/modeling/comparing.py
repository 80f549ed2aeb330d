"""How far a model's next-token predictions are from another's, on given text."""

import math
from collections.abc import Iterable, Sequence

import torch

from quantguard.errors import MeasurementError
from quantguard.modeling.loading import LoadedModel

Text = Sequence[Sequence[int]]


def compare_logits(
    candidate: LoadedModel, reference: LoadedModel, sequences: Text, *, starts: Sequence[int] | None = None
) -> dict[str, float]:
    """Compare two models over token sequences, position by position.

    ``starts`` is the number of tokens of each sequence that are read only, and not compared on; absent, the first.
    Returns ``perplexity`` and ``reference_perplexity`` (over tokens 2.. of each sequence), ``kl`` (mean KL divergence
    of the candidate from the reference, nats), ``top1_agreement`` (0..1) and ``flips``, the share of positions where
    one of the two predicts the token that comes, and the other does not; all over the same positions.
    """
    expected = (log_probabilities(reference, sequence) for sequence in sequences)
    return compare_with(candidate, expected, sequences, starts=starts)


def compare_with(
    candidate: LoadedModel,
    expected: Iterable[torch.Tensor],
    sequences: Text,
    *,
    starts: Sequence[int] | None = None,
) -> dict[str, float]:
    """As :func:`compare_logits`, with what :func:`log_probabilities` of the reference gave for every sequence."""
    totals = torch.zeros(5, dtype=torch.float64)
    count = 0
    for sequence, whole, start in zip(sequences, expected, starts or [1] * len(sequences), strict=True):
        found, reference = log_probabilities(candidate, sequence)[start - 1 :], whole[start - 1 :]
        targets = torch.tensor(sequence[start:], device=found.device)[:, None]
        totals += (
            torch.stack(
                (
                    -found.gather(1, targets).sum(),
                    -reference.gather(1, targets).sum(),
                    torch.nn.functional.kl_div(found, reference, reduction="sum", log_target=True),
                    (found.argmax(dim=1) == reference.argmax(dim=1)).sum(),
                    ((found.argmax(dim=1) == targets[:, 0]) != (reference.argmax(dim=1) == targets[:, 0])).sum(),
                )
            )
            .double()
            .cpu()
        )
        count += len(sequence) - start
    if count == 0:
        raise MeasurementError("there is no text to compare the models on")
    if not totals.isfinite().all():
        raise MeasurementError(f"{candidate.name} or what it is compared with computes NaN or infinity")
    loss, reference_loss, divergence, agreement, flips = (totals / count).tolist()
    return {
        "perplexity": math.exp(loss),
        "reference_perplexity": math.exp(reference_loss),
        "kl": divergence,
        "top1_agreement": agreement,
        "flips": flips,
    }


def log_probabilities(loaded: LoadedModel, sequence: Sequence[int]) -> torch.Tensor:
    """Return float32 ``[num_tokens - 1, vocabulary]`` for the tokens of a sequence that have a successor."""
    return logits_behind(loaded, sequence, len(sequence) - 1).log_softmax(dim=-1)


@torch.inference_mode()
def logits_behind(loaded: LoadedModel, sequence: Sequence[int], count: int) -> torch.Tensor:
    """Read a sequence at once; return float32 ``[count, vocabulary]`` for its last tokens that have a successor."""
    ids = torch.tensor([list(sequence)], device=loaded.model.device)
    logits: torch.Tensor = loaded.model(input_ids=ids, use_cache=False, logits_to_keep=count + 1).logits[0, :-1]
    return logits.float()
