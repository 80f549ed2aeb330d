"""The fingerprint of a run: what another run has to share with it to be compared.

It has three parts, and who compares less leaves a part out or says here, by name, what of one does not count. So a
field that is added to a part counts everywhere until somebody decides otherwise.
"""

import dataclasses
from typing import Any, NamedTuple, Self

_LONGEST_SHOWN = 48
# A recipe that rotates gives the head a matrix of its own; which weights there are stands in their hash.
_TIED = "tie_word_embeddings"


class Difference(NamedTuple):
    """A field in which two fingerprints are not the same, with both values as text; None is absent."""

    name: str
    then: str | None
    now: str | None

    def __str__(self) -> str:
        return f"{self.name} was {shown(self.then)}, is {shown(self.now)}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and how an answer to it ends and is scored.

    Attributes:
        data: The sha256 of the benchmark's items, or of the text that layers are traced on; absent where answers alone
            are meant, whichever items they are to.
        prompt: The sha256 of the chat template and tokenizer, or who else makes prompts; absent where nothing is put to
            a model in words.
        tokens: A line on every token id that the model is sent for all items, or who else makes them.
        stop_ids: The tokens that end an answer, in ascending order; absent where a server has its own.
        decoding: The sha256 of how answers are generated, the seed left out: seeds are the noise.
        scorer: The scorer's version, with what else its scores depend on; absent where nothing is scored.
    """

    data: str | None = None
    prompt: str | None = None
    tokens: str | None = None
    stop_ids: tuple[int, ...] | None = None
    decoding: str | None = None
    scorer: str | None = None

    def differences(self, other: Self) -> tuple[Difference, ...]:
        """Return the fields in which ``other``, the later one, is not the same."""
        return _differences(self, other)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """What answers.

    Attributes:
        weights: The sha256 of the full-precision tensors, or the name that a server has for the model.
        recipe: The sha256 of the recipe, ``full-precision``, or ``as-served`` where a server quantized it or not.
        calibration: The sha256 of the tokens that it was calibrated on; absent where none were needed.
        config: The fields of the configuration that decide what is computed, sorted by dotted name, as JSON text;
            absent where a server does not tell.
    """

    weights: str
    recipe: str
    calibration: str | None = None
    config: dict[str, str] | None = None

    def differences(self, other: Self) -> tuple[Difference, ...]:
        """Return the fields in which ``other``, the later one, is not the same.

        A configuration that one of the two does not have at all is one difference, and not one for each of its fields.
        """
        return _differences(self, other)

    def before_quantization(self) -> Self:
        """Return the identity without what quantization changes, which a model and its full precision share."""
        config = self.config and {key: value for key, value in self.config.items() if key != _TIED}
        return dataclasses.replace(self, recipe="full-precision", calibration=None, config=config)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What it runs on, as far as answers depend on it.

    Attributes:
        engine: The engine's name and version; absent where no engine generates.
        dtype: The floating-point type that is computed in, such as ``bfloat16``; absent where a server does not tell.
        batch_size: How many items run at once; absent where answers do not depend on it, as in float32.
        threads: The number of torch's threads; absent where answers do not depend on it, as in float32.
    """

    engine: str | None = None
    dtype: str | None = None
    batch_size: int | None = None
    threads: int | None = None

    def differences(self, other: Self) -> tuple[Difference, ...]:
        """Return the fields in which ``other``, the later one, is not the same."""
        return _differences(self, other)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What two runs have to share to be compared.

    Attributes:
        question: What is asked.
        model: What answers.
        runtime: What it runs on.
    """

    question: Question
    model: ModelIdentity
    runtime: Runtime

    def differences(self, other: Self) -> tuple[Difference, ...]:
        """Return the fields in which ``other``, the later one, is not the same, sorted by name."""
        found = [d for part in _parts(self) for d in _differences(getattr(self, part), getattr(other, part))]
        return tuple(sorted(found, key=lambda difference: difference.name))

    def facts(self) -> dict[str, str]:
        """Return every field that is there as text, sorted by name, for a reader."""
        parts = [_facts(getattr(self, part)) for part in _parts(self)]
        return dict(sorted((name, text) for facts in parts for name, text in facts.items()))

    def of_answers(self) -> Self:
        """Return what single answers depend on: neither on the other items, nor on how they are scored."""
        return dataclasses.replace(self, question=dataclasses.replace(self.question, data=None, scorer=None))

    def of_layers(self, text: str) -> Self:
        """Return what the outputs of layers on a text, named by its sha256, depend on: no engine puts it to them."""
        runtime = dataclasses.replace(self.runtime, engine=None, batch_size=None)
        return dataclasses.replace(self, question=Question(data=text), runtime=runtime)


def shown(value: str | None) -> str:
    """Return a value as it is, or the start of a hash."""
    if value is None:
        return "absent"
    return value if len(value) <= _LONGEST_SHOWN else f"{value[:12]}…"


def _parts(fingerprint: Fingerprint) -> list[str]:
    return [field.name for field in dataclasses.fields(fingerprint)]


def _differences(then: Any, now: Any) -> tuple[Difference, ...]:
    found = []
    for field in dataclasses.fields(then):
        was, is_ = getattr(then, field.name), getattr(now, field.name)
        if was == is_:
            continue
        if isinstance(was, dict) and isinstance(is_, dict):
            found += [
                Difference(f"{field.name}.{key}", was.get(key), is_.get(key))
                for key in sorted({*was, *is_})
                if was.get(key) != is_.get(key)
            ]
        else:
            found.append(Difference(field.name, _text(was), _text(is_)))
    return tuple(found)


def _facts(part: Any) -> dict[str, str]:
    facts: dict[str, str] = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if isinstance(value, dict):
            facts |= {f"{field.name}.{key}": text for key, text in value.items()}
        elif (text := _text(value)) is not None:
            facts[field.name] = text
    return facts


def _text(value: Any) -> str | None:
    if isinstance(value, dict):
        return "recorded"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return None if value is None else str(value)
