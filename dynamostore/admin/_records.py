"""`Records`: the checks that `doctor` makes on each item. It needs little memory and does no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dynamostore import items, markers
from dynamostore.client import Item
from dynamostore.digests import digest
from dynamostore.errors import MAX_ITEM, CorruptRecordError
from dynamostore.instants import NS_PER_S, duration_ns
from dynamostore.table import Table

from . import _findings
from ._findings import Finding, Kind

__all__ = ["Records"]

_TOO_BIG: Final = MAX_ITEM * 8 // 10
_LARGE: Final = 4096
_UNSWEPT: Final = 48 * 3600 * NS_PER_S
# How many seconds later than its expiry requires the TTL of a marker may be. Without a grace, a marker expires before it is written.
_STAYS: Final = 2 * duration_ns(markers.MARKER) // NS_PER_S
# In the year 5138. No expiry is later than 2262, so a larger number is not in seconds.
_NO_SECONDS: Final = 10**11
_EXAMPLES: Final = 3

_KINDS: Final = (
    _findings.CORRUPT,
    _findings.TOO_BIG,
    _findings.LARGE,
    _findings.NO_TTL,
    _findings.MILLISECONDS,
    _findings.TOO_EARLY,
    _findings.TOO_LATE,
    _findings.BY_SCS,
    _findings.UNSWEPT,
)


@dataclass(slots=True)
class Records:
    """The counts so far. *now* is in Unix nanoseconds. *ttl_is_on*: None if unknown. *has_ttl* is False if the table cannot have TTL."""

    table: Table
    now: int
    ttl_is_on: bool | None
    has_ttl: bool = True
    seen: int = 0
    live: int = 0
    expired: int = 0
    markers: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)
    examples: dict[Kind, list[str]] = field(default_factory=dict)

    def look(self, item: Item) -> None:
        """Check and count an item."""
        self.seen += 1
        name = digest(items.key_of(self.table, item))
        size = items.item_size(item)
        if size > _TOO_BIG:
            self._note(_findings.TOO_BIG, f"{name}: {size:,} bytes")
        elif size > _LARGE:
            self._note(_findings.LARGE, f"{name}: {size:,} bytes")
        try:
            expiry_ns = items.decode_expiry(self.table, item)
            self._check_record(name, item, expiry_ns)
        except CorruptRecordError as error:
            self._note(_findings.CORRUPT, f"{name}: {error.reason}")
        else:
            self._check_ttl(name, item, expiry_ns)

    def findings(self) -> list[Finding]:
        """Return the findings about all items so far."""
        seen = f"{self.seen:,}"
        found = [
            _findings.RECORDS_OK(
                seen=seen, live=f"{self.live:,}", expired=f"{self.expired:,}", markers=f"{self.markers:,}"
            )
        ]
        cause = "turn on TTL (see ttl)" if self.has_ttl else "purge more often (see ttl)"
        if self.ttl_is_on is not False:
            cause = "TTL can take a few days, and never deletes records that expired more than five years ago"
        for kind in _KINDS:
            if count := self.counts[kind]:
                examples = "; ".join(self.examples[kind]) + ("; …" if count > _EXAMPLES else "")
                found.append(
                    kind(count=f"{count:,}", seen=seen, examples=examples, attribute=self.table.ttl, cause=cause)
                )
        return found

    def _check_record(self, name: str, item: Item, expiry_ns: int) -> None:
        if markers.is_kept(self.table, item, self.now):
            self.markers += 1
            items.moved(self.table, item)
        elif expiry_ns < self.now:
            # Count it as expired, even if it is corrupt: a read treats it as missing.
            self.expired += 1
            if self.now - expiry_ns > _UNSWEPT:
                self._note(_findings.UNSWEPT, name)
        else:
            record = items.decode(self.table, item, expiry_ns)
            self.live += 1
            if not record.version:
                self._note(_findings.BY_SCS, name)

    def _check_ttl(self, name: str, item: Item, expiry_ns: int) -> None:
        ttl = _seconds(item.get(self.table.ttl))
        due = items.ttl(expiry_ns)
        if ttl is None:
            self._note(_findings.NO_TTL, name)
        elif ttl >= _NO_SECONDS:
            self._note(_findings.MILLISECONDS, name)
        # The second of the expiry itself is fine, too: DynamoDB does not delete that soon.
        elif ttl < due - 1:
            self._note(_findings.TOO_EARLY, f"{name}: by {due - ttl:,} s")
        elif ttl > due + (_STAYS if markers.is_marker(self.table, item) else 0):
            self._note(_findings.TOO_LATE, f"{name}: by {ttl - due:,} s")

    def _note(self, kind: Kind, example: str) -> None:
        self.counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < _EXAMPLES:
            examples.append(example)


def _seconds(value: object) -> int | None:
    """Return the number in a TTL attribute, or None if it is not a number. DynamoDB ignores such an item."""
    number = items.parse_number(value.get("N")) if isinstance(value, Mapping) else None
    return None if number is None else int(number)
