"""Generation beside lm-evaluation-harness's `hf` model: the same prompts, limits and stops, in turn, in one process.

python tests/studies/generation.py                                       # the tables of generation.md
python tests/studies/generation.py --without-peer --items 5 --tasks word-problems   # a sample

The peer needs an environment with both: pip install -e . lm_eval==0.4.13 accelerate==1.15.0. Both run the same model
object in float32 on the same threads and stop at the tokenizer's end token or the limit. The peer gets the fastest of
several batch sizes, found before on a part of the items. Loading is not counted. Seconds are CPU time, which on one
thread of a machine of its own is what the clock shows.
"""

import argparse
import copy
import dataclasses
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

import quantguard
from quantguard import benchmarks
from quantguard.benchmarks import choose_subset
from quantguard.engines._prompting import Request, render
from quantguard.engines.transformers import generation as engine
from quantguard.engines.transformers.in_process import InProcess
from quantguard.modeling import LoadedModel
from quantguard.records import Generation, GenerationConfig

PEER_BATCH_SIZES = (32, 64, 128)
# A quarter of a page of examples, which every prompt of the task "few-shot" begins with.
NUM_SHOTS = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What both are asked."""

    loaded: LoadedModel
    prompts: dict[str, str]
    max_new_tokens: int


def word_problems(items: int) -> Task:
    """Ask tiny-reasoner the word problems through its chat template, with the benchmark's limit."""
    data = benchmarks.members["word-problems"].load()
    prompts = {sample.id: sample.input for sample in choose_subset(data, items, seed=0)}
    return Task(loaded=quantguard.load("tiny-reasoner"), prompts=prompts, max_new_tokens=data.max_new_tokens)


def few_shot(items: int) -> Task:
    """Let SmolLM2-135M go on behind examples that all prompts share: 190 of some 240 tokens."""
    data = benchmarks.members["word-problems"].load()
    chosen = choose_subset(data, items, seed=0)
    shots = [sample for sample in data.samples if sample not in chosen][:NUM_SHOTS]
    head = "".join(f"Question: {shot.input}\nAnswer: {shot.target}\n\n" for shot in shots)
    prompts = {sample.id: f"{head}Question: {sample.input}\nAnswer: Let's think step by step." for sample in chosen}
    loaded = quantguard.load("smollm2-135m", dtype="float32")
    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.chat_template = None
    return Task(loaded=dataclasses.replace(loaded, tokenizer=tokenizer), prompts=prompts, max_new_tokens=64)


