"""Every verb as a plan: all the logic of `DynamoStore`, and no I/O.

Each write is conditional on what was read (`DynamoStore` says how), asks for the winning item with a
refusal, and knows its own version tag again when a lost reply made the client send it twice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import uniform
from typing import TypeVar

from dynamostore import items, markers
from dynamostore.client import AttributeValue, GetItemReply, Item
from dynamostore.contract import Record
from dynamostore.digests import digest
from dynamostore.errors import Conflict, CorruptRecordError, StoreError, ThrottledError, UnavailableError
from dynamostore.hidden import Hidden
from dynamostore.instants import Clock, to_ns
from dynamostore.steps import Call, Plan, issue, pause
from dynamostore.table import Table

from . import expressions
from .checks import check_record, check_rename, conflict, new_record
from .expressions import (
    ABSENT,
    AS_READ,
    LEADS,
    LIVE,
    MOVE,
    MOVE_SCS,
    NOT_SHORTENED,
    NOT_TAKEN,
    REPLACE,
    REPLACE_SCS,
    SAME,
    SAME_BY_SCS,
    TOUCH,
    UNMOVED,
)
from .faults import ConditionFailed, Contended, TransactionRefused, Unsupported
from .server_time import ServerTime
from .transactions import Transactions

__all__ = ["Plans"]

logger = logging.getLogger("dynamostore")

R = TypeVar("R")
T = TypeVar("T")

_PING = "ping"
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Plans:
    """The verbs on one table."""

    table: Table
    clock: Clock
    consistent_read: bool = True
    evict_expired: bool = True
    server_time: ServerTime = field(default_factory=ServerTime, repr=False, compare=False)
    transactions: Transactions = field(default_factory=Transactions, repr=False, compare=False)

    # Reading

    def find(self, token: Hidden[str]) -> Plan[Record | None]:
        """As `Store.find <dynamostore.Store.find>`."""
        if not items.storable(token.reveal()):
            return None
        # In one piece: every read comes here.
        found = self._live((yield self._reading(token, consistent=self.consistent_read)), token)
        if found is None or isinstance(found, Record):
            return found
        item = _hidden(self._item(found.reveal(), token))
        return (yield from self._record(token, item, evict=self.evict_expired, reply=found))

    def _live(self, reply: GetItemReply, token: Hidden[str]) -> Record | Hidden[GetItemReply] | None:
        """Return the live record in *reply*, if it is just as this package writes one; else *reply*; None if it has no item."""
        item = self._item(reply, token)
        if item is None:
            return None
        record = items.decode_whole(self.table, item)
        if record is not None and record.expiry_ns >= self.clock():
            return record
        return Hidden(reply)

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
            there = _hidden(items.moved(self.table, item.reveal()))
            if there is None:
                return items.decode(self.table, item.reveal(), expiry_ns)
            if hops == markers.MAX_HOPS:
                return None
            hops += 1
            token = there
            reply = Hidden((yield self._reading(token, consistent=True)))
            item = _hidden(self._item(reply.reveal(), token))
        return None

    def ping(self) -> Plan[None]:
        """As `Store.ping <dynamostore.Store.ping>`."""
        # A read of one key asks for no more rights than the app has, and proves the key's name, too.
        yield from self._get(Hidden(_PING), consistent=False)

    def _get(self, token: Hidden[str], *, consistent: bool) -> Plan[Hidden[Item] | None]:
        return _hidden(self._item((yield self._reading(token, consistent=consistent)), token))

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

    # Writing

    def save(self, token: Hidden[str], data: Hidden[bytes], expiry: datetime) -> Plan[Record]:
        """As `Store.save <dynamostore.Store.save>`."""
        record = new_record(self.table, token.reveal(), data.reveal(), expiry)
        put = self._call("put_item", Item=items.encode(self.table, record))
        yield from _tagging(record, self._patiently(put))
        return record

    def create(self, token: Hidden[str], data: Hidden[bytes], expiry: datetime) -> Plan[Record]:
        """As `Store.create <dynamostore.Store.create>`."""
        new = new_record(self.table, token.reveal(), data.reveal(), expiry)
        return (yield from _tagging(new, self._put_new(new)))

    def replace(self, record: Record, data: Hidden[bytes], expiry: datetime) -> Plan[Record]:
        """As `Store.replace <dynamostore.Store.replace>`."""
        check_record(record)
        new = new_record(
            self.table, record.token, data.reveal(), expiry, beside=record.beside, recent=items.recent(record)
        )
        return (yield from _tagging(new, self._replace(record, new)))

    def _replace(self, record: Record, new: Record) -> Plan[Record]:
        condition = f"{LIVE} AND {_not_shortened(record, new)} AND {_unchanged(record)}"
        try:
            yield from self._update(REPLACE if new.recent else REPLACE_SCS, record, new, condition)
        except ConditionFailed as failure:
            item = yield from self._met(failure, Hidden(record.token))
            if not self._is_written(failure, item, new, record.version):
                raise (yield from self._conflict(Hidden(record.token), item)) from failure
        return new

    def touch(self, record: Record, expiry: datetime) -> Plan[Record]:
        """As `Store.touch <dynamostore.Store.touch>`."""
        new = replace(check_record(record), expiry=expiry, expiry_ns=to_ns(expiry))
        shortened = NOT_SHORTENED
        if new.expiry_ns < record.expiry_ns:
            shortened = f"({NOT_SHORTENED} OR ({AS_READ} AND {_unchanged(record)}))"
        winner, renamed = None, False
        for _ in range(_ATTEMPTS):
            try:
                yield from self._update(TOUCH, record, new, f"attribute_exists(#data) AND {LIVE} AND {shortened}")
            except ConditionFailed as failure:
                item = yield from self._met(failure, Hidden(record.token))
                winner, renamed = (
                    (yield from self._record(Hidden(record.token), item, evict=False)),
                    self._is_renamed(item),
                )
                if winner is None or winner.token != record.token:
                    break
                if winner.expiry_ns > new.expiry_ns:
                    return replace(record, expiry=winner.expiry, expiry_ns=winner.expiry_ns)
            else:
                return new
        raise conflict(record.token, winner, renamed=renamed)

    def rename(
        self,
        record: Record,
        token: Hidden[str],
        data: Hidden[bytes],
        expiry: datetime,
        grace: timedelta = timedelta(0),
    ) -> Plan[Record]:
        """As `Store.rename <dynamostore.Store.rename>`."""
        check_rename(record, token.reveal(), grace)
        new = new_record(
            self.table, token.reveal(), data.reveal(), expiry, beside=record.beside, recent=items.recent(record)
        )
        return (yield from _tagging(new, self._rename(record, new, grace)))

    def _rename(self, record: Record, new: Record, grace: timedelta) -> Plan[Record]:
        if self.transactions.are_refused(self.clock()):
            return (yield from self._rename_in_two(record, new, grace))
        transaction: Call[object] = Call(
            "transact_write_items",
            # Known again by the service for ten minutes, so that a retry is no second transaction.
            {
                "TransactItems": [{"Put": self._put_arguments(new)}, {"Update": self._move(record, new, grace)}],
                "ClientRequestToken": f"{new.version:036x}",
            },
        )
        for swept in (False, True):
            try:
                yield from self._patiently(transaction)
            except Unsupported as refusal:
                renamed = yield from self._rename_in_two(record, new, grace)
                self.transactions.note_refusal(self.table, refusal, self.clock())
                return renamed
            except TransactionRefused as refused:
                taken, changed = (*refused.refusals, None, None)[:2]
                if taken is not None:
                    item = yield from self._met(taken, Hidden(new.token))
                    if self._is_written(taken, item, new):
                        return new
                    there = yield from self._record(Hidden(new.token), item, evict=False)
                    if there is not None:
                        raise conflict(new.token, there, taken=True) from refused
                    if not swept and (yield from self._sweep(item, Hidden(new.token))):
                        continue
                item = None if changed is None else (yield from self._met(changed, Hidden(record.token)))
                raise (yield from self._conflict(Hidden(record.token), item)) from refused
            else:
                break
        return new

    def _put_arguments(self, new: Record) -> dict[str, object]:
        return self._write(Item=items.encode(self.table, new), **self._where(NOT_TAKEN, self._now()))

    def _move(self, record: Record, new: Record, grace: timedelta) -> dict[str, object]:
        """Return the arguments that make a marker of the item of *record*, which leads to *new*."""
        condition, values = self._as_read(record, new)
        until_ns, until_ttl = markers.lifespan(self.clock(), grace)
        # With the versions until then: the retry of a write that was applied before is still known again.
        values |= {":moved": {"S": new.token}, ":version": items.number(new.version)}
        values |= {":recent": {"B": items.recent(record)}}
        values |= {":until": items.number(until_ns), ":until_ttl": items.number(until_ttl)}
        key = items.key(self.table, record.token)
        update = MOVE if record.version else MOVE_SCS
        return self._write(Key=key, UpdateExpression=update, **self._where(condition, values, update))

    def _as_read(self, record: Record, new: Record) -> tuple[str, dict[str, AttributeValue]]:
        condition = f"{LIVE} AND {_not_shortened(record, new)} AND {_unchanged(record)}"
        return condition, self._now() | _was(record) | {":expiry": items.number(new.expiry_ns)}

    def _rename_in_two(self, record: Record, new: Record, grace: timedelta) -> Plan[Record]:
        """Put the new record, then make the old one a marker, for tables without transactions.

        For a moment both are there. If the old one was changed, undo the first step. A process that dies in between leaves the
        new record until it expires, under a token that nobody has been given.
        """
        before = yield from self._put_first(record, new)
        _, ttl = markers.lifespan(self.clock(), timedelta(0))
        try:
            yield from self._patiently(Call("update_item", self._move(record, new, grace)))
        except ConditionFailed as failure:
            item = yield from self._met(failure, Hidden(record.token))
            if item is None and failure.retried is not False and markers.has_ended(ttl, self.clock()):
                raise UnavailableError(
                    f"record {digest(new.token)}: the marker that the first try may have written had ended before the retry, so it is "
                    "not known whether the record was renamed",
                    operation=failure.operation,
                    code=failure.code,
                ) from failure
            if not self._is_written(failure, item, new, record.version):
                # As it was then: to take the new record back can take its time.
                found: StoreError
                try:
                    found = yield from self._conflict(Hidden(record.token), item)
                except StoreError as error:
                    found = error
                yield from self._take_back(new, before)
                raise found from failure
        except (UnavailableError, ThrottledError):
            # The marker may be there: then the new record is the only one.
            raise
        except StoreError:
            yield from self._take_back(new, before)
            raise
        return new

    def _put_first(self, record: Record, new: Record) -> Plan[Hidden[Item] | None]:
        """Put *new*, and return the expired item that it took the place of, if any."""
        where: dict[str, object] = self._where(ABSENT, {})
        before: Hidden[Item] | None = None
        for again in (False, True):
            try:
                yield from self._patiently(self._call("put_item", Item=items.encode(self.table, new), **where))
            except ConditionFailed as failure:
                before = yield from self._met(failure, Hidden(new.token))
                if self._is_written(failure, before, new):
                    return None
                version = 0 if again else (yield from self._left_over(record, new, before))
                if not version:
                    break
                where = self._where(SAME, {":was": items.number(version)})
            else:
                return None
        yield from self._put_new(new)
        return before

    def _left_over(self, record: Record, new: Record, item: Hidden[Item] | None) -> Plan[int]:
        """Return the version of what an earlier renaming to the token of *new*, never finished, put there; else 0.

        That has a version in common with *record*. Raise `Conflict` if the old token leads to it: then it was finished.
        """
        if item is None or markers.is_marker(self.table, item.reveal()):
            return 0
        if not items.is_related(self.table, item.reveal(), new.recent):
            return 0
        there = yield from self._get(Hidden(record.token), consistent=True)
        if there is not None and there.reveal().get(self.table.moved) == AttributeValue(S=new.token):
            current = yield from self._record(Hidden(new.token), item, evict=False)
            renamed = current is None and self._is_renamed(there)
            raise conflict(new.token, current, taken=True, renamed=renamed)
        return items.decode(self.table, item.reveal()).version

    def _take_back(self, new: Record, before: Hidden[Item] | None) -> Plan[None]:
        """Remove *new*, unless it has been written since, and put back the expired item that it took the place of.

        Where that fails, nothing is raised: the renaming was not done, and nobody has been given the token of *new*.
        """
        where = self._where(SAME, {":was": items.number(new.version)})
        try:
            call = self._call("delete_item", Key=items.key(self.table, new.token), **where)
            if before is not None and items.decode_expiry(self.table, before.reveal()) < self.clock():
                call = self._call("put_item", Item=before.reveal(), **where)
            yield from self._patiently(call)
        except ConditionFailed:
            logger.debug("record %s was written before it could be removed", digest(new.token))
        except StoreError as error:
            logger.warning("record %s could not be removed, and stays until it expires: %s", digest(new.token), error)

    def remove(self, record: Record) -> Plan[None]:
        """As `Store.remove <dynamostore.Store.remove>`."""
        key = items.key(self.table, check_record(record).token)
        call = self._call("delete_item", Key=key, **self._where(_unchanged(record), _was(record)))
        del key
        try:
            yield from self._patiently(call)
        except ConditionFailed as failure:
            item = yield from self._met(failure, Hidden(record.token))
            # Where it was sent again, the first time has most likely removed it.
            if item is not None or not failure.retried:
                raise (yield from self._conflict(Hidden(record.token), item)) from failure

    def delete(self, token: Hidden[str]) -> Plan[None]:
        """As `Store.delete <dynamostore.Store.delete>`."""
        if not items.storable(token.reveal()):
            return
        # What a marker leads to goes first, or it could not be found again.
        chain: list[Hidden[str]] = []
        there: Hidden[str] | None = token
        while there is not None and there not in chain:
            token, there = there, None
            call = self._call("delete_item", Key=items.key(self.table, token.reveal()), **self._where(UNMOVED, {}))
            try:
                yield from self._patiently(call)
            except ConditionFailed as failure:
                chain.append(token)
                there = self._lead((yield from self._met(failure, token)))
        for token in reversed(chain):
            yield from self._patiently(self._call("delete_item", Key=items.key(self.table, token.reveal())))

    # Parts

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
            return _hidden(items.moved(self.table, item.reveal())) if item is not None and moved else None
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

    def _met(self, failure: ConditionFailed, token: Hidden[str]) -> Plan[Hidden[Item] | None]:
        """Return the item that made a condition fail: sent along with the refusal, or read again."""
        return _hidden(failure.item) or (yield from self._get(token, consistent=True))

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


def _hidden(value: T | None) -> Hidden[T] | None:
    return None if value is None else Hidden(value)


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


def _tagging(new: Record, write: Plan[R]) -> Plan[R]:
    """Run *write*. An error that leaves its outcome open bears the version of *new*."""
    try:
        return (yield from write)
    except (UnavailableError, ThrottledError) as error:
        error.version = new.version
        raise
