"""A GPTQ checkpoint is evaluated and gated like any model, and its verdict belongs to its bytes."""

import pathlib
import re
import sys

import pytest
import safetensors.torch

import quantguard
from quantguard.cli import __main__ as cli
from tests.support.packed_checkpoints import write_gptq

GATE = """
import quantguard

@quantguard.accuracy(tol=0.4, subset=20)
def test_release(guard):
    guard.check({path!r}{reference})
"""


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    loaded = quantguard.load("tiny-reasoner")
    return write_gptq(loaded.model, bits=8, group_size=64, desc_act=True).save(tmp_path / "tiny-gptq")


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run the gates in a process of their own: this one keeps the last model that it loaded."""
    return pytester.runpytest_subprocess("--quantguard", *options)


def test_a_gptq_checkpoint_is_gated_and_changed_bytes_are_no_pass(
    pytester: pytest.Pytester, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    test = pytester.makepyfile(GATE.format(path=str(folder), reference=""))
    run(pytester, "--quantguard-update=new").stdout.fnmatch_lines(["*its files do not name*reference='PATH'*"])
    test.write_text(GATE.format(path=str(folder), reference=", reference='tiny-reasoner'"))
    run(pytester, "--quantguard-update=new").stdout.fnmatch_lines(["quantguard: 1 MEASURED"])
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*PASS*accuracy: word-problems on tiny-gptq, gptq-w8a16 (cpu)"])
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.down_proj.qweight"][0, 0] += 1
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    changed = run(pytester)
    changed.assert_outcomes(failed=1)
    changed.stdout.fnmatch_lines(["*ERROR*", "*weights*"])


def test_the_command_evaluates_it_beside_its_reference(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(arguments: list[str]) -> int:
        monkeypatch.setattr(sys, "argv", ["quantguard", *arguments])
        return cli.main()

    command = ["evaluate", str(folder), "--benchmark"]
    assert main([*command, "word-problems", "--backend", "reference", "--subset", "2"]) == 0
    shown = capsys.readouterr().out
    assert "tiny-gptq, gptq-w8a16, on word-problems" in shown
    assert re.search(r"weight_only_linear +reference \(28 layers\)", shown)
    assert main([*command, "text-fidelity"]) == 2
    assert "--reference PATH" in capsys.readouterr().err
    assert main([*command, "text-fidelity", "--reference", "tiny-reasoner"]) == 0
    shown = capsys.readouterr().out
    found = re.search(r"kl\w* +([\d.]+)", shown)
    assert found, shown
    assert 0 < float(found[1]) < 0.1  # beside itself it would be 0
    assert main([*command, "word-problems", "--reference", "tiny-reasoner", "--engine", "replay"]) == 2
    assert "leave out --recipe, --reference" in capsys.readouterr().err
