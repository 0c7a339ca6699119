"""Making the table: once, however often and by however many it is asked for, and waiting until it can be used."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dynamostore import (
    AccessDeniedError,
    DynamoStore,
    StoreError,
    Table,
    TableSchemaError,
    ThrottledError,
    UnavailableError,
    connect,
)
from dynamostore.plans.create_table import create_table

from .backends import Backend
from .fakes import Answer, FakeDynamoDB, Reply, Watched, refusal, success

EXPIRY = datetime(2200, 1, 1, tzinfo=UTC)


@pytest.fixture
def table() -> Table:
    """A table of which nobody has heard yet."""
    return Table(name=f"create-table-{secrets.token_hex(8)}")


def described(server: Backend, table: Table) -> Any:
    return server.client.describe_table(TableName=table.name)["Table"]


def described_ttl(server: Backend, table: Table) -> Any:
    return server.client.describe_time_to_live(TableName=table.name)["TimeToLiveDescription"]


def assert_usable(store: DynamoStore) -> None:
    token = secrets.token_urlsafe(32)
    assert store.find(store.create(token, b"data", EXPIRY).token)


# On the servers


def test_a_table_is_made_on_demand_with_its_key(server: Backend, table: Table) -> None:
    store = DynamoStore(server.client, table)
    store.create_table()
    made = described(server, table)
    assert made["KeySchema"] == [{"AttributeName": "token", "KeyType": "HASH"}]
    assert made["AttributeDefinitions"] == [{"AttributeName": "token", "AttributeType": "S"}]
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert made["TableStatus"] == "ACTIVE"
    assert_usable(store)


def test_a_table_is_made_with_the_names_it_is_given(server: Backend, table: Table) -> None:
    store = DynamoStore(server.client, Table(name=table.name, token="size", ttl="a.b c"))
    store.create_table()
    assert described(server, table)["KeySchema"] == [{"AttributeName": "size", "KeyType": "HASH"}]
    if server.has_ttl:
        assert described_ttl(server, table)["AttributeName"] == "a.b c"
    assert_usable(store)


def test_the_ttl_is_on_its_attribute(server: Backend, table: Table) -> None:
    if not server.has_ttl:
        pytest.skip(f"{server.name} has no UpdateTimeToLive")
    DynamoStore(server.client, table).create_table()
    found = described_ttl(server, table)
    assert found["TimeToLiveStatus"] in ("ENABLED", "ENABLING")
    assert found["AttributeName"] == "ttl"


def test_a_table_that_had_no_ttl_gets_it(server: Backend, table: Table) -> None:
    if not server.has_ttl:
        pytest.skip(f"{server.name} has no UpdateTimeToLive")
    server.client.create_table(
        TableName=table.name,
        AttributeDefinitions=[{"AttributeName": "token", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "token", "KeyType": "HASH"}],
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    )
    DynamoStore(server.client, table).create_table()
    assert described_ttl(server, table)["AttributeName"] == "ttl"
    # What it costs is its owner's business.
    assert described(server, table).get("BillingModeSummary", {}).get("BillingMode") != "PAY_PER_REQUEST"


def test_a_server_without_ttl_is_warned_of_and_the_table_is_usable(
    server: Backend, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    store = DynamoStore(server.client, table)
    store.create_table()
    warnings = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    if server.has_ttl:
        assert warnings == []
    else:
        (warning,) = warnings
        assert "not support TTL" in warning
        assert table.name in warning
    assert_usable(store)


def test_a_table_that_is_there_is_left_as_it_is(server: Backend, table: Table) -> None:
    store = DynamoStore(server.client, table)
    store.create_table()
    record = store.create(secrets.token_urlsafe(32), b"data", EXPIRY)
    before = described(server, table)
    watched = Watched(server.client)
    watched.store(table, lambda: 0).create_table()
    if server.has_ttl:
        assert watched.taken() == ["describe_table", "describe_time_to_live"]
    after = described(server, table)
    for counted in ("ItemCount", "TableSizeBytes"):
        before.pop(counted, None)
        after.pop(counted, None)
    assert after == before
    assert store.find(record.token) == record


def test_eight_at_once_make_one_table(server: Backend, table: Table) -> None:
    stores = [DynamoStore(server.client, table) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(store.create_table) for store in stores]:
            future.result()
    assert_usable(stores[0])
    if server.has_ttl:
        assert described_ttl(server, table)["AttributeName"] == "ttl"


# On a server that takes its time


@pytest.fixture(scope="module")
def running(credentials: None) -> Iterator[FakeDynamoDB]:
    with FakeDynamoDB() as fake:
        yield fake


@pytest.fixture(scope="module")
def connected(running: FakeDynamoDB) -> DynamoStore:
    return connect("sessions", region="eu-central-1", endpoint_url=running.url, attempts=1)


@pytest.fixture
def fake(running: FakeDynamoDB) -> FakeDynamoDB:
    """A server where there is no such table yet, and everything goes well."""
    running.forget()
    running.answer(NOT_THERE, to="DescribeTable")
    running.answer(success(), to="CreateTable")
    running.answer(ttl("DISABLED"), to="DescribeTimeToLive")
    running.answer(success(), to="UpdateTimeToLive")
    return running


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def store(connected: DynamoStore, waits: list[float]) -> DynamoStore:
    """A store that makes a note of how long it would wait, and does not."""
    return DynamoStore(connected.client, connected.table, sleep=waits.append)


def status(name: str) -> Reply:
    return success(
        Table={
            "TableName": "sessions",
            "TableStatus": name,
            "KeySchema": [{"AttributeName": "token", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "token", "AttributeType": "S"}],
        }
    )


def ttl(status: str, attribute: str | None = None) -> Reply:
    named = {} if attribute is None else {"AttributeName": attribute}
    return success(TimeToLiveDescription={"TimeToLiveStatus": status, **named})


NOT_THERE = refusal("ResourceNotFoundException", "Requested resource not found: Table: sessions not found")
IN_USE = refusal("ResourceInUseException", "Table already exists: sessions")
BEING_DELETED = refusal("ResourceInUseException", "Table is being deleted: sessions")


def test_a_table_that_is_being_created_is_waited_for(
    fake: FakeDynamoDB, store: DynamoStore, waits: list[float]
) -> None:
    creating = status("CREATING")
    fake.answer(NOT_THERE, NOT_THERE, creating, creating, creating, status("ACTIVE"), to="DescribeTable")
    store.create_table()
    describe = ["DescribeTable"]
    assert fake.operations == [*describe, "CreateTable", *describe * 5, "DescribeTimeToLive", "UpdateTimeToLive"]
    assert len(waits) == 5
    assert all(0 < seconds <= 1 for seconds in waits)


def test_a_table_that_somebody_else_creates_is_waited_for(
    fake: FakeDynamoDB, store: DynamoStore, waits: list[float]
) -> None:
    fake.answer(NOT_THERE, status("CREATING"), status("ACTIVE"), to="DescribeTable")
    fake.answer(IN_USE, to="CreateTable")
    store.create_table()
    assert len(waits) == 2


def test_a_table_of_somebody_elses_with_another_key_is_told(fake: FakeDynamoDB, store: DynamoStore) -> None:
    other = success(Table={"TableStatus": "CREATING", "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]})
    fake.answer(NOT_THERE, other, to="DescribeTable")
    fake.answer(IN_USE, to="CreateTable")
    with pytest.raises(TableSchemaError, match=r"key id \(HASH, \?\), not token"):
        store.create_table()


def test_a_table_that_is_being_updated_is_not_waited_for(
    fake: FakeDynamoDB, store: DynamoStore, waits: list[float]
) -> None:
    fake.answer(status("UPDATING"), to="DescribeTable")
    store.create_table()
    assert waits == []


@pytest.mark.parametrize("shown", ["CREATING", "DELETING", "not there"])
@pytest.mark.parametrize("timeout", [timedelta(seconds=3), timedelta(minutes=2)], ids=str)
def test_waiting_ends_with_an_error_that_says_for_what(
    fake: FakeDynamoDB, store: DynamoStore, waits: list[float], shown: str, timeout: timedelta
) -> None:
    fake.answer(NOT_THERE, NOT_THERE if shown == "not there" else status(shown), to="DescribeTable")
    with pytest.raises(UnavailableError, match=rf"'sessions' is still {shown}.*create_table\(\) again") as caught:
        store.create_table(timeout=timeout)
    assert f"{timeout.total_seconds():g} s" in str(caught.value)
    assert timeout.total_seconds() <= sum(waits) <= timeout.total_seconds() + 1
    assert "UpdateTimeToLive" not in fake.operations


@pytest.mark.parametrize("shown", ["ENABLED", "ENABLING"])
def test_a_ttl_that_is_on_already_is_left_alone(fake: FakeDynamoDB, store: DynamoStore, shown: str) -> None:
    fake.answer(status("ACTIVE"), to="DescribeTable")
    fake.answer(ttl(shown, "ttl"), to="DescribeTimeToLive")
    store.create_table()
    assert fake.operations == ["DescribeTable", "DescribeTimeToLive"]


def test_a_ttl_that_somebody_else_has_just_turned_on_is_no_error(fake: FakeDynamoDB, store: DynamoStore) -> None:
    # Two processes start at once: both see it off, both turn it on, and DynamoDB refuses the second.
    fake.answer(status("ACTIVE"), to="DescribeTable")
    fake.answer(ttl("DISABLED"), ttl("ENABLING", "ttl"), to="DescribeTimeToLive")
    fake.answer(refusal("ValidationException", "TimeToLive is already enabled"), to="UpdateTimeToLive")
    store.create_table()


def test_a_ttl_that_somebody_else_has_just_turned_on_elsewhere_is_told(fake: FakeDynamoDB, store: DynamoStore) -> None:
    fake.answer(status("ACTIVE"), to="DescribeTable")
    fake.answer(ttl("DISABLED"), ttl("ENABLING", "forget_at"), to="DescribeTimeToLive")
    fake.answer(
        refusal("ValidationException", "TimeToLive is active on a different AttributeName"), to="UpdateTimeToLive"
    )
    with pytest.raises(StoreError, match=r"different AttributeName|'forget_at'"):
        store.create_table()


def test_a_server_that_only_describes_ttl_is_warned_of(
    fake: FakeDynamoDB, store: DynamoStore, caplog: pytest.LogCaptureFixture
) -> None:
    fake.answer(status("ACTIVE"), to="DescribeTable")
    fake.answer(refusal("UnknownOperationException", ""), to="UpdateTimeToLive")
    store.create_table()
    assert "not support TTL" in caplog.text


STEPS = ["DescribeTable", "CreateTable", "DescribeTimeToLive", "UpdateTimeToLive"]
FAILURES: dict[str, tuple[Answer, type[StoreError]]] = {
    "not allowed": (refusal("AccessDeniedException"), AccessDeniedError),
    "throttled": (refusal("LimitExceededException"), ThrottledError),
    "failed": (refusal("InternalServerError", status=500), UnavailableError),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("answer", "kind"), FAILURES.values(), ids=FAILURES)
def test_each_step_that_is_refused_says_so(
    fake: FakeDynamoDB, store: DynamoStore, step: str, answer: Answer, kind: type[StoreError]
) -> None:
    fake.answer(NOT_THERE, status("ACTIVE"), to="DescribeTable")
    fake.answer(answer, to=step)
    with pytest.raises(StoreError) as caught:
        store.create_table()
    assert type(caught.value) is kind
    assert caught.value.operation == step
    assert "'sessions'" in str(caught.value)
    assert fake.operations[-1] == step


def test_a_table_that_is_being_deleted_is_created_once_it_is_gone(
    fake: FakeDynamoDB, store: DynamoStore, waits: list[float]
) -> None:
    deleting = status("DELETING")
    fake.answer(
        deleting, deleting, deleting, NOT_THERE, NOT_THERE, status("CREATING"), status("ACTIVE"), to="DescribeTable"
    )
    store.create_table()
    assert fake.operations.count("CreateTable") == 1
    assert fake.operations[-2:] == ["DescribeTimeToLive", "UpdateTimeToLive"]
    assert len(waits) == 6


def test_a_table_of_another_key_that_is_being_deleted_is_not_in_the_way(fake: FakeDynamoDB, store: DynamoStore) -> None:
    other = {"TableStatus": "DELETING", "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]}
    fake.answer(success(Table=other), NOT_THERE, status("ACTIVE"), to="DescribeTable")
    store.create_table()
    assert fake.operations.count("CreateTable") == 1


def test_a_table_that_is_being_deleted_unseen_is_created_once_it_is_gone(
    fake: FakeDynamoDB, store: DynamoStore
) -> None:
    fake.answer(NOT_THERE, NOT_THERE, NOT_THERE, NOT_THERE, status("ACTIVE"), to="DescribeTable")
    fake.answer(BEING_DELETED, BEING_DELETED, BEING_DELETED, success(), to="CreateTable")
    store.create_table()
    assert fake.operations.count("CreateTable") == 4


def test_a_table_that_stays_being_deleted_is_told_in_the_end(fake: FakeDynamoDB, store: DynamoStore) -> None:
    fake.answer(NOT_THERE, to="DescribeTable")
    fake.answer(BEING_DELETED, to="CreateTable")
    with pytest.raises(UnavailableError, match=r"still not there after 3 s \(.*being deleted") as caught:
        store.create_table(timeout=timedelta(seconds=3))
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("shown", ["INACCESSIBLE_ENCRYPTION_CREDENTIALS", "ARCHIVING", "ARCHIVED"])
def test_a_table_whose_kms_key_is_gone_is_told_at_once(
    fake: FakeDynamoDB, store: DynamoStore, waits: list[float], shown: str
) -> None:
    fake.answer(status(shown), to="DescribeTable")
    with pytest.raises(AccessDeniedError, match=f"'sessions' cannot be used: .*KMS key.*{shown}") as caught:
        store.create_table()
    assert caught.value.code == shown
    assert waits == []


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_throttled_for_a_while_is_made_again(
    fake: FakeDynamoDB, store: DynamoStore, waits: list[float], step: str
) -> None:
    fake.answer(NOT_THERE, status("ACTIVE"), to="DescribeTable")
    busy = refusal("LimitExceededException", "Too many operations for a given subscriber.")
    then = {"DescribeTable": status("ACTIVE"), "DescribeTimeToLive": ttl("DISABLED")}.get(step, success())
    fake.answer(*[busy] * 5, then, to=step)
    store.create_table()
    assert fake.operations[-1] == "UpdateTimeToLive"
    assert 5 <= len(waits) <= 6
    assert all(0 < seconds <= 5 for seconds in waits)


@pytest.mark.parametrize("step", STEPS)
def test_all_waiting_is_bounded_together(fake: FakeDynamoDB, store: DynamoStore, waits: list[float], step: str) -> None:
    # Half of the time goes by until the table is there.
    fake.answer(NOT_THERE, *[status("CREATING")] * 10, status("ACTIVE"), to="DescribeTable")
    fake.answer(refusal("ThrottlingException"), to=step)
    with pytest.raises(ThrottledError):
        store.create_table(timeout=timedelta(seconds=10))
    assert 10 <= sum(waits) < 10.1


def test_time_that_calls_take_counts_as_waiting(fake: FakeDynamoDB, store: DynamoStore) -> None:
    fake.answer(status("CREATING"), to="DescribeTable")
    seconds = iter(range(0, 1000, 20))
    plan = create_table(store.table, timeout=50, monotonic=lambda: next(seconds))
    with pytest.raises(UnavailableError, match="still CREATING"):
        store._run(plan)
    assert len(fake.requests) <= 3


# TTL

WITHIN_THE_HOUR = refusal(
    "ValidationException", "Time to live has been modified multiple times within a fixed interval"
)
ALTERNATOR = refusal("ValidationException", "TTL not yet supported on a table using tablets (issue #16567).")


def test_ttl_is_turned_on_once_an_update_of_the_table_is_through(
    fake: FakeDynamoDB, store: DynamoStore, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    updating = refusal("ResourceInUseException", "Attempt to change a resource which is still in use: being updated")
    fake.answer(status("UPDATING"), to="DescribeTable")
    fake.answer(updating, updating, updating, success(), to="UpdateTimeToLive")
    store.create_table()
    assert fake.operations[-1] == "UpdateTimeToLive"
    assert len(waits) == 3
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("answers", "waited"),
    [
        ({"UpdateTimeToLive": WITHIN_THE_HOUR}, False),
        ({"UpdateTimeToLive": WITHIN_THE_HOUR, "DescribeTimeToLive": ttl("DISABLING", "ttl")}, False),
        ({"UpdateTimeToLive": WITHIN_THE_HOUR, "DescribeTimeToLive": ttl("DISABLING", "another")}, False),
        ({"UpdateTimeToLive": ALTERNATOR}, False),
        ({"DescribeTimeToLive": ALTERNATOR}, False),
        ({"DescribeTimeToLive": NOT_THERE}, True),
        ({"UpdateTimeToLive": NOT_THERE}, True),
        ({"UpdateTimeToLive": IN_USE}, True),
    ],
)
def test_a_table_whose_ttl_cannot_be_turned_on_now_is_usable_and_warned_of(
    fake: FakeDynamoDB,
    store: DynamoStore,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    answers: dict[str, Reply],
    waited: bool,
) -> None:
    fake.answer(status("ACTIVE"), to="DescribeTable")
    for operation, answer in answers.items():
        fake.answer(answer, to=operation)
    store.create_table(timeout=timedelta(seconds=3))
    (warning,) = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    assert "TTL of table sessions was not turned on" in warning
    assert sum(waits) == pytest.approx(3 if waited else 0)


def test_a_ttl_that_is_not_shown_at_first_is_waited_for(
    fake: FakeDynamoDB, store: DynamoStore, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    # A table that was just created: reads of it are eventually consistent.
    fake.answer(status("ACTIVE"), to="DescribeTable")
    fake.answer(NOT_THERE, NOT_THERE, ttl("ENABLED", "ttl"), to="DescribeTimeToLive")
    store.create_table()
    assert "UpdateTimeToLive" not in fake.operations
    assert len(waits) == 2
    assert caplog.text == ""


def test_a_ttl_that_was_turned_on_and_is_not_shown_yet_is_no_error(
    fake: FakeDynamoDB, store: DynamoStore, caplog: pytest.LogCaptureFixture
) -> None:
    fake.answer(status("ACTIVE"), to="DescribeTable")
    fake.answer(refusal("ValidationException", "TimeToLive is already enabled"), to="UpdateTimeToLive")
    store.create_table()
    assert caplog.text == ""


def test_a_ttl_on_another_attribute_that_is_not_shown_yet_is_told(fake: FakeDynamoDB, store: DynamoStore) -> None:
    fake.answer(status("ACTIVE"), to="DescribeTable")
    message = "TimeToLive is active on a different AttributeName: current AttributeName is forget_at"
    fake.answer(refusal("ValidationException", message), to="UpdateTimeToLive")
    with pytest.raises(TableSchemaError, match="forget_at"):
        store.create_table()
