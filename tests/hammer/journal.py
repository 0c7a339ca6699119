"""The journal: what each worker was about to do and what it was told, kept outside the processes.

A line is one ``os.write`` to a file opened with ``O_APPEND``: what was written before a SIGKILL is there, whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["Event", "Journal", "What", "read"]

What: TypeAlias = Literal[
    "start",  # an operation is about to begin
    "mint",  # a token has been made for it, and may be stored from now on
    "ok",  # it was acknowledged
    "gone",  # its session was not there, or was gone when it was to be stored
    "fail",  # it raised: whether it was applied is not known
]


@dataclass(frozen=True, slots=True)
class Event:
    """A line of a journal: what happened to the operation *op*."""

    what: What
    op: str
    kind: str = ""
    session: str = ""
    token: str = ""
    key: str = ""
    error: str = ""
    text: str = ""
    counts: dict[str, int] = field(default_factory=dict)


class Journal:
    """One worker's journal, open for appending; threads may share it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)

    def write(self, event: Event) -> None:
        filled = {name: value for name in Event.__slots__ if (value := getattr(event, name))}
        os.write(self._file, json.dumps(filled).encode() + b"\n")


def read(folder: Path) -> Iterator[Event]:
    """The events of all journals in *folder*; those of one operation in their order."""
    for path in sorted(folder.glob("*.journal")):
        with path.open() as lines:
            for line in lines:
                yield Event(**json.loads(line))
