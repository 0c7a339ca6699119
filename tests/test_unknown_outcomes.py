"""Writes whose outcome is not known, because a reply was lost or the request was cancelled: nothing twice, and nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynamostore import MemoryStore, UnavailableError
from dynamostore.testing import FakeClock
from session import (
    AsyncSession,
    AsyncSessionManager,
    JSONValue,
    OnConflict,
    Session,
    SessionConflict,
    SessionData,
    SessionManager,
    Status,
)

from .lossy import LossyStore, SlowStore

LEVELS: tuple[OnConflict, ...] = ("merge", "serialize", "raise", "overwrite", "merge_unchecked", "report")
Data: TypeAlias = dict[str, JSONValue]


@pytest.fixture
def store(clock: FakeClock) -> LossyStore:
    return LossyStore(clock=clock)


@pytest.fixture
def manager(store: LossyStore, clock: FakeClock) -> SessionManager:
    return SessionManager(store, renewal_grace=timedelta(minutes=1), clock=clock)


def begin(manager: SessionManager, **data: JSONValue) -> str:
    with manager.session(None) as s:
        s.update(data)
    assert s.token is not None
    return s.token


def read(manager: SessionManager, token: str | None) -> Data:
    with manager.session(token) as s:
        return dict(s)


def losing(store: LossyStore, verb: str, save: Callable[[], object]) -> None:
    store.lose = verb
    with pytest.raises(UnavailableError):
        save()


# What one request does, in any order, each reply lost or not

NAMES = st.sampled_from("abc")
STEPS = st.one_of(
    st.tuples(st.just("put"), NAMES, st.integers(0, 2)),
    st.tuples(st.just("increment"), st.just("n"), st.integers(-2, 2)),
    st.tuples(st.just("append"), st.just("list"), st.integers(0, 2)),
    st.tuples(st.just("pop"), st.just("list"), st.just(0)),
    st.tuples(st.just("remove"), NAMES, st.just(0)),
    st.tuples(st.just("setdefault"), NAMES, st.integers(0, 2)),
    st.tuples(st.just("read"), NAMES, st.just(0)),
    st.tuples(st.just("clear"), st.just(""), st.just(0)),
    st.tuples(st.just("renew"), st.just(""), st.integers(0, 1)),
    st.tuples(st.just("save"), st.just(""), st.just(0)),
    st.tuples(st.just("lose"), st.just(""), st.just(0)),
)


@example(steps=[("put", "a", 1), ("lose", "", 0), ("put", "a", 0)], level="merge")
@example(
    steps=[("increment", "n", 1), ("save", "", 0), ("increment", "n", 1), ("lose", "", 0), ("increment", "n", -1)],
    level="merge",
)
@example(steps=[("append", "list", 1), ("lose", "", 0), ("pop", "list", 0)], level="serialize")
@example(steps=[("renew", "", 0), ("lose", "", 0), ("put", "b", 1), ("lose", "", 0)], level="merge")
@given(steps=st.lists(STEPS, max_size=12), level=st.sampled_from(LEVELS))
def test_a_request_that_tries_again_ends_as_if_no_reply_had_been_lost(
    steps: list[tuple[str, str, int]], level: OnConflict
) -> None:
    store, clock = LossyStore(clock=FakeClock()), FakeClock()
    manager = SessionManager(store, on_conflict=level, renewal_grace=timedelta(minutes=1), clock=clock)
    token = begin(manager, a=0, list=[7])
    model: Data = {"a": 0, "list": [7]}
    with manager.session(token) as s:
        for verb, key, value in steps:
            do(s, verb, key, value)
            do_to(model, verb, key, value)
            if verb == "save":
                s.save()
            elif verb == "lose":
                store.lose = "any"
                try:
                    s.save()
                except UnavailableError:
                    pass
                finally:
                    store.lose = ""
        assert dict(s) == model
    assert read(manager, s.token) == model
    assert len(store._records) == (1 if model or s.token else 0)


def do(s: Session, verb: str, key: str, value: int) -> None:
    match verb:
        case "increment" if isinstance(s.peek(key, 0), int):
            s.increment(key, value)
        case "append" | "pop":
            found = s.setdefault(key, [])
            assert isinstance(found, list)
            if verb == "append":
                found.append(value)
            elif found:
                found.pop()
        case "put":
            s[key] = value
        case "remove":
            s.remove(key)
        case "setdefault":
            s.setdefault(key, value)
        case "read":
            s.get(key)
        case "clear":
            s.clear()
        case "renew":
            s.renew_token(grace=bool(value))


def do_to(model: Data, verb: str, key: str, value: int) -> None:
    match verb:
        case "increment":
            total = model.get(key, 0)
            assert isinstance(total, int)
            model[key] = total + value
        case "append" | "pop":
            found = model.setdefault(key, [])
            assert isinstance(found, list)
            if verb == "append":
                found.append(value)
            elif found:
                found.pop()
        case "put":
            model[key] = value
        case "remove":
            model.pop(key, None)
        case "setdefault":
            model.setdefault(key, value)
        case "clear":
            model.clear()


# Others in between


@pytest.mark.parametrize("grace", [True, False])
def test_a_renewal_by_another_request_does_not_hide_a_write_whose_reply_was_lost(
    manager: SessionManager, store: LossyStore, grace: bool
) -> None:
    token = begin(manager, n=0)
    with manager.session(token) as s:
        s.increment("n")
        s.setdefault("once", 1)
        losing(store, "replace", s.save)
        with manager.session(token) as other:
            other.renew_token(grace=grace)
    assert read(manager, other.token) == {"n": 1, "once": 1}


def test_a_renewal_whose_reply_is_lost_twice_is_one(manager: SessionManager, store: LossyStore) -> None:
    token = begin(manager, cart=["a"])
    store.calls.clear()
    with manager.session(token) as s:
        s["user"] = s.get_int("user", default=7)
        s.renew_token()
        losing(store, "rename", s.save)
        s["visits"] = 1
        losing(store, "replace", s.save)
    assert store.calls == ["rename", "replace", "replace"]
    assert read(manager, s.token) == {"cart": ["a"], "user": 7, "visits": 1}
    assert read(manager, token) == {}


def test_where_it_cannot_be_known_nothing_is_counted_twice(manager: SessionManager, store: LossyStore) -> None:
    token = begin(manager, n=0)
    with pytest.raises(SessionConflict, match="unknown whether"), manager.session(token) as s:
        s.increment("n")
        losing(store, "replace", s.save)
        # More writes than an item remembers.
        for at in range(10):
            with manager.session(token) as other:
                other["other"] = at
    assert read(manager, token) == {"n": 1, "other": 9}


@pytest.mark.parametrize("level", LEVELS)
def test_ones_own_lost_write_is_no_conflict(store: LossyStore, clock: FakeClock, level: OnConflict) -> None:
    manager = SessionManager(store, on_conflict=level, clock=clock)
    token = begin(manager, n=0)
    with manager.session(token) as s:
        s["n"] = 1
        losing(store, "replace", s.save)
        s["m"] = 2
    assert read(manager, token) == {"m": 2, "n": 1}


def test_raise_conflicts_with_another_request_behind_ones_own_lost_write(store: LossyStore, clock: FakeClock) -> None:
    manager = SessionManager(store, on_conflict="raise", clock=clock)
    token = begin(manager, n=0)
    with pytest.raises(SessionConflict), manager.session(token) as s:
        s["n"] = 1
        losing(store, "replace", s.save)
        with manager.session(token) as other:
            other["m"] = 2
    assert read(manager, token) == {"m": 2, "n": 1}


@pytest.mark.parametrize("verb", ["remove", "delete", "create"])
def test_what_is_put_after_a_destroy_survives_a_lost_reply(
    manager: SessionManager, store: LossyStore, verb: str
) -> None:
    token = begin(manager, user=1)
    with manager.session(token) as s:
        if verb == "remove":
            assert s["user"] == 1
        s.destroy()
        s["flash"] = "bye"
        losing(store, verb, s.save)
    assert s.status is Status.MODIFIED
    assert read(manager, s.token) == {"flash": "bye"}
    assert read(manager, token) == {}
    assert len(store._records) == 1


def test_what_is_put_after_a_destroy_survives_if_the_delete_behind_a_remove_fails(
    manager: SessionManager, store: LossyStore
) -> None:
    token = begin(manager, user=1)
    with manager.session(token) as s:
        s.renew_token(grace=True)
    with manager.session(token) as old:
        # Within the grace, by the old token: what it read is removed, then the old token's marker deleted.
        assert old["user"] == 1
        old.destroy()
        old["flash"] = "bye"
        losing(store, "delete", old.save)
    assert read(manager, old.token) == {"flash": "bye"}
    assert read(manager, s.token) == {}


def test_a_new_session_whose_reply_was_lost_is_stored_once(manager: SessionManager, store: LossyStore) -> None:
    with manager.session(None) as s:
        s.increment("n")
        losing(store, "create", s.save)
        assert s.token is None
        s.increment("n")
    assert read(manager, s.token) == {"n": 2}
    assert len(store._records) == 1


def test_what_a_lost_atomic_step_did_to_a_list_that_was_handed_out_is_not_undone(
    manager: SessionManager, store: LossyStore
) -> None:
    token = begin(manager, a=1)

    def append(stored: SessionData) -> None:
        found = stored.setdefault("list", [])
        assert isinstance(found, list)
        found.append(len(found))

    with manager.session(token) as s:
        s.atomic(append)
        losing(store, "replace", lambda: s.atomic(append))
    assert read(manager, token) == {"a": 1, "list": [0, 1]}


@pytest.mark.parametrize("level", ["merge", "serialize"])
@pytest.mark.parametrize("saves", [0, 1])
def test_after_a_lost_atomic_step_the_request_shows_what_was_there_before_and_is_not_stale(
    store: LossyStore, clock: FakeClock, level: OnConflict, saves: int
) -> None:
    manager = SessionManager(store, on_conflict=level, clock=clock)
    token = begin(manager, n=1)
    with manager.session(token) as s:
        losing(store, "replace", lambda: s.atomic(lambda stored: stored.setdefault("b", 1)))
        for _ in range(saves):
            s.save()
        assert "b" not in s
        assert s.get("b") is None
        s["a"] = 2
    assert read(manager, token) == {"a": 2, "b": 1, "n": 1}


# Cancelled


def slow(clock: FakeClock, **settings: object) -> tuple[SlowStore, AsyncSessionManager, SessionManager]:
    inner = MemoryStore(clock=clock)
    outer = SlowStore(inner)
    return outer, AsyncSessionManager(outer, clock=clock), SessionManager(inner, clock=clock)


@pytest.mark.parametrize("applied", [True, False])
def test_a_save_that_is_cancelled_counts_once(clock: FakeClock, applied: bool) -> None:
    async def main() -> Data:
        store, manager, others = slow(clock)
        token = begin(others, n=0)
        async with manager.session(token) as s:
            s.increment("n")
            s.setdefault("once", 1)
            store.before, store.after = ("", "replace") if applied else ("replace", "")
            await store.interrupted(s.save())
        return read(others, token)

    assert asyncio.run(main()) == {"n": 1, "once": 1}


@pytest.mark.parametrize("applied", [True, False])
def test_an_atomic_step_that_is_cancelled_is_no_conflict_with_oneself(clock: FakeClock, applied: bool) -> None:
    async def main() -> Data:
        store, manager, others = slow(clock)
        token = begin(others, c=0)
        async with manager.session(token) as s:
            store.before, store.after = ("", "replace") if applied else ("replace", "")
            assert s.get_int("c") == 0
            await store.interrupted(s.atomic(lambda stored: stored.increment("c")))
            s["next"] = 1
        return read(others, token)

    assert asyncio.run(main()) == {"c": int(applied), "next": 1}


def test_a_cancelled_save_with_another_request_behind_it_is_not_made_again_blindly(clock: FakeClock) -> None:
    async def main() -> Data:
        store, manager, others = slow(clock)
        token = begin(others, n=0)
        with pytest.raises(SessionConflict, match="unknown whether"):
            async with manager.session(token) as s:
                s.increment("n")
                store.after = "replace"
                await store.interrupted(s.save())
                with others.session(token) as other:
                    other["m"] = 1
        return read(others, token)

    assert asyncio.run(main()) == {"m": 1, "n": 1}


@pytest.mark.parametrize("applied", [True, False])
def test_a_logout_that_is_cancelled_counts(clock: FakeClock, applied: bool) -> None:
    async def main() -> Data:
        store, manager, others = slow(clock)
        token = begin(others, user=1)

        async def logout() -> None:
            async with manager.session(token) as s:
                s.destroy()

        store.before, store.after = ("", "delete") if applied else ("delete", "")
        await store.interrupted(logout())
        return read(others, token)

    assert asyncio.run(main()) == {}


# Another task, while the session is being stored


def test_a_list_that_another_task_changes_meanwhile_is_stored_later(clock: FakeClock) -> None:
    async def main() -> Data:
        store, manager, others = slow(clock)
        token = begin(others, cart=["a"])
        async with manager.session(token) as s:
            cart = s["cart"]
            assert isinstance(cart, list)
            s["x"] = 1
            store.before = "replace"
            saving = asyncio.ensure_future(s.save())
            await store.waits.wait()
            cart.append("b")
            store.go_on.set()
            await saving
            assert s["cart"] == ["a", "b"]
        return read(others, token)

    assert asyncio.run(main()) == {"cart": ["a", "b"], "x": 1}


def test_what_another_task_reads_meanwhile_is_compared_later(clock: FakeClock) -> None:
    async def main() -> Data:
        store, manager, others = slow(clock)
        token = begin(others, role="user")

        async def greet(s: AsyncSession) -> None:
            s["x"] = 1
            with others.session(token) as other:
                other["role"] = "admin"
            saving = asyncio.ensure_future(s.save())
            # At the second write, on the data of the other.
            store.before, store.skip = "replace", 1
            await store.waits.wait()
            role = s["role"]
            store.go_on.set()
            await saving
            s["greeting"] = role

        with pytest.raises(SessionConflict, match="role"):
            async with manager.session(token) as s:
                await greet(s)
        return read(others, token)

    assert asyncio.run(main()) == {"role": "admin", "x": 1}
