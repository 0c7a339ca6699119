"""The fixtures that the contract's tests share: a clock, a token and an expiry."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

import pytest

from dynamostore.contract import Record

from ._clock import HOUR, FakeClock

__all__ = ["ContractFixtures", "Write"]

Write: TypeAlias = Callable[[], Record]


class ContractFixtures:
    """The fixtures of the contract's tests. A subclass defines the ``store`` fixture."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def token(self) -> str:
        return secrets.token_urlsafe(32)

    @pytest.fixture
    def later(self, clock: FakeClock) -> datetime:
        return clock.now + HOUR
