"""The ``quantguard`` command: one file a subcommand."""

import argparse
from typing import Protocol

from quantguard.registry import Registry

__all__ = ["Command", "members"]


class Command(Protocol):
    """What a subcommand has; its docstring is what its help says first."""

    @property
    def HELP(self) -> str:
        """What it does, in a line."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add its arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it, and return the exit status."""


members = Registry("cli", Command, kind="command")
