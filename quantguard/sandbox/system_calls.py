"""The system calls that a sandboxed program may make, as a seccomp filter.

Calls that are not listed fail as if the kernel did not have them: those for processes, sockets, writing files, memory
that no limit counts (memfd, System V, message queues, locks, timers), tracing, mounts, namespaces, io_uring, BPF, keys,
and whatever a later kernel adds. A program therefore stays one process, and its limits bound everything. The C library
takes ``ENOSYS`` for an old kernel and does without the call.

A program may not send SIGKILL or SIGTERM either, or exit with the statuses that stand for them: a process that dies of
one was ended from outside, as the kernel does if a machine runs out of memory.
"""

import errno
import platform
import signal
import struct

from quantguard.errors import SandboxError

# name=number on x86-64/number on AArch64, if it has one: asm/unistd_64.h and asm-generic/unistd.h of Linux.
_ALLOWED = """
access=21/ alarm=37/ arch_prctl=158/ brk=12/214 chdir=80/49 clock_getres=229/114 clock_gettime=228/113
clock_nanosleep=230/115 close=3/57 close_range=436/436 dup=32/23 dup2=33/ dup3=292/24 epoll_create=213/
epoll_create1=291/20 epoll_ctl=233/21 epoll_pwait=281/22 epoll_wait=232/ eventfd=284/ eventfd2=290/19 execve=59/221
faccessat=269/48 faccessat2=439/439 fadvise64=221/223 fchdir=81/50 fstat=5/80
fstatfs=138/44 futex=202/98 get_robust_list=274/100 getcpu=309/168 getcwd=79/17 getdents=78/ getdents64=217/61
getegid=108/177 geteuid=107/175 getgid=104/176 getgroups=115/158 getitimer=36/102 getpgid=121/155 getpgrp=111/
getpid=39/172 getppid=110/173 getpriority=140/141 getrandom=318/278 getresgid=120/150 getresuid=118/148
getrlimit=97/163 getrusage=98/165 getsid=124/156 gettid=186/178 gettimeofday=96/169 getuid=102/174 ioctl=16/29
lseek=8/62 lstat=6/ madvise=28/233 membarrier=324/283 mincore=27/232 mmap=9/222 mprotect=10/226
mremap=25/216 msync=26/227 munmap=11/215 nanosleep=35/101 newfstatat=262/79 open=2/ openat=257/56 pause=34/ pipe=22/
pipe2=293/59 poll=7/ ppoll=271/73 pread64=17/67 preadv=295/69 prlimit64=302/261 pselect6=270/72 pwrite64=18/68
pwritev=296/70 read=0/63 readlink=89/ readlinkat=267/78 readv=19/65 restart_syscall=219/128 rseq=334/293
rt_sigaction=13/134 rt_sigpending=127/136 rt_sigprocmask=14/135 rt_sigreturn=15/139 rt_sigsuspend=130/133
rt_sigtimedwait=128/137 sched_get_priority_max=146/125 sched_get_priority_min=147/126 sched_getaffinity=204/123
sched_getparam=143/121 sched_getscheduler=145/120 sched_yield=24/124 select=23/ sendfile=40/71
set_robust_list=273/99 set_tid_address=218/96 setgroups=116/159 setitimer=38/103 setpgid=109/154 setresgid=119/149
setresuid=117/147 setrlimit=160/164 setsid=112/157 sigaltstack=131/132 stat=4/ statfs=137/43 statx=332/291
sysinfo=99/179 time=201/ timerfd_create=283/85 timerfd_gettime=287/87 timerfd_settime=286/86
times=100/153 umask=95/166 uname=63/160 wait4=61/260 waitid=247/95 write=1/64 writev=20/66
"""
# Calls that are allowed unless the last byte of one argument (its position) is one of these values: signals, statuses.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM)
_STATUSES = tuple(128 + number for number in _FROM_OUTSIDE)
_GUARDED = {
    "exit=60/93": (0, _STATUSES),
    "exit_group=231/94": (0, _STATUSES),
    "kill=62/129": (1, _FROM_OUTSIDE),
    "tkill=200/130": (1, _FROM_OUTSIDE),
    "tgkill=234/131": (2, _FROM_OUTSIDE),
}
# The machine's architecture word, the column of the table, and the numbers of clone and fcntl.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0, 56, 72), "aarch64": (0xC00000B7, 1, 220, 25)}
_CLONE_THREAD = 0x00010000
# fcntl's commands from F_DUPFD to F_SETFL, and F_DUPFD_CLOEXEC; not those for locks and pipe sizes, which take kernel
# memory.
_FCNTL_COMMANDS = (0, 1, 2, 3, 4, 1030)

# struct seccomp_data: the call's number, the architecture, 8 bytes of address, then the arguments.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
_ARGUMENT_BYTES = 8
_LOAD, _EQUAL, _BITS, _AND, _RETURN = 0x20, 0x15, 0x45, 0x54, 0x06
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000


def allowed(machine: str) -> dict[str, int]:
    """Return the numbers of the calls that are allowed on an architecture with any arguments.

    Raises SandboxError for an unknown architecture.
    """
    return dict(entry for text in _ALLOWED.split() if (entry := _entry(text, machine)) is not None)


def guarded(machine: str) -> dict[str, int]:
    """Return the numbers of the calls that are allowed with some arguments only; see :func:`allowed`."""
    return dict(entry for text in _GUARDED if (entry := _entry(text, machine)) is not None)


def _entry(text: str, machine: str) -> tuple[str, int] | None:
    """Return the name of a call and its number on an architecture, or None if it does not exist there."""
    _, column, *_ = _architecture(machine)
    name, _, numbers = text.partition("=")
    number = numbers.split("/")[column]
    return (name, int(number)) if number else None


def program(machine: str | None = None) -> bytes:
    """Return the filter for an architecture, absent this machine's, as bubblewrap's ``--seccomp`` reads it.

    Raises SandboxError for an unknown architecture.
    """
    machine = machine or platform.machine()
    word, _, clone, fcntl = _architecture(machine)
    # A program on x86-64 could call by the numbers of another architecture, so that comes first.
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, word),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for number in allowed(machine).values():
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for number, (argument, refused) in zip(guarded(machine).values(), _GUARDED.values(), strict=True):
        code += _guard(number, argument, refused)
    code += [
        (_EQUAL, 0, 4, clone),
        # The flags are the first argument on both architectures, and little-endian.
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_BITS, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
        (_EQUAL, 1, 0, fcntl),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
    ]
    for value in _FCNTL_COMMANDS:
        code += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    code.append((_RETURN, 0, 0, _FAIL | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _guard(number: int, argument: int, refused: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Return the instructions that allow a call unless the last byte of an argument is among the refused values."""
    values = [
        instruction
        for value in refused
        for instruction in [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _FAIL | errno.EPERM)]
    ]
    body = [
        (_LOAD, 0, 0, _FIRST_ARGUMENT + _ARGUMENT_BYTES * argument),
        (_AND, 0, 0, 0xFF),
        *values,
        (_RETURN, 0, 0, _ALLOW),
    ]
    return [(_EQUAL, 0, len(body), number), *body]


def _architecture(machine: str) -> tuple[int, int, int, int]:
    try:
        return _ARCHITECTURES[machine]
    except KeyError:
        known = ", ".join(_ARCHITECTURES)
        raise SandboxError(
            f"model-written code is confined on {known}; this machine is {machine}. Run the benchmark on one of those"
        ) from None
