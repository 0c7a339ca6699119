"""Handle corrupt sessions: raise an error, or treat them as missing."""

from __future__ import annotations

import logging

from dynamostore import CorruptRecordError
from session import _rarely
from session._policy import Policy
from session.errors import CorruptSessionError

__all__ = ["raise_or_log"]

_log = logging.getLogger("session")


def raise_or_log(error: CorruptRecordError | CorruptSessionError, policy: Policy) -> None:
    """Raise *error* if the policy says so; otherwise log it, so that the caller treats the session as missing.

    The record is not deleted: the codec of a newer release may be able to read it.
    """
    if policy.on_corrupt == "raise":
        raise error
    message = f"session {error.digest} is corrupt and is treated as missing: {error.reason}"
    _rarely.warn(_log, ("corrupt", error.digest), message)
