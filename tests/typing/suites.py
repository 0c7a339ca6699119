"""The conformance suite on a store of one's own, in a test module that is strictly typed itself."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import assert_type

import pytest

from dynamostore import AsyncMemoryStore, AsyncStore, MemoryStore, Store, UnavailableError
from dynamostore.testing import AsyncFaultyStore, FakeClock, FaultyStore, StoreAgreement, StoreContract, Verb
from session import AsyncSessionManager, SessionManager


class TestMyStore(StoreContract):
    @pytest.fixture
    def store(self, clock: FakeClock) -> Store:
        return MemoryStore(clock=clock)


class Agreement(StoreAgreement):
    def stores(self, clock: FakeClock) -> Mapping[str, Store]:
        return {"memory": MemoryStore(clock=clock), "mine": MemoryStore(clock=clock)}


class Disagreement(StoreAgreement):
    def stores(self, clock: FakeClock) -> list[Store]:  # type: ignore[override]
        return []


TestAgreement = Agreement.TestCase


async def meet() -> None: ...


def faults(verb: Verb) -> None:
    store = FaultyStore(MemoryStore())
    one: Store = store
    assert_type(store.store, Store)
    assert_type(store.calls, list[Verb])
    store.fail(UnavailableError("down"), "find", verb, times=2, applied=True)
    with store.failing(UnavailableError("down")):
        store.before(lambda: None, "replace")
    assert_type(SessionManager(store), SessionManager)
    awaited = AsyncFaultyStore(AsyncMemoryStore())
    awaited.before(meet)
    other: AsyncStore = awaited
    assert_type(AsyncSessionManager(awaited), AsyncSessionManager)
    store.fail("down")  # type: ignore[arg-type]
    store.fail(UnavailableError("down"), "read")  # type: ignore[arg-type]
    store.before(None)  # type: ignore[arg-type]
    FaultyStore(AsyncMemoryStore())  # type: ignore[arg-type]
    AsyncFaultyStore(MemoryStore())  # type: ignore[arg-type]
    SessionManager(awaited)  # type: ignore[arg-type]


def clocks() -> None:
    clock = FakeClock(datetime(2030, 1, 1, tzinfo=UTC))
    clock.advance(timedelta(hours=1))
    assert_type(clock(), int)
    assert_type(clock.now, datetime)
    assert_type(clock.now_ns, int)
    clock.now_ns += 1
    clock.advance(3600)  # type: ignore[arg-type]
    clock.now = datetime.now(UTC)  # type: ignore[misc]
    FakeClock(0)  # type: ignore[arg-type]
