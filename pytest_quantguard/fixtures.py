"""The fixtures ``guard`` and ``npu_device``."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_quantguard import completeness, devices, enforcement, planning, run_errors, terminal
from pytest_quantguard.markers import gates_of
from pytest_quantguard.result_log import result_log_of, result_of_test
from quantguard.run_options import RunOptions, Target

if TYPE_CHECKING:
    from quantguard.benchmarks import Benchmarks
    from quantguard.gates import GateResult
    from quantguard.pipeline import PipelineSession, RunState
    from quantguard.pipeline.progress import Progress

OPTIONS = pytest.StashKey[RunOptions]()
STATE = pytest.StashKey["RunState"]()
_BENCHMARKS = pytest.StashKey["Benchmarks"]()
_FIRST_NPU = "npu:0"
NEEDS_NPU = "needs an Ascend NPU: run pytest with --npu, or with --npu=emulated"
# What ends a check and belongs to pytest or to the whole process.
_ENDS_ALL = (
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
    pytest.exit.Exception,
    pytest.fail.Exception,
    pytest.xfail.Exception,
)


class Guard:
    """Checks a model against every gate that marks the test."""

    def __init__(self, item: pytest.Item, options: RunOptions) -> None:
        self._item = item
        self._options = options
        self._result_log = result_log_of(item.config)
        self._process = os.getpid()

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
        if os.getpid() != self._process:
            self._result_log.note_elsewhere()
        target = Target(
            model=str(model),
            recipe=None if recipe is None else str(recipe),
            device=device,
            backend=backend,
            endpoint=endpoint,
            engine=engine or ("openai" if endpoint else None),
            reference=None if reference is None else str(reference),
            tokenizer=None if tokenizer is None else str(tokenizer),
        )
        with self._result_log.checking(self._item.nodeid):
            gates = self._gates()
            if self._options.plan:
                self._plan_all(gates, target)
            results = self._check_all(gates, target)
            self._settle(results)
            return results

    def _gates(self) -> dict[str, Any]:
        """Return the gates of the test; fail it where there is none, or they cannot be meant."""
        from quantguard.errors import UsageError  # noqa: PLC0415

        try:
            gates = gates_of(self._item)
        except UsageError as error:
            self._refuse(str(error))
        if not gates:
            self._refuse(
                "guard.check() has no gate to check: mark the test, as with @quantguard.accuracy(tol=0.045)",
            )
        return gates

    def _refuse(self, reason: str) -> NoReturn:
        result = result_of_test(self._item.nodeid, reason)
        self._record(result)
        enforcement.fail(self._item, [result])

    def _record(self, result: GateResult) -> GateResult:
        self._result_log.record(self._item.nodeid, result)
        return result

    def _plan_all(self, gates: dict[str, Any], target: Target) -> NoReturn:
        """Plan the gates, and end the test as skipped, or as failed where one cannot decide."""
        problems = planning.plan_gates(self._item, gates, self._options, target, benchmarks_of(self._item.config))
        results = [self._record(_error_result(kind, gates[kind], target, said)) for kind, said in problems]
        if results:
            enforcement.fail(self._item, results)
        pytest.skip(planning.PLANNED)

    def _check_all(self, gates: dict[str, Any], target: Target) -> list[GateResult]:
        from pytest_quantguard import baseline_writer  # noqa: PLC0415 - as what follows
        from quantguard.errors import QuantguardError  # noqa: PLC0415
        from quantguard.gates import members as kinds  # noqa: PLC0415 - the flow below loads torch, so nothing here is on top

        results: list[GateResult] = []
        session: PipelineSession | None = None
        with terminal.shown(self._item.config) as progress:
            for name, gate in gates.items():
                try:
                    session = session or self._open(target, progress)
                    baseline_writer.claim(
                        self._item.config, self._item.nodeid, completeness.location_of(name, gate, session)
                    )
                    result = kinds[name].check(gate, session)
                    # One result of a check says how the layers fared: it is the same model in all.
                    layers = session.layer_reports() if not results else ()
                    result = dataclasses.replace(result, layers=result.layers or layers)
                except QuantguardError as error:
                    result = _error_result(name, gate, target, str(error))
                except (pytest.skip.Exception, *_ENDS_ALL) as error:
                    self._break_off({kind: gates[kind] for kind in [*gates][len(results) :]}, target, error)
                    raise
                # A defect of one gate hides no other's verdict, nor does it pass where the test catches it. What
                # panics in a tokenizer's Rust is no Exception.
                except BaseException as error:  # noqa: BLE001
                    results.append(self._record(_crash_result(name, gate, target, error)))
                    continue
                result = dataclasses.replace(result, place=completeness.location_of(name, gate, session))
                results.append(self._record(result))
        return results

    def _break_off(self, gates: dict[str, Any], target: Target, error: BaseException) -> None:
        """Record the gates of a check that came to no end, the first of which was at work."""
        skipped = isinstance(error, pytest.skip.Exception)
        enforcement.note_recorded(error)
        for index, (name, gate) in enumerate(gates.items()):
            if skipped or index:
                reason = f"the check was ended before it: {enforcement.message_of(error)}"
                result = _error_result(name, gate, target, reason)
                self._record(dataclasses.replace(result, unjudged="SKIPPED" if skipped else "NOT RUN"))
            else:
                self._record(_crash_result(name, gate, target, error))

    def _open(self, target: Target, progress: Progress) -> PipelineSession:
        from quantguard.pipeline import open_session  # noqa: PLC0415 - loads torch

        _refuse_contradictions(target)
        if target.engine is None:
            devices.hold(self._item.config, target.device)
        state = dataclasses.replace(_run_state(self._item.config, self._options), progress=progress)
        return open_session(target, self._options, state)

    def _settle(self, results: list[GateResult]) -> None:
        """Fail the test where a gate says so; skip it where baselines were measured and nothing was judged."""
        failed = [result for result in results if result.fails(inconclusive=self._options.inconclusive)]
        if failed:
            enforcement.fail(self._item, failed)
        if all(result.pending is not None for result in results):
            pytest.skip("baseline measured, nothing judged")


def _refuse_contradictions(target: Target) -> None:
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


def benchmarks_of(config: pytest.Config) -> Benchmarks:
    """Return what reads each benchmark once in this run of pytest."""
    from quantguard.benchmarks import Benchmarks  # noqa: PLC0415 - an unrelated run does not pay for it

    if _BENCHMARKS not in config.stash:
        config.stash[_BENCHMARKS] = Benchmarks()
    return config.stash[_BENCHMARKS]


def _run_state(config: pytest.Config, options: RunOptions) -> RunState:
    """Return what the checks of this run of pytest share."""
    from pytest_quantguard import baseline_writer  # noqa: PLC0415
    from quantguard.pipeline import GenerationStore, RerunStore, RunState  # noqa: PLC0415 - loads torch

    def told(text: str) -> None:
        run_errors.note_error(config, text)

    if STATE not in config.stash:
        config.stash[STATE] = RunState(
            benchmarks=benchmarks_of(config),
            store=GenerationStore(fresh=options.fresh, told=told),
            reruns=RerunStore(fresh=options.fresh, told=told),
            alone=lambda: devices.timing_alone(config),
        )
    # Tests that ended since have measured more.
    return dataclasses.replace(config.stash[STATE], measured=config.stash[baseline_writer.WRITER].measured)


def settle(config: pytest.Config) -> None:
    """End a run that was not broken off: what was kept to go on with is not needed any more."""
    if STATE in config.stash and (store := config.stash[STATE].store) is not None:
        store.settle()


def _error_result(name: str, gate: Any, target: Target, reason: str) -> GateResult:
    from quantguard.devices import device_type  # noqa: PLC0415
    from quantguard.gates import GateResult  # noqa: PLC0415
    from quantguard.records import Verdict  # noqa: PLC0415

    return GateResult(
        gate=name,
        model=target.model,
        recipe=target.recipe_name,
        subject=str(getattr(gate, "benchmark", getattr(gate, "stage", "weights"))),
        platform="endpoint" if target.endpoint else device_type(target.device),
        verdict=Verdict(outcome="ERROR", metric=name, reason=reason),
    )


def _crash_result(name: str, gate: Any, target: Target, error: BaseException) -> GateResult:
    reason = f"the gate raised {enforcement.message_of(error)}"
    return dataclasses.replace(_error_result(name, gate, target, reason), traceback=enforcement.traceback_of(error))


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
    from quantguard.devices import emulated_device  # noqa: PLC0415 - only runs with an NPU pay for it
    from quantguard.errors import QuantguardError  # noqa: PLC0415
    from quantguard.run_options import EMULATED_NPU  # noqa: PLC0415

    if npu == EMULATED_NPU:
        return emulated_device()
    from quantguard.kernels.ascend import device  # noqa: PLC0415 - imports torch

    try:
        devices.hold(config, _FIRST_NPU)
        return device.require()
    except QuantguardError as error:
        pytest.fail(f"ERROR: {error}", pytrace=False)


def require_measured(item: pytest.Item) -> None:
    """Fail a gate whose test never called ``guard.check``, one ERROR for each of its markers."""
    log = result_log_of(item.config)
    if log.of_attempt(item.nodeid) or log.is_checking(item.nodeid):
        return
    target = Target(model="no model", recipe="no recipe")
    reason = (
        "this gate measured nothing: it never called guard.check(). Ask for the fixture and call it, as in"
        " def test_release(guard): guard.check('tiny-reasoner', recipe='w8a8')"
    )
    results = [_error_result(name, gate, target, reason) for name, gate in gates_of(item).items()]
    results = results or [result_of_test(item.nodeid, reason)]
    for result in results:
        log.record(item.nodeid, result)
    enforcement.fail(item, results)
