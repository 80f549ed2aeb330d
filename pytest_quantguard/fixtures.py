"""The fixtures ``guard`` and ``npu_device``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_quantguard import devices, planning, suite, terminal, troubles
from pytest_quantguard.markers import gates_of
from pytest_quantguard.options import Options

if TYPE_CHECKING:
    import os

    from quantguard.gates import GateResult
    from quantguard.pipeline import GenerationStore, PipelineSession, RerunStore
    from quantguard.pipeline.progress import Progress

# Under this name the results of a test travel on its report, between xdist's processes too.
REPORT_ATTRIBUTE = "quantguard_results"
OPTIONS = pytest.StashKey[Options]()
RESULTS = pytest.StashKey[list["GateResult"]]()
STORE = pytest.StashKey["GenerationStore"]()
_RERUNS = pytest.StashKey["RerunStore"]()
_FIRST_NPU = "npu:0"
NEEDS_NPU = "needs an Ascend NPU: run pytest with --npu, or with --npu=emulated"
_NUM_REPORTED = pytest.StashKey[int]()


class _Target(NamedTuple):
    """What is to be checked; ``engine`` is absent for a model of this process."""

    model: str
    recipe: str | None = None
    device: str = "cpu"
    backend: str = "auto"
    engine: str | None = None
    endpoint: str | None = None
    reference: str | None = None
    tokenizer: str | None = None

    @property
    def recipe_name(self) -> str:
        """What the recipe is called in results."""
        return "as-served" if self.engine else self.recipe or "full-precision"


class Guard:
    """Checks a model against every gate that marks the test."""

    def __init__(self, item: pytest.Item, options: Options) -> None:
        self._item = item
        self._options = options

    def check(
        self,
        model: str | os.PathLike[str],
        *,
        recipe: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        backend: str = "auto",
        endpoint: str | None = None,
        engine: str | None = None,
        reference: str | os.PathLike[str] | None = None,
        tokenizer: str | os.PathLike[str] | None = None,
    ) -> list[GateResult]:
        """Quantize ``model`` by ``recipe``, run it through the gates of this test and fail the test if one is not met.

        ``recipe`` absent gates the model as it is: full precision, or a folder that was quantized already, by whatever
        tool. With ``endpoint``, the address of an OpenAI-compatible server, or an ``engine`` such as ``vllm``,
        ``model`` is what that runs as it is. ``reference`` names the full-precision model of either, which the files
        of other tools mostly do not; new baselines need it. ``tokenizer`` is the model whose chat template says how a
        server is asked for a thinking mode. Returns the results of the gates, all decided or measured.
        """
        from quantguard.errors import UsageError  # noqa: PLC0415

        target = _Target(
            str(model),
            None if recipe is None else str(recipe),
            device,
            backend,
            engine or ("openai" if endpoint else None),
            endpoint,
            None if reference is None else str(reference),
            None if tokenizer is None else str(tokenizer),
        )
        try:
            gates = gates_of(self._item)
        except UsageError as error:
            pytest.fail(f"ERROR: {error}", pytrace=False)
        if not gates:
            pytest.fail(
                "guard.check() has no gate to check: mark the test, as with @quantguard.accuracy(tol=0.045)",
                pytrace=False,
            )
        if self._options.plan:
            planning.plan_gates(self._item, gates, self._options, target)
        results = self._check_all(gates, target)
        self._item.stash.setdefault(RESULTS, []).extend(results)
        self._settle(results)
        return results

    def _check_all(self, gates: dict[str, Any], target: _Target) -> list[GateResult]:
        from pytest_quantguard import storing  # noqa: PLC0415 - as what follows
        from quantguard import registry  # noqa: PLC0415 - the flow below loads torch, so nothing here is on top
        from quantguard.errors import QuantguardError  # noqa: PLC0415

        results: list[GateResult] = []
        session: PipelineSession | None = None
        with terminal.shown(self._item.config) as progress:
            for name, gate in gates.items():
                try:
                    session = session or self._open(target, progress)
                    storing.claim(self._item.config, self._item.nodeid, suite.place_of(name, gate, session))
                    result = registry.gates[name].check(gate, session)
                    # One result of a check says how the layers fared: it is the same model in all.
                    layers = session.layer_reports() if not results else ()
                    result = dataclasses.replace(result, layers=result.layers or layers)
                except QuantguardError as error:
                    result = _error_result(name, gate, target, error)
                results.append(dataclasses.replace(result, place=suite.place_of(name, gate, session)))
        return results

    def _open(self, target: _Target, progress: Progress) -> PipelineSession:
        from pytest_quantguard import storing  # noqa: PLC0415
        from quantguard.pipeline import Service, Settings, open_served, open_session  # noqa: PLC0415 - loads torch

        _refuse_contradictions(target)
        settings = Settings(
            baselines=self._options.baselines,
            update=self._options.update,
            accepted_regression=self._options.accepted_regression,
            limit=self._options.limit,
            seed=self._options.seed,
            threads=self._options.threads,
            progress=progress,
            store=_store(self._item.config, self._options),
            early_stop=self._options.early_stop,
            inconclusive=self._options.inconclusive,
            reruns=_reruns(self._item.config, self._options),
            measured=self._item.config.stash[storing.STORING].measured,
            alone=lambda: devices.timing_alone(self._item.config),
        )
        if target.engine is not None:
            service = Service(engine=target.engine, url=target.endpoint, tokenizer=target.tokenizer)
            return open_served(target.model, service, reference=target.reference, settings=settings)
        devices.hold(self._item.config, target.device)
        return open_session(
            target.model,
            recipe=target.recipe,
            device=target.device,
            backend=target.backend,
            reference=target.reference,
            settings=settings,
        )

    def _settle(self, results: list[GateResult]) -> None:
        """Fail the test where a gate says so; skip it where baselines were measured and nothing was judged."""
        from quantguard.report import text  # noqa: PLC0415

        allowed = {"PASS"} | ({"INCONCLUSIVE"} if self._options.inconclusive == "warn" else set())
        judged = [result for result in results if result.pending is None]
        failed = [result for result in judged if result.refused or result.verdict.outcome not in allowed]
        if failed:
            pytest.fail("\n".join(text.gate_lines(failed)), pytrace=False)
        if all(result.pending is not None for result in results):
            pytest.skip("baseline measured, nothing judged")


def _refuse_contradictions(target: _Target) -> None:
    """Raise UsageError for what does not go together."""
    from quantguard.errors import UsageError  # noqa: PLC0415

    if target.engine is None:
        if target.tokenizer is not None:
            raise UsageError(f"tokenizer= goes with endpoint= or engine=; {target.model} is run by this process")
    elif (target.recipe, target.device, target.backend) != (None, "cpu", "auto"):
        raise UsageError(
            f"{target.model} is run as it is by the engine {target.engine}: recipe, device and backend are the business"
            " of whoever serves it; leave them out"
        )


def _store(config: pytest.Config, options: Options) -> GenerationStore:
    """Return what keeps the answers of this run of pytest."""
    from quantguard.pipeline import GenerationStore  # noqa: PLC0415

    if STORE not in config.stash:
        config.stash[STORE] = GenerationStore(fresh=options.fresh, told=lambda text: troubles.note(config, text))
    return config.stash[STORE]


def _reruns(config: pytest.Config, options: Options) -> RerunStore:
    """Return what remembers the runs that did not pass."""
    from quantguard.pipeline import RerunStore  # noqa: PLC0415

    if _RERUNS not in config.stash:
        config.stash[_RERUNS] = RerunStore(fresh=options.fresh, told=lambda text: troubles.note(config, text))
    return config.stash[_RERUNS]


def settle(config: pytest.Config) -> None:
    """End a run that was not broken off: what was kept to go on with is not needed any more."""
    if STORE in config.stash:
        config.stash[STORE].settle()


def _error_result(name: str, gate: Any, target: _Target, error: Exception) -> GateResult:
    from quantguard.gates import GateResult  # noqa: PLC0415
    from quantguard.records import Verdict  # noqa: PLC0415

    return GateResult(
        gate=name,
        model=target.model,
        recipe=target.recipe_name,
        subject=str(getattr(gate, "benchmark", getattr(gate, "stage", "weights"))),
        platform="endpoint" if target.endpoint else target.device.partition(":")[0],
        verdict=Verdict(outcome="ERROR", metric=name, reason=str(error)),
    )


@pytest.fixture
def guard(request: pytest.FixtureRequest) -> Guard:
    """Check a model against the gates that mark this test: ``guard.check("tiny-reasoner", recipe="w8a8")``."""
    return Guard(request.node, request.config.stash[OPTIONS])


@pytest.fixture
def npu_device(request: pytest.FixtureRequest) -> str:
    """Name the Ascend NPU to run on, and hold it until this process ends; skips unless --npu was given.

    ``npu:0``, or ``emulated-910b`` with --npu=emulated, of which every process has one.
    """
    return hold_npu(request.config)


def hold_npu(config: pytest.Config) -> str:
    """Name the NPU of this process and hold it; skips unless --npu was given."""
    npu = config.stash[OPTIONS].npu
    if npu is None:
        pytest.skip(NEEDS_NPU)
    from quantguard.errors import QuantguardError  # noqa: PLC0415
    from quantguard.kernels.ascend import device  # noqa: PLC0415 - imports torch

    if npu == "emulated":
        return device.EMULATED
    try:
        devices.hold(config, _FIRST_NPU)
        return device.require()
    except QuantguardError as error:
        pytest.fail(f"ERROR: {error}", pytrace=False)


def fail_unmeasured(item: pytest.Item) -> None:
    """Fail a gate whose test never called ``guard.check``, one ERROR for each of its markers."""
    target = _Target("no model", "no recipe")
    reason = UserWarning(
        "this gate measured nothing: it never called guard.check(). Ask for the fixture and call it, as in"
        " def test_release(guard): guard.check('tiny-reasoner', recipe='w8a8')"
    )
    gates = gates_of(item) or {"guard": None}
    item.stash[RESULTS] = [_error_result(name, gate, target, reason) for name, gate in gates.items()]
    pytest.fail(f"ERROR: {reason}", pytrace=False)


def take_results(item: pytest.Item) -> list[GateResult]:
    """Return the results that have not been reported yet."""
    results = item.stash.get(RESULTS, [])
    fresh = results[item.stash.get(_NUM_REPORTED, 0) :]
    item.stash[_NUM_REPORTED] = len(results)
    return fresh


def as_json(results: list[GateResult]) -> list[dict[str, Any]]:
    """Return results as JSON values, which is what crosses between xdist's processes."""
    from quantguard.records import to_json  # noqa: PLC0415

    return [to_json(result) for result in results]


def junit_properties(result: GateResult) -> dict[str, object]:
    """Return what JUnit keeps of a result, scalars only."""
    verdict = dataclasses.asdict(result.verdict)
    prefix = f"quantguard.{result.gate}"
    named = {f"{prefix}.{key}": value for key, value in verdict.items() if value is not None}
    return {f"{prefix}.model": result.model, f"{prefix}.recipe": result.recipe, **named}
