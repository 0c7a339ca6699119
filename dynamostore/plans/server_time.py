"""The time of the server's clock, from the ``Date`` header of a reply."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from dynamostore.instants import NS_PER_S, Clock, duration_ns, http_date_ns

__all__ = ["MOST_SKEW", "ServerTime", "date_ns"]

logger: logging.Logger = logging.getLogger("dynamostore")

MOST_SKEW: Final = timedelta(minutes=5)
"""The clock skew above which a warning is logged. DynamoDB refuses requests that are signed with a larger skew."""

_MOST_SKEW_NS: Final = duration_ns(MOST_SKEW)
_WARN_AGAIN: Final = 60.0


def date_ns(reply: object) -> int | None:
    """Return the time of *reply* in Unix nanoseconds, rounded down to the second, or None if it has no ``Date``.

    >>> date_ns({"ResponseMetadata": {"HTTPHeaders": {"date": "Sun, 09 Sep 2001 01:46:40 GMT"}}})
    1000000000000000000
    """
    metadata = reply.get("ResponseMetadata") if isinstance(reply, Mapping) else None
    headers = metadata.get("HTTPHeaders") if isinstance(metadata, Mapping) else None
    text = headers.get("date") if isinstance(headers, Mapping) else None
    return http_date_ns(text) if isinstance(text, str) else None


class ServerTime:
    """Compares the host's clock with the server's, and warns at most once a minute if the host's is far off."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._warned = float("-inf")

    def earlier(self, clock: Clock, now_ns: int, reply: object) -> int:
        """Return the earlier of *now_ns*, which *clock* returned, and the server's time in *reply*.

        If *clock* is ``simulated``, as `FakeClock <dynamostore.testing.FakeClock>` is, return *now_ns*.
        """
        if _is_simulated(clock):
            return now_ns
        there_ns = date_ns(reply)
        # Drop the stored item from this frame: a handler may report the warning with the local variables of its frames.
        del reply
        return self.earlier_of(clock, now_ns, there_ns)

    def earlier_of(self, clock: Clock, now_ns: int, there_ns: int | None) -> int:
        """Return the earlier time as `earlier` does, for the server's time *there_ns*, which `date_ns` returned."""
        if there_ns is None or _is_simulated(clock):
            return now_ns
        ahead_ns = now_ns - there_ns
        if abs(ahead_ns) > _MOST_SKEW_NS:
            self._warn(ahead_ns)
        # The server's time has no fraction, so its clock may be up to a second later.
        return min(now_ns, there_ns + NS_PER_S)

    def _warn(self, ahead_ns: int) -> None:
        now = self._monotonic()
        if now - self._warned < _WARN_AGAIN:
            return
        self._warned = now
        logger.warning(
            "this host's clock is %d s %s DynamoDB's, so records expire too early or too late here: correct the clock. "
            "Records that are live by DynamoDB's clock are not deleted",
            abs(ahead_ns) // NS_PER_S,
            "ahead of" if ahead_ns > 0 else "behind",
        )


def _is_simulated(clock: Clock) -> bool:
    return bool(getattr(clock, "simulated", False))
