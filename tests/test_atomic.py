"""`atomic`: a decision on what is stored now, stored at once, with all reads of the request checked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from dynamostore import MemoryStore, Record, Store, UnavailableError
from dynamostore.local import LocalDynamoDB
from dynamostore.testing import FakeClock
from session import (
    AsyncSessionManager,
    JSONValue,
    OnConflict,
    Session,
    SessionClosedError,
    SessionConflict,
    SessionData,
    SessionManager,
    SessionStateError,
    Status,
)

from .counting import CountingStore

THREADS = 8


@pytest.fixture
def manager(store: Store, clock: FakeClock) -> SessionManager:
    return SessionManager(store, clock=clock)


@pytest.fixture
def shared(manager: SessionManager, request: pytest.FixtureRequest) -> SessionManager:
    """A manager for many threads at once."""
    if "moto" in request.node.name:
        pytest.skip("moto lets two threads of this process pass one condition")
    return manager


@pytest.fixture
def counted(clock: FakeClock) -> CountingStore:
    return CountingStore(MemoryStore(clock=clock))


def begin(manager: SessionManager, **data: JSONValue) -> str:
    with manager.session(None) as s:
        s.update(data)
    assert s.token is not None
    return s.token


def read(manager: SessionManager, token: str | None) -> dict[str, JSONValue]:
    with manager.session(token) as s:
        return dict(s)


def spend(s: SessionData) -> str:
    return s.pop_string("nonce")


def count_up(s: SessionData) -> bool:
    """Count, up to five."""
    if s.get_int("n") >= 5:
        return False
    s.increment("n")
    return True


def test_a_nonce_is_spent_once(shared: SessionManager) -> None:
    manager = shared
    token = begin(manager, nonce="x")

    def request(_: int) -> bool:
        with manager.session(token) as s:
            return s.atomic(spend) == "x"

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(request, range(THREADS))) == 1
    assert read(manager, token) == {}


def test_a_limit_counts_exactly(shared: SessionManager) -> None:
    manager = shared
    token = begin(manager, other=1)

    def request(_: int) -> bool:
        with manager.session(token) as s:
            return s.atomic(count_up)

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(request, range(2 * THREADS))) == 5
    assert read(manager, token) == {"n": 5, "other": 1}


def test_it_decides_on_what_is_stored_now_and_stores_at_once(manager: SessionManager) -> None:
    token = begin(manager, nonce="x", other=1)
    with manager.session(token) as s:
        assert s.get_int("other") == 1
        with manager.session(token) as faster:
            faster.put_string("nonce", "y")
        assert s.atomic(spend) == "y"
        assert read(manager, token) == {"other": 1}
        assert "nonce" not in s
        assert s.status is Status.MODIFIED


def test_pending_changes_stay_pending(manager: SessionManager) -> None:
    token = begin(manager, nonce="x", n=1)
    with manager.session(token) as s:
        s.put_string("mine", "pending")
        s.increment("n", 2)
        seen: list[dict[str, JSONValue]] = []
        with manager.session(token) as faster:
            faster.increment("n", 4)
            faster.put_string("theirs", "stored")
        assert s.atomic(lambda stored: stored.pop_string("nonce")) == "x"
        s.atomic(lambda stored: seen.append({"nonce": stored.get("nonce")}))
        assert read(manager, token) == {"n": 5, "theirs": "stored"}
    assert seen == [{"nonce": None}]
    assert read(manager, token) == {"mine": "pending", "n": 7, "theirs": "stored"}


@pytest.mark.parametrize(
    "touch",
    [
        lambda s: s.get_string("mine"),
        lambda s: s.put_string("mine", "x"),
        lambda s: "mine" in s,
        lambda s: s.increment("n"),
        list,
        lambda s: s.clear(),
        bool,
    ],
)
def test_a_pending_change_of_a_key_that_it_touches_is_an_error(
    manager: SessionManager, touch: Callable[[SessionData], object]
) -> None:
    token = begin(manager, mine="a", n=1)
    with pytest.raises(SessionStateError, match=r"pending changes of '(mine|n)'"), manager.session(token) as s:
        s.put_string("mine", "pending")
        s.increment("n")
        s.atomic(touch)
    assert read(manager, token) == {"mine": "a", "n": 1}


def test_stale_reads_of_the_request_are_refused(manager: SessionManager) -> None:
    token = begin(manager, nonce="x", role="user")
    with pytest.raises(SessionConflict, match="role") as caught, manager.session(token) as s:
        s.get_string("role")
        with manager.session(token) as faster:
            faster.put_string("role", "admin")
        s.atomic(spend)
    assert caught.value.keys == ("role",)
    assert read(manager, token) == {"nonce": "x", "role": "admin"}


def read_and_change(s: SessionData) -> None:
    s.pop("nonce", None)
    s.get("role")
    s.increment("n")


def test_what_it_read_and_changed_counts_as_read(manager: SessionManager) -> None:
    token = begin(manager, nonce="x", role="user", n=1)
    for key, value in (("nonce", "again"), ("role", "admin")):
        with pytest.raises(SessionConflict, match=key), manager.session(token) as s:
            s.atomic(read_and_change)
            with manager.session(token) as faster:
                faster[key] = value
            s.put_int("decided", 1)
    # An increment hands out no value, so nothing rests on it.
    with manager.session(token) as s:
        s.atomic(lambda stored: stored.increment("n"))
        with manager.session(token) as faster:
            faster.increment("n")
        s.put_int("decided", 1)
    assert read(manager, token) == {"decided": 1, "n": 5, "role": "admin"}


def test_the_requests_own_session_is_refused_within_it(manager: SessionManager) -> None:
    token = begin(manager, a=1)
    uses: list[Callable[[Session], object]] = [
        lambda s: s.get("a"),
        lambda s: s.put_int("a", 2),
        lambda s: s.save(),
        lambda s: s.destroy(),
        lambda s: s.renew_token(),
        lambda s: s.atomic(spend),
    ]
    with manager.session(token) as s:
        for use in uses:
            with pytest.raises(SessionStateError, match="use the session that is passed to the function"):
                s.atomic(lambda _, use=use: use(s))  # type: ignore[misc]  # a lambda with a default
        assert s.get_int("a") == 1
    assert read(manager, token) == {"a": 1}


@pytest.mark.parametrize("after", ["destroy", "renew_token"])
def test_it_is_refused_after_a_destroy_or_a_renewal(manager: SessionManager, after: str) -> None:
    token = begin(manager, a=1)
    with pytest.raises(SessionStateError), manager.session(token) as s:
        getattr(s, after)()
        s.atomic(count_up)


def test_it_is_refused_after_the_end(manager: SessionManager) -> None:
    token = begin(manager, a=1)
    kept: list[SessionData] = []
    with manager.session(token) as s:
        s.atomic(kept.append)
    with pytest.raises(SessionClosedError):
        s.atomic(count_up)
    with pytest.raises(SessionClosedError):
        kept[0].put_int("a", 2)


def test_a_session_that_has_ended_is_a_conflict(manager: SessionManager) -> None:
    token = begin(manager, nonce="x")
    with manager.session(token) as s:
        s.get_string("nonce")
        with manager.session(token) as faster:
            faster.destroy()
        for _ in range(2):
            with pytest.raises(SessionConflict) as caught:
                s.atomic(spend)
            assert caught.value.ended
        s.put_int("late", 1)
    assert s.status is Status.DESTROYED
    assert s.token is None


def test_it_begins_a_session_where_there_is_none(manager: SessionManager) -> None:
    with manager.session(None) as s:
        s.put_string("mine", "pending")
        assert s.atomic(count_up)
        assert s.token is not None
        assert read(manager, s.token) == {"n": 1}
    assert read(manager, s.token) == {"mine": "pending", "n": 1}
    assert (manager.set_cookie(s) or "").startswith(f"session={s.token}")
    with manager.session(None) as s:
        assert s.atomic(lambda stored: stored.get_int("n")) == 0
    assert s.token is None


def test_what_it_raises_is_raised_and_nothing_is_stored(manager: SessionManager) -> None:
    token = begin(manager, nonce="x")

    def fail(stored: SessionData) -> None:
        stored.pop_string("nonce")
        raise ZeroDivisionError

    with manager.session(token) as s:
        with pytest.raises(ZeroDivisionError):
            s.atomic(fail)
        assert s.get_string("nonce") == "x"
    assert read(manager, token) == {"nonce": "x"}


def test_a_coroutine_function_is_refused(manager: SessionManager) -> None:
    async def change(stored: SessionData) -> None:
        stored.clear()

    token = begin(manager, nonce="x")
    with pytest.raises(TypeError, match="plain function"), manager.session(token) as s:
        s.atomic(change)  # type: ignore[unused-coroutine]  # that is the point


def test_its_price(counted: CountingStore, clock: FakeClock) -> None:
    manager = SessionManager(counted, clock=clock)
    token = begin(manager, nonce="x")
    counted.taken()
    with manager.session(token) as s:
        s.atomic(spend)
    assert counted.taken() == ["find", "replace"]
    with manager.session(token) as s:
        # Nothing to store: the decision rests on what was read within the step.
        assert s.atomic(spend) == ""
    assert counted.taken() == ["find"]
    with manager.session(None) as s:
        s.atomic(count_up)
    assert counted.taken() == ["create"]


def test_a_decision_to_change_nothing_rests_on_what_is_stored_now(manager: SessionManager) -> None:
    token = begin(manager, n=5)
    with manager.session(token) as s:
        s.peek("n")
        with manager.session(token) as faster:
            faster.put_int("n", 0)
        assert s.atomic(count_up)
    assert read(manager, token) == {"n": 1}


def test_what_cannot_be_merged_is_refused_before_anything_is_stored(manager: SessionManager) -> None:
    token = begin(manager, n=1, c=0)
    with manager.session(token) as s:
        s.increment("n")
        with manager.session(token) as other:
            other["n"] = "text"
        with pytest.raises(SessionConflict, match="cannot be merged"):
            s.atomic(count_c)
        assert read(manager, token) == {"c": 0, "n": "text"}
        s.remove("n")
        s.save()
        s.atomic(count_c)
    assert read(manager, token) == {"c": 1}


def count_c(stored: SessionData) -> None:
    stored.increment("c")


def test_a_merge_function_that_fails_fails_before_anything_is_stored(store: Store, clock: FakeClock) -> None:
    def fail(before: object, ours: object, theirs: object) -> JSONValue:
        raise RuntimeError("no")

    manager = SessionManager(store, mergeable={"f": fail}, clock=clock)
    token = begin(manager, f=1, c=0)
    with pytest.raises(RuntimeError), manager.session(token) as s:
        s["f"] = 2
        with manager.session(token) as other:
            other["f"] = 3
        s.atomic(count_c)
    assert read(manager, token) == {"c": 0, "f": 3}


@pytest.mark.parametrize("level", ["merge", "serialize"])
def test_reads_of_mergeable_keys_count_by_what_the_step_changes(
    store: Store, clock: FakeClock, level: OnConflict
) -> None:
    manager = SessionManager(store, on_conflict=level, mergeable={"cart": "merge"}, clock=clock)
    token = begin(manager, cart=["a"])
    with manager.session(token) as s:
        cart = s["cart"]
        assert isinstance(cart, list)
        with manager.session(token) as other:
            found = other["cart"]
            assert isinstance(found, list)
            found.append("c")
        with pytest.raises(SessionConflict, match="cart"):
            s.atomic(lambda stored: stored.put_int("paid_for", len(cart)))
        with pytest.raises(SessionConflict, match="cart"):
            s.atomic(lambda stored: None)
    assert read(manager, token) == {"cart": ["a", "c"]}


def test_a_pending_clear_is_refused(manager: SessionManager) -> None:
    token = begin(manager, a=1)
    with pytest.raises(SessionStateError, match="cleared"), manager.session(token) as s:
        s.clear()
        s.atomic(lambda stored: stored.put_int("x", 1))
    assert read(manager, token) == {"a": 1}


@pytest.mark.parametrize("there", [True, False])
def test_a_dict_that_it_returns_is_the_sessions_own(manager: SessionManager, there: bool) -> None:
    token = begin(manager, a=1) if there else None
    with manager.session(token) as s:
        preferences = s.atomic(lambda stored: stored.setdefault("preferences", {}))
        assert isinstance(preferences, dict)
        preferences["lang"] = "en"
        assert s.get("preferences") == {"lang": "en"}
    assert read(manager, s.token)["preferences"] == {"lang": "en"}


class Flaky(CountingStore):
    """A store that loses the reply to a write."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.losses = 0

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        new = super().replace(record, data, expiry)
        if self.losses:
            self.losses -= 1
            raise UnavailableError("no reply", operation="UpdateItem", version=new.version)
        return new


