"""The pins: which release of each project is tested, and the hash of its sdist."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["FOLDER", "Pin", "read_pins"]

FOLDER: Final = Path(__file__).parent
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Pin:
    """One suite's entry in pins.toml, which says what each field means."""

    title: str
    project: str
    version: str
    series: str
    sha256: str
    python: str
    minutes: float
    requires: list[str]

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version) or not _VERSION.fullmatch(self.python):
            raise ValueError(f"{self.title}: version and python must be versions, as in 3.11")
        if not re.fullmatch(r"[0-9.]+\.\*", self.series) or not f"{self.version}.".startswith(self.series[:-1]):
            raise ValueError(f"{self.title}: series must cover the version, as in 5.2.*")
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.title}: sha256 must be 64 hexadecimal digits")
        if not 0 < self.minutes <= 60:
            raise ValueError(f"{self.title}: minutes must be more than 0 and at most 60")


def read_pins(path: Path = FOLDER / "pins.toml") -> dict[str, Pin]:
    """Return the pins by the name of their suite. Raises `ValueError` for an entry that makes no sense."""
    entries: dict[str, object] = tomllib.loads(path.read_text("utf-8"))
    return {name: msgspec.convert(entry, Pin) for name, entry in entries.items()}
