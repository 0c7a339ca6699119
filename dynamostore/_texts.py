"""Make texts from a server or from stored data safe for messages, logs and terminals."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["MAX_CODE", "MAX_QUOTED", "escaped", "has_userinfo", "quoted", "without_userinfo"]

MAX_QUOTED: Final = 500
"""The maximum number of characters of a server's text that a message quotes."""

MAX_CODE: Final = 100
"""The maximum number of characters of a server's error code that a message quotes."""

# Unicode categories to escape: control characters, format characters (bidirectional controls, joiners, invisible tags), lone
# surrogates, unassigned and private-use characters, and line and paragraph separators.
_ACTED_UPON: Final = frozenset(("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"))


# The part before the @ in the authority of a URL: a user name and a password.
_USERINFO: Final = re.compile(r"(?<=://)[^\s/?#]*@")


def has_userinfo(url: str) -> bool:
    """Return True if *url* contains a user name or a password."""
    return _USERINFO.search(url) is not None


def without_userinfo(text: str) -> str:
    """Return *text* with user names and passwords removed from the URLs in it.

    >>> without_userinfo("no answer (https://me:secret@example.org:8000)")
    'no answer (https://example.org:8000)'
    """
    return _USERINFO.sub("", text) if "@" in text else text


def escaped(text: str, *, keep: str = "") -> str:
    """Return *text* with control characters and invisible characters escaped, except the characters in *keep*.

    >>> escaped("a\\x1b[2Jb\\u202ec\\N{TAG LATIN SMALL LETTER D}")
    'a\\\\x1b[2Jb\\\\u202ec\\\\U000e0064'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in keep or unicodedata.category(char) not in _ACTED_UPON else _spelled_out(char) for char in text
    )


def _spelled_out(char: str) -> str:
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def quoted(text: str, most: int = MAX_QUOTED) -> str:
    """Return *text* `without_userinfo`, cut to at most *most* characters, and `escaped`.

    >>> quoted("no such table: " + 600 * "x", 20)
    'no such table: xxxxx…'
    """
    text = without_userinfo(text)
    return escaped(text) if len(text) <= most else f"{escaped(text[:most])}…"
