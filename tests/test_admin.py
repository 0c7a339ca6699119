"""Looking after a table: what is found, that looking changes nothing, what each role must be allowed, the templates, the page."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import (
    AccessDeniedError,
    AsyncDynamoStore,
    DynamoStore,
    Record,
    Table,
    TableNotFoundError,
    ThrottledError,
    items,
    local,
)
from dynamostore.admin import (
    Finding,
    Level,
    Role,
    adescribe,
    adoctor,
    cloudformation,
    describe,
    doctor,
    policy,
    terraform,
)
from dynamostore.admin._findings import CATALOGUE
from dynamostore.admin._policies import ALLOWED, ROLES
from dynamostore.admin._records import Records
from dynamostore.admin.where import Where
from dynamostore.batch import Batch
from dynamostore.cli import main
from dynamostore.client import DynamoClient
from dynamostore.digests import digest
from dynamostore.instants import INT64_MAX, INT64_MIN, Clock
from dynamostore.local import LocalDynamoDB
from session import SessionManager

from .backends import Backends, async_wire_client, make_client, wire_client
from .distribution import ROOT
from .fakes import FakeDynamoDB, Fault, Reply, Watched, refusal, success

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
LATER = datetime(2200, 1, 1, tzinfo=UTC)


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    assert len({finding.check for finding in findings}) == len(findings)
    return {finding.check: finding for finding in findings}


def of_level(findings: list[Finding], *levels: Level) -> list[str]:
    return [finding.check for finding in findings if finding.level in levels]


# The servers


@dataclass
class Server:
    """A server, and a table of its own for each test that asks for one."""

    name: str
    url: str
    client: DynamoDBClient
    wire: DynamoClient

    @property
    def is_whole(self) -> bool:
        """Whether it has TTL, transactions and backups."""
        return self.name == "ministack"

    def store(self, *, clock: Clock = time.time_ns, create: bool = True, **names: str) -> DynamoStore:
        store = DynamoStore(self.wire, Table(name=f"admin-{secrets.token_hex(8)}", **names), clock=clock)
        if create:
            store.create_table()
        return store

    def put(self, store: DynamoStore, item: Mapping[str, Any]) -> None:
        self.client.put_item(TableName=store.table.name, Item=dict(item))

    def all_items(self, store: DynamoStore) -> list[Any]:
        found = self.client.scan(TableName=store.table.name, ConsistentRead=True)["Items"]
        return sorted(found, key=repr)


@pytest.fixture(scope="module")
def ministack(credentials: None) -> Iterator[Server]:
    """One with CloudFormation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(local._QUIET, "SERVICES", "dynamodb,cloudformation")
        with LocalDynamoDB() as dynamodb, wire_client(dynamodb.url) as wire:
            yield Server("ministack", dynamodb.url, make_client(dynamodb.url), wire)


@pytest.fixture(scope="module", params=["ministack", "dynalite"])
def server(request: pytest.FixtureRequest, backends: Backends) -> Iterator[Server]:
    if request.param == "ministack":
        server: Server = request.getfixturevalue("ministack")
        yield server
        return
    backend = backends.server("dynalite")
    assert backend.url is not None
    with wire_client(backend.url) as wire:
        yield Server("dynalite", backend.url, backend.client, wire)


