"""Access to the context of a Flask request. Supports Flask 3.0 up to the development version of 3.2."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import flask
import flask.globals

__all__ = ["call", "current_session", "forget_session"]

R = TypeVar("R")

# Flask-Login's user and Flask-WTF's signed token, in flask.g.
_CACHED_IN_G = ("_login_user", "csrf_token")

# Flask 3.2 has only the app context.
_contexts: Any = getattr(flask.globals, "_cv_request", flask.globals._cv_app)


def current_session() -> object:
    """Return the session of the current request without marking it as accessed, or None if there is no request."""
    context = _contexts.get(None)
    if context is None:
        return None
    held = vars(context)
    # An attribute up to Flask 3.1.2; newer versions have a property for it.
    return held.get("_session", held.get("session"))


def forget_session() -> None:
    """Drop values of the session that the request cached: flashed messages, the user, the CSRF token."""
    context = _contexts.get()
    for name in ("flashes", "_flashes"):
        if name in vars(context):
            setattr(context, name, None)
    for name in _CACHED_IN_G:
        flask.g.pop(name, None)


def call(method: Callable[..., R], argument: object) -> R:
    """Call a method of the app. From Flask 3.2 on, these methods take the context as their first argument."""
    return method(_contexts.get(), argument) if _takes_context() else method(argument)


@cache
def _takes_context() -> bool:
    return "ctx" in inspect.signature(flask.Flask.handle_user_exception).parameters
