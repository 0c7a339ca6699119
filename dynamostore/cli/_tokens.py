"""Tokens as they are typed: on the command line, or on standard input, so that no shell remembers them."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Iterable

import click

from dynamostore.items import storable

from ._state import WrongUsageError

__all__ = ["keys"]


def keys(tokens: Iterable[str], *, raw: bool) -> list[str]:
    """The keys in the table of clients' *tokens*, each once; "-": those on standard input, one a line."""
    found: list[str] = []
    for token in tokens:
        found += _read() if token == "-" else [token]  # noqa: S105 (no token, but where they are)
    if not found:
        raise WrongUsageError("there is no token on standard input")
    return list(dict.fromkeys(_key(token, raw=raw) for token in found))


def _key(token: str, *, raw: bool) -> str:
    if not storable(token):
        raise WrongUsageError("a token is 1 to 2048 bytes of UTF-8")
    if raw:
        return token
    if "=" in token:
        raise WrongUsageError(
            "this is no client's token: give the value of its cookie, without the name (or --raw a key)"
        )
    # As sessions do: unpadded base64 of the SHA-256.
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


def _read() -> list[str]:
    if sys.stdin is None:
        return []
    if sys.stdin.isatty():
        return [str(click.prompt("Token", hide_input=True, err=True)).strip()]
    try:
        return [line.strip() for line in sys.stdin if line.strip()]
    except UnicodeDecodeError:
        raise WrongUsageError("what is on standard input is not UTF-8") from None
