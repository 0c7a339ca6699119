"""Expired records are cleared away when they are read: on condition, and never at the price of the read."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import AccessDeniedError, DynamoStore, Record, Table, connect, connect_async
from dynamostore.batch import AsyncBatch, Batch, Tally
from dynamostore.cli import main
from dynamostore.digests import digest
from dynamostore.instants import NS_PER_S
from dynamostore.plans.server_time import ServerTime
from dynamostore.testing import FakeClock

from .backends import TABLE, Backend
from .fakes import Answer, FakeDynamoDB, Fault, Watched, refusal, success
from .faulty import FaultyDynamoDB, Reply, Request, item_of, reply
from .faulty import refusal as refused

HOUR = timedelta(hours=1)
DATA = b"what nobody is to know"


def raw(server: Backend, token: str) -> object:
    reply = server.client.get_item(TableName=TABLE.name, Key={"token": {"S": token}}, ConsistentRead=True)
    return reply.get("Item")


@pytest.fixture
def expired(server: Backend, clock: FakeClock) -> Record:
    """A record that has just expired, and is still in the table."""
    record = server.store(clock).save(secrets.token_urlsafe(32), DATA, clock.now + HOUR)
    clock.advance(HOUR)
    clock.now_ns += 1
    return record


def test_an_expired_record_that_is_read_is_deleted(server: Backend, clock: FakeClock, expired: Record) -> None:
    assert server.store(clock).find(expired.token) is None
    assert raw(server, expired.token) is None


def test_an_expired_record_is_left_where_that_is_wanted(server: Backend, clock: FakeClock, expired: Record) -> None:
    before = raw(server, expired.token)
    assert server.store(clock, evict_expired=False).find(expired.token) is None
    assert raw(server, expired.token) == before is not None


def test_a_record_is_not_deleted_in_its_last_nanosecond(server: Backend, clock: FakeClock, expired: Record) -> None:
    clock.now_ns -= 1
    assert server.store(clock).find(expired.token) == expired
    assert raw(server, expired.token) is not None


RENEWALS: dict[str, Callable[[DynamoStore, Record, FakeClock], object]] = {
    "saved": lambda store, record, clock: store.save(record.token, b"renewed", clock.now + HOUR),
    "created": lambda store, record, clock: store.create(record.token, b"renewed", clock.now + HOUR),
}


@pytest.mark.parametrize("renew", RENEWALS.values(), ids=RENEWALS)
def test_a_record_that_is_renewed_meanwhile_is_not_deleted(
    server: Backend,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    expired: Record,
    renew: Callable[[DynamoStore, Record, FakeClock], object],
) -> None:
    caplog.set_level(logging.DEBUG, "dynamostore")
    plain = server.store(clock)
    watched = Watched(server.client, before={"delete_item": lambda: renew(plain, expired, clock)})
    assert watched.store(TABLE, clock).find(expired.token) is None
    assert watched.taken() == ["get_item", "delete_item"]
    renewed = plain.find(expired.token)
    assert renewed is not None
    assert renewed.data == b"renewed"
    # Nothing went wrong, so nobody need read of it.
    assert {entry.levelno for entry in caplog.records} <= {logging.DEBUG}
    assert expired.token not in caplog.text


def test_a_record_that_is_prolonged_by_a_slow_clock_meanwhile_is_not_deleted(
    server: Backend, clock: FakeClock, expired: Record
) -> None:
    slow = FakeClock(clock.now - HOUR)
    before = {"delete_item": lambda: server.store(slow).touch(expired, clock.now + HOUR)}
    assert Watched(server.client, before).store(TABLE, clock).find(expired.token) is None
    found = server.store(clock).find(expired.token)
    assert found is not None
    assert (found.data, found.expiry) == (DATA, clock.now + HOUR)


# A service that lets us read but not delete


@pytest.fixture
def fake() -> Iterator[FakeDynamoDB]:
    with FakeDynamoDB() as fake:
        yield fake


NOT_ALLOWED = refusal(
    "AccessDeniedException",
    "User: arn:aws:iam::123456789012:user/app is not authorized to perform: dynamodb:DeleteItem on resource: "
    "arn:aws:dynamodb:eu-central-1:123456789012:table/sessions",
)
REFUSALS: dict[str, Answer] = {
    "not allowed": NOT_ALLOWED,
    "throttled": refusal("ThrottlingException"),
    "failed": refusal("InternalServerError", status=500),
    "hung up": Fault.CLOSED,
}


@pytest.mark.parametrize("answer", REFUSALS.values(), ids=REFUSALS)
def test_an_eviction_that_fails_is_logged_and_not_raised(
    fake: FakeDynamoDB, caplog: pytest.LogCaptureFixture, clock: FakeClock, answer: Answer
) -> None:
    caplog.set_level(logging.DEBUG, "dynamostore")
    token = secrets.token_urlsafe(32)
    # "d2hhd..." is DATA in base64, as it goes over the wire.
    item = {
        "token": {"S": token},
        "data": {"B": "d2hhdCBub2JvZHkgaXMgdG8ga25vdw=="},
        "expiry": {"N": str(clock.now_ns - 1)},
        "ttl": {"N": str(clock.now_ns // 10**9)},
    }
    fake.answer(success(Item=item), to="GetItem")
    fake.answer(answer, to="DeleteItem")
    store = connect(Table(name="sessions"), region="eu-central-1", endpoint_url=fake.url, attempts=1, clock=clock)
    assert store.find(token) is None
    assert fake.operations == ["GetItem", "DeleteItem"]
    (entry,) = caplog.records
    assert (entry.name, entry.levelno) == ("dynamostore", logging.WARNING)
    assert digest(token) in entry.getMessage()
    for secret in (token, DATA.decode(), "d2hhdCBub2JvZHk"):
        assert secret not in caplog.text


def test_a_find_that_is_not_allowed_is_no_eviction(fake: FakeDynamoDB, clock: FakeClock) -> None:
    fake.answer(NOT_ALLOWED)
    store = connect("sessions", region="eu-central-1", endpoint_url=fake.url, attempts=1, clock=clock)
    with pytest.raises(AccessDeniedError, match="not authorized"):
        store.find(secrets.token_urlsafe(32))
    assert fake.operations == ["GetItem"]


# A host whose clock is off


SKEWS = st.integers(-10 * 365 * 86_400, 10 * 365 * 86_400)


@given(now=st.integers(0, 2**61), skew=SKEWS, fraction=st.integers(0, NS_PER_S - 1))
def test_what_has_expired_has_done_so_by_both_clocks(now: int, skew: int, fraction: int) -> None:
    there = max(now - skew * NS_PER_S, 0) // NS_PER_S * NS_PER_S
    reply = dated(there)
    earlier = ServerTime().earlier(lambda: now, now, reply)
    assert earlier == min(now, there + NS_PER_S)
    # Not later than either clock says.
    assert earlier <= now
    assert earlier <= there + fraction or earlier - there <= NS_PER_S


@pytest.mark.parametrize(
    "reply", [None, {}, {"ResponseMetadata": None}, {"ResponseMetadata": {"HTTPHeaders": {"date": "soon"}}}]
)
def test_a_reply_without_a_date_is_taken_as_it_was_before(reply: object, caplog: pytest.LogCaptureFixture) -> None:
    assert ServerTime().earlier(lambda: 5, 5, reply) == 5
    assert not caplog.records


def test_a_warning_of_the_clock_comes_once_a_minute_and_only_where_it_is_far_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    monotonic = 0.0
    server_time = ServerTime(lambda: monotonic)
    now = 1_000_000 * NS_PER_S
    for monotonic, off, warnings in (  # noqa: B007 (the lambda has it)
        (0.0, 299, 0),
        (1.0, -299, 0),
        (2.0, 301, 1),
        (61.0, 46_800, 1),
        (62.0, -46_800, 2),
        (100.0, 301, 2),
    ):
        server_time.earlier(lambda: now, now, dated(now - off * NS_PER_S))
        assert len(caplog.records) == warnings
    assert "301 s ahead of DynamoDB's" in caplog.messages[0]
    assert "46800 s behind DynamoDB's" in caplog.messages[1]


def dated(ns: int) -> object:
    return {"ResponseMetadata": {"HTTPHeaders": {"date": formatdate(ns // NS_PER_S, usegmt=True)}}}


class Table13:
    """A server with one item, whose replies bear a date; what it was asked."""

    def __init__(self, item: dict[str, dict[str, str]], date: float | None) -> None:
        self.asked: list[str] = []
        self._item = item
        self._date = [] if date is None else [f"Date: {formatdate(date, usegmt=True)}"]

    async def __call__(self, request: Request) -> Reply:
        self.asked.append(request.operation)
        body = {"Item": self._item} if request.operation == "GetItem" else {}
        return reply(200, json.dumps(body).encode(), *self._date)


def expired_at(ns: int, **more: dict[str, str]) -> dict[str, dict[str, str]]:
    return item_of("abc") | {"expiry": {"N": str(ns)}, "ttl": {"N": str(ns // NS_PER_S + 1)}} | more


def marker_until(ns: int) -> dict[str, dict[str, str]]:
    return expired_at(ns, moved={"S": "another"})


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch, credentials: None) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize("make", [expired_at, marker_until])
@pytest.mark.parametrize(
    ("via", "date", "evicted"),
    [
        ("wire", 0, False),
        ("wire", 13 * 3600, True),
        ("wire", None, True),
        ("wire", 12 * 3600 + 1, True),
        ("wire", 12 * 3600 - 1, False),
        ("boto3", 0, False),
    ],
    ids=["ahead", "right", "no date", "just expired", "not yet", "ahead, on boto3"],
)
def test_a_host_13_hours_ahead_deletes_no_session_that_is_alive(
    no_proxy: None,
    caplog: pytest.LogCaptureFixture,
    via: Literal["wire", "boto3"],
    make: Callable[[int], dict[str, dict[str, str]]],
    date: int | None,
    evicted: bool,
) -> None:
    now = 1_800_000_000
    # It expires in 12 hours, and this host's clock says that it has.
    server = Table13(
        make((now + 12 * 3600) * NS_PER_S),
        None if date is None else now + date,
    )
    with FaultyDynamoDB(server) as running:
        made = connect("scs_session", via=via, endpoint_url=running.url, region="us-east-1")
        with DynamoStore(made.client, clock=lambda: (now + 13 * 3600) * NS_PER_S) as store:
            for _ in range(2):
                assert store.find("abc") is None
    assert server.asked == ["GetItem", *(["DeleteItem"] if evicted else [])] * 2
    warnings = [record for record in caplog.records if record.name == "dynamostore"]
    assert len(warnings) == (0 if date in (None, 13 * 3600) else 1)


# Batches on such a host

NOW = 1_800_000_000
# By the server's clock: expired an hour ago, in an hour, in 12.
EXPIRIES = {"gone": -3600, "soon": 3600, "late": 12 * 3600}


class ScannedTable:
    """A server with a record for each of EXPIRIES, whose replies bear the date *now*, or none."""

    def __init__(self, now: int = NOW, *, dated: bool = True) -> None:
        self.deleted: list[str] = []
        self.seconds: set[int] = set()
        self.put: list[str] = []
        self._date = [f"Date: {formatdate(now, usegmt=True)}"] if dated else []
        self._items = [
            item_of(token) | {"expiry": {"N": str((now + left) * NS_PER_S)}, "ttl": {"N": str(now + left + 1)}}
            for token, left in EXPIRIES.items()
        ]

    async def __call__(self, request: Request) -> Reply:
        asked = json.loads(request.body)
        body: dict[str, object] = {}
        if request.operation == "Scan":
            now = int(asked.get("ExpressionAttributeValues", {}).get(":now", {"N": str(2**62)})["N"])
            items = [item for item in self._items if int(item["expiry"]["N"]) < now]
            body = {"Items": items, "Count": len(items), "ScannedCount": len(self._items)}
        elif request.operation == "DeleteItem":
            self.deleted.append(asked["Key"]["token"]["S"])
            self.seconds.add(int(asked["ExpressionAttributeValues"][":second"]["N"]))
        elif request.operation == "BatchWriteItem":
            (writes,) = asked["RequestItems"].values()
            self.put += [write["PutRequest"]["Item"]["token"]["S"] for write in writes]
            body = {"UnprocessedItems": {}}
        else:
            return refused(400, "AccessDeniedException")
        return reply(200, json.dumps(body).encode(), *self._date)


# This host's clock, 13 hours ahead.
HOST = NOW + 13 * 3600


def purged(url: str, kind: str, *, dry_run: bool) -> Tally:
    def clock() -> int:
        return HOST * NS_PER_S

    if kind == "sync":
        with connect("scs_session", endpoint_url=url, region="us-east-1", clock=clock) as store:
            return Batch(store).purge_expired(dry_run=dry_run)

    async def purge() -> Tally:
        async with connect_async("scs_session", endpoint_url=url, region="us-east-1", clock=clock) as store:
            return await AsyncBatch(store).purge_expired(dry_run=dry_run)

    return asyncio.run(purge())


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(("dated", "expected"), [(True, ["gone"]), (False, ["gone", "soon", "late"])])
def test_a_purge_on_a_host_13_hours_ahead_deletes_no_session_that_is_alive(
    no_proxy: None, caplog: pytest.LogCaptureFixture, kind: str, dated: bool, expected: list[str]
) -> None:
    server = ScannedTable(dated=dated)
    with FaultyDynamoDB(server) as running:
        would, did = purged(running.url, kind, dry_run=True), purged(running.url, kind, dry_run=False)
    assert server.deleted == expected
    # A marker is kept as long as by both clocks, too.
    assert server.seconds == {NOW + 1 if dated else HOST}
    assert (would.skipped, would.done) == (len(expected), 0)
    assert (did.done, did.skipped, did.failed) == (len(expected), 3 - len(expected), {})
    warnings = [entry.getMessage() for entry in caplog.records if entry.name == "dynamostore"]
    # One for each of the two stores.
    assert len(warnings) == (2 if dated else 0)
    assert all("46800 s ahead of DynamoDB's" in warning for warning in warnings)


def test_nor_does_the_command(no_proxy: None, capsys: pytest.CaptureFixture[str]) -> None:
    server = ScannedTable(int(time.time()) - 13 * 3600)
    with FaultyDynamoDB(server) as running:
        where = ["--table", "scs_session", "--endpoint-url", running.url, "--region", "us-east-1"]
        assert main(["purge", *where, "--yes", "--json"]) == 0
    assert server.deleted == ["gone"]
    done = json.loads(capsys.readouterr().out)
    assert (done["deleted"], done["skipped"]) == (1, 2)


def test_what_is_copied_or_exported_on_such_a_host_lacks_no_session_that_is_alive(
    no_proxy: None, tmp_path: Path
) -> None:
    there, here = ScannedTable(), ScannedTable()
    path = tmp_path / "sessions.jsonl.gz"
    with FaultyDynamoDB(there) as running, FaultyDynamoDB(here) as other:
        stores = [
            connect("scs_session", endpoint_url=server.url, region="us-east-1", clock=lambda: HOST * NS_PER_S)
            for server in (running, other)
        ]
        with stores[0], stores[1]:
            assert Batch(stores[0]).copy(stores[1]).done == 2
            assert Batch(stores[0]).export(path).records == 2
    assert here.put == ["soon", "late"]
    with gzip.open(path, "rt") as lines:
        assert [token for line in lines for token in ("gone", "soon", "late") if f'"{token}"' in line] == here.put
