"""The answer to a stale request, a 409, and its line in the log."""

from __future__ import annotations

import logging
import re

from session import _rarely
from session._headers import Headers
from session.errors import SessionConflict

from ._exchange import is_outage

__all__ = ["conflict_body", "conflict_headers", "find_conflict", "masked_path", "report_conflict"]

TEXT = b"Another request changed your session at the same time, so this one was not carried out. Please try again.\n"
PAGE = (
    b'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Please try again</title></head>\n'
    b"<body><h1>Please try again</h1>\n<p>Another request changed your session at the same time, so this one was not carried "
    b"out. Nothing was saved.</p></body>\n</html>\n"
)

_HTML = re.compile(r"[ \t]*(text/html|application/xhtml\+xml)[ \t]*(;|$)", re.ASCII | re.IGNORECASE)
# A word of a path is shown; a token, an id or an address in it is not.
_WORD = re.compile(r"[A-Za-z][a-z_-]{0,31}|")

_log = logging.getLogger("session.web")


def find_conflict(error: BaseException | None) -> SessionConflict | None:
    """Return the `SessionConflict` that *error* is, or was raised from; None if there is none.

    An exception group, as of a task group, is a conflict if there is nothing else in it, but for outages.
    """
    return _find(error, set())


def _find(error: BaseException | None, seen: set[int]) -> SessionConflict | None:
    while error is not None and id(error) not in seen:
        if isinstance(error, SessionConflict):
            return error
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            found = [(one, _find(one, seen)) for one in error.exceptions]
            conflicts = [conflict for _, conflict in found if conflict is not None]
            if conflicts and all(conflict is not None or is_outage(one) for one, conflict in found):
                return conflicts[0]
        error = error.__cause__
    return None


def accepts_html(accept: str | None) -> bool:
    """Return True if a request's ``Accept`` header names HTML, as browsers do when they navigate."""
    return any(_HTML.match(part) for part in (accept or "").split(","))


def conflict_body(accept: str | None) -> bytes:
    """Return the body of the 409: HTML for a browser that navigates, otherwise plain text."""
    return PAGE if accepts_html(accept) else TEXT


def conflict_headers(accept: str | None) -> Headers:
    """Return the headers of the 409 with the body `conflict_body`; the client keeps its cookie."""
    kind = "text/html" if accepts_html(accept) else "text/plain"
    return [
        ("Content-Type", f"{kind}; charset=utf-8"),
        ("Content-Length", str(len(conflict_body(accept)))),
        ("Cache-Control", "no-store"),
        ("Vary", "Accept, Cookie"),
    ]


def report_conflict(error: SessionConflict, method: str, route: str, *, outcome: str = "answered with 409") -> None:
    """Log that a stale request was refused: once a minute for each route and keys, with the number in between."""
    _rarely.warn(_log, (method, route, outcome, error.keys), f"{method} {route} {outcome}: {error}")


def masked_path(path: str) -> str:
    """Return *path* for a log: words as they are, anything that could be an id or a secret as ``*``.

    >>> masked_path("/reset/8f3a91c0/confirm")
    '/reset/*/confirm'
    """
    return "/".join(part if _WORD.fullmatch(part) else "*" for part in path.split("/"))
