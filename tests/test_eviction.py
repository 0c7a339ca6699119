"""Expired records are cleared away when they are read: on condition, and never at the price of the read."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from dynamostore import AccessDeniedError, DynamoStore, Record, Table, connect
from dynamostore.digests import digest
from dynamostore.testing import FakeClock

from .backends import TABLE, Backend
from .fakes import Answer, FakeDynamoDB, Fault, Watched, refusal, success

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
