"""What the driver says to the worker of an app, and what it is told: a line of JSON each."""

from __future__ import annotations

import msgspec

from benchmarks.speed.messages import Failed, Ready, Timed

__all__ = ["Ask", "Asked", "Check", "Checked", "Command", "Prepare", "Reply", "Time"]


class Check(msgspec.Struct, tag=True, frozen=True):
    """See whether the app does what its routes are for."""


class Prepare(msgspec.Struct, tag=True, frozen=True):
    """Make the sessions that so many requests of a route need; answered by `Ready`."""

    route: str
    requests: int


class Ask(msgspec.Struct, tag=True, frozen=True):
    """Send the requests that were prepared."""


class Time(msgspec.Struct, tag=True, frozen=True):
    """Send a route's requests one after the other, for so many seconds; answered by `Timed`."""

    route: str
    seconds: float


Command = Check | Prepare | Ask | Time


class Checked(msgspec.Struct, tag=True, frozen=True):
    """It does; *old_works*: after the login, the cookie from before still leads to the data."""

    old_works: bool


class Asked(msgspec.Struct, tag=True, frozen=True):
    """They were answered. *statements*: what that took of a back end within the process, by kind."""

    statements: dict[str, int] = {}


Reply = Ready | Checked | Asked | Timed | Failed
