"""The options of a run, each declared once: pytest's options, those of the command line and a session come from here.

A new option is a field here and its use. Every run of pytest reads this module, which imports nothing but Python's own.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantguard.stats import Method

Update = Literal["new", "changed", "all"]
Inconclusive = Literal["warn", "fail"]
WAIT_SECONDS = 1800
REAL_NPU, EMULATED_NPU = "required", "emulated"
# Where quantguard.benchmarks looks for files.
DATA_VARIABLE = "QUANTGUARD_DATA"


class Option(NamedTuple):
    """One option as a parser takes it."""

    name: str
    """The field of RunOptions that it fills."""
    flag: str
    """What is typed, without dashes before it: ``early-stop``."""
    arguments: dict[str, Any]
    """The keywords of ``add_argument``, the help among them."""
    prefixed: bool
    """Whether pytest's option begins with ``--quantguard-``."""


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number above 0 is wanted, not {text!r}")
    return int(text)


def _npu_kind(text: str) -> str:
    """Return what kind of NPU is meant; an option whose value may be left out takes what follows for it."""
    if text in (REAL_NPU, EMULATED_NPU):
        return text
    raise argparse.ArgumentTypeError(
        f"it took {text!r} for its value, and possible are {REAL_NPU} and {EMULATED_NPU}. Where that is a path, type it"
        f" first, pytest {text} --npu, or write --npu={REAL_NPU} {text}"
    )


