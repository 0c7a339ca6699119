"""The routes that every app has, and what their views do with a session, whosever it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from benchmarks.speed.stored import SIZES, payload

__all__ = ["ROUTES", "VIEWS", "VISITS", "Data", "Route", "ignore"]


class Data(Protocol):
    """As much of a session as the views use."""

    def get(self, key: str, default: str, /) -> object: ...

    def __setitem__(self, key: str, value: object, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Route:
    """Requests of one kind. *cookie*: they bring the client's; *once*: each needs a session of its own."""

    path: str
    cookie: bool = True
    once: bool = False


ROUTES = {
    "no cookie": Route("/ignore", cookie=False),
    "ignore": Route("/ignore"),
    "read": Route("/read"),
    "change": Route("/change"),
    "login": Route("/login", once=True),
}
"""What is measured, by name."""

_DATA: dict[str, object] = json.loads(payload(SIZES["1 kB"]))["data"]
VISITS = _DATA["visits"]
# That is what the login says.
del _DATA["user_id"]


def ignore() -> str:
    """The view that has no use for a session."""
    return "ok"


def _fill(session: Data) -> str:
    """The anonymous session: 1 kB of data."""
    for key, value in _DATA.items():
        session[key] = value
    return "ok"


def _read(session: Data) -> str:
    return str(session.get("visits", "none"))


def _change(session: Data) -> str:
    visits = int(str(session.get("visits", "0"))) + 1
    session["visits"] = visits
    return str(visits)


def _login(session: Data) -> str:
    """And a new id, for which each app has a way of its own."""
    session["user_id"] = 31415926
    return "ok"


def _who(session: Data) -> str:
    return str(session.get("user_id", "none"))


VIEWS: dict[str, Callable[[Data], str]] = {
    "/fill": _fill,
    "/read": _read,
    "/change": _change,
    "/login": _login,
    "/who": _who,
}
"""The views that have a session, by path."""
