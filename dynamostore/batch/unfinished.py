"""`begun`: the time at which an unfinished export was started."""

from __future__ import annotations

import os
import zlib
from datetime import datetime
from pathlib import Path

import msgspec

from dynamostore.private_files import read_only

from ._lines import Head
from ._reading import Lines

__all__ = ["begun"]


def begun(path: Path) -> datetime | None:
    """Return when the unfinished export to *path* was started, or None. Never raises.

    It returns None if there is no unfinished export, or if its files belong to another user.

    >>> begun(Path("nowhere.jsonl")) is None
    True
    """
    partial = path.with_name(f"{path.name}.partial")
    if not os.path.lexists(path.with_name(f"{path.name}.resume")):
        return None
    try:
        with read_only(partial) as file:
            lines = Lines(file, gzipped=path.suffix == ".gz")
            return msgspec.json.decode(lines.line, type=Head).exported if lines.advance() else None
    except (OSError, EOFError, zlib.error, ValueError, RecursionError):
        return None
