"""Making the table, as a plan: key, TTL, and waiting until it can be used."""

from __future__ import annotations

import logging

from dynamostore.client import DescribedTable, DescribeTableReply, DescribeTimeToLiveReply
from dynamostore.errors import StoreError, TableNotFoundError, TableSchemaError, UnavailableError
from dynamostore.steps import Call, Plan, issue, pause
from dynamostore.table import Table

from .faults import TableBusy, Unsupported

__all__ = ["create_table", "has_key", "is_strongly_consistent", "key_in_words"]

logger = logging.getLogger("dynamostore")

_POLL = 0.5


def create_table(table: Table, *, timeout: float) -> Plan[None]:
    """Make *table* (on demand, with TTL) unless it is there, and wait until it can be used.

    Safe to run by many processes at once and again at every start. A table that has another key, or whose
    TTL is on another attribute, is left as it is: `TableSchemaError`. *timeout* is in seconds of waiting,
    then `UnavailableError`.
    """
    waited = 0.0
    description = yield from _describe(table)
    if description is None:
        logger.info("creating table %s", table.name)
        try:
            yield from issue(
                _call(
                    table,
                    "create_table",
                    AttributeDefinitions=[{"AttributeName": table.token, "AttributeType": "S"}],
                    KeySchema=[{"AttributeName": table.token, "KeyType": "HASH"}],
                    BillingMode="PAY_PER_REQUEST",
                )
            )
        except TableBusy:
            logger.info("table %s is being created by somebody else", table.name)
    while True:
        if description is not None:
            _check_key(table, description)
            # A table that is being updated serves requests all the while.
            if description.get("TableStatus") in ("ACTIVE", "UPDATING"):
                break
        if waited >= timeout:
            status = description.get("TableStatus") if description else "not there"
            raise UnavailableError(
                f"table {table.name!r} is still {status} after {timeout:g} s; call create_table() again to go on waiting"
            )
        # A local server is ready at once: the first look comes early.
        seconds = _POLL if waited else _POLL / 10
        yield from pause(seconds)
        waited += seconds
        description = yield from _describe(table)
    if is_strongly_consistent(description):
        logger.warning(
            "table %s is a global table with multi-Region strong consistency, which has no TTL: expired records stay until "
            "they are purged: dynamostore purge, or Batch(store).purge_expired()",
            table.name,
        )
        return
    yield from _enable_ttl(table)


def _describe(table: Table) -> Plan[DescribedTable | None]:
    call: Call[DescribeTableReply] = Call("describe_table", {"TableName": table.name})
    try:
        reply = yield from issue(call)
    except TableNotFoundError:
        return None
    return reply["Table"]


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


def _enable_ttl(table: Table, *, again: bool = True) -> Plan[None]:
    call: Call[DescribeTimeToLiveReply] = Call("describe_time_to_live", {"TableName": table.name})
    try:
        reply = yield from issue(call)
        there = reply["TimeToLiveDescription"]
        if there.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
            if (name := there.get("AttributeName")) != table.ttl:
                raise TableSchemaError(
                    f"table {table.name!r} has its TTL on attribute {name!r}, not {table.ttl!r}; it was left as it is: "
                    "turn that off first (it takes effect within an hour), or name it in Table(ttl=...)"
                )
            return
        specification = {"Enabled": True, "AttributeName": table.ttl}
        yield from issue(_call(table, "update_time_to_live", TimeToLiveSpecification=specification))
    except StoreError as error:
        # Of two that start at once both see it off, and the second to turn it on is refused.
        if error.code == "ValidationException" and again:
            yield from _enable_ttl(table, again=False)
            return
        if not isinstance(error, Unsupported):
            raise
        logger.warning("this server has no TTL: expired records of table %s stay until they are read", table.name)


def _call(table: Table, operation: str, **arguments: object) -> Call[object]:
    return Call(operation, {"TableName": table.name, **arguments})
