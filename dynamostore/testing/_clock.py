"""`FakeClock`: a clock for tests, which moves only when the test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from dynamostore.instants import from_ns

__all__ = ["HOUR", "MICROSECOND", "QUARTER", "FakeClock"]

HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)
MICROSECOND = timedelta(microseconds=1)


class FakeClock:
    """A clock for tests, which stands still until the test moves it.

    Pass it as ``clock`` to managers and stores. Attribute *now_ns* (int) is its Unix time in nanoseconds.

    >>> clock = FakeClock()
    >>> clock.advance(timedelta(seconds=1))
    >>> clock.now
    datetime.datetime(2030, 1, 1, 0, 0, 1, tzinfo=datetime.timezone.utc)
    """

    simulated: Final = True
    """Tells stores not to compare this clock with the server's."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self.now_ns: int = int(start.timestamp()) * 10**9

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, by: timedelta) -> None:
        """Move the clock forward, or backward if *by* is negative."""
        self.now_ns += by // MICROSECOND * 1000

    @property
    def now(self) -> datetime:
        """The clock's time as an aware UTC datetime, truncated to the microsecond."""
        return from_ns(self.now_ns)
