"""The code that runs inside the sandbox; its source is handed to a Python that cannot see this package.

It has one of three roles: ``solution`` runs a model's program and then answers calls; ``examiner`` runs a benchmark's
tests, whose calls go to the solution; ``program`` runs a program on its standard input. Solution and examiner exchange
frames over two descriptors. Only plain data crosses: the examiner rebuilds numbers, texts and containers on its side
and compares those, never an object of the solution's.
"""

import builtins
import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any, NoReturn

READY = b"ready"
# Larger integers travel in hexadecimal, which Python reads at any length; it refuses long decimal ones.
_LARGEST_DECIMAL = 1 << 63
# Far below Python's recursion limit, so that the program's side can read whatever is sent.
_DEEPEST_QUESTION = 100
HEADER_BYTES = 4
# The exit status of a program that ran out of memory.
OUT_OF_MEMORY = 77
_LONGEST_MESSAGE = 500
_Json = Any


class NotPlainDataError(BaseException):
    """A value is not plain data; not an Exception, so that no test catches it by accident."""


class UntestableCallError(BaseException):
    """A test passes the program an argument that cannot be sent to it; that is not the program's fault."""


def encode(value: object) -> _Json:
    """Encode plain data as JSON values; raise NotPlainDataError for anything else.

    An instance of a subclass becomes the plain type with its real content: the subclass's own methods are not called.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    for base, encoder in _ENCODERS.items():
        if issubclass(kind, base):
            return encoder(value)
    raise NotPlainDataError(f"{kind.__name__} is no plain data")


def _encode_exactly(value: object) -> _Json:
    """Encode plain data as JSON values; raise NotPlainDataError for data that would change on the way.

    A subclass would lose its behaviour, such as the default of a defaultdict; a NaN equals nothing, and a container
    finds it by identity alone; one list in two places would become two lists.
    """
    node, seen = encode(value), set[int]()
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        kind = type(one)
        if one is not None and kind is not bool and kind not in _ENCODERS:
            raise NotPlainDataError(f"{kind.__name__} is no plain data")
        if depth > _DEEPEST_QUESTION:
            raise NotPlainDataError(f"it is nested more than {_DEEPEST_QUESTION} deep")
        if kind in (float, complex) and one != one:  # noqa: PLR0124 - so is a NaN told
            raise NotPlainDataError("a NaN is known by being the same")
        if kind in (list, dict, set) and id(one) in seen:
            raise NotPlainDataError(f"one {kind.__name__} is in two places")
        seen.add(id(one))
        parts = [*one.keys(), *one.values()] if kind is dict else one if kind in (list, tuple, set, frozenset) else ()
        waiting += [(part, depth + 1) for part in parts]
    return node


def decode(node: _Json) -> Any:
    """Build the data that :func:`encode` encoded, of exact built-in types; raise NotPlainDataError for other JSON."""
    if not isinstance(node, list):
        if isinstance(node, dict):
            raise NotPlainDataError("a reply that nobody could have encoded")
        return node
    try:
        return _DECODERS[node[0]](node[1:])
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise NotPlainDataError(f"a reply that nobody could have encoded: {type(error).__name__}") from None


def _encode_int(value: Any) -> _Json:
    number = int.__add__(value, 0)
    return number if -_LARGEST_DECIMAL < number < _LARGEST_DECIMAL else ["int", hex(number)]


def _encode_complex(value: Any) -> _Json:
    number = complex.__neg__(complex.__neg__(value))
    return ["complex", number.real, number.imag]


_ENCODERS: dict[type, Callable[[Any], _Json]] = {
    int: _encode_int,
    # Negated twice, a number of a subclass is a float, and -0.0 keeps its sign.
    float: lambda value: float.__neg__(float.__neg__(value)),
    complex: _encode_complex,
    str: str.__str__,
    bytes: lambda value: ["bytes", bytes.hex(value)],
    list: lambda value: ["list", *map(encode, list.__iter__(value))],
    tuple: lambda value: ["tuple", *map(encode, tuple.__iter__(value))],
    set: lambda value: ["set", *map(encode, set.__iter__(value))],
    frozenset: lambda value: ["frozenset", *map(encode, frozenset.__iter__(value))],
    dict: lambda value: ["dict", *([encode(key), encode(item)] for key, item in dict.items(value))],
}
_DECODERS: dict[str, Callable[[list[_Json]], Any]] = {
    "int": lambda nodes: int(nodes[0], 16),
    "complex": lambda nodes: complex(*map(float, nodes)),
    "bytes": lambda nodes: bytes.fromhex(*nodes),
    "list": lambda nodes: list(map(decode, nodes)),
    "tuple": lambda nodes: tuple(map(decode, nodes)),
    "set": lambda nodes: set(map(decode, nodes)),
    "frozenset": lambda nodes: frozenset(map(decode, nodes)),
    "dict": lambda nodes: {decode(key): decode(item) for key, item in nodes},
}


def header(payload: bytes) -> bytes:
    """Return the header of a frame: its length."""
    return len(payload).to_bytes(HEADER_BYTES, "big")


def read_frame(descriptor: int) -> bytes:
    """Return the next frame; raise EOFError if the other side has closed the pipe."""
    return _read_exactly(descriptor, int.from_bytes(_read_exactly(descriptor, HEADER_BYTES), "big"))


def _read_exactly(descriptor: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(descriptor, min(size, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def write_frame(descriptor: int, payload: bytes) -> None:
    """Send a frame."""
    rest = memoryview(header(payload) + payload)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _send(descriptor: int, message: _Json) -> None:
    write_frame(descriptor, json.dumps(message).encode())


def confine(limits: dict[str, tuple[int, int | None]], user: int | None) -> None:
    """Set this process's limits for good, and become ``user`` if one is given.

    Exits if this machine's own limits are lower: programs would then be judged by the limits of the current shell.
    """
    for name, (soft, hard) in limits.items():
        number = getattr(resource, name)
        highest = resource.getrlimit(number)[1]
        wanted = soft if hard is None else hard
        if highest == resource.RLIM_INFINITY or wanted <= highest:
            resource.setrlimit(number, (soft, highest if hard is None else hard))
        elif name == "RLIMIT_CORE":
            resource.setrlimit(number, (highest, highest))
        else:
            sys.exit(
                f"programs are judged with {name} {wanted}, and {highest} is the most that this shell allows: see"
                " ulimit -H -a, and start from one without that limit"
            )
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def _silence(*descriptors: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _module(name: str) -> dict[str, Any]:
    """Return the namespace of a new module, registered so that dataclasses, pickle and the like find it by name."""
    sys.modules[name] = type(sys)(name)
    # The module site defines these for interactive use, and programs call them as well.
    vars(builtins).update(exit=sys.exit, quit=sys.exit)
    return vars(sys.modules[name])


def _attempt(work: Callable[[], object]) -> _Json:
    """Return the result of ``work``: its value, or the closest built-in class of the exception that it raised."""
    try:
        return {"value": encode(work())}
    except NotPlainDataError as error:
        return {"unfit": str(error)}
    except BaseException as error:  # noqa: BLE001 - it comes from the model's code, and is the reply
        names = [kind.__name__ for kind in type(error).__mro__ if vars(builtins).get(kind.__name__) is kind]
        return {"raised": names[0], "message": str(error)[:_LONGEST_MESSAGE]}


def answer_calls(requests: int, replies: int) -> None:
    """Run the program's sources one after the other, then answer calls to it until the pipe is closed."""
    _silence(0, 1, 2)
    namespace = _module("solution")
    for source in json.loads(read_frame(requests)):
        _send(replies, _attempt(lambda source=source: exec(compile(source, "<program>", "exec"), namespace)))  # type: ignore[misc]  # noqa: S102
    while True:
        request = json.loads(read_frame(requests))
        _send(replies, _attempt(lambda request=request: _answer(request, namespace)))  # type: ignore[misc]


