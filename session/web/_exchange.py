"""What all adapters share: which responses commit, and the answer to an outage."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from dynamostore import Conflict, CorruptRecordError, ItemTooLargeError, StoreError
from session._headers import Headers

__all__ = ["OUTAGE", "TAKEN", "commits", "cookies", "find_outage", "is_outage", "outage_headers", "report"]

RETRY_AFTER_S = 5
OUTAGE = b"The session store cannot be reached. Please try again soon.\n"

TAKEN = "there is another manager's session under key={!r}: give one of the two middlewares another key"

_log = logging.getLogger("session.web")


def commits(status: int, *, commit_errors: bool) -> bool:
    """Whether what a request changed is stored when it is answered with *status*."""
    return status < 500 or commit_errors


def cookies(scope: Mapping[str, object]) -> str | None:
    """Return the ``Cookie`` header of a request in ASGI, each character a byte; None if it has none."""
    headers = scope.get("headers") or ()
    assert isinstance(headers, Iterable)
    # HTTP/2 may send one for each cookie.
    found = [value for name, value in headers if name == b"cookie"]
    return b"; ".join(found).decode("latin-1") if found else None


def find_outage(error: BaseException | None) -> StoreError | None:
    """Return the error of a store that failed: not of this session, and nothing that the app did; None if it is another error.

    An exception group, as of a task group, is an outage if there is nothing else in it: an error of the app's is not hidden.
    """
    if isinstance(error, BaseExceptionGroup):
        found = [find_outage(one) for one in error.exceptions]
        return found[0] if all(found) else None
    if isinstance(error, StoreError) and not isinstance(error, Conflict | CorruptRecordError | ItemTooLargeError):
        return error
    return None


def is_outage(error: BaseException | None) -> bool:
    """Return True if it is the store that failed, as `find_outage` does."""
    return find_outage(error) is not None


def report(error: BaseException) -> None:
    """Log an outage that was answered here; messages name no token."""
    _log.error("answered with 503: %s", find_outage(error) or error, exc_info=error)


def outage_headers() -> Headers:
    """The headers of the 503 with the body `OUTAGE`; the client keeps its cookie."""
    return [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(OUTAGE))),
        ("Cache-Control", "no-store"),
        ("Retry-After", str(RETRY_AFTER_S)),
    ]
