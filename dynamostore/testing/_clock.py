"""`FakeClock`: a clock that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from dynamostore.instants import from_ns

__all__ = ["HOUR", "MICROSECOND", "QUARTER", "FakeClock"]

HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)
MICROSECOND = timedelta(microseconds=1)


class FakeClock:
    """A clock that stands still until it is moved; *now_ns* is Unix nanoseconds.

    >>> clock = FakeClock()
    >>> clock.advance(timedelta(seconds=1))
    >>> clock.now
    datetime.datetime(2030, 1, 1, 0, 0, 1, tzinfo=datetime.timezone.utc)
    """

    simulated: Final = True
    """It is not the time of this host, so no store compares it with the server's."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self.now_ns = int(start.timestamp()) * 10**9

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, by: timedelta) -> None:
        """Move the clock, forwards or backwards."""
        self.now_ns += by // MICROSECOND * 1000

    @property
    def now(self) -> datetime:
        """The time as an aware UTC datetime, cut off to the microsecond."""
        return from_ns(self.now_ns)
