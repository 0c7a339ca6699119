"""What an SDK does when a reply is lost: every write is applied, and then sent once more."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from dynamostore import Conflict, DynamoStore, Record, ThrottledError, UnavailableError
from dynamostore.items import RECENT
from dynamostore.testing import FakeClock

from .backends import TABLE, Backend

HOUR = timedelta(hours=1)


class Interfering:
    """A client whose writes pass through *interfere*, which makes the call and answers for it."""

    def __init__(self, client: object, interfere: Callable[[Callable[[], object]], object]) -> None:
        self._client = client
        self._interfere = interfere

    def __getattr__(self, name: str) -> object:
        method = getattr(self._client, name)
        if name.startswith(("get_", "describe_")):
            return method
        return lambda **arguments: self._interfere(lambda: method(**arguments))


def twice(call: Callable[[], object]) -> object:
    """Lose the first reply and send the call again."""
    call()
    return call()


@pytest.fixture
def retrying(server: Backend, clock: FakeClock) -> DynamoStore:
    """A store whose client loses the first reply to each write."""
    # Any object with the methods is a client; the protocol cannot see them behind __getattr__.
    return DynamoStore(Interfering(server.client, twice), TABLE, clock=clock)  # type: ignore[arg-type]


@pytest.fixture
def record(server: Backend, clock: FakeClock) -> Record:
    return server.store(clock).create(secrets.token_urlsafe(32), b"data", clock.now + HOUR)


def test_a_lost_reply_to_create_is_no_conflict(retrying: DynamoStore, clock: FakeClock) -> None:
    token = secrets.token_urlsafe(32)
    assert retrying.create(token, b"data", clock.now + HOUR) == retrying.find(token)


def test_a_lost_reply_to_save_is_no_conflict(retrying: DynamoStore, record: Record) -> None:
    assert retrying.save(record.token, b"new", record.expiry) == retrying.find(record.token)


def test_a_lost_reply_to_replace_is_no_conflict(retrying: DynamoStore, record: Record) -> None:
    assert retrying.replace(record, b"new", record.expiry) == retrying.find(record.token)


def test_a_lost_reply_to_touch_is_no_conflict(retrying: DynamoStore, record: Record) -> None:
    assert retrying.touch(record, record.expiry + HOUR) == retrying.find(record.token)


def test_a_lost_reply_to_rename_is_no_conflict(server: Backend, retrying: DynamoStore, record: Record) -> None:
    if not server.has_transactions:
        pytest.skip(f"{server.name} has no transactions")
    renamed = retrying.rename(record, secrets.token_urlsafe(32), b"new", record.expiry)
    assert renamed == retrying.find(renamed.token)
    assert retrying.find(record.token) is None


def test_a_lost_reply_to_delete_is_no_conflict(retrying: DynamoStore, record: Record) -> None:
    retrying.delete(record.token)
    assert retrying.find(record.token) is None


def test_a_lost_reply_is_recognised_though_others_wrote_meanwhile(
    server: Backend, record: Record, clock: FakeClock
) -> None:
    others = server.store(clock)

    def lost(call: Callable[[], object]) -> object:
        call()
        for n in range(RECENT):
            there = others.find(record.token)
            assert there is not None
            others.replace(there, f"another's {n}".encode(), there.expiry)
        return call()

    client = Interfering(server.client, lost)
    ours = DynamoStore(client, TABLE, clock=clock).replace(record, b"ours", record.expiry)  # type: ignore[arg-type]  # as above
    assert ours.data == b"ours"
    there = others.find(record.token)
    assert there is not None
    assert there.data == f"another's {RECENT - 1}".encode()


def test_a_lost_reply_after_which_too_many_wrote_is_neither_success_nor_conflict(
    server: Backend, record: Record, clock: FakeClock
) -> None:
    others = server.store(clock)

    def write(times: int) -> None:
        for _ in range(times):
            there = others.find(record.token)
            assert there is not None
            others.replace(there, b"another's", there.expiry)

    def lost(call: Callable[[], object]) -> object:
        call()
        write(RECENT + 1)
        try:
            return call()
        except ClientError as error:
            error.response["ResponseMetadata"]["RetryAttempts"] = 1
            raise

    retrying = DynamoStore(Interfering(server.client, lost), TABLE, clock=clock)  # type: ignore[arg-type]  # as above
    with pytest.raises(UnavailableError, match="not known") as caught:
        retrying.replace(record, b"ours", record.expiry)
    assert caught.value.version not in (0, record.version)
    # A call that was sent once was not applied, however many wrote since.
    stale = others.find(record.token)
    assert stale is not None
    write(RECENT + 1)
    with pytest.raises(Conflict):
        others.replace(stale, b"late", record.expiry)


def test_a_lost_reply_is_recognised_though_what_was_written_has_expired(server: Backend, clock: FakeClock) -> None:
    def lost(call: Callable[[], object]) -> object:
        call()
        clock.advance(2 * HOUR)
        return call()

    store = DynamoStore(Interfering(server.client, lost), TABLE, clock=clock)  # type: ignore[arg-type]  # as above
    token = secrets.token_urlsafe(32)
    store.create(token, b"data", clock.now + HOUR)
    assert store.find(token) is None


def test_a_conflict_is_one_however_often_it_is_sent(server: Backend, retrying: DynamoStore, record: Record) -> None:
    winner = server.store().save(record.token, b"winner", record.expiry)
    with pytest.raises(Conflict) as caught:
        retrying.replace(record, b"loser", record.expiry)
    assert caught.value.current == winner


class Contention:
    """The refusal of a call because a transaction is under way on the item, a number of times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, call: Callable[[], object]) -> object:
        if self.left:
            self.left -= 1
            error = {
                "Error": {"Code": "TransactionConflictException", "Message": "Transaction is ongoing for the item"}
            }
            raise ClientError(error, "UpdateItem")  # type: ignore[arg-type]  # just what is read of it
        return call()


