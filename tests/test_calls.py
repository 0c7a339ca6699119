"""What each verb costs on each server: its low-level calls, counted; and that no name of a table gets in their way."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dynamostore import Conflict, DynamoStore, MemoryStore, Record, Store, Table
from dynamostore.testing import FakeClock

from .backends import TABLE, Backend
from .fakes import Watched

HOUR = timedelta(hours=1)


@pytest.fixture
def watched(server: Backend) -> Watched:
    return Watched(server.client)


@pytest.fixture
def store(watched: Watched, clock: FakeClock) -> DynamoStore:
    return watched.store(TABLE, clock)


@pytest.fixture
def record(server: Backend, clock: FakeClock) -> Record:
    return server.store(clock).create(secrets.token_urlsafe(32), b"data", clock.now + HOUR)


@pytest.fixture
def once_more(server: Backend, record: Record) -> list[str]:
    """The read that a conflict takes where the server does not send along what is there (DynamoDB does)."""
    item: Any = {"token": {"S": record.token}}
    with pytest.raises(ClientError) as caught:
        server.client.put_item(
            TableName=TABLE.name,
            Item=item,
            ConditionExpression="attribute_not_exists(version)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    return [] if "Item" in caught.value.response else ["get_item"]


# One verb, one call


def test_find_is_one_consistent_read(watched: Watched, store: DynamoStore, record: Record) -> None:
    assert store.find(record.token) == record
    ((name, arguments),) = watched.calls
    assert name == "get_item"
    assert arguments["ConsistentRead"] is True


def test_find_is_one_cheaper_read_where_that_is_wanted(watched: Watched, clock: FakeClock, record: Record) -> None:
    assert watched.store(TABLE, clock, consistent_read=False).find(record.token) == record
    ((name, arguments),) = watched.calls
    assert name == "get_item"
    assert arguments["ConsistentRead"] is False


def test_find_of_what_is_not_there_is_one_read(watched: Watched, store: DynamoStore) -> None:
    assert store.find(secrets.token_urlsafe(32)) is None
    assert watched.taken() == ["get_item"]


def test_save_is_one_call(watched: Watched, store: DynamoStore, record: Record) -> None:
    store.save(record.token, b"new", record.expiry)
    assert watched.taken() == ["put_item"]


def test_create_is_one_call(watched: Watched, store: DynamoStore, record: Record) -> None:
    store.create(record.token + "2", b"new", record.expiry)
    assert watched.taken() == ["put_item"]


def test_replace_is_one_call(watched: Watched, store: DynamoStore, record: Record) -> None:
    store.replace(record, b"new", record.expiry)
    assert watched.taken() == ["update_item"]


def test_touch_is_one_call_without_the_data(watched: Watched, store: DynamoStore, record: Record) -> None:
    store.touch(record, record.expiry + HOUR)
    ((name, arguments),) = watched.calls
    assert name == "update_item"
    assert record.data not in [value.get("B") for value in arguments["ExpressionAttributeValues"].values()]


def test_rename_is_one_transaction(server: Backend, watched: Watched, store: DynamoStore, record: Record) -> None:
    store.rename(record, record.token + "2", b"new", record.expiry)
    in_two = [] if server.has_transactions else ["put_item", "update_item"]
    assert watched.taken() == ["transact_write_items", *in_two]


def test_delete_is_one_call(watched: Watched, store: DynamoStore, record: Record) -> None:
    store.delete(record.token)
    store.delete(record.token)
    assert watched.taken() == ["delete_item"] * 2


def test_ping_is_one_cheap_read(watched: Watched, store: DynamoStore) -> None:
    store.ping()
    ((name, arguments),) = watched.calls
    assert name == "get_item"
    assert arguments["ConsistentRead"] is False


# Conflicts


def test_a_conflict_of_create_needs_no_second_read(
    watched: Watched, store: DynamoStore, record: Record, once_more: list[str]
) -> None:
    with pytest.raises(Conflict) as caught:
        store.create(record.token, b"new", record.expiry)
    assert caught.value.current == record
    assert watched.taken() == ["put_item", *once_more]


def test_a_conflict_of_replace_needs_no_second_read(
    server: Backend, watched: Watched, store: DynamoStore, record: Record, once_more: list[str]
) -> None:
    winner = server.store().save(record.token, b"winner", record.expiry)
    with pytest.raises(Conflict) as caught:
        store.replace(record, b"late", record.expiry)
    assert caught.value.current == winner
    assert watched.taken() == ["update_item", *once_more]


def test_a_touch_that_comes_too_late_needs_no_second_read(
    server: Backend, watched: Watched, store: DynamoStore, record: Record, once_more: list[str]
) -> None:
    winner = server.store().save(record.token, b"winner", record.expiry + 2 * HOUR)
    assert store.touch(record, record.expiry + HOUR).expiry == winner.expiry
    assert watched.taken() == ["update_item", *once_more]


def test_a_conflict_of_rename_needs_no_second_read(
    server: Backend, watched: Watched, store: DynamoStore, record: Record, once_more: list[str]
) -> None:
    winner = server.store().save(record.token, b"winner", record.expiry)
    with pytest.raises(Conflict) as caught:
        store.rename(record, record.token + "2", b"late", record.expiry)
    assert caught.value.current == winner
    # Without transactions the new record is put first, and taken back.
    in_two = [] if server.has_transactions else ["put_item", "update_item", "delete_item"]
    assert sorted(watched.taken()) == sorted(["transact_write_items", *in_two, *once_more])


def test_a_rename_to_a_token_that_is_taken_needs_no_second_read(
    server: Backend, watched: Watched, store: DynamoStore, record: Record, once_more: list[str]
) -> None:
    taken = server.store().save(record.token + "2", b"taken", record.expiry)
    with pytest.raises(Conflict) as caught:
        store.rename(record, taken.token, b"late", record.expiry)
    assert caught.value.current == taken
    # Without transactions it is put where nothing is first, and then where nothing is that lives.
    in_two = [] if server.has_transactions else ["put_item", *once_more, "put_item"]
    assert watched.taken() == ["transact_write_items", *in_two, *once_more]


def test_every_condition_asks_for_what_is_there_instead(watched: Watched, store: DynamoStore, clock: FakeClock) -> None:
    # Some servers send it unasked, so that nobody would notice.
    record = store.create(secrets.token_urlsafe(32), b"data", clock.now + HOUR)
    record = store.touch(store.replace(record, b"new", clock.now + HOUR), clock.now + 2 * HOUR)
    store.delete(store.rename(record, record.token + "2", b"newer", clock.now + 2 * HOUR).token)
    conditions = [part for _, arguments in watched.calls for part in _parts(arguments) if "ConditionExpression" in part]
    assert len(conditions) >= 5
    assert {part["ReturnValuesOnConditionCheckFailure"] for part in conditions} == {"ALL_OLD"}


def _parts(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """The arguments of a call, or of each call in a transaction."""
    return [part for each in arguments.get("TransactItems", ()) for part in each.values()] or [arguments]


def test_a_record_that_is_gone_is_looked_for_once(
    server: Backend, watched: Watched, store: DynamoStore, record: Record
) -> None:
    server.store().delete(record.token)
    writes: tuple[Callable[[], Record], ...] = (
        lambda: store.replace(record, b"late", record.expiry),
        lambda: store.touch(record, record.expiry + HOUR),
    )
    for write in writes:
        with pytest.raises(Conflict) as caught:
            write()
        assert caught.value.current is None
        # A refusal without an item does not say whether there is none.
        assert watched.taken() in (["update_item"], ["update_item", "get_item"])


# Bad input

BAD_TOKENS = {
    "empty": "",
    "long": "x" * 2049,
    "wide": "é" * 1025,
    "surrogate": "\ud800",
    "none": None,
    "bytes": b"token",
    "a number": 7,
    "a list": ["token"],
}


def assert_refused(store: Store, record: Record, bad: Any) -> None:
    """A token that cannot be is not found, and not written."""
    assert store.find(bad) is None
    store.delete(bad)
    writes: tuple[Callable[[], Record], ...] = (
        lambda: store.save(bad, b"data", record.expiry),
        lambda: store.create(bad, b"data", record.expiry),
        lambda: store.rename(record, bad, b"data", record.expiry),
    )
    for write in writes:
        with pytest.raises((ValueError, TypeError), match="token must"):
            write()


@pytest.mark.parametrize("bad", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_bad_token_costs_no_call(watched: Watched, store: DynamoStore, record: Record, bad: Any) -> None:
    assert_refused(store, record, bad)
    assert watched.taken() == []


@pytest.mark.parametrize("bad", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_bad_token_is_refused_in_memory_just_so(clock: FakeClock, bad: Any) -> None:
    store = MemoryStore(clock=clock)
    record = store.create("token", b"data", clock.now + HOUR)
    assert_refused(store, record, bad)
    assert store.find("token") == record


@pytest.mark.parametrize("bad", [None, "data", bytearray(b"data"), memoryview(b"data"), 7, [1]], ids=type)
def test_data_that_is_not_bytes_costs_no_call(watched: Watched, store: DynamoStore, record: Record, bad: Any) -> None:
    for each in (store, MemoryStore()):
        writes: tuple[Callable[[], Record], ...] = (
            partial(each.save, record.token, bad, record.expiry),
            partial(each.create, record.token, bad, record.expiry),
            partial(each.replace, record, bad, record.expiry),
            partial(each.rename, record, record.token + "2", bad, record.expiry),
        )
        for write in writes:
            with pytest.raises(TypeError, match="data must be bytes"):
                write()
    assert watched.taken() == []


# Names


def odd_tables() -> dict[str, Callable[[str], Table]]:
    """Tables with names that would not survive in an expression, each on a table of its own."""
    return {
        "odd": lambda name: Table(
            name=name, token="ключ", data="a.b", expiry="size", ttl="TTL", version="#v", recent="a[0]", moved="a.b.c"
        ),
        "reserved": lambda name: Table(name=name, token="select", data="values", expiry="and", ttl="not", version="or"),
        "blank": lambda name: Table(name=name, token=" ", data="a b", expiry="\t", ttl="0", version="-1", owner="\n"),
        "signs": lambda name: Table(name=name, token=":now", data="[0]", expiry=")", ttl="'", version='"', owner="\\"),
        "long": lambda name: Table(
            name=name, token="t" * 255, data="d" * 255, expiry="e" * 255, ttl="😀" * 63, version="v" * 255
        ),
        "swapped": lambda name: Table(name=name, token="data", data="token", expiry="ttl", ttl="expiry"),
    }


@pytest.mark.parametrize("make", odd_tables().values(), ids=odd_tables())
def test_every_verb_works_with_any_names(server: Backend, clock: FakeClock, make: Callable[[str], Table]) -> None:
    table = make(f"odd.table-1_{secrets.token_hex(6)}")
    store = DynamoStore(server.client, table, clock=clock)
    store.create_table()
    store.ping()

    saved = store.save("a", b"saved", clock.now + HOUR)
    raw: Any = server.client.get_item(TableName=table.name, Key={table.token: {"S": "a"}})["Item"]
    assert raw.keys() == {table.token, table.data, table.expiry, table.ttl, table.version}

    replaced = store.replace(saved, b"replaced", clock.now + 2 * HOUR)
    assert store.find("a") == replaced
    touched = store.touch(replaced, clock.now + 3 * HOUR)
    assert store.find("a") == touched
    renamed = store.rename(touched, "b", b"renamed", clock.now + HOUR)
    assert (store.find("a"), store.find("b")) == (None, renamed)
    with pytest.raises(Conflict) as caught:
        store.create("b", b"taken", clock.now + HOUR)
    assert caught.value.current == renamed
    with pytest.raises(Conflict):
        store.replace(saved, b"late", clock.now + 2 * HOUR)

    clock.advance(2 * HOUR)
    assert store.find("b") is None
    assert "Item" not in server.client.get_item(TableName=table.name, Key={table.token: {"S": "b"}})
    created = store.create("b", b"created", clock.now + HOUR)
    assert store.find("b") == created
    store.delete("b")
    assert store.find("b") is None
