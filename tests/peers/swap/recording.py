"""Writes what became of each test to the file at ``PEERS_OUTCOMES``, a line of JSON each."""

from __future__ import annotations

import json
import os
from pathlib import Path

__all__ = ["record"]

# Read now: tests change their environment.
_OUTCOMES = Path(os.environ["PEERS_OUTCOMES"])


def record(test: str, outcome: str, detail: str = "") -> None:
    """Note that *test* passed, failed or was skipped. Of several outcomes of one test the worst counts."""
    with _OUTCOMES.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"test": test, "outcome": outcome, "detail": detail}) + "\n")
