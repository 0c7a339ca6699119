"""`Calls`: the plans that read or write many records in one call, with retries and a rate limit. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from random import uniform
from typing import Any, TypeVar

from dynamostore import items, markers
from dynamostore.client import Item
from dynamostore.contract import Record
from dynamostore.errors import ItemTooLargeError, StoreError, TableSchemaError, ThrottledError, UnavailableError
from dynamostore.hidden import Hidden, clear_frames
from dynamostore.plans.checks import new_record
from dynamostore.plans.faults import ConditionFailed, public
from dynamostore.plans.verbs import Plans
from dynamostore.steps import Call, Plan, Step, issue, pause
from dynamostore.table import Table

from ._budget import Share, read_units, units, write_units
from ._results import Failure, Outcome, Tally

__all__ = ["FIND_MANY", "RETRYABLE", "WRITE_MANY", "Calls", "retryable_failure", "token_of"]

T = TypeVar("T")

FIND_MANY = 100
"""BatchGetItem's limit."""
WRITE_MANY = 25
"""BatchWriteItem's limit."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0
_LOOK_AGAIN = 1.0
# Errors after which a call is tried again. This is safe because every call of a batch may be made twice.
RETRYABLE = (ThrottledError, UnavailableError)


@dataclass(frozen=True, slots=True)
class Calls:
    """The plans for many records in one call. A call is tried *attempts* times without any progress."""

    plans: Plans
    budget: Share
    attempts: int

    @property
    def table(self) -> Table:
        """The table of the store."""
        return self.plans.table

    def find(self, tokens: Hidden[list[str]]) -> Plan[list[Outcome]]:
        """Return an outcome for each of at most 100 *tokens*, in order. A repeated token has an outcome each time."""
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
        """Return the live record in *item*. If *item* is a marker that may be followed, return the record it leads to."""
        for attempt in range(1, self.attempts + 1):
            try:
                return (yield from self._paid(self.plans._record(token, item, evict=False)))
            except RETRYABLE:
                if attempt == self.attempts:
                    raise
            yield from _back_off(attempt)
        raise AssertionError

    def _paid(self, plan: Plan[T]) -> Plan[T]:
        """Run a *plan* of the store that reads items. Its reads respect the rate and count as consumed units."""
        advance: Callable[[], Step] = partial(next, plan)
        while True:
            try:
                step = advance()
            except StopIteration as end:
                found: T = end.value
                return found
            if not isinstance(step, Call):
                advance = partial(plan.send, (yield step))
                continue
            yield from self._in_time()
            try:
                reply = Hidden((yield Call(step.operation, {**step.arguments, "ReturnConsumedCapacity": "TOTAL"})))
            except StoreError as error:
                self.budget.forgo()
                advance = partial(plan.throw, error)
            else:
                size = items.item_size(reply.reveal().get("Item") or {})
                consistent = bool(step.arguments.get("ConsistentRead"))
                self.budget.spend(units(reply.reveal()) or read_units(size, consistent=consistent))
                advance = _sending(plan, reply)

    def save(self, entries: Hidden[list[tuple[str, bytes, datetime]]]) -> Plan[Tally]:
        """Add or overwrite at most 25 records, whose tokens must differ."""
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
        """Put at most 25 items, whose tokens must differ. Existing items are overwritten."""
        requests = {token_of(self.table, item): {"PutRequest": {"Item": item}} for item in whole.reveal()}
        writing = self._write(Hidden(requests))
        del requests
        return (yield from writing)

    def delete(self, tokens: Hidden[list[str]]) -> Plan[Tally]:
        """Delete the items of at most 25 tokens."""
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
        return token_of(self.table, put["Item"] if put else (delete or {})["Key"])

    def _until_done(
        self,
        operation: str,
        pending: Hidden[list[str]],
        request: Callable[[Sequence[str]], Mapping[str, object]],
        left: Callable[[Sequence[str], Mapping[str, Any]], list[str]],
    ) -> Plan[Hidden[dict[str, Failure]]]:
        """Repeat a call until nothing is left unprocessed. Return the tokens that failed, with their errors.

        A token fails after too many attempts without progress. If the server refuses a call because of one record, the
        call is made again for each record alone, so that the others succeed.
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
            except RETRYABLE as error:
                self.budget.forgo()
                reason = public(error)
                attempt += 1
                continue
            except StoreError as error:
                self.budget.forgo()
                if not _may_concern_one_record(error):
                    raise
                if len(pending.reveal()) == 1:
                    return Hidden({pending.reveal()[0]: public(error)})
                failures: Hidden[dict[str, Failure]] = Hidden({})
                for token in map(Hidden, pending.reveal()):
                    alone = Hidden([token.reveal()])
                    part = yield from self._until_done(operation, alone, request, left)
                    failures.reveal().update(part.reveal())
                return failures
            unprocessed = Hidden(left(pending.reveal(), reply.reveal()))
            # After any progress, count the attempts anew.
            number = len(unprocessed.reveal())
            attempt = attempt + 1 if number == len(pending.reveal()) else min(1, number)
            pending = unprocessed
            reason = ThrottledError(f"{operation}: throttled, left unprocessed {self.attempts} times")
        return Hidden({})

    def _patiently(self, call: Call[Mapping[str, Any]]) -> Plan[Mapping[str, Any]]:
        for attempt in range(1, self.attempts + 1):
            yield from self._in_time()
            try:
                return (yield from issue(call))
            except StoreError as error:
                if not isinstance(error, ConditionFailed):
                    self.budget.forgo()
                if not isinstance(error, RETRYABLE) or attempt == self.attempts:
                    raise
            yield from _back_off(attempt)
        raise AssertionError

    def _in_time(self) -> Plan[None]:
        """Wait until the rate allows a call."""
        while seconds := self.budget.wait():
            # Look again soon: if a running call was booked too high, capacity becomes free earlier.
            yield from pause(min(seconds, _LOOK_AGAIN))


def retryable_failure(tally: Tally) -> StoreError | None:
    """Return the first error in *tally* that a retry may solve, or None."""
    return next((error for error in tally.failed.values() if isinstance(error, RETRYABLE)), None)


def _may_concern_one_record(error: StoreError) -> bool:
    """Return True if the server may have refused a call because of one of its records."""
    return error.code == "ValidationException" and not isinstance(error, TableSchemaError)


def _sending(plan: Plan[T], reply: Hidden[Mapping[str, Any]]) -> Callable[[], Step]:
    """Return a function that sends *plan* a reply."""
    return lambda: plan.send(reply.reveal())


def _back_off(attempt: int) -> Plan[None]:
    yield from pause(uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)))


def token_of(table: Table, item: Mapping[str, Any]) -> str:
    """Return the token of an item or key."""
    token: str = item[table.token]["S"]
    return token


def _of_table(responses: Mapping[str, Sequence[Item]] | None, table: str) -> Sequence[Item]:
    """Return the items of the only table in a reply. If it was addressed by ARN, some servers reply with its name."""
    if not responses:
        return []
    return responses[table] if table in responses else next(iter(responses.values()))
