"""The store that fails when told to, for tests of apps: a store in all else; and the async store in memory."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, get_args

import pytest

from dynamostore import (
    AsyncMemoryStore,
    Conflict,
    MemoryStore,
    Record,
    Store,
    StoreError,
    ThrottledError,
    UnavailableError,
)
from dynamostore.testing import (
    AsyncFaultyStore,
    BlockingStore,
    FakeClock,
    FaultyStore,
    LoopThread,
    StoreContract,
    Verb,
)
from session import AsyncSessionManager, SessionConflict, SessionManager

from .distribution import ROOT, run
from .fakes import verb

HOUR = timedelta(hours=1)
VERBS: tuple[Verb, ...] = get_args(Verb)


@dataclass
class Faulty:
    """A faulty store, how it is called, and what it is in front of."""

    faults: FaultyStore | AsyncFaultyStore
    store: Store
    memory: MemoryStore


@pytest.fixture(params=["sync", "async"])
def faulty(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[Faulty]:
    memory = MemoryStore(clock=clock)
    if request.param == "sync":
        store = FaultyStore(memory)
        yield Faulty(store, store, memory)
        return
    with LoopThread() as loop:
        awaited = AsyncFaultyStore(AsyncMemoryStore(memory))
        yield Faulty(awaited, BlockingStore(awaited, loop), memory)


class TestContract(StoreContract):
    """A faulty store of which nothing is asked keeps the contract."""

    @pytest.fixture
    def store(self, faulty: Faulty) -> Store:
        return faulty.store


@pytest.fixture
def record(faulty: Faulty, clock: FakeClock) -> Record:
    return faulty.memory.create("token", b"data", clock.now + HOUR)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_fails_as_often_as_told_and_nothing_is_done(faulty: Faulty, record: Record, name: Verb) -> None:
    call = verb(name, faulty.store, record)
    error = ThrottledError("too fast", version=7)
    faulty.faults.fail(error, name, times=2)
    before = dict(faulty.memory._records)
    raised: list[ThrottledError] = []
    for _ in range(2):
        with pytest.raises(ThrottledError, match="too fast") as caught:
            call()
        raised.append(caught.value)
    # Copies: one that is raised twice would drag its first traceback along.
    assert len({id(error), *map(id, raised)}) == 3
    assert raised[0].version == 7
    assert faulty.memory._records == before
    if name == "create":
        with pytest.raises(Conflict):
            call()
    else:
        call()
    assert faulty.faults.calls == [name] * 3


@pytest.mark.parametrize("name", VERBS)
def test_a_lost_reply_is_an_error_of_what_was_done(faulty: Faulty, record: Record, name: Verb) -> None:
    faulty.faults.fail(UnavailableError("no answer"), applied=True)
    before = dict(faulty.memory._records)
    with pytest.raises((UnavailableError, Conflict)):
        verb(name, faulty.store, record)()
    assert (faulty.memory._records == before) is (name in ("find", "ping", "create"))


def test_faults_come_one_after_the_other_until_they_are_healed(faulty: Faulty) -> None:
    def outcome() -> str:
        try:
            faulty.store.find("token")
        except StoreError as error:
            return str(error)
        return "found"

    faulty.faults.fail(UnavailableError("first"), times=1)
    faulty.faults.fail(UnavailableError("saving"), "save", "create")
    with faulty.faults.failing(UnavailableError("second"), "find"):
        assert [outcome() for _ in range(3)] == ["first", "second", "second"]
    assert outcome() == "found"
    faulty.faults.fail(UnavailableError("all"))
    with pytest.raises(UnavailableError, match="saving"):
        faulty.store.save("token", b"", FakeClock().now)
    assert [outcome(), outcome()] == ["all", "all"]
    faulty.faults.heal()
    assert outcome() == "found"
    faulty.store.save("token", b"", FakeClock().now)


def test_another_writes_between_a_read_and_the_write(faulty: Faulty, record: Record, clock: FakeClock) -> None:
    faulty.faults.before(lambda: faulty.memory.replace(record, b"theirs", clock.now + HOUR))
    found = faulty.store.find("token")
    assert found == record
    with pytest.raises(Conflict) as caught:
        faulty.store.replace(found, b"ours", clock.now + HOUR)
    assert caught.value.current is not None
    assert caught.value.current.data == b"theirs"
    # Once.
    faulty.store.replace(caught.value.current, b"ours", clock.now + HOUR)

    faulty.faults.before(lambda: faulty.memory.delete("token"), "find", "ping")
    assert faulty.store.find("token") is None


def test_what_meets_may_raise_and_may_use_the_store_itself(clock: FakeClock) -> None:
    store = FaultyStore(MemoryStore(clock=clock))
    manager = SessionManager(store, clock=clock)
    with manager.session(None) as s:
        s.put_int("n", 1)

    def other() -> None:
        with manager.session(s.token) as theirs:
            theirs.put_int("n", 2)

    store.before(other)
    with pytest.raises(SessionConflict), manager.session(s.token) as ours:
        ours.put_int("double", 2 * ours.get_int("n"))

    store.before(lambda: 1 / 0, "find")
    with pytest.raises(ZeroDivisionError):
        store.find("token")
    store.before(lambda: 1 / 0, "find")
    store.heal()
    assert store.find("token") is None


def test_coroutine_functions_meet_in_the_async_one_only(clock: FakeClock) -> None:
    met: list[str] = []

    async def meet() -> None:
        await asyncio.sleep(0)
        met.append("met")

    sync = FaultyStore(MemoryStore(clock=clock))
    sync.before(meet, "find")
    with pytest.raises(TypeError, match="use AsyncFaultyStore"):
        sync.find("token")

    async def main() -> None:
        store = AsyncFaultyStore(AsyncMemoryStore(clock=clock))
        manager = AsyncSessionManager(store, clock=clock)
        store.before(meet)
        async with manager.session(None) as s:
            s.put_int("n", 1)
        async with store as entered:
            assert entered is store
        async with manager.session(s.token) as again:
            assert again.get_int("n") == 1

    asyncio.run(main())
    assert met == ["met"]


def test_it_closes_what_it_is_in_front_of(clock: FakeClock) -> None:
    with FaultyStore(MemoryStore(clock=clock)) as store:
        assert repr(store) == "<FaultyStore in front of <MemoryStore of 0 records>>"
    # One that cannot be closed is none the worse.
    with LoopThread() as loop, FaultyStore(BlockingStore(AsyncMemoryStore(), loop)) as store:
        store.ping()


def test_what_makes_no_sense_is_refused() -> None:
    store = FaultyStore(MemoryStore())
    bad: Any
    for bad in ("down", None, UnavailableError, KeyboardInterrupt()):
        with pytest.raises(TypeError, match="error must be an exception"):
            store.fail(bad)
    for bad in ("read", "", "Find"):
        with pytest.raises(ValueError, match="is not a method of a store; choose from find, save"):
            store.fail(UnavailableError(), bad)
        with pytest.raises(ValueError, match="is not a method of a store"):
            store.before(print, bad)
    with pytest.raises(ValueError, match="at least 1"):
        store.fail(UnavailableError(), times=0)
    bad = "replace"
    with pytest.raises(TypeError, match="change must be a function, not str"):
        store.before(bad)
    bad = AsyncMemoryStore()
    with pytest.raises(TypeError, match="must be awaited"):
        FaultyStore(bad)
    bad = MemoryStore()
    with pytest.raises(TypeError, match="not coroutine functions"):
        AsyncFaultyStore(bad)
    bad = {}
    with pytest.raises(TypeError, match="memory must be a MemoryStore, not dict"):
        AsyncMemoryStore(bad)


def test_tests_of_apps_need_neither_pytest_nor_hypothesis() -> None:
    program = "import sys, dynamostore.testing; print({'pytest', 'hypothesis'} & sys.modules.keys())"
    assert run(sys.executable, "-c", program, cwd=ROOT).strip() == "set()"


# The async store in memory


def test_each_verb_lets_other_tasks_run_once_before_it_acts(clock: FakeClock) -> None:
    async def main() -> None:
        for name in VERBS:
            memory = MemoryStore(clock=clock)
            record = memory.create("token", b"data", clock.now + HOUR)
            calls = FaultyStore(memory)
            store = AsyncMemoryStore(memory)
            store.memory = calls  # type: ignore[assignment]  # to see when it is called
            action: Any = verb(name, store, record)  # type: ignore[arg-type]  # its verbs are awaited
            task = asyncio.ensure_future(action())
            assert calls.calls == []
            await asyncio.sleep(0)
            assert calls.calls == []
            await asyncio.sleep(0)
            assert calls.calls == [name]
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_two_requests_meet_in_it_as_at_a_table(clock: FakeClock) -> None:
    """Each reads before the other writes, so that what depends on the read is found out."""

    async def main() -> None:
        manager = AsyncSessionManager(AsyncMemoryStore(clock=clock), clock=clock)
        async with manager.session(None) as s:
            s.put_int("balance", 100)

        async def pay() -> bool:
            try:
                async with manager.session(s.token) as mine:
                    mine.put_int("paid", mine.get_int("paid") + 1)
                    mine.put_int("balance", mine.get_int("balance") - 60)
            except SessionConflict:
                return False
            return True

        strict = AsyncSessionManager(manager.store, on_conflict="serialize", clock=clock)
        assert list(await asyncio.gather(pay(), pay())) == [True, True]
        manager = strict
        assert sorted(await asyncio.gather(pay(), pay())) == [False, True]

    asyncio.run(main())


def test_a_test_that_does_not_await_sees_the_same_sessions(clock: FakeClock) -> None:
    store = AsyncMemoryStore(clock=clock)
    assert AsyncMemoryStore(store.memory).memory is store.memory
    with SessionManager(store.memory, clock=clock).session(None) as s:
        s.put_int("user_id", 7)

    async def main() -> int:
        async with store, AsyncSessionManager(store, clock=clock).session(s.token) as same:
            return same.get_int("user_id")

    # On one loop after the other.
    assert [asyncio.run(main()), asyncio.run(main())] == [7, 7]
    clock.advance(25 * HOUR)
    assert asyncio.run(main()) == 0
