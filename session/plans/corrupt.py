"""Corrupt sessions: an error, or as good as no session, as the policy says."""

from __future__ import annotations

import logging

from dynamostore import CorruptRecordError
from session import _rarely
from session._policy import Policy
from session.errors import CorruptSessionError

__all__ = ["pass_over"]

_log = logging.getLogger("session")


def pass_over(error: CorruptRecordError | CorruptSessionError, policy: Policy) -> None:
    """Log a corrupt session that counts as none; raise *error* if the policy says so.

    The record stays: a newer release's codec may have written it, and can read it.
    """
    if policy.on_corrupt == "raise":
        raise error
    message = f"session {error.digest} is corrupt, and counts as no session: {error.reason}"
    _rarely.warn(_log, ("corrupt", error.digest), message)
