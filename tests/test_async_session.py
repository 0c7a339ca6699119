"""The session in an async application: what it reads and when, two requests at once, and a request that is cancelled.

What the data and its changes are like is the same text as for the synchronous one, and tested there; and the simulation
runs on both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from datetime import timedelta
from typing import Any

import pytest

from dynamostore import MemoryStore, UnavailableError
from dynamostore.hidden import Hidden
from dynamostore.local import LocalDynamoDB
from dynamostore.testing import FakeClock
from session import (
    AsyncSession,
    AsyncSessionManager,
    SessionClosedError,
    SessionConflict,
    SessionError,
    SessionManager,
    SessionNotLoadedError,
    Status,
)

from .awaited import AwaitedStore, finish, steps
from .backends import Backends
from .counting import CountingStore


@pytest.fixture
def manager(memory: MemoryStore, clock: FakeClock) -> AsyncSessionManager:
    return AsyncSessionManager(AwaitedStore(memory), clock=clock)


@pytest.fixture
def sync(memory: MemoryStore, clock: FakeClock) -> SessionManager:
    """The same sessions, as a synchronous application sees them."""
    return SessionManager(memory, clock=clock)


@pytest.fixture
def token(sync: SessionManager) -> str:
    with sync.session(None) as s:
        s.update({"k": "before", "n": 1})
    assert s.token is not None
    return s.token


def held(sync: SessionManager, token: str | None) -> dict[str, object]:
    with sync.session(token) as s:
        return dict(s)


# What it costs


async def looks(manager: AsyncSessionManager, token: str | None) -> None:
    async with manager.session(token) as s:
        s.get_string("k")


async def changes(manager: AsyncSessionManager, token: str | None) -> None:
    async with manager.session(token) as s:
        s.put_string("k", "after")
        s.increment("n")


async def renews(manager: AsyncSessionManager, token: str | None) -> None:
    async with manager.session(token) as s:
        s.put_string("k", "after")
        s.renew_token()


async def ends(manager: AsyncSessionManager, token: str | None) -> None:
    async with manager.session(token, lazy=True) as s:
        s.destroy()


async def ignores(manager: AsyncSessionManager, token: str | None) -> None:
    async with manager.session(token, lazy=True):
        pass


Request = Callable[[AsyncSessionManager, str | None], Coroutine[Any, Any, None]]
COSTS: dict[Request, list[str]] = {
    looks: ["find", "found"],
    changes: ["find", "found", "replace", "replaced"],
    renews: ["find", "found", "rename", "renamed"],
    ends: ["delete", "deleted"],
    ignores: [],
}


@pytest.mark.parametrize("request_", COSTS, ids=lambda request: request.__name__)
def test_a_request_waits_for_no_more_than_it_needs(manager: AsyncSessionManager, token: str, request_: Request) -> None:
    assert steps(request_(manager, token)) == COSTS[request_]


@pytest.mark.parametrize("presented", [None, "", "not one of ours", "x" * 43 + "!"])
def test_a_token_that_cannot_be_one_costs_nothing(manager: AsyncSessionManager, presented: str | None) -> None:
    assert steps(looks(manager, presented)) == []


def test_what_is_changed_is_stored(manager: AsyncSessionManager, sync: SessionManager, token: str) -> None:
    finish(changes(manager, token))
    assert held(sync, token) == {"k": "after", "n": 2}


def test_a_new_session_gets_a_token_and_a_cookie(manager: AsyncSessionManager, sync: SessionManager) -> None:
    async def log_in() -> AsyncSession:
        async with manager.session(None) as s:
            s.put_string("user", "ada")
        return s

    s = finish(log_in())
    assert s.token is not None
    assert s.token in (manager.set_cookie(s) or "")
    assert held(sync, s.token) == {"user": "ada"}


def test_an_exception_discards(manager: AsyncSessionManager, sync: SessionManager, token: str) -> None:
    async def fails() -> None:
        async with manager.session(token) as s:
            s.put_string("k", "after")
            raise RuntimeError("the handler's")

    with pytest.raises(RuntimeError, match="the handler's"):
        finish(fails())
    assert held(sync, token) == {"k": "before", "n": 1}


# Read when it is asked for


def test_a_lazy_session_is_not_looked_at_before_it_is_read(manager: AsyncSessionManager, token: str) -> None:
    async def handler() -> str:
        async with manager.session(token, lazy=True) as s:
            for look in (lambda: s.get_string("k"), lambda: dict(s), lambda: s.put_int("n", 1), lambda: "k" in s):
                with pytest.raises(SessionNotLoadedError, match="load"):
                    look()
            assert s.token == token
            await s.load()
            await s.load()
            return s.get_string("k")

    assert finish(handler()) == "before"


def test_without_a_block_it_is_read_committed_or_discarded(
    manager: AsyncSessionManager, sync: SessionManager, token: str
) -> None:
    async def handler() -> AsyncSession:
        s = await manager.load(token)
        s.put_string("k", "after")
        await manager.commit(s)
        return s

    s = finish(handler())
    assert held(sync, token)["k"] == "after"
    with pytest.raises(SessionClosedError):
        s.put_string("k", "too late")
    with pytest.raises(SessionClosedError):
        finish(s.save())


# Two at once


def test_both_keep_their_changes(manager: AsyncSessionManager, sync: SessionManager, token: str) -> None:
    async def slow() -> None:
        async with manager.session(token) as s:
            s.put_string("mine", "too")
            s.increment("n")
            with sync.session(token) as other:
                other.put_string("k", "theirs")
                other.increment("n")

    finish(slow())
    assert held(sync, token) == {"k": "theirs", "mine": "too", "n": 3}


def test_a_session_that_was_logged_out_stays_out(
    manager: AsyncSessionManager, sync: SessionManager, token: str
) -> None:
    async def slow() -> AsyncSession:
        async with manager.session(token) as s:
            s.put_string("k", "after")
            with sync.session(token) as other:
                other.destroy()
        return s

    s = finish(slow())
    assert s.status is Status.DESTROYED
    assert held(sync, token) == {}


async def _turn(s: AsyncSession) -> None:
    s.put_string("player", "O" if s.get_string("player") == "X" else "X")


@pytest.mark.parametrize("change", [_turn, lambda s: s.put_string("player", "X")], ids=["coroutine", "function"])
def test_an_update_is_made_again_where_another_was_faster(
    manager: AsyncSessionManager, sync: SessionManager, token: str, change: Callable[[AsyncSession], Any]
) -> None:
    meddled = 0

    async def meddled_with(s: AsyncSession) -> None:
        nonlocal meddled
        assert s.get_int("n") == (100 + meddled if meddled else 1)
        made = change(s)
        if made is not None:
            await made
        if meddled < 2:
            meddled += 1
            with sync.session(token) as other:
                other.put_int("n", 100 + meddled)

    async def handler() -> AsyncSession:
        return await manager.update(token, meddled_with)

    # It pauses between its attempts, for real: on a real loop, then.
    s = asyncio.run(_on_a_loop(handler()))
    assert (s.get_string("player"), s.get_int("n")) == ("X", 102)


def test_an_update_gives_up_in_the_end(manager: AsyncSessionManager, sync: SessionManager, token: str) -> None:
    async def always_late(s: AsyncSession) -> None:
        s.put_string("k", f"mine, after {s.get_int('n')}")
        with sync.session(token) as other:
            other.increment("n")

    with pytest.raises(SessionConflict):
        asyncio.run(_on_a_loop(manager.update(token, always_late, attempts=3)))
    assert held(sync, token) == {"k": "before", "n": 4}
    with pytest.raises(ValueError, match="attempts"):
        finish(manager.update(token, always_late, attempts=0))


async def _on_a_loop(coroutine: Coroutine[Any, Any, AsyncSession]) -> AsyncSession:
    """What *coroutine* returns, on a loop that knows nothing of the waits of an `AwaitedStore`: they are over at once."""
    result: list[AsyncSession] = []

    async def kept() -> None:
        result.append(await coroutine)

    class Driven:
        def __await__(self) -> Generator[Any, Any, None]:
            inner = kept().__await__()
            try:
                wait = next(inner)
                while True:
                    wait = inner.send(None if isinstance(wait, str) else (yield wait))
            except StopIteration:
                return

    await Driven()
    return result[0]


# Cancelled


@pytest.mark.parametrize("request_", COSTS, ids=lambda request: request.__name__)
def test_cancelled_at_any_await_it_is_whole_before_or_after(
    memory: MemoryStore, clock: FakeClock, request_: Request
) -> None:
    sync = SessionManager(memory, clock=clock)
    for at in range(len(COSTS[request_])):
        with sync.session(None) as s:
            s.update({"k": "before", "n": 1})
        token = s.token
        kept: list[AsyncSession] = []
        manager = _Keeping(AwaitedStore(memory), kept, clock)
        coroutine = request_(manager, token)
        wait = [coroutine.send(None) for _ in range(at + 1)][-1]
        with pytest.raises(asyncio.CancelledError):
            coroutine.throw(asyncio.CancelledError())
            # It waits for something more: a logout counts, also if it is cancelled.
            assert request_ is ends
            while True:
                coroutine.send(None)
        before, after = {"k": "before", "n": 1}, {"k": "after", "n": 2} if request_ is changes else {}
        there = held(sync, token)
        # A wait that is over is for a reply: what was asked has been done. Nothing but a logout is asked after it.
        done = wait in ("replaced", "renamed", "deleted") or request_ is ends
        assert there == (after if done else before)
        (s_,) = kept
        with pytest.raises(SessionClosedError):
            s_.put_string("k", "too late")
        assert s_.status is not Status.MODIFIED


class _Keeping(AsyncSessionManager):
    """A manager that remembers its sessions, which a cancelled block does not hand out."""

    def __init__(self, store: AwaitedStore, kept: list[AsyncSession], clock: FakeClock) -> None:
        super().__init__(store, clock=clock)
        self._kept = kept

    def _begin(self, token: Hidden[str | None], policy: Any) -> AsyncSession:
        session = super()._begin(token, policy)
        self._kept.append(session)
        return session


def test_an_outage_is_no_logout(manager: AsyncSessionManager, sync: SessionManager, token: str) -> None:
    coroutine = changes(manager, token)
    coroutine.send(None)
    with pytest.raises(UnavailableError):
        coroutine.throw(UnavailableError("no answer"))
    assert held(sync, token) == {"k": "before", "n": 1}


# For real


def test_on_a_real_server_many_requests_at_once_all_count(backends: Backends) -> None:
    server = backends.server("ministack")

    async def main(dynamodb: LocalDynamoDB) -> int:
        async with dynamodb.connect_async("scs_session") as store:
            manager = AsyncSessionManager(store, idle_timeout=timedelta(hours=1))
            async with manager.session(None) as s:
                s.put_int("n", 0)

            async def request() -> None:
                async with manager.session(s.token) as mine:
                    mine.increment("n")

            await asyncio.gather(*(request() for _ in range(8)))
            async with manager.session(s.token) as s:
                return s.get_int("n")

    local = LocalDynamoDB()
    local.port = int((server.url or "").rpartition(":")[2])
    assert asyncio.run(main(local)) == 8


# Two tasks with one session


def test_what_one_task_has_put_another_ones_load_does_not_lose(
    memory: MemoryStore, sync: SessionManager, clock: FakeClock, token: str
) -> None:
    async def put(s: AsyncSession, key: str) -> None:
        await s.load()
        s.put_int(key, 1)

    async def main() -> None:
        manager = AsyncSessionManager(AwaitedStore(memory, lambda _: asyncio.sleep(0)), clock=clock)
        async with manager.session(token, lazy=True) as s:
            await asyncio.gather(put(s, "a"), put(s, "b"))

    asyncio.run(main())
    assert held(sync, token) == {"a": 1, "b": 1, "k": "before", "n": 1}


def test_what_is_changed_while_it_is_saved_is_refused(
    memory: MemoryStore, sync: SessionManager, clock: FakeClock, token: str
) -> None:
    async def main() -> None:
        manager = AsyncSessionManager(AwaitedStore(memory, lambda _: asyncio.sleep(0)), clock=clock)
        async with manager.session(token) as s:
            s.increment("n")
            saving = asyncio.create_task(s.save())
            await asyncio.sleep(0)
            with pytest.raises(SessionError, match="another task is saving"):
                s.increment("n")
            with pytest.raises(SessionError, match="another task is saving"):
                await s.save()
            assert s.get_int("n") == 2
            await saving
            s.increment("n")

    asyncio.run(main())
    assert held(sync, token) == {"k": "before", "n": 3}


def test_a_commit_that_fails_can_be_tried_again(memory: MemoryStore, clock: FakeClock, token: str) -> None:
    async def main() -> None:
        counted = CountingStore(memory)
        manager = AsyncSessionManager(AwaitedStore(counted, lambda _: asyncio.sleep(0)), clock=clock)
        s = await manager.load(token)
        s.put_int("n", 2)
        counted.failure = UnavailableError("no answer")
        with pytest.raises(UnavailableError):
            await manager.commit(s)
        counted.failure = None
        s.put_int("n", 3)
        await manager.commit(s)
        with pytest.raises(SessionClosedError):
            s.put_int("n", 4)

    asyncio.run(main())
