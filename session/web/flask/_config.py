"""The settings of a Flask app that these sessions do not use, where the manager has others: what to write instead."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dynamostore.instants import NS_PER_S, duration_ns
from session.manager import SessionManager

if TYPE_CHECKING:
    import flask

__all__ = ["warn_of_unused"]


def warn_of_unused(app: flask.Flask, manager: SessionManager, known: frozenset[str] = frozenset()) -> frozenset[str]:
    """Warn of the settings of *app* that say something else than *manager*, but for those *known*; return their names."""
    unused = {name: instead for name, instead in _unused(app, manager) if name not in known}
    if unused:
        ours = [instead for name, instead in unused.items() if name not in _OF_THE_COOKIE]
        cookie = [instead for name, instead in unused.items() if name in _OF_THE_COOKIE]
        if cookie:
            ours.append(f"cookie=Cookie({', '.join(cookie)})")
        warnings.warn(
            f"SessionInterface does not use {', '.join(unused)} of the app's configuration; the manager's settings apply, and"
            f" they differ: write SessionManager(..., {', '.join(ours)}), or remove the setting from the configuration",
            stacklevel=3,
        )
    return known | unused.keys()


_COOKIE = {
    "SESSION_COOKIE_NAME": "name",
    "SESSION_COOKIE_DOMAIN": "domain",
    "SESSION_COOKIE_PATH": "path",
    "SESSION_COOKIE_HTTPONLY": "http_only",
    "SESSION_COOKIE_SECURE": "secure",
    "SESSION_COOKIE_SAMESITE": "same_site",
    "SESSION_COOKIE_PARTITIONED": "partitioned",
}
_ROOT = "APPLICATION_ROOT"
_OF_THE_COOKIE = _COOKIE.keys() | {_ROOT}


def _unused(app: flask.Flask, manager: SessionManager) -> Iterator[tuple[str, str]]:
    """Yield the names of the settings that were made and that the manager does not have, each with what to write instead."""
    made: dict[str, Any] = {
        name: app.config[name]
        for name, default in app.default_config.items()
        if name in app.config and app.config[name] != default
    }
    policy = manager._policy
    if "PERMANENT_SESSION_LIFETIME" in made:
        lifetime, instead = made["PERMANENT_SESSION_LIFETIME"], "timedelta(...)"
        length_ns: int | None = None
        if isinstance(lifetime, timedelta):
            length_ns, instead = duration_ns(lifetime), repr(lifetime).removeprefix("datetime.")
        elif isinstance(lifetime, int):
            length_ns, instead = lifetime * NS_PER_S, f"timedelta(seconds={lifetime})"
        if length_ns is None or length_ns not in (policy.lifetime_ns, policy.idle_ns):
            yield "PERMANENT_SESSION_LIFETIME", f"lifetime={instead}"
    if "SESSION_REFRESH_EACH_REQUEST" in made and policy.idle_ns is not None:
        # Without an idle timeout, nothing is prolonged.
        yield "SESSION_REFRESH_EACH_REQUEST", "idle_timeout=None"
    if "SESSION_COOKIE_PATH" not in made and _ROOT in made and made[_ROOT] != manager.cookie.path:
        # Flask's path where no other is set.
        yield _ROOT, f"path={made[_ROOT]!r}"
    for name, ours in _COOKIE.items():
        if name in made:
            value = _of_a_cookie(ours, made[name])
            if value != getattr(manager.cookie, ours):
                yield name, f"{ours}={value!r}"


def _of_a_cookie(ours: str, value: Any) -> object:
    """Return a setting of the app as `Cookie` has it."""
    if ours == "same_site" and isinstance(value, str):
        # As Werkzeug takes it.
        return value.title()
    if ours in ("http_only", "secure", "partitioned"):
        return bool(value)
    return value or None
