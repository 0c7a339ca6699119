"""The methods of `DynamoStore` as plans: all of its logic, without I/O.

Each write is conditional on the record that was read (see `DynamoStore`). A refusal returns the winning item. If a reply is
lost and the client retries, the write recognizes its own version in that item.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from dynamostore import items
from dynamostore.client import AttributeValue, GetItemReply
from dynamostore.contract import Record
from dynamostore.hidden import Hidden
from dynamostore.instants import to_ns
from dynamostore.steps import Call, Plan

from . import expressions
from .checks import check_record, conflict, new_record
from .expressions import AS_READ, LIVE, NOT_SHORTENED, REPLACE, REPLACE_SCS, TOUCH, UNMOVED
from .faults import ConditionFailed
from .parts import hidden, tagging
from .renaming import Renaming

__all__ = ["Plans"]

_PING = "ping"
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Plans(Renaming):
    """The methods of a store, for one table."""

    # Reading

    def find(self, token: Hidden[str]) -> Plan[Record | None]:
        """Implement `Store.find <dynamostore.Store.find>`."""
        if not items.storable(token.reveal()):
            return None
        # Every read runs this, so it takes as few steps as possible.
        found = self._live((yield self._reading(token, consistent=self.consistent_read)), token)
        if found is None or isinstance(found, Record):
            return found
        item = hidden(self._item(found.reveal(), token))
        return (yield from self._record(token, item, evict=self.evict_expired, reply=found))

    def _live(self, reply: GetItemReply, token: Hidden[str]) -> Record | Hidden[GetItemReply] | None:
        """Return the record in *reply* if it is live and exactly as this package writes one.

        Return None if there is no item. For any other item, return *reply*, hidden.
        """
        item = self._item(reply, token)
        if item is None:
            return None
        record = items.decode_whole(self.table, item)
        if record is not None and record.expiry_ns >= self.clock():
            return record
        return Hidden(reply)

    def ping(self) -> Plan[None]:
        """Implement `Store.ping <dynamostore.Store.ping>`."""
        # Reading one key needs only permissions that the app has anyway, and also checks the name of the key.
        yield from self._get(Hidden(_PING), consistent=False)

    # Writing

    def save(self, token: Hidden[str], data: Hidden[bytes], expiry: datetime) -> Plan[Record]:
        """Implement `Store.save <dynamostore.Store.save>`."""
        record = new_record(self.table, token.reveal(), data.reveal(), expiry)
        put = self._call("put_item", Item=items.encode(self.table, record))
        yield from tagging(record, self._patiently(put))
        return record

    def create(self, token: Hidden[str], data: Hidden[bytes], expiry: datetime) -> Plan[Record]:
        """Implement `Store.create <dynamostore.Store.create>`."""
        new = new_record(self.table, token.reveal(), data.reveal(), expiry)
        return (yield from tagging(new, self._put_new(new)))

    def replace(self, record: Record, data: Hidden[bytes], expiry: datetime) -> Plan[Record]:
        """Implement `Store.replace <dynamostore.Store.replace>`."""
        check_record(record)
        new = new_record(
            self.table, record.token, data.reveal(), expiry, beside=record.beside, recent=items.recent(record)
        )
        return (yield from tagging(new, self._replace(record, new)))

    def _replace(self, record: Record, new: Record) -> Plan[Record]:
        condition = f"{LIVE} AND {expressions.not_shortened(record, new)} AND {expressions.unchanged(record)}"
        try:
            yield from self._update(REPLACE if new.recent else REPLACE_SCS, record, new, condition)
        except ConditionFailed as failure:
            item = yield from self._met(failure, Hidden(record.token))
            if not self._is_written(failure, item, new, record.version):
                raise (yield from self._conflict(Hidden(record.token), item)) from failure
        return new

    def touch(self, record: Record, expiry: datetime) -> Plan[Record]:
        """Implement `Store.touch <dynamostore.Store.touch>`."""
        new = replace(check_record(record), expiry=expiry, expiry_ns=to_ns(expiry))
        shortened = NOT_SHORTENED
        if new.expiry_ns < record.expiry_ns:
            shortened = f"({NOT_SHORTENED} OR ({AS_READ} AND {expressions.unchanged(record)}))"
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

    def remove(self, record: Record) -> Plan[None]:
        """Implement `Store.remove <dynamostore.Store.remove>`."""
        key = items.key(self.table, check_record(record).token)
        call = self._call("delete_item", Key=key, **self._where(expressions.unchanged(record), expressions.was(record)))
        del key
        try:
            yield from self._patiently(call)
        except ConditionFailed as failure:
            item = yield from self._met(failure, Hidden(record.token))
            # If the call was retried, the first attempt has most likely removed the item.
            if item is not None or not failure.retried:
                raise (yield from self._conflict(Hidden(record.token), item)) from failure

    def delete(self, token: Hidden[str]) -> Plan[None]:
        """Implement `Store.delete <dynamostore.Store.delete>`."""
        if not items.storable(token.reveal()):
            return
        # Delete the record before the markers that lead to it. Otherwise a retry could not find it.
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

    def _update(self, update: str, record: Record, new: Record, condition: str) -> Plan[None]:
        """Return a plan that updates the item of *record* to *new*, under *condition*."""
        # These include the values of `was` and `_now`. They are built in one step, because every write runs this.
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
