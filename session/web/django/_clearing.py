"""Delete the sessions that have expired: what ``manage.py clearsessions`` runs, which says in a line why it could not."""

from __future__ import annotations

from django.core.management.base import CommandError

from dynamostore import DynamoStore, StoreError
from dynamostore.batch import Batch, BatchIncompleteError

__all__ = ["ClearExpiredError", "clear_expired"]


class ClearExpiredError(StoreError, CommandError):
    """Expired sessions were left in the table. A `StoreError` for callers, and a ``CommandError`` for ``manage.py``.

    Its ``__cause__`` is what the store raised.
    """


def clear_expired(store: DynamoStore) -> None:
    """Delete the expired sessions; raise `ClearExpiredError` if any could not be deleted."""
    try:
        tally = Batch(store).purge_expired()
    except BatchIncompleteError as error:
        # The error's own message says how to resume, which the command cannot.
        reasons = list(error.errors.values())
        raise _failed(reasons[0] if reasons else error) from error
    except StoreError as error:
        raise _failed(error) from error
    for reason in tally.failed.values():
        raise ClearExpiredError(f"{len(tally.failed):,} expired sessions were not deleted: {reason}") from reason


def _failed(reason: Exception) -> ClearExpiredError:
    return ClearExpiredError(f"the expired sessions were not deleted: {reason}")
