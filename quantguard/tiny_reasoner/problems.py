"""Seeded word problems of one to five arithmetic steps: the world that tiny-reasoner lives in.

Every number is an integer from 0 to 99, every problem has one answer, and a problem is worked through
digit by digit, which is what makes a model of a few million parameters able to learn it.

The stream is split in two by content, not by seed: :func:`is_held_out` hashes the arithmetic of a problem
(its text too where there is a single step), training skips what is held out and the ``word-problems``
benchmark consists of nothing else. No renaming of apples to pears can carry a benchmark problem of two or more steps
into training; of single steps there are too few for that, so there the text counts too.
"""

import dataclasses
import hashlib
import random
from collections.abc import Callable

MAX_VALUE = 99
STEP_COUNTS = (1, 2, 3, 4, 5)
MODES = ("slow_think", "auto_think", "no_think")

_NAMES = ("Tom", "Sue", "Ann", "Ben", "Max", "Eve", "Kim", "Leo", "Mia", "Sam", "Zoe", "Dan", "Amy", "Bob", "Lin")
_THINGS = ("apples", "marbles", "books", "coins", "cards", "shells", "pens", "stamps", "toys", "beads", "eggs")
_CONTAINERS = ("boxes", "bags", "jars", "baskets", "trays")
# One part in HELD_OUT_PARTS of all problems never enters training.
_HELD_OUT_PARTS = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One binary operation on integers: ``left operator right = result``, operator one of ``+ - * /``."""

    left: int
    operator: str
    right: int
    result: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question, the arithmetic that solves it, and its answer."""

    question: str
    steps: tuple[Step, ...]
    answer: int


def is_held_out(problem: Problem) -> bool:
    """Tell whether a problem belongs to the benchmark's side of the split."""
    key = " ".join(f"{s.left}{s.operator}{s.right}" for s in problem.steps)
    if len(problem.steps) == 1:
        key += problem.question
    return hashlib.sha256(key.encode()).digest()[0] % _HELD_OUT_PARTS == 0


def generate(rng: random.Random, *, num_steps: int, held_out: bool) -> Problem:
    """Draw a problem of exactly ``num_steps`` steps from one side of the split."""
    families = _FAMILIES[num_steps]
    while True:
        problem = rng.choice(families)(rng, num_steps)
        if is_held_out(problem) == held_out:
            return problem


def bare_sum(rng: random.Random, *, held_out: bool) -> Problem:
    """Draw a problem that is a single operation in figures, such as ``What is 27+14?``."""
    while True:
        step = _draw_step(rng, rng.randint(2, MAX_VALUE))
        question = f"What is {step.left}{step.operator}{step.right}?"
        problem = Problem(question=question, steps=(step,), answer=step.result)
        if is_held_out(problem) == held_out:
            return problem


