"""What a measurement says of itself: the machine and the versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

__all__ = ["machine", "versions"]


def machine() -> str:
    """The processor, how many there are, the system."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}"


def versions(*packages: str) -> str:
    """The versions of Python and of packages, as installed where this runs."""
    return ", ".join((f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
