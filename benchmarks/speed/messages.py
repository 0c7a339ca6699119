"""What the driver says to a worker, and what it is told: a line of JSON each."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "Command",
    "Failed",
    "Layer",
    "Loaded",
    "Measure",
    "Operation",
    "Profile",
    "Profiled",
    "Ready",
    "Reply",
    "Timed",
]

Operation = Literal["find", "replace"]


class Measure(msgspec.Struct, tag=True, frozen=True):
    """Do one call after the other for so long."""

    operation: Operation
    size: int
    seconds: float


class Load(msgspec.Struct, tag=True, frozen=True):
    """Find, in so many threads or tasks at once, for so long."""

    size: int
    level: int
    seconds: float


class Profile(msgspec.Struct, tag=True, frozen=True):
    """Find so many times, watched."""

    size: int
    calls: int


Command = Measure | Load | Profile


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The client is made."""


class Timed(msgspec.Struct, tag=True, frozen=True):
    """So many calls took so long, and so much of the processors' time: the process's, with all its threads."""

    calls: int
    wall: float
    cpu: float


class Loaded(msgspec.Struct, tag=True, frozen=True):
    """The same of calls at once, and what each took, in microseconds."""

    wall: float
    cpu: float
    latencies: list[float]


class Profiled(msgspec.Struct, tag=True, frozen=True):
    """Where the time went: of the processors, in the program (user) and in the kernel, and by function."""

    user: float
    kernel: float
    functions: str


class Failed(msgspec.Struct, tag=True, frozen=True):
    """It could not, and why."""

    reason: str


Reply = Ready | Timed | Loaded | Profiled | Failed


class Layer(msgspec.Struct):
    """One thing that is done, by one layer of ours: microseconds a call, round by round.

    *cpu* and *wall* through the network; *alone*, of the processors, with the client's replies at hand.
    """

    what: str
    who: str
    cpu: list[float] = []
    wall: list[float] = []
    alone: list[float] = []

    def add(self, far: tuple[float, float], near: tuple[float, float]) -> None:
        """A round: processor and wall time, through the network and without."""
        self.cpu.append(far[0])
        self.wall.append(far[1])
        self.alone.append(near[0])
