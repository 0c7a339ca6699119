"""Global tables that answer as AWS documents, with the source of each answer; their Regions share the simulation's model.

`StrongTable` has multi-Region strong consistency (MRSC), `EventualTable` multi-Region eventual consistency (MREC). Each has
`Replica` objects: a replica is a client in this process, and an origin of a `FaultyDynamoDB`, for clients on real connections.

The sources, as read in November 2026:

- HOW: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_HowItWorks.html
- FACTS: https://docs.aws.amazon.com/prescriptive-guidance/latest/dynamodb-global-tables/overview.html
- API: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html (and botocore's model of it)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from dynamostore import DynamoStore, Table
from dynamostore.instants import Clock

from .faulty import Reply, Request, reply
from .simulation.model import Server, ServerError

__all__ = ["NO_TRANSACTIONS", "NO_TTL", "EventualTable", "GlobalTable", "Refusal", "Replica", "StrongTable"]

Refusal: TypeAlias = tuple[str, str]
"""The code and the message of a refusal."""

# HOW: "Global tables configured for multi-Region strong consistency (MRSC) do not support transaction operations, and will
# return an error if those operations are invoked on an MRSC replica." Which error is not documented: of those that
# API_TransactWriteItems lists none fits, so it is one that all operations have in common. The wording is made up.
NO_TRANSACTIONS: Final[Refusal] = (
    "ValidationException",
    "Not supported on a replica of a strongly consistent global table",
)

# HOW: "Global tables configured for multi-Region strong consistency (MRSC) do not support configuring Time To Live (TTL)
# deletion." Which error is not documented. The wording is made up.
NO_TTL: Final[Refusal] = ("ValidationException", "TTL is not supported for a strongly consistent global table")

# API: "One or more items in the request are being modified by a request in another Region"; HOW: such a write "can be retried
# and will succeed if the item is no longer being modified in another Region".
BUSY_ELSEWHERE: Final[Refusal] = (
    "ReplicatedWriteConflictException",
    "One or more items in this request are being modified by a request in another Region.",
)


class GlobalTable:
    """What both kinds have in common: *regions*, each with a replica, and perhaps a *witness*."""

    consistency = ""

    def __init__(self, clock: Clock, regions: Sequence[str], *, witness: str | None = None) -> None:
        self.clock = clock
        self.statuses = dict.fromkeys(regions, "ACTIVE")
        self.witness = witness
        self.ttl = {"TimeToLiveStatus": "DISABLED"}
        self.replicas = {region: Replica(self, region) for region in regions}

    def __getitem__(self, region: str) -> Replica:
        return self.replicas[region]

    def do(self, region: str, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Do what all tables do alike; *operation* is a client's method."""
        match operation:
            case "describe_table":
                return {"Table": self.describe(region)}
            case "describe_time_to_live":
                return {"TimeToLiveDescription": self.ttl}
            case "update_time_to_live":
                given = arguments["TimeToLiveSpecification"]
                # HOW: "TTL settings are automatically synchronized for all replicas in a global table."
                self.ttl = {"TimeToLiveStatus": "ENABLED", "AttributeName": given["AttributeName"]}
                return {}
            case "describe_continuous_backups":
                return {"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED"}}
            case "scan":
                items = list(self.server(region).items.values())
                return {"Items": items, "Count": len(items), "ScannedCount": len(items)}
            case "batch_get_item":
                return {"Responses": {}, "UnprocessedKeys": {}}
            case "batch_write_item":
                return {"UnprocessedItems": {}}
        return self.server(region).call(operation, arguments)

    def describe(self, region: str) -> dict[str, Any]:
        """DescribeTable's answer, from one Region, whose own replica is not among the ``Replicas``."""
        server = self.server(region)
        described: dict[str, Any] = {
            "TableName": server.table,
            "TableStatus": self.statuses[region],
            "TableArn": f"arn:aws:dynamodb:{region}:123456789012:table/{server.table}",
            "KeySchema": [{"AttributeName": server.key_name, "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": server.key_name, "AttributeType": "S"}],
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "ItemCount": len(server.items),
            "GlobalTableVersion": "2019.11.21",
            "MultiRegionConsistency": self.consistency,
            "Replicas": [
                {"RegionName": other, "ReplicaStatus": status}
                for other, status in self.statuses.items()
                if other != region
            ],
        }
        # HOW: "You can determine whether and in which Region a MRSC global table has a witness configured from the output of
        # the DescribeTable API."
        if self.witness is not None:
            described["GlobalTableWitnesses"] = [{"RegionName": self.witness, "WitnessStatus": "ACTIVE"}]
        return described

    def server(self, region: str) -> Server:
        """The items that *region* reads and writes."""
        raise NotImplementedError


