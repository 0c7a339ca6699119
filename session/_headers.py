"""Add a session's headers to a response: ``Set-Cookie``, ``Vary`` and ``Cache-Control``. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import TypeAlias

__all__ = ["BLANKS", "Headers", "add_session", "lowered"]

Headers: TypeAlias = list[tuple[str, str]]

BLANKS = " \t"
"""The white space around header values (OWS in RFC 9110). `str.strip()` alone would also remove characters of the value."""

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def lowered(text: str) -> str:
    """Return *text* with its ASCII letters in lower case. Headers ignore the case of ASCII letters only.

    >>> lowered("Vary"), lowered("\N{KELVIN SIGN}")
    ('vary', '\N{KELVIN SIGN}')
    """
    return text.translate(_LOWER)


def add_session(headers: Iterable[tuple[str, str]], cookie: str | None, *, looked: bool) -> Headers:
    """Return *headers* with the session's added: ``Set-Cookie`` if *cookie* is given, and instructions for caches.

    *looked*: the response may depend on the cookie, because the app accessed the session or its token.

    >>> add_session([("Vary", "Accept"), ("Cache-Control", "max-age=60")], "session=abc", looked=True)
    ... # doctest: +NORMALIZE_WHITESPACE
    [('Vary', 'Accept, Cookie'), ('Cache-Control', 'max-age=60, no-cache="Set-Cookie"'), ('Set-Cookie', 'session=abc')]
    """
    result = list(headers)
    if cookie is not None or looked:
        _add(result, "Vary", "Cookie", enough=("cookie", "*"))
    if cookie is not None:
        enough = ("no-store", "private", "no-cache", 'no-cache="set-cookie"')
        _add(result, "Cache-Control", 'no-cache="Set-Cookie"', enough=enough)
        result.append(("Set-Cookie", cookie))
    return result


def _add(headers: Headers, name: str, item: str, *, enough: Sequence[str]) -> None:
    """Append *item* to a list header, unless the header has an item from *enough* (in lower case)."""
    last = None
    for i, (other, value) in enumerate(headers):
        if lowered(other) == lowered(name):
            if any(lowered(part.strip(BLANKS)) in enough for part in value.split(",")):
                return
            last = i
    if last is None:
        headers.append((name, item))
    else:
        other, value = headers[last]
        headers[last] = (other, f"{value}, {item}" if value.strip(BLANKS) else item)
