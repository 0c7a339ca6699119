"""Delete a session: a logout is never refused, and what is put after it rests on what was read before."""

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
    """Delete the session, whatever others did to it, and those of the client's other tokens: none may log it in again."""
    record, token = state.record, None if state.token is None else Hidden(state.token)
    if token is None and not state.destroyed and is_well_formed_token(state.presented):
        # A session that was renewed before or meanwhile is reached by the token that the client sent.
        token = Hidden(state.presented)
    # First, so that the rest is still to be done if it fails.
    for other in map(Hidden, state.sent):
        if other != token and other.reveal() != state.presented:
            yield from issue(delete(policy.key(other.reveal())))
    if token is not None:
        key = Hidden(policy.key(token.reveal()))
        held = yield from _remove_if_held(state, policy)
        if not held:
            if record is not None and record.token != key.reveal():
                # Read by an old token within a renewal's grace, which may be over by now.
                yield from issue(delete(record.token))
            yield from issue(delete(key.reveal()))
        if held is False:
            _log.warning("a session was changed while it was destroyed: what this request put afterwards is dropped")
            state.draft, state.told, state.insisting = Draft({}), NO_SETTINGS, False
    state.token = state.record = None
    state.sent, state.outdated, state.removal_tried = (), frozenset(), False
    state.destroying, state.gone, state.destroyed = False, True, True


def _remove_if_held(state: State, policy: Policy) -> Plan[bool | None]:
    """Delete the session if what this request read of it still holds, as what it put afterwards may rest on that.

    Return True if it did and the session is deleted; False if it did not; None if that does not matter.
    """
    reads, changes, read_deadline = state.before
    record = state.record
    puts = state.insisting or state.draft.changes() is not None
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
                break  # most likely by this request, whose reply was lost or whose next call failed
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
