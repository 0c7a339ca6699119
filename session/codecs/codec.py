"""`Codec`: a session's data ⇄ the bytes of its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from session.types import JSONValue

__all__ = ["Codec"]


class Codec(Protocol):
    """How a session's data and deadline become bytes, and bytes become them again.

    ``decode(encode(data, deadline_ns)) == (data, deadline_ns)`` for all JSON-native data. *deadline_ns*, the
    session's absolute end, is Unix nanoseconds within signed 64 bits.
    """

    def encode(self, data: Mapping[str, JSONValue], deadline_ns: int) -> bytes:
        """The bytes to store."""

    def decode(self, payload: bytes) -> tuple[dict[str, JSONValue], int]:
        """The data and the deadline; `CorruptSessionError` for bytes that ``encode`` would not write."""
