"""`Jobs`: the plans that read a table page by page and process each page. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dynamostore import items, markers
from dynamostore.client import Item
from dynamostore.contract import Record
from dynamostore.errors import CorruptRecordError, StoreError
from dynamostore.hidden import Hidden
from dynamostore.instants import NS_PER_S
from dynamostore.plans.expressions import AS_READ, UNKEPT, words
from dynamostore.plans.faults import ConditionFailed, public
from dynamostore.plans.server_time import date_ns
from dynamostore.steps import Call, Plan

from ._budget import page_units, units, write_units
from ._calls import WRITE_MANY, Calls, retryable_failure, token_of
from ._chunks import Chunks, in_chunks
from ._results import Tally

__all__ = ["Jobs", "Page", "Request", "StoppedError"]

logger = logging.getLogger("dynamostore")


@dataclass(frozen=True, slots=True)
class Request:
    """What to read of a table: the attributes in *projection* (all if empty), of the items that match the filter *where*."""

    projection: tuple[str, ...] = ()
    where: str = ""
    values: Mapping[str, int] | None = None
    consistent: bool = False
    page_size: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Page:
    """A page of a segment: the *items* that matched the filter, the number *scanned*, and the last token read (*after*).

    On the last page, *after* equals None. *date_ns* is the time of the read by the server's clock, or None if it is not known.
    """

    segment: int
    items: Sequence[Item]
    count: int
    scanned: int
    after: str | None
    date_ns: int | None = None

    def __repr__(self) -> str:
        return f"<Page of segment {self.segment}: {len(self.items)} items of {self.scanned}>"


@dataclass(frozen=True, slots=True)
class Jobs(Calls):
    """The plans of one job on one table."""

    def page(self, request: Request, segment: int, segments: int, start: Hidden[Item] | None) -> Plan[Page]:
        """Read the next page of a segment."""
        call = self._scan(request, segment, segments, start)
        return self._page_of(Hidden((yield from self._patiently(call))), request, segment)

    def _scan(
        self, request: Request, segment: int, segments: int, start: Hidden[Item] | None
    ) -> Call[Mapping[str, Any]]:
        arguments: dict[str, object] = {"TableName": self.table.name, "ReturnConsumedCapacity": "TOTAL"}
        names = {f"#{name}": getattr(self.table, name) for name in request.projection}
        if request.projection:
            arguments["ProjectionExpression"] = ", ".join(names)
            # This is the default with a projection, but an IAM policy can require it explicitly.
            arguments["Select"] = "SPECIFIC_ATTRIBUTES"
        if request.where:
            names |= {f"#{name}": getattr(self.table, name) for name in words(request.where)[0]}
            arguments["FilterExpression"] = request.where
        if names:
            arguments["ExpressionAttributeNames"] = names
        if request.values:
            arguments["ExpressionAttributeValues"] = {k: items.number(v) for k, v in request.values.items()}
        if request.consistent:
            arguments["ConsistentRead"] = True
        if request.page_size is not None:
            arguments["Limit"] = request.page_size
        if segments > 1:
            arguments |= {"Segment": segment, "TotalSegments": segments}
        if start is not None:
            arguments["ExclusiveStartKey"] = start.reveal()
        return Call("scan", arguments)

    def _page_of(self, scanned: Hidden[Mapping[str, Any]], request: Request, segment: int) -> Page:
        reply = scanned.reveal()
        read = reply.get("Items") or []
        number = reply.get("ScannedCount", len(read))
        last = reply.get("LastEvaluatedKey")
        said = units(reply)
        if said is None:
            whole, full = not request.projection, bool(last) and request.page_size is None
            said = page_units(read, number, whole=whole, full=full, consistent=request.consistent)
        self.budget.spend(said)
        after = token_of(self.table, last) if last else None
        return Page(segment, read, reply.get("Count", len(read)), number, after, date_ns(reply))

    # Processing a page

    def purge(self, page: Page) -> Plan[Tally]:
        """Delete the expired items of a page. Skip items that were rewritten or became markers since the read.

        Skip items that have not expired by the server's clock.
        """
        tally = Tally()
        sure_ns = self.sure_ns(page)
        second = items.number(sure_ns // NS_PER_S)
        for item in map(Hidden, page.items):
            if not self._may_have_expired(item, sure_ns):
                tally.skipped += 1
                continue
            try:
                read = items.decode_expiry(self.table, item.reveal())
                where = self.plans._where(f"{AS_READ} AND {UNKEPT}", {":read": items.number(read), ":second": second})
                # A sweeper has no use for payloads, so ask for none in the reply, on success or failure.
                where |= {"ReturnValues": "NONE", "ReturnValuesOnConditionCheckFailure": "NONE"}
                where |= {"TableName": self.table.name, "ReturnConsumedCapacity": "TOTAL"}
                key = {"Key": items.key(self.table, token_of(self.table, item.reveal()))}
                call: Call[Mapping[str, Any]] = Call("delete_item", where | key)
                del key
                spent = units((yield from self._patiently(call)))
            except ConditionFailed:
                # A failed condition costs units too.
                self.budget.spend(write_units(None))
                tally.skipped += 1
            except CorruptRecordError as error:
                tally.failed[token_of(self.table, item.reveal())] = error
            except StoreError as error:
                # Stop at the first error: the other items would fail too, which could take hours.
                raise StoppedError(error, tally) from error
            else:
                tally.done += 1
                self.budget.spend(spent or write_units(None))
        return tally

    def would_purge(self, page: Page) -> int:
        """Return the number of items of a page that `purge` would try to delete."""
        sure_ns = self.sure_ns(page)
        return sum(self._may_have_expired(item, sure_ns) for item in map(Hidden, page.items))

    def sure_ns(self, page: Page) -> int:
        """Return the earlier of the host's time and the server's time, as known from *page*."""
        clock = self.plans.clock
        return self.plans.server_time.earlier_of(clock, clock(), page.date_ns)

    def _may_have_expired(self, item: Hidden[Item], now_ns: int) -> bool:
        """Return True if an item has expired or has no readable expiry."""
        try:
            return items.decode_expiry(self.table, item.reveal()) < now_ns
        except CorruptRecordError:
            return True

    def put_all(self, page: Hidden[list[Item]]) -> Plan[Tally]:
        """Put any number of items, 25 at a time."""
        tally = Tally()
        for chunk in in_chunks(page, Chunks(WRITE_MANY, lambda item: token_of(self.table, item))):
            try:
                part = yield from self.put(chunk)
            except StoreError as error:
                raise StoppedError(error, tally) from error
            if reason := retryable_failure(part):
                tally.done += part.done
                raise StoppedError(reason, tally) from reason
            tally.add(part)
        return tally

    def records(self, page: Page) -> Iterator[Record]:
        """Yield the live records of a page, without markers. A corrupt record is logged and left out."""
        table, now = self.table, self.plans.clock()
        for item in map(Hidden, page.items):
            # Fast path: almost all items are plain records.
            record = items.decode_whole(table, item.reveal())
            if record is None:
                try:
                    expiry_ns = items.decode_expiry(table, item.reveal())
                    if expiry_ns < now or items.moved(table, item.reveal()) is not None:
                        continue
                    record = items.decode(table, item.reveal(), expiry_ns)
                except CorruptRecordError as error:
                    logger.warning("%s", error)
                    continue
            elif record.expiry_ns < now:
                continue
            yield record

    def is_live(self, item: Item, now_ns: int) -> bool:
        """Return True if an item has not expired, is a marker that has not ended, or has no readable expiry."""
        try:
            return items.decode_expiry(self.table, item) >= now_ns or markers.is_kept(self.table, item, now_ns)
        except CorruptRecordError:
            return True


class StoppedError(StoreError):
    """A page was only partly done, because of *reason*. *tally* is what was done of it."""

    def __init__(self, reason: StoreError, tally: Tally) -> None:
        super().__init__(str(reason))
        self.reason: StoreError = public(reason)
        self.tally = tally
