"""Runs a command to its end, or stops it and all it has started at its time limit."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["CommandError", "run_command"]


class CommandError(Exception):
    """A command that had to succeed did not; the message has the end of what it said."""


def run_command(
    command: Sequence[str | Path],
    *,
    seconds: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    must_succeed: bool = True,
) -> int | None:
    """Return the exit status of *command*, or None if it was stopped after so many *seconds*.

    Its output goes to *log*. With *must_succeed*, raises `CommandError` for a status other than 0, and for a stop.
    """
    output = Path(os.devnull) if log is None else log
    with output.open("wb") as file:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=dict(os.environ if env is None else env),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            # A group of its own, so that its children end with it.
            start_new_session=True,
        )
        status: int | None
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if must_succeed and status != 0:
        said = [] if log is None else log.read_text(errors="replace").splitlines()
        ended = f"did not end within {seconds:.0f} s" if status is None else f"ended with status {status}"
        raise CommandError("\n".join([f"{' '.join(map(str, command))} {ended}", *said[-15:]]))
    return status
