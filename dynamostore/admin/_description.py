"""`Description`, and the plan that asks for it."""

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
    """What a table is like.

    *status* is "ACTIVE" or DynamoDB's word for what else; *billing* "PAY_PER_REQUEST" or "PROVISIONED"; *items* and *bytes* are
    as DynamoDB counted them in the last six hours. *key* reads like "token (HASH, S)". *ttl* is the attribute that TTL goes by,
    None if it is off or not known: *ttl_status* is "ENABLED" or DynamoDB's word for what else, or "UNKNOWN".
    *point_in_time_recovery* is None if it is not known. *region* and *endpoint* are where the client sends its calls.

    Of a global table: *replicas* are those in other Regions; *multi_region_consistency* is "EVENTUAL"
    or "STRONG", and None for a table in one Region; *witness* is that of a table with strong consistency, if it has one.
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
    """The call for a table's description."""
    return Call("describe_table", {"TableName": table.name})


def describe_ttl(table: Table) -> Call[DescribeTimeToLiveReply]:
    """The call for its TTL."""
    return Call("describe_time_to_live", {"TableName": table.name})


def describe_backups(table: Table) -> Call[Mapping[str, Any]]:
    """The call for its backups."""
    return Call("describe_continuous_backups", {"TableName": table.name})


def describing(table: Table, where: Where) -> Plan[Description]:
    """The description of a table; what may not be asked for, or is not there to be asked for, is not known."""
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
    """The replicas in other Regions."""
    return tuple(
        Replica(there.get("RegionName", "?"), there.get("ReplicaStatus", "UNKNOWN"))
        for there in described.get("Replicas") or ()
    )


def witness(described: DescribedTable) -> Replica | None:
    """The witness; there is one at most."""
    for there in described.get("GlobalTableWitnesses") or ():
        return Replica(there.get("RegionName", "?"), there.get("WitnessStatus", "UNKNOWN"))
    return None


def consistency(described: DescribedTable) -> str | None:
    """The consistency mode of a global table; "EVENTUAL" if DynamoDB does not report one, as for older tables."""
    if not replicas(described):
        return None
    return described.get("MultiRegionConsistency", "EVENTUAL")


def billing(described: DescribedTable) -> str:
    """How it is paid for; of a table that was never on demand DynamoDB does not say."""
    return described.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")


def recovery(reply: Mapping[str, Any]) -> bool:
    """Whether point-in-time recovery is on."""
    backups = reply.get("ContinuousBackupsDescription") or {}
    status = (backups.get("PointInTimeRecoveryDescription") or {}).get("PointInTimeRecoveryStatus")
    return bool(status == "ENABLED")
