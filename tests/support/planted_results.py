"""Results of every outcome, and texts that a page has to survive."""

import dataclasses
import math
import pathlib
import random
import subprocess
from typing import Any

from quantguard import baselines, registry
from quantguard.baselines import Acceptance, Baseline
from quantguard.gates import TEST, GateResult, compared_with
from quantguard.records import Generation, GenerationConfig, LayerReport, RunRecord, Score, TimedBlock, Verdict
from quantguard.verdict import AccuracyRule, judge_accuracy, judge_ceiling, judge_speedup
from tests.support.fingerprints import fingerprint_of

HOSTILE = {
    "script": "</pre></details><script>document.title='owned'</script><img src=x onerror=alert(1)>",
    "attribute": '" onmouseover="alert(1)" data-x=\'',
    "link": "<a href='https://example.com/x'>x</a><link rel=stylesheet href=//example.com/y.css>",
    "rtl": "abc \u202edrow sdrawkcab\u202c 12 \u2067\u0645\u0631\u062d\u0628\u0627\u2069",
    "null": "before\x00after\x1b[31mred\x07",
    "long line": "9" * 20_000,
    "long text": "\n".join(f"Step {i}: we add {i} and {i}." for i in range(2000)),
    "half": "a half \ud83d of a sign",
    "template": "{{ 7 * 191 }}{% for x in y %}",
    "markdown": "| a | `b` | @everyone [x](https://example.com) ![](https://example.com/i.png) #12",
}


