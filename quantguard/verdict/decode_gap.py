"""The decode gap: do a model's logits in decoding agree with its logits in prefill?

Decoding goes token by token through the KV cache; prefill reads the same text at once. Both compute the same function,
so their gap is rounding: of other batch shapes, and in a quantized model of activations that are rounded differently
as a result. That is far below what quantization itself changes, the distance between the two models' prefill logits.
The gap is larger if the cache is quantized otherwise than prefill assumes, or if its positions are mixed up.
"""

from collections.abc import Mapping

from quantguard.records import Verdict
from quantguard.verdict.ratio import judge_ceiling

METRIC = "decode gap"
# The largest typical gap (that of the median token) as a share of the distance from full precision. Measured on
# tiny-reasoner: at most 0.1 with the cache that was asked for (bfloat16; 0.05 in float32), and 0.4 to 1.3 with a cache
# that is not quantized or has 6 bits instead of 8 or 4.
TYPICAL_SHARE = 0.25
# The largest gap of a batch (the mean over its tokens), as the same share. If the activations of an early token round
# differently, every later token of the text moves: 0.5 was seen. Two unrelated roundings would be 1.4 apart.
LARGEST_SHARE = 2.0
# Full precision's own gap is measured once; these factors allow for its variation.
TYPICAL_NOISE, LARGEST_NOISE = 3.0, 10.0
# The largest decode gap of full precision itself: 5e-7 and 2e-3 were measured over 4 layers; deep models round more.
LARGEST_REFERENCE_GAP = {"float64": 1e-3, "float32": 1e-3, "bfloat16": 0.05, "float16": 0.05}


def judge_decode_gap(found: Mapping[str, float], *, dtype: str) -> Verdict:
    """Judge the gaps that the fidelity measurement found, all of them shares of the logits.

    ERROR if full precision's own decode gap is too large, REGRESSED if only the candidate's is.
    """
    floor, largest = found["reference_decode_gap"], LARGEST_REFERENCE_GAP[dtype]
    if floor > largest:
        return Verdict(
            outcome="ERROR",
            metric=METRIC,
            reason=(
                f"full precision writes by other logits than it reads: {floor:.2%} apart, and {dtype} explains"
                f" {largest:.1%}. The engine, its cache or its positions are broken: no gate's answers can be trusted"
            ),
        )
    # Each batch has a bound of its own: one batch with a mixed-up cache would not move the median over all of them.
    for batch, gap in _of_batches(found, "decode_gap_"):
        allowed = LARGEST_SHARE * found[f"reading_gap_{batch}"] + LARGEST_NOISE * floor
        if gap > allowed:
            return _judge(gap, allowed, f" ({batch.replace('_', ' ')})")
    return _judge(found["decode_gap"], TYPICAL_SHARE * found["reading_gap"] + TYPICAL_NOISE * floor, "")


def _of_batches(found: Mapping[str, float], prefix: str) -> list[tuple[str, float]]:
    return [(name.removeprefix(prefix), value) for name, value in found.items() if name.startswith(prefix)]


def _judge(gap: float, allowed: float, where: str) -> Verdict:
    reason = (
        f"token by token through the cache{where} its logits are {gap:.2g} from those of the same text read at once"
    )
    if gap > allowed:
        reason += f", more than the {allowed:.2g} that rounding explains: its cache is not what was asked for"
    return judge_ceiling(gap, maximum=allowed, metric=METRIC, reason=reason)
