"""Parse the command line and run a subcommand; errors of quantguard's own end with status 2 and no traceback."""

import argparse
import errno
import os
import select
import signal
import sys
from importlib import metadata
from typing import TextIO

from quantguard import cli
from quantguard.errors import QuantguardError

# What a shell reports of a program that a signal has ended.
_BY_SIGNAL = 128


def main() -> int:
    """Run the command that the arguments name and return its exit status.

    A reader that has seen enough, as of ``| head``, ends it quietly, as programs end that do not catch SIGPIPE.
    """
    try:
        try:
            return _run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        closed = [stream for stream in (sys.stdout, sys.stderr) if _has_no_reader(stream)]
        if not closed:
            # It is the pipe of something else.
            raise
        for stream in closed:
            # What is buffered has nowhere to go, and Python would complain when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return _BY_SIGNAL + signal.SIGPIPE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"quantguard: {error}: not all could be written", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return os.EX_IOERR


def _run() -> int:
    args = build_parser().parse_args()
    try:
        return cli.members[args.command].run(args)
    except QuantguardError as error:
        print(f"quantguard {args.command}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        # A file that cannot be read or written is the machine's business; anything else is a defect to be seen.
        if error.filename is None:
            raise
        print(f"quantguard {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"quantguard {args.command}: interrupted", file=sys.stderr)
        return _BY_SIGNAL + signal.SIGINT


def _has_no_reader(stream: TextIO) -> bool:
    """Tell whether a stream is a pipe whose other end is closed."""
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with every subcommand found beside this module."""
    parser = argparse.ArgumentParser(
        prog="quantguard", description="Quantize reasoning models, and find out whether they are still good."
    )
    parser.add_argument("--version", action="version", version=f"quantguard {metadata.version('quantguard')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in cli.members.items():
        command.add_arguments(commands.add_parser(name, help=command.HELP, description=command.__doc__))
    return parser


if __name__ == "__main__":
    sys.exit(main())
