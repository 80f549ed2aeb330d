"""What is wrong with a checkpoint, and where."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """A rule that a checkpoint breaks: in which file, in which tensor unless it is the file's own, and how."""

    file: str
    tensor: str | None = None
    rule: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.tensor, self.rule) if part)
