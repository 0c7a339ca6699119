"""`Shelf`: what is stored, and which session each record belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from dynamostore import MemoryStore, Record
from session.codecs import JSONCodec
from session.types import JSONValue

__all__ = ["Shelf", "decode"]

_codec = JSONCodec()


def decode(record: Record) -> dict[str, JSONValue]:
    """Return the data of the session in *record*."""
    return _codec.decode(record.data)[0]


class Shelf(MemoryStore):
    """A `MemoryStore` that knows which records are of one session, renewed or not (its *lineage*), and which were ended."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock=clock)
        self.lineages: dict[str, int] = {}
        self.destroyed: set[int] = set()

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        record = super().create(token, data, expiry)
        self.lineages[token] = len(self.lineages)
        return record

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        renamed = super().rename(record, token, data, expiry, grace=grace)
        self.lineages[token] = self.lineages[record.token]
        return renamed

    def remove(self, record: Record) -> None:
        super().remove(record)
        self._note_destroyed((record.token,))

    def delete(self, token: str) -> None:
        super().delete(token)
        self._note_destroyed((token,))

    def copy(self) -> Shelf:
        """Return a shelf with the same on it, which changes by itself."""
        other = Shelf(self._clock)
        other._records, other._markers = dict(self._records), dict(self._markers)
        other.lineages = dict(self.lineages)
        return other

    def _note_destroyed(self, tokens: Iterable[str]) -> None:
        self.destroyed.update(self.lineages[token] for token in tokens if token in self.lineages)
