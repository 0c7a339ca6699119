"""`Renaming` gives a record a new token: in one transaction or, if the table does not support them, in two steps."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from dynamostore import items, markers
from dynamostore.client import AttributeValue, Item
from dynamostore.contract import Record
from dynamostore.digests import digest
from dynamostore.errors import StoreError, ThrottledError, UnavailableError
from dynamostore.hidden import Hidden
from dynamostore.steps import Call, Plan

from . import expressions
from .checks import check_rename, conflict, new_record
from .expressions import ABSENT, LIVE, MOVE, MOVE_SCS, SAME
from .faults import ConditionFailed, TransactionRefused, Unsupported
from .parts import Parts, tagging

__all__ = ["Renaming"]

logger: logging.Logger = logging.getLogger("dynamostore")


@dataclass(frozen=True, slots=True)
class Renaming(Parts):
    """The method `rename`, for one table."""

    def rename(
        self,
        record: Record,
        token: Hidden[str],
        data: Hidden[bytes],
        expiry: datetime,
        grace: timedelta = timedelta(0),
    ) -> Plan[Record]:
        """Implement `Store.rename <dynamostore.Store.rename>`."""
        check_rename(record, token.reveal(), grace)
        new = new_record(
            self.table, token.reveal(), data.reveal(), expiry, beside=record.beside, recent=items.recent(record)
        )
        return (yield from tagging(new, self._rename(record, new, grace)))

    def _rename(self, record: Record, new: Record, grace: timedelta) -> Plan[Record]:
        if self.transactions.are_refused(self.clock()):
            return (yield from self._rename_in_two(record, new, grace))
        transaction: Call[object] = Call(
            "transact_write_items",
            # The service recognizes the token for ten minutes, so a retry is not executed twice.
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

    def _move(self, record: Record, new: Record, grace: timedelta) -> dict[str, object]:
        """Return the arguments that turn the item of *record* into a marker that leads to *new*."""
        condition, values = self._as_read(record, new)
        until_ns, until_ttl = markers.lifespan(self.clock(), grace)
        # Keep the recent versions in the marker, so that the retry of an earlier write is still recognized.
        values |= {":moved": {"S": new.token}, ":version": items.number(new.version)}
        values |= {":recent": {"B": items.recent(record)}}
        values |= {":until": items.number(until_ns), ":until_ttl": items.number(until_ttl)}
        key = items.key(self.table, record.token)
        update = MOVE if record.version else MOVE_SCS
        return self._write(Key=key, UpdateExpression=update, **self._where(condition, values, update))

    def _as_read(self, record: Record, new: Record) -> tuple[str, dict[str, AttributeValue]]:
        condition = f"{LIVE} AND {expressions.not_shortened(record, new)} AND {expressions.unchanged(record)}"
        return condition, self._now() | expressions.was(record) | {":expiry": items.number(new.expiry_ns)}

    def _rename_in_two(self, record: Record, new: Record, grace: timedelta) -> Plan[Record]:
        """Put the new record, then turn the old one into a marker, for tables without transactions.

        For a moment both records exist. If the old record was changed, undo the first step. If the process dies in between,
        the new record stays until it expires, under a token that no client has received.
        """
        before = yield from self._put_first(record, new)
        _, ttl = markers.lifespan(self.clock(), timedelta(0))
        try:
            yield from self._patiently(Call("update_item", self._move(record, new, grace)))
        except ConditionFailed as failure:
            item = yield from self._met(failure, Hidden(record.token))
            if item is None and failure.retried is not False and markers.has_ended(ttl, self.clock()):
                raise UnavailableError(
                    f"record {digest(new.token)}: the first attempt may have written a marker that ended before the "
                    "retry, so it is not known whether the record was renamed",
                    operation=failure.operation,
                    code=failure.code,
                ) from failure
            if not self._is_written(failure, item, new, record.version):
                # Find the conflict before taking the new record back, because that may take a while.
                found: StoreError
                try:
                    found = yield from self._conflict(Hidden(record.token), item)
                    if found.current is not None and found.current.version == new.version:
                        # The marker leads to the token under which the new record has just been put.
                        found = conflict(record.token, None, renamed=found.renamed)
                except StoreError as error:
                    found = error
                yield from self._take_back(new, before)
                raise found from failure
        except (UnavailableError, ThrottledError):
            # The marker may have been written. Then the new record is the only one, so do not take it back.
            raise
        except StoreError:
            yield from self._take_back(new, before)
            raise
        return new

    def _put_first(self, record: Record, new: Record) -> Plan[Hidden[Item] | None]:
        """Put *new*, and return the expired item that it replaced, or None."""
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
        """Return the version of *item* if an unfinished earlier renaming to the token of *new* put it there, else 0.

        Such an item has a version in common with *record*. Raise `Conflict` if the old token leads to the item, because that
        renaming was finished.
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
        """Remove *new*, unless it has been written since, and put back the expired item that it replaced.

        Log a failure and do not raise it: the renaming was not done, and no client has received the token of *new*.
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
