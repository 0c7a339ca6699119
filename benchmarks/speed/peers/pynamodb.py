"""PynamoDB: ``Model.get``, and ``save`` with a condition, which is its way to replace what was read.

(``Model.update`` asks for the item back; ``save`` is a PutItem of the same attributes.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from benchmarks.speed.stored import DEADLINE_NS, RECENT, REGION, TTL

__all__ = ["client"]


class _Saved(Protocol):
    """What is used of an instance of the model."""

    data: bytes
    expiry: int
    ttl: int
    version: int
    recent: bytes

    def save(self, *, condition: object) -> object: ...


class _Model(Protocol):
    """What is used of the model."""

    expiry: int
    version: int

    def get(self, token: str, *, consistent_read: bool) -> _Saved: ...


def client(url: str, table: str, pool: int) -> _Client:
    """A model of our item, with a connection of its own."""
    from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute
    from pynamodb.models import Model

    class Row(Model):  # type: ignore[misc]  # not installed where this is checked
        class Meta:
            table_name = table
            region = REGION
            host = url
            max_pool_connections = max(pool, 10)

        token = UnicodeAttribute(hash_key=True)
        data = BinaryAttribute(legacy_encoding=False)
        expiry = NumberAttribute()
        ttl = NumberAttribute()
        version = NumberAttribute()
        recent = BinaryAttribute(legacy_encoding=False)

    return _Client(Row)


class _Client:
    def __init__(self, model: _Model) -> None:
        self._model = model

    def find(self, token: str) -> bytes:
        return self._model.get(token, consistent_read=True).data

    def writer(self, token: str) -> Callable[[bytes], object]:
        import time

        from .update import Versions

        model, versions = self._model, Versions()
        row = model.get(token, consistent_read=True)

        def write(data: bytes) -> object:
            versions.advance()
            row.data, row.expiry, row.ttl, row.version, row.recent = data, DEADLINE_NS, TTL, versions.next, RECENT
            # Comparisons of the model's attributes are conditions.
            unexpired, kept = model.expiry >= time.time_ns(), model.expiry <= DEADLINE_NS
            return row.save(condition=unexpired & kept & (model.version == versions.was))

        return write
