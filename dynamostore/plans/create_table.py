"""Making the table, as a plan: key, TTL, and waiting until it can be used."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from random import uniform
from typing import Final, TypeVar

from dynamostore.client import DescribedTable, DescribeTableReply, DescribeTimeToLiveReply
from dynamostore.errors import (
    AccessDeniedError,
    StoreError,
    TableNotFoundError,
    TableSchemaError,
    ThrottledError,
    UnavailableError,
)
from dynamostore.steps import Call, Plan, issue, pause
from dynamostore.table import Table

from .faults import TableBusy, Unsupported

__all__ = ["create_table", "has_key", "is_strongly_consistent", "key_in_words"]

R = TypeVar("R")

logger = logging.getLogger("dynamostore")

_POLL: Final = 0.5
_LONGEST_POLL: Final = 5.0

# A table that is being updated serves requests all the while.
_USABLE: Final = ("ACTIVE", "UPDATING")
# What waiting does not change.
_UNUSABLE: Final[Mapping[str, str]] = {
    "INACCESSIBLE_ENCRYPTION_CREDENTIALS": "DynamoDB cannot use its KMS key: enable the key, and DynamoDB's grant on it, "
    "within seven days; after that, DynamoDB archives the table",
    "ARCHIVING": "it is being archived, as its KMS key could not be used for seven days: restore it from its backup",
    "ARCHIVED": "it was archived, as its KMS key could not be used for seven days: restore it from its backup",
}
# What DynamoDB says if somebody else was faster, and DescribeTimeToLive may not show yet.
_ENABLED_ALREADY: Final = "already enabled"
_ENABLED_ELSEWHERE: Final = "different AttributeName"


def create_table(table: Table, *, timeout: float, monotonic: Callable[[], float] = time.monotonic) -> Plan[None]:
    """Make *table* (on demand, with TTL) unless it is there, and wait until it can be used.

    Safe to run by many processes at once and again at every start. A table that has another key, or whose
    TTL is on another attribute, is left as it is: `TableSchemaError`. *timeout* is in seconds of waiting,
    then `UnavailableError`. A table that can be used, but whose TTL cannot be turned on for now, is warned of.
    """
    wait = _Wait(timeout, monotonic)
    description = yield from _until_usable(table, wait)
    if is_strongly_consistent(description):
        logger.warning(
            "table %s is a global table with multi-Region strong consistency, which has no TTL: expired records stay until "
            "you purge them with dynamostore purge or Batch(store).purge_expired()",
            table.name,
        )
        return
    yield from _enable_ttl(table, wait)


class _Wait:
    """How long may still be waited. Pauses count as long as they should take, so that a test need not take them."""

    def __init__(self, timeout: float, monotonic: Callable[[], float]) -> None:
        self.timeout = timeout
        self._monotonic = monotonic
        self._began = monotonic()
        self._paused = 0.0
        self._times = 0

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    @property
    def _left(self) -> float:
        return self.timeout - max(self._paused, self._monotonic() - self._began)

    def pause(self, *, growing: bool = False) -> Plan[None]:
        """Wait a little; *growing*: longer each time, by chance, as many may be waiting for the same."""
        # A local server is ready at once: the first look comes early.
        seconds = _POLL if self._times else _POLL / 10
        if growing:
            seconds = uniform(_POLL, min(_LONGEST_POLL, _POLL * 2 ** min(self._times, 8)))
        seconds = min(seconds, max(self._left, 0.001))
        self._times += 1
        self._paused += seconds
        yield from pause(seconds)


def _until_usable(table: Table, wait: _Wait) -> Plan[DescribedTable]:
    """Create the table whenever it is not there, wait until it serves requests, and return its description."""
    created = False
    refused: TableBusy | None = None
    while True:
        description = yield from _describe(table, wait)
        status = "not there" if description is None else description.get("TableStatus", "of unknown status")
        if description is not None and status != "DELETING":
            _check_key(table, description)
            if status in _USABLE:
                return description
            if status in _UNUSABLE:
                message = f"table {table.name!r} cannot be used: {_UNUSABLE[status]} ({status})"
                raise AccessDeniedError(message, operation="DescribeTable", code=status)
        if description is not None:
            created = False
        if wait.is_over:
            why = f" ({refused})" if refused is not None else ""
            raise UnavailableError(
                f"table {table.name!r} is still {status} after {wait.timeout:g} s{why}; "
                "call create_table() again to wait longer"
            ) from refused
        if description is None and not created:
            # Reads are eventually consistent: what was created may not be seen yet.
            try:
                yield from _create(table, wait)
            except TableBusy as error:
                # Another process has just created it, or it is being deleted and is not shown any more.
                refused = error
                logger.info("table %s is being created or deleted by another process", table.name)
            else:
                created, refused = True, None
        yield from wait.pause()


def _create(table: Table, wait: _Wait) -> Plan[None]:
    logger.info("creating table %s", table.name)
    call = _call(
        table,
        "create_table",
        AttributeDefinitions=[{"AttributeName": table.token, "AttributeType": "S"}],
        KeySchema=[{"AttributeName": table.token, "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield from _patiently(call, wait)


def _describe(table: Table, wait: _Wait) -> Plan[DescribedTable | None]:
    call: Call[DescribeTableReply] = Call("describe_table", {"TableName": table.name})
    try:
        reply = yield from _patiently(call, wait)
    except TableNotFoundError:
        return None
    return reply["Table"]


def _patiently(call: Call[R], wait: _Wait) -> Plan[R]:
    """Make a call, again if it was throttled: all processes of an app may start at once."""
    while True:
        try:
            return (yield from issue(call))
        except ThrottledError:
            if wait.is_over:
                raise
        yield from wait.pause(growing=True)


def _check_key(table: Table, description: DescribedTable) -> None:
    if not has_key(table, description):
        raise TableSchemaError(
            f"table {table.name!r} has the key {key_in_words(description)}, not {table.token} (HASH, S); "
            "it was left as it is: name another table, or the attribute in Table(token=...)"
        )


def has_key(table: Table, description: DescribedTable) -> bool:
    """Whether a table's key is the one that *table* says."""
    types = {a["AttributeName"]: a["AttributeType"] for a in description.get("AttributeDefinitions", ())}
    key = [(k["AttributeName"], k["KeyType"]) for k in description.get("KeySchema", ())]
    return key == [(table.token, "HASH")] and types.get(table.token) == "S"


