"""A terminal without a person before it: what a command draws, and what is on the screen at the end."""

import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

_ROWS = 50
_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\].*?(?:\x07|\x1b\\)")


class Screen:
    """What a terminal of so many columns shows, as far as pytest and quantguard ask it to."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._rows = [[" "] * columns for _ in range(_ROWS)]
        self._row = self._column = 0

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._rows]

    def show(self, text: str) -> None:
        while text:
            if found := _CONTROL.match(text):
                self._control(found[1] or "", found[2] or "")
                text = text[found.end() :]
            else:
                self._put(text[0])
                text = text[1:]

    def _control(self, number: str, what: str) -> None:
        assert what in ("", "m", "A", "C", "K", "h", "l"), what
        if what == "A":
            self._row = max(0, self._row - int(number or 1))
        elif what == "C":
            self._column = min(self.columns - 1, self._column + int(number or 1))
        elif what == "K":
            self._rows[self._row][self._column :] = [" "] * (self.columns - self._column)

    def _put(self, sign: str) -> None:
        if sign == "\r":
            self._column = 0
            return
        if sign == "\n" or self._column == self.columns:
            self._row += 1
            self._column = self._column if sign == "\n" else 0
        if self._row == _ROWS:
            self._rows = [*self._rows[1:], [" "] * self.columns]
            self._row -= 1
        if sign != "\n":
            self._rows[self._row][self._column] = sign
            self._column += 1


def open_terminal(columns: int) -> tuple[int, int]:
    """Return the two ends of a terminal, ours and the program's."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    return ours, theirs


def run(command: list[str], *, columns: int, environment: dict[str, str]) -> tuple[str, list[list[str]], int]:
    """Run a command on a terminal; return what it wrote, the screens after each piece, and its status."""
    ours, theirs = open_terminal(columns)
    screen, decode = Screen(columns), codecs.getincrementaldecoder("utf-8")().decode
    screens, written = [], []
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        while piece := _read(ours):
            written.append(decode(piece))
            screen.show(written[-1])
            screens.append(screen.lines)
    os.close(ours)
    return "".join(written), screens, process.returncode


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the program has let go of its end
        return b""
