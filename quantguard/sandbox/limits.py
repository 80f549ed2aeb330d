"""The resource limits of a model-written program."""

import dataclasses

_MEBIBYTE = 1 << 20
# The hard limit of processor time, which ends a program that ignores the signal of the soft one, is this much later.
_GRACE_SECONDS = 2
# With four other processes per core a program gets a fifth of a core; the wall limit leaves it twice that time.
_WALL_TO_CPU = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one program.

    Files cannot be written at all: even an empty file takes kernel memory that no limit here counts.

    Attributes:
        cpu_seconds: The processor time, which a busy machine does not change.
        wall_seconds: The time by the clock, which ends a program that only waits; absent, ten times ``cpu_seconds``.
        memory_bytes: The address space of its one process.
        stack_bytes: The stack that nested calls may use, part of the address space.
        output_bytes: The total of what it may print or return.
        num_threads: The largest number of threads.
        num_files: The largest number of open files.
    """

    cpu_seconds: int = 10
    wall_seconds: float | None = None
    memory_bytes: int = 1024 * _MEBIBYTE
    # The kernel reserves this much address space below the stack of every process.
    stack_bytes: int = 128 * _MEBIBYTE
    output_bytes: int = 16 * _MEBIBYTE
    num_threads: int = 64
    num_files: int = 64

    @property
    def patience_seconds(self) -> float:
        """The time that a program may take by the clock."""
        return _WALL_TO_CPU * float(self.cpu_seconds) if self.wall_seconds is None else self.wall_seconds

    def resources(self, *, counts_threads: bool) -> dict[str, tuple[int, int | None]]:
        """Return the soft and hard limits that a process sets on itself, by their names in the module resource.

        A hard limit of None stays as it is. ``counts_threads`` says whether the kernel counts the threads of that
        process alone; otherwise a limit on threads would count those of the whole user.
        """
        limits: dict[str, tuple[int, int | None]] = {
            "RLIMIT_AS": (self.memory_bytes, self.memory_bytes),
            # Programs that nest deeply raise it themselves.
            "RLIMIT_STACK": (self.stack_bytes, None),
            # The soft limit has a signal of its own, by which it is told from anything else that ends a process.
            "RLIMIT_CPU": (self.cpu_seconds, self.cpu_seconds + _GRACE_SECONDS),
            "RLIMIT_FSIZE": (0, 0),
            "RLIMIT_NOFILE": (self.num_files, self.num_files),
            # Not 0: if dumps are piped to a program, the kernel starts that program even then.
            "RLIMIT_CORE": (1, 1),
            "RLIMIT_MSGQUEUE": (0, 0),
            "RLIMIT_MEMLOCK": (0, 0),
        }
        return limits | ({"RLIMIT_NPROC": (self.num_threads, self.num_threads)} if counts_threads else {})
