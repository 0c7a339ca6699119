"""`Codec`: converts a session's data to the bytes of its record and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from session.types import JSONValue

__all__ = ["Codec"]


class Codec(Protocol):
    """Converts a session's data and deadline to bytes and back.

    For all JSON data, ``decode(encode(data, deadline_ns)) == (data, deadline_ns)`` must hold. *deadline_ns*, the end of the
    session's absolute lifetime, is Unix time in nanoseconds within signed 64 bits.
    """

    def encode(self, data: Mapping[str, JSONValue], deadline_ns: int) -> bytes:
        """Return the bytes to store."""

    def decode(self, payload: bytes) -> tuple[dict[str, JSONValue], int]:
        """Return the data and the deadline. Raise `CorruptSessionError` for bytes that ``encode`` would not write."""
