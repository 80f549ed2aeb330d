"""The environments that CI has besides its own."""

import nox


@nox.session
def triton(session: nox.Session) -> None:
    """Check the Triton-Ascend kernels: interpreted, compiled for Ascend 910B up to HIVM IR, and that IR on the host."""
    session.install("-c", "constraints.txt", "-e", ".[test]")
    session.install("pybind11==3.1.0")
    session.install("--no-deps", "triton-ascend==3.2.0", "ascendnpu-ir==1.2.0")
    # Set where a missing package must not pass for a skipped test.
    required = {"QUANTGUARD_NOX": "1", "OMP_NUM_THREADS": "1"}
    command = ("pytest", "--confcutdir=tests/triton_ascend", "-n", "2", "-p", "no:cacheprovider", *session.posargs)
    interpreted = (
        "tests/kernels",
        "tests/triton_ascend/test_interpreter.py",
        "tests/triton_ascend/test_without_triton.py",
    )
    session.run(*command, *interpreted, env={**required, "TRITON_INTERPRET": "1"})
    session.run(*command, "tests/triton_ascend/test_compiled.py", env={**required, "TRITON_INTERPRET": "0"})
