"""Purging receives no payload: not in what it asks for, not in what comes over the wire, not by what its policy allows."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from dynamostore import DynamoStore, Table
from dynamostore.admin import doctor, policy
from dynamostore.batch import Batch

from .backends import Backends, wire_client
from .batch.driving import Drive, Kind
from .batch.meddling import RefusedError
from .faulty import FaultyDynamoDB, Reply, Request, Upstream

PAYLOAD = b"PAYLOAD" * 30
OLD = datetime(2001, 1, 1, tzinfo=UTC)
FAR = datetime(2200, 1, 1, tzinfo=UTC)
NAMES = Table(token="id", data="payload", expiry="until", ttl="forget_at", moved="went")


class Recording:
    """An origin that keeps what was asked and what was replied; *before* a request is done, something else may happen."""

    def __init__(self, port: int) -> None:
        self._upstream = Upstream(port)
        self.seen: list[tuple[Request, Reply]] = []
        self.before: Callable[[Request], object] = lambda request: None

    async def __call__(self, request: Request) -> Reply:
        self.before(request)
        reply = await self._upstream(request)
        self.seen.append((request, reply))
        return reply


def fill(client: Any, table: Table, number: int) -> DynamoStore:
    """Live records, expired ones, and a marker, which is kept."""
    store = DynamoStore(client, table)
    batch = Batch(store)
    batch.save_many((f"old-{n}", PAYLOAD, OLD) for n in range(number))
    batch.save_many((f"new-{n}", PAYLOAD, FAR) for n in range(number))
    store.rename(store.create("moved", PAYLOAD, FAR), "there", PAYLOAD, FAR, grace=timedelta(0))
    return store


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("names", [Table(), NAMES], ids=["usual names", "other names"])
def test_no_reply_to_a_purge_has_a_payload_in_it(kind: Kind, names: Table, backends: Backends) -> None:
    port = urlsplit(backends.server("ministack").url or "").port or 0
    recording = Recording(port)
    with ExitStack() as stack:
        server = stack.enter_context(FaultyDynamoDB(recording))
        drive = Drive(stack, server.url, kind)
        direct = stack.enter_context(wire_client(f"http://127.0.0.1:{port}"))
        table = drive.table(names)
        store = fill(direct, table, 30)
        renewed: set[str] = set()

        def renew(request: Request) -> None:
            """One is saved anew between the Scan and its own deletion."""
            if request.operation == "DeleteItem" and not renewed:
                renewed.add(request.arguments["Key"][table.token]["S"])
                store.save(next(iter(renewed)), PAYLOAD, FAR)

        recording.before = renew
        recording.seen.clear()
        batch = drive.batch(table)
        assert batch.purge_expired(dry_run=True).skipped == 30
        tally = batch.purge_expired(segments=2)
        assert (tally.done, tally.skipped, tally.failed) == (29, 1, {})
        # What is conditional was not asked to return what it met; and nothing else was asked.
        assert Counter(request.operation for request, _ in recording.seen) == {"Scan": 3, "DeleteItem": 30}
        for request, reply in recording.seen:
            assert table.data not in request.arguments.get("ExpressionAttributeNames", {}).values()
            assert request.arguments.get("ReturnValuesOnConditionCheckFailure", "NONE") == "NONE"
            assert base64.b64encode(PAYLOAD) not in reply.body
            body = json.loads(reply.body)
            assert "Item" not in body
            assert "Attributes" not in body
            assert all(item.keys() <= {table.token, table.expiry} for item in body.get("Items", []))


# The policy, as IAM evaluates it


class Guarded:
    """A client that is allowed what a policy *document* allows, as AWS documents its conditions; it keeps what was denied.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    """

    def __init__(self, client: Any, document: Mapping[str, Any]) -> None:
        self._client = client
        self._document = document
        self.meta = client.meta
        self.denied: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._client, name)
        operation = name.title().replace("_", "")

        def call(**arguments: Any) -> Any:
            if not is_allowed(self._document, operation, arguments):
                self.denied.append(operation)
                raise RefusedError("AccessDeniedException")
            return method(**arguments)

        return call


def attributes_of(arguments: Mapping[str, Any]) -> set[str]:
    """The attributes that a request names: those of its key, its item, and its expressions."""
    names: Mapping[str, str] = arguments.get("ExpressionAttributeNames", {})
    said = " ".join(str(value) for name, value in arguments.items() if name.endswith("Expression"))
    used = {names[name] for name in re.findall(r"#\w+", said)}
    return {*arguments.get("Key", {}), *arguments.get("Item", {}), *used}


def is_allowed(document: Mapping[str, Any], operation: str, arguments: Mapping[str, Any]) -> bool:
    attributes = attributes_of(arguments)
    narrow = "SPECIFIC_ATTRIBUTES" if "ProjectionExpression" in arguments else "ALL_ATTRIBUTES"
    context = {
        "dynamodb:Select": arguments.get("Select", narrow),
        "dynamodb:ReturnValues": arguments.get("ReturnValues", "NONE"),
    }
    for statement in document["Statement"]:
        if f"dynamodb:{operation}" not in statement["Action"]:
            continue
        condition = statement.get("Condition", {})
        assert set(condition) <= {"ForAllValues:StringEquals", "Null", "StringEquals"}
        listed = condition.get("ForAllValues:StringEquals", {}).get("dynamodb:Attributes")
        absent = condition.get("Null", {}).get("dynamodb:Attributes") == "false"
        if (
            (listed is None or attributes <= set(listed))
            and not (absent and not attributes)
            and all(context[key] == value for key, value in condition.get("StringEquals", {}).items())
        ):
            return True
    return False


@pytest.fixture
def client(backends: Backends) -> Any:
    with wire_client(backends.server("ministack").url or "") as client:
        yield client


@pytest.mark.parametrize("names", [Table(), NAMES], ids=["usual names", "other names"])
def test_the_policy_is_enough_for_a_purge(client: Any, backends: Backends, names: Table) -> None:
    with ExitStack() as stack:
        table = Drive(stack, backends.server("ministack").url or "", "sync").table(names)
    fill(client, table, 3)
    guarded: Any = Guarded(client, policy("sweeper", table=table))
    assert Batch(DynamoStore(guarded, table)).purge_expired(segments=2).done == 3
    assert guarded.denied == []
    # Another table's names are not.
    other: Any = Guarded(client, policy("sweeper", table=Table(name=table.name, expiry="another")))
    with pytest.raises(Exception, match="AccessDenied"):
        Batch(DynamoStore(other, table), attempts=1).purge_expired()


def test_the_policy_allows_nothing_that_returns_a_payload_or_compares_one() -> None:
    document = policy("sweeper")
    key = {"Key": {"token": {"S": "a"}}}
    names = {"#data": "data", "#token": "token"}
    narrow = {"ProjectionExpression": "#token", "ExpressionAttributeNames": names}
    assert is_allowed(document, "Scan", narrow)
    assert is_allowed(document, "DeleteItem", key)
    hostile: list[tuple[str, dict[str, Any]]] = [
        ("Scan", {}),
        ("Scan", {"Select": "ALL_ATTRIBUTES"}),
        ("Scan", {"Select": "SPECIFIC_ATTRIBUTES"}),
        ("Scan", {"Select": "COUNT"}),
        ("Scan", {"ProjectionExpression": "#data", "ExpressionAttributeNames": names}),
        ("Scan", {**narrow, "FilterExpression": "begins_with(#data, :guess)"}),
        ("DeleteItem", {**key, "ReturnValues": "ALL_OLD"}),
        ("DeleteItem", {**key, "ConditionExpression": "#data > :guess", "ExpressionAttributeNames": names}),
        *((operation, dict[str, Any](key)) for operation in ("GetItem", "Query", "UpdateItem", "PutItem", "BatchGetItem")),
    ]  # fmt: skip
    assert [call for call in hostile if is_allowed(document, *call)] == []


def test_doctor_says_of_a_sweeper_that_all_is_well_and_reads_no_record(client: Any, backends: Backends) -> None:
    with ExitStack() as stack:
        table = Drive(stack, backends.server("ministack").url or "", "sync").table()
    fill(client, table, 3)
    guarded: Any = Guarded(client, policy("sweeper", table=table))
    findings = {finding.check: finding for finding in doctor(DynamoStore(guarded, table), role="sweeper")}
    assert [finding.check for finding in findings.values() if finding.level == "error"] == []
    assert findings["permission:dynamodb:Scan"].level == findings["permission:dynamodb:DeleteItem"].level == "ok"
    assert "the role sweeper may not read data" in findings["records"].message


def test_attributes_that_no_policy_can_name_are_refused_and_no_name_is_a_variable() -> None:
    document: Any = policy("sweeper", table=Table(token="${aws:username}", expiry="$x", ttl="é"))
    (listed,) = {
        tuple(s["Condition"]["ForAllValues:StringEquals"]["dynamodb:Attributes"]) for s in document["Statement"]
    }
    assert listed == ("${$}{aws:username}", "$x", "é", "moved")
    for name in ("日", "a\tb", "a\x00"):
        with pytest.raises(ValueError, match=re.escape(repr(name))):
            policy("sweeper", table=Table(token=name))
        # Others name no attribute.
        assert policy("web", table=Table(token=name)) == policy("web")
