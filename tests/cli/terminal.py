"""`Terminal`: the real command in a real terminal (a pty), typed at and read from."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

COMMAND = (sys.executable, "-m", "dynamostore")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\].*?\x07")


class Terminal:
    """``dynamostore`` with *arguments* in a terminal of so many *columns*; *said* is what it printed so far."""

    def __init__(self, *arguments: str, columns: int = 80, environment: Mapping[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**inherited, "TERM": "xterm-256color", **(environment or {})},
            # Of its own, so that Ctrl-C is for it.
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (a call of the system's, no more)
        )
        os.close(slave)
        self.said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def plain(self) -> str:
        """What it printed, without colours and movements."""
        return _CONTROL.sub("", self.said).replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """The lines it printed, those that it went back to as well."""
        return re.split(r"[\r\n]", self.plain)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, condition: str | Callable[[], bool], seconds: float = 20) -> None:
        """Read until *condition*: a text that was printed, or what holds."""
        deadline = time.monotonic() + seconds
        while not (condition in self.plain if isinstance(condition, str) else condition()):
            assert time.monotonic() < deadline, self.plain
            if not self._read(0.02) and self.process.poll() is not None:
                break
        assert (condition in self.plain) if isinstance(condition, str) else condition(), self.plain

    def end(self, seconds: float = 20) -> int:
        """Read until it ends; its exit code."""
        deadline = time.monotonic() + seconds
        while self._read(0.02) or self.process.poll() is None:
            assert time.monotonic() < deadline, self.plain
        return self.process.wait()

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return False
        try:
            new = os.read(self._master, 65536)
        except OSError:  # Linux's way to say that nobody has it open any more
            return False
        self.said += new.decode(errors="replace")
        return bool(new)
