"""No private class leaves the package: whatever any verb or job raises, carries or chains can be caught by its public name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

import dynamostore
import dynamostore.batch
import dynamostore.wire
from dynamostore import AsyncDynamoStore, DynamoStore, Record, Store, StoreError, Table, ThrottledError, connect
from dynamostore.batch import AsyncBatch, Batch, BatchIncompleteError
from dynamostore.errors import CODES as CODES_OF
from dynamostore.testing import BlockingStore, LoopThread
from dynamostore.wire import AsyncWireClient, ServiceError, WireClient

from . import faulty
from .backends import KEYS
from .batch.driving import AnyBatch, AwaitedBatch
from .fakes import OPERATIONS, Answer, FakeDynamoDB, Fault, Reply, refusal, success, verb

RECORD = Record("token", b"data", datetime(2200, 1, 1, tzinfo=UTC), 7)
ITEM = {"token": {"S": "t"}, "data": {"B": "eA=="}, "expiry": {"N": "1"}, "ttl": {"N": "1"}, "version": {"N": "7"}}

CODES = [
    *CODES_OF,
    "ConditionalCheckFailedException",
    "TransactionCanceledException",
    "TransactionConflictException",
    "ReplicatedWriteConflictException",
    "UnknownOperationException",
    "ResourceInUseException",
    "ValidationException",
    "IdempotentParameterMismatchException",
    "DuplicateItemException",
    "ItemCollectionSizeLimitExceededException",
    "SomethingNewException",
]
REASONS = [
    "None",
    "ConditionalCheckFailed",
    "DuplicateItem",
    "TransactionConflict",
    "ReplicatedWriteConflict",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
    "AccessDenied",
    "ValidationError",
    "SomethingNew",
]


def cancelled(*codes: str) -> Reply:
    return refusal("TransactionCanceledException", "cancelled", CancellationReasons=[{"Code": code} for code in codes])


FAULTS: list[Answer] = [
    *(refusal(code) for code in CODES),
    *(cancelled(one, other) for one in REASONS for other in ("None", "TransactionConflict")),
    refusal("ValidationException", "The provided key element does not match the schema"),
    refusal("ValidationException", "Item size has exceeded the maximum allowed size"),
    refusal("InternalServerError", status=500),
    Reply(200, b"<html>"),
    Reply(502, b""),
    Fault.CLOSED,
]

# Of each kind that a plan treats in its own way, one.
SOME_FAULTS: list[Answer] = [
    *(
        refusal(f"{code}Exception")
        for code in ("ConditionalCheckFailed", "TransactionConflict", "ResourceInUse", "AccessDenied")
    ),
    refusal("UnknownOperationException"),
    cancelled("ConditionalCheckFailed", "None"),
    Fault.CLOSED,
]
SOON = timedelta(seconds=1)
PUBLIC = (dynamostore, dynamostore.batch, dynamostore.wire)


def assert_public(error: BaseException | None) -> None:
    """The classes of *error*, of what it came of, and of what it carries are exported, or somebody else's."""
    while error is not None:
        kind = type(error)
        if kind.__module__.partition(".")[0] == "dynamostore":
            assert any(getattr(package, kind.__name__, None) is kind for package in PUBLIC), kind
        if isinstance(error, BatchIncompleteError):
            for carried in (*error.errors.values(), *error.tally.failed.values()):
                assert_public(carried)
        error = error.__cause__ or error.__context__


@pytest.fixture(scope="module")
def fake(credentials: None) -> Iterator[FakeDynamoDB]:
    with FakeDynamoDB() as running:
        yield running


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    with LoopThread() as running:
        yield running


async def no_pause(seconds: float) -> None:
    pass


Made = tuple[Store, AnyBatch, Callable[[], object]]


@pytest.fixture(params=["sync", "async"])
def made(fake: FakeDynamoDB, loop: LoopThread, request: pytest.FixtureRequest) -> Iterator[Made]:
    """A store and a batch that never pause, and what creates their table."""
    table = Table(name="sessions")
    if request.param == "sync":
        with WireClient("us-east-1", fake.url, credentials=KEYS, attempts=1) as client:
            store = DynamoStore(client, table, sleep=lambda seconds: None)
            yield store, Batch(store, attempts=1), partial(store.create_table, timeout=SOON)
        return
    aclient = AsyncWireClient("us-east-1", fake.url, credentials=KEYS, attempts=1)
    astore = AsyncDynamoStore(aclient, table, sleep=no_pause)
    blocking = BlockingStore(astore, loop)
    yield (
        blocking,
        AwaitedBatch(AsyncBatch(astore, attempts=1), loop),
        lambda: loop.run(astore.create_table(timeout=SOON)),
    )
    loop.run(aclient.close())


