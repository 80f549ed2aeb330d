"""Checks that need an environment of their own. Type: nox -s NAME."""

import pathlib

import nox

TORCH = "torch==2.13.0"
TORCH_NPU = "torch_npu==2.13.0"
# The releases that people run, a wheel each; nothing of them is imported but their list of operations.
RELEASES = ("2.7.1.post11", "2.9.1", "2.13.0", "2.14.0")

# Tools whose checkpoints quantguard reads: what each needs, what is installed after that without its own needs, and the
# schemes that it is asked for.
PEERS = {
    "llm_compressor": (
        ("llmcompressor==0.14.0.1", "compressed-tensors==0.19.0", "transformers==5.17.0"),
        (),
        ("w8a8-dynamic", "w8a8-smoothquant-static", "w4a16-sym", "w4a16-asym", "w4a16-gptq-static"),
    ),
    "gptq_model": (
        (
            *("setuptools==84.2.1", "wheel==0.48.0", "transformers==5.24.0", "torchao==0.18.0", "accelerate==1.15.0"),
            *(
                "datasets==5.2.0",
                "defuser==0.0.28",
                "device-smi==0.5.7",
                "dill==0.4.1",
                "logbar==0.4.15",
                "ninja==1.13.2",
            ),
            *("pillow==13.0.0", "protobuf==7.36.2", "pyarrow==26.0.1", "pypcre==0.6.4", "threadpoolctl==3.8.0"),
            *("tokenicer==0.0.14", "requests==2.34.2", "jinja2==3.1.6"),
        ),
        # It asks for torch 2.14.1, and does what is asked of it here with 2.13.0.
        ("gptqmodel==7.7.0",),
        ("gptq-w4", "gptq-w4-asym-act-order", "awq-gemm-w4"),
    ),
    "ms_model_slim": (
        ("msmodelslim==26.1.0", "transformers==4.51.0", "pyyaml==6.0.4", "safetensors==0.8.0"),
        (),
        ("w8a8-static", "w8a8-dynamic", "w8a16", "w8a8-dynamic-c8", "v0-w8a8-static"),
    ),
}

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
    session.run("python", "tests/support/schema_drift.py", str(wheels), *session.posargs)


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


@nox.session
@nox.parametrize("tool", list(PEERS))
def peers(session: nox.Session, tool: str) -> None:
    """Let another tool quantize tiny-reasoner, with what its own model computes beside it: nox -s peers -- FOLDER."""
    needed, without_needs, schemes = PEERS[tool]
    session.install(TORCH, *needed)
    if without_needs:
        session.install("--no-deps", "--no-build-isolation", *without_needs)
    # Its word problems take nothing but Python.
    session.install("--no-deps", "-e", ".")
    folder = pathlib.Path(*session.posargs or (session.create_tmp(), "checkpoints")).resolve()
    scripts = pathlib.Path("tests/peers").resolve()
    model = pathlib.Path("quantguard/tiny_reasoner/model").resolve()
    text = pathlib.Path(session.create_tmp(), "word_problems.txt").resolve()
    with text.open("w", encoding="utf-8") as file:
        session.run("python", str(scripts / "word_problems.py"), stdout=file)
    # The tools leave logs where they run.
    session.chdir(session.create_tmp())
    options = ("--text", str(text), "--length", "256")
    for scheme in schemes:
        output = folder / f"{tool}-{scheme}"
        session.run("python", str(scripts / f"{tool}.py"), str(model), str(output), "--scheme", scheme, *options)
