"""`Parts`: what the verbs share: reading an item, and finding out what a refused write met."""

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

logger = logging.getLogger("dynamostore")

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What `Plans <dynamostore.plans.verbs.Plans>` are made of, on one table."""

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
        """Return the live record that *item*, of *reply*, is or, if it is a marker that may be followed, leads to."""
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
                f"GetItem: the reply has another token than record {digest(token.reveal())}", operation="GetItem"
            )
        return item

    def _evict(self, token: Hidden[str], expiry_ns: int) -> Plan[None]:
        """Remove an expired item, unless it has been written anew since it was read."""
        try:
            yield from issue(
                self._call(
                    "delete_item",
                    Key=items.key(self.table, token.reveal()),
                    **self._where(AS_READ, {":read": items.number(expiry_ns)}),
                )
            )
        except ConditionFailed:
            logger.debug("record %s was renewed while it was to be evicted", digest(token.reveal()))
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
        """Remove the marker *item*, which has not expired but leads to no record; return False if it is no marker."""
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
        """Return the token that the marker *item* leads to, expired or not; None if it is none, has ended, or is corrupt."""
        try:
            moved = item is not None and self._is_renamed(item)
            return hidden(items.moved(self.table, item.reveal())) if item is not None and moved else None
        except CorruptRecordError:
            return None

    def _met(self, failure: ConditionFailed, token: Hidden[str]) -> Plan[Hidden[Item] | None]:
        """Return the item that made a condition fail: sent along with the refusal, or read again."""
        return hidden(failure.item) or (yield from self._get(token, consistent=True))

    def _is_written(self, failure: ConditionFailed, item: Hidden[Item] | None, new: Record, version: int = 0) -> bool:
        """Return True if *new* was written before: its reply was lost, and the client sent it once more.

        That is so even if it has expired meanwhile, or others have written since. If so many have that the item no
        longer remembers *version*, which was read, nobody knows: `UnavailableError`, as for any write without a reply.
        """
        if item is None:
            return False
        if items.bears(self.table, item.reveal(), new.version):
            return True
        if (failure.retried or (failure.retried is None and version)) and items.forgot(
            self.table, item.reveal(), version
        ):
            raise UnavailableError(
                f"record {digest(new.token)}: more than {items.RECENT} others wrote while this write was sent again; "
                "whether it was applied the first time is not known",
                operation=failure.operation,
                code=failure.code,
            ) from failure
        return False

    def _conflict(self, token: Hidden[str], item: Hidden[Item] | None) -> Plan[Conflict]:
        """Return the conflict over the record that was read under *token*, where *item* is there now."""
        current = yield from self._record(token, item, evict=False)
        return conflict(token.reveal(), current, renamed=self._is_renamed(item))

    def _is_renamed(self, item: Hidden[Item] | None) -> bool:
        return item is not None and markers.is_kept(self.table, item.reveal(), self.clock())

    def _patiently(self, call: Call[object]) -> Plan[None]:
        """Make a call, again if SDKs would not: a transaction is in its way, or it is one that was cancelled for want of capacity."""
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
    """Run *write*. An error that leaves its outcome open bears the version of *new*."""
    try:
        return (yield from write)
    except (UnavailableError, ThrottledError) as error:
        error.version = new.version
        raise
