"""Warn of settings of a Flask app that these sessions do not use and that differ from the manager's."""

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
    """Warn of unused settings of *app* that differ from the manager's, except those in *known*. Return all their names."""
    unused = {name: instead for name, instead in _unused(app, manager) if name not in known}
    if unused:
        ours = [instead for name, instead in unused.items() if name not in _COOKIE_SETTINGS]
        cookie = [instead for name, instead in unused.items() if name in _COOKIE_SETTINGS]
        if cookie:
            ours.append(f"cookie=Cookie({', '.join(cookie)})")
        warnings.warn(
            f"SessionInterface does not use {', '.join(unused)} of the app's configuration, and the manager's settings differ;"
            f" write SessionManager(..., {', '.join(ours)}), or remove the setting from the configuration",
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
_COOKIE_SETTINGS = _COOKIE.keys() | {_ROOT}


def _unused(app: flask.Flask, manager: SessionManager) -> Iterator[tuple[str, str]]:
    """Yield each setting that was changed and differs from the manager's, with the argument to write instead."""
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
        # Without an idle timeout, requests do not extend the expiry.
        yield "SESSION_REFRESH_EACH_REQUEST", "idle_timeout=None"
    if "SESSION_COOKIE_PATH" not in made and _ROOT in made and made[_ROOT] != manager.cookie.path:
        # Flask uses it as the cookie's path if SESSION_COOKIE_PATH is not set.
        yield _ROOT, f"path={made[_ROOT]!r}"
    for name, ours in _COOKIE.items():
        if name in made:
            value = _cookie_value(ours, made[name])
            if value != getattr(manager.cookie, ours):
                yield name, f"{ours}={value!r}"


def _cookie_value(ours: str, value: Any) -> object:
    """Convert a setting of the app to the form that `Cookie` uses."""
    if ours == "same_site" and isinstance(value, str):
        # Werkzeug accepts any case.
        return value.title()
    if ours in ("http_only", "secure", "partitioned"):
        return bool(value)
    return value or None
