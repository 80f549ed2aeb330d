"""What a program that a model wrote may use up."""

import dataclasses

_MEBIBYTE = 1 << 20
# A program that takes no notice of the limit is ended so much later.
_GRACE_SECONDS = 2
# With a load of 4 beside each core a program has a fifth of one; twice that is left before the clock ends it.
_WALL_TO_CPU = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one program.

    ``cpu_seconds`` decides, on a busy machine as on an idle one; ``wall_seconds`` ends what only waits; absent, it is
    ten times as much. ``memory_bytes`` is the address space of its one process, ``stack_bytes`` the part of it
    that calls may nest in, ``output_bytes`` what it may print or return in all. Files cannot be written: the kernel
    keeps more for an empty one than any limit here would count.
    """

    cpu_seconds: int = 10
    wall_seconds: float | None = None
    memory_bytes: int = 1024 * _MEBIBYTE
    # The kernel keeps so much free below the stack of every process.
    stack_bytes: int = 128 * _MEBIBYTE
    output_bytes: int = 16 * _MEBIBYTE
    num_threads: int = 64
    num_files: int = 64

    @property
    def patience_seconds(self) -> float:
        """How long a program may take by the clock."""
        return _WALL_TO_CPU * float(self.cpu_seconds) if self.wall_seconds is None else self.wall_seconds

    def resources(self, *, counts_threads: bool) -> dict[str, tuple[int, int | None]]:
        """Return the limits that a process sets itself, soft and hard, by their names in the module resource.

        A hard limit that is absent stays as it is. ``counts_threads`` is whether the kernel counts the threads of that
        process alone.
        """
        limits: dict[str, tuple[int, int | None]] = {
            "RLIMIT_AS": (self.memory_bytes, self.memory_bytes),
            # Programs that nest deeply raise it themselves.
            "RLIMIT_STACK": (self.stack_bytes, None),
            # The signal of the first tells this limit from whatever else ends a process.
            "RLIMIT_CPU": (self.cpu_seconds, self.cpu_seconds + _GRACE_SECONDS),
            "RLIMIT_FSIZE": (0, 0),
            "RLIMIT_NOFILE": (self.num_files, self.num_files),
            # At 0 a program that takes dumps, where there is one, would still be started.
            "RLIMIT_CORE": (1, 1),
            "RLIMIT_MSGQUEUE": (0, 0),
            "RLIMIT_MEMLOCK": (0, 0),
        }
        return limits | ({"RLIMIT_NPROC": (self.num_threads, self.num_threads)} if counts_threads else {})
