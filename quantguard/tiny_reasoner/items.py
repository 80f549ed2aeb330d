"""Write the items of the ``word-problems`` benchmark: ``python -m quantguard.tiny_reasoner.items > FILE.jsonl``."""

import json
import random
import sys
from collections.abc import Iterator

from quantguard.tiny_reasoner.problems import STEP_COUNTS, Problem, generate

ITEM_SEED = 20_261_121
ITEMS_PER_STEP_COUNT = 240


def benchmark_problems() -> Iterator[Problem]:
    """Yield distinct held-out problems, the numbers of steps taking turns."""
    rng, seen = random.Random(ITEM_SEED), set()
    for _ in range(ITEMS_PER_STEP_COUNT):
        for num_steps in STEP_COUNTS:
            problem = generate(rng, num_steps=num_steps, held_out=True)
            while problem.question in seen:
                problem = generate(rng, num_steps=num_steps, held_out=True)
            seen.add(problem.question)
            yield problem


def lines() -> Iterator[str]:
    """Yield one JSON object an item; ids are stable: ``wp-0001`` and so on."""
    for number, problem in enumerate(benchmark_problems(), start=1):
        item = {
            "id": f"wp-{number:04d}",
            "input": problem.question,
            "target": str(problem.answer),
            "metadata": {"steps": len(problem.steps)},
        }
        yield json.dumps(item, ensure_ascii=False)


def main() -> None:
    """Print the items."""
    for line in lines():
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
