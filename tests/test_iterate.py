"""Going over all sessions of a store, and putting the data of one session into another."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any, Literal

import pytest

from dynamostore import AsyncDynamoStore, DynamoStore, MemoryStore, Record, Store, Table, UnavailableError
from dynamostore.batch import AsyncBatch, Batch
from dynamostore.testing import FakeClock
from session import (
    AsyncSession,
    AsyncSessionManager,
    Session,
    SessionClosedError,
    SessionConflict,
    SessionManager,
    SessionStateError,
    Status,
)

from .awaited import AwaitedStore
from .backends import Backends, async_wire_client
from .counting import CountingStore

_numbers = itertools.count(1)
IDLE = timedelta(hours=1)


async def _at_once(_: str) -> None:
    await asyncio.sleep(0)


class Listed(AwaitedStore):
    """An async store that can list its records."""

    async def records(self) -> AsyncIterator[Record]:
        assert isinstance(self._store, MemoryStore)
        for record in self._store.records():
            await asyncio.sleep(0)
            yield record


class Drive:
    """A store of its own, sync or async, and managers on it."""

    def __init__(self, backends: Backends, kind: str, clock: FakeClock) -> None:
        self.is_async, self.clock = kind.startswith("async"), clock
        self.url: str | None = None
        if kind.endswith("memory"):
            self.store: Store = MemoryStore(clock=clock)
        else:
            backend = backends.server("ministack")
            self.url, self.table = backend.url, Table(name=f"iterate-{next(_numbers)}")
            dynamo = DynamoStore(backend.client, self.table, clock=clock)
            dynamo.create_table()
            self.store = dynamo
        self.settings: dict[str, Any] = {"clock": clock}

    @property
    def manager(self) -> SessionManager:
        return SessionManager(self.store, **self.settings)

    def begin(self, **data: Any) -> str:
        with self.manager.session(None) as s:
            s.update(data)
        assert s.token is not None
        return s.token

    def held(self, token: str) -> dict[str, Any]:
        with self.manager.session(token) as s:
            return dict(s)

    def run(self, use: Callable[[AsyncSessionManager], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            if self.url is None:
                assert isinstance(self.store, MemoryStore)
                return await use(AsyncSessionManager(Listed(self.store, _at_once), **self.settings))
            async with async_wire_client(self.url) as client:
                store = AsyncDynamoStore(client, self.table, clock=self.clock)
                return await use(AsyncSessionManager(store, **self.settings))

        return asyncio.run(main())

    def iterate(self, change: Callable[[Any], object], attempts: int = 10) -> int:
        if not self.is_async:
            return self.manager.iterate(change, attempts=attempts)

        async def awaited(s: AsyncSession) -> None:
            await asyncio.sleep(0)
            change(s)

        found: int = self.run(lambda manager: manager.iterate(awaited, attempts=attempts))
        return found

    def merge(self, token: str | None, other: str | None, change: Callable[[Any], object] = lambda s: None) -> Any:
        """Merge the session of *other* into that of *token*, and return it and what was said."""
        if not self.is_async:
            with self.manager.session(token) as s:
                merged = s.merge_session(other)
                change(s)
            return s, merged

        async def use(manager: AsyncSessionManager) -> Any:
            async with manager.session(token) as s:
                merged = await s.merge_session(other)
                change(s)
            return s, merged

        return self.run(use)


@pytest.fixture(params=["memory", "ministack", "async memory", "async ministack"])
def drive(request: pytest.FixtureRequest, backends: Backends, clock: FakeClock) -> Drive:
    return Drive(backends, request.param, clock)


def dynamo(manager: AsyncSessionManager) -> AsyncDynamoStore:
    assert isinstance(manager.store, AsyncDynamoStore)
    return manager.store


# All sessions


def test_each_session_is_visited_once_and_what_is_changed_is_stored(drive: Drive) -> None:
    tokens = [drive.begin(n=n) for n in range(30)]
    seen = []

    def change(s: Any) -> None:
        seen.append(s.get_int("n"))
        if s.get_int("n") % 2:
            s.put_bool("odd", True)
        elif s.get_int("n") == 10:
            s.destroy()

    assert drive.iterate(change) == 30
    assert sorted(seen) == list(range(30))
    for n, token in enumerate(tokens):
        assert drive.held(token) == ({} if n == 10 else {"n": n, "odd": True} if n % 2 else {"n": n})


def test_what_has_ended_and_what_is_no_session_is_left_out(drive: Drive, caplog: pytest.LogCaptureFixture) -> None:
    drive.settings["lifetime"] = IDLE
    drive.begin(n="expired")
    drive.clock.advance(IDLE + timedelta(seconds=1))
    live, renewed, ended = drive.begin(n="live"), drive.begin(n="renewed"), drive.begin(n="ended")
    with drive.manager.session(renewed) as s:
        s.renew_token()
    with drive.manager.session(ended) as s:
        s.destroy()
    later = drive.clock.now + IDLE
    drive.store.save("A" * 43, b"no session, but a secret", later)
    drive.store.save("something else", b"{}", later)
    seen: list[str] = []
    with caplog.at_level(logging.WARNING, "session"):
        assert drive.iterate(lambda s: seen.append(s.get_string("n"))) == 2
    assert sorted(seen) == ["live", "renewed"]
    assert [record.levelname for record in caplog.records if record.name == "session"] == ["WARNING"]
    assert "secret" not in caplog.text
    assert "A" * 43 not in caplog.text
    assert drive.held(live) == {"n": "live"}


def test_a_visit_is_no_activity(drive: Drive) -> None:
    drive.settings["idle_timeout"] = IDLE
    token = drive.begin(n=1)
    key = drive.manager._policy.key(token)
    before = drive.store.find(key)
    drive.clock.advance(IDLE / 2)
    drive.iterate(lambda s: s.get_int("n"))
    assert drive.store.find(key) == before
    drive.iterate(lambda s: s.increment("n"))
    after = drive.store.find(key)
    assert before is not None
    assert after is not None
    assert after.expiry == before.expiry
    assert after.version != before.version


def test_a_change_runs_again_where_another_request_was_faster(drive: Drive) -> None:
    token = drive.begin(points=1)
    runs = []

    def change(s: Any) -> None:
        runs.append(s.get_int("points"))
        s.put_int("points", s.get_int("points") * 2)
        if len(runs) == 1:
            with drive.manager.session(token) as faster:
                faster.put_int("points", 10)

    assert drive.iterate(change) == 1
    assert runs == [1, 10]
    assert drive.held(token) == {"points": 20}


def test_it_gives_up_after_so_many_attempts(drive: Drive) -> None:
    token = drive.begin(points=0)

    def change(s: Any) -> None:
        s.put_int("points", s.get_int("points") + 1)
        with drive.manager.session(token) as faster:
            faster.increment("points", 10)

    with pytest.raises(SessionConflict):
        drive.iterate(change, attempts=2)
    assert drive.held(token) == {"points": 20}
    with pytest.raises(ValueError, match="attempts"):
        drive.iterate(change, attempts=0)


def test_a_session_that_ends_meanwhile_stays_ended(drive: Drive) -> None:
    token = drive.begin(n=1)

    def change(s: Any) -> None:
        s.put_int("n", s.get_int("n") + 1)
        with drive.manager.session(token) as logout:
            logout.destroy()

    drive.iterate(change)
    assert drive.held(token) == {}


def test_an_exception_ends_it_and_stores_nothing_of_that_session(drive: Drive) -> None:
    tokens = [drive.begin(n=n) for n in range(3)]
    done: list[int] = []

    def change(s: Any) -> None:
        s.put_bool("seen", True)
        if done:
            raise RuntimeError
        done.append(s.get_int("n"))

    with pytest.raises(RuntimeError):
        drive.iterate(change)
    assert [drive.held(token).get("seen") for token in tokens].count(True) == 1


def test_nobody_would_get_a_new_token(drive: Drive) -> None:
    token = drive.begin(n=1)
    with pytest.raises(SessionStateError, match="destroy"):
        drive.iterate(lambda s: s.renew_token())
    assert drive.held(token) == {"n": 1}

    def change(s: Any) -> None:
        s.destroy()
        s.put_int("n", 2)

    with pytest.raises(SessionStateError, match="iterate"):
        drive.iterate(change)
    assert drive.iterate(lambda s: None) == 0


def test_the_records_may_be_given(drive: Drive) -> None:
    tokens = {drive.begin(n=n) for n in range(5)}
    keys = set()
    for on in (True, False):
        drive.settings["hash_tokens"] = on
        if not drive.is_async:
            if isinstance(drive.store, DynamoStore):
                assert drive.manager.iterate(lambda s: None, records=Batch(drive.store).scan(segments=2)) == 5
            drive.manager.iterate(lambda s: keys.add(s.token), records=[])
        elif drive.url:
            scanned: int = drive.run(
                lambda manager: manager.iterate(lambda s: None, records=AsyncBatch(dynamo(manager)).scan(segments=2))
            )
            assert scanned == 5
    assert keys == set()
    drive.iterate(lambda s: keys.add(s.token))
    assert keys.isdisjoint(tokens)
    assert len(keys) == 5


def test_a_store_that_cannot_list_its_records_says_so(clock: FakeClock) -> None:
    manager = SessionManager(CountingStore(MemoryStore(clock=clock)), clock=clock)
    with pytest.raises(TypeError, match="cannot list its records"):
        manager.iterate(lambda s: None)
    with pytest.raises(TypeError, match="cannot list its records"):
        asyncio.run(AsyncSessionManager(AwaitedStore(MemoryStore())).iterate(lambda s: None))


def test_a_coroutine_function_is_refused_by_the_sync_one(clock: FakeClock) -> None:
    manager = SessionManager(MemoryStore(clock=clock), clock=clock)
    with manager.session(None) as s:
        s.put_int("n", 1)

    async def change(s: Session) -> None:
        s.put_int("n", 2)

    with pytest.warns(RuntimeWarning, match="never awaited"), pytest.raises(TypeError, match="plain function"):
        manager.iterate(change)


def test_many_sessions_are_read_one_after_the_other(clock: FakeClock) -> None:
    # None is read before the one before it is done.
    memory = MemoryStore(clock=clock)
    manager = SessionManager(memory, clock=clock)
    for n in range(50):
        with manager.session(None) as s:
            s.put_int("n", n)
    under_way: list[Record] = []

    def records() -> Iterator[Record]:
        for record in memory.records():
            assert under_way == []
            under_way.append(record)
            yield record

    assert manager.iterate(lambda s: under_way.pop(), records=records()) == 50


# Of two sessions one


def test_the_data_of_another_session_comes_into_this_one(drive: Drive) -> None:
    token, other = drive.begin(lang="en", a=1), drive.begin(next="/checkout", a=2)
    s, merged = drive.merge(token, other)
    assert merged is True
    assert s.token == token
    assert drive.held(token) == {"a": 2, "lang": "en", "next": "/checkout"}
    assert drive.store.find(drive.manager._policy.key(other)) is None


@pytest.mark.parametrize("other", [None, "", "malformed", "A" * 43])
def test_where_there_is_no_other_session_nothing_happens(drive: Drive, other: str | None) -> None:
    token = drive.begin(n=1)
    s, merged = drive.merge(token, other)
    assert merged is False
    assert s.status is Status.UNMODIFIED


def test_a_session_is_not_merged_with_itself(drive: Drive) -> None:
    drive.settings["renewal_grace"] = timedelta(minutes=1)
    token = drive.begin(n=1)
    assert drive.merge(token, token)[1] is False
    with drive.manager.session(token) as renewed:
        renewed.renew_token(grace=True)
    assert drive.merge(renewed.token, token)[1] is False
    assert renewed.token is not None
    assert drive.held(renewed.token) == {"n": 1}


def test_a_new_session_takes_it_all_and_the_later_deadline(drive: Drive) -> None:
    other = drive.begin(n=1)
    deadline = drive.clock.now + timedelta(days=30)
    with drive.manager.session(other) as s:
        s.set_deadline(deadline)
    s, merged = drive.merge(None, other, lambda s: s.put_bool("mine", True))
    assert merged is True
    assert s.token not in (None, other)
    with drive.manager.session(s.token) as after:
        assert dict(after) == {"mine": True, "n": 1}
        assert after.deadline == deadline
    assert drive.held(other) == {}


def test_mergeable_keys_are_merged(drive: Drive) -> None:
    drive.settings["mergeable"] = {"cart": "merge", "hits": "add", "seen": "latest"}
    token = drive.begin(cart=["apple"], hits=1, seen=5, name="mine")
    other = drive.begin(cart=["pear"], hits=2, seen=4, name="theirs")
    drive.merge(token, other)
    assert drive.held(token) == {"cart": ["apple", "pear"], "hits": 3, "seen": 5, "name": "theirs"}


def test_a_block_that_fails_leaves_both_as_they_were(drive: Drive) -> None:
    token, other = drive.begin(a=1), drive.begin(b=2)

    def fail(s: Any) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        drive.merge(token, other, fail)
    assert drive.held(token) == {"a": 1}
    assert drive.held(other) == {"b": 2}


@pytest.mark.parametrize("how", ["destroys", "ended", "stale"])
def test_the_other_session_stays_where_its_data_was_not_stored(
    drive: Drive, how: Literal["destroys", "ended", "stale"]
) -> None:
    token, other = drive.begin(a=1), drive.begin(b=2)

    def change(s: Any) -> None:
        if how == "destroys":
            s.destroy()
            s.put_int("c", 3)
            return
        s.get_int("a")
        with drive.manager.session(token) as faster:
            if how == "ended":
                faster.destroy()
            else:
                faster.put_int("a", 2)

    try:
        drive.merge(token, other, change)
    except SessionConflict:
        assert how == "stale"
    assert drive.held(other) == {"b": 2}


def test_two_requests_at_once_keep_what_each_merged(drive: Drive) -> None:
    token, first, second = drive.begin(a=1), drive.begin(b=2), drive.begin(c=3)
    drive.merge(token, first, lambda s: drive.merge(token, second) if not drive.is_async else None)
    if drive.is_async:
        drive.merge(token, second)
    assert drive.held(token) == {"a": 1, "b": 2, "c": 3}


def test_an_outage_while_the_other_is_deleted_loses_nothing(clock: FakeClock) -> None:
    memory = MemoryStore(clock=clock)
    manager = SessionManager(memory, clock=clock)

    class Failing(CountingStore):
        def delete(self, token: str) -> None:
            raise UnavailableError("no reply")

    with manager.session(None) as other:
        other.put_int("b", 2)
    with (
        pytest.raises(UnavailableError),
        SessionManager(Failing(memory), clock=clock).session(None) as s,
    ):
        s.merge_session(other.token)
    assert s.token is not None
    with manager.session(s.token) as after:
        assert dict(after) == {"b": 2}


def test_after_the_end_nothing_is_merged(clock: FakeClock) -> None:
    manager = SessionManager(MemoryStore(clock=clock), clock=clock)
    with manager.session(None) as other:
        other.put_int("b", 2)
    with manager.session(None) as s:
        pass
    with pytest.raises(SessionClosedError):
        s.merge_session(other.token)
