"""`Description`, and the plan that gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dynamostore.client import DescribedTable, DescribeTableReply, DescribeTimeToLiveReply
from dynamostore.errors import StoreError, TableNotFoundError, ThrottledError, UnavailableError
from dynamostore.plans.create_table import key_in_words
from dynamostore.steps import Call, Plan, issue
from dynamostore.table import Table

from .where import Where

__all__ = [
    "Description",
    "Replica",
    "billing",
    "consistency",
    "describe_backups",
    "describe_table",
    "describe_ttl",
    "describing",
    "recovery",
    "replicas",
    "witness",
]

_RAISED = (TableNotFoundError, ThrottledError, UnavailableError)


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica, or the witness, of a global table in another *region*; *status* is DynamoDB's, such as "ACTIVE"."""

    region: str
    status: str


@dataclass(frozen=True, slots=True)
class Description:
    """The settings and the state of a table.

    *status* is "ACTIVE" or another of DynamoDB's table states. *billing* is "PAY_PER_REQUEST" or "PROVISIONED". *items* and
    *bytes* are DynamoDB's own counts, which can be six hours old. *key* has the form "token (HASH, S)". *ttl* is the attribute
    that TTL uses, or None if TTL is off or its state is unknown. *ttl_status* is "ENABLED", another of DynamoDB's states, or
    "UNKNOWN". *point_in_time_recovery*: None if unknown. *region* and *endpoint* say where the client sends its calls.

    For a global table: *replicas* are the replicas in other Regions. *multi_region_consistency* is "EVENTUAL" or "STRONG", and
    None for a table in one Region. *witness* is the witness of a table with strong consistency, if it has one.
    """

    name: str
    arn: str
    status: str
    billing: str
    items: int
    bytes: int
    key: str
    ttl: str | None
    ttl_status: str
    point_in_time_recovery: bool | None
    deletion_protection: bool
    region: str | None
    endpoint: str | None
    replicas: tuple[Replica, ...] = ()
    multi_region_consistency: str | None = None
    witness: Replica | None = None


def describe_table(table: Table) -> Call[DescribeTableReply]:
    """Return the call for a table's description."""
    return Call("describe_table", {"TableName": table.name})


def describe_ttl(table: Table) -> Call[DescribeTimeToLiveReply]:
    """Return the call for a table's TTL."""
    return Call("describe_time_to_live", {"TableName": table.name})


def describe_backups(table: Table) -> Call[Mapping[str, Any]]:
    """Return the call for a table's backups."""
    return Call("describe_continuous_backups", {"TableName": table.name})


def describing(table: Table, where: Where) -> Plan[Description]:
    """Return the description of a table. The TTL and the backups are unknown if their calls are denied or not supported."""
    described = (yield from issue(describe_table(table)))["Table"]
    attribute, status = None, "UNKNOWN"
    try:
        there = (yield from issue(describe_ttl(table)))["TimeToLiveDescription"]
        status = there.get("TimeToLiveStatus", "DISABLED")
        if status in ("ENABLED", "ENABLING"):
            attribute = there.get("AttributeName")
    except StoreError as error:
        if isinstance(error, _RAISED):
            raise
    recovers = None
    if "describe_continuous_backups" in where.can:
        try:
            recovers = recovery((yield from issue(describe_backups(table))))
        except StoreError as error:
            if isinstance(error, _RAISED):
                raise
    return Description(
        name=table.name,
        arn=described.get("TableArn", ""),
        status=described.get("TableStatus", "UNKNOWN"),
        billing=billing(described),
        items=described.get("ItemCount", 0),
        bytes=described.get("TableSizeBytes", 0),
        key=key_in_words(described),
        ttl=attribute,
        ttl_status=status,
        point_in_time_recovery=recovers,
        deletion_protection=described.get("DeletionProtectionEnabled", False),
        region=where.region,
        endpoint=where.endpoint,
        replicas=replicas(described),
        multi_region_consistency=consistency(described),
        witness=witness(described),
    )


def replicas(described: DescribedTable) -> tuple[Replica, ...]:
    """Return the replicas in other Regions."""
    return tuple(
        Replica(there.get("RegionName", "?"), there.get("ReplicaStatus", "UNKNOWN"))
        for there in described.get("Replicas") or ()
    )


def witness(described: DescribedTable) -> Replica | None:
    """Return the witness, or None. A table has at most one."""
    for there in described.get("GlobalTableWitnesses") or ():
        return Replica(there.get("RegionName", "?"), there.get("WitnessStatus", "UNKNOWN"))
    return None


def consistency(described: DescribedTable) -> str | None:
    """Return the consistency mode of a global table, or None. It is "EVENTUAL" if DynamoDB does not report it, as for older tables."""
    if not replicas(described):
        return None
    return described.get("MultiRegionConsistency", "EVENTUAL")


def billing(described: DescribedTable) -> str:
    """Return the billing mode. DynamoDB does not report it for a table that was never on demand."""
    return described.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")


def recovery(reply: Mapping[str, Any]) -> bool:
    """Return True if point-in-time recovery is on."""
    backups = reply.get("ContinuousBackupsDescription") or {}
    status = (backups.get("PointInTimeRecoveryDescription") or {}).get("PointInTimeRecoveryStatus")
    return bool(status == "ENABLED")
