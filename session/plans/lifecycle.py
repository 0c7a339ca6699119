"""A session's lifecycle as plans over a store's methods: load, commit, abandon, update. No I/O."""

from __future__ import annotations

import logging
from typing import TypeVar

from dynamostore import CorruptRecordError, ItemTooLargeError, Record
from dynamostore.hidden import Hidden
from dynamostore.steps import Call, Plan, issue
from session import _state, values
from session._policy import Policy
from session._settings import NO_SETTINGS, Settings, remembered
from session._state import Deadline, State, decode, discard, is_untouched, is_well_formed_token
from session.changes import Changes
from session.draft import Draft
from session.errors import CorruptSessionError, SessionConflict, SessionError, SessionStateError
from session.mergeable import Absent, merge_values
from session.types import JSONValue

from .calls import back_off, delete, find
from .corrupt import raise_or_log
from .ending import end
from .meeting import drop_changes
from .storing import store_changes, store_new, with_keys

__all__ = [
    "abandon",
    "commit",
    "create_even_if_empty",
    "destroy",
    "load",
    "merge_session",
    "prolong",
    "renew",
    "reschedule",
    "tell",
    "update",
    "visit",
]

S = TypeVar("S")

_log = logging.getLogger("session")


def load(state: State, policy: Policy) -> Plan[None]:
    """Read the session of the first token that has one, unless it is loaded. An unknown token is never adopted."""
    if state.loaded or state.token is None:
        return
    for token in map(Hidden, (state.token, *state.others)):
        record = found = None
        try:
            record = yield from issue(find(policy.key(token.reveal())))
            if state.loaded:
                return  # another task has loaded, and may have changed or destroyed, the session meanwhile
            found = Hidden(decode(record, policy)) if record is not None else None
        except (CorruptRecordError, CorruptSessionError) as error:
            if state.loaded:
                return
            raise_or_log(error, policy)
        if found is None:
            continue
        if found.reveal()[1] >= policy.clock():
            _take(state, token.reveal(), record, found.reveal())
            return
    state.token, state.draft, state.others = None, Draft({}), ()
    state.loaded = True
    if state.only_if_there:
        state.gone = state.ended = True


def _take(state: State, token: str, record: Record | None, found: tuple[dict[str, JSONValue], int, Settings]) -> None:
    """Put the session that was found into the state."""
    data, deadline_ns, settings = found
    state.token, state.record, state.draft, state.settings = token, record, Draft(data), settings
    if state.others:
        state.presented, state.others = token, ()
    state.deadline_ns = state.stored_deadline_ns = deadline_ns
    state.found = state.kept = remembered(settings)
    state.loaded = True


def renew(state: State, policy: Policy, *, grace: bool = False, deadline: Deadline = "new") -> None:
    """Give the session a new token at the next commit, and a new lifetime if *deadline* is "new". It must be loaded.

    A deadline that the app set in this request is kept.
    """
    if state.unpresented:
        raise SessionStateError("renew_token: no client would get the new token; call destroy() to end the session")
    if deadline == "new" and not state.dated:
        _move_deadline(state, policy.new_deadline_ns())
    state.renewing = state.record is not None and not state.destroying
    state.coming = _state.new_token(policy) if state.renewing else None
    state.grace = grace and state.renewing


def reschedule(state: State, deadline_ns: int) -> None:
    """Set the deadline at the next commit. The session must be loaded."""
    _move_deadline(state, deadline_ns)
    state.dated = True


def _move_deadline(state: State, deadline_ns: int) -> None:
    state.deadline_ns = deadline_ns
    state.rescheduled, state.by_activity = True, False


def tell(state: State, key: str, value: JSONValue) -> None:
    """Set one of the session's own settings at the next commit. The session must be loaded."""
    state.told = {**state.told, key: value}


def prolong(state: State, deadline_ns: int) -> None:
    """Set the deadline at the next commit because the session is in use. This alone does not count as a change."""
    state.by_activity = state.by_activity or not state.rescheduled
    state.deadline_ns = deadline_ns
    state.rescheduled = True


def create_even_if_empty(state: State) -> None:
    """Store a new session at the next commit even if it is empty."""
    state.create_even_if_empty = True


def destroy(state: State, policy: Policy) -> None:
    """Delete the session at the next commit. Values put afterwards create a new session."""
    if not state.destroying and state.record is not None:
        state.before = (state.draft.reads(), _meant(state), state.read_deadline)
    state.destroying, state.coming, state.tried_token = True, None, None
    state.absorbed = ()
    state.rerun &= not state.written
    state.renewing = state.rescheduled = state.dated = state.written = state.read_deadline = False
    state.draft, state.settings, state.told = Draft({}), NO_SETTINGS, NO_SETTINGS
    state.deadline_ns = policy.new_deadline_ns()
    state.loaded = True


