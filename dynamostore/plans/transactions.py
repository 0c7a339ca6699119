"""`Transactions` remembers that a table refuses transactions."""

from __future__ import annotations

import logging

from dynamostore.errors import StoreError
from dynamostore.instants import NS_PER_S
from dynamostore.table import Table

__all__ = ["Transactions"]

logger: logging.Logger = logging.getLogger("dynamostore")

# Not for ever: if its replicas are deleted, a global table becomes an ordinary table, which supports transactions.
_REMEMBERED = 3600 * NS_PER_S


class Transactions:
    """Remembers for one store if its table refuses transactions. Safe to share between threads."""

    __slots__ = ("_refused_until_ns", "_warned")

    def __init__(self) -> None:
        self._refused_until_ns: int | None = None
        self._warned = False

    def are_refused(self, now_ns: int) -> bool:
        """Return True if a transaction was refused within the last hour, so another attempt is pointless."""
        until_ns = self._refused_until_ns
        return until_ns is not None and until_ns - _REMEMBERED <= now_ns < until_ns

    def note_refusal(self, table: Table, refusal: StoreError, now_ns: int) -> None:
        """Remember for an hour that the server refused a transaction but accepted the same writes one by one."""
        self._refused_until_ns = now_ns + _REMEMBERED
        if not self._warned:
            self._warned = True
            logger.warning(
                "table %s refuses transactions, as a global table with multi-Region strong consistency does: "
                "each renaming of a record now takes two separate writes (%s)",
                table.name,
                refusal,
            )
