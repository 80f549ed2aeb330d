"""Fingerprints of made-up runs, and those of others with fields changed."""

import dataclasses
from typing import Any

from quantguard.records import Fingerprint, ModelIdentity, Question, Runtime

_PLAIN = Fingerprint(
    question=Question(data="d"), model=ModelIdentity(weights="w", recipe="full-precision"), runtime=Runtime()
)


def fingerprint_of(**facts: Any) -> Fingerprint:
    """Return a fingerprint with these fields, whichever part they are of."""
    return with_facts(_PLAIN, **facts)


def with_facts(fingerprint: Fingerprint, **facts: Any) -> Fingerprint:
    """Return a fingerprint with these fields in the place of its own, whichever part they are of."""
    parts = {}
    for part in dataclasses.fields(fingerprint):
        whole = getattr(fingerprint, part.name)
        mine = {field.name for field in dataclasses.fields(whole)} & facts.keys()
        parts[part.name] = dataclasses.replace(whole, **{name: facts.pop(name) for name in mine})
    assert not facts, f"no part has {', '.join(facts)}"
    return dataclasses.replace(fingerprint, **parts)
