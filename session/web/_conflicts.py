"""Find a conflict among errors, answer it with 409, and log it."""

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
# Only a part of a path that looks like a word is logged. Tokens, ids and addresses are masked.
_WORD = re.compile(r"[A-Za-z][a-z_-]{0,31}|")

_log = logging.getLogger("session.web")


def find_conflict(error: BaseException | None) -> SessionConflict | None:
    """Return *error* if it is a `SessionConflict`, or the conflict that it was raised from. Return None otherwise.

    An exception group, such as a task group raises, is a conflict if it contains only conflicts, or conflicts and outages.
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
    """Return True if an ``Accept`` header names HTML. Browsers send such a header when they navigate."""
    return any(_HTML.match(part) for part in (accept or "").split(","))


def conflict_body(accept: str | None) -> bytes:
    """Return the body of the 409: HTML if the client accepts HTML, otherwise plain text."""
    return PAGE if accepts_html(accept) else TEXT


def conflict_headers(accept: str | None) -> Headers:
    """Return the headers of the 409 with the body `conflict_body`. They set no cookie, so the client keeps its own."""
    kind = "text/html" if accepts_html(accept) else "text/plain"
    return [
        ("Content-Type", f"{kind}; charset=utf-8"),
        ("Content-Length", str(len(conflict_body(accept)))),
        ("Cache-Control", "no-store"),
        ("Vary", "Accept, Cookie"),
    ]


def report_conflict(error: SessionConflict, method: str, route: str, *, outcome: str = "answered with 409") -> None:
    """Log a conflict, at most once a minute for each route, outcome and set of keys."""
    _rarely.warn(_log, (method, route, outcome, error.keys), f"{method} {route} {outcome}: {error}")


def masked_path(path: str) -> str:
    """Return *path* for a log. Words stay; parts that could be an id or a secret become ``*``.

    >>> masked_path("/reset/8f3a91c0/confirm")
    '/reset/*/confirm'
    """
    return "/".join(part if _WORD.fullmatch(part) else "*" for part in path.split("/"))
