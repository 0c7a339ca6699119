"""A corrupt session: nobody is logged in with it, and its user can log in and log out all the same."""

from __future__ import annotations

import logging
from typing import Final

from dynamostore import CorruptRecordError
from session import _rarely
from session.errors import CorruptSessionError

from ._manager import DJANGOS_KEYS

__all__ = ["CORRUPT", "is_missing", "report_replaced"]

CORRUPT: Final = (CorruptSessionError, CorruptRecordError)
"""What is raised where a session that cannot be read is looked at; its message names it by a digest."""

_log = logging.getLogger("session.web")


def is_missing(key: str, error: CorruptSessionError | CorruptRecordError) -> bool:
    """Return True if *key* counts as missing from a corrupt session: what Django itself keeps there. Logs that.

    So ``request.user`` is anonymous, a page shows no messages, and ``login`` and ``logout`` get as far as to replace it.
    """
    if key not in DJANGOS_KEYS:
        return False
    _rarely.warn(_log, ("nobody", error.digest), f"a corrupt session counts as nobody's: {error}")
    return True


def report_replaced(error: CorruptSessionError | CorruptRecordError) -> None:
    """Log that a corrupt session was deleted for a login to begin another one."""
    _log.warning("a corrupt session was deleted, and another one begun: %s", error)
