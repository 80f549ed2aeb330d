"""How far a model's next-token predictions are from another's, on given text."""

import math
from collections.abc import Sequence

import torch

from quantguard.errors import MeasurementError
from quantguard.modeling.loading import LoadedModel


def compare_logits(
    candidate: LoadedModel, reference: LoadedModel, sequences: Sequence[Sequence[int]]
) -> dict[str, float]:
    """Compare two models over token sequences, position by position.

    Returns ``perplexity`` and ``reference_perplexity`` (over tokens 2.. of each sequence), ``kl`` (mean KL divergence
    of the candidate from the reference, nats) and ``top1_agreement`` (0..1); the last two over the same positions.
    """
    totals = torch.zeros(4, dtype=torch.float64)
    count = 0
    with torch.inference_mode():
        for sequence in sequences:
            ids = torch.tensor([list(sequence)], device=candidate.model.device)
            expected, found = (_log_probabilities(loaded, ids) for loaded in (reference, candidate))
            targets = ids[0, 1:, None]
            totals += (
                torch.stack(
                    (
                        -found.gather(1, targets).sum(),
                        -expected.gather(1, targets).sum(),
                        torch.nn.functional.kl_div(found, expected, reduction="sum", log_target=True),
                        (found.argmax(dim=1) == expected.argmax(dim=1)).sum(),
                    )
                )
                .double()
                .cpu()
            )
            count += ids.shape[1] - 1
    if count == 0:
        raise MeasurementError("there is no text to compare the models on")
    loss, reference_loss, divergence, agreement = (totals / count).tolist()
    return {
        "perplexity": math.exp(loss),
        "reference_perplexity": math.exp(reference_loss),
        "kl": divergence,
        "top1_agreement": agreement,
    }


def _log_probabilities(loaded: LoadedModel, ids: torch.Tensor) -> torch.Tensor:
    """Return float32 ``[num_tokens - 1, vocabulary]`` for the tokens that have a successor."""
    logits: torch.Tensor = loaded.model(input_ids=ids, use_cache=False).logits[0, :-1]
    return logits.float().log_softmax(dim=-1)
