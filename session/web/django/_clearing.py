"""Delete expired sessions for ``manage.py clearsessions``, which prints the reason in one line if that fails."""

from __future__ import annotations

from django.core.management.base import CommandError

from dynamostore import DynamoStore, StoreError
from dynamostore.batch import Batch, BatchIncompleteError

__all__ = ["ClearExpiredError", "clear_expired"]


class ClearExpiredError(StoreError, CommandError):
    """Some expired sessions could not be deleted. A `StoreError` for callers, and a ``CommandError`` for ``manage.py``.

    Its ``__cause__`` is the error of the store.
    """


def clear_expired(store: DynamoStore) -> None:
    """Delete the expired sessions; raise `ClearExpiredError` if any could not be deleted."""
    try:
        tally = Batch(store).purge_expired()
    except BatchIncompleteError as error:
        # The error's own message says how to resume, but clearsessions cannot resume.
        reasons = list(error.errors.values())
        raise _failed(reasons[0] if reasons else error) from error
    except StoreError as error:
        raise _failed(error) from error
    for reason in tally.failed.values():
        raise ClearExpiredError(f"{len(tally.failed):,} expired sessions were not deleted: {reason}") from reason


def _failed(reason: Exception) -> ClearExpiredError:
    return ClearExpiredError(f"the expired sessions were not deleted: {reason}")