def is_strongly_consistent(description: DescribedTable) -> bool:
    """Return True for a global table with multi-Region strong consistency (MRSC): it has neither TTL nor transactions."""
    return description.get("MultiRegionConsistency") == "STRONG"


def key_in_words(description: DescribedTable) -> str:
    """A table's key.

    >>> key_in_words({"KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]})
    'id (HASH, ?)'
    """
    types = {a["AttributeName"]: a["AttributeType"] for a in description.get("AttributeDefinitions", ())}
    key = [(k["AttributeName"], k["KeyType"]) for k in description.get("KeySchema", ())]
    return ", ".join(f"{name} ({kind}, {types.get(name, '?')})" for name, kind in key)


def _enable_ttl(table: Table, wait: _Wait) -> Plan[None]:
    """Turn TTL on unless it is. Whatever keeps it off, the table can be used: that is a warning."""
    while True:
        try:
            yield from _turn_ttl_on(table, wait)
        except Unsupported:
            logger.warning("this server has no TTL: expired records of table %s stay until they are read", table.name)
        except (TableBusy, TableNotFoundError) as error:
            # It is being updated, or not known everywhere yet.
            if not wait.is_over:
                yield from wait.pause()
                continue
            _warn_of_ttl(table, error)
        except TableSchemaError:
            raise
        except StoreError as error:
            if error.code != "ValidationException":
                raise
            _warn_of_ttl(table, error)
        return


def _turn_ttl_on(table: Table, wait: _Wait) -> Plan[None]:
    if (yield from _has_ttl(table, wait)):
        return
    specification = {"Enabled": True, "AttributeName": table.ttl}
    try:
        yield from _patiently(_call(table, "update_time_to_live", TimeToLiveSpecification=specification), wait)
    except StoreError as error:
        if error.code != "ValidationException":
            raise
        # Of two that start at once both see it off, and the second to turn it on is refused.
        if (yield from _has_ttl(table, wait)) or _ENABLED_ALREADY in str(error):
            return
        if _ENABLED_ELSEWHERE in str(error):
            raise TableSchemaError(str(error), operation=error.operation, code=error.code) from error
        raise


def _has_ttl(table: Table, wait: _Wait) -> Plan[bool]:
    """Return True if TTL is on; `TableSchemaError` if it is on by another attribute."""
    call: Call[DescribeTimeToLiveReply] = Call("describe_time_to_live", {"TableName": table.name})
    reply = yield from _patiently(call, wait)
    there = reply["TimeToLiveDescription"]
    if there.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
        return False
    if (name := there.get("AttributeName")) != table.ttl:
        raise TableSchemaError(
            f"table {table.name!r} has its TTL on attribute {name!r}, not {table.ttl!r}; it was left as it is: "
            "turn that off first (it takes effect within an hour), or name it in Table(ttl=...)"
        )
    return True


def _warn_of_ttl(table: Table, error: StoreError) -> None:
    logger.warning(
        "TTL of table %s was not turned on: expired records stay until they are read or purged. A change of TTL takes up to an "
        "hour; call create_table() again later (%s)",
        table.name,
        error,
    )


def _call(table: Table, operation: str, **arguments: object) -> Call[object]:
    return Call(operation, {"TableName": table.name, **arguments})