def fill(store: DynamoStore) -> None:
    """Records in every state that a store leaves them in."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    store.save("saved", b"data", soon)
    first = store.create("replaced", b"first", soon)
    store.replace(first, b"second", soon)
    store.touch(store.create("touched", b"data", soon), LATER)
    store.rename(store.create("renamed", b"data", soon), "renamed anew", b"data", soon)
    store.rename(store.create("moved", b"data", soon), "moved anew", b"data", soon, grace=timedelta(minutes=5))
    store.save("expired", b"data", datetime.now(UTC) - timedelta(hours=1))


# Healthy


@pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
def test_a_healthy_table_has_nothing_but_notes(server: Server, full: bool) -> None:
    store = server.store()
    if full:
        fill(store)
    findings = doctor(store, segments=2)
    # Dynalite says that TTL is off, and cannot turn it on.
    assert of_level(findings, "warning", "error") == ([] if server.is_whole else ["ttl"])
    found = by_check(findings)
    assert (
        found["records"].message
        == f"examined {'8 items: 5' if full else '0 items: 0'} live records, {int(full)} expired, {2 * full} markers"
    )
    for check in ("table", "key-schema", "clock", "billing", "records", "permission:dynamodb:UpdateItem"):
        assert found[check].level == "ok", check
    if server.is_whole:
        assert {check for check in found if found[check].level == "note"} == {"backups", "deletion-protection"}
    else:
        assert found["transactions"].level == found["backups"].level == "note"


def test_one_that_is_protected_has_nothing_at_all(ministack: Server) -> None:
    store = ministack.store()
    ministack.client.update_table(TableName=store.table.name, DeletionProtectionEnabled=True)
    ministack.client.update_continuous_backups(
        TableName=store.table.name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    assert of_level(doctor(store), "note", "warning", "error") == []


def test_looking_changes_nothing(server: Server) -> None:
    store = server.store()
    fill(store)
    server.put(store, {"token": {"S": "corrupt"}})
    before, description = server.all_items(store), describe(store)
    watched = Watched(server.wire)
    doctor(watched.store(store.table, time.time_ns), sample=None, role="administrator")
    assert server.all_items(store) == before
    assert describe(store) == description
    there = {item["token"]["S"] for item in before}
    writes = [
        (name, arguments) for name, arguments in watched.calls if re.match("put|update|delete|batch_w|trans", name)
    ]
    parts = [arguments for name, arguments in writes if name.endswith("_item") and name != "batch_write_item"]
    for name, arguments in writes:
        if name == "transact_write_items":
            parts += [part for entry in arguments["TransactItems"] for part in entry.values()]
    assert len(parts) == 5
    for part in parts:
        assert part["ConditionExpression"] == "attribute_exists(#token) AND attribute_not_exists(#token)"
    keys = [part.get("Key") or part["Item"] for part in parts]
    keys += [
        w["DeleteRequest"]["Key"]
        for n, a in writes
        if n == "batch_write_item"
        for w in a["RequestItems"][store.table.name]
    ]
    assert len(keys) == 6
    assert {key["token"]["S"] for key in keys} & there == set()
    # Whatever it says, somebody would have to guess 128 bits to be hit by it.
    assert all(re.fullmatch(r"dynamostore-doctor-[\w-]{22}(-old)?", key["token"]["S"]) for key in keys)


def test_the_async_one_finds_the_same(server: Server) -> None:
    store = server.store()
    fill(store)
    server.put(store, {"token": {"S": "corrupt"}})

    async def main() -> tuple[list[Finding], object]:
        async with AsyncDynamoStore(async_wire_client(server.url), store.table) as awaited:
            return await adoctor(awaited, segments=2), await adescribe(awaited)

    findings, description = asyncio.run(main())
    assert findings == doctor(store, segments=2)
    assert "records:corrupt" in of_level(findings, "error")
    assert description == describe(store)


def test_boto3_finds_the_same(server: Server) -> None:
    store = server.store()
    fill(store)
    assert doctor(DynamoStore(server.client, store.table)) == doctor(store)


# Ill


def test_a_table_that_is_not_there(server: Server) -> None:
    findings = doctor(server.store(create=False))
    assert [finding.check for finding in findings] == ["table", "clock"]
    assert findings[0].level == "error"
    assert "create_table()" in findings[0].advice


def test_another_key(server: Server) -> None:
    store = server.store(token="id")
    other = DynamoStore(server.wire, Table(name=store.table.name))
    found = by_check(doctor(other))
    assert found["key-schema"].level == "error"
    assert "id (HASH, S); the store needs token (HASH, S)" in found["key-schema"].message
    # The others go on, those that make sense.
    assert {"ttl", "billing", "clock"} <= found.keys()
    assert "records" not in found
    assert "permission:dynamodb:GetItem" not in found


def test_ttl_that_is_off(ministack: Server) -> None:
    store = ministack.store(ttl="forget at")
    name = store.table.name
    ministack.client.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": False, "AttributeName": "forget at"}
    )
    finding = by_check(doctor(store))["ttl"]
    assert finding.level == "warning"
    assert "TTL is disabled" in finding.message
    advice = "--time-to-live-specification 'Enabled=true,AttributeName=forget at' --region us-east-1"
    advice += f" --endpoint-url {ministack.url}"
    assert finding.advice.endswith(f"aws dynamodb update-time-to-live --table-name {name} {advice}")


@pytest.mark.parametrize(
    ("endpoint", "options"),
    [
        ("https://dynamodb.eu-west-1.amazonaws.com", " --region eu-west-1"),
        ("https://123456789012.ddb.eu-west-1.amazonaws.com", " --region eu-west-1"),
        (None, " --region eu-west-1"),
        ("https://dynamodb.eu-west-1.amazonaws.com.evil.example", None),
        ("https://dynamodb.eu-west-2.amazonaws.com", None),
        ("https://vpce-1.dynamodb.eu-west-1.vpce.amazonaws.com", None),
        ("http://x/a b", " --region eu-west-1 --endpoint-url 'http://x/a b'"),
    ],
)
def test_advice_leads_to_the_server_that_was_examined(endpoint: str | None, options: str | None) -> None:
    wanted = f" --region eu-west-1 --endpoint-url {endpoint}" if options is None else options
    assert Where("eu-west-1", endpoint, frozenset()).options == wanted


def test_ttl_by_another_attribute(ministack: Server) -> None:
    store = ministack.store(ttl="expiry", expiry="ttl")
    finding = by_check(doctor(DynamoStore(ministack.wire, Table(name=store.table.name))))["ttl"]
    assert finding.level == "error"
    assert "for attribute expiry, not ttl" in finding.message
    assert "Enabled=false,AttributeName=expiry" in finding.advice


@pytest.mark.parametrize(
    ("seconds", "level", "says"),
    [
        (0, "ok", "agree"),
        (3, "ok", "agree"),
        (-4, "ok", "agree"),
        (60, "warning", r"ahead of the server's: records expire \d+ s sooner"),
        (-60, "warning", r"behind the server's: records expire \d+ s later"),
        (3600, "error", "ahead of"),
        (-3600, "error", "5 minutes"),
    ],
)
def test_the_clock(ministack: Server, seconds: int, level: Level, says: str) -> None:
    store = ministack.store(clock=lambda: time.time_ns() + seconds * SECOND)
    finding = by_check(doctor(store))["clock"]
    assert finding.level == level
    assert re.search(says, finding.message)
    if level != "ok":
        named = int(finding.message.split()[3].replace(",", ""))
        assert abs(seconds) - 2 <= named <= abs(seconds)


def test_provisioned_capacity(server: Server) -> None:
    store = server.store(create=False)
    server.client.create_table(
        TableName=store.table.name,
        AttributeDefinitions=[{"AttributeName": "token", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "token", "KeyType": "HASH"}],
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 7, "WriteCapacityUnits": 3},
    )
    store.create_table()
    finding = by_check(doctor(store))["billing"]
    assert finding.level == "note"
    assert "7 read units and 3 write units" in finding.message
    assert "PAY_PER_REQUEST" in finding.advice
    assert describe(store).billing == "PROVISIONED"


# Ill records


def encoded(expiry_ns: int, payload: bytes = b"data", **more: Any) -> dict[str, Any]:
    """An item of a store's, but for *more*; None takes an attribute away."""
    whole: dict[str, Any] = dict(items.encode(Table(), Record.at("the-token", payload, expiry_ns, 7)))
    return {name: value for name, value in (whole | more).items() if value is not None}


