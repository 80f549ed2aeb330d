"""Compare every two right answers of MATH-500, and every one with what it is with one digit or sign changed.

Needs the benchmarks' files: export QUANTGUARD_DATA=FOLDER. The scorer math compares every pair of texts in both
directions. Those that it calls equal have to be the ones that are equal by hand, in EQUAL.

python tests/studies/answers.py              # the tables of answers.md
python tests/studies/answers.py --golds 40   # a sample
"""

import argparse
import itertools
import random
import re
import sys
import time
from collections.abc import Iterator

from quantguard import benchmarks
from quantguard.scorers import math

# Checked by hand: the same value in another spelling, or a unit, currency sign or name that one of them leaves out.
EQUAL = {
    frozenset(pair)
    for pair in (
        (r"\frac14", r"\frac{1}{4}"),
        (r"10,\!080", "10080"),
        (r"2 \sqrt{5}", r"2\sqrt{5}"),
        ("-2,1", "1,-2"),
        ("x=5", "5"),
        ("15", r"15\mbox{ cm}^2"),
        ("36", r"\$36"),
        ("30", r"30^\circ"),
        ("36", r"36^\circ"),
        ("90", r"90^\circ"),
        ("120", r"120^\circ"),
    )
}


def main() -> None:
    """Print both tables; end with status 1 where one of them shows a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golds", type=int, help="draw so many right answers (default: all)")
    count = parser.parse_args().golds
    golds = [str(sample.target) for sample in benchmarks.members["math-500"].load().samples]
    chosen = golds if count is None else random.Random(0).sample(golds, count)
    faults = compare_golds(chosen) + compare_changed(sorted(set(chosen)))
    if faults:
        sys.exit("\n".join(f"a fault: {fault}" for fault in faults))


def compare_golds(golds: list[str]) -> list[str]:
    """Print what is said of every pair, and return the pairs of which something wrong is said."""
    started = time.perf_counter()
    texts = sorted(set(golds))
    equal, one_sided = set(), []
    for left, right in itertools.combinations(texts, 2):
        said = {math.compare(left, right), math.compare(right, left)}
        if len(said) > 1 or next(iter(said))[1] != "mathematics":
            one_sided.append(f"{left} and {right}: {said}")
        if any(value == 1.0 for value, _ in said):
            equal.add(frozenset((left, right)))
    wanted = {pair for pair in EQUAL if pair <= set(texts)}
    num_pairs, num_texts = len(golds) * (len(golds) - 1) // 2, len(texts) * (len(texts) - 1) // 2
    same_text = sum(a == b for a, b in itertools.combinations(golds, 2))
    print("| pairs of golds | of one text | pairs of texts | called equal | of them unequal | missed | seconds |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {num_pairs} | {same_text} | {num_texts} | {len(equal)} | {len(equal - wanted)} | {len(wanted - equal)} |"
        f" {time.perf_counter() - started:.0f} |"
    )
    faults = [" and ".join(sorted(pair)) for pair in equal ^ wanted]
    return [*faults, *one_sided, *(f"{text} is not itself" for text in texts if math.compare(text, text)[0] != 1.0)]


def compare_changed(texts: list[str]) -> list[str]:
    """Print how many changes of a digit or sign are told, and return those that are not."""
    kinds = {"a digit is one more": one_more, "a digit is left out": one_less, "a sign is turned": turned}
    print("\n| change | changed texts | told apart | of them unparsed | called equal |\n|---|---:|---:|---:|---:|")
    faults = []
    for kind, change in kinds.items():
        said = [(text, other, math.compare(other, text)) for text in texts for other in change(text)]
        wrong = [f"{other} for {text}" for text, other, (value, _) in said if value]
        unparsed = sum(rule == "unparsed" for _, _, (_, rule) in said)
        print(f"| {kind} | {len(said)} | {len(said) - len(wrong)} | {unparsed} | {len(wrong)} |")
        faults += wrong
    return faults


def one_more(text: str) -> Iterator[str]:
    """Return the texts with one digit changed."""
    for match in re.finditer("[0-9]", text):
        yield text[: match.start()] + str((int(match[0]) + 1) % 10) + text[match.end() :]


def one_less(text: str) -> Iterator[str]:
    """Return the texts without one of their digits, unless that is a zero at one end of a decimal."""
    for match in re.finditer(r"(?<![0-9])0(?=\.)|(?<=\.)[0-9]*0(?![0-9])|([0-9])", text):
        if match[1]:
            yield text[: match.start()] + text[match.end() :]


def turned(text: str) -> Iterator[str]:
    """Return the text with the first sign of a number turned."""
    bare = text.removeprefix(r"\$")
    if re.match(r"-", bare):
        yield bare[1:]
    elif re.match(r"[1-9.]|\\frac|\\sqrt|\\dfrac", bare):
        yield f"-{bare}"


if __name__ == "__main__":
    main()
