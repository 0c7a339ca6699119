"""AWS Signature Version 4: pure functions from a request to its ``Authorization`` header.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from string import ascii_lowercase, ascii_uppercase
from typing import NoReturn, Self
from urllib.parse import quote

__all__ = ["ALGORITHM", "Credentials", "Scope", "canonical_request", "hash_hex"]

ALGORITHM = "AWS4-HMAC-SHA256"

# Of a header: in ASCII, as the service has it. A value may be folded.
_SPACE = " \t\r\n"
_SPACES = re.compile(f"[{_SPACE}]+")
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


@dataclass(frozen=True, slots=True, init=False)
class Credentials:
    """An access key: *access_key* is its id, *secret_key* its secret, *token* the session token of temporary ones.

    *account_id*, if it is known, leads to the account's own endpoint. The repr shows none of it, and it cannot be pickled.
    Raises `ValueError` for what cannot stand in a header.

    >>> Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    Credentials(...)
    """

    access_key: str
    secret_key: str
    token: str | None = None
    account_id: str | None = None

    # Not a dataclass's own: a frame of that would show the arguments when they are refused.
    def __init__(
        self, access_key: str, secret_key: str, token: str | None = None, account_id: str | None = None
    ) -> None:
        refusal = _refusal(access_key, secret_key, token or "-", account_id or "-")
        for name, value in (
            ("access_key", access_key),
            ("secret_key", secret_key),
            ("token", token),
            ("account_id", account_id),
        ):
            object.__setattr__(self, name, value)
        del access_key, secret_key, token, account_id, value
        if refusal is not None:
            raise refusal

    def __repr__(self) -> str:
        return "Credentials(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Credentials are not pickled, which would write the secret down: make them in each process")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def _refusal(*parts: object) -> TypeError | ValueError | None:
    """Return the error for what no credentials can be. Not raised here, where they are in clear."""
    for part in parts:
        if not isinstance(part, str):
            return TypeError(f"credentials must be str, not {type(part).__name__}")
        if not part or not part.isascii() or not part.isprintable() or " " in part:
            return ValueError("an access key, its secret and its token must be printable ASCII without blanks")
    return None


def hash_hex(data: bytes) -> str:
    """The SHA-256 of *data*, as 64 hex digits."""
    return sha256(data).hexdigest()


def canonical_request(
    method: str,
    path: str,
    query: Iterable[tuple[str, str]],
    headers: Iterable[tuple[str, str]],
    payload_hash: str,
) -> tuple[str, str]:
    """A request in the one spelling that is signed, and the names of the headers that are in it.

    *path* and *query* are plain, not percent-encoded; all of *headers* are signed. *payload_hash* is the SHA-256 of
    the body in hex.

    >>> text, names = canonical_request("GET", "/", [], [("Host", "example.amazonaws.com")], hash_hex(b""))
    >>> text.splitlines()[:4]
    ['GET', '/', '', 'host:example.amazonaws.com']
    >>> names
    'host'
    """
    folded: dict[str, list[str]] = {}
    for name, value in headers:
        folded.setdefault(name.strip(_SPACE).translate(_LOWER), []).append(_SPACES.sub(" ", value.strip(_SPACE)))
    pairs = sorted((_encode(name), _encode(value)) for name, value in query)
    names = ";".join(sorted(folded))
    lines = [
        method,
        quote(_normalize(path), safe="/-_.~"),
        "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{','.join(folded[name])}" for name in sorted(folded)),
        "",
        names,
        payload_hash,
    ]
    return "\n".join(lines), names


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


def _normalize(path: str) -> str:
    """*path* without empty, ``.`` and ``..`` segments; a slash at its end stays."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    slash = "/" if segments and path.endswith(("/", "/.", "/..")) else ""
    return "/" + "/".join(segments) + slash


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is good for: one day (*date*, YYYYMMDD), one region, one service, by one access key."""

    credentials: Credentials
    date: str
    region: str
    service: str
    _key: bytes = field(init=False, repr=False)
    _name: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        key = f"AWS4{self.credentials.secret_key}".encode()
        for part in (self.date, self.region, self.service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "_name", f"{self.date}/{self.region}/{self.service}/aws4_request")

    @property
    def name(self) -> str:
        """The scope as it is signed."""
        return self._name

    def signature(self, string_to_sign: str) -> str:
        """The signature of a string, in hex."""
        return hmac.digest(self._key, string_to_sign.encode(), "sha256").hex()

    def sign(self, canonical: str, amz_date: str) -> str:
        """The signature of a canonical request that is sent at *amz_date* (``20150830T123600Z``)."""
        return self.signature(f"{ALGORITHM}\n{amz_date}\n{self._name}\n{hash_hex(canonical.encode())}")

    def authorization(self, names: str, signature: str) -> str:
        """The value of the ``Authorization`` header."""
        who = f"{self.credentials.access_key}/{self._name}"
        return f"{ALGORITHM} Credential={who}, SignedHeaders={names}, Signature={signature}"

    def signed(
        self,
        method: str,
        path: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Iterable[tuple[str, str]],
        payload_hash: str,
        amz_date: str,
    ) -> str:
        """The ``Authorization`` header of a request, all in one.

        >>> keys = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
        >>> headers = [("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")]
        >>> scope = Scope(keys, "20150830", "us-east-1", "service")
        >>> signed = scope.signed("GET", "/", headers=headers, payload_hash=hash_hex(b""), amz_date="20150830T123600Z")
        >>> signed.rpartition("=")[2]
        '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'
        """
        canonical, names = canonical_request(method, path, query, headers, payload_hash)
        return self.authorization(names, self.sign(canonical, amz_date))
