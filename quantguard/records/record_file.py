"""The file of one recorded run: what ``quantguard evaluate --output`` writes."""

import pathlib

from quantguard.errors import RecordError
from quantguard.records.evaluation import RunRecord
from quantguard.records.sealed_file import SealedFile

# What is there may be a baseline, or a file of the project, and is not to be lost: another name is advised.
_FILE = SealedFile(
    record=RunRecord,
    error=RecordError,
    version=2,
    missing="{path} is no record: it is not there. Make one with: quantguard evaluate MODEL --output {path}",
    damaged="{path} is no record: {problem}. Make one with: quantguard evaluate MODEL --output record.json",
    foreign={
        "acceptance": "It is a baseline; compare two with: quantguard baseline diff {path} OTHER",
        "gates": "It is the results of a report, which quantguard baseline accept takes",
    },
)


def dump_record(record: RunRecord) -> str:
    """Return the text of a record's file, sealed."""
    return _FILE.dump(record)


def read_record(path: pathlib.Path) -> RunRecord:
    """Read a record; raise RecordError where it is missing, damaged or edited."""
    return _FILE.read(path)
