"""Makes texts from a server or from stored data fit for a message, a log or a terminal."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["MAX_CODE", "MAX_QUOTED", "escaped", "has_userinfo", "quoted", "without_userinfo"]

MAX_QUOTED: Final = 500
"""How many characters of a server's text a message quotes."""

MAX_CODE: Final = 100
"""How many of the name of an error."""

# Control characters; format characters, which turn the direction, join, or are tags that nobody sees; lone surrogates, what has
# no meaning (yet), and the ends of lines and paragraphs.
_ACTED_UPON: Final = frozenset(("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"))


# What stands before the @ in the authority of a URL: a user's name, and a password.
_USERINFO: Final = re.compile(r"(?<=://)[^\s/?#]*@")


def has_userinfo(url: str) -> bool:
    """Return True if there is a user's name, or a password, in *url*."""
    return _USERINFO.search(url) is not None


def without_userinfo(text: str) -> str:
    """Return *text* without users' names and passwords in the URLs that it quotes.

    >>> without_userinfo("no answer (https://me:secret@example.org:8000)")
    'no answer (https://example.org:8000)'
    """
    return _USERINFO.sub("", text) if "@" in text else text


def escaped(text: str, *, keep: str = "") -> str:
    """Return *text* with all that a terminal acts upon, or that does not show, spelled out, but for the characters in *keep*.

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
    """Return *text* `escaped`, `without_userinfo`, and cut off after *most* of its characters.

    >>> quoted("no such table: " + 600 * "x", 20)
    'no such table: xxxxx…'
    """
    text = without_userinfo(text)
    return escaped(text) if len(text) <= most else f"{escaped(text[:most])}…"
