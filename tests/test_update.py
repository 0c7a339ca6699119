"""`update`, and `load` and `commit` without a block."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynamostore import MemoryStore, UnavailableError
from dynamostore.testing import FakeClock
from session import Session, SessionClosedError, SessionConflict, SessionManager, Status

from .counting import CountingStore


@pytest.fixture
def manager(clock: FakeClock) -> SessionManager:
    return SessionManager(MemoryStore(clock=clock), clock=clock)


@pytest.fixture
def token(manager: SessionManager) -> str:
    with manager.session(None) as s:
        s.put_int("stock", 10)
    assert s.token is not None
    return s.token


class Meddling:
    """A change that takes one from the stock while others, a number of times, are faster."""

    def __init__(self, manager: SessionManager, token: str, times: int) -> None:
        self.manager = manager
        self.token = token
        self.left = times
        self.runs = 0

    def __call__(self, s: Session) -> None:
        self.runs += 1
        stock = s.get_int("stock")
        if self.left:
            self.left -= 1
            with self.manager.session(self.token) as faster:
                faster.put_int("stock", faster.get_int("stock") * 2)
        s.put_int("stock", stock - 1)


def test_a_change_is_made_again_on_what_the_faster_one_stored(manager: SessionManager, token: str) -> None:
    change = Meddling(manager, token, times=2)
    s = manager.update(token, change)
    assert change.runs == 3
    assert s.token == token
    assert s.status is Status.MODIFIED
    with manager.session(token) as s:
        assert s.get_int("stock") == 39


def test_it_gives_up_after_so_many_attempts(manager: SessionManager, token: str) -> None:
    change = Meddling(manager, token, times=100)
    with pytest.raises(SessionConflict) as caught:
        manager.update(token, change, attempts=3)
    assert change.runs == 3
    assert caught.value.ours == {"stock": 39}
    assert caught.value.theirs == {"stock": 80}


def test_what_the_change_raises_is_raised_and_nothing_is_stored(manager: SessionManager, token: str) -> None:
    def change(s: Session) -> None:
        s.clear()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        manager.update(token, change)
    with manager.session(token) as s:
        assert s.get_int("stock") == 10


def test_an_update_of_no_session_makes_one(manager: SessionManager) -> None:
    s = manager.update(None, lambda s: s.put_int("n", 1))
    assert s.token is not None
    with manager.session(s.token) as again:
        assert dict(again) == {"n": 1}
    with pytest.raises(SessionClosedError):
        s.put_int("n", 2)


def test_an_update_needs_an_attempt(manager: SessionManager) -> None:
    with pytest.raises(ValueError, match="attempts"):
        manager.update(None, print, attempts=0)


def test_a_coroutine_function_is_no_change(manager: SessionManager, token: str) -> None:
    async def change(s: Session) -> None:
        s.clear()

    with pytest.raises(TypeError, match="coroutine"), pytest.warns(RuntimeWarning, match="never awaited"):
        manager.update(token, change)
    with manager.session(token) as s:
        assert s.get_int("stock") == 10


def test_a_session_without_a_block_is_committed_by_hand(manager: SessionManager, token: str) -> None:
    s = manager.load(token)
    s.increment("stock")
    manager.commit(s)
    with pytest.raises(SessionClosedError):
        s.increment("stock")
    with pytest.raises(SessionClosedError):
        manager.commit(s)
    with manager.session(token) as again:
        assert again.get_int("stock") == 11


def test_a_session_without_a_block_is_discarded_by_hand(manager: SessionManager, token: str) -> None:
    s = manager.load(token)
    s.increment("stock")
    manager.discard(s)
    manager.discard(s)
    with pytest.raises(SessionClosedError):
        manager.commit(s)
    with manager.session(token) as again:
        assert again.get_int("stock") == 10


class Outage(CountingStore):
    """A store that cannot be reached."""

    def __getattribute__(self, name: str) -> object:
        if name in ("find", "create", "replace", "touch", "rename", "delete"):
            raise UnavailableError("no answer", operation=name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("way", ["look", "put", "renew", "update", "destroy", "begin"])
def test_an_outage_is_not_a_logout(manager: SessionManager, token: str, way: str, clock: FakeClock) -> None:
    down = SessionManager(Outage(manager.store), idle_timeout=timedelta(hours=1), clock=clock)
    sessions: list[Session] = []

    def request() -> None:
        with down.session(None if way == "begin" else token) as s:
            sessions.append(s)
            match way:
                case "look":
                    s.get_int("stock")
                case "put" | "begin":
                    s.put_int("stock", 1)
                case "renew":
                    s.renew_token()
                case "update":
                    down.update(token, lambda s: s.put_int("stock", 1))
                case "destroy":
                    s.destroy()

    with pytest.raises(UnavailableError):
        request()
    (s,) = sessions
    # The cookie is left alone: the token is still what the client sent.
    assert s.token == (None if way == "begin" else token)
    assert down.set_cookie(s) is None
    with manager.session(token) as again:
        assert again.get_int("stock") == 10


def test_an_outage_between_two_requests_on_one_session_loses_nothing(manager: SessionManager, token: str) -> None:
    with manager.session(token) as s:
        s.increment("stock")
        with pytest.raises(UnavailableError), SessionManager(Outage(manager.store)).session(token) as down:
            down.increment("stock")
    with manager.session(token) as s:
        assert s.get_int("stock") == 11
