"""`Cookie`: the session cookie's name and attributes, and the headers that set, clear and read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal

from dynamostore.hidden import clears_frames
from dynamostore.instants import NS_PER_S, to_ns

from ._headers import BLANKS, lowered

__all__ = ["Cookie", "values_of"]

# RFC 6265bis, 4.1.1: a token of RFC 9110 for the name, "cookie-octet" for the value.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
_DOMAIN = re.compile(r"\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_NAME_LENGTH = 4096 - 43
# Browsers compare the path with the encoded path of the URL: a literal " " would never match "%20".
_PATH = re.compile(r"/[!$-:=@-\[\]_a-z~]*")


@clears_frames("set")
@dataclass(frozen=True, slots=True, kw_only=True)
class Cookie:
    """The name and attributes of the session cookie. Immutable.

    - *name*, *path*, *domain*, *secure*, *http_only*, *partitioned*: the cookie's attributes, as in RFC 6265bis.
    - *same_site*: "Lax", "Strict" or "None".
    - *persist*: keep the cookie until the session expires. False: the browser drops it when it closes.

    Raises `TypeError` for values of the wrong type, and `ValueError` for a cookie that browsers would refuse:

    - a ``__Host-`` name with a domain, with a path other than ``/``, or without *secure*;
    - a ``__Secure-`` or ``__Http-`` name, ``SameSite=None`` or *partitioned* without *secure*;
    - a ``__Http-`` name without *http_only*;
    - a name, path or domain that is too long or contains characters not allowed in a header.

    >>> Cookie(name="__Host-session", same_site="Strict").name
    '__Host-session'
    >>> Cookie(name="__Host-session", domain="example.org")
    Traceback (most recent call last):
    ValueError: cookie '__Host-session': a __Host- cookie must have no domain
    """

    name: str = "session"
    path: str = "/"
    domain: str | None = None
    secure: bool = True
    http_only: bool = True
    same_site: Literal["Lax", "Strict", "None"] = "Lax"
    persist: bool = True
    partitioned: bool = False

    def __post_init__(self) -> None:
        for setting, value in (("name", self.name), ("path", self.path), ("domain", self.domain or "")):
            if not isinstance(value, str):
                raise TypeError(f"cookie: {setting} must be a str, not {type(value).__name__}")
        # Browsers ignore the case of the prefixes. A "__Host-Http-" name has both prefixes.
        prefix = lowered(self.name)
        is_host, is_http = prefix.startswith("__host-"), prefix.startswith(("__http-", "__host-http-"))
        refused = {
            "a name is one or more letters, digits or !#$%&'*+.^_`|~-": not _NAME.fullmatch(self.name),
            "a path begins with / and is written as in a URL (%20 for a space)": not _PATH.fullmatch(self.path),
            "domain is not a valid domain name": self.domain is not None and not _DOMAIN.fullmatch(self.domain),
            'same_site is "Lax", "Strict" or "None"': self.same_site not in ("Lax", "Strict", "None"),
            "a __Host- cookie must have no domain": is_host and self.domain is not None,
            'a __Host- cookie must have path="/"': is_host and self.path != "/",
            "a __Host-, __Http- or __Secure- cookie must be secure": (
                (is_host or is_http or prefix.startswith("__secure-")) and not self.secure
            ),
            "a __Http- cookie must have http_only=True": is_http and not self.http_only,
            # Browsers allow 4096 bytes for name and value together, and 1024 for an attribute.
            f"a name has at most {_NAME_LENGTH} characters": len(self.name) > _NAME_LENGTH,
            "a path and a domain have at most 1024 characters": max(len(self.path), len(self.domain or "")) > 1024,
            'same_site="None" needs secure=True': self.same_site == "None" and not self.secure,
            "partitioned=True needs secure=True": self.partitioned and not self.secure,
        }
        for reason, applies in refused.items():
            if applies:
                raise ValueError(f"cookie {self.name!r}: {reason}")

    def read(self, header: str | None) -> str | None:
        """Return the cookie's value from a request's ``Cookie`` header, or None if the cookie is missing.

        If there are several cookies of this name, return the first. Browsers send the one with the longest path first.

        >>> Cookie().read('theme=dark; session=abc; session=def')
        'abc'
        """
        return next(self.values(header), None)

    def values(self, header: str | None) -> Iterator[str]:
        """Iterate over all values of the cookie in a request's ``Cookie`` header, in order."""
        return values_of(self.name, header)

    def set(self, token: str, expiry: datetime, now_ns: int, *, persist: bool | None = None) -> str:
        """Return the ``Set-Cookie`` header that sets *token*. Raise `ValueError` if a cookie cannot contain it.

        *expiry* is an aware datetime, *now_ns* the current Unix time in nanoseconds. *persist* overrides the setting of that
        name; None keeps it.

        >>> from datetime import UTC
        >>> Cookie().set("abc", datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC), 999_999_990_000_000_000)
        'session=abc; Path=/; Expires=Sun, 09 Sep 2001 01:46:40 GMT; Max-Age=10; Secure; HttpOnly; SameSite=Lax'
        """
        if not _VALUE.fullmatch(token):
            raise ValueError(f"cookie {self.name!r}: the value contains a character that is not allowed in a cookie")
        lasting = ""
        if self.persist if persist is None else persist:
            seconds = max(0, -((now_ns - to_ns(expiry)) // NS_PER_S))
            lasting = f"; Expires={format_datetime(expiry.astimezone(UTC), usegmt=True)}; Max-Age={seconds}"
        return self._header(token, lasting)

    def clear(self) -> str:
        """Return the ``Set-Cookie`` header that deletes the cookie.

        >>> Cookie(secure=False).clear()
        'session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly; SameSite=Lax'
        """
        return self._header("", "; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0")

    def _header(self, value: str, lasting: str) -> str:
        return "".join(
            (
                f"{self.name}={value}; Path={self.path}",
                f"; Domain={self.domain}" if self.domain else "",
                lasting,
                "; Secure" if self.secure else "",
                "; HttpOnly" if self.http_only else "",
                f"; SameSite={self.same_site}",
                "; Partitioned" if self.partitioned else "",
            )
        )


def values_of(name: str, header: str | None) -> Iterator[str]:
    """Return an iterator over all values of the cookie *name* in a request's ``Cookie`` header, in order.

    *header* is the raw header decoded as Latin-1; join several headers with ``"; "``. Names are compared exactly, after spaces
    and tabs are stripped. Browsers strip only these before they check for ``__Host-``. Any host can set a name that begins
    with, say, a no-break space, so other white space must not be stripped.

    >>> list(values_of("__Host-session", "\\xa0__Host-session=theirs; __host-session=theirs; __Host-session=ours"))
    ['ours']
    """
    # Fast path: most requests carry cookies, but not this one.
    if not header or name not in header:
        return iter(())
    # Not a generator, which would keep the header alive. Not split at commas, which browsers send within values.
    parts = (part.partition("=") for part in header.split(";"))
    return iter([_unquoted(value.strip(BLANKS)) for other, eq, value in parts if eq and other.strip(BLANKS) == name])


def _unquoted(value: str) -> str:
    """Return *value* without the pair of quotes that may surround it (RFC 6265bis, 4.1.1)."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
