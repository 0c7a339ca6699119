"""Renewals, logins and logouts that meet: no planted token gets at a session, and a logout reaches it under every token."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynamostore import MemoryStore, Store
from dynamostore.testing import FakeClock
from session import JSONValue, OnConflict, Session, SessionConflict, SessionManager, Status

from .counting import CountingStore

HOUR = timedelta(hours=1)
GRACE = timedelta(seconds=5)


@pytest.fixture(params=["no grace", "grace"])
def manager(store: Store, clock: FakeClock, request: pytest.FixtureRequest) -> SessionManager:
    return SessionManager(
        store,
        renewal_grace=GRACE if request.param == "grace" else None,
        mergeable={"flashes": "merge"},
        login_keys=("user_id", "csrf"),
        clock=clock,
    )


def begin(manager: SessionManager, **data: JSONValue) -> str:
    with manager.session(None) as s:
        s.update(data)
    assert s.token is not None
    return s.token


def read(manager: SessionManager, token: str | None) -> dict[str, JSONValue]:
    with manager.session(token) as s:
        return dict(s)


def log_in(s: Session, user: int) -> None:
    """Log in as frameworks do."""
    s.get_int("user_id", default=None)
    s.renew_token()
    s.put_int("user_id", user)
    s.pop_string("csrf")


def test_a_login_gives_no_grace(manager: SessionManager) -> None:
    planted = begin(manager, cart="x")
    with manager.session(planted) as victim:
        log_in(victim, 7)
    # For the length of a grace, whoever planted the token would read the logged-in session.
    assert read(manager, planted) == {}
    assert read(manager, victim.token) == {"cart": "x", "user_id": 7}


def test_a_superseded_token_cannot_renew(clock: FakeClock) -> None:
    manager = SessionManager(MemoryStore(clock=clock), renewal_grace=GRACE, login_keys=["user_id"], clock=clock)
    planted = begin(manager, cart="x", secret="s")
    with manager.session(planted) as victim:
        victim.renew_token(grace=True)
        victim.put_int("user_id", 7)
    with pytest.raises(SessionConflict) as caught, manager.session(planted) as attacker:
        attacker.get_string("secret")
        attacker.renew_token()
    assert caught.value.ended
    assert attacker.token is None
    assert manager.set_cookie(attacker) is None
    # One that read nothing begins a session of its own, without anything of the victim's.
    with manager.session(planted) as attacker:
        attacker.renew_token()
        attacker.put_int("user_id", 666)
    assert read(manager, attacker.token) == {"user_id": 666}
    assert read(manager, victim.token) == {"cart": "x", "secret": "s", "user_id": 7}
    with manager.session(planted) as attacker:
        attacker.renew_token()
    assert attacker.token is None
    clock.advance(2 * GRACE)
    assert read(manager, planted) == {}


@pytest.mark.parametrize("on_conflict", ["raise", "overwrite", "merge_unchecked", "report"])
def test_a_superseded_token_cannot_renew_whatever_the_policy(clock: FakeClock, on_conflict: OnConflict) -> None:
    manager = SessionManager(MemoryStore(clock=clock), on_conflict=on_conflict, renewal_grace=GRACE, clock=clock)
    planted = begin(manager, cart="x")
    with manager.session(planted) as victim:
        victim.renew_token(grace=True)
        victim.put_int("user_id", 7)
    with manager.session(planted) as attacker:
        attacker.renew_token()
        attacker.put_int("user_id", 666)
    assert attacker.token is None
    assert attacker.status is Status.DESTROYED
    assert read(manager, victim.token) == {"cart": "x", "user_id": 7}


def test_a_double_click_on_log_in_is_a_login(manager: SessionManager) -> None:
    token = begin(manager, cart="x", csrf="c", flashes=["old"])
    with manager.session(token) as second:
        second.get("flashes")
        log_in(second, 7)
        second.increment("logins")
        flashes = second["flashes"]
        assert isinstance(flashes, list)
        flashes.append("Welcome")
        with manager.session(token) as first:
            log_in(first, 7)
    assert second.status is Status.MODIFIED
    assert second.token not in (token, first.token, None)
    assert (manager.set_cookie(second) or "").startswith(f"session={second.token}; ")
    # It holds only what that request put.
    assert read(manager, second.token) == {"flashes": ["Welcome"], "logins": 1, "user_id": 7}
    assert read(manager, first.token) == {"cart": "x", "flashes": ["old"], "user_id": 7}
    assert read(manager, token) == {}


def test_the_loser_of_two_renewals_that_read_something_is_stale(manager: SessionManager) -> None:
    token = begin(manager, cart="x", csrf="c")
    with pytest.raises(SessionConflict, match="cart") as caught, manager.session(token) as second:
        second.get_string("cart")
        log_in(second, 7)
        with manager.session(token) as first:
            log_in(first, 7)
    assert caught.value.ended
    assert caught.value.keys == ("cart",)
    assert second.token is None
    assert manager.set_cookie(second) is None
    assert read(manager, first.token) == {"cart": "x", "user_id": 7}


@pytest.mark.parametrize("end", ["destroy", "expire"])
def test_a_login_whose_session_was_logged_out_or_expired_is_none(
    manager: SessionManager, clock: FakeClock, end: str
) -> None:
    token = begin(manager, cart="x")
    with manager.session(token) as login:
        login.renew_token()
        login.put_int("user_id", 7)
        with manager.session(token) as other:
            if end == "destroy":
                other.destroy()
            else:
                other.set_deadline(clock.now - HOUR)
    assert login.status is Status.DESTROYED
    assert login.token is None


@pytest.mark.parametrize("read_first", [True, False])
def test_a_logout_with_an_old_token_ends_the_renewed_session(
    manager: SessionManager, clock: FakeClock, read_first: bool
) -> None:
    token = begin(manager, user_id=7)
    with manager.session(token) as out:
        if read_first:
            assert out.get_int("user_id") == 7
        out.destroy()
        with manager.session(token) as other:
            other.renew_token()
        clock.advance(timedelta(minutes=14))
    assert read(manager, other.token) == {}


def test_a_logout_follows_every_renewal_of_the_last_quarter_of_an_hour(
    manager: SessionManager, clock: FakeClock
) -> None:
    first = token = begin(manager, user_id=7)
    for _ in range(5):
        with manager.session(token) as s:
            s.renew_token()
        assert s.token is not None
        token = s.token
    with manager.session(first) as out:
        out.destroy()
    assert read(manager, token) == {}
    old = begin(manager, user_id=7)
    with manager.session(old) as s:
        s.renew_token()
    clock.advance(timedelta(minutes=16))
    with manager.session(old) as out:
        out.destroy()
    assert read(manager, s.token) == {"user_id": 7}


def test_a_renewal_can_keep_the_deadline(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, lifetime=12 * HOUR, clock=clock)
    token = begin(manager, user_id=7)
    end = clock.now + 12 * HOUR
    for _ in range(2):
        clock.advance(5 * HOUR)
        with manager.session(token) as s:
            s.renew_token(deadline="keep")
        assert s.token is not None
        token = s.token
        assert s.deadline == s.expiry == end
    clock.advance(HOUR)
    with manager.session(token) as s:
        s.renew_token()
    assert s.deadline == clock.now + 12 * HOUR
    with pytest.raises(ValueError, match='"new" or "keep"'), manager.session(s.token) as s:
        s.renew_token(deadline="old")  # type: ignore[arg-type]  # that is the point


def test_a_renewal_that_keeps_the_deadline_keeps_the_one_that_another_set(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, lifetime=12 * HOUR, clock=clock)
    token = begin(manager, user_id=7)
    with manager.session(token) as s:
        s.renew_token(deadline="keep")
        with manager.session(token) as other:
            other.set_deadline(clock.now + HOUR)
    assert s.deadline == s.expiry == clock.now + HOUR


def test_renewals_that_meet_cost_one_refused_transaction(clock: FakeClock) -> None:
    counted = CountingStore(MemoryStore(clock=clock))
    manager = SessionManager(counted, login_keys=["user_id", "csrf"], clock=clock)
    token = begin(manager, csrf="c")
    with manager.session(token) as second:
        log_in(second, 7)
        with manager.session(token) as first:
            log_in(first, 7)
        counted.taken()
    assert counted.taken() == ["rename", "create"]


@pytest.mark.parametrize("end", ["destroy", "renew"])
def test_a_logout_counts_also_if_the_session_has_ended_meanwhile(clock: FakeClock, end: str) -> None:
    manager = SessionManager(MemoryStore(clock=clock), clock=clock)
    token = begin(manager, user_id=7)
    with manager.session(token) as out:
        out.put_int("n", 1)
        with manager.session(token) as other:
            other.destroy() if end == "destroy" else other.renew_token()
        out.save()
        assert out.status is Status.DESTROYED
        out.destroy()
        out.put_string("farewell", "Bye")
    assert read(manager, other.token) == {}
    # It begins no session any more.
    assert out.token is None
    assert out.status is Status.DESTROYED


@pytest.mark.parametrize(
    ("on_conflict", "key", "stale"),
    [("merge", "last_activity", False), ("merge", "cart", True), ("serialize", "last_activity", True)],
)
def test_a_hook_that_overwrites_what_it_read_makes_no_login_stale(
    clock: FakeClock, on_conflict: OnConflict, key: str, stale: bool
) -> None:
    manager = SessionManager(
        MemoryStore(clock=clock), on_conflict=on_conflict, login_keys=["user_id", "csrf"], clock=clock
    )
    token = begin(manager, csrf="c", last_activity=1, cart=["apple"])

    def hook(s: Session, n: int) -> None:
        if key == "cart":
            # A list may still hold what others put into it.
            s["cart"] = [*(s.get_object("cart", list) or ()), n]
        else:
            s.put_int(key, s.get_int(key) + n)

    try:
        with manager.session(token) as second:
            hook(second, 1)
            log_in(second, 7)
            with manager.session(token) as first:
                hook(first, 2)
                log_in(first, 7)
    except SessionConflict as conflict:
        assert stale
        assert conflict.keys == (key,)
        return
    assert not stale
    assert read(manager, second.token) == {"last_activity": 2, "user_id": 7}
