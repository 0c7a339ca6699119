"""What a renaming leaves in the table, who follows it, and who removes it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dynamostore import Conflict, DynamoStore, Record, ThrottledError, UnavailableError
from dynamostore.client import Item
from dynamostore.items import encode
from dynamostore.markers import MARKER
from dynamostore.testing import FakeClock

from .backends import TABLE, Backend
from .fakes import Watched
from .go_reader import found_by_scs

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
NS = 10**9


def raw(server: Backend, token: str) -> Item | None:
    reply = server.client.get_item(TableName=TABLE.name, Key={"token": {"S": token}}, ConsistentRead=True)
    return reply.get("Item")


def marker(server: Backend, token: str) -> Any:
    item = raw(server, token)
    assert item is not None
    assert "moved" in item
    return item


@pytest.fixture
def store(server: Backend, clock: FakeClock) -> DynamoStore:
    # To the nanosecond, so that each rounding shows.
    clock.now_ns += 999_999_999
    return server.store(clock)


@pytest.fixture
def old(store: DynamoStore, clock: FakeClock) -> Record:
    return store.create(secrets.token_urlsafe(32), b"old", clock.now + 24 * HOUR)


# What it is


@pytest.mark.parametrize("grace", [0 * HOUR, 5 * SECOND, HOUR], ids=str)
def test_a_marker_leads_to_the_new_token_and_has_no_data(
    server: Backend, store: DynamoStore, clock: FakeClock, old: Record, grace: timedelta
) -> None:
    read = store.replace(old, b"newer", old.expiry)
    new = store.rename(read, old.token + "2", b"new", old.expiry, grace=grace)
    grace_ns = int(grace.total_seconds()) * NS
    assert marker(server, old.token) == {
        "token": {"S": old.token},
        "moved": {"S": new.token},
        "expiry": {"N": str(clock.now_ns + (grace_ns or -900 * NS))},
        "ttl": {"N": str((clock.now_ns + max(grace_ns, 900 * NS)) // NS + 1)},
        "version": {"N": str(new.version)},
        "recent": {"B": read.version.to_bytes(8, "big") + old.version.to_bytes(8, "big")},
    }


def test_a_marker_of_a_record_of_scs_has_no_versions_but_its_own(
    server: Backend, store: DynamoStore, clock: FakeClock
) -> None:
    token = secrets.token_urlsafe(32)
    by_scs = Record.at(token, b"data", clock.now_ns + NS, 0)
    server.client.put_item(TableName=TABLE.name, Item=encode(TABLE, by_scs))
    new = store.rename(by_scs, token + "2", b"new", by_scs.expiry)
    assert marker(server, token).keys() == {"token", "moved", "expiry", "ttl", "version"}
    store.delete(token)
    assert store.find(new.token) is None


# Other readers


def followed_by_release_1(item: Any, now_ns: int) -> bool:
    """The rule of the previous release's reads: the expiry first, then ``moved``."""
    return int(item["expiry"]["N"]) >= now_ns and "moved" in item


@pytest.mark.parametrize("behind", [0 * SECOND, 5 * timedelta(minutes=1)], ids=["by our clock", "by a clock behind"])
def test_without_a_grace_other_readers_find_nothing(
    server: Backend, store: DynamoStore, clock: FakeClock, old: Record, behind: timedelta
) -> None:
    store.rename(old, old.token + "2", b"new", old.expiry)
    now_ns = clock.now_ns - int(behind.total_seconds()) * NS
    assert not followed_by_release_1(marker(server, old.token), now_ns)
    assert found_by_scs(marker(server, old.token), now_ns) is None


def test_a_grace_is_not_for_tables_that_scs_reads_too(
    server: Backend, store: DynamoStore, clock: FakeClock, old: Record
) -> None:
    store.rename(old, old.token + "2", b"new", old.expiry, grace=SECOND)
    assert followed_by_release_1(marker(server, old.token), clock.now_ns)
    with pytest.raises(KeyError, match="data"):  # there a panic
        found_by_scs(marker(server, old.token), clock.now_ns)
    clock.advance(2 * SECOND)
    assert not followed_by_release_1(marker(server, old.token), clock.now_ns)
    assert found_by_scs(marker(server, old.token), clock.now_ns) is None


# Who follows it, and who removes it


def test_a_read_follows_two_markers_and_no_more(
    server: Backend, store: DynamoStore, clock: FakeClock, old: Record
) -> None:
    record = old
    for n in range(4):
        record = store.rename(record, f"{old.token} {n}", b"data", old.expiry, grace=HOUR)
    watched = Watched(server.client)
    assert watched.store(TABLE, clock).find(old.token) is None
    assert [arguments["Key"]["token"]["S"] for _, arguments in watched.calls] == [
        old.token,
        f"{old.token} 0",
        f"{old.token} 1",
    ]


