"""An installed plugin costs an unrelated project nothing that matters."""

import subprocess
import sys

SNIPPET = """
import sys, pytest
pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "."])
heavy = sorted({"torch", "transformers", "numpy", "scipy", "numba"} & set(sys.modules))
assert "pytest_quantguard.plugin" in sys.modules
print("heavy:", heavy)
"""


def test_an_unrelated_run_imports_nothing_heavy(tmp_path: object) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", SNIPPET], cwd=str(tmp_path), capture_output=True, text=True, check=True
    )
    assert "heavy: []" in finished.stdout


def test_the_judging_half_imports_no_torch() -> None:
    code = (
        "import sys, quantguard.gates.accuracy, quantguard.verdict, quantguard.baselines,"
        " quantguard.report.output_files, quantguard.benchmarks.word_problems, quantguard.scorers.boxed\n"
        "assert not {'torch', 'transformers', 'pytest'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
