"""What time it is by the server's clock, as the ``Date`` of a reply tells it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from dynamostore.instants import NS_PER_S, Clock, duration_ns, http_date_ns

__all__ = ["MOST_SKEW", "ServerTime", "date_ns"]

logger = logging.getLogger("dynamostore")

MOST_SKEW: Final = timedelta(minutes=5)
"""How far a clock may be off without a warning: DynamoDB refuses requests that are signed more than this off."""

_MOST_SKEW_NS: Final = duration_ns(MOST_SKEW)
_WARN_AGAIN: Final = 60.0


def date_ns(reply: object) -> int | None:
    """Return when *reply* was made, in Unix nanoseconds, cut off to the second; None if it does not say so.

    >>> date_ns({"ResponseMetadata": {"HTTPHeaders": {"date": "Sun, 09 Sep 2001 01:46:40 GMT"}}})
    1000000000000000000
    """
    metadata = reply.get("ResponseMetadata") if isinstance(reply, Mapping) else None
    headers = metadata.get("HTTPHeaders") if isinstance(metadata, Mapping) else None
    text = headers.get("date") if isinstance(headers, Mapping) else None
    return http_date_ns(text) if isinstance(text, str) else None


class ServerTime:
    """Says what has expired by the server's clock, too, and warns if the host's is far off, once a minute at most."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._warned = float("-inf")

    def earlier(self, clock: Clock, now_ns: int, reply: object) -> int:
        """Return *now_ns*, which *clock* said, or the server's time as of *reply*, whichever is earlier.

        A *clock* that is ``simulated``, as `FakeClock <dynamostore.testing.FakeClock>` is, is not compared.
        """
        if _is_simulated(clock):
            return now_ns
        there_ns = date_ns(reply)
        # It holds what is stored, and a warning may be sent with the frames that are live.
        del reply
        return self.earlier_of(clock, now_ns, there_ns)

    def earlier_of(self, clock: Clock, now_ns: int, there_ns: int | None) -> int:
        """Return what `earlier` does, for the server's time *there_ns*, as `date_ns` has it."""
        if there_ns is None or _is_simulated(clock):
            return now_ns
        ahead_ns = now_ns - there_ns
        if abs(ahead_ns) > _MOST_SKEW_NS:
            self._warn(ahead_ns)
        # The server leaves out the fraction of its second.
        return min(now_ns, there_ns + NS_PER_S)

    def _warn(self, ahead_ns: int) -> None:
        now = self._monotonic()
        if now - self._warned < _WARN_AGAIN:
            return
        self._warned = now
        logger.warning(
            "this host's clock is %d s %s DynamoDB's, so records expire too early or too late on it: set the clock. "
            "No record is deleted that is live by DynamoDB's clock",
            abs(ahead_ns) // NS_PER_S,
            "ahead of" if ahead_ns > 0 else "behind",
        )


def _is_simulated(clock: Clock) -> bool:
    return bool(getattr(clock, "simulated", False))
