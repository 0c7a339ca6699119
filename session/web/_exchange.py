"""What all adapters share: which responses commit, the headers that go with a session, and the answer to an outage."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from dynamostore import Conflict, CorruptRecordError, ItemTooLargeError, StoreError
from session.session import BaseSession

__all__ = ["OUTAGE", "Headers", "commits", "is_outage", "outage_headers", "report", "session_headers"]

Headers = list[tuple[str, str]]

RETRY_AFTER_S = 5
OUTAGE = b"The session store cannot be reached. Please try again soon.\n"

_log = logging.getLogger("session.web")


def commits(status: int, *, commit_errors: bool) -> bool:
    """Whether what a request changed is stored when it is answered with *status*."""
    return status < 500 or commit_errors


class Manager(Protocol):
    """A session manager, as far as headers go."""

    def set_cookie(self, session: BaseSession) -> str | None: ...


def session_headers(manager: Manager, session: BaseSession, headers: Iterable[tuple[str, str]]) -> Headers:
    """A response's *headers* with those of its session, committed or discarded.

    ``Set-Cookie`` if the client needs one. ``Vary: Cookie`` if the response may depend on the cookie: the session was looked
    at. ``Cache-Control: no-cache="Set-Cookie"`` beside a cookie, so that no cache hands it to others (RFC 9111, 5.2.2.4).
    What the app says of these itself stands.
    """
    result = list(headers)
    cookie = manager.set_cookie(session)
    if cookie is not None or session._state.looked:
        _add(result, "Vary", "Cookie", enough=("cookie", "*"))
    if cookie is not None:
        enough = ("no-store", "private", "no-cache", 'no-cache="set-cookie"')
        _add(result, "Cache-Control", 'no-cache="Set-Cookie"', enough=enough)
        result.append(("Set-Cookie", cookie))
    return result


def _add(headers: Headers, name: str, item: str, *, enough: Sequence[str]) -> None:
    """Add an item to a header that is a list, unless one that is *enough* (in lower case) is there."""
    last = None
    for i, (other, value) in enumerate(headers):
        if other.lower() == name.lower():
            if any(part.strip().lower() in enough for part in value.split(",")):
                return
            last = i
    if last is None:
        headers.append((name, item))
    else:
        other, value = headers[last]
        headers[last] = (other, f"{value}, {item}" if value.strip() else item)


def is_outage(error: BaseException | None) -> bool:
    """Whether it is the store that failed: not this session, and nothing that the app did."""
    return isinstance(error, StoreError) and not isinstance(error, Conflict | CorruptRecordError | ItemTooLargeError)


def report(error: BaseException) -> None:
    """Log an outage that was answered here; messages name no token."""
    _log.error("answered with 503: %s", error, exc_info=error)


def outage_headers() -> Headers:
    """The headers of the 503 with the body `OUTAGE`; the client keeps its cookie."""
    return [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(OUTAGE))),
        ("Cache-Control", "no-store"),
        ("Retry-After", str(RETRY_AFTER_S)),
    ]
