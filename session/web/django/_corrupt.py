"""Handle corrupt sessions so that their users are anonymous, and can still log in and log out."""

from __future__ import annotations

import logging
from typing import Final

from dynamostore import CorruptRecordError
from session import _rarely
from session.errors import CorruptSessionError

from ._manager import DJANGOS_KEYS

__all__ = ["CORRUPT", "is_missing", "report_replaced"]

CORRUPT: Final = (CorruptSessionError, CorruptRecordError)
"""The errors of accessing a session that cannot be decoded. Their messages name the session by a digest."""

_log = logging.getLogger("session.web")


def is_missing(key: str, error: CorruptSessionError | CorruptRecordError) -> bool:
    """Return True if *key* counts as missing in a corrupt session, and log that. This holds for Django's own keys.

    So ``request.user`` is anonymous, pages show no messages, and ``login`` and ``logout`` can replace the session.
    """
    if key not in DJANGOS_KEYS:
        return False
    _rarely.warn(_log, ("anonymous", error.digest), f"a corrupt session is treated as anonymous: {error}")
    return True


def report_replaced(error: CorruptSessionError | CorruptRecordError) -> None:
    """Log that a login has deleted a corrupt session and begun a new one."""
    _log.warning("a corrupt session was deleted, and a new one was begun: %s", error)
