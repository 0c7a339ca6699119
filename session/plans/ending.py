"""Delete a session. A logout is never refused, but values put after it depend on the reads before it."""

from __future__ import annotations

import logging

from dynamostore import Conflict, CorruptRecordError
from dynamostore.hidden import Hidden
from dynamostore.steps import Plan, issue
from session._policy import Policy
from session._settings import NO_SETTINGS
from session._state import State, is_well_formed_token, snapshot
from session.draft import Draft
from session.errors import CorruptSessionError
from session.merging import stale_keys

from .calls import ATTEMPTS, back_off, delete, remove

__all__ = ["end"]

_log = logging.getLogger("session")


def end(state: State, policy: Policy) -> Plan[None]:
    """Delete the session, whatever other requests did to it, and the sessions of the client's other tokens."""
    record, token = state.record, None if state.token is None else Hidden(state.token)
    if token is None and not state.destroyed and is_well_formed_token(state.presented):
        # If the session was renewed, the token that the client sent still leads to it.
        token = Hidden(state.presented)
    # Delete these first: if a call fails, the session's own deletion is still pending.
    for other in map(Hidden, state.sent):
        if other != token and other.reveal() != state.presented:
            yield from issue(delete(policy.key(other.reveal())))
    if token is not None:
        key = Hidden(policy.key(token.reveal()))
        held = yield from _remove_if_held(state, policy)
        if not held:
            if record is not None and record.token != key.reveal():
                # The session was read by its old token within a renewal's grace, which may be over by now.
                yield from issue(delete(record.token))
            yield from issue(delete(key.reveal()))
        if held is False:
            _log.warning(
                "another request changed a session while this one destroyed it; values put after destroy() are dropped"
            )
            state.draft, state.told, state.create_even_if_empty = Draft({}), NO_SETTINGS, False
    state.token = state.record = None
    state.sent, state.outdated, state.removal_tried = (), frozenset(), False
    state.destroying, state.gone, state.destroyed = False, True, True


def _remove_if_held(state: State, policy: Policy) -> Plan[bool | None]:
    """Delete the session if this request's reads still hold, since values put after `destroy` may depend on them.

    Return True if the reads hold and the session is deleted, False if they do not hold, None if that does not matter.
    """
    reads, changes, read_deadline = state.before
    record = state.record
    puts = state.create_even_if_empty or state.draft.changes() is not None
    if record is None or not policy.checks or not puts or not (reads or read_deadline):
        return None
    base, target = snapshot(record, policy), record
    for attempt in range(ATTEMPTS):
        tried, state.removal_tried = state.removal_tried, True
        try:
            yield from issue(remove(target))
        except Conflict as conflict:
            winner = conflict.current
            if winner is None and tried:
                break  # most likely removed by this request's earlier try, whose reply was lost
            state.removal_tried = tried
            if winner is None or winner.token != target.token:
                return False
            try:
                theirs = snapshot(winner, policy)
            except CorruptSessionError:
                return False
            if stale_keys(reads, changes, base, theirs, policy.rules, read_deadline=read_deadline, exclusive=True):
                return False
            target = winner
            yield from back_off(attempt)
        except CorruptRecordError:
            return False
        else:
            break
    else:
        return False
    return not state.is_superseded(policy) or None
