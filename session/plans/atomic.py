"""`atomic` as a plan: a change is decided on what is stored now, and stored at once, all reads of the request checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from inspect import isawaitable
from typing import TypeVar

from dynamostore import Conflict, ItemTooLargeError, Record, ThrottledError, UnavailableError
from dynamostore.instants import from_ns
from dynamostore.steps import Call, Plan, issue
from session._policy import Policy
from session._state import State, snapshot
from session.changes import Changes, Draft, Reads
from session.data import SessionData, StepData
from session.errors import SessionConflict, SessionStateError
from session.merging import Snapshot, merged

from .calls import ATTEMPTS, back_off, find
from .lifecycle import load
from .meeting import check_reads, lose, note_tried_step
from .storing import store_new, with_keys

__all__ = ["atomic"]

T = TypeVar("T")


def atomic(
    state: State, policy: Policy, change: Callable[[SessionData], T], *, deadline_ns: int | None = None
) -> Plan[T]:
    """Run *change* on what is stored now, store it in one conditional write, and return what that run returned.

    With *deadline_ns* that write also moves the deadline; without, it stays.
    """
    _check_allowed(state)
    yield from load(state, policy)
    if state.record is None:
        if deadline_ns is not None:
            state.deadline_ns = deadline_ns
        return (yield from _first(state, policy, change))
    target = state.record
    for attempt in range(ATTEMPTS):
        stored = snapshot(target, policy)
        draft, changes, result = _decide(state, Draft(dict(stored.data)), change)
        meant = draft.meant()
        end_ns = stored.deadline_ns if deadline_ns is None or changes is None else deadline_ns
        try:
            new = yield from _store(state, policy, target, end_ns, draft, changes=changes)
        except Conflict as conflict:
            winner = conflict.current
            if winner is None:
                ours = state.draft.data
                lose(state, policy)
                what = "atomic: the session was ended by another request, or has expired"
                raise SessionConflict(what, ended=True, ours=ours) from conflict
            check_reads(state, winner, policy, conflict)
            target = winner
            if attempt:
                yield from back_off(attempt)
        else:
            stored = Snapshot(draft.content(), end_ns)
            _go_on(state, policy, new, stored, reads=draft.reads(), changes=meant)
            return result
    raise SessionConflict(f"atomic: other requests changed the session {ATTEMPTS} times while it was to be stored")


def _store(
    state: State, policy: Policy, target: Record, deadline_ns: int, draft: Draft, *, changes: Changes | None
) -> Plan[Record]:
    """Write the data of *draft* where *target* was read, or make sure that it is still there; raise `Conflict` if not."""
    if changes is None:
        # The decision rests on what is stored now, though there is nothing to write.
        there = yield from issue(find(target.token))
        if there is None or not _same(there, target):
            raise Conflict(current=there)
        return there
    payload, changed = policy.codec.encode(draft.content(), deadline_ns), draft.meant().keys
    # Another process's clock may be ahead of this one's: the expiry that it promised the session is kept.
    expiry_ns = max(policy.expiry_ns(deadline_ns), min(target.expiry_ns, deadline_ns))
    call: Call[Record] = Call("replace", {"record": target, "data": payload, "expiry": from_ns(expiry_ns)})
    try:
        new = yield from issue(call)
    except (UnavailableError, ThrottledError) as error:
        note_tried_step(state, policy, error, payload, target, changed=changed)
        raise
    except ItemTooLargeError as error:
        raise with_keys(error, draft) from error
    state.prolonged |= new.expiry > target.expiry
    state.written = True
    return new


def _first(state: State, policy: Policy, change: Callable[[SessionData], T]) -> Plan[T]:
    """Begin the session with what *change* puts; what else is pending is stored by the commit."""
    draft, changes, result = _decide(state, Draft({}), change)
    if changes is not None:
        # As long as it knows: once it is stored, nothing is a change any more.
        reads, meant = draft.reads(), draft.meant()
        pending, state.draft = state.draft, draft
        try:
            yield from store_new(state, policy)
        finally:
            state.draft = pending
        assert state.record is not None
        stored = Snapshot(draft.content(), state.deadline_ns)
        _go_on(state, policy, state.record, stored, reads=reads, changes=meant)
    return result


def _decide(state: State, draft: Draft, change: Callable[[SessionData], T]) -> tuple[Draft, Changes | None, T]:
    """Run *change* on *draft*; raise `SessionStateError` if it and the request's pending changes are at odds."""
    step = StepData(draft)
    with _deciding(state):
        result = change(step)
    step.closed = True
    if isawaitable(result):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        raise TypeError("atomic: change must be a plain function: it decides on what is stored, and may run again")
    changes, reads = draft.changes(), draft.reads()
    pending = state.draft.pending()
    meant = draft.meant()
    touched = reads.values | reads.presence | meant.keys
    if reads.unlisted is not None or reads.emptiness or meant.cleared:
        touched |= pending
    if both := sorted(touched & pending):
        named = ", ".join(map(repr, both))
        raise SessionStateError(f"atomic: this request has pending changes of {named}; call save() first")
    return draft, changes, result


@contextmanager
def _deciding(state: State) -> Iterator[None]:
    """Refuse the request's own session meanwhile: what it shows is not what is stored now."""
    state.deciding, state.loaded = True, False
    try:
        yield
    finally:
        state.deciding, state.loaded = False, True


def _go_on(state: State, policy: Policy, record: Record, stored: Snapshot, *, reads: Reads, changes: Changes) -> None:
    """Have the request go on from what is stored now; its pending changes stay pending."""
    if changes.cleared:
        reads = replace(reads, unlisted=frozenset())
    mine = state.draft.meant()
    before = snapshot(state.record, policy).data if state.record is not None else {}
    data = merged(mine, before, stored.data, policy.rules.mergeable)
    state.draft.rebase(stored.data, data)
    # An increment hands out no value, so nothing rests on it.
    state.draft.note(reads, changes.put.keys() | changes.removed)
    state.record = record
    state.stored_deadline_ns = stored.deadline_ns
    if not state.rescheduled:
        state.deadline_ns = stored.deadline_ns
    state.tried.clear()


def _same(there: Record, target: Record) -> bool:
    return there.token == target.token and there.version == target.version and there.data == target.data


def _check_allowed(state: State) -> None:
    """Raise if an atomic step makes no sense now."""
    if state.destroying or state.destroyed:
        raise SessionStateError("atomic: the session was destroyed in this request; call atomic before destroy")
    if state.ended:
        raise SessionConflict("the session was ended by another request, or has expired", ended=True)
    if state.renewing:
        raise SessionStateError("atomic: a renewal is pending; call save() between renew_token and atomic")
    if state.tried and state.draft.pending():
        raise SessionStateError("atomic: an earlier save() got no reply; its changes must be saved first")
