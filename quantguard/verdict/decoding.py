"""Does a model write by what it reads? Its logits token by token, through the cache, beside those of one reading.

The two ways are the same function, so their gap is rounding: that of other batch shapes, and in a quantized model that
of activations which are rounded another way for it. Both are far below what quantization itself has changed, the
distance of the two models' readings. A cache that is not quantized as the reading is, or mixes up its places, is not.
"""

from collections.abc import Mapping

from quantguard.records import Verdict
from quantguard.verdict.ratio import judge_ceiling

METRIC = "decode gap"
# Of the distance from full precision, over half of the tokens. Measured on tiny-reasoner: at most 0.1 with the cache
# that was asked for (bfloat16; 0.05 in float32), and 0.4 to 1.3 without quantization or with 6 bits for 8 or 4.
TYPICAL_SHARE = 0.25
# A token whose activations are rounded otherwise, ahead of all others of a text, moves each of them: 0.5 was seen. Two
# roundings that have nothing to do with each other would be 1.4 apart.
LARGEST_SHARE = 2.0
# Full precision's own gap is measured once, and is let vary by so much.
TYPICAL_NOISE, LARGEST_NOISE = 3.0, 10.0
# What full precision's two ways may differ by: 5e-7 and 2e-3 were measured over 4 layers, and deep models round more.
LARGEST_REFERENCE_GAP = {"float64": 1e-3, "float32": 1e-3, "bfloat16": 0.05, "float16": 0.05}


def judge_decoding(found: Mapping[str, float], *, dtype: str) -> Verdict:
    """Judge what ``compare_ways`` of the pipeline measured, all of it shares of the logits.

    ERROR where full precision itself does not write by what it reads, and REGRESSED where the candidate alone does not.
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
