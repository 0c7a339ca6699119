"""Tokens from the command line, or from standard input, which keeps them out of the shell's history."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from collections.abc import Iterable

import click

from dynamostore.batch import Batch
from dynamostore.digests import digest
from dynamostore.items import storable

from ._meter import MeteredStore
from ._state import WrongUsageError

__all__ = ["digests", "keys", "keys_of"]

_DIGEST = re.compile(r"[0-9a-f]{12}")


def keys(tokens: Iterable[str], *, raw: bool) -> list[str]:
    """Return the table keys of clients' *tokens*, without duplicates. "-" stands for standard input, one token a line."""
    return list(dict.fromkeys(_key(token, raw=raw) for token in _given(tokens)))


def digests(tokens: Iterable[str]) -> list[str]:
    """Return *tokens* without duplicates. Raise `WrongUsageError` if one of them is not a digest."""
    found = list(dict.fromkeys(_given(tokens)))
    if not all(_DIGEST.fullmatch(token) for token in found):
        raise WrongUsageError("with --digest, each TOKEN must be a digest: 12 hex digits, as doctor prints them")
    return found


def keys_of(store: MeteredStore, wanted: Iterable[str]) -> tuple[list[str], list[str]]:
    """Scan the table for the records with the *wanted* digests. Return their table keys, and the digests without a record."""
    left, found = dict.fromkeys(wanted), []
    for item in Batch(store).scan_items(projection=["token"]):
        key = item[store.table.token].get("S", "")
        if digest(key) in left:
            found.append(key)
            del left[digest(key)]
        if not left:
            break
    return found, list(left)


def _given(tokens: Iterable[str]) -> list[str]:
    found: list[str] = []
    for token in tokens:
        found += _read() if token == "-" else [token]  # noqa: S105 (not a token: it stands for standard input)
    if not found:
        raise WrongUsageError("standard input contains no token")
    return found


def _key(token: str, *, raw: bool) -> str:
    if not storable(token):
        raise WrongUsageError("a token must be 1 to 2048 bytes of UTF-8")
    if raw:
        return token
    if "=" in token:
        raise WrongUsageError(
            "not a client's token: give the cookie's value without its name, or a table key with --raw"
        )
    # As sessions hash tokens: unpadded base64 of the SHA-256.
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


def _read() -> list[str]:
    if sys.stdin is None:
        return []
    if sys.stdin.isatty():
        return [str(click.prompt("Token", hide_input=True, err=True)).strip()]
    try:
        return [line.strip() for line in sys.stdin if line.strip()]
    except UnicodeDecodeError:
        raise WrongUsageError("standard input is not valid UTF-8") from None