def _meant(state: State) -> Changes | None:
    try:
        return state.draft.meant()
    except (SessionError, ValueError):
        return None  # these changes cannot be stored, and never will be


def commit(state: State, policy: Policy) -> Plan[None]:
    """Store the changes, if any. On a conflict, follow the policy."""
    if state.destroying:
        yield from end(state, policy)
    if is_untouched(state):
        return
    try:
        if state.ended:
            state.draft.changes()
            state.draft.settle(state.draft.held())
        elif state.record is None:
            yield from store_new(state, policy)
        else:
            yield from store_changes(state, policy)
        yield from _delete_absorbed(state)
    except ItemTooLargeError as error:
        raise with_keys(error, state.draft) from error
    except (CorruptRecordError, CorruptSessionError) as error:
        raise_or_log(error, policy)
        drop_changes(state, policy, state.draft.changes(), None)


def merge_session(state: State, policy: Policy, token: Hidden[str | None]) -> Plan[bool]:
    """Copy the data of another session into this one, and delete it once this one is stored. Return False if it is missing."""
    yield from load(state, policy)
    if not is_well_formed_token(token.reveal()):
        return False
    try:
        other = yield from issue(find(policy.key(token.reveal() or "")))
        if other is None or state.ended or (state.record is not None and other.token == state.record.token):
            return False
        return _absorb(state, policy, other)
    except (CorruptRecordError, CorruptSessionError) as error:
        raise_or_log(error, policy)
        return False


def _absorb(state: State, policy: Policy, other: Record) -> bool:
    """Copy the data of the session in *other* into this one. Return False if that session has ended or was copied before."""
    data, deadline_ns, _ = decode(other, policy)
    if deadline_ns < policy.clock() or other.token in state.absorbed:
        return False
    mine, mergeable = state.draft.data, policy.rules.mergeable
    for key in mergeable.keys() & data.keys() & mine.keys():
        state.draft.follow(key)
        merged = merge_values(key, mergeable[key], Absent.ABSENT, data[key], values.native(key, mine[key]))
        if not isinstance(merged, Absent):
            data[key] = merged
    for key, value in data.items():
        state.draft.put(key, value)
    if deadline_ns > state.deadline_ns:
        _move_deadline(state, deadline_ns)
    state.absorbed += (other.token,)
    return True


def _delete_absorbed(state: State) -> Plan[None]:
    while state.absorbed and state.record is not None:
        yield from issue(delete(state.absorbed[0]))
        state.absorbed = state.absorbed[1:]


def abandon(state: State, policy: Policy) -> Plan[None]:
    """Discard uncommitted changes, but carry out a `destroy`: a logout takes effect even if the request fails afterwards."""
    if state.destroying:
        state.draft = Draft({})
        state.create_even_if_empty = False
        yield from end(state, policy)
    discard(state)


def update(token: Hidden[str | None], policy: Policy, attempts: int) -> Plan[S]:
    """Run a change in its own block, and again after a conflict, at most *attempts* times.

    The target's ``attempt`` runs the change and returns the session.
    """
    call: Call[S] = Call("attempt", {"token": token, "policy": policy})
    for attempt in range(attempts - 1):
        try:
            return (yield from issue(call))
        except SessionConflict as conflict:
            if conflict.ended:
                raise
            yield from back_off(attempt)
    return (yield from issue(call))


def visit(record: Record, policy: Policy, attempts: int) -> Plan[bool]:
    """Run a change on the session in *record*, as `update` does. Return False if *record* has no live session.

    The target's ``attempt`` runs the change, and its ``find`` is the store's.
    """
    there: Record | None = record
    for attempt in range(attempts):
        if there is None or not is_session(there, policy):
            return False
        try:
            made: Call[None] = Call("attempt", {"record": there, "policy": policy})
            yield from issue(made)
        except SessionConflict as conflict:
            if conflict.ended:
                return False
            if attempt == attempts - 1:
                raise
            yield from back_off(attempt)
            there = yield from issue(find(record.token))
        else:
            return True
    return False


def is_session(record: Record, policy: Policy) -> bool:
    """Return True if *record* holds a session that has not ended. Log a warning if it is corrupt."""
    try:
        return is_well_formed_token(record.token) and decode(record, policy)[1] >= policy.clock()
    except CorruptSessionError as error:
        _log.warning("skipped a corrupt session: %s", error)
        return False
