"""Shared by all adapters: which responses commit the session, and the answer to an outage."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import NoReturn, TypeVar

from dynamostore import Conflict, CorruptRecordError, ItemTooLargeError, StoreError
from dynamostore.steps import Plan, run
from session._headers import Headers
from session.session import BaseSession, Drive

__all__ = [
    "OUTAGE",
    "TAKEN",
    "check_app",
    "cookie_session",
    "cookies",
    "failing",
    "find_outage",
    "is_outage",
    "outage_headers",
    "report",
    "should_commit",
]

S = TypeVar("S", bound=BaseSession)
T = TypeVar("T")

RETRY_AFTER_S = 5
OUTAGE = b"The session store cannot be reached. Please try again soon.\n"

TAKEN = "another manager's session is already under key={!r}; give one of the two middlewares another key"

_log = logging.getLogger("session.web")


def check_app(name: str, app: object, kind: str) -> None:
    """Raise `TypeError` if the setting *name* is neither None nor an app of this *kind*."""
    if app is not None and not callable(app):
        raise TypeError(f"{name} must be {kind} app, not {type(app).__name__}")


def should_commit(status: int, *, commit_errors: bool) -> bool:
    """Return True if the request's changes are stored when its response has this *status*."""
    return status < 500 or commit_errors


def cookies(scope: Mapping[str, object]) -> str | None:
    """Return the ``Cookie`` header of an ASGI request as a str with one character per byte, or None if there is no header."""
    headers = scope.get("headers") or ()
    assert isinstance(headers, Iterable)
    # HTTP/2 clients may send one header per cookie.
    found = [value for name, value in headers if name == b"cookie"]
    return b"; ".join(found).decode("latin-1") if found else None


def find_outage(error: BaseException | None) -> StoreError | None:
    """Return *error* if it is an outage of the store, or the first outage in a group of outages. Return None otherwise.

    Conflicts, corrupt records and items that are too large are not outages. An exception group, such as a task group raises,
    is an outage only if it contains nothing else. So the app's own errors are not hidden.
    """
    if isinstance(error, BaseExceptionGroup):
        found = [find_outage(one) for one in error.exceptions]
        return found[0] if all(found) else None
    if isinstance(error, StoreError) and not isinstance(error, Conflict | CorruptRecordError | ItemTooLargeError):
        return error
    return None


def is_outage(error: BaseException | None) -> bool:
    """Return True if *error* is an outage, as `find_outage` defines it."""
    return find_outage(error) is not None


def report(error: BaseException, request: str = "") -> None:
    """Log an outage that an adapter answers with 503. *request* is a method and a route. The messages contain no token."""
    _log.error("%sanswered with 503: %s", f"{request} " if request else "", find_outage(error) or error, exc_info=error)


def outage_headers() -> Headers:
    """Return the headers of the 503 with the body `OUTAGE`. They set no cookie, so the client keeps its own."""
    return [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(OUTAGE))),
        ("Cache-Control", "no-store"),
        ("Retry-After", str(RETRY_AFTER_S)),
    ]


# The answer of another app: `conflict` or `unavailable`


def cookie_session(session: S, earlier: S | None) -> S:
    """Return the session whose cookie the response of an answering app sets.

    It is *session*, that of the answering app. But if that was never read, it is *earlier*: the session of the failed run,
    which stored something, so the client may need its new token.
    """
    unread = session._state.record is None and not session._state.gone
    return earlier if earlier is not None and unread else session


def failing(error: StoreError) -> Drive:
    """Return a driver that raises *error* in place of each call to the store, without a call."""
    store = _Failing(error)

    def drive(plan: Plan[T], /) -> T:
        return run(plan, store, sleep=_no_pause)

    return drive


class _Failing:
    def __init__(self, error: StoreError) -> None:
        self._error = error

    def __getattr__(self, operation: str) -> NoReturn:
        raise self._error


def _no_pause(_: float) -> None: ...