def _draw_step(rng: random.Random, value: int, *, operators: str = "+-*/") -> Step:
    """Choose an operation on ``value`` whose result stays within 0..99; additions and subtractions prevail."""
    while True:
        operator = rng.choices("+-*/", (0.38, 0.38, 0.14, 0.10))[0]
        if operator not in operators:
            continue
        if operator == "+" and value <= MAX_VALUE - 2:
            right = rng.randint(2, min(60, MAX_VALUE - value))
            return Step(left=value, operator="+", right=right, result=value + right)
        if operator == "-" and value >= 2:
            right = rng.randint(min(2, value - 1), value - 1)
            return Step(left=value, operator="-", right=right, result=value - right)
        right = rng.randint(2, 5)
        if operator == "*" and 2 <= value <= MAX_VALUE // right:
            return Step(left=value, operator="*", right=right, result=value * right)
        if operator == "/" and value >= 2 * right and value % right == 0:
            return Step(left=value, operator="/", right=right, result=value // right)


def _events(rng: random.Random, num_steps: int) -> Problem:
    """Somebody owns things, and one event after another changes how many."""
    name, thing, value = rng.choice(_NAMES), rng.choice(_THINGS), rng.randint(3, 60)
    sentences = [rng.choice((f"{name} has {value} {thing}.", f"{name} starts with {value} {thing}."))]
    steps = []
    for index in range(num_steps):
        step = _draw_step(rng, value)
        lead = rng.choice(("Then", "Next", "After that", "Later")) if index else rng.choice(("", "Then"))
        sentences.append(_sentence(lead, _event(rng, step, name)))
        steps.append(step)
        value = step.result
    sentences.append(rng.choice((f"How many {thing} does {name} have now?", f"How many {thing} are left with {name}?")))
    return Problem(question=" ".join(sentences), steps=tuple(steps), answer=value)


def _event(rng: random.Random, step: Step, name: str) -> str:
    """Word one step as something that happens to ``name``."""
    count = step.right
    if step.operator == "+":
        giver = rng.choice([other for other in _NAMES if other != name])
        return rng.choice(
            (f"{name} buys {count} more", f"{name} finds {count} more", f"{giver} gives {name} {count} more")
        )
    if step.operator == "-":
        return rng.choice((f"{name} loses {count}", f"{name} gives away {count}", f"{name} sells {count}"))
    if step.operator == "*":
        return f"the number grows to {count} times as many"
    return f"{name} splits them into {count} equal groups and keeps one group"


def _sentence(lead: str, clause: str) -> str:
    return f"{lead} {clause}." if lead else f"{clause[0].upper()}{clause[1:]}."


def _containers(rng: random.Random, num_steps: int) -> Problem:
    """Containers hold the same number each; then some are added or taken away."""
    thing, container = rng.choice(_THINGS), rng.choice(_CONTAINERS)
    first = _product(rng, 2, 9, 2, 29)
    sentences = [f"There are {first.left} {container} with {first.right} {thing} in each."]
    steps = [first]
    for _ in range(num_steps - 1):
        step = _draw_step(rng, steps[-1].result, operators="+-")
        more = step.operator == "+"
        sentences.append(f"{step.right} more {thing} are added." if more else f"{step.right} {thing} are taken away.")
        steps.append(step)
    sentences.append(f"How many {thing} are there now?")
    return Problem(question=" ".join(sentences), steps=tuple(steps), answer=steps[-1].result)


def _product(rng: random.Random, left_low: int, left_high: int, right_low: int, right_high: int) -> Step:
    """Draw a product that stays within 0..99."""
    while True:
        left, right = rng.randint(left_low, left_high), rng.randint(right_low, right_high)
        if left * right <= MAX_VALUE:
            return Step(left=left, operator="*", right=right, result=left * right)


def _purchase(rng: random.Random, num_steps: int) -> Problem:
    """Two kinds of things are bought; three steps give the price, a fourth the change."""
    name, (thing, other) = rng.choice(_NAMES), rng.sample(_THINGS, 2)
    while True:
        first, second = _product(rng, 2, 6, 2, 15), _product(rng, 2, 6, 2, 15)
        total = first.result + second.result
        if total <= MAX_VALUE:
            break
    question = (
        f"{name} buys {first.left} {thing} for {first.right} dollars each"
        f" and {second.left} {other} for {second.right} dollars each."
    )
    price = Step(left=first.result, operator="+", right=second.result, result=total)
    if num_steps == 3:
        question += f" How many dollars does {name} pay?"
        return Problem(question=question, steps=(first, second, price), answer=total)
    paid = rng.randint(total, MAX_VALUE)
    change = Step(left=paid, operator="-", right=total, result=paid - total)
    question += f" {name} pays with {paid} dollars. How many dollars does {name} get back?"
    return Problem(question=question, steps=(first, second, price, change), answer=change.result)


def _comparison(rng: random.Random, num_steps: int) -> Problem:
    """Two or three people are compared; two steps for one of them or a pair, four for the sum of three."""
    (first, second, third), thing = rng.sample(_NAMES, 3), rng.choice(_THINGS)
    while True:
        step = _draw_step(rng, rng.randint(3, 50), operators="+-")
        word = "more" if step.operator == "+" else "fewer"
        start = f"{first} has {step.left} {thing}. {second} has {step.right} {word} than {first}."
        pair = Step(left=step.left, operator="+", right=step.result, result=step.left + step.result)
        if num_steps == 2 and rng.random() < 0.5:
            question = f"{start} How many {thing} do {first} and {second} have together?"
            if pair.result <= MAX_VALUE:
                return Problem(question=question, steps=(step, pair), answer=pair.result)
            continue
        factor = rng.randint(2, 4)
        times = Step(left=step.result, operator="*", right=factor, result=step.result * factor)
        start += f" {third} has {factor} times as many as {second}."
        if num_steps == 2 and times.result <= MAX_VALUE:
            return Problem(
                question=f"{start} How many {thing} does {third} have?", steps=(step, times), answer=times.result
            )
        total = Step(left=pair.result, operator="+", right=times.result, result=pair.result + times.result)
        if num_steps == 4 and total.result <= MAX_VALUE:
            question = f"{start} How many {thing} do they have in total?"
            return Problem(question=question, steps=(step, times, pair, total), answer=total.result)


# Events appear twice so that they stay the most common kind at every number of steps.
_FAMILIES: dict[int, tuple[Callable[[random.Random, int], Problem], ...]] = {
    1: (_events, _events, _containers),
    2: (_events, _events, _containers, _comparison),
    3: (_events, _events, _containers, _purchase),
    4: (_events, _events, _containers, _purchase, _comparison),
    5: (_events, _events, _containers),
}


def reply(problem: Problem, mode: str) -> str:
    """Write the reply that is taught.

    ``slow_think`` works every step out digit by digit before it answers; ``no_think`` writes each step's result
    straight down; ``auto_think`` thinks from two steps on.
    """
    answer = f"The answer is \\boxed{{{problem.answer}}}."
    if mode == "no_think" or (mode == "auto_think" and len(problem.steps) == 1):
        sums = ", ".join(f"{s.left}{s.operator}{s.right}={s.result}" for s in problem.steps)
        return f"{sums}. {answer}"
    lines = "\n".join(f"{i}) {_working(step)}" for i, step in enumerate(problem.steps, start=1))
    return f"<think>\n{lines}\n</think>\n{answer}"


def _working(step: Step) -> str:
    """Work one step out, digit by digit where it has more than one."""
    head = f"{step.left}{step.operator}{step.right}"
    small = step.left < 10 and step.right < 10
    if step.operator == "/" or small:
        return f"{head}={step.result}"
    if step.operator == "+":
        return f"{head}: {_addition(step)}"
    if step.operator == "-":
        return f"{head}: {_subtraction(step)}"
    return f"{head}: {_multiplication(step)}"


def _addition(step: Step) -> str:
    (tens, ones), (more_tens, more_ones) = divmod(step.left, 10), divmod(step.right, 10)
    low = ones + more_ones
    parts = [part for part in (tens, more_tens, low // 10) if part]
    return f"{ones}+{more_ones}={low}, {'+'.join(map(str, parts))}={sum(parts)}, {step.result}"


def _subtraction(step: Step) -> str:
    (tens, ones), (less_tens, less_ones) = divmod(step.left, 10), divmod(step.right, 10)
    borrow = int(ones < less_ones)
    high = f"{tens}{'-1' if borrow else ''}{f'-{less_tens}' if less_tens else ''}={tens - borrow - less_tens}"
    return f"{ones + 10 * borrow}-{less_ones}={ones + 10 * borrow - less_ones}, {high}, {step.result}"


def _multiplication(step: Step) -> str:
    factor, (tens, ones) = min(step.left, step.right), divmod(max(step.left, step.right), 10)
    low, high = factor * ones, factor * tens
    carry = f"{high}+{low // 10}={high + low // 10}, " if low >= 10 else ""
    return f"{factor}*{ones}={low}, {factor}*{tens}={high}, {carry}{step.result}"