@pytest.mark.parametrize("grace", [0 * HOUR, 5 * SECOND, HOUR], ids=str)
def test_a_read_evicts_a_marker_once_it_has_ended(
    server: Backend, store: DynamoStore, clock: FakeClock, old: Record, grace: timedelta
) -> None:
    store.rename(old, old.token + "2", b"new", old.expiry, grace=grace)
    watched = Watched(server.client)
    reader = watched.store(TABLE, clock)
    clock.advance(max(grace, MARKER) + SECOND)
    assert reader.find(old.token) is None
    assert watched.taken() == ["get_item"]
    assert marker(server, old.token)
    clock.advance(SECOND)
    assert reader.find(old.token) is None
    assert watched.taken() == ["get_item", "delete_item"]
    assert raw(server, old.token) is None


def test_a_marker_that_was_renewed_meanwhile_is_not_evicted(
    server: Backend, store: DynamoStore, clock: FakeClock, old: Record
) -> None:
    new = store.rename(old, old.token + "2", b"new", old.expiry)
    clock.advance(MARKER + 2 * SECOND)
    again = {"delete_item": lambda: store.create(old.token, b"again", old.expiry)}
    assert Watched(server.client, before=again).store(TABLE, clock).find(old.token) is None
    found = store.find(old.token)
    assert found is not None
    assert found.data == b"again"
    assert store.find(new.token) == new


def test_delete_begins_at_the_far_end(server: Backend, store: DynamoStore, clock: FakeClock, old: Record) -> None:
    second = store.rename(old, old.token + "2", b"second", old.expiry)
    third = store.rename(second, old.token + "3", b"third", old.expiry)
    watched = Watched(server.client)
    watched.store(TABLE, clock).delete(old.token)
    deleted = [arguments["Key"]["token"]["S"] for name, arguments in watched.calls if name == "delete_item"]
    assert deleted == [old.token, second.token, third.token, second.token, old.token]
    assert [raw(server, record.token) for record in (old, second, third)] == [None, None, None]


def test_a_delete_that_was_cut_short_can_be_made_again(
    server: Backend, store: DynamoStore, clock: FakeClock, old: Record
) -> None:
    tokens = [old.token, old.token + "2", old.token + "3"]
    for end in range(1, 6):
        record = store.save(tokens[0], b"data", old.expiry)
        for token in tokens[1:]:
            record = store.rename(record, token, b"data", old.expiry)
        calls: list[str] = []

        def die(end: int = end, calls: list[str] = calls) -> None:
            calls.append("delete")
            if len(calls) == end:
                raise ConnectionResetError

        with pytest.raises(UnavailableError):
            Watched(server.client, before={"delete_item": die}).store(TABLE, clock).delete(tokens[0])
        store.delete(tokens[0])
        assert [raw(server, token) for token in tokens] == [None] * 3


def test_an_ended_marker_that_nobody_swept_counts_no_more(
    server: Backend, store: DynamoStore, clock: FakeClock, old: Record
) -> None:
    new = store.rename(old, old.token + "2", b"new", old.expiry)
    clock.advance(MARKER + 2 * SECOND)
    with pytest.raises(Conflict) as caught:
        store.replace(old, b"late", old.expiry)
    assert not caught.value.renamed
    store.delete(old.token)
    assert raw(server, old.token) is None
    assert store.find(new.token) == new


@pytest.mark.parametrize("ttl", [None, {"S": "soon"}, {"N": "0"}, {"N": "1.5"}], ids=str)
def test_a_marker_whose_ttl_is_none_lasts_as_long_as_its_grace(
    server: Backend, store: DynamoStore, clock: FakeClock, old: Record, ttl: Any
) -> None:
    item: Any = {"token": {"S": "odd"}, "moved": {"S": old.token}, "expiry": {"N": str(clock.now_ns + NS)}}
    server.client.put_item(TableName=TABLE.name, Item=item | ({} if ttl is None else {"ttl": ttl}))
    assert store.find("odd") == old
    clock.advance(3 * SECOND)
    store.delete("odd")
    assert store.find(old.token) == old
    assert raw(server, "odd") is None


# A renaming that fails


def test_a_renaming_that_fails_leaves_a_marker_that_lies_there(
    store: DynamoStore, clock: FakeClock, old: Record
) -> None:
    new = store.rename(old, old.token + "2", b"new", old.expiry)
    stale = store.create(old.token + "3", b"stale", old.expiry)
    store.replace(stale, b"newer", old.expiry)
    with pytest.raises(Conflict) as caught:
        store.rename(stale, old.token, b"late", old.expiry)
    assert not caught.value.renamed
    store.delete(old.token)
    assert store.find(new.token) is None


# Removing


def test_removing_is_one_conditional_call(server: Backend, clock: FakeClock, old: Record) -> None:
    watched = Watched(server.client)
    watched.store(TABLE, clock).remove(old)
    ((name, arguments),) = watched.calls
    assert name == "delete_item"
    assert arguments["ConditionExpression"] == "#version = :was"
    assert raw(server, old.token) is None


