"""Convert between aware datetimes and Unix nanoseconds.

All times that are compared or stored are an ``int`` of nanoseconds since the Unix epoch, as in SCS for Go. A ``datetime``,
with microseconds, is only a view of it for callers.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

__all__ = ["EPOCH", "INT64_MAX", "INT64_MIN", "NS_PER_S", "Clock", "duration_ns", "from_ns", "http_date_ns", "to_ns"]

Clock: TypeAlias = Callable[[], int]
"""A function that returns the current Unix time in nanoseconds, such as ``time.time_ns``."""

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
    """Return an aware datetime as Unix nanoseconds. *what* names the argument in errors.

    Raises `TypeError` if *instant* is not a datetime. Raises `ValueError` if it is naive, or outside the range of signed
    64-bit nanoseconds (1677 to 2262), where Go's ``UnixNano`` overflows.

    >>> to_ns(datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC))
    1000000000000000000
    """
    if not isinstance(instant, datetime):
        raise TypeError(f"{what} must be a datetime, not {type(instant).__name__}")
    if instant.utcoffset() is None:
        raise ValueError(f"{what} must be timezone-aware; for example datetime.now(UTC)")
    ns = (instant - EPOCH) // _MICROSECOND * 1000
    if not INT64_MIN <= ns <= INT64_MAX:
        raise ValueError(
            f"{what} {instant.isoformat()} is outside 1677-09-21 to 2262-04-11, the range of 64-bit nanoseconds"
        )
    return ns


def from_ns(ns: int) -> datetime:
    """Return Unix nanoseconds as an aware UTC datetime, truncated to the microsecond.

    Works for all signed 64-bit integers. Raises `OverflowError` beyond the range of datetime.

    >>> from_ns(1_000_000_000_000_001_999).isoformat()
    '2001-09-09T01:46:40.000001+00:00'
    """
    return EPOCH + timedelta(microseconds=ns // 1000)


def duration_ns(length: timedelta) -> int:
    """Return a timedelta in nanoseconds, exactly.

    >>> duration_ns(timedelta(hours=24))
    86400000000000
    """
    return length // _MICROSECOND * 1000


def http_date_ns(text: str) -> int | None:
    """Return the time of a ``Date`` header in Unix nanoseconds, to the second; None if it is not a valid HTTP date.

    >>> http_date_ns("Sun, 09 Sep 2001 01:46:40 GMT"), http_date_ns("yesterday")
    (1000000000000000000, None)
    """
    from email.utils import parsedate_to_datetime  # rarely needed, and its import takes milliseconds

    # parsedate_to_datetime would also accept non-ASCII digits and white space.
    if not text.isascii():
        return None
    try:
        date = parsedate_to_datetime(text)
        return None if date.tzinfo is None else int(date.timestamp()) * NS_PER_S
    except (ValueError, TypeError, OverflowError):
        return None