def raised_by(call: Callable[[], object]) -> StoreError | None:
    try:
        call()
    except StoreError as error:
        assert_public(error)
        return error
    return None


def test_every_verb_raises_only_what_is_exported(fake: FakeDynamoDB, made: Made) -> None:
    store, _, create_table = made
    raised = 0
    for fault in FAULTS:
        fake.forget()
        fake.answer(fault)
        for name in OPERATIONS:
            raised += raised_by(verb(name, store, RECORD)) is not None
        raised += raised_by(create_table) is not None
    assert raised > len(FAULTS) * len(OPERATIONS) * 0.8


def test_every_fault_of_every_step_of_a_renaming_raises_only_what_is_exported(fake: FakeDynamoDB, made: Made) -> None:
    store, _, _ = made
    for first in (
        cancelled("ConditionalCheckFailed", "None"),
        cancelled("None", "ConditionalCheckFailed"),
        refusal("UnknownOperationException"),
    ):
        for operation in ("GetItem", "PutItem", "UpdateItem", "DeleteItem"):
            for fault in SOME_FAULTS:
                fake.forget()
                fake.answer(success())
                fake.answer(first, to="TransactWriteItems")
                fake.answer(fault, to=operation)
                raised_by(verb("rename", store, RECORD))


def test_boto3s_errors_become_what_is_exported(fake: FakeDynamoDB) -> None:
    store = connect("sessions", via="boto3", region="eu-west-1", endpoint_url=fake.url, attempts=1)
    store._sleep = lambda seconds: None
    for name, fault in {
        "save": refusal("TransactionConflictException"),
        "rename": cancelled("None", "ThrottlingError"),
    }.items():
        fake.forget()
        fake.answer(fault)
        assert type(raised_by(verb(name, store, RECORD))) is ThrottledError
    store.close()


def test_every_job_raises_and_reports_only_what_is_exported(fake: FakeDynamoDB, made: Made, tmp_path: Path) -> None:
    _, batch, _ = made
    records = [(f"t{n}", b"x", RECORD.expiry) for n in range(3)]
    jobs: dict[str, Callable[[], object]] = {
        "scan": lambda: list(batch.scan()),
        "segments": lambda: list(batch.scan(segments=2)),
        "count": batch.count,
        "purge": batch.purge_expired,
        "save": lambda: batch.save_many(records),
        "delete": lambda: batch.delete_many(["a", "b"]),
        "find": lambda: list(batch.find_many(["a", "b"])),
        "export": lambda: batch.export(tmp_path / "x.jsonl"),
    }
    seen: set[type] = set()
    for fault in (*SOME_FAULTS, refusal("ThrottlingException"), refusal("ValidationException")):
        for name, job in jobs.items():
            fake.forget()
            fake.answer(fault)
            if name == "purge":
                fake.answer(success(Items=[ITEM], Count=1, ScannedCount=1), to="Scan")
            result: Any = None
            try:
                result = job()
            except StoreError as error:
                assert_public(error)
                seen.add(type(error))
            for carried in getattr(result, "failed", {}).values():
                assert_public(carried)
            for outcome in result if name == "find" and result else ():
                assert_public(outcome.error)
    assert len(seen) >= 3


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_refusal_for_the_clock_is_a_service_error(kind: Literal["sync", "asyncio"]) -> None:
    off = faulty.refusal(400, "InvalidSignatureException", "Date: Wed, 21 Oct 2015 07:28:00 GMT")

    async def refuse(request: faulty.Request) -> faulty.Reply:
        return off

    with faulty.FaultyDynamoDB(refuse) as server, faulty.Driver(kind) as driver:
        client = driver.client(server.url, attempts=1)
        with pytest.raises(ServiceError) as caught:
            client.describe_table(TableName="sessions")
        assert type(caught.value) is ServiceError
        assert caught.value.code == "InvalidSignatureException"
        client.close()