@pytest.mark.parametrize("changed", [{"data": {"B": b"other"}}, {"expiry": 1}, {"version": {"N": "1"}}, None], ids=str)
def test_a_record_of_scs_is_removed_if_it_is_as_it_was_read(
    server: Backend, store: DynamoStore, clock: FakeClock, changed: Any
) -> None:
    token = secrets.token_urlsafe(32)
    by_scs = Record.at(token, b"data", clock.now_ns + NS, 0)
    item: Any = encode(TABLE, by_scs)
    if changed:
        item |= changed if "expiry" not in changed else {"expiry": {"N": str(by_scs.expiry_ns + 1)}}
    server.client.put_item(TableName=TABLE.name, Item=item)
    if changed:
        with pytest.raises(Conflict):
            store.remove(by_scs)
        assert raw(server, token) is not None
    else:
        store.remove(by_scs)
        assert raw(server, token) is None


class Passing:
    """A client whose writes pass through *meddle*, which makes the call and answers for it."""

    def __init__(self, client: object, meddle: Callable[[Callable[[], object]], object]) -> None:
        self._client = client
        self._meddle = meddle

    def __getattr__(self, name: str) -> object:
        method = getattr(self._client, name)
        if name.startswith(("get_", "describe_")):
            return method
        return lambda **arguments: self._meddle(lambda: method(**arguments))


def sent_twice(call: Callable[[], object]) -> object:
    """Lose the first reply, and say that the call was sent once more."""
    call()
    try:
        return call()
    except ClientError as error:
        error.response["ResponseMetadata"]["RetryAttempts"] = 1
        raise


def over(server: Backend, clock: FakeClock, meddle: Callable[[Callable[[], object]], object]) -> DynamoStore:
    # Any object with the methods is a client; the protocol cannot see them behind __getattr__.
    return DynamoStore(Passing(server.client, meddle), TABLE, clock=clock)  # type: ignore[arg-type]


def test_a_lost_reply_to_remove_is_no_conflict(
    server: Backend, store: DynamoStore, clock: FakeClock, old: Record
) -> None:
    over(server, clock, sent_twice).remove(old)
    assert store.find(old.token) is None
    # Sent once, it is: somebody else removed it.
    with pytest.raises(Conflict) as caught:
        store.remove(old)
    assert caught.value.current is None
    changed = store.create(old.token, b"data", old.expiry)
    with pytest.raises(Conflict) as caught:
        over(server, clock, sent_twice).remove(old)
    assert caught.value.current == changed


# The version of a write whose outcome is open

WRITES: dict[str, Callable[[DynamoStore, Record], object]] = {
    "save": lambda store, old: store.save(old.token, b"new", old.expiry),
    "create": lambda store, old: store.create(old.token + "2", b"new", old.expiry),
    "replace": lambda store, old: store.replace(old, b"new", old.expiry),
    "rename": lambda store, old: store.rename(old, old.token + "2", b"new", old.expiry),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ConnectionResetError(), UnavailableError),
        (ClientError({"Error": {"Code": "ThrottlingException"}}, ""), ThrottledError),
    ],
    ids=["unavailable", "throttled"],
)
def test_an_error_that_leaves_the_outcome_open_tells_the_version(
    server: Backend,
    store: DynamoStore,
    clock: FakeClock,
    old: Record,
    write: Callable[[DynamoStore, Record], object],
    failure: Exception,
    kind: type[UnavailableError | ThrottledError],
) -> None:
    if write is WRITES["rename"] and not server.has_transactions:
        pytest.skip(f"{server.name} has no transactions: there it would be two calls")

    def lost(call: Callable[[], object]) -> object:
        call()
        raise failure

    with pytest.raises(kind) as caught:
        write(over(server, clock, lost), old)
    error = caught.value
    written = store.find(old.token + "2") or store.find(old.token)
    assert written is not None
    assert error.version == written.version
    newer = store.replace(written, b"newer", old.expiry)
    assert newer.version != error.version
    assert error.version.to_bytes(8, "big") in newer.recent


def test_a_renamed_record_remembers_the_versions_before_it(store: DynamoStore, old: Record) -> None:
    newer = store.replace(old, b"newer", old.expiry)
    renamed = store.rename(newer, old.token + "2", b"newest", old.expiry)
    read = store.find(renamed.token)
    assert read is not None
    assert read.recent == renamed.recent
    assert old.version.to_bytes(8, "big") in read.recent
    assert newer.version.to_bytes(8, "big") in read.recent


def test_what_writes_no_version_tells_none(server: Backend, clock: FakeClock, old: Record) -> None:
    def never(call: Callable[[], object]) -> object:
        raise ConnectionResetError

    failing = over(server, clock, never)
    calls: tuple[Callable[[], object], ...] = (
        lambda: failing.touch(old, old.expiry + HOUR),
        lambda: failing.delete(old.token),
        lambda: failing.remove(old),
    )
    for call in calls:
        with pytest.raises(UnavailableError) as caught:
            call()
        assert caught.value.version == 0