def _answer(request: _Json, namespace: dict[str, Any]) -> object:
    target = eval(request["target"], namespace)  # noqa: S307 - a name, or a call, that a benchmark's tests contain
    if "arguments" not in request:
        return target
    arguments, named = decode(request["arguments"])
    return target(*arguments, **named)


def examine(requests: int, replies: int) -> None:
    """Run the tests of a benchmark against a solution in another process, and report how they ended."""
    _silence(0, 1, 2)
    job = json.loads(read_frame(requests))
    uncarried: list[str] = []

    def ask(target: str, call: tuple[Any, ...] | None = None) -> Any:
        try:
            request = {"target": target} if call is None else {"target": target, "arguments": _encode_exactly(call)}
            question = json.dumps(request)
        except (NotPlainDataError, RecursionError, MemoryError, ValueError) as error:
            # Also kept in a list, since the tests may catch what is raised here.
            uncarried.append(f"a test asks what cannot be carried to the program: {type(error).__name__}: {error}")
            raise UntestableCallError(uncarried[0]) from None
        # The question stays encoded, so that the process in between passes it on unread.
        _send(replies, {"request": question})
        return _reply(read_frame(requests))

    namespace = _module("tests")
    exec(compile(job["prelude"], "<prelude>", "exec"), namespace)  # noqa: S102 - the benchmark's own code
    namespace["evaluated"] = ask
    for name, target in job["targets"].items():
        namespace[name] = lambda *given, target=target, **named: ask(target, (given, named))
    try:
        exec(compile(job["tests"], "<tests>", "exec"), namespace)  # noqa: S102
    except AssertionError as error:
        verdict = ("failed", str(error))
    except NotPlainDataError as error:
        verdict = ("unfit", str(error))
    except MemoryError as error:
        verdict = ("memory-limit", str(error))
    except BaseException as error:  # noqa: BLE001 - whatever ends the tests, they were not met
        verdict = ("error", f"{type(error).__name__}: {error}")
    else:
        verdict = ("passed", "")
    if uncarried:
        verdict = ("untestable", uncarried[0])
    _send(replies, {"verdict": verdict[0], "detail": verdict[1][:_LONGEST_MESSAGE]})


