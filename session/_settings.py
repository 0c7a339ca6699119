"""A session's own settings, stored with its data under reserved keys: if its cookie is persistent, and its idle timeout."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from dynamostore.instants import INT64_MAX

from .types import JSONValue

__all__ = [
    "IDLE_TIMEOUT",
    "NO_SETTINGS",
    "REMEMBER",
    "RESERVED",
    "Settings",
    "own_idle_ns",
    "remembered",
    "take_settings",
]

REMEMBER: Final = "__rememberMe"
"""True if the cookie outlives the browser, False if not. As in SCS v2."""

IDLE_TIMEOUT: Final = "__idleTimeout"
"""The session's own idle timeout in nanoseconds; 0 if it has none."""

RESERVED: Final[Mapping[str, str]] = MappingProxyType({REMEMBER: "remember()", IDLE_TIMEOUT: "set_idle_timeout()"})
"""The keys that no app can use, with what to call instead."""

Settings: TypeAlias = Mapping[str, JSONValue]
"""Reserved keys with their values as they are stored, which may be another program's."""

NO_SETTINGS: Final[Settings] = MappingProxyType({})


def take_settings(data: dict[str, JSONValue]) -> Settings:
    """Remove the settings from *data*, and return them.

    >>> data = {"n": 1, "__rememberMe": True}
    >>> take_settings(data), data
    ({'__rememberMe': True}, {'n': 1})
    """
    return {key: data.pop(key) for key in RESERVED if key in data} or NO_SETTINGS


def remembered(settings: Settings) -> bool | None:
    """Return True if a session's cookie is to outlive the browser; None if the app never said."""
    value = settings.get(REMEMBER)
    return value if isinstance(value, bool) else None


def own_idle_ns(settings: Settings) -> int | None:
    """Return a session's own idle timeout: 0 if it does not idle out, None if the manager's applies."""
    value = settings.get(IDLE_TIMEOUT)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return None
    return min(value, INT64_MAX)
