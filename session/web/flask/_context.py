"""The context of a Flask request, and what Flask and its extensions keep there: in Flask 3.0 up to the development version of 3.2."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import flask
import flask.globals

__all__ = ["call", "current_session", "forget_session"]

R = TypeVar("R")

# Flask-Login's user, and Flask-WTF's token, signed.
_KEPT_OF_THE_SESSION = ("_login_user", "csrf_token")

# From Flask 3.2 on there is only the app's context.
_contexts: Any = getattr(flask.globals, "_cv_request", flask.globals._cv_app)


def current_session() -> object:
    """Return the session of the request that is being answered, without counting as its use; None if there is no request."""
    context = _contexts.get(None)
    if context is None:
        return None
    held = vars(context)
    # An attribute until Flask 3.1.2, behind a property since.
    return held.get("_session", held.get("session"))


def forget_session() -> None:
    """Forget what the request has kept of its session: the messages that it showed, the user, the CSRF token."""
    context = _contexts.get()
    for name in ("flashes", "_flashes"):
        if name in vars(context):
            setattr(context, name, None)
    for name in _KEPT_OF_THE_SESSION:
        flask.g.pop(name, None)


def call(method: Callable[..., R], argument: object) -> R:
    """Call a method of the app; from Flask 3.2 on these take the context first."""
    return method(_contexts.get(), argument) if _takes_context() else method(argument)


@cache
def _takes_context() -> bool:
    return "ctx" in inspect.signature(flask.Flask.handle_user_exception).parameters
