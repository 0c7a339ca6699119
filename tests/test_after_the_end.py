"""After a commit or a discard, reads are harmless and changes are refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from dynamostore import MemoryStore, UnavailableError
from dynamostore.local import LocalDynamoDB
from dynamostore.testing import FakeClock
from session import AsyncSessionManager, SessionClosedError, SessionManager, Status

from .counting import CountingStore

HOUR = timedelta(hours=1)


@pytest.fixture
def counted(clock: FakeClock) -> CountingStore:
    return CountingStore(MemoryStore(clock=clock))


@pytest.fixture
def manager(counted: CountingStore, clock: FakeClock) -> SessionManager:
    return SessionManager(counted, idle_timeout=HOUR, clock=clock)


@pytest.fixture
def token(manager: SessionManager, counted: CountingStore) -> str:
    with manager.session(None) as s:
        s["user"] = "ada"
    assert s.token is not None
    counted.taken()
    return s.token


def test_what_was_committed_stays_readable(manager: SessionManager, counted: CountingStore, token: str) -> None:
    with manager.session(token) as s:
        s["cart"] = ["apple"]
    counted.taken()
    assert dict(s) == {"cart": ["apple"], "user": "ada"}
    assert s.deadline is not None
    assert counted.taken() == []
    with pytest.raises(SessionClosedError):
        s["cart"] = []


def test_after_a_discard_the_session_shows_what_is_stored(
    manager: SessionManager, counted: CountingStore, token: str
) -> None:
    with pytest.raises(ZeroDivisionError), manager.session(token) as s:
        s["user"] = "eve"
        s["half"] = 1 // 0
    assert counted.taken() == ["find"]
    assert dict(s) == {"user": "ada"}
    assert counted.taken() == []
    assert s.status is Status.UNMODIFIED
    with pytest.raises(SessionClosedError):
        s["user"] = "eve"


def test_a_session_that_was_never_read_is_read_then_and_that_is_no_activity(
    manager: SessionManager, counted: CountingStore, clock: FakeClock, token: str
) -> None:
    clock.advance(HOUR / 2)
    for _ in range(2):
        with manager.session(token) as s:
            pass
        assert counted.taken() == []
        assert s.get_string("user") == "ada"
        assert counted.taken() == ["find"]
        clock.advance(HOUR / 2)
    # It has expired by now, as if nobody had looked.
    with manager.session(token) as s:
        assert dict(s) == {}


def test_after_a_destroy_there_is_nothing_to_read(manager: SessionManager, token: str) -> None:
    with manager.session(token) as s:
        s.destroy()
    assert dict(s) == {}
    with pytest.raises(ZeroDivisionError), manager.session(token) as s:
        s.destroy()
        s["farewell"] = 1 // 0
    assert dict(s) == {}
    assert s.status is Status.DESTROYED


def test_a_destroy_that_fails_after_the_request_has_failed_is_told(
    manager: SessionManager, counted: CountingStore, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError) as caught, manager.session(token) as s:
        s.destroy()
        counted.failure = UnavailableError("no answer", operation="DeleteItem")
        s["farewell"] = 1 // 0
    assert caught.value.__notes__ == ["the session could not be destroyed: no answer"]
    assert "could not be destroyed" in caplog.text
    counted.failure = None
    assert manager.set_cookie(s) is None
    with manager.session(token) as s:
        assert s.get_string("user") == "ada"


def test_a_destroy_whose_delete_fails_is_not_tried_twice(
    manager: SessionManager, counted: CountingStore, token: str
) -> None:
    counted.failure = UnavailableError("no answer", operation="DeleteItem")
    with pytest.raises(UnavailableError), manager.session(token) as s:
        s.destroy()
    assert counted.taken() == ["delete"]


def test_values_that_cannot_be_stored_do_not_keep_a_session_alive(manager: SessionManager, token: str) -> None:
    with pytest.raises(ValueError, match="NaN"), manager.session(token) as s:
        assert s.get_string("user") == "ada"
        s.destroy()
        s["farewell"] = []
        farewell = s["farewell"]
        assert isinstance(farewell, list)
        farewell.append(float("nan"))
    with manager.session(token) as s:
        assert dict(s) == {}


def test_async_sessions_do_the_same_as_far_as_they_can() -> None:
    async def main(dynamodb: LocalDynamoDB) -> None:
        async with dynamodb.connect_async("sessions") as store:
            await store.create_table()
            manager = AsyncSessionManager(store)
            async with manager.session(None) as s:
                s["user"] = "ada"
            token = s.token
            with pytest.raises(ZeroDivisionError):
                async with manager.session(token) as s:
                    s["user"] = 1 // 0
            assert dict(s) == {"user": "ada"}
            async with manager.session(token, lazy=True) as s:
                pass
            await s.load()
            assert dict(s) == {"user": "ada"}
            with pytest.raises(ZeroDivisionError):
                async with manager.session(token) as s:
                    s.destroy()
                    s["farewell"] = 1 // 0
            async with manager.session(token) as s:
                assert dict(s) == {}

    with LocalDynamoDB() as dynamodb:
        asyncio.run(main(dynamodb))
