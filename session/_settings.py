"""A session's own settings, stored under reserved keys beside its data: "remember me", and its idle timeout."""

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
"""True for a persistent cookie, False for a cookie that ends with the browser. As in SCS v2."""

IDLE_TIMEOUT: Final = "__idleTimeout"
"""The session's own idle timeout in nanoseconds; 0 if it never idles out."""

RESERVED: Final[Mapping[str, str]] = MappingProxyType({REMEMBER: "remember()", IDLE_TIMEOUT: "set_idle_timeout()"})
"""The keys that an app cannot use, each with the method to call instead."""

Settings: TypeAlias = Mapping[str, JSONValue]
"""Reserved keys with their stored values. Another program may have written them, so they are not validated."""

NO_SETTINGS: Final[Settings] = MappingProxyType({})


def take_settings(data: dict[str, JSONValue]) -> Settings:
    """Remove the settings from *data*, and return them.

    >>> data = {"n": 1, "__rememberMe": True}
    >>> take_settings(data), data
    ({'__rememberMe': True}, {'n': 1})
    """
    return {key: data.pop(key) for key in RESERVED if key in data} or NO_SETTINGS


def remembered(settings: Settings) -> bool | None:
    """Return True if the cookie is persistent, False if it ends with the browser, None if the app never set it."""
    value = settings.get(REMEMBER)
    return value if isinstance(value, bool) else None


def own_idle_ns(settings: Settings) -> int | None:
    """Return a session's own idle timeout in nanoseconds: 0 if it never idles out, None if the manager's applies."""
    value = settings.get(IDLE_TIMEOUT)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return None
    return min(value, INT64_MAX)
