"""`Parts`, the code that the verbs share: reading items, and finding the reason for a refused write."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from random import uniform
from typing import TypeVar

from dynamostore import items, markers
from dynamostore.client import AttributeValue, GetItemReply, Item
from dynamostore.contract import Record
from dynamostore.digests import digest
from dynamostore.errors import Conflict, CorruptRecordError, StoreError, ThrottledError, UnavailableError
from dynamostore.hidden import Hidden
from dynamostore.instants import Clock
from dynamostore.steps import Call, Plan, issue, pause
from dynamostore.table import Table

from . import expressions
from .checks import conflict
from .expressions import AS_READ, LEADS, NOT_TAKEN
from .faults import ConditionFailed, Contended
from .server_time import ServerTime
from .transactions import Transactions

__all__ = ["Parts", "hidden", "tagging"]

logger: logging.Logger = logging.getLogger("dynamostore")

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """The shared methods of `Plans <dynamostore.plans.verbs.Plans>`, for one table."""

    table: Table
    clock: Clock
    consistent_read: bool = True
    evict_expired: bool = True
    server_time: ServerTime = field(default_factory=ServerTime, repr=False, compare=False)
    transactions: Transactions = field(default_factory=Transactions, repr=False, compare=False)

    def _record(
        self,
        token: Hidden[str],
        item: Hidden[Item] | None,
        *,
        evict: bool,
        reply: Hidden[GetItemReply] | None = None,
    ) -> Plan[Record | None]:
        """Return the live record in *item*, or the record that it leads to if it is a marker, or None.

        *reply* is the reply that contained *item*. *evict*: remove the item if it has expired.
        """
        hops = 0
        while item is not None:
            expiry_ns, now_ns = items.decode_expiry(self.table, item.reveal()), self.clock()
            if expiry_ns < now_ns:
                if evict:
                    sure_ns = self.server_time.earlier(self.clock, now_ns, reply and reply.reveal())
                    if expiry_ns < sure_ns and not markers.is_kept(self.table, item.reveal(), sure_ns):
                        yield from self._evict(token, expiry_ns)
                return None
            there = hidden(items.moved(self.table, item.reveal()))
            if there is None:
                return items.decode(self.table, item.reveal(), expiry_ns)
            if hops == markers.MAX_HOPS:
                return None
            hops += 1
            token = there
            reply = Hidden((yield self._reading(token, consistent=True)))
            item = hidden(self._item(reply.reveal(), token))
        return None

    def _get(self, token: Hidden[str], *, consistent: bool) -> Plan[Hidden[Item] | None]:
        return hidden(self._item((yield self._reading(token, consistent=consistent)), token))

    def _reading(self, token: Hidden[str], *, consistent: bool) -> Call[GetItemReply]:
        key = items.key(self.table, token.reveal())
        return Call("get_item", {"Key": key, "ConsistentRead": consistent, "TableName": self.table.name})

    def _item(self, reply: GetItemReply, token: Hidden[str]) -> Item | None:
        item = reply.get("Item") or None
        if item is not None and items.bears_another_token(self.table, item, token.reveal()):
            raise UnavailableError(
                f"GetItem: the reply contains another record than the requested {digest(token.reveal())}",
                operation="GetItem",
            )
        return item

    def _evict(self, token: Hidden[str], expiry_ns: int) -> Plan[None]:
        """Remove an expired item, unless it has been written since it was read."""
        try:
            yield from issue(
                self._call(
                    "delete_item",
                    Key=items.key(self.table, token.reveal()),
                    **self._where(AS_READ, {":read": items.number(expiry_ns)}),
                )
            )
        except ConditionFailed:
            logger.debug("record %s was written before it could be evicted", digest(token.reveal()))
        except StoreError as error:
            logger.warning("expired record %s was not evicted: %s", digest(token.reveal()), error)

    def _put_new(self, new: Record) -> Plan[Record]:
        put: Call[object] = Call("put_item", self._put_arguments(new))
        for swept in (False, True):
            try:
                yield from self._patiently(put)
            except ConditionFailed as failure:
                item = yield from self._met(failure, Hidden(new.token))
                if self._is_written(failure, item, new):
                    return new
                there = yield from self._record(Hidden(new.token), item, evict=False)
                if there is None and not swept and (yield from self._sweep(item, Hidden(new.token))):
                    continue
                raise conflict(new.token, there, taken=True) from failure
            else:
                break
        return new

    def _put_arguments(self, new: Record) -> dict[str, object]:
        return self._write(Item=items.encode(self.table, new), **self._where(NOT_TAKEN, self._now()))

    def _sweep(self, item: Hidden[Item] | None, token: Hidden[str]) -> Plan[bool]:
        """Remove the marker *item*, which has not expired but leads to no record. Return False if *item* is not a marker."""
        there = self._lead(item)
        if there is None:
            return False
        key = items.key(self.table, token.reveal())
        call = self._call("delete_item", Key=key, **self._where(LEADS, {":moved": {"S": there.reveal()}}))
        del key
        try:
            yield from self._patiently(call)
        except ConditionFailed:
            logger.debug("marker %s was written before it could be removed", digest(token.reveal()))
        return True

    def _lead(self, item: Hidden[Item] | None) -> Hidden[str] | None:
        """Return the token that the marker *item* leads to, even if it has expired.

        Return None if *item* is not a marker, if the marker has ended, or if it is corrupt.
        """
        try:
            moved = item is not None and self._is_renamed(item)
            return hidden(items.moved(self.table, item.reveal())) if item is not None and moved else None
        except CorruptRecordError:
            return None

    def _met(self, failure: ConditionFailed, token: Hidden[str]) -> Plan[Hidden[Item] | None]:
        """Return the item that made a condition fail: from the refusal, or else from a new read."""
        return hidden(failure.item) or (yield from self._get(token, consistent=True))

    def _is_written(self, failure: ConditionFailed, item: Hidden[Item] | None, new: Record, version: int = 0) -> bool:
        """Return True if *new* was already written: the reply was lost, and the client retried the write.

        This works even if *new* has expired since, or other requests have written since. If there were so many writes that
        the item no longer remembers *version* (the version that was read), the outcome is unknown. Then raise
        `UnavailableError`, as for any write without a reply.
        """
        if item is None:
            return False
        if items.bears(self.table, item.reveal(), new.version):
            return True
        if (failure.retried or (failure.retried is None and version)) and items.forgot(
            self.table, item.reveal(), version
        ):
            raise UnavailableError(
                f"record {digest(new.token)}: more than {items.RECENT} other writes came between this write and its retry; "
                "it is not known whether the first attempt was applied",
                operation=failure.operation,
                code=failure.code,
            ) from failure
        return False

    def _conflict(self, token: Hidden[str], item: Hidden[Item] | None) -> Plan[Conflict]:
        """Return the conflict over the record that was read under *token*. *item* is stored there now."""
        current = yield from self._record(token, item, evict=False)
        return conflict(token.reveal(), current, renamed=self._is_renamed(item))

    def _is_renamed(self, item: Hidden[Item] | None) -> bool:
        return item is not None and markers.is_kept(self.table, item.reveal(), self.clock())

    def _patiently(self, call: Call[object]) -> Plan[None]:
        """Make a call, with retries for two errors that the SDKs do not retry.

        These are a conflict with a transaction, and a transaction that was cancelled because capacity was exceeded.
        """
        attempts = 0
        while True:
            try:
                yield call
            except Contended as error:
                attempts += 1
                if attempts >= error.attempts:
                    raise
                longest = error.first_pause * 2 ** (attempts - 1)
            else:
                return
            yield from pause(uniform(0, longest))

    def _now(self) -> dict[str, AttributeValue]:
        return {":now": items.number(self.clock())}

    def _where(self, condition: str, values: Item, update: str = "") -> dict[str, object]:
        return expressions.arguments(self.table, condition, values, update)

    def _write(self, **arguments: object) -> dict[str, object]:
        arguments["TableName"] = self.table.name
        return arguments

    def _call(self, operation: str, **arguments: object) -> Call[object]:
        return Call(operation, self._write(**arguments))


def hidden(value: T | None) -> Hidden[T] | None:
    """Hide *value*, if there is one."""
    return None if value is None else Hidden(value)


def tagging(new: Record, write: Plan[R]) -> Plan[R]:
    """Run *write*. If it raises an error that leaves its outcome open, store the version of *new* in the error."""
    try:
        return (yield from write)
    except (UnavailableError, ThrottledError) as error:
        error.version = new.version
        raise
