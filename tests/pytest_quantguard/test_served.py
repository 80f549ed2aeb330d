"""Gates on a served model: the same markers, and a server that fails is an ERROR, never a wrong answer."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from quantguard import catalog
from quantguard.records.answer_file import NAME, count_of_runs_since
from quantguard.registry import benchmarks
from tests.support.gate_runs import run
from tests.support.openai_server import Answer, Script, completion, serving

# A server is waited for.
pytestmark = pytest.mark.timeout(300)

GATE = """
import quantguard

@quantguard.accuracy(tol=0.3, subset=20)
def test_served(guard):
    guard.check({model!r}, endpoint={url!r}, reference={model!r})
"""
SMOLLM2 = catalog.cache_folder("smollm2-135m")
NUM_ITEMS = 24
REAL_GATE = f"""
import quantguard

@quantguard.accuracy(benchmark="sums", tol=0.2, subset={NUM_ITEMS}, max_new_tokens=24)
def test_served(guard):
    guard.check("{{model}}", endpoint="{{url}}", reference="{{model}}", tokenizer="smollm2-135m")
"""


@pytest.fixture(autouse=True)
def not_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.0)
    monkeypatch.setattr("quantguard.engines._openai_client._LONGEST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.0)


@pytest.fixture(scope="module")
def targets() -> dict[str, str]:
    return {sample.input: str(sample.target) for sample in benchmarks["word-problems"].load().samples}


@pytest.fixture
def server(targets: dict[str, str]) -> Iterator[Script]:
    """A server that answers every word problem right."""

    def reply(body: dict[str, Any], number: int) -> Answer:
        del number
        return 200, completion(rf"\boxed{{{targets[body['messages'][0]['content']]}}}")

    with serving(reply) as script:
        yield script


@pytest.fixture
def measured(pytester: pytest.Pytester, server: Script) -> Script:
    """A gate on that server with its baseline."""
    pytester.makepyfile(GATE.format(url=server.url, model="m"))
    run(pytester, "--quantguard-update=new").stdout.fnmatch_lines(["quantguard: 1 MEASURED"])
    assert (pytester.path / "baselines/endpoint/m/as-served/word-problems.json").is_file()
    return server


def test_a_served_model_is_gated_like_any_other(pytester: pytest.Pytester, measured: Script) -> None:
    asked = len(measured.asked)
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*PASS*accuracy: word-problems on m, as-served (endpoint)"])
    assert len(measured.asked) == asked + 20


def test_a_server_whose_answers_got_worse_regresses(pytester: pytest.Pytester, measured: Script) -> None:
    good = measured.reply
    measured.reply = lambda body, n: (200, completion(r"\boxed{none}")) if n % 4 else good(body, n)
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*REGRESSED*accuracy: word-problems on m, as-served (endpoint)"])


def test_a_server_that_fails_is_an_error_and_only_the_missing_are_asked_for_again(
    pytester: pytest.Pytester, measured: Script
) -> None:
    good, before = measured.reply, len(measured.asked)
    lost = {body["messages"][0]["content"] for body in measured.asked[:7]}
    measured.reply = lambda body, n: (500, {}) if body["messages"][0]["content"] in lost else good(body, n)
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ERROR*", "*left 7 of 20 requests unanswered: 7 failed*"])
    measured.reply, between = good, len(measured.asked)
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*13 of 20 answers are of a run that began at*"])
    assert {body["messages"][0]["content"] for body in measured.asked[between:]} == lost
    assert len(measured.asked) == between + 7
    assert between > before + 20


def test_a_baseline_needs_full_precision_beside_it(pytester: pytest.Pytester, server: Script) -> None:
    pytester.makepyfile(GATE.format(url=server.url, model="m").replace(", reference='m'", ""))
    result = run(pytester, "--quantguard-update=new")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*a baseline holds full precision beside m*reference='NAME'*"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("recipe='w8a8', endpoint='http://x/v1'", "*is run as it is by the engine openai*leave them out"),
        ("tokenizer='tiny-reasoner'", "*tokenizer= goes with endpoint= or engine=*"),
        ("engine='openai'", "*give its address, such as http://localhost:8000/v1"),
        ("engine='transformers'", "*leave engine and endpoint out"),
        ("engine='opnai', endpoint='http://x/v1'", "*unknown engine 'opnai'. Did you mean 'openai'?*"),
        ("endpoint='http://127.0.0.1:9/v1'", "*no server answers at http://127.0.0.1:9/v1*"),
    ],
    ids=["recipe", "tokenizer", "no-address", "transformers", "typo", "no-server"],
)
def test_what_does_not_go_together_is_an_error(pytester: pytest.Pytester, arguments: str, message: str) -> None:
    pytester.makepyfile(
        f"import quantguard\n@quantguard.accuracy()\ndef test_a(guard):\n    guard.check('m', {arguments})"
    )
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ERROR*", message])


@pytest.mark.parametrize("marker", ["latency(min_speedup=1.1)", "memory(max_ratio=0.6)"])
def test_what_only_this_process_can_measure_is_an_error(pytester: pytest.Pytester, server: Script, marker: str) -> None:
    pytester.makepyfile(GATE.format(url=server.url, model="m").replace("accuracy(tol=0.3, subset=20)", marker))
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"*a {marker.partition('(')[0]} gate measures a model of this process, and m answers*"]
    )


class TransformersServe:
    """``transformers serve`` in a process of its own, on one port however often it is started."""

    def __init__(self, log: pathlib.Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["-m", "transformers.cli.transformers", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command, "--device", "cpu", "--dtype", "float32"],
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                    return
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.2)
        raise AssertionError(self._log.read_text())

    def kill(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def num_kept(folder: pathlib.Path) -> int:
    """Count all answers that are kept."""
    return count_of_runs_since(folder / "generations" / NAME, 0.0)


@pytest.mark.skipif(not SMOLLM2.exists(), reason="needs the model; type: quantguard fetch smollm2-135m")
@pytest.mark.timeout(1200)
def test_a_real_server_is_gated_killed_in_the_middle_and_gone_on_with(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "models").symlink_to(SMOLLM2.parent)
    monkeypatch.setenv("QUANTGUARD_CACHE", str(tmp_path))
    server = TransformersServe(tmp_path / "serve.log")
    server.start()
    try:
        pytester.makepyfile(REAL_GATE.format(model=SMOLLM2, url=server.url))
        run(pytester, "--quantguard-update=new").stdout.fnmatch_lines(["quantguard: 1 MEASURED"])
        of_full_precision = num_kept(tmp_path)

        def kill_in_the_middle() -> None:
            while num_kept(tmp_path) < of_full_precision + 4:
                time.sleep(0.01)
            server.kill()

        killer = threading.Thread(target=kill_in_the_middle)
        killer.start()
        result = run(pytester)
        killer.join()
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*ERROR*", f"*of {NUM_ITEMS} requests unanswered*Connection error*"])
        of_candidate = num_kept(tmp_path) - of_full_precision
        assert 4 <= of_candidate < NUM_ITEMS

        server.start()
        result = run(pytester)
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["*PASS*", f"*{of_candidate} of {NUM_ITEMS} answers are of a run that began at*"])
        assert num_kept(tmp_path) == of_full_precision
    finally:
        server.kill()