def _reply(frame: bytes) -> Any:
    """Return the value in a solution's reply, or raise the exception that it reports."""
    try:
        reply = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise NotPlainDataError(f"a reply that nobody could have encoded: {type(error).__name__}") from None
    match reply:
        case {"value": value}:
            return decode(value)
        case {"raised": str(name), "message": str(message)}:
            kind = vars(builtins).get(name)
            known = isinstance(kind, type) and issubclass(kind, Exception)
            _raise(kind if known else RuntimeError, message)
        case {"unfit": str(message)}:
            raise NotPlainDataError(message)
    raise NotPlainDataError("a reply that nobody could have encoded")


def _raise(kind: Any, message: str) -> NoReturn:
    try:
        error = kind(message)
    except TypeError:
        # Such as UnicodeDecodeError, which takes more than a message.
        error = RuntimeError(message)
    raise error


def run_program(requests: int, replies: int) -> None:
    """Run a program as a script, on this process's standard input and output."""
    sources = json.loads(read_frame(requests))
    os.close(requests)
    os.close(replies)
    _silence(2)
    namespace = _module("__main__")
    try:
        for source in sources:
            exec(compile(source, "<program>", "exec"), namespace)  # noqa: S102
    except SystemExit:
        pass
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)


def main() -> None:
    """Confine this process, report that it is ready, and start its role."""
    settings = json.loads(sys.argv[1])
    confine(settings["limits"], settings["user"])
    sys.argv[:] = ["program"]
    roles = {"solution": answer_calls, "examiner": examine, "program": run_program}
    write_frame(settings["replies"], READY)
    roles[settings["role"]](settings["requests"], settings["replies"])
