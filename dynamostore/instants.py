"""Instants: aware datetimes for people, Unix nanoseconds (int) for the item.

Everything that is compared or stored is an ``int`` of nanoseconds since the Unix epoch, as SCS for Go
has it; a ``datetime`` (microseconds) is only ever a view of it.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

__all__ = ["EPOCH", "INT64_MAX", "INT64_MIN", "NS_PER_S", "Clock", "duration_ns", "from_ns", "http_date_ns", "to_ns"]

Clock: TypeAlias = Callable[[], int]
"""A clock: what time it is, in Unix nanoseconds. ``time.time_ns`` is one."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The instant from which nanoseconds are counted."""
INT64_MAX = 2**63 - 1
"""The last instant that an item can hold, in nanoseconds."""
INT64_MIN = -(2**63)
"""The first instant that an item can hold, in nanoseconds."""
NS_PER_S = 1_000_000_000
"""Nanoseconds in a second."""

_MICROSECOND = timedelta(microseconds=1)


def to_ns(instant: datetime, what: str = "expiry") -> int:
    """Unix nanoseconds of an aware datetime.

    *what* names the argument in errors. Raises `TypeError` for anything but a datetime, and `ValueError`
    for a naive one or one outside signed 64-bit nanoseconds (1677 to 2262), where Go's ``UnixNano``
    overflows.

    >>> to_ns(datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC))
    1000000000000000000
    """
    if not isinstance(instant, datetime):
        raise TypeError(f"{what} must be a datetime, not {type(instant).__name__}")
    if instant.utcoffset() is None:
        raise ValueError(f"{what} must be timezone-aware: use datetime.now(UTC), say")
    ns = (instant - EPOCH) // _MICROSECOND * 1000
    if not INT64_MIN <= ns <= INT64_MAX:
        raise ValueError(
            f"{what} {instant.isoformat()} is outside 1677-09-21 to 2262-04-11, the range of 64-bit nanoseconds"
        )
    return ns


def from_ns(ns: int) -> datetime:
    """The aware UTC datetime of Unix nanoseconds, cut off (not rounded) to the microsecond.

    Total for signed 64-bit integers; `OverflowError` beyond what a datetime can say.

    >>> from_ns(1_000_000_000_000_001_999).isoformat()
    '2001-09-09T01:46:40.000001+00:00'
    """
    return EPOCH + timedelta(microseconds=ns // 1000)


def duration_ns(length: timedelta) -> int:
    """A timedelta in nanoseconds, exactly.

    >>> duration_ns(timedelta(hours=24))
    86400000000000
    """
    return length // _MICROSECOND * 1000


def http_date_ns(text: str) -> int | None:
    """Return the whole second that a ``Date`` header says, in Unix nanoseconds; None if it is no date of HTTP's.

    >>> http_date_ns("Sun, 09 Sep 2001 01:46:40 GMT"), http_date_ns("yesterday")
    (1000000000000000000, None)
    """
    from email.utils import parsedate_to_datetime  # seldom needed, and it takes milliseconds to import

    # In ASCII, as it takes the digits and the white space of all Unicode.
    if not text.isascii():
        return None
    try:
        date = parsedate_to_datetime(text)
        return None if date.tzinfo is None else int(date.timestamp()) * NS_PER_S
    except (ValueError, TypeError, OverflowError):
        return None