class StrongTable(GlobalTable):
    """MRSC: one table for all Regions, without transactions and TTL.

    HOW: "Strongly consistent read operations on any MRSC replica always return the latest version of an item. Conditional
    writes always evaluate the condition expression against the latest version of an item." So all share one `Server`.
    *no_transactions* is the refusal of a transaction; *busy* counts the writes to come that another Region is in the way of.
    """

    consistency = "STRONG"

    def __init__(
        self, clock: Clock, regions: Sequence[str] = ("us-east-1", "us-east-2"), *, witness: str | None = "us-west-2"
    ) -> None:
        super().__init__(clock, regions, witness=witness)
        self.no_transactions = NO_TRANSACTIONS
        self.busy = 0
        self._server = Server(clock)

    def server(self, region: str) -> Server:
        return self._server

    def do(self, region: str, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        match operation:
            case "transact_write_items":
                raise ServerError(*self.no_transactions)
            case "update_time_to_live":
                raise ServerError(*NO_TTL)
            case "put_item" | "update_item" | "delete_item" if self.busy:
                self.busy -= 1
                raise ServerError(*BUSY_ELSEWHERE)
        return super().do(region, operation, arguments)


@dataclass(frozen=True)
class Change:
    """A write that is on its way to the other Regions: the item as it became, or None, and when."""

    region: str
    key: str
    item: Mapping[str, Any] | None
    written: int


class EventualTable(GlobalTable):
    """MREC: a table for each Region; what is written in one arrives in the others when `replicate` is called.

    HOW: "Conditional writes evaluate the condition expression against the version of the item in the Region", and so do
    consistent reads. "DynamoDB will resolve the conflict by using the modification with the latest internal timestamp on a
    per-item basis". FACTS: it is done "by using a conditional write operation that requires the incoming item's timestamp to
    be greater than the existing item's timestamp"; "Items that are updated within a single transaction might not be replicated
    together", nor in the order of the writes. A deletion is a write like any other.
    """

    consistency = "EVENTUAL"

    def __init__(self, clock: Clock, regions: Sequence[str] = ("us-east-1", "eu-west-1")) -> None:
        super().__init__(clock, regions)
        self.on_the_way: list[Change] = []
        self._servers = {region: Server(clock) for region in regions}
        self._written: dict[tuple[str, str], int] = {}
        self._now = 0

    def server(self, region: str) -> Server:
        return self._servers[region]

    def do(self, region: str, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return super().do(region, operation, arguments)
        finally:
            changes = self._servers[region].changes
            for key, _, new in changes:
                self._now += 1
                self._written[region, key] = self._now
                self.on_the_way.append(Change(region, key, new, self._now))
            changes.clear()

    def replicate(self, *keys: str) -> None:
        """Have what was written arrive everywhere: all of it, or just what was written under *keys*."""
        arriving = [change for change in self.on_the_way if not keys or change.key in keys]
        for change in arriving:
            self.on_the_way.remove(change)
            for region, server in self._servers.items():
                if region == change.region or self._written.get((region, change.key), 0) >= change.written:
                    continue
                self._written[region, change.key] = change.written
                server.items.pop(change.key, None)
                if change.item is not None:
                    server.items[change.key] = change.item

    @property
    def contents(self) -> list[Mapping[str, Any]]:
        """The items of each Region."""
        return [server.items for server in self._servers.values()]


class Replica:
    """One Region's replica: as a client in this process, and as the origin of a `FaultyDynamoDB`."""

    def __init__(self, table: GlobalTable, region: str) -> None:
        self._table = table
        self._region = region

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        if operation.startswith("_") or operation in ("close", "meta", "checks_replies"):
            raise AttributeError(operation)
        return lambda **arguments: self._table.do(self._region, operation, arguments)

    def store(self, table: Table = Table(), **settings: Any) -> DynamoStore:  # noqa: B008 (frozen, so one for all is right)
        """A store on this replica, without a network."""
        # The protocol cannot see the methods behind __getattr__.
        client: Any = self
        return DynamoStore(client, table, clock=self._table.clock, sleep=lambda seconds: None, **settings)

    async def __call__(self, request: Request) -> Reply:
        operation = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in request.operation)[1:]
        try:
            done = self._table.do(self._region, operation, _over_the_wire(request.arguments, base64.b64decode))
        except ServerError as error:
            details = error.response
            said = {"__type": f"com.amazonaws.dynamodb.v20120810#{error.code}", "message": details["Error"]["Message"]}
            more = {name: details[name] for name in ("Item", "CancellationReasons") if name in details}
            return reply(400, json.dumps(_over_the_wire(said | more, _encoded)).encode())
        return reply(200, json.dumps(_over_the_wire(done, _encoded)).encode())


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _over_the_wire(value: Any, convert: Callable[[Any], object]) -> Any:
    """The same, with every binary attribute converted."""
    if isinstance(value, Mapping):
        if value.keys() == {"B"}:
            return {"B": convert(value["B"])}
        return {name: _over_the_wire(inner, convert) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_over_the_wire(inner, convert) for inner in value]
    return value
