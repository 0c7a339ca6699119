"""The plans of batch jobs: many records in one call, a page of a table at a time, and what is done with it. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from random import uniform
from typing import Any, TypeVar

from dynamostore import items, markers
from dynamostore.client import Item
from dynamostore.contract import Record
from dynamostore.errors import (
    CorruptRecordError,
    ItemTooLargeError,
    StoreError,
    TableSchemaError,
    ThrottledError,
    UnavailableError,
)
from dynamostore.hidden import Hidden, clear_frames
from dynamostore.instants import NS_PER_S
from dynamostore.plans.checks import new_record
from dynamostore.plans.expressions import AS_READ, UNKEPT, words
from dynamostore.plans.faults import ConditionFailed, public
from dynamostore.plans.server_time import date_ns
from dynamostore.plans.verbs import Plans
from dynamostore.steps import Call, Plan, Step, issue, pause
from dynamostore.table import Table

from ._budget import Share, page_units, read_units, units, write_units
from ._chunks import in_chunks
from ._results import Failure, Outcome, Tally

__all__ = [
    "FIND_MANY",
    "PASSING",
    "WRITE_MANY",
    "Jobs",
    "Page",
    "Request",
    "StoppedError",
    "passing_failure",
]

T = TypeVar("T")

logger = logging.getLogger("dynamostore")

FIND_MANY = 100
"""BatchGetItem's limit."""
WRITE_MANY = 25
"""BatchWriteItem's limit."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0
_LOOK_AGAIN = 1.0
# What may be tried again: the calls of a batch may all be made twice.
PASSING = (ThrottledError, UnavailableError)


@dataclass(frozen=True, slots=True)
class Request:
    """What to read of a table: all of it, or the attributes in *projection*; *where*: only what a filter takes."""

    projection: tuple[str, ...] = ()
    where: str = ""
    values: Mapping[str, int] | None = None
    consistent: bool = False
    page_size: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Page:
    """A page of a segment: the items that the filter took, of so many *scanned*, and the token after which there is more.

    *date_ns*: when it was read, by the server's clock; None if the server does not say.
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
class Jobs:
    """The plans of one job on one table; *attempts*, for each call, without any progress."""

    plans: Plans
    budget: Share
    attempts: int

    @property
    def table(self) -> Table:
        return self.plans.table

    # Many records at once

    def find(self, tokens: Hidden[list[str]]) -> Plan[list[Outcome]]:
        """An outcome for each of *tokens*, at most 100 of them, in their order; one that is there twice has two."""
        found: Hidden[dict[str, Item]] = Hidden({})
        keys = Hidden({token: items.key(self.table, token) for token in tokens.reveal() if items.storable(token)})

        def request(pending: Sequence[str]) -> Mapping[str, object]:
            wanted = [keys.reveal()[token] for token in pending]
            return {self.table.name: {"Keys": wanted, "ConsistentRead": self.plans.consistent_read}}

        def left(pending: Sequence[str], reply: Mapping[str, Any]) -> list[str]:
            read = _of_table(reply.get("Responses"), self.table.name)
            for item in read:
                found.reveal()[item[self.table.token]["S"]] = item
            unprocessed = (reply.get("UnprocessedKeys") or {}).values()
            rest = [key[self.table.token]["S"] for part in unprocessed for key in part["Keys"]]
            said = units(reply)
            if said is None:
                sizes = [items.item_size(item) for item in read] + [0] * (len(pending) - len(read) - len(rest))
                said = sum(read_units(size, consistent=self.plans.consistent_read) for size in sizes)
            self.budget.spend(said)
            return rest

        failed = yield from self._until_done("batch_get_item", Hidden(list(keys.reveal())), request, left)
        outcomes = []
        for token in map(Hidden, tokens.reveal()):
            if error := failed.reveal().get(token.reveal()):
                outcomes.append(Outcome(token.reveal(), error=error))
                continue
            try:
                item = Hidden(found.reveal()[token.reveal()]) if token.reveal() in found.reveal() else None
                renamed = item is not None and markers.is_kept(self.table, item.reveal(), self.plans.clock())
                outcomes.append(Outcome(token.reveal(), (yield from self._follow(token, item)), renamed=renamed))
            except StoreError as error:
                outcomes.append(Outcome(token.reveal(), error=public(error)))
        return outcomes

    def _follow(self, token: Hidden[str], item: Hidden[Item] | None) -> Plan[Record | None]:
        """Return the live record that *item* is or, as a marker that may be followed, leads to."""
        for attempt in range(1, self.attempts + 1):
            try:
                return (yield from self._paid(self.plans._record(token, item, evict=False)))
            except PASSING:
                if attempt == self.attempts:
                    raise
            yield from _back_off(attempt)
        raise AssertionError

    def _paid(self, plan: Plan[T]) -> Plan[T]:
        """Run a *plan* of the store's that reads items. Each read waits for the rate, and is paid for, as a batch's calls are."""
        go_on: Callable[[], Step] = partial(next, plan)
        while True:
            try:
                step = go_on()
            except StopIteration as end:
                found: T = end.value
                return found
            if not isinstance(step, Call):
                go_on = partial(plan.send, (yield step))
                continue
            yield from self._in_time()
            try:
                reply = Hidden((yield Call(step.operation, {**step.arguments, "ReturnConsumedCapacity": "TOTAL"})))
            except StoreError as error:
                self.budget.forgo()
                go_on = partial(plan.throw, error)
            else:
                size = items.item_size(reply.reveal().get("Item") or {})
                consistent = bool(step.arguments.get("ConsistentRead"))
                self.budget.spend(units(reply.reveal()) or read_units(size, consistent=consistent))
                go_on = _sending(plan, reply)

    def save(self, entries: Hidden[list[tuple[str, bytes, datetime]]]) -> Plan[Tally]:
        """Add or overwrite at most 25 records, of as many tokens."""
        tally = Tally()
        whole = self._encoded(entries.reveal(), tally)
        tally.add((yield from self.put(whole)))
        return tally

    def _encoded(self, entries: Iterable[tuple[str, bytes, datetime]], tally: Tally) -> Hidden[list[Item]]:
        whole: list[Item] = []
        for token, data, expiry in entries:
            try:
                record = new_record(self.table, token, data, expiry)
            except (ItemTooLargeError, ValueError, TypeError) as error:
                clear_frames(error)
                tally.failed[token] = error.with_traceback(None)
            else:
                whole.append(items.encode(self.table, record))
        return Hidden(whole)

    def put(self, whole: Hidden[list[Item]]) -> Plan[Tally]:
        """Put at most 25 items, of as many tokens, whatever is there."""
        requests = {_token(self.table, item): {"PutRequest": {"Item": item}} for item in whole.reveal()}
        writing = self._write(Hidden(requests))
        del requests
        return (yield from writing)

    def delete(self, tokens: Hidden[list[str]]) -> Plan[Tally]:
        """Delete what is under at most 25 tokens."""
        keys = {token: items.key(self.table, token) for token in tokens.reveal() if items.storable(token)}
        skipped = len(tokens.reveal()) - len(keys)
        writing = self._write(Hidden({token: {"DeleteRequest": {"Key": key}} for token, key in keys.items()}))
        del keys
        tally = yield from writing
        tally.skipped += skipped
        return tally

    def _write(self, requests: Hidden[dict[str, dict[str, dict[str, Any]]]]) -> Plan[Tally]:
        def request(pending: Sequence[str]) -> Mapping[str, object]:
            return {self.table.name: [requests.reveal()[token] for token in pending]}

        def left(pending: Sequence[str], reply: Mapping[str, Any]) -> list[str]:
            unprocessed = (reply.get("UnprocessedItems") or {}).values()
            rest = [self._written(write) for part in unprocessed for write in part]
            said = units(reply)
            if said is None:
                done = set(pending).difference(rest)
                said = sum(write_units(requests.reveal()[token].get("PutRequest", {}).get("Item")) for token in done)
            self.budget.spend(said)
            return rest

        failed = yield from self._until_done("batch_write_item", Hidden(list(requests.reveal())), request, left)
        return Tally(done=len(requests.reveal()) - len(failed.reveal()), failed=dict(failed.reveal()))

    def _written(self, write: Mapping[str, Any]) -> str:
        put, delete = write.get("PutRequest"), write.get("DeleteRequest")
        return _token(self.table, put["Item"] if put else (delete or {})["Key"])

    def _until_done(
        self,
        operation: str,
        pending: Hidden[list[str]],
        request: Callable[[Sequence[str]], Mapping[str, object]],
        left: Callable[[Sequence[str], Mapping[str, Any]], list[str]],
    ) -> Plan[Hidden[dict[str, Failure]]]:
        """Make a call until nothing is left of it; what is left after too many in vain, and why.

        A call that is refused for one record is made for each of them apart: the others are not to blame.
        """
        attempt = 0
        reason: Failure = ThrottledError("it was never tried")
        while pending.reveal():
            if attempt == self.attempts:
                return Hidden(dict.fromkeys(pending.reveal(), reason))
            if attempt:
                yield from _back_off(attempt)
            yield from self._in_time()
            call: Call[Mapping[str, Any]] = Call(
                operation, {"RequestItems": request(pending.reveal()), "ReturnConsumedCapacity": "TOTAL"}
            )
            try:
                reply = Hidden((yield from issue(call)))
            except PASSING as error:
                self.budget.forgo()
                reason = public(error)
                attempt += 1
                continue
            except StoreError as error:
                self.budget.forgo()
                if not _may_be_one(error):
                    raise
                if len(pending.reveal()) == 1:
                    return Hidden({pending.reveal()[0]: public(error)})
                apart: Hidden[dict[str, Failure]] = Hidden({})
                for token in map(Hidden, pending.reveal()):
                    alone = Hidden([token.reveal()])
                    part = yield from self._until_done(operation, alone, request, left)
                    apart.reveal().update(part.reveal())
                return apart
            unprocessed = Hidden(left(pending.reveal(), reply.reveal()))
            # Where some of it was done, the rest will be.
            number = len(unprocessed.reveal())
            attempt = attempt + 1 if number == len(pending.reveal()) else min(1, number)
            pending = unprocessed
            reason = ThrottledError(f"{operation}: left unprocessed {self.attempts} times, for want of capacity")
        return Hidden({})

    # A table, page by page

    def page(self, request: Request, segment: int, segments: int, start: Hidden[Item] | None) -> Plan[Page]:
        """The next page of a segment."""
        call = self._scan(request, segment, segments, start)
        return self._page_of(Hidden((yield from self._patiently(call))), request, segment)

    def _scan(
        self, request: Request, segment: int, segments: int, start: Hidden[Item] | None
    ) -> Call[Mapping[str, Any]]:
        arguments: dict[str, object] = {"TableName": self.table.name, "ReturnConsumedCapacity": "TOTAL"}
        names = {f"#{name}": getattr(self.table, name) for name in request.projection}
        if request.projection:
            arguments["ProjectionExpression"] = ", ".join(names)
            # That is so anyway; but an IAM policy can ask for it.
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
        after = _token(self.table, last) if last else None
        return Page(segment, read, reply.get("Count", len(read)), number, after, date_ns(reply))

    def _patiently(self, call: Call[Mapping[str, Any]]) -> Plan[Mapping[str, Any]]:
        for attempt in range(1, self.attempts + 1):
            yield from self._in_time()
            try:
                return (yield from issue(call))
            except StoreError as error:
                if not isinstance(error, ConditionFailed):
                    self.budget.forgo()
                if not isinstance(error, PASSING) or attempt == self.attempts:
                    raise
            yield from _back_off(attempt)
        raise AssertionError

    def _in_time(self) -> Plan[None]:
        """Wait for what was consumed before, if there is a rate."""
        while seconds := self.budget.wait():
            # What was booked too high comes free earlier.
            yield from pause(min(seconds, _LOOK_AGAIN))

    # What is done with a page

    def purge(self, page: Page) -> Plan[Tally]:
        """Delete the expired items of a page, each unless it was written anew or has become a marker since it was read.

        What has not expired by the server's clock, too, is skipped.
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
                # No payload comes back, neither with a success nor with a refusal: a sweeper has no use for any.
                where |= {"ReturnValues": "NONE", "ReturnValuesOnConditionCheckFailure": "NONE"}
                where |= {"TableName": self.table.name, "ReturnConsumedCapacity": "TOTAL"}
                key = {"Key": items.key(self.table, _token(self.table, item.reveal()))}
                call: Call[Mapping[str, Any]] = Call("delete_item", where | key)
                del key
                spent = units((yield from self._patiently(call)))
            except ConditionFailed:
                # That is paid for, too.
                self.budget.spend(write_units(None))
                tally.skipped += 1
            except CorruptRecordError as error:
                tally.failed[_token(self.table, item.reveal())] = error
            except StoreError as error:
                # To wait for each of a thousand in vain would take hours; and it is to be done again.
                raise StoppedError(error, tally) from error
            else:
                tally.done += 1
                self.budget.spend(spent or write_units(None))
        return tally

    def would_purge(self, page: Page) -> int:
        """Return how many items of a page `purge` would try to delete."""
        sure_ns = self.sure_ns(page)
        return sum(self._may_have_expired(item, sure_ns) for item in map(Hidden, page.items))

    def sure_ns(self, page: Page) -> int:
        """Return what time it is by this host's clock or by the server's as of *page*, whichever is earlier."""
        clock = self.plans.clock
        return self.plans.server_time.earlier_of(clock, clock(), page.date_ns)

    def _may_have_expired(self, item: Hidden[Item], now_ns: int) -> bool:
        """Return True if an item has expired, or if nobody can tell."""
        try:
            return items.decode_expiry(self.table, item.reveal()) < now_ns
        except CorruptRecordError:
            return True

    def put_all(self, page: Hidden[list[Item]]) -> Plan[Tally]:
        """Put any number of items, 25 at a time."""
        tally = Tally()
        for chunk in in_chunks(page, WRITE_MANY, lambda item: _token(self.table, item)):
            try:
                part = yield from self.put(chunk)
            except StoreError as error:
                raise StoppedError(error, tally) from error
            if reason := passing_failure(part):
                tally.done += part.done
                raise StoppedError(reason, tally) from reason
            tally.add(part)
        return tally

    def records(self, page: Page) -> Iterator[Record]:
        """The live records of a page, without markers; a corrupt one is logged, and left out."""
        table, now = self.table, self.plans.clock()
        for item in map(Hidden, page.items):
            # Almost all are, and there are many of them.
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
        """Return True if an item has not expired, or is a marker that has not ended, or if nobody can tell."""
        try:
            return items.decode_expiry(self.table, item) >= now_ns or markers.is_kept(self.table, item, now_ns)
        except CorruptRecordError:
            return True


class StoppedError(StoreError):
    """A page was begun, and not done to its end, for a *reason*; *tally* is what was done of it."""

    def __init__(self, reason: StoreError, tally: Tally) -> None:
        super().__init__(str(reason))
        self.reason = public(reason)
        self.tally = tally


def passing_failure(tally: Tally) -> StoreError | None:
    """Why something of it failed that may succeed later; None if nothing did."""
    return next((error for error in tally.failed.values() if isinstance(error, PASSING)), None)


def _may_be_one(error: StoreError) -> bool:
    """Whether a call may have been refused for what is in one of its records."""
    return error.code == "ValidationException" and not isinstance(error, TableSchemaError)


def _sending(plan: Plan[T], reply: Hidden[Mapping[str, Any]]) -> Callable[[], Step]:
    """Return what sends *plan* a reply."""
    return lambda: plan.send(reply.reveal())


def _back_off(attempt: int) -> Plan[None]:
    yield from pause(uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)))


def _token(table: Table, item: Mapping[str, Any]) -> str:
    token: str = item[table.token]["S"]
    return token


def _of_table(responses: Mapping[str, Sequence[Item]] | None, table: str) -> Sequence[Item]:
    """The items of the one table that was asked for, by its name (to an ARN some answer with the name)."""
    if not responses:
        return []
    return responses[table] if table in responses else next(iter(responses.values()))