def score(sample_id: str, value: float, answer: str | None, **changes: object) -> Score:
    plain = Score(
        sample_id=sample_id,
        epoch=0,
        value=value,
        answer=answer,
        explanation="boxed",
        num_tokens=120,
        finish_reason="stop",
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def accuracy(
    *, lost: int, gained: int, n: int = 300, recipe: str = "w8a8", text: str | None = None, texts_of_both: bool = False
) -> GateResult:
    """Judge a run that loses and gains so many of ``n`` items; ``text`` is what it writes."""
    data = registry.benchmarks["word-problems"].load()
    ids = [sample.id for sample in data.samples[:n]]
    ids += [f"extra-{index}" for index in range(n - len(ids))]
    answers = [("17", "18") if index % 2 else ("$\\frac{3}{4}$", "0.75") for index in range(n)]
    old = [score(id_, float(not lost <= index < lost + gained), answers[index][0]) for index, id_ in enumerate(ids)]
    new = [score(id_, float(index >= lost), answers[index][1], num_tokens=140) for index, id_ in enumerate(ids)]
    written = "<think>\nThere are 12 boxes with 6 pens each.\n12 × 6 = 72\n</think>\nThe answer is \\boxed{72}."
    generations = tuple(
        Generation(sample_id=id_, epoch=0, text=text or written, num_tokens=140, finish_reason="stop") for id_ in ids
    )
    record = RunRecord(
        model="tiny-reasoner",
        recipe=None,
        benchmark="word-problems",
        platform="cpu",
        generation_config=GenerationConfig(max_new_tokens=512),
        scores=tuple(new),
        kernels={"int8_linear": "cpu (28 layers)"},
        fingerprint=fingerprint_of(data=data.sha256, weights="5c8ad66c" * 8, engine="transformers/1", scorer="boxed/1"),
        recorded={"torch": "2.13.0", "python": "3.11.9", "batch_size": "32", "seed": "0"},
        metrics={
            "accuracy": sum(s.value or 0.0 for s in new) / n,
            "truncated": 0.003,
            "unparsed": 0.0,
            "repeating": 0.0,
            "mean_num_tokens": 140.0,
        },
        generations=generations,
    )
    verdict = judge_accuracy(new, old, expected_ids=ids, rule=AccuracyRule(tol=0.045))
    result = GateResult(
        gate="accuracy",
        model="tiny-reasoner",
        recipe=recipe,
        subject="word-problems",
        platform="cpu",
        verdict=verdict,
        notes=("down_proj keeps 8 bits: its group of 128 does not divide 352",),
        record=record,
        layers=tuple(
            LayerReport(
                name=f"model.layers.{index}",
                relative_error=0.0004 * (1 + index % 5) ** 2,
                linear_errors={"self_attn.q_proj": 0.0002 * (1 + index), "mlp.down_proj": 0.001 * (1 + index)},
            )
            for index in range(8)
        ),
    )
    before = generations if texts_of_both else ()
    return compared_with(result, "the run accepted on 2026-11-22", old, path="baselines/none.json", generations=before)


def timed_blocks(
    *, speedup: float, num_blocks: int, noise: float = 0.02, seed: int = 0, drift: float = 1.0
) -> list[TimedBlock]:
    """Time a planted candidate in blocks on a planted machine, which ends ``drift`` times as slow as it started."""
    draw = random.Random(seed)

    def seconds(number: int, base: float) -> float:
        return base * math.exp(math.log(drift) * number / (4 * num_blocks) + draw.gauss(0, noise))

    blocks = []
    for number in range(0, 4 * num_blocks, 4):
        a, b, c, d = (seconds(number + i, 0.005 if i in (0, 3) else 0.005 / speedup) for i in range(4))
        blocks.append(TimedBlock(reference_seconds=(a, d), candidate_seconds=(b, c)))
    return blocks


def latency(
    recipe: str = "w8a8", minimum: float = 1.2, seed: int = 0, stage: str = "prefill", drift: float = 1.0
) -> GateResult:
    blocks = tuple(timed_blocks(speedup=1.5, num_blocks=60, noise=0.06, seed=seed, drift=drift))
    return GateResult(
        gate="latency",
        model="tiny-reasoner",
        recipe=recipe,
        subject="prefill of 256 tokens" if stage == "prefill" else "decode after 256 tokens",
        platform="cpu",
        verdict=judge_speedup(blocks, minimum=minimum, metric=f"{stage} speed-up"),
        timings=blocks,
    )


def memory(ratio: float = 0.284, maximum: float = 0.6) -> GateResult:
    reason = f"2.9 MB of weights in memory, {ratio:.3f} of the 10.2 MB that full precision is stored in"
    return GateResult(
        gate="memory",
        model="tiny-reasoner",
        recipe="w8a8",
        subject="weights",
        platform="cpu",
        verdict=judge_ceiling(ratio, maximum=maximum, metric="weight bytes", reason=reason),
    )


def error(
    reason: str = "there is no baseline baselines/cpu/x.json. Type: pytest --quantguard-update=new",
) -> GateResult:
    return GateResult(
        gate="accuracy",
        model="tiny-reasoner",
        recipe="gptq-w4a16",
        subject="word-problems",
        platform="cpu",
        verdict=Verdict(outcome="ERROR", metric="accuracy", reason=reason),
    )


def measured() -> GateResult:
    """A baseline that was measured and not judged."""
    result = accuracy(lost=2, gained=1, recipe="awq-w4a16", texts_of_both=True)
    return dataclasses.replace(result, pending=baseline(0.8), pending_path="baselines/none.json")


def crashed() -> GateResult:
    """A gate that nobody meant to end as it did."""
    calls = "".join(f'  File "/repo/op_{i}.py", line {i + 40}, in run\n    run(x)\n' for i in range(40))
    said = "RuntimeError: Expected all tensors to be on the same device, but found cpu and npu:0"
    traceback = f"Traceback (most recent call last):\n{calls}{said}\n"
    return dataclasses.replace(error(f"the gate raised {said}"), traceback=traceback)


def of_test(subject: str, reason: str, **more: Any) -> GateResult:
    """What is said of a test as a whole."""
    verdict = Verdict(outcome="ERROR", metric=TEST, reason=reason)
    return GateResult(gate=TEST, model="", recipe="", subject=subject, platform="", verdict=verdict, **more)


def every_outcome() -> list[tuple[str, GateResult]]:
    results = [
        accuracy(lost=40, gained=5, recipe="w3a16"),
        accuracy(lost=14, gained=4, recipe="w4a4"),
        accuracy(lost=2, gained=3),
        latency(),
        latency(recipe="w4a8", minimum=1.7, seed=1),
        latency(stage="decode", seed=2, drift=3.0),
        memory(),
        memory(ratio=0.71),
        error(),
        measured(),
    ]
    others = [
        (
            "test_2",
            of_test(
                "test_2", "the test's own assertion failed: assert 7 == 6", traceback="Traceback …\nAssertionError"
            ),
        ),
        ("test_crash", crashed()),
        ("test_lost", of_test("test_lost", "the worker was lost: worker 'gw1' crashed while running 'test_lost'")),
        ("test_npu", of_test("test_npu", "needs an Ascend NPU: run pytest with --npu", unjudged="SKIPPED")),
        ("test_last", of_test("test_last", "the run ended before it: stopping after 1 failures", unjudged="NOT RUN")),
    ]
    rows = [*((f"test_{index}", result) for index, result in enumerate(results)), *others]
    return [(f"tests/test_release.py::{test}", result) for test, result in rows]


def hostile() -> list[tuple[str, GateResult]]:
    """Results whose every text is one that wants to break out of the page."""
    results = []
    for name, text in HOSTILE.items():
        result = accuracy(lost=3, gained=1, n=60, recipe=f"hostile {name}", text=text, texts_of_both=True)
        counterparts = tuple(
            dataclasses.replace(other, score=dataclasses.replace(other.score, answer=text))
            for other in result.counterparts
        )
        layers = (LayerReport(name=text[:300], relative_error=0.1),)
        changed = dataclasses.replace(
            result, model=text[:200], notes=(text,), counterparts=counterparts, layers=layers, against=text[:100]
        )
        changed = dataclasses.replace(
            changed, traceback=text, verdict=dataclasses.replace(changed.verdict, reason=text[:3000])
        )
        results.append((f"test_{text[:100]}", changed))
        results.append((f"test_{text[:100]}", of_test(text[:100], text[:3000], traceback=text)))
    return results


def baseline(accepted: float, reference: float = 0.85, n: int = 100) -> Baseline:
    """Return a baseline of the embedded model with these accuracies."""
    sides = {"accepted": accepted, "reference": reference}
    rows = [{side: score(f"wp-{i}", float(i < rate * n), "1") for side, rate in sides.items()} for i in range(n)]
    return Baseline(
        platform="cpu",
        model="tiny-reasoner",
        recipe="w8a8",
        benchmark="word-problems",
        fingerprint=fingerprint_of(weights="0" * 64),
        recorded={},
        acceptance=Acceptance(by="Ada", on="2026-11-22", why=f"accepted at {accepted}"),
        items=tuple(baselines.BaselineItem(sample_id=f"wp-{i}", epoch=0, **row) for i, row in enumerate(rows)),
    )


def commit_baselines(folder: pathlib.Path, accuracies: list[float]) -> pathlib.Path:
    """Commit one baseline file with these accuracies after each other; return its path."""
    path = folder / "baselines/w8a8.json"
    git(folder, "init", "--quiet")
    for rate in accuracies:
        baselines.write(path, baseline(rate))
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", f"Accept {rate}")
    return path


def git(folder: pathlib.Path, *arguments: str) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)
