"""The shop in each framework, with our adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from benchmarks.notice.traces import Trace
from session._policy import OnConflict

__all__ = ["Process", "Wire", "make_processes"]


@dataclass(frozen=True, slots=True)
class Wire:
    """A response as a browser sees it."""

    status: int
    headers: list[tuple[str, str]]


class Process(Protocol):
    """A server's process: an instance of the app."""

    async def answer(self, trace: Trace, method: str, path: str, query: str, cookie: str | None) -> Wire:
        """Answer a request, in virtual time."""

    def replay(self, trace: Trace, method: str, path: str, query: str, cookie: str | None) -> Wire:
        """Answer a request whose trace says that nothing takes time."""


def make_processes(framework: str, level: OnConflict, clock: Callable[[], int], number: int) -> list[Process]:
    """Return so many processes of the shop in *framework*."""
    # Each is imported only where it is measured.
    make: Callable[[OnConflict, Callable[[], int]], Process] = import_module(f"{__name__}.{framework}").make
    return [make(level, clock) for _ in range(number)]
