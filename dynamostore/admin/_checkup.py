"""`Checkup`: the plan of `doctor`, except for the records. None of its calls changes anything."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from dynamostore import items
from dynamostore.client import DescribedTable, DescribedTimeToLive
from dynamostore.contract import Record
from dynamostore.errors import AccessDeniedError, StoreError, TableNotFoundError, TableSchemaError, UnavailableError
from dynamostore.instants import NS_PER_S, Clock
from dynamostore.plans.create_table import has_key, is_strongly_consistent, key_in_words
from dynamostore.plans.faults import ConditionFailed, TransactionRefused, Unsupported
from dynamostore.plans.server_time import date_ns
from dynamostore.steps import Call, Plan, issue
from dynamostore.table import Table

from . import _findings
from ._description import (
    billing,
    consistency,
    describe_backups,
    describe_table,
    describe_ttl,
    recovery,
    replicas,
    witness,
)
from ._findings import Finding, Kind
from ._policies import ALLOWED, Role, roles_with
from .where import Where

__all__ = ["METHODS", "Checkup"]

R = TypeVar("R")

METHODS: Final = ("describe_continuous_backups", "batch_get_item", "batch_write_item", "scan")
"""The calls that a store can do without, so its client may lack them."""

# Error codes for a denied operation. The other codes of `AccessDeniedError` are about the credentials.
_NOT_ALLOWED = ("AccessDeniedException", "AccessDenied", "NotAuthorized")
_OFF = 5 * NS_PER_S
_WRONG = 300 * NS_PER_S
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ReplicaDescription.html: other states do not end by themselves.
_PASSING = ("CREATING", "DELETING")
# Never true, whether the item exists or not: DynamoDB checks the permission for the write, and then does not write.
_NEVER = "attribute_exists(#token) AND attribute_not_exists(#token)"


class _StopError(Exception):
    """All further calls would fail."""


@dataclass(slots=True)
class Checkup:
    """The findings so far about a *table*, for a *role*. Times come from *clock*."""

    table: Table
    clock: Clock
    where: Where
    role: Role
    findings: list[Finding] = field(default_factory=list)
    ttl_is_on: bool | None = None
    is_strong: bool = False
    """True if the table is a global table with multi-Region strong consistency."""
    readable: bool = False
    """True if all records of the table can be read."""
    _key_is_known: bool = False
    _key_is_wrong: bool = False
    _answered: bool = False
    _skew: int | None = None
    _allowed: set[str] = field(default_factory=set)
    _denied: set[str] = field(default_factory=set)

    def plan(self) -> Plan[None]:
        """Make all checks. Never raises `StoreError`: an error becomes a finding."""
        try:
            yield from self._check_table()
            yield from self._check_ttl()
            yield from self._check_backups()
            yield from self._try_operations()
        except _StopError:
            pass
        self._report_clock()

    # The table

    def _check_table(self) -> Plan[None]:
        reply = yield from self._try("DescribeTable", describe_table(self.table))
        if reply is None:
            return
        described = reply["Table"]
        status = described.get("TableStatus", "UNKNOWN")
        usable = status in ("ACTIVE", "UPDATING")
        unusable = _findings.TABLE_WAITING if status == "CREATING" else _findings.TABLE_UNUSABLE
        self._find(_findings.TABLE_OK if usable else unusable, name=repr(self.table.name), status=status)
        self._check_key(described)
        self._check_billing(described)
        self._check_replicas(described)
        protected = described.get("DeletionProtectionEnabled", False)
        self._find(_findings.PROTECTION_ON if protected else _findings.PROTECTION_OFF)
        if not usable:
            raise _StopError

    def _check_key(self, described: DescribedTable) -> None:
        self._key_is_known = True
        key = key_in_words(described)
        if has_key(self.table, described):
            self._find(_findings.KEY_OK, key=key)
        else:
            self._find(_findings.KEY_OTHER, key=key, wanted=self._wanted_key)
            self._key_is_wrong = True

    def _check_billing(self, described: DescribedTable) -> None:
        if billing(described) == "PAY_PER_REQUEST":
            self._find(_findings.BILLING_ON_DEMAND)
            return
        capacity = described.get("ProvisionedThroughput", {})
        reads, writes = capacity.get("ReadCapacityUnits", 0), capacity.get("WriteCapacityUnits", 0)
        self._find(_findings.BILLING_PROVISIONED, reads=reads, writes=writes)

    def _check_replicas(self, described: DescribedTable) -> None:
        self.is_strong = is_strongly_consistent(described)
        there, observer = replicas(described), witness(described)
        if not there:
            return
        where = ", ".join(f"{replica.region}: {replica.status}" for replica in there)
        if observer is not None:
            where += f"; witness in {observer.region}: {observer.status}"
        strong = consistency(described) == "STRONG"
        self._find(_findings.REPLICAS_STRONG if strong else _findings.REPLICAS_EVENTUAL, where=where)
        for what, replica in (*(("replica", each) for each in there), ("witness", observer)):
            if replica is None or replica.status in ("ACTIVE", "UPDATING"):
                continue
            kind = _findings.REPLICA_BUSY if replica.status in _PASSING else _findings.REPLICA_CUT_OFF
            self._find(kind, what=what, region=replica.region, status=replica.status)

    def _check_ttl(self) -> Plan[None]:
        reply = yield from self._try("DescribeTimeToLive", describe_ttl(self.table), none=_findings.TTL_NONE)
        if reply is not None:
            self._report_ttl(reply["TimeToLiveDescription"])

    def _report_ttl(self, there: DescribedTimeToLive) -> None:
        status = there.get("TimeToLiveStatus", "DISABLED")
        attribute = there.get("AttributeName", "")
        self.ttl_is_on = status in ("ENABLED", "ENABLING") and attribute == self.table.ttl
        if self.ttl_is_on:
            self._find(_findings.TTL_OK, attribute=attribute)
        elif status in ("ENABLED", "ENABLING"):
            specification = shlex.quote(f"Enabled=false,AttributeName={attribute}")
            self._find(_findings.TTL_OTHER, attribute=attribute, wanted=self.table.ttl, specification=specification)
        elif self.is_strong:
            self._find(_findings.TTL_STRONG)
        else:
            specification = shlex.quote(f"Enabled=true,AttributeName={self.table.ttl}")
            self._find(_findings.TTL_OFF, status=status.lower(), specification=specification)

    def _check_backups(self) -> Plan[None]:
        operation = "DescribeContinuousBackups"
        if "describe_continuous_backups" not in self.where.can:
            self._find(_findings.BACKUPS_UNKNOWN, reason=f"the client does not support {operation}")
            return
        none = _findings.BACKUPS_UNKNOWN
        reply = yield from self._try(operation, describe_backups(self.table), none=none)
        if reply is not None:
            self._find(_findings.BACKUPS_ON if recovery(reply) else _findings.BACKUPS_OFF)

    # The items, with a key that does not exist

    def _try_operations(self) -> Plan[None]:
        if self._key_is_wrong:
            return
        token = f"dynamostore-doctor-{secrets.token_urlsafe(16)}"
        key = items.key(self.table, token)
        item = items.encode(self.table, Record.at(token, b"", 0, items.new_version()))
        never = {"ConditionExpression": _NEVER, "ExpressionAttributeNames": {"#token": self.table.token}}
        update = {
            **never,
            "UpdateExpression": "SET #ttl = :ttl",
            "ExpressionAttributeNames": {"#token": self.table.token, "#ttl": self.table.ttl},
            "ExpressionAttributeValues": {":ttl": items.number(1)},
        }
        yield from self._try("GetItem", self._call("get_item", Key=key))
        if not self._key_is_known and "GetItem" in self._allowed:
            self._find(_findings.KEY_OK, key=self._wanted_key)
        yield from self._try("PutItem", self._call("put_item", Item=item, **never))
        yield from self._try("UpdateItem", self._call("update_item", Key=key, **update))
        yield from self._try("DeleteItem", self._call("delete_item", Key=key, ReturnValues="NONE", **never))
        yield from self._try_transaction(never)
        name = self.table.name
        yield from self._try("BatchGetItem", Call("batch_get_item", {"RequestItems": {name: {"Keys": [key]}}}))
        # BatchWriteItem has no conditions, but the key is random (128 bits), so no item has it.
        delete = {"RequestItems": {name: [{"DeleteRequest": {"Key": key}}]}}
        yield from self._try("BatchWriteItem", Call("batch_write_item", delete))
        narrow = {
            "Select": "SPECIFIC_ATTRIBUTES",
            "ProjectionExpression": "#token",
            "ExpressionAttributeNames": {"#token": self.table.token},
        }
        # A sweeper may only scan with this projection.
        yield from self._try("Scan", self._call("scan", Limit=1, **(narrow if self.role == "sweeper" else {})))
        self._report_if_unreadable()

    def _try_transaction(self, never: Mapping[str, object]) -> Plan[None]:
        if {"PutItem", "DeleteItem"} & self._denied:
            # A transaction with these writes is denied, too.
            return
        token = f"dynamostore-doctor-{secrets.token_urlsafe(16)}"
        new = items.encode(self.table, Record.at(token, b"", 0, items.new_version()))
        put = {"TableName": self.table.name, "Item": new, **never}
        delete = {"TableName": self.table.name, "Key": items.key(self.table, f"{token}-old"), **never}
        transaction = {"TransactItems": [{"Put": put}, {"Delete": delete}]}
        outcome = yield from self._ask(Call[object]("transact_write_items", transaction))
        if isinstance(outcome, Unsupported):
            self._find(_findings.TRANSACTIONS_STRONG if self.is_strong else _findings.TRANSACTIONS_NONE)
        elif isinstance(outcome, AccessDeniedError):
            self._find(_findings.TRANSACTIONS_DENIED)
        elif isinstance(outcome, StoreError) and not isinstance(outcome, TransactionRefused):
            self._find(_findings.TRANSACTIONS_UNTRIED, reason=outcome)
        else:
            self._find(_findings.TRANSACTIONS_OK)

    def _report_if_unreadable(self) -> None:
        missing = [method for method in METHODS[1:] if method not in self.where.can]
        self.readable = "Scan" in self._allowed and not missing and self.role != "sweeper"
        if not self.readable:
            reason = f"the client does not support {', '.join(missing)}" if missing else "Scan failed"
            reason = "the role sweeper may not read data" if self.role == "sweeper" else reason
            self._find(_findings.RECORDS_SKIPPED, reason=reason)

    # The clock

    def _report_clock(self) -> None:
        skew = self._skew
        if skew is None:
            if self._answered:
                self._find(_findings.CLOCK_NONE)
        elif abs(skew) <= _OFF:
            self._find(_findings.CLOCK_OK)
        else:
            kind = _findings.CLOCK_OFF if abs(skew) <= _WRONG else _findings.CLOCK_WRONG
            way, when = ("ahead of", "sooner") if skew > 0 else ("behind", "later")
            self._find(kind, seconds=f"{abs(skew) // NS_PER_S:,}", way=way, when=when)

    def _check_clock(self, before: int, reply: object) -> None:
        """Compare this clock with the date of *reply*, which answers a call begun at *before*. Keep the smallest possible difference."""
        self._answered |= reply is not None
        date = date_ns(reply)
        if date is not None and self._skew is None:
            # The date has whole seconds: the server cuts off the fraction.
            self._skew = max(before - date - NS_PER_S, 0) or min(self.clock() - date, 0)

    # Parts

    def _try(self, operation: str, call: Call[R], none: Kind | None = None) -> Plan[R | None]:
        """Make a call, add a finding that says whether it is allowed, and return its reply, if any.

        If the server does not support the operation, the finding is *none*, if given.
        """
        about = {"operation": operation, "role": self.role, "roles": ", ".join(roles_with(operation))}
        if call.operation in METHODS and call.operation not in self.where.can:
            self._find(_findings.NOT_THERE, whose="the client", **about)
            return None
        outcome = yield from self._ask(call)
        if isinstance(outcome, Unsupported):
            self._find(
                none or _findings.NOT_THERE, whose="this server", reason="this server does not support it", **about
            )
        elif isinstance(outcome, AccessDeniedError):
            self._denied.add(operation)
            needed = operation in ALLOWED[self.role]
            self._find(_findings.DENIED if needed else _findings.DENIED_TO_OTHERS, **about)
        elif isinstance(outcome, TableSchemaError):
            self._find(_findings.KEY_OTHER, key="different", wanted=self._wanted_key)
            raise _StopError from outcome
        elif isinstance(outcome, StoreError) and not isinstance(outcome, ConditionFailed):
            self._find(_findings.UNTRIED, reason=outcome, **about)
        else:
            self._find(_findings.ALLOWED, **about)
            self._allowed.add(operation)
            return None if isinstance(outcome, StoreError) else outcome
        return None

    def _ask(self, call: Call[R]) -> Plan[R | StoreError]:
        """Return the reply to a call, or the error it raised. Raise `_StopError` if all further calls would fail, too."""
        before = self.clock()
        try:
            reply = yield from issue(call)
        except StoreError as error:
            self._check_clock(before, getattr(error.__cause__, "response", None))
            over = None
            if isinstance(error, UnavailableError) and not error.code:
                over = _findings.UNREACHABLE
            elif isinstance(error, AccessDeniedError) and error.code not in _NOT_ALLOWED:
                over = _findings.REFUSED
            elif isinstance(error, TableNotFoundError):
                over = _findings.TABLE_MISSING
            if over is not None:
                self._find(over, reason=error)
                raise _StopError from error
            return error
        self._check_clock(before, reply)
        return reply

    @property
    def _wanted_key(self) -> str:
        return f"{self.table.token} (HASH, S)"

    def _call(self, operation: str, **arguments: object) -> Call[Any]:
        return Call(operation, {"TableName": self.table.name, **arguments})

    def _find(self, kind: Kind, **values: object) -> None:
        self.findings.append(kind(table=shlex.quote(self.table.name), at=self.where.options, **values))