TASKS: dict[str, Callable[[int], Task]] = {"word-problems": word_problems, "few-shot": few_shot}


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed, in turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peer-batch-sizes", nargs="+", type=int, default=PEER_BATCH_SIZES)
    parser.add_argument("--sweep-items", type=int, default=64, help="items by which the peer's batch size is chosen")
    parser.add_argument("--without-peer", action="store_true", help="time quantguard alone")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, float32, {args.threads} threads, {args.items} items, {args.rounds} rounds\n")
    print("| task | tool | batch | tokens | CPU seconds of each round | items/s | tokens/s | same answers |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in args.tasks:
        compare(name, TASKS[name](args.items), args)


def compare(name: str, task: Task, args: argparse.Namespace) -> None:
    """Time both in turn and print their rows, and how close every difference was."""
    generate(_part(task, 2))
    size = None if args.without_peer else best_peer_batch_size(_part(task, args.sweep_items), args.peer_batch_sizes)
    other = None if size is None else peer(task, size)
    rounds = [(timed(generate, task), None if other is None else timed(other, task)) for _ in range(args.rounds)]
    ours = rounds[-1][0][1]
    texts = {key: generation.text for key, generation in ours.items()}
    tokens = sum(generation.num_tokens for generation in ours.values())
    print(
        row(
            f"{name} | quantguard | {InProcess(task.loaded).default_batch_size} | {tokens}",
            [own[0] for own, _ in rounds],
            len(texts),
            tokens,
            "-",
        )
    )
    if size is None:
        return
    answers = rounds[-1][1]
    assert answers is not None
    different = [key for key, text in answers[1].items() if text != texts[key]]
    seconds = [theirs[0] for _, theirs in rounds if theirs is not None]
    same = f"{len(texts) - len(different)} of {len(texts)}"
    print(row(f"{name} | lm-eval hf | {size} | {tokens}", seconds, len(texts), tokens, same))
    ratios = [peers / own[0] for (own, _), peers in zip(rounds, seconds, strict=True)]
    print(f"\n{name}: {statistics.median(ratios):.2f} times as fast ({', '.join(f'{r:.2f}' for r in ratios)})")
    for key in different:
        print(f"{key}: the two best logits are {margin(task, key, texts[key], answers[1][key]):.1e} apart")
    print(flush=True)


def row(head: str, seconds: list[float], items: int, tokens: int, same: str) -> str:
    """Return a row of the table, rates by the median of the rounds."""
    median = statistics.median(seconds)
    each = ", ".join(f"{value:.2f}" for value in seconds)
    return f"| {head} | {each} | {items / median:.1f} | {tokens / median:.0f} | {same} |"


def timed(run: Callable[[Task], Any], task: Task) -> tuple[float, Any]:
    """Return the CPU seconds of a run and what it returned: others on the machine count less than in its wall time."""
    started = time.process_time()
    found = run(task)
    return time.process_time() - started, found


def generate(task: Task) -> dict[str, Generation]:
    """Answer with quantguard."""
    found: dict[str, Generation] = {}
    engine.generate(
        task.loaded,
        [Request(sample_id=key, epoch=0, text=text) for key, text in task.prompts.items()],
        GenerationConfig(max_new_tokens=task.max_new_tokens),
        batch_size=InProcess(task.loaded).default_batch_size,
        finished=lambda generation: found.update({generation.sample_id: generation}),
    )
    return found


def peer(task: Task, batch_size: int) -> Callable[[Task], dict[str, str]]:
    """Return what answers with the peer."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    # It reads prompts as they are rendered, as we do.
    tool = HFLM(
        pretrained=task.loaded.model,
        tokenizer=task.loaded.tokenizer,
        batch_size=batch_size,
        device="cpu",
        add_bos_token=False,
    )

    def run(task: Task) -> dict[str, str]:
        settings = {"until": [], "max_gen_toks": task.max_new_tokens, "do_sample": False}
        asked = [
            Instance("generate_until", {}, (render(task.loaded, text, None), dict(settings)), index)
            for index, text in enumerate(task.prompts.values())
        ]
        return dict(zip(task.prompts, tool.generate_until(asked, disable_tqdm=True), strict=True))

    return run


def best_peer_batch_size(task: Task, sizes: Sequence[int]) -> int:
    """Return the batch size at which the peer is fastest on these items."""
    if len(sizes) == 1:
        return sizes[0]
    seconds = {size: timed(peer(task, size), task)[0] for size in sizes}
    return min(seconds, key=lambda size: seconds[size])


def margin(task: Task, key: str, ours: str, theirs: str) -> float:
    """Return how far apart the two best logits are where two answers part, by one pass over what they share."""

    def encode(text: str) -> list[int]:
        ids: list[int] = task.loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    prompt = encode(render(task.loaded, task.prompts[key], None))
    one, other = encode(ours), encode(theirs)
    shared = next(
        (i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )
    with torch.inference_mode():
        logits = task.loaded.model(torch.tensor([prompt + one[:shared]]), logits_to_keep=1).logits[0, -1]
    best = logits.topk(2).values
    return float(best[0] - best[1])


def _part(task: Task, count: int) -> Task:
    return dataclasses.replace(task, prompts=dict(list(task.prompts.items())[:count]))


if __name__ == "__main__":
    main()
