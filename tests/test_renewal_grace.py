"""Renewal with a grace: requests under way with the old token reach the renewed session, for a moment."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynamostore import Store
from dynamostore.client import Item
from dynamostore.testing import FakeClock
from session import JSONValue, SessionManager, Status

from .backends import TABLE, Backend

SECOND = timedelta(seconds=1)
GRACE = 5 * SECOND


@pytest.fixture
def manager(store: Store, clock: FakeClock) -> SessionManager:
    return SessionManager(store, idle_timeout=timedelta(hours=1), renewal_grace=GRACE, clock=clock)


@pytest.fixture
def tokens(manager: SessionManager) -> tuple[str, str]:
    """The old and the new token of a session that was just renewed."""
    with manager.session(None) as s:
        s.put_int("user", 7)
    old = s.token
    with manager.session(old) as s:
        s.renew_token(grace=True)
    assert old is not None
    assert s.token is not None
    assert s.token != old
    return old, s.token


def read(manager: SessionManager, token: str | None) -> dict[str, JSONValue]:
    with manager.session(token) as s:
        return dict(s)


def test_both_tokens_reach_the_session_until_the_grace_is_over(
    manager: SessionManager, tokens: tuple[str, str], clock: FakeClock
) -> None:
    old, new = tokens
    clock.advance(GRACE)
    assert read(manager, old) == read(manager, new) == {"user": 7}
    clock.advance(timedelta(microseconds=1))
    assert read(manager, old) == {}
    assert read(manager, new) == {"user": 7}


def test_a_change_under_the_old_token_is_made_in_the_renewed_session(
    manager: SessionManager, tokens: tuple[str, str]
) -> None:
    old, new = tokens
    with manager.session(old) as s:
        s.put_string("late", "change")
    assert read(manager, new) == {"user": 7, "late": "change"}


def test_a_change_that_was_under_way_is_merged_into_the_renewed_session(manager: SessionManager) -> None:
    with manager.session(None) as s:
        s.put_int("user", 7)
    with manager.session(s.token) as slow:
        slow.put_string("late", "change")
        with manager.session(s.token) as renewal:
            renewal.renew_token(grace=True)
    assert slow.status is Status.MODIFIED
    assert read(manager, renewal.token) == {"user": 7, "late": "change"}


def test_the_old_token_is_not_kept_alive(manager: SessionManager, tokens: tuple[str, str], clock: FakeClock) -> None:
    old, new = tokens
    for _ in range(5):
        with manager.session(old) as s:
            s.increment("visits")
        # Nor handed out once more: the request that renewed the session hands out the new one.
        assert manager.set_cookie(s) is None
        clock.advance(SECOND)
    clock.advance(SECOND)
    assert read(manager, old) == {}
    assert read(manager, new) == {"user": 7, "visits": 5}


@pytest.mark.parametrize("looks_first", [True, False])
def test_a_logout_with_the_old_token_is_a_logout(
    manager: SessionManager, tokens: tuple[str, str], looks_first: bool
) -> None:
    old, new = tokens
    with manager.session(old) as s:
        assert not looks_first or s.get_int("user") == 7
        s.destroy()
    assert read(manager, old) == read(manager, new) == {}


def test_a_session_that_is_renewed_twice_is_reached_from_its_first_token(
    manager: SessionManager, tokens: tuple[str, str]
) -> None:
    old, new = tokens
    with manager.session(new) as s:
        s.renew_token(grace=True)
    assert s.token not in (old, new, None)
    assert read(manager, old) == read(manager, new) == read(manager, s.token) == {"user": 7}
    with manager.session(s.token) as s:
        s.renew_token(grace=True)
    # Two hops, and no more.
    assert read(manager, old) == {}
    assert read(manager, new) == read(manager, s.token) == {"user": 7}


def test_without_a_grace_only_the_new_token_works(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, clock=clock)
    with manager.session(None) as s:
        s.put_int("user", 7)
    old = s.token
    with manager.session(old) as s:
        s.renew_token()
    assert read(manager, old) == {}
    assert read(manager, s.token) == {"user": 7}


def test_an_item_that_leads_to_itself_leads_nowhere(server: Backend, clock: FakeClock) -> None:
    expiry: Item = {"expiry": {"N": str(clock.now_ns + 10**9)}}
    for token, there in (("loop", "loop"), ("here", "there"), ("there", "here")):
        server.client.put_item(TableName=TABLE.name, Item={"token": {"S": token}, "moved": {"S": there}, **expiry})
    store = server.store(clock)
    for token in ("loop", "here"):
        assert store.find(token) is None
        store.delete(token)
        assert "Item" not in server.client.get_item(TableName=TABLE.name, Key={"token": {"S": token}})
