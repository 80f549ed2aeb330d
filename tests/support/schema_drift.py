"""Compare operations of several torch_npu releases by the YAML in their wheels. Type: python schema_drift.py FOLDER.

Prints a table of what the ascend backend can run on each; exits with 1 where the newest or the release that the schemas
are from cannot run something.
"""

import pathlib
import sys
import zipfile
from typing import Any

import yaml

from quantguard.kernels.ascend.schemas import SCHEMAS, arguments, lacking

HOME = "2.13.0"
YAML = "torch_npu/csrc/aten/npu_native_functions_by_codegen.yaml"
# What a user asks for, and the operations that it takes.
ABILITIES = {
    "W8A8, scales per token": ("npu_dynamic_quant", "npu_quant_matmul"),
    "W8A8, fixed scales": ("npu_quantize", "npu_quant_matmul", "npu_trans_quant_param"),
    "W4A8": ("npu_dynamic_quant", "npu_quant_matmul", "npu_convert_weight_to_int4pack", "npu_trans_quant_param"),
    "W4A4": ("npu_dynamic_quant", "npu_quant_matmul", "npu_convert_weight_to_int4pack"),
    "W8A16, W4A16": ("npu_weight_quant_batchmatmul", "npu_convert_weight_to_int4pack"),
    "Kronecker rotation to 4 bits": ("npu_kronecker_quant",),
    "block rotation to 8 bits": ("npu_rotate_quant",),
    "KV cache, a scale per token and head": ("npu_dynamic_quant", "npu_dynamic_quant_asymmetric"),
    "KV cache, a scale per channel": ("npu_quantize",),
    "attention over an int8 KV cache": ("npu_fused_infer_attention_score",),
}


def schemas_of(wheel: pathlib.Path) -> dict[str, str]:
    """Return the schema of every operation that a wheel lists; `self` there is `input` in what it registers."""
    with zipfile.ZipFile(wheel) as archive:
        table: dict[str, Any] = yaml.safe_load(archive.read(YAML))
    found: dict[str, str] = {}
    for entries in table.values():
        for entry in entries if isinstance(entries, list) else ():
            schema = str(entry["func"] if isinstance(entry, dict) else entry)
            found.setdefault(schema.partition("(")[0], schema)
    return found


def present(schema: str) -> list[str]:
    """List the arguments under the names that they are called by."""
    return ["input" if name == "self" else name for name in arguments(schema)]


def missing(schemas: dict[str, str], ability: str) -> list[str]:
    """List what a release lacks for an ability: operations, or arguments that we pass."""
    absent = [op for op in ABILITIES[ability] if op not in schemas]
    lost = [f"{op}({', '.join(names)})" for op in ABILITIES[ability] if op in schemas and (names := gaps(schemas, op))]
    return absent + lost


def gaps(schemas: dict[str, str], op: str) -> list[str]:
    """List the arguments that we pass and a release's operation does not have."""
    return lacking(op, present(schemas[op]))


def main(folder: pathlib.Path) -> int:
    """Print the table and what differs from the schemas that the backend is written to."""
    wheels = sorted(folder.glob("torch_npu-*.whl"), key=release_key)
    releases = {wheel.name.split("-")[1]: schemas_of(wheel) for wheel in wheels}
    print("| ability | " + " | ".join(releases) + " |")
    print("|---" * (len(releases) + 1) + "|")
    for ability in ABILITIES:
        cells = [", ".join(missing(schemas, ability)) for schemas in releases.values()]
        print(f"| {ability} | " + " | ".join(f"lacks {cell}" if cell else "yes" for cell in cells) + " |")
    for release, schemas in releases.items():
        for op, ours in SCHEMAS.items():
            if op in schemas and present(schemas[op]) != arguments(ours):
                fewer = [name for name in arguments(ours) if name not in present(schemas[op])]
                more = [name for name in present(schemas[op]) if name not in arguments(ours)]
                print(f"{release} {op}: without {', '.join(fewer) or 'none'}; more: {', '.join(more) or 'none'}")
    newest = list(releases)[-1]
    broken = [(r, a) for r in {HOME, newest} & set(releases) for a in ABILITIES if missing(releases[r], a)]
    return 1 if broken or len(releases) < 3 or HOME not in releases else 0


def release_key(wheel: pathlib.Path) -> list[int]:
    """Order releases by their numbers."""
    return [int(part.removeprefix("post")) for part in wheel.name.split("-")[1].split(".")]


if __name__ == "__main__":
    raise SystemExit(main(pathlib.Path(sys.argv[1])))
