"""Checks that need an environment of their own. Type: nox -s NAME."""

import pathlib

import nox

TORCH = "torch==2.13.0"
TORCH_NPU = "torch_npu==2.13.0"
# The releases that people run, a wheel each; nothing of them is imported but their list of operations.
RELEASES = ("2.7.1.post11", "2.9.1", "2.13.0", "2.14.0")

nox.options.sessions = ["vendor_contract", "schema_drift", "triton"]


@nox.session
def vendor_contract(session: nox.Session) -> None:
    """Hold every call of the ascend backend against the genuine torch_npu, drivers stubbed; needs gcc and binutils."""
    session.install("-c", "constraints.txt", TORCH, TORCH_NPU, "-e", ".[test]")
    stubs, fake = (pathlib.Path(session.create_tmp(), name).resolve() for name in ("stubs", "fake"))
    session.run("python", "tests/vendor_contract/cann_stubs.py", str(stubs))
    session.run("python", "tests/vendor_contract/cann_stubs.py", str(fake), "fake")
    environment = {
        # Without it `import torch` loads torch_npu, before our libraries can be found.
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
        "LD_LIBRARY_PATH": str(stubs),
        "QUANTGUARD_FAKE_ACL": str(fake),
        "QUANTGUARD_NO_SKIPS": "1",
        "OMP_NUM_THREADS": "1",
    }
    # The vendor's package warns on import.
    command = ("pytest", "-W", "default", "--noconftest", "-p", "no:cacheprovider", "tests/vendor_contract")
    session.run(*command, *session.posargs, env=environment)


@nox.session
def schema_drift(session: nox.Session) -> None:
    """Print what a user of each torch_npu release can run, from the wheels alone: none is imported."""
    session.install("-c", "constraints.txt", "pyyaml")
    # The backend's list of schemas takes neither torch nor anything else.
    session.install("--no-deps", "-e", ".")
    wheels = pathlib.Path(session.create_tmp(), "wheels")
    for release in RELEASES:
        command = ("download", "--quiet", "--no-deps", "--only-binary=:all:", "--platform=manylinux_2_28_x86_64")
        session.run("pip", *command, "--python-version=3.11", f"torch_npu=={release}", "-d", str(wheels))
    session.run("python", "tests/vendor_contract/schema_drift.py", str(wheels), *session.posargs)


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
        "tests/triton_ascend/test_interpreted.py",
        "tests/triton_ascend/test_without_triton.py",
    )
    session.run(*command, *interpreted, env={**required, "TRITON_INTERPRET": "1"})
    session.run(*command, "tests/triton_ascend/test_compiled.py", env={**required, "TRITON_INTERPRET": "0"})
