"""What a program that a model wrote may use up."""

import dataclasses

_MEBIBYTE = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one program.

    ``cpu_seconds`` decides on a busy machine as on an idle one; ``wall_seconds`` ends what only waits. ``memory_bytes``
    is the address space of its one process, ``output_bytes`` what it may print or return in all. Files cannot be
    written: the kernel keeps more for an empty one than any limit here would count.
    """

    cpu_seconds: int = 10
    wall_seconds: float = 30.0
    memory_bytes: int = 1024 * _MEBIBYTE
    output_bytes: int = 16 * _MEBIBYTE
    num_threads: int = 64
    num_files: int = 64

    def resources(self, *, counts_threads: bool) -> dict[str, int]:
        """Return the limits that a process sets itself, by their names in the module resource.

        ``counts_threads`` is whether the kernel counts the threads of that process alone.
        """
        limits = {
            "RLIMIT_AS": self.memory_bytes,
            "RLIMIT_CPU": self.cpu_seconds,
            "RLIMIT_FSIZE": 0,
            "RLIMIT_NOFILE": self.num_files,
            # At 0 a program that takes dumps, where there is one, would still be started.
            "RLIMIT_CORE": 1,
            "RLIMIT_MSGQUEUE": 0,
            "RLIMIT_MEMLOCK": 0,
        }
        return limits | ({"RLIMIT_NPROC": self.num_threads} if counts_threads else {})
