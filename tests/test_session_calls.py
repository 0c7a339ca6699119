"""What a session costs: the calls to the store, counted, for each kind of request."""

from __future__ import annotations

import secrets
from datetime import timedelta

import pytest

from dynamostore import MemoryStore
from dynamostore.testing import FakeClock
from session import SessionManager, Status

from .counting import CountingStore

HOUR = timedelta(hours=1)


@pytest.fixture
def counted(clock: FakeClock) -> CountingStore:
    return CountingStore(MemoryStore(clock=clock))


@pytest.fixture
def manager(counted: CountingStore, clock: FakeClock) -> SessionManager:
    return SessionManager(counted, clock=clock)


@pytest.fixture
def token(manager: SessionManager, counted: CountingStore) -> str:
    """The token of a session that is stored."""
    with manager.session(None) as s:
        s.put_int("n", 1)
        s["cart"] = ["apple"]
    assert counted.taken() == ["create"]
    assert s.token is not None
    return s.token


def test_a_request_that_never_looks_costs_nothing(manager: SessionManager, counted: CountingStore, token: str) -> None:
    with manager.session(token) as s:
        assert s.token == token
        assert s.status is Status.UNMODIFIED
        repr(s)
    with manager.session(None) as s:
        pass
    assert counted.taken() == []


def test_a_new_session_is_not_read(manager: SessionManager, counted: CountingStore) -> None:
    with manager.session(None) as s:
        assert s.get_int("n") == 0
        assert dict(s) == {}
    assert counted.taken() == []
    assert s.token is None


def test_a_token_that_cannot_be_ours_is_not_looked_up(manager: SessionManager, counted: CountingStore) -> None:
    with manager.session("admin") as s:
        assert s.get_int("n") == 0
    assert counted.taken() == []


def test_a_new_session_with_nothing_in_it_is_not_stored(manager: SessionManager, counted: CountingStore) -> None:
    with manager.session(None) as s:
        s.put_int("n", 1)
        s.remove("n")
        s.clear()
        s.renew_token()
    assert counted.taken() == []
    assert s.token is None


def test_looking_costs_one_read(manager: SessionManager, counted: CountingStore, token: str) -> None:
    with manager.session(token) as s:
        assert s.get_int("n") == 1
        assert s["cart"] == ["apple"]
        assert list(s) == ["cart", "n"]
        assert s.expiry == s.deadline
    assert counted.taken() == ["find"]


def test_an_unknown_token_costs_one_read(manager: SessionManager, counted: CountingStore) -> None:
    with manager.session(secrets.token_urlsafe(32)) as s:
        assert "n" not in s
        assert s.get_int("n") == 0
    assert counted.taken() == ["find"]


def test_a_change_costs_a_read_and_a_write(manager: SessionManager, counted: CountingStore, token: str) -> None:
    with manager.session(token) as s:
        s.put_int("n", s.get_int("n") + 1)
        s["cart"] = []
    assert counted.taken() == ["find", "replace"]


def test_a_change_within_a_list_costs_a_write(manager: SessionManager, counted: CountingStore, token: str) -> None:
    with manager.session(token) as s:
        cart = s["cart"]
        assert isinstance(cart, list)
        cart.append("pear")
    assert counted.taken() == ["find", "replace"]
    with manager.session(token) as s:
        assert s["cart"] == ["apple", "pear"]


def test_what_is_as_it_was_is_not_written(manager: SessionManager, counted: CountingStore, token: str) -> None:
    with manager.session(token) as s:
        s.put_int("n", 1)
        s["cart"] = ["apple"]
        s.put_int("n", 2)
        s.put_int("n", 1)
        s.increment("n", 3)
        s.increment("n", -3)
        s.put_string("new", "")
        s.remove("new")
        s.remove("missing")
        s.clear()
        s.update({"cart": ["apple"], "n": 1})
        assert s.status is Status.UNMODIFIED
    assert counted.taken() == ["find"]


def test_a_float_for_an_int_is_a_change(manager: SessionManager, counted: CountingStore, token: str) -> None:
    with manager.session(token) as s:
        s.put_float("n", 1.0)
    assert counted.taken() == ["find", "replace"]


def test_a_login_costs_a_read_and_a_transaction(manager: SessionManager, counted: CountingStore, token: str) -> None:
    with manager.session(token) as s:
        s.renew_token()
        s.put_int("user_id", 7)
    assert counted.taken() == ["find", "rename"]
    assert s.token != token


def test_a_logout_costs_a_delete(manager: SessionManager, counted: CountingStore, token: str) -> None:
    with manager.session(token) as s:
        s.destroy()
    assert counted.taken() == ["delete"]
    assert s.token is None


def test_a_block_left_by_an_exception_costs_no_write(
    manager: SessionManager, counted: CountingStore, token: str
) -> None:
    with pytest.raises(ZeroDivisionError), manager.session(token) as s:
        s.put_int("n", 1 // s.get_int("missing"))
    with pytest.raises(ZeroDivisionError), manager.session(token) as s:
        s.renew_token()
        s.put_int("n", 1 // 0)
    assert counted.taken() == ["find", "find"]
    assert s.token == token


def test_a_logout_counts_also_if_the_block_is_left_by_an_exception(
    manager: SessionManager, counted: CountingStore, token: str
) -> None:
    with pytest.raises(ZeroDivisionError), manager.session(token) as s:
        s.destroy()
        s.put_int("n", 1)
        s.put_int("n", 1 // 0)
    assert counted.taken() == ["delete"]
    assert s.token is None
    assert (manager.set_cookie(s) or "").startswith("session=; ")


def test_saving_twice_writes_once(manager: SessionManager, counted: CountingStore) -> None:
    with manager.session(None) as s:
        s.put_int("n", 1)
        s.save()
        assert s.token is not None
        s.save()
    assert counted.taken() == ["create"]


class TestIdleTimeout:
    @pytest.fixture
    def manager(self, counted: CountingStore, clock: FakeClock) -> SessionManager:
        return SessionManager(counted, idle_timeout=HOUR, clock=clock)

    def test_looking_soon_again_is_not_written_down(
        self, manager: SessionManager, counted: CountingStore, token: str, clock: FakeClock
    ) -> None:
        clock.advance(HOUR / 10 - timedelta(microseconds=1))
        with manager.session(token) as s:
            s.get_int("n")
        assert counted.taken() == ["find"]

    def test_looking_later_moves_the_expiry(
        self, manager: SessionManager, counted: CountingStore, token: str, clock: FakeClock
    ) -> None:
        clock.advance(HOUR / 10)
        with manager.session(token) as s:
            s.get_int("n")
        assert counted.taken() == ["find", "touch"]
        assert s.expiry == clock.now + HOUR

    def test_not_looking_moves_nothing(
        self, manager: SessionManager, counted: CountingStore, token: str, clock: FakeClock
    ) -> None:
        clock.advance(HOUR / 2)
        with manager.session(token):
            pass
        assert counted.taken() == []

    def test_at_its_deadline_there_is_nothing_left_to_move(
        self, counted: CountingStore, token: str, clock: FakeClock
    ) -> None:
        manager = SessionManager(counted, lifetime=HOUR, idle_timeout=2 * HOUR, touch_after=timedelta(0), clock=clock)
        with manager.session(None) as s:
            s.put_int("n", 1)
        for _ in range(3):
            clock.advance(HOUR / 4)
            with manager.session(s.token) as s:
                s.get_int("n")
        assert counted.taken() == ["create", "find", "find", "find"]
