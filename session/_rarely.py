"""`warn`: a warning that is logged at most once a minute for each kind, with the number of those in between."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable

__all__ = ["forget", "warn"]

_EVERY_S = 60.0
_MOST_KINDS = 1000

_clock: Callable[[], float] = time.monotonic
_lock = threading.Lock()
_told: dict[Hashable, tuple[float, int]] = {}


def warn(log: logging.Logger, kind: Hashable, message: str) -> None:
    """Log *message* as a warning, unless one of that *kind* was logged less than a minute ago."""
    now = _clock()
    with _lock:
        last, skipped = _told.get(kind, (float("-inf"), 0))
        if now - last < _EVERY_S:
            _told[kind] = (last, skipped + 1)
            return
        if len(_told) >= _MOST_KINDS:
            _told.clear()
        _told[kind] = (now, 0)
    more = f" ({skipped} more since the last such line)" if skipped else ""
    log.warning("%s%s", message, more)


def forget() -> None:
    """Log the next warning of each kind again."""
    with _lock:
        _told.clear()
