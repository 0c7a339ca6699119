"""Every verb as a plan: all the logic of `DynamoStore`, and no I/O.

Each write is conditional on what was read (`DynamoStore` says how), asks for the winning item with a
refusal, and knows its own version tag again when a lost reply made the client send it twice.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, lru_cache
from random import uniform

from . import items
from ._checks import check_record, check_rename, conflict, new_record
from ._faults import ConditionFailed, Contended, TransactionRefused, Unsupported
from ._instants import INT64_MAX, Clock, duration_ns, to_ns
from ._steps import Call, Plan, issue, pause
from .client import AttributeValue, GetItemReply, Item
from .contract import Record
from .errors import CorruptRecordError, StoreError, UnavailableError, digest
from .table import Table

logger = logging.getLogger("dynamostore")

# Expressions. The names in them are always passed by ExpressionAttributeNames: most of the defaults (token,
# data, ttl, owner) are reserved words.
NOT_TAKEN = "attribute_not_exists(#token) OR #expiry < :now"
LIVE = "#expiry >= :now"
NOT_SHORTENED = "#expiry <= :expiry"
AS_READ = "#expiry = :read"
SAME = "#version = :was"
SAME_BY_SCS = "attribute_not_exists(#version) AND #expiry = :read AND #data = :held"
UNMOVED = "attribute_not_exists(#moved)"
LEADS = "#moved = :moved"
REPLACE = "SET #data = :data, #expiry = :expiry, #ttl = :ttl, #version = :version, #recent = :recent"
REPLACE_SCS = "SET #data = :data, #expiry = :expiry, #ttl = :ttl, #version = :version"
MOVE = "SET #moved = :moved, #expiry = :until, #ttl = :until_ttl, #version = :version, #recent = :recent REMOVE #data"
TOUCH = "SET #expiry = :expiry, #ttl = :ttl"

_PING = "ping"
_ATTEMPTS = 5
_FIRST_PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Plans:
    """The verbs on one table."""

    table: Table
    clock: Clock
    consistent_read: bool = True
    evict_expired: bool = True

    # Reading

    def find(self, token: str) -> Plan[Record | None]:
        if not items.storable(token):
            return None
        item = yield from self._get(token, consistent=self.consistent_read)
        if item is None:
            return None
        record = items.decode_whole(self.table, item)
        if record is not None and record.expiry_ns >= self.clock():
            return record
        return (yield from self._record(token, item, evict=self.evict_expired))

    def _record(self, token: str, item: Item | None, *, evict: bool) -> Plan[Record | None]:
        """The live record that *item* is or, if it was renamed, leads to."""
        seen: set[str] = set()
        while item is not None and token not in seen:
            seen.add(token)
            expiry_ns = items.decode_expiry(self.table, item)
            if expiry_ns < self.clock():
                if evict:
                    yield from self._evict(token, expiry_ns)
                return None
            there = items.moved(self.table, item)
            if there is None:
                return items.decode(self.table, item, expiry_ns)
            token = there
            item = yield from self._get(token, consistent=True)
        return None

    def ping(self) -> Plan[None]:
        # A read of one key asks for no more rights than the app has, and proves the key's name, too.
        yield from self._get(_PING, consistent=False)

    def _get(self, token: str, *, consistent: bool) -> Plan[Item | None]:
        key = items.key(self.table, token)
        call: Call[GetItemReply] = Call("get_item", self._write(Key=key, ConsistentRead=consistent))
        reply = yield from issue(call)
        item = reply.get("Item") or None
        if item is not None and items.bears_another_token(self.table, item, token):
            raise UnavailableError(
                f"GetItem: the reply is not to this call: record {digest(token)}", operation="GetItem"
            )
        return item

    def _evict(self, token: str, expiry_ns: int) -> Plan[None]:
        """Remove an expired item, unless it has been written anew since it was read."""
        try:
            yield from issue(
                self._call(
                    "delete_item",
                    Key=items.key(self.table, token),
                    **self._where(AS_READ, {":read": items.number(expiry_ns)}),
                )
            )
        except ConditionFailed:
            logger.debug("record %s was renewed while it was to be evicted", digest(token))
        except StoreError as error:
            logger.warning("expired record %s was not evicted: %s", digest(token), error)

    # Writing

    def save(self, token: str, data: bytes, expiry: datetime) -> Plan[Record]:
        record = new_record(self.table, token, data, expiry)
        yield from self._patiently(self._call("put_item", Item=items.encode(self.table, record)))
        return record

    def create(self, token: str, data: bytes, expiry: datetime) -> Plan[Record]:
        return (yield from self._put_new(new_record(self.table, token, data, expiry)))

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Plan[Record]:
        check_record(record)
        new = new_record(self.table, record.token, data, expiry, beside=record.beside, recent=items.recent(record))
        condition = f"{LIVE} AND {_not_shortened(record, new)} AND {_unchanged(record)}"
        try:
            yield from self._update(REPLACE if new.recent else REPLACE_SCS, record, new, condition)
        except ConditionFailed as failure:
            winner = yield from self._winner(failure, record.token, new, record.version)
            if winner is not new:
                raise conflict(record.token, winner) from failure
        return new

    def touch(self, record: Record, expiry: datetime) -> Plan[Record]:
        new = replace(check_record(record), expiry=expiry, expiry_ns=to_ns(expiry))
        shortened = NOT_SHORTENED
        if new.expiry_ns < record.expiry_ns:
            shortened = f"({NOT_SHORTENED} OR ({AS_READ} AND {_unchanged(record)}))"
        winner = None
        for _ in range(_ATTEMPTS):
            try:
                yield from self._update(TOUCH, record, new, f"attribute_exists(#data) AND {LIVE} AND {shortened}")
            except ConditionFailed as failure:
                winner = yield from self._winner(failure, record.token)
                if winner is None or winner.token != record.token:
                    break
                if winner.expiry_ns > new.expiry_ns:
                    return replace(record, expiry=winner.expiry, expiry_ns=winner.expiry_ns)
            else:
                return new
        raise conflict(record.token, winner)

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, grace: timedelta = timedelta(0)
    ) -> Plan[Record]:
        check_rename(record, token, grace)
        new = new_record(self.table, token, data, expiry, beside=record.beside)
        put = self._write(Item=items.encode(self.table, new), **self._where(NOT_TAKEN, self._now()))
        leave = self._leave(record, new, grace)
        transaction: Call[object] = Call(
            "transact_write_items",
            # Known again by the service for ten minutes, so that a retry is no second transaction.
            {
                "TransactItems": [{"Put": put}, {"Update" if grace else "Delete": leave}],
                "ClientRequestToken": f"{new.version:036x}",
            },
        )
        for swept in (False, True):
            try:
                yield from self._patiently(transaction)
            except Unsupported:
                return (yield from self._rename_in_two(record, new, grace))
            except TransactionRefused as refused:
                taken, changed = (*refused.refusals, None, None)[:2]
                if taken is not None:
                    there = yield from self._winner(taken, token, new)
                    if there is new:
                        return new
                    if there is not None:
                        raise conflict(token, there, taken=True) from refused
                    if not swept and (yield from self._sweep(taken, token)):
                        continue
                winner = None if changed is None else (yield from self._winner(changed, record.token))
                raise conflict(record.token, winner) from refused
            else:
                break
        return new

    def _leave(self, record: Record, new: Record, grace: timedelta) -> dict[str, object]:
        """The arguments that remove *record*, or for the time of a grace make it lead to *new*."""
        if grace:
            return self._move(record, new, grace)
        condition, values = self._as_read(record, new)
        return self._write(Key=items.key(self.table, record.token), **self._where(condition, values))

    def _move(self, record: Record, new: Record, grace: timedelta) -> dict[str, object]:
        condition, values = self._as_read(record, new)
        until_ns = min(self.clock() + duration_ns(grace), INT64_MAX)
        # With the versions until then: the retry of a write that was applied before is still known again.
        values |= {":moved": {"S": new.token}, ":version": items.number(new.version)}
        values |= {":recent": {"B": items.recent(record)}}
        values |= {":until": items.number(until_ns), ":until_ttl": items.number(items.ttl(until_ns))}
        key = items.key(self.table, record.token)
        return self._write(Key=key, UpdateExpression=MOVE, **self._where(condition, values, MOVE))

    def _as_read(self, record: Record, new: Record) -> tuple[str, dict[str, AttributeValue]]:
        condition = f"{LIVE} AND {_not_shortened(record, new)} AND {_unchanged(record)}"
        return condition, self._now() | _was(record) | {":expiry": items.number(new.expiry_ns)}

    def _rename_in_two(self, record: Record, new: Record, grace: timedelta) -> Plan[Record]:
        """New first, then old, for servers without transactions: for a moment both are there.

        The old one is made to lead to the new one, and removed then: a lost reply to that is recognised, to a
        deletion it would not be.
        """
        yield from self._put_new(new)
        try:
            yield from self._patiently(Call("update_item", self._move(record, new, grace)))
        except ConditionFailed as failure:
            item = failure.item or (yield from self._get(record.token, consistent=True))
            if item is None or not items.bears(self.table, item, new.version):
                yield from self._remove(new.token, SAME, {":was": items.number(new.version)})
                raise conflict(record.token, (yield from self._winner(failure, record.token))) from failure
        if not grace:
            yield from self._remove(record.token, LEADS, {":moved": {"S": new.token}})
        return new

    def _remove(self, token: str, condition: str, values: Item) -> Plan[None]:
        """Remove the item of *token*, unless it has been written since."""
        where = self._where(condition, values)
        try:
            yield from self._patiently(self._call("delete_item", Key=items.key(self.table, token), **where))
        except ConditionFailed:
            logger.debug("record %s was written before it could be removed", digest(token))

    def delete(self, token: str) -> Plan[None]:
        if not items.storable(token):
            return
        # Within a grace it leads elsewhere: what it leads to goes first, or it could not be found again.
        chain: list[str] = []
        there: str | None = token
        while there is not None and there not in chain:
            token, there = there, None
            call = self._call("delete_item", Key=items.key(self.table, token), **self._where(UNMOVED, {}))
            try:
                yield from self._patiently(call)
            except ConditionFailed as failure:
                chain.append(token)
                there = self._lead(failure.item or (yield from self._get(token, consistent=True)))
        for token in reversed(chain):
            yield from self._patiently(self._call("delete_item", Key=items.key(self.table, token)))

    # Parts

    def _put_new(self, new: Record) -> Plan[Record]:
        put = self._call("put_item", Item=items.encode(self.table, new), **self._where(NOT_TAKEN, self._now()))
        for swept in (False, True):
            try:
                yield from self._patiently(put)
            except ConditionFailed as failure:
                winner = yield from self._winner(failure, new.token, new)
                if winner is new:
                    return new
                if winner is None and not swept and (yield from self._sweep(failure, new.token)):
                    continue
                raise conflict(new.token, winner, taken=True) from failure
            else:
                break
        return new

    def _sweep(self, failure: ConditionFailed, token: str) -> Plan[bool]:
        """Remove what is left under *token* of a renamed record that is gone; whether there was anything."""
        there = self._lead(failure.item or (yield from self._get(token, consistent=True)))
        if there is None:
            return False
        yield from self._remove(token, LEADS, {":moved": {"S": there}})
        return True

    def _lead(self, item: Item | None) -> str | None:
        """The token that *item* still leads to; None if it does not, or is corrupt."""
        try:
            if item is None or items.decode_expiry(self.table, item) < self.clock():
                return None
            return items.moved(self.table, item)
        except CorruptRecordError:
            return None

    def _update(self, update: str, record: Record, new: Record, condition: str) -> Plan[None]:
        """Update the item of *record*, as read, to *new*."""
        # `_was` and `_now` among them, in one piece: every write comes here.
        values: dict[str, AttributeValue] = {
            ":was": {"N": str(record.version)},
            ":read": {"N": str(record.expiry_ns)},
            ":held": {"B": record.data},
            ":now": {"N": str(self.clock())},
            ":expiry": {"N": str(new.expiry_ns)},
            ":ttl": {"N": str(items.ttl(new.expiry_ns))},
            ":data": {"B": new.data},
            ":version": {"N": str(new.version)},
            ":recent": {"B": new.recent},
        }
        where = self._where(condition, values, update)
        where["Key"] = items.key(self.table, record.token)
        where["UpdateExpression"] = update
        return self._patiently(Call("update_item", self._write(**where)))

    def _winner(
        self, failure: ConditionFailed, token: str, new: Record | None = None, version: int = 0
    ) -> Plan[Record | None]:
        """The live record that made a condition fail: sent along with the refusal, or read again.

        It is *new* itself, if that was written before: its reply was lost, and the client sent it once more. So it
        is even if it has expired meanwhile, or others have written since. If so many have that the item no longer
        remembers *version*, which was read, nobody knows: `UnavailableError`, as for any write without a reply.
        """
        item = failure.item or (yield from self._get(token, consistent=True))
        if new is not None and item is not None:
            if items.bears(self.table, item, new.version):
                return new
            if (failure.retried or (failure.retried is None and version)) and items.forgot(self.table, item, version):
                raise UnavailableError(
                    f"record {digest(token)}: more than {items.RECENT} others wrote while this write was sent again; "
                    "whether it was applied the first time is not known",
                    operation=failure.operation,
                    code=failure.code,
                ) from failure
        return (yield from self._record(token, item, evict=False))

    def _patiently(self, call: Call[object]) -> Plan[None]:
        """Make a call, again if a transaction on the same item gets in its way (SDKs do not retry that)."""
        for attempt in range(_ATTEMPTS):
            try:
                yield call
            except Contended:
                if attempt == _ATTEMPTS - 1:
                    raise
                yield from pause(uniform(0, _FIRST_PAUSE * 2**attempt))
            else:
                return

    def _now(self) -> dict[str, AttributeValue]:
        return {":now": items.number(self.clock())}

    def _where(self, condition: str, values: Item, update: str = "") -> dict[str, object]:
        """The arguments of a condition (and an update), with just the names and values that these use.

        DynamoDB refuses any others.
        """
        names, placeholders = _arguments(condition, update, self.table)
        where: dict[str, object] = {
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if placeholders:
            where["ExpressionAttributeValues"] = {value: values[value] for value in placeholders}
        return where

    def _write(self, **arguments: object) -> dict[str, object]:
        arguments["TableName"] = self.table.name
        return arguments

    def _call(self, operation: str, **arguments: object) -> Call[object]:
        return Call(operation, self._write(**arguments))


def _unchanged(record: Record) -> str:
    """The condition that what is there is what was read."""
    return SAME if record.version else SAME_BY_SCS


def _not_shortened(record: Record, new: Record) -> str:
    """The condition that *new* does not take back an expiry that somebody else has given the record since."""
    return NOT_SHORTENED if new.expiry_ns >= record.expiry_ns else f"({NOT_SHORTENED} OR {AS_READ})"


def _was(record: Record) -> dict[str, AttributeValue]:
    """The values that `_unchanged` and AS_READ compare with."""
    return {
        ":was": items.number(record.version),
        ":read": items.number(record.expiry_ns),
        ":held": {"B": record.data},
    }


@cache
def _words(expression: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names (without #) and the values (with :) of an expression; there are a dozen expressions in all."""
    return tuple(set(re.findall(r"#(\w+)", expression))), tuple(set(re.findall(r":\w+", expression)))


@lru_cache(maxsize=256)
def _arguments(condition: str, update: str, table: Table) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """The attributes behind the names of a condition and an update, and their values."""
    names, placeholders = _words(f"{condition} {update}")
    return {f"#{name}": getattr(table, name) for name in names}, placeholders