@pytest.mark.parametrize("others", [0, 1, 3])
def test_a_write_whose_reply_was_lost_makes_its_own_request_neither_stale_nor_count_twice(
    clock: FakeClock, others: int
) -> None:
    store = Flaky(MemoryStore(clock=clock))
    manager = SessionManager(store, on_conflict="serialize", clock=clock)
    token = begin(manager, n=1, role="user", visits=0)
    with manager.session(token) as s:
        s.put_int("n", s.get_int("n") + 1)
        s.increment("visits")
        store.losses = 1
        with pytest.raises(UnavailableError):
            s.save()
        for _ in range(others):
            with manager.session(token) as other:
                other.increment("visits")
        s.put_string("decided", s.get_string("role"))
        s.increment("visits", 10)
    assert read(manager, token) == {"decided": "user", "n": 2, "role": "user", "visits": 11 + others}


def test_a_change_of_others_is_seen_behind_ones_own_lost_write(clock: FakeClock) -> None:
    store = Flaky(MemoryStore(clock=clock))
    manager = SessionManager(store, on_conflict="serialize", clock=clock)
    token = begin(manager, n=1, role="user")
    with pytest.raises(SessionConflict, match="role"), manager.session(token) as s:
        s.put_string("decided", s.get_string("role"))
        store.losses = 1
        with pytest.raises(UnavailableError):
            s.save()
        with manager.session(token) as other:
            other.put_string("role", "admin")
        s.put_int("n", 2)
    assert read(manager, token) == {"decided": "user", "n": 1, "role": "admin"}


def test_it_is_awaited_on_an_async_session(clock: FakeClock) -> None:
    async def main(dynamodb: LocalDynamoDB) -> list[bool]:
        async with dynamodb.connect_async("sessions") as store:
            await store.create_table()
            manager = AsyncSessionManager(store)
            async with manager.session(None) as s:
                s.put_string("nonce", "x")

            async def request() -> bool:
                async with manager.session(s.token) as mine:
                    with pytest.raises(TypeError, match="plain function"):
                        await mine.atomic(_never)  # type: ignore[unused-coroutine]  # that is the point
                    return await mine.atomic(spend) == "x"

            return await asyncio.gather(*(request() for _ in range(THREADS)))

    with LocalDynamoDB() as dynamodb:
        assert sum(asyncio.run(main(dynamodb))) == 1


async def _never(stored: SessionData) -> None:
    stored.clear()
