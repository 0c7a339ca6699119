"""``on_corrupt``: a session that cannot be read is an error, or counts as none; and a logout ends it in any case."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Literal, TypeAlias

import pytest

from dynamostore import CorruptRecordError, MemoryStore, UnavailableError
from dynamostore.digests import digest
from dynamostore.testing import FakeClock
from session import (
    AsyncSessionManager,
    CorruptSessionError,
    OnCorrupt,
    Session,
    SessionConflict,
    SessionData,
    SessionManager,
    Status,
)

from .awaited import AwaitedStore, finish
from .backends import TABLE, Backend, Backends
from .counting import CountingStore
from .fakes import StoredSession, assert_discreet, assert_names

HOUR = timedelta(hours=1)
SECRET = b"what nobody is to know"
Kind: TypeAlias = Literal["payload", "record"]

both_kinds = pytest.mark.parametrize("kind", ["payload", "record"])


class Spoiled:
    """A session that is stored, on a real server, and can be spoilt in its payload or its record."""

    def __init__(self, server: Backend, clock: FakeClock) -> None:
        self._server = server
        self.store = CountingStore(server.store(clock))
        self.clock = clock
        with self.manager("raise").session(None) as s:
            s.update({"k": "before", "n": 1})
        assert s.token is not None
        self.token = s.token
        self.key = self.manager("raise")._policy.key(s.token)
        self.store.taken()

    def manager(self, on_corrupt: OnCorrupt) -> SessionManager:
        return SessionManager(self.store, on_corrupt=on_corrupt, idle_timeout=HOUR, clock=self.clock)

    def spoil(self, kind: Kind) -> object:
        """Spoil it; return the item as it should stay."""
        value = {"B": SECRET} if kind == "payload" else {"S": SECRET.decode()}
        self._server.client.update_item(
            TableName=TABLE.name,
            Key={"token": {"S": self.key}},
            UpdateExpression="SET #data = :data, #version = :version",
            ExpressionAttributeNames={"#data": "data", "#version": "version"},
            ExpressionAttributeValues={":data": value, ":version": {"N": "31337"}},
        )
        return self.item()

    def item(self) -> object:
        found = self._server.client.get_item(TableName=TABLE.name, Key={"token": {"S": self.key}}, ConsistentRead=True)
        return found.get("Item")


@pytest.fixture
def spoiled(backends: Backends, clock: FakeClock) -> Spoiled:
    return Spoiled(backends.server("ministack"), clock)


ERRORS: dict[Kind, type[Exception]] = {"payload": CorruptSessionError, "record": CorruptRecordError}


@both_kinds
def test_by_default_it_is_an_error_and_left_alone(spoiled: Spoiled, kind: Kind) -> None:
    item = spoiled.spoil(kind)
    with pytest.raises(ERRORS[kind], match=digest(spoiled.key)), spoiled.manager("raise").session(spoiled.token) as s:
        s.get_int("n")
    assert spoiled.item() == item


@both_kinds
def test_reset_it_counts_as_no_session_and_is_logged_once(
    spoiled: Spoiled, caplog: pytest.LogCaptureFixture, kind: Kind
) -> None:
    item = spoiled.spoil(kind)
    manager = spoiled.manager("reset")
    for _ in range(3):
        with manager.session(spoiled.token) as s:
            assert (dict(s), s.expiry, s.remembered) == ({}, None, None)
            s.remove("n")
            s.clear()
        assert (s.token, s.status) == (None, Status.UNMODIFIED)
        # The cookie stays: a release that can read the session may be on its way.
        assert manager.set_cookie(s) is None
    assert spoiled.store.taken() == ["find"] * 3
    assert spoiled.item() == item
    (record,) = [record for record in caplog.records if record.name == "session"]
    assert record.levelno == logging.WARNING
    assert_names(record.getMessage(), spoiled.key)
    assert_discreet(Exception(), spoiled.token, spoiled.key, SECRET, log=caplog.text)


@both_kinds
def test_reset_what_is_put_begins_a_new_session_and_the_record_stays(spoiled: Spoiled, kind: Kind) -> None:
    item = spoiled.spoil(kind)
    manager = spoiled.manager("reset")
    with manager.session(spoiled.token) as s:
        s.renew_token()
        s.put_int("user_id", 7)
    assert spoiled.store.taken() == ["find", "create"]
    assert s.token not in (None, spoiled.token)
    assert f"session={s.token};" in (manager.set_cookie(s) or "")
    with manager.session(s.token) as s:
        assert dict(s) == {"user_id": 7}
    # A newer release may have written it, and can read it.
    assert spoiled.item() == item


@both_kinds
def test_reset_an_atomic_step_begins_a_new_session(spoiled: Spoiled, kind: Kind) -> None:
    spoiled.spoil(kind)
    with spoiled.manager("reset").session(spoiled.token) as s:
        assert s.atomic(lambda stored: stored.setdefault("n", 7)) == 7
    assert s.token not in (None, spoiled.token)


LOG_OUT: dict[str, Callable[[Session], object]] = {
    "at once": lambda s: None,
    "after a read": lambda s: s.get_int("n"),
}


@both_kinds
@pytest.mark.parametrize("on_corrupt", ["raise", "reset"])
@pytest.mark.parametrize("look", LOG_OUT.values(), ids=LOG_OUT)
def test_destroy_deletes_it_in_any_case(
    spoiled: Spoiled, kind: Kind, on_corrupt: OnCorrupt, look: Callable[[Session], object]
) -> None:
    spoiled.spoil(kind)
    manager = spoiled.manager(on_corrupt)
    with manager.session(spoiled.token) as s:
        try:
            look(s)
        except (CorruptSessionError, CorruptRecordError):
            assert on_corrupt == "raise"
        s.destroy()
    assert spoiled.item() is None
    assert s.status is Status.DESTROYED
    assert (manager.set_cookie(s) or "").startswith("session=; ")


@both_kinds
@pytest.mark.parametrize("on_corrupt", ["raise", "reset"])
def test_destroy_deletes_what_became_corrupt_meanwhile_and_drops_what_is_put_after_it(
    spoiled: Spoiled, kind: Kind, on_corrupt: OnCorrupt
) -> None:
    with spoiled.manager(on_corrupt).session(spoiled.token) as s:
        user = s.get_string("k")
        s.destroy()
        s.put_string("farewell", user)
        spoiled.spoil(kind)
    assert spoiled.item() is None
    assert (s.token, s.status) == (None, Status.DESTROYED)


@both_kinds
@pytest.mark.parametrize("does", ["change", "renew", "touch", "settings"])
def test_reset_a_session_that_becomes_corrupt_meanwhile_has_ended(
    spoiled: Spoiled, clock: FakeClock, kind: Kind, does: str
) -> None:
    clock.advance(HOUR / 2)
    manager = spoiled.manager("reset")
    with manager.session(spoiled.token) as s:
        assert s.get_int("n") == 1
        match does:
            case "change":
                s.put_int("n", 2)
            case "renew":
                s.renew_token()
            case "settings":
                s.remember()
            case _:
                pass
        item = spoiled.spoil(kind)
    if does == "touch":
        # Nothing is read for it, and nothing is lost.
        return
    assert (s.token, s.status) == (None, Status.DESTROYED)
    assert spoiled.item() == item
    assert manager.set_cookie(s) is None


@both_kinds
def test_a_request_that_took_a_value_out_of_what_became_corrupt_is_told(spoiled: Spoiled, kind: Kind) -> None:
    with pytest.raises(SessionConflict) as caught, spoiled.manager("reset").session(spoiled.token) as s:
        s.pop_string("k")
        item = spoiled.spoil(kind)
    assert (caught.value.ended, caught.value.keys) == (True, ("k",))
    assert_discreet(caught.value, spoiled.token, spoiled.key, SECRET)
    assert spoiled.item() == item


@both_kinds
@pytest.mark.parametrize("changes", [True, False])
def test_reset_an_atomic_step_on_what_became_corrupt_is_told(spoiled: Spoiled, kind: Kind, changes: bool) -> None:
    items: list[object] = []

    def change(stored: SessionData) -> None:
        if not items:
            items.append(spoiled.spoil(kind))
        if changes:
            stored.put_int("n", 2)

    with spoiled.manager("reset").session(spoiled.token) as s:
        s.get_int("n")
        with pytest.raises(SessionConflict) as caught:
            s.atomic(change)
        assert caught.value.ended
    assert (s.token, s.status) == (None, Status.DESTROYED)
    assert spoiled.item() == items[0]


@both_kinds
def test_it_is_an_error_by_default_where_it_becomes_so_meanwhile(spoiled: Spoiled, kind: Kind) -> None:
    with pytest.raises(ERRORS[kind]), spoiled.manager("raise").session(spoiled.token) as s:
        s.put_int("n", 2)
        item = spoiled.spoil(kind)
    with pytest.raises(ERRORS[kind]), spoiled.manager("raise").session(spoiled.token) as s:
        s.atomic(lambda stored: stored.put_int("n", 2))
    assert spoiled.item() == item


@pytest.mark.parametrize("on_corrupt", ["raise", "reset"])
def test_in_async_code(memory: MemoryStore, clock: FakeClock, on_corrupt: OnCorrupt) -> None:
    stored = StoredSession(SessionManager(memory, clock=clock), memory, SECRET)

    async def main() -> None:
        manager = AsyncSessionManager(AwaitedStore(memory), on_corrupt=on_corrupt, clock=clock)
        if on_corrupt == "raise":
            with pytest.raises(CorruptSessionError):
                async with manager.session(stored.token):
                    raise AssertionError
        else:
            async with manager.session(stored.token) as s:
                assert dict(s) == {}
                s.put_int("n", 1)
            assert s.token not in (None, stored.token)
        assert stored.now() == stored.record
        async with manager.session(stored.token, lazy=True) as s:
            s.destroy()
        assert memory.find(stored.record.token) is None

    finish(main())


def test_an_outage_is_an_outage_all_the_same(manager: SessionManager, counted: CountingStore, clock: FakeClock) -> None:
    stored = StoredSession(manager, counted._store)  # type: ignore[arg-type]  # the one in memory
    counted.failure = UnavailableError("down")
    with pytest.raises(UnavailableError), SessionManager(counted, on_corrupt="reset").session(stored.token) as s:
        s.get_int("n")