ILL: dict[str, tuple[Callable[[int], dict[str, Any]], str, Level, str]] = {
    "without data": (lambda now: encoded(now + HOUR, data=None), "corrupt", "error", "data is missing"),
    "without an expiry": (lambda now: encoded(now + HOUR, expiry=None), "corrupt", "error", "expiry is missing"),
    "an expiry of text": (lambda now: encoded(now, expiry={"S": "soon"}), "corrupt", "error", "expiry is of type S"),
    "a bad version": (lambda now: encoded(now + HOUR, version={"N": "0"}), "corrupt", "error", "version is not"),
    "leading nowhere": (lambda now: encoded(now + HOUR, moved={"N": "0"}), "corrupt", "error", "moved is of type N"),
    "nearly too big": (lambda now: encoded(now + HOUR, b"x" * 330_000), "too-big", "warning", "330,0"),
    "large": (lambda now: encoded(now + HOUR, b"x" * 4096), "large", "note", "4,1"),
    "without TTL": (lambda now: encoded(now + HOUR, ttl=None), "no-ttl", "warning", "attribute ttl"),
    "a TTL of text": (lambda now: encoded(now + HOUR, ttl={"S": "1"}), "no-ttl", "warning", "DynamoDB never deletes them"),
    "a TTL in milliseconds": (
        lambda now: encoded(now + HOUR, ttl={"N": str((now + HOUR) // 10**6)}),
        "ttl-milliseconds",
        "warning",
        "milliseconds?",
    ),
    "an early TTL": (
        lambda now: encoded(now + HOUR, ttl={"N": str(now // SECOND)}), "ttl-early", "error", "by 3,60",
    ),
    "a late TTL": (
        lambda now: encoded(now + HOUR, ttl={"N": str((now + 2 * HOUR) // SECOND + 1)}), "ttl-late", "warning", "by 3,600 s",
    ),
    "a marker that leads to a number": (
        lambda now: encoded(now - HOUR, moved={"N": "0"}, ttl={"N": str((now + HOUR) // SECOND)}), "corrupt", "error", "moved is of type N",
    ),
    "a marker without TTL": (
        lambda now: encoded(now + HOUR, data=None, moved={"S": "new"}, ttl=None), "no-ttl", "warning", "attribute ttl",
    ),
    "a marker that stays too long": (
        lambda now: encoded(now, data=None, moved={"S": "new"}, ttl={"N": str((now + HOUR) // SECOND + 1)}), "ttl-late", "warning", "by 3,600 s",
    ),
    "a marker that was not swept": (
        lambda now: encoded(now - 50 * HOUR, data=None, moved={"S": "new"}), "unswept", "warning", "more than 48 hours",
    ),
    "of SCS": (lambda now: encoded(now + HOUR, version=None), "scs", "note", "SCS"),
    "long expired": (lambda now: encoded(now - 50 * HOUR), "unswept", "warning", "more than 48 hours"),
}  # fmt: skip


@pytest.mark.parametrize(("item", "check", "level", "says"), ILL.values(), ids=ILL)
def test_a_record_that_is_ill(
    ministack: Server, item: Callable[[int], dict[str, Any]], check: str, level: Level, says: str
) -> None:
    store = ministack.store()
    store.save("well", b"data", LATER)
    ministack.put(store, item(time.time_ns()))
    findings = [f for f in doctor(store) if f.check.startswith("records:")]
    (finding,) = findings
    assert (finding.check, finding.level) == (f"records:{check}", level)
    assert finding.advice
    assert says in finding.message
    assert finding.message.startswith("1 of 2 items ")
    assert f"({digest('the-token')}" in finding.message
    assert "the-token" not in finding.message


@pytest.mark.parametrize("grace", [timedelta(0), timedelta(seconds=5), timedelta(hours=2)], ids=str)
@pytest.mark.parametrize("age", [0, 899, 900], ids="{} s old".format)
def test_a_marker_is_neither_corrupt_nor_left_behind(ministack: Server, grace: timedelta, age: int) -> None:
    store = ministack.store()
    then = DynamoStore(store.client, store.table, clock=lambda: time.time_ns() - age * SECOND)
    then.rename(then.save("old", b"data", LATER), "new", b"data", LATER, grace=grace)
    found = by_check(doctor(store))
    assert [check for check in found if check.startswith("records:")] == []
    assert found["records"].message == "examined 2 items: 1 live records, 0 expired, 1 markers"


def test_a_ttl_of_the_very_second_of_the_expiry_will_do(ministack: Server) -> None:
    store = ministack.store()
    now = time.time_ns()
    ministack.put(store, encoded(now + HOUR, ttl={"N": str((now + HOUR) // SECOND)}))
    assert [finding.check for finding in doctor(store) if finding.check.startswith("records:")] == []


def test_what_is_not_swept_is_due_to_ttl_if_that_is_off(ministack: Server) -> None:
    store = ministack.store()
    ministack.put(store, encoded(time.time_ns() - 50 * HOUR))
    assert (
        "never deletes records that expired more than five years ago"
        in by_check(doctor(store))["records:unswept"].advice
    )
    ministack.client.update_time_to_live(
        TableName=store.table.name, TimeToLiveSpecification={"Enabled": False, "AttributeName": "ttl"}
    )
    assert "turn on TTL" in by_check(doctor(store))["records:unswept"].advice


def test_many_are_counted_and_some_are_named(ministack: Server) -> None:
    store = ministack.store()
    for n in range(7):
        ministack.put(store, {"token": {"S": f"secret {n}"}})
    message = by_check(doctor(store))["records:corrupt"].message
    assert "7 of 7 items" in message
    assert message.endswith("; …)")
    assert len(re.findall("[0-9a-f]{12}: expiry is missing", message)) == 3
    assert "secret" not in message


@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize(("sample", "seen"), [(10, "10"), (None, "30"), (1000, "30"), (0, None)])
def test_no_more_records_are_looked_at_than_asked_for(
    ministack: Server, sample: int | None, segments: int, seen: str | None
) -> None:
    store = ministack.store()
    Batch(store).save_many((f"token {n}", b"data", LATER) for n in range(30))
    found = by_check(doctor(store, sample=sample, segments=segments))
    if seen is None:
        assert "records" not in found
    else:
        assert found["records"].message == f"examined {seen} items: {seen} live records, 0 expired, 0 markers"


@pytest.mark.parametrize("arguments", [{"sample": -1}, {"segments": 0}, {"role": "root"}], ids=str)
def test_arguments_that_make_no_sense(arguments: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        doctor(DynamoStore(make_client("http://127.0.0.1:1")), **arguments)


NOW = 1_800_000_000 * SECOND
numbers = st.one_of(st.integers(-(10**37), 10**37).map(str), st.just("1E+125"), st.just("1.5"), st.just("-0"))
values = st.one_of(
    st.builds(lambda text: {"S": text}, st.text(max_size=5)),
    st.builds(lambda text: {"N": text}, numbers),
    st.builds(lambda data: {"B": data}, st.binary(max_size=20)),
    st.just({"NULL": True}),
    st.just({"L": [{"S": "x"}]}),
)
attributes = st.dictionaries(st.sampled_from(Table().attributes[1:]), values)


@given(st.lists(attributes))
def test_whatever_lies_in_the_table_is_looked_at(found: list[dict[str, Any]]) -> None:
    records = Records(Table(), NOW, ttl_is_on=True)
    for item in found:
        records.look({**item, "token": {"S": "secret"}})
    assert all("secret" not in repr(finding) for finding in records.findings())
    assert records.seen == len(found)
    corrupt = sum(records.counts[kind] for kind in CATALOGUE if kind.check == "records:corrupt")
    assert records.live + records.expired + corrupt <= len(found)


@given(st.integers(INT64_MIN, INT64_MAX), st.binary(max_size=100), st.integers(1, INT64_MAX))
def test_no_record_of_a_store_is_ill(expiry_ns: int, data: bytes, version: int) -> None:
    records = Records(Table(), NOW, ttl_is_on=True)
    records.look(items.encode(Table(), Record.at("token", data, expiry_ns, version)))
    first, *more = records.findings()
    assert first.level == "ok"
    assert [finding.check for finding in more] == ["records:unswept"] * (expiry_ns < NOW - 48 * HOUR)


# What is denied, and what fails


@pytest.fixture(scope="module")
def running(credentials: None) -> Iterator[FakeDynamoDB]:
    with FakeDynamoDB() as fake:
        yield fake


@pytest.fixture(scope="module")
def fake_wire(running: FakeDynamoDB) -> Iterator[DynamoClient]:
    with wire_client(running.url) as wire:
        yield wire


@pytest.fixture
def fake(running: FakeDynamoDB) -> FakeDynamoDB:
    """A server where all is well."""
    running.forget()
    for operation in TRIED:
        running.answer(success(), to=operation)
    running.answer(described("ACTIVE"), to="DescribeTable")
    running.answer(ENABLED, to="DescribeTimeToLive")
    running.answer(success(Items=[], Count=0, ScannedCount=0), to="Scan")
    reason = {"Code": "ConditionalCheckFailed"}
    running.answer(
        refusal("TransactionCanceledException", CancellationReasons=[reason, reason]), to="TransactWriteItems"
    )
    for operation in ("PutItem", "UpdateItem", "DeleteItem"):
        running.answer(refusal("ConditionalCheckFailedException"), to=operation)
    return running


@pytest.fixture
def store(fake_wire: DynamoClient) -> DynamoStore:
    return DynamoStore(fake_wire, Table(name="sessions"), sleep=lambda seconds: None)


def described(status: str) -> Reply:
    return success(
        Table={
            "TableStatus": status,
            "KeySchema": [{"AttributeName": "token", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "token", "AttributeType": "S"}],
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        }
    )


ENABLED = success(TimeToLiveDescription={"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"})
TRIED = {
    *(
        "DescribeTable",
        "DescribeTimeToLive",
        "DescribeContinuousBackups",
        "GetItem",
        "PutItem",
        "UpdateItem",
        "DeleteItem",
    ),
    *("BatchGetItem", "BatchWriteItem", "Scan"),
}
DENIED = refusal("AccessDeniedException", "User: arn:aws:iam::123456789012:user/x is not authorized to perform that")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", sorted(TRIED))
def test_an_operation_that_is_denied(fake: FakeDynamoDB, store: DynamoStore, operation: str, role: Role) -> None:
    well = by_check(doctor(store, role=role))
    fake.answer(DENIED, to=operation)
    found = by_check(doctor(store, role=role))
    finding = found[f"permission:dynamodb:{operation}"]
    assert finding.level == ("error" if operation in ALLOWED[role] else "note")
    assert f"dynamodb:{operation}" in finding.advice
    for needing in ROLES:
        assert (needing in finding.message.partition("(roles that need it:")[2]) == (operation in ALLOWED[needing])
    # All the others go on as before, but for what cannot be known without.
    without = {
        "DescribeTable": {"table", "billing", "deletion-protection"},
        "DescribeTimeToLive": {"ttl"},
        "DescribeContinuousBackups": {"backups"},
        "PutItem": {"transactions"},
        "DeleteItem": {"transactions"},
    }
    assert well.keys() - found.keys() == without.get(operation, set())
    same = found.keys() - {finding.check, "records"}
    assert {check: found[check] for check in same} == {check: well[check] for check in same}
    if operation == "Scan":
        assert found["records"].level == "note"


def test_all_that_a_role_needs_is_all_that_is_tried_or_makes_a_table(fake: FakeDynamoDB, store: DynamoStore) -> None:
    doctor(store)
    assert set(fake.operations) == TRIED | {"TransactWriteItems"}
    assert set(ALLOWED["administrator"]) - TRIED == {"CreateTable", "UpdateTimeToLive"}


def test_a_transaction_that_alone_is_denied(fake: FakeDynamoDB, store: DynamoStore) -> None:
    fake.answer(DENIED, to="TransactWriteItems")
    finding = by_check(doctor(store))["transactions"]
    assert finding.level == "error"
    assert "EnclosingOperation" in finding.advice


@pytest.mark.parametrize(
    "answer", [refusal("ThrottlingException"), refusal("InternalServerError", status=500)], ids=str
)
@pytest.mark.parametrize("operation", sorted(TRIED | {"TransactWriteItems"}))
def test_a_check_that_fails_is_a_finding_and_the_others_go_on(
    fake: FakeDynamoDB, store: DynamoStore, operation: str, answer: Reply
) -> None:
    fake.answer(answer, to=operation)
    findings = doctor(store)
    (check,) = of_level(findings, "warning")
    assert check == ("transactions" if operation == "TransactWriteItems" else f"permission:dynamodb:{operation}")
    assert operation in by_check(findings)[check].message
    assert of_level(findings, "error") == []
    assert set(fake.operations) == TRIED | {"TransactWriteItems"}


@pytest.mark.parametrize("operation", sorted(TRIED | {"TransactWriteItems"}))
def test_an_operation_that_the_server_has_not_is_a_note(fake: FakeDynamoDB, store: DynamoStore, operation: str) -> None:
    fake.answer(refusal("UnknownOperationException", ""), to=operation)
    check = {
        "DescribeTimeToLive": "ttl",
        "DescribeContinuousBackups": "backups",
        "TransactWriteItems": "transactions",
    }.get(operation, f"permission:dynamodb:{operation}")
    finding = by_check(doctor(store))[check]
    assert finding.level == "note"
    assert finding.advice
    assert set(fake.operations) == TRIED | {"TransactWriteItems"}


def test_records_that_can_be_read_in_part(fake: FakeDynamoDB, store: DynamoStore) -> None:
    item = {"token": {"S": "abc"}}
    page = success(Items=[item], Count=1, ScannedCount=1, LastEvaluatedKey=item)
    fake.answer(page, page, refusal("ThrottlingException"), to="Scan")
    found = [finding for finding in doctor(store) if finding.check.startswith("records")]
    assert [(finding.check, finding.level) for finding in found] == [
        ("records", "warning"), ("records", "ok"), ("records:corrupt", "error"),
    ]  # fmt: skip
    assert "only 1" in found[0].message


def test_a_server_that_is_not_there_is_one_error(fake: FakeDynamoDB) -> None:
    (finding,) = doctor(DynamoStore(make_client("http://127.0.0.1:1")))
    assert (finding.check, finding.level) == ("server", "error")
    assert "http://127.0.0.1:1" in finding.message


def test_a_server_that_goes_away_is_one_error_after_what_was_found(fake: FakeDynamoDB, store: DynamoStore) -> None:
    fake.answer(Fault.CLOSED, to="UpdateItem")
    findings = doctor(store)
    assert of_level(findings, "error") == ["server"]
    assert by_check(findings)["permission:dynamodb:PutItem"].level == "ok"
    assert fake.operations[-1] == "UpdateItem"


@pytest.mark.parametrize("code", ["UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException"])
def test_credentials_that_are_refused_are_one_error(fake: FakeDynamoDB, store: DynamoStore, code: str) -> None:
    fake.answer(refusal(code), to="DescribeTable")
    findings = doctor(store)
    assert [(finding.check, finding.level) for finding in findings] == [("credentials", "error"), ("clock", "ok")]
    # The usual reason for a signature that has expired is known from the refusal itself.
    off = DynamoStore(store.client, store.table, clock=lambda: time.time_ns() - HOUR)
    assert of_level(doctor(off), "error") == ["credentials", "clock"]


@pytest.mark.parametrize(("status", "level"), [("CREATING", "warning"), ("DELETING", "error"), ("ARCHIVED", "error")])
def test_a_table_that_cannot_be_used(fake: FakeDynamoDB, store: DynamoStore, status: str, level: Level) -> None:
    fake.answer(described(status), to="DescribeTable")
    findings = doctor(store)
    assert of_level(findings, "warning", "error") == ["table"]
    assert by_check(findings)["table"].level == level
    assert fake.operations == ["DescribeTable"]


def test_another_key_is_noticed_without_a_description(fake: FakeDynamoDB, store: DynamoStore) -> None:
    fake.answer(DENIED, to="DescribeTable")
    fake.answer(refusal("ValidationException", "The provided key element does not match the schema"), to="GetItem")
    assert of_level(doctor(store), "error") == ["key-schema"]
    assert fake.operations[-1] == "GetItem"


def test_a_key_that_nobody_may_look_at_is_not_said_to_be_right(fake: FakeDynamoDB, store: DynamoStore) -> None:
    fake.answer(DENIED, to="DescribeTable")
    assert by_check(doctor(store))["key-schema"].level == "ok"
    fake.answer(DENIED, to="GetItem")
    assert "key-schema" not in by_check(doctor(store))


class Bare:
    """A client with no more than a store needs, whose replies say nothing of themselves."""

    def __init__(self, client: DynamoClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name not in vars(DynamoClient):
            raise AttributeError(name)
        method: Callable[..., object] = getattr(self._client, name)

        def call(**arguments: object) -> object:
            try:
                reply = method(**arguments)
            except Exception as error:
                del error.response["ResponseMetadata"]  # type: ignore[attr-defined]  # what it raises has one
                raise
            return {k: v for k, v in reply.items() if k != "ResponseMetadata"}  # type: ignore[attr-defined]  # a dict

        return call


def test_a_client_that_has_just_what_a_store_needs(ministack: Server) -> None:
    store = ministack.store()
    bare: Any = Bare(ministack.wire)
    findings = doctor(DynamoStore(bare, store.table))
    assert of_level(findings, "warning", "error") == []
    found = by_check(findings)
    for check in ("clock", "backups", "records", "permission:dynamodb:Scan", "permission:dynamodb:BatchGetItem"):
        assert found[check].level == "note", check
        assert found[check].advice, check
    assert describe(DynamoStore(bare, store.table)).point_in_time_recovery is None


# What it is like


def test_a_description(ministack: Server) -> None:
    store = ministack.store(token="id", ttl="forget_at")
    found = describe(store)
    assert found.name == store.table.name
    assert found.arn.endswith(f":table/{store.table.name}")
    assert (found.status, found.billing, found.key) == ("ACTIVE", "PAY_PER_REQUEST", "id (HASH, S)")
    assert (found.ttl, found.ttl_status) == ("forget_at", "ENABLED")
    assert (found.items, found.bytes) == (0, 0)
    assert found.point_in_time_recovery is found.deletion_protection is False
    assert (found.region, found.endpoint) == ("us-east-1", ministack.url)
    store.save("token", b"data", LATER)
    ministack.client.update_table(TableName=store.table.name, DeletionProtectionEnabled=True)
    ministack.client.update_continuous_backups(
        TableName=store.table.name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    ministack.client.update_time_to_live(
        TableName=store.table.name, TimeToLiveSpecification={"Enabled": False, "AttributeName": "forget_at"}
    )
    after = describe(store)
    assert after.point_in_time_recovery is after.deletion_protection is True
    assert (after.ttl, after.ttl_status, after.items) == (None, "DISABLED", 1)
    assert after.bytes > 0


def test_a_description_of_a_table_that_is_not_there(server: Server) -> None:
    with pytest.raises(TableNotFoundError):
        describe(server.store(create=False))


@pytest.mark.parametrize("answer", [DENIED, refusal("UnknownOperationException", "")], ids=["denied", "unknown"])
def test_what_cannot_be_asked_for_is_not_known(fake: FakeDynamoDB, store: DynamoStore, answer: Reply) -> None:
    fake.answer(answer, to="DescribeTimeToLive")
    fake.answer(answer, to="DescribeContinuousBackups")
    found = describe(store)
    assert (found.ttl, found.ttl_status, found.point_in_time_recovery) == (None, "UNKNOWN", None)


@pytest.mark.parametrize("operation", ["DescribeTable", "DescribeTimeToLive", "DescribeContinuousBackups"])
def test_a_description_that_might_be_had_later_is_an_error(
    fake: FakeDynamoDB, store: DynamoStore, operation: str
) -> None:
    fake.answer(refusal("ThrottlingException"), to=operation)
    with pytest.raises(ThrottledError):
        describe(store)


# What each role must be allowed


class Guarded:
    """A client that is allowed some operations, as IAM would have it, and no others."""

    def __init__(self, client: DynamoClient, allowed: set[str]) -> None:
        self._client = client
        self._allowed = allowed

    def __getattr__(self, name: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._client, name)
        operation = name.title().replace("_", "")

        def call(**arguments: Any) -> object:
            wanted = {operation}
            if operation == "TransactWriteItems":
                wanted = {f"{kind}Item" for part in arguments["TransactItems"] for kind in part}
            if not wanted <= self._allowed:
                raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, operation)
            return method(**arguments)

        return call


def as_web(store: DynamoStore, path: Path) -> None:
    fill(store)
    assert store.find("expired") is None
    store.ping()
    store.delete("saved")


def as_reader(store: DynamoStore, path: Path) -> None:
    store = DynamoStore(store.client, store.table, evict_expired=False)
    assert store.find("saved")
    assert store.find("expired") is None
    store.ping()
    batch = Batch(store)
    assert [outcome.error for outcome in batch.find_many(["saved", "expired", "moved"])] == [None] * 3
    assert len(list(batch.scan())) == 5
    assert batch.count().expired == 1
    assert batch.export(path / "export.jsonl").records == 7
    assert describe(store).status == "ACTIVE"


def as_sweeper(store: DynamoStore, path: Path) -> None:
    batch = Batch(store)
    assert batch.purge_expired(dry_run=True).skipped == 1
    tally = batch.purge_expired()
    assert (tally.done, tally.failed) == (1, {})


def as_administrator(store: DynamoStore, path: Path) -> None:
    new = DynamoStore(store.client, Table(name=f"{store.table.name}-copy"))
    new.create_table()
    described = describe(new)
    assert described.ttl == "ttl"
    assert described.point_in_time_recovery is False
    findings = [finding for finding in doctor(store, role="administrator") if finding.level != "ok"]
    assert [finding.check for finding in findings] == ["deletion-protection", "backups"]
    as_reader(store, path)
    assert Batch(store).copy(new).failed == {}
    assert Batch(new).load(path / "export.jsonl").failed == {}
    assert Batch(new).save_many([("new", b"data", LATER)]).failed == {}
    assert Batch(new).delete_many(["new"]).failed == {}
    as_sweeper(store, path)


DUTIES: dict[Role, Callable[[DynamoStore, Path], None]] = {
    "web": as_web,
    "reader": as_reader,
    "sweeper": as_sweeper,
    "administrator": as_administrator,
}


class Shared(Guarded):
    """One that stays open when a command closes it."""

    @property
    def meta(self) -> object:
        return getattr(self._client, "meta")  # noqa: B009 (the protocol does not have it)

    def close(self) -> None:
        pass


def rows_of(heading: str, page: str = "admin.md") -> list[list[str]]:
    """The cells of the table under *heading*, without its head."""
    text = (ROOT / "docs" / "guides" / page).read_text("utf-8").partition(f"\n### {heading}\n")[2]
    lines = text.partition("\n#")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]


def end_sessions(store: DynamoStore) -> bool:
    return SessionManager(store).iterate(lambda s: s.destroy()) > 0 and not SessionManager(store).iterate(print)


JOBS: dict[str, list[str]] = {
    "`dynamostore show`": ["show", "--raw", "saved"],
    "`dynamostore show --digest`": ["show", "--digest", digest("saved")],
    "`dynamostore revoke`": ["revoke", "--yes", "--raw", "saved", "moved"],
    "`dynamostore revoke --digest`": ["revoke", "--yes", "--digest", digest("saved")],
    "`dynamostore load`": ["load", "--yes", "FILE"],
    "`dynamostore copy`": ["copy", "--yes", "TABLE"],
    "`manager.iterate`, to end sessions": [],
}


@pytest.mark.parametrize("job", JOBS)
def test_the_page_says_what_each_job_must_be_allowed(
    ministack: Server, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = dict(rows_of("Rights for each job"))
    assert rows.keys() == JOBS.keys()
    operations = set(re.findall(r"`(\w+)`", rows[job]))

    def succeeds(allowed: set[str]) -> bool:
        guarded: Any = Shared(ministack.wire, allowed)
        store, other = ministack.store(), ministack.store()
        if not JOBS[job]:
            with SessionManager(store).session(None) as s:
                s.put_int("user_id", 7)
            try:
                return end_sessions(DynamoStore(guarded, store.table))
            except AccessDeniedError:
                return False
        fill(store)
        Batch(store).export(tmp_path / "all.jsonl", overwrite=True)
        monkeypatch.setattr("dynamostore.cli._meter.WireClient", lambda *_, **__: guarded)
        names = {"FILE": str(tmp_path / "all.jsonl"), "TABLE": other.table.name}
        return main([*(names.get(word, word) for word in JOBS[job]), "--table", store.table.name]) == 0

    assert succeeds(operations)
    for operation in operations:
        assert not succeeds(operations - {operation}), operation


@pytest.mark.parametrize("role", ROLES)
def test_the_page_says_what_doctor_sees_with_each_role(ministack: Server, role: Role) -> None:
    seen = dict(
        zip(
            ("key-schema", "table", "ttl", "records"),
            {row[0]: row[1:] for row in rows_of("Run doctor in CI")}[f"`{role}`"],
            strict=True,
        )
    )
    guarded: Any = Guarded(ministack.wire, set(ALLOWED[role]))
    found = by_check(doctor(DynamoStore(guarded, ministack.store().table), role=role))
    assert {check: check in found and found[check].level == "ok" for check in seen} == {
        check: bool(tick) for check, tick in seen.items()
    }
    assert ("billing" in found, "backups" in found) == ("table" in found, "ttl" in found)


def allowed(document: Mapping[str, Any]) -> set[str]:
    assert {statement["Effect"] for statement in document["Statement"]} == {"Allow"}
    actions = [action for statement in document["Statement"] for action in statement["Action"]]
    return {action.removeprefix("dynamodb:") for action in actions}


def on_duty(ministack: Server, role: Role, operations: set[str], path: Path) -> None:
    """Do all that a role does, where just these operations are allowed."""
    store = ministack.store()
    if role != "web":
        fill(store)
    guarded: Any = Guarded(ministack.wire, operations)
    DUTIES[role](DynamoStore(guarded, store.table, sleep=lambda seconds: None), path)


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_is_enough(ministack: Server, role: Role, tmp_path: Path) -> None:
    on_duty(ministack, role, allowed(policy(role)), tmp_path)


@pytest.mark.parametrize(("role", "operation"), [(role, operation) for role in ROLES for operation in ALLOWED[role]])
def test_a_policy_has_nothing_too_much(ministack: Server, role: Role, operation: str, tmp_path: Path) -> None:
    with pytest.raises((AccessDeniedError, AssertionError)):
        on_duty(ministack, role, allowed(policy(role)) - {operation}, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "resource"),
    [
        ({}, "arn:aws:dynamodb:*:*:table/scs_session"),
        ({"table": "a.b"}, "arn:aws:dynamodb:*:*:table/a.b"),
        ({"region": "cn-north-1", "account": "123456789012"}, "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/scs_session"),
        ({"region": "us-gov-west-1"}, "arn:aws-us-gov:dynamodb:us-gov-west-1:*:table/scs_session"),
        ({"region": "us-iso-east-1"}, "arn:aws-iso:dynamodb:us-iso-east-1:*:table/scs_session"),
        ({"region": "us-isob-east-1"}, "arn:aws-iso-b:dynamodb:us-isob-east-1:*:table/scs_session"),
        ({"region": "eusc-de-east-1"}, "arn:aws-eusc:dynamodb:eusc-de-east-1:*:table/scs_session"),
        (
            {"table": "arn:aws:dynamodb:eu-central-1:123456789012:table/abc", "region": "us-east-1"},
            "arn:aws:dynamodb:eu-central-1:123456789012:table/abc",
        ),
    ],
)  # fmt: skip
def test_a_policy_is_for_one_table(arguments: Any, resource: str) -> None:
    document: Any = policy("reader", **arguments)
    assert document["Version"] == "2012-10-17"
    assert [statement["Resource"] for statement in document["Statement"]] == [resource]


@pytest.mark.parametrize(
    "arguments",
    [{"role": "root"}, {"table": "*"}, {"table": ""}, {"region": "Europe"}, {"region": ""}, {"account": "1234"}],
    ids=str,
)
def test_a_policy_of_what_is_none(arguments: Any) -> None:
    with pytest.raises(ValueError, match=f"(?i){next(iter(arguments))}"):
        policy(**{"role": "web", **arguments})


# Templates

# Two attributes cannot have one name.
OTHERS = {*Table().attributes} - {Table().token, Table().ttl}
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(lambda n: n not in OTHERS)
tables = st.lists(names, min_size=2, max_size=2, unique=True).map(
    lambda two: Table(name="a-b_c.d", token=two[0], ttl=two[1])
)


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's own tags as if they were not there."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: loader.construct_scalar(node))


def properties(table: Table) -> Any:
    template = yaml.load(cloudformation(table), _Loader)
    (resource,) = template["Resources"].values()
    assert resource["Type"] == "AWS::DynamoDB::Table"
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
    return resource["Properties"]


def wanted(table: Table) -> dict[str, object]:
    return {
        "TableName": table.name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": table.token, "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": table.token, "KeyType": "HASH"}],
        "TimeToLiveSpecification": {"AttributeName": table.ttl, "Enabled": True},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "DeletionProtectionEnabled": True,
    }


@given(tables)
def test_a_cloudformation_template_has_the_table(table: Table) -> None:
    assert properties(table) == wanted(table)


def test_cloudformation_makes_the_table_that_create_table_makes(ministack: Server) -> None:
    made = ministack.store(token="size", ttl="a.b c")
    declared = Table(name=f"{made.table.name}-declared", token="size", ttl="a.b c")
    formation = boto3.client("cloudformation", region_name="us-east-1", endpoint_url=ministack.url)
    formation.create_stack(StackName="declared", TemplateBody=cloudformation(declared))
    formation.get_waiter("stack_create_complete").wait(
        StackName="declared", WaiterConfig={"Delay": 1, "MaxAttempts": 10}
    )
    (output,) = formation.describe_stacks(StackName="declared")["Stacks"][0]["Outputs"]
    there = describe(DynamoStore(ministack.wire, declared))
    assert output["OutputValue"] == there.arn
    assert there.deletion_protection
    same = {"status", "billing", "key", "items", "bytes", "region", "endpoint"}
    assert {f: getattr(there, f) for f in same} == {f: getattr(describe(made), f) for f in same}
    # What this server's CloudFormation leaves out, DynamoDB's own calls make of the same properties.
    whole = properties(declared)
    ministack.client.update_time_to_live(
        TableName=declared.name, TimeToLiveSpecification=whole["TimeToLiveSpecification"]
    )
    ministack.client.update_continuous_backups(
        TableName=declared.name, PointInTimeRecoverySpecification=whole["PointInTimeRecoverySpecification"]
    )
    assert of_level(doctor(DynamoStore(ministack.wire, declared)), "note", "warning", "error") == []


def hcl(text: str) -> dict[str, Any]:
    """Blocks and attributes of so much of HCL as a template has: *name "label" {*, *name = value*."""
    root: dict[str, Any] = {}
    stack = [root]
    for line in text.splitlines():
        if match := re.fullmatch(r"\s*(\w+)((?: \"\w+\")*) \{", line):
            block: dict[str, Any] = {}
            stack[-1][" ".join([match[1], *re.findall(r'"(\w+)"', match[2])])] = block
            stack.append(block)
        elif line.strip() == "}":
            stack.pop()
        elif match := re.fullmatch(r"\s*(\w+) += (.+)", line):
            stack[-1][match[1]] = _literal(match[2])
        else:
            assert not line.strip(), line
    assert stack == [root]
    return root


def _literal(text: str) -> object:
    if not text.startswith('"'):
        return {"true": True, "false": False}.get(text, text)
    assert text.endswith('"')
    assert not re.search(r'(?<!\\)(\\\\)*"', text[1:-1])
    assert not re.search(r"(?<!\$)\$\{|(?<!%)%\{", text)

    def unescape(match: re.Match[str]) -> str:
        return chr(int(match[1][1:], 16)) if match[1][0] in "uU" else match[1]

    plain = re.sub(r"\\(u[0-9a-f]{4}|U[0-9a-f]{8}|[\\\"])", unescape, text[1:-1])
    return plain.replace("$${", "${").replace("%%{", "%{")


AWKWARD = Table(name="a-b_c.d", token='a ${b} %{c} "q" \\ é\n\x85😀', ttl="$")


@given(tables)
def test_a_terraform_configuration_has_the_table(table: Table) -> None:
    _is_the_table(table)


def test_a_terraform_configuration_has_the_most_awkward_table() -> None:
    _is_the_table(AWKWARD)


def _is_the_table(table: Table) -> None:
    assert hcl(terraform(table))["resource aws_dynamodb_table dynamostore"] == {
        "name": table.name,
        "billing_mode": "PAY_PER_REQUEST",
        "hash_key": table.token,
        "deletion_protection_enabled": True,
        "attribute": {"name": table.token, "type": "S"},
        "ttl": {"attribute_name": table.ttl, "enabled": True},
        "point_in_time_recovery": {"enabled": True},
    }


@pytest.mark.parametrize("table", [Table(), AWKWARD], ids=["plain", "awkward"])
def test_terraform_can_read_it_and_would_write_it_so(table: Table) -> None:
    if (program := shutil.which("terraform")) is None:
        pytest.skip("terraform is not installed")
    done = subprocess.run(
        [program, "fmt", "-check", "-diff", "-"],
        input=terraform(table),
        text=True,
        encoding="utf-8",
        capture_output=True,
        check=False,
        env={**os.environ, "CHECKPOINT_DISABLE": "1"},
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_table_by_its_arn_is_declared_by_its_name() -> None:
    table = Table(name="arn:aws:dynamodb:eu-central-1:123456789012:table/abc")
    assert properties(table)["TableName"] == "abc"


# The page


def findings_in_words() -> str:
    """The table of findings, with the gaps as words."""
    rows = ["| check | | what was found | what to do |", "|---|---|---|---|"]
    for kind in CATALOGUE:
        gaps = {gap: gap.upper() for gap in re.findall(r"\{(\w+)\}", kind.check + kind.message + kind.advice)}
        gaps["at"] = ""
        finding = kind(**gaps)
        rows.append(f"| {finding.check} | {finding.level} | {finding.message} | {finding.advice} |")
    return "\n".join(rows) + "\n"


def roles_in_words() -> str:
    """Which role needs what."""
    rows = [f"| | {' | '.join(ROLES)} |", f"|---|{'---|' * len(ROLES)}"]
    for operation in ALLOWED["administrator"]:
        ticks = " | ".join("✓" if operation in ALLOWED[role] else "" for role in ROLES)
        rows.append(f"| `dynamodb:{operation}` | {ticks} |")
    return "\n".join(rows) + "\n"


PAGE = (ROOT / "docs/guides/admin.md").read_text("utf-8") if (ROOT / "docs/guides/admin.md").exists() else ""


@pytest.mark.parametrize("table", [findings_in_words, roles_in_words])
def test_the_page_has_every_line_as_it_is(table: Callable[[], str]) -> None:
    assert table() in PAGE


def test_whatever_is_not_ok_comes_with_advice() -> None:
    assert [kind.check for kind in CATALOGUE if bool(kind.advice) == (kind.level == "ok")] == []


def test_the_readme_has_the_policy_of_a_web_app() -> None:
    (document,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/howto/create-table.md").read_text("utf-8"), re.DOTALL)
    assert json.loads(document) == policy("web", region="eu-central-1", account="123456789012")
