"""The conformance suite on a store of one's own, in a test module that is strictly typed itself."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import assert_type

import pytest

from dynamostore import MemoryStore, Store
from dynamostore.testing import FakeClock, StoreAgreement, StoreContract


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