def test_a_transaction_on_the_same_item_is_waited_for(server: Backend, record: Record, clock: FakeClock) -> None:
    waits: list[float] = []
    client = Interfering(server.client, Contention(3))
    store = DynamoStore(client, TABLE, clock=clock, sleep=waits.append)  # type: ignore[arg-type]  # as above
    assert store.replace(record, b"new", record.expiry) == store.find(record.token)
    assert len(waits) == 3
    assert all(0 <= seconds < 0.2 for seconds in waits)


def test_a_transaction_that_does_not_end_is_throttling(server: Backend, record: Record, clock: FakeClock) -> None:
    client = Interfering(server.client, Contention(100))
    store = DynamoStore(client, TABLE, clock=clock, sleep=lambda _: None)  # type: ignore[arg-type]  # as above
    with pytest.raises(ThrottledError):
        store.replace(record, b"new", record.expiry)
    assert server.store(clock).find(record.token) == record


def test_a_lost_reply_to_a_rename_in_two_calls_is_no_conflict(
    server: Backend, record: Record, clock: FakeClock
) -> None:
    class WithoutTransactions(Interfering):
        def __getattr__(self, name: str) -> object:
            if name == "transact_write_items":
                return self._unknown
            return super().__getattr__(name)

        def _unknown(self, **arguments: object) -> object:
            error = {"Error": {"Code": "UnknownOperationException", "Message": ""}}
            raise ClientError(error, "TransactWriteItems")  # type: ignore[arg-type]  # just what is read of it

    client = WithoutTransactions(server.client, twice)
    store = DynamoStore(client, TABLE, clock=clock)  # type: ignore[arg-type]  # as above
    for grace in (timedelta(0), HOUR / 10):
        renamed = store.rename(record, secrets.token_urlsafe(32), b"new", record.expiry, grace=grace)
        assert store.find(renamed.token) == renamed
        assert store.find(record.token) == (renamed if grace else None)
        record = renamed


def test_a_token_that_is_taken_by_a_busy_record_is_a_conflict(
    server: Backend, record: Record, clock: FakeClock
) -> None:
    store = server.store(clock)
    busy = store.create(secrets.token_urlsafe(32), b"0", record.expiry)
    for n in range(RECENT + 1):
        busy = store.replace(busy, str(n).encode(), record.expiry)
    writes: tuple[Callable[[], Record], ...] = (
        lambda: store.rename(record, busy.token, b"new", record.expiry),
        lambda: store.create(busy.token, b"new", record.expiry),
    )
    for write in writes:
        with pytest.raises(Conflict) as caught:
            write()
        assert caught.value.current == busy
