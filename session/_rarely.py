"""`warn`: log a warning at most once a minute for each kind, with the number of warnings skipped since the last one."""

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
    """Log *message* as a warning, unless a warning of the same *kind* was logged less than a minute ago."""
    now = _clock()
    with _lock:
        last, skipped = _told.get(kind, (float("-inf"), 0))
        if now - last < _EVERY_S:
            _told[kind] = (last, skipped + 1)
            return
        if len(_told) >= _MOST_KINDS:
            _told.clear()
        _told[kind] = (now, 0)
    more = f" ({skipped} similar warnings since the last one logged)" if skipped else ""
    log.warning("%s%s", message, more)


def forget() -> None:
    """Forget the warnings logged so far, so that the next one of each kind is logged."""
    with _lock:
        _told.clear()
