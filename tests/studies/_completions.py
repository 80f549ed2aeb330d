"""Two small tasks that a base-sized model can do: sums of two digits, and the body of a one-line Python function.

Both are plain completions, greedy, without a chat template. A function's body is one expression; it is judged by calls
in a process of its own, with limits, and only if it names nothing that begins with an underscore.
"""

import ast
import copy
import dataclasses
import json
import re
import resource
import subprocess
import sys

from quantguard.engines._prompting import Request
from quantguard.engines.transformers import generation as engine
from quantguard.modeling import LoadedModel
from quantguard.records import GenerationConfig

SHOTS = "2 + 5 = 7\n8 + 1 = 9\n6 + 7 = 13\n3 + 0 = 3\n9 + 4 = 13\n"
# Signature, what it returns, and a call that tells right from wrong, with the value.
FUNCTIONS = (
    ("add(a, b)", "Return the sum of a and b.", "add(2, 5)", 7),
    ("subtract(a, b)", "Return a minus b.", "subtract(2, 5)", -3),
    ("multiply(a, b)", "Return the product of a and b.", "multiply(3, 5)", 15),
    ("square(x)", "Return the square of x.", "square(7)", 49),
    ("cube(x)", "Return x to the power of three.", "cube(3)", 27),
    ("is_even(n)", "Return True if n is even.", "[is_even(4), is_even(7)]", [True, False]),
    ("is_odd(n)", "Return True if n is odd.", "[is_odd(4), is_odd(7)]", [False, True]),
    ("is_positive(x)", "Return True if x is greater than zero.", "[is_positive(1), is_positive(-1)]", [True, False]),
    ("negate(x)", "Return minus x.", "negate(4)", -4),
    ("half(x)", "Return half of x.", "half(8)", 4),
    ("double(x)", "Return two times x.", "double(8)", 16),
    ("increment(n)", "Return n plus one.", "increment(8)", 9),
    ("decrement(n)", "Return n minus one.", "decrement(8)", 7),
    ("absolute(x)", "Return the absolute value of x.", "absolute(-8)", 8),
    ("maximum(a, b)", "Return the larger of a and b.", "maximum(3, 9)", 9),
    ("minimum(a, b)", "Return the smaller of a and b.", "minimum(3, 9)", 3),
    ("last_digit(n)", "Return the last digit of n.", "last_digit(123)", 3),
    ("remainder(a, b)", "Return the remainder of a divided by b.", "remainder(17, 5)", 2),
    ("length(items)", "Return the number of items.", "length([4, 5, 6])", 3),
    ("total(numbers)", "Return the sum of all numbers.", "total([4, 5, 6])", 15),
    ("largest(numbers)", "Return the largest number.", "largest([4, 9, 6])", 9),
    ("smallest(numbers)", "Return the smallest number.", "smallest([4, 9, 6])", 4),
    ("first(items)", "Return the first item.", "first([4, 5, 6])", 4),
    ("last(items)", "Return the last item.", "last([4, 5, 6])", 6),
    ("reverse(text)", "Return the text reversed.", "reverse('abc')", "cba"),
    ("upper(text)", "Return the text in upper case.", "upper('abc')", "ABC"),
    ("lower(text)", "Return the text in lower case.", "lower('ABC')", "abc"),
    ("sort(items)", "Return the items in ascending order.", "sort([3, 1, 2])", [1, 2, 3]),
    ("join(words)", "Return the words joined by a space.", "join(['a', 'b'])", "a b"),
    ("split(text)", "Return the list of words in the text.", "split('a b')", ["a", "b"]),
    ("strip(text)", "Return the text without surrounding white space.", "strip(' a ')", "a"),
    ("starts_with_a(text)", "Return True if the text starts with 'a'.", "[starts_with_a('ab')]", [True]),
    ("count_a(text)", "Return how many times 'a' is in the text.", "count_a('banana')", 3),
    ("is_empty(items)", "Return True if there are no items.", "[is_empty([]), is_empty([1])]", [True, False]),
    ("contains(items, x)", "Return True if x is in items.", "[contains([1, 2], 2), contains([1], 2)]", [True, False]),
    ("mean(numbers)", "Return the arithmetic mean of the numbers.", "mean([2, 4])", 3),
    ("repeat(text, n)", "Return the text repeated n times.", "repeat('ab', 2)", "abab"),
    ("concat(a, b)", "Return the string a followed by the string b.", "concat('a', 'b')", "ab"),
    ("to_string(n)", "Return n as a string.", "to_string(5)", "5"),
    ("celsius(f)", "Convert degrees Fahrenheit to Celsius.", "round(celsius(212))", 100),
)
_JUDGE = """
import json, sys
for task in json.load(sys.stdin):
    names = {}
    try:
        exec(task["code"], names)
        print(json.dumps(eval(task["call"], names) == task["expected"]))
    except Exception:
        print("false")
"""


def scores(loaded: LoadedModel) -> dict[str, float]:
    """Return ``addition``, right sums of 100, and ``python``, right functions of 40."""
    return {"addition": _addition(loaded), "python": _python(loaded)}


def _addition(loaded: LoadedModel) -> float:
    sums = {f"{a} + {b} =": str(a + b) for a in range(10) for b in range(10)}
    answers = _complete(loaded, {question: SHOTS + question for question in sums}, max_new_tokens=4)
    found = {question: re.match(r"\s*(\d+)", answer) for question, answer in answers.items()}
    return float(sum(match is not None and match[1] == sums[question] for question, match in found.items()))


def _python(loaded: LoadedModel) -> float:
    # A prompt that ends in white space would be cut into other tokens than the text it is taken from.
    heads = {head: f'def {head}:\n    """{text}"""\n    return' for head, text, _, _ in FUNCTIONS}
    answers = _complete(loaded, heads, max_new_tokens=24)
    tasks = [
        {"code": f"def {head}:\n    return{answers[head].splitlines()[0]}", "call": call, "expected": expected}
        for head, _, call, expected in FUNCTIONS
        if answers[head].strip() and _is_plain(answers[head].splitlines()[0])
    ]
    finished = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _JUDGE],
        input=json.dumps(tasks),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={},
        preexec_fn=_limit,
    )
    verdicts = finished.stdout.split()
    if len(verdicts) != len(tasks):
        raise SystemExit(f"{len(verdicts)} verdicts on {len(tasks)} functions: one of them wrote to the output")
    return float(sum(verdict == "true" for verdict in verdicts))


def _is_plain(body: str) -> bool:
    try:
        tree = ast.parse(body.strip(), mode="eval")
    except SyntaxError:
        return False
    names = [getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(tree)]
    return not any(name.startswith("_") or name in ("open", "exec", "eval", "print", "input") for name in names)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _complete(loaded: LoadedModel, prompts: dict[str, str], *, max_new_tokens: int) -> dict[str, str]:
    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.chat_template = None
    plain = dataclasses.replace(loaded, tokenizer=tokenizer)
    requests = [Request(sample_id=key, epoch=0, text=text) for key, text in prompts.items()]
    found: dict[str, str] = {}
    engine.generate(
        plain,
        requests,
        GenerationConfig(max_new_tokens=max_new_tokens),
        batch_size=50,
        finished=lambda generation: found.update({generation.sample_id: generation.text}),
    )
    return found