def _typed(explanation: str, *, flag: str | None = None, prefixed: bool = True, **arguments: Any) -> dict[str, Any]:
    """Describe the option of a field; ``flag`` is what is typed where that is not the field's name."""
    return {"flag": flag, "prefixed": prefixed, "arguments": {"help": explanation, **arguments}}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a user says about all gates of a run; the help of each option documents its field."""

    enabled: bool = dataclasses.field(
        default=False,
        metadata=_typed("run the gates, and only the gates", flag="quantguard", prefixed=False, action="store_true"),
    )
    npu: str | None = dataclasses.field(
        default=None,
        metadata=_typed(
            "require a real Ascend NPU: none found is an error, never a skip; with -n one worker takes one NPU;"
            " --npu=emulated runs an Atlas A2's documented arithmetic on the CPU, and verdicts say so",
            prefixed=False,
            nargs="?",
            const=REAL_NPU,
            type=_npu_kind,
            metavar=f"{REAL_NPU}|{EMULATED_NPU}",
        ),
    )
    data: pathlib.Path | None = dataclasses.field(
        default=None,
        metadata=_typed(
            f"the folder of benchmark files that the package does not carry (default: {DATA_VARIABLE})",
            metavar="DIR",
        ),
    )
    unsafe_exec: bool = dataclasses.field(
        default=False,
        metadata=_typed(
            "run programs that a model wrote without a sandbox, within limits of time and memory alone: they can read"
            " and change whatever you can",
            action="store_true",
        ),
    )
    wait: int = dataclasses.field(
        default=WAIT_SECONDS,
        metadata=_typed(
            "how long to wait for an NPU, or to time anything, while another pytest run does; then it is an error"
            f" (default: {WAIT_SECONDS})",
            type=_positive,
            metavar="SECONDS",
        ),
    )
    update: Update | None = dataclasses.field(
        default=None,
        metadata=_typed(
            "measure baselines instead of judging: missing ones (new), missing or no longer valid ones (changed), all",
            choices=("new", "changed", "all"),
        ),
    )
    accepted_regression: str | None = dataclasses.field(
        default=None,
        metadata=_typed(
            "with --quantguard-update: accept baselines that are worse than tolerated; the reason is kept in the file",
            flag="accept-regression",
            metavar="REASON",
        ),
    )
    baselines: pathlib.Path = dataclasses.field(
        default=pathlib.Path("baselines"),
        metadata=_typed("where baselines are kept (default: baselines/ in the root folder)", metavar="DIR"),
    )
    fresh: bool = dataclasses.field(
        default=False,
        metadata=_typed(
            "measure anew what an earlier run that was broken off has answered, and full precision too, and judge"
            " without earlier runs that did not pass",
            action="store_true",
        ),
    )
    limit: int | None = dataclasses.field(
        default=None, metadata=_typed("run only the first N items of each baseline", type=_positive, metavar="N")
    )
    seed: int = dataclasses.field(
        default=0, metadata=_typed("seed of sampled decoding (default: 0)", type=int, metavar="N")
    )
    plan: bool = dataclasses.field(
        default=False,
        metadata=_typed(
            "run nothing: say for every gate what it can decide, on how many items and tokens; one that cannot fails",
            action="store_true",
        ),
    )
    early_stop: Method = dataclasses.field(
        default="group-sequential",
        metadata=_typed(
            "how accuracy gates end as soon as their verdict is clear (default: group-sequential)",
            choices=("group-sequential", "betting", "off"),
        ),
    )
    inconclusive: Inconclusive = dataclasses.field(
        default="fail",
        metadata=_typed("what an undecided gate does to its test (default: fail)", choices=("warn", "fail")),
    )
    report: pathlib.Path | None = dataclasses.field(
        default=None,
        metadata=_typed(
            "write every record and verdict there: report.html, summary.md, results.json",
            metavar="DIR",
        ),
    )
    threads: int = dataclasses.field(
        default=1, metadata=_typed("torch threads of a gate on a CPU (default: 1)", type=_positive, metavar="N")
    )
    kept_baselines: tuple[str, ...] = ()
    """Patterns of files below ``baselines`` that gates outside of the suite use; an ini option of pytest."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is checked: the keywords of ``guard.check`` and the keys of a gate in a file."""

    model: str
    """A name, path or Hugging Face id, or what an engine or a server calls it."""
    recipe: str | None = None
    """How it is quantized; absent, it is taken as it is."""
    device: str = "cpu"
    """Where it runs."""
    backend: str = "auto"
    """The kernels of its quantized layers."""
    endpoint: str | None = None
    """The address of a server that runs it."""
    engine: str | None = None
    """The engine that runs it; absent for a model of this process."""
    reference: str | None = None
    """Its full-precision model, where its files do not name it."""
    tokenizer: str | None = None
    """The model whose chat template says how a server is asked for a thinking mode."""

    @property
    def recipe_name(self) -> str:
        """What the recipe is called in results before it is read."""
        return "as-served" if self.engine else self.recipe or "full-precision"


def options(*names: str) -> list[Option]:
    """Return the options that can be typed, in their order; with ``names``, those of these fields alone."""
    fields = [field for field in dataclasses.fields(RunOptions) if "arguments" in field.metadata]
    return [
        Option(
            name=field.name,
            flag=field.metadata["flag"] or field.name.replace("_", "-"),
            arguments=_arguments(field),
            prefixed=field.metadata["prefixed"],
        )
        for field in fields
        if not names or field.name in names
    ]


def _arguments(field: dataclasses.Field[Any]) -> dict[str, Any]:
    arguments = dict(field.metadata["arguments"])
    if "action" in arguments:
        return arguments
    # A path is typed as text, which is all that a process can send to another; nothing typed is no path.
    return arguments | {"default": None if isinstance(field.default, pathlib.Path) else field.default}


def from_typed(typed: Mapping[str, Any], *, root: pathlib.Path, kept_baselines: tuple[str, ...] = ()) -> RunOptions:
    """Make the options of what a parser has found, by field; baselines lie in ``root`` where no folder was named."""
    found: dict[str, Any] = {name: value for name, value in typed.items() if value is not None}
    found |= {name: pathlib.Path(found[name]) for name in ("data", "report", "baselines") if name in found}
    return RunOptions(**{"baselines": root / RunOptions().baselines, **found, "kept_baselines": kept_baselines})
