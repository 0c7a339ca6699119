"""The plan of `atomic`: run a change on the stored data, check the request's reads, and store the result immediately."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from inspect import isawaitable
from typing import NoReturn, TypeVar

from dynamostore import Conflict, CorruptRecordError, ItemTooLargeError, Record, ThrottledError, UnavailableError
from dynamostore.hidden import Hidden
from dynamostore.instants import from_ns
from dynamostore.steps import Call, Plan, issue
from session._policy import Policy
from session._state import State, encode, snapshot
from session.changes import Changes, Reads
from session.data import SessionData, StepData
from session.draft import Draft
from session.errors import CorruptSessionError, SessionConflict, SessionStateError, SessionTypeError
from session.merging import Snapshot, merged
from session.types import JSONValue

from .calls import ATTEMPTS, back_off, find
from .corrupt import raise_or_log
from .lifecycle import load
from .meeting import check_outdated_step, check_reads, lose, note_late_reads, note_tried_step
from .storing import create, mark_stored, with_keys

__all__ = ["atomic"]

T = TypeVar("T")


def atomic(
    state: State, policy: Policy, change: Callable[[SessionData], T], *, deadline_ns: int | None = None
) -> Plan[T]:
    """Run *change* on the stored data, store the result in one conditional write, and return what *change* returned.

    If *deadline_ns* is given, the write also moves the deadline.
    """
    _check_allowed(state)
    fresh = not state.loaded
    yield from load(state, policy)
    if state.record is None:
        if deadline_ns is not None:
            state.deadline_ns = deadline_ns
        return (yield from _first(state, policy, change))
    target, outdated = state.record, frozenset[str]()
    for attempt in range(ATTEMPTS):
        stored = snapshot(target, policy)
        draft, changes, result = _decide(state, Draft(dict(stored.data)), change)
        end_ns = stored.deadline_ns if deadline_ns is None or changes is None else deadline_ns
        view = Snapshot(draft.frozen(), end_ns, stored.settings)
        check_outdated_step(state, changes, policy)
        view_after, held = Hidden(_merge_pending(state, policy, draft.data)), Hidden(state.draft.held())
        reads, meant, checked = draft.reads(), draft.meant(), state.draft.reads()
        try:
            if changes is None:
                # There is nothing to write, but the decision must still be based on the stored data.
                new = target if fresh and attempt == 0 else (yield from _find_same(target))
            else:
                new = yield from _store(state, policy, target, view, draft)
        except Conflict as conflict:
            winner = conflict.current
            if winner is None:
                _lose(state, policy, conflict)
            try:
                outdated = check_reads(state, winner, changes, policy, conflict)
            except CorruptSessionError as error:
                raise_or_log(error, policy)
                _lose(state, policy, error)
            target = winner
            if attempt:
                yield from back_off(attempt)
        except CorruptRecordError as error:
            raise_or_log(error, policy)
            _lose(state, policy, error)
        else:
            state.outdated |= outdated
            note_late_reads(state, checked, snapshot(state.record, policy), view, policy)
            state.draft.rebase(view.data, view_after.reveal(), draft, held.reveal())
            _advance(state, new, view, reads=reads, changes=meant)
            return result.reveal()
    raise SessionConflict(f"atomic: gave up after {ATTEMPTS} attempts, as other requests changed the session each time")


def _find_same(target: Record) -> Plan[Record]:
    """Read the record of *target* again. Raise `Conflict` if it has changed."""
    there = yield from issue(find(target.token))
    if there is None or not _same(there, target):
        raise Conflict(current=there)
    return there


def _lose(state: State, policy: Policy, error: Exception) -> NoReturn:
    ours = state.draft.data
    lose(state, policy)
    what = "atomic: the session was ended by another request, or has expired"
    raise SessionConflict(what, ended=True, ours=ours) from error


def _store(state: State, policy: Policy, target: Record, view: Snapshot, draft: Draft) -> Plan[Record]:
    """Replace *target* by *view*. Raise `Conflict` if *target* is no longer stored."""
    deadline_ns, settings = view.deadline_ns, view.settings
    payload, changed = Hidden(encode(view.data, deadline_ns, settings, policy)), draft.meant().keys
    # Never shorten the stored expiry: another process whose clock is ahead may have set it.
    expiry_ns = max(policy.expiry_ns(deadline_ns, settings), min(target.expiry_ns, deadline_ns))
    call: Call[Record] = Call("replace", {"record": target, "data": payload.reveal(), "expiry": from_ns(expiry_ns)})
    try:
        new = yield from issue(call)
    except (UnavailableError, ThrottledError) as error:
        note_tried_step(state, policy, error.version, payload.reveal(), target, changed=changed)
        raise
    except GeneratorExit:
        # The write was cancelled or interrupted, but may have been stored.
        note_tried_step(state, policy, 0, payload.reveal(), target, changed=changed)
        raise
    except ItemTooLargeError as error:
        raise with_keys(error, draft) from error
    state.prolonged |= new.expiry > target.expiry
    state.written = True
    return new


def _first(state: State, policy: Policy, change: Callable[[SessionData], T]) -> Plan[T]:
    """Create the session with the data that *change* puts. The commit stores the request's other pending changes."""
    draft, changes, result = _decide(state, Draft({}), change)
    if changes is not None:
        base, view_after = Hidden(draft.frozen()), Hidden(_merge_pending(state, policy, draft.data))
        reads, meant, held = draft.reads(), draft.meant(), Hidden(state.draft.held())
        token = yield from create(state, policy, draft)
        assert state.record is not None
        mark_stored(state, token.reveal())
        view = Snapshot(base.reveal(), state.deadline_ns, state.settings)
        state.draft.rebase(base.reveal(), view_after.reveal(), draft, held.reveal())
        _advance(state, state.record, view, reads=reads, changes=meant)
    return result.reveal()


def _decide(state: State, draft: Draft, change: Callable[[SessionData], T]) -> tuple[Draft, Changes | None, Hidden[T]]:
    """Run *change* on *draft*. Raise `SessionStateError` if it touches the request's pending changes."""
    step = StepData(draft)
    with _deciding(state):
        result = change(step)
    step.closed = True
    if isawaitable(result):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        raise TypeError(
            "atomic: change must be a plain function, not a coroutine function, as its result is not awaited"
        )
    changes, reads = draft.changes(), draft.reads()
    pending = state.draft.pending()
    meant = draft.meant()
    if state.draft.cleared and (reads or meant):
        raise SessionStateError("atomic: this request has cleared the session; call save() first")
    touched = reads.values | reads.presence | meant.keys
    if reads.unlisted is not None or reads.emptiness or meant.cleared:
        touched |= pending
    if both := sorted(touched & pending):
        named = ", ".join(map(repr, both))
        raise SessionStateError(f"atomic: this request has pending changes of {named}; call save() first")
    return draft, changes, Hidden(result)


@contextmanager
def _deciding(state: State) -> Iterator[None]:
    """Refuse access to the request's own session meanwhile, since it does not show the stored data."""
    state.deciding, state.loaded = True, False
    try:
        yield
    finally:
        state.deciding, state.loaded = False, True


def _merge_pending(state: State, policy: Policy, stored: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    """Return the request's view after the step: its pending changes, applied to *stored*."""
    before = snapshot(state.record, policy).data if state.record is not None else {}
    mine = state.draft.meant()
    try:
        return merged(mine, before, stored, policy.rules.mergeable)
    except (SessionTypeError, ValueError) as error:
        what = f"atomic: the data that other requests stored cannot be merged with this request's changes: {error}"
        raise SessionConflict(what, ours=state.draft.data, theirs=stored) from error


def _advance(state: State, record: Record, view: Snapshot, *, reads: Reads, changes: Changes) -> None:
    """Update the state to the stored session. The request's pending changes stay pending."""
    if changes.cleared:
        reads = replace(reads, unlisted=frozenset())
    # An increment returns no value, so it does not count as a read.
    state.draft.note(reads, changes.put.keys() | changes.removed)
    state.record = record
    state.stored_deadline_ns, state.settings = view.deadline_ns, view.settings
    if not state.rescheduled:
        state.deadline_ns = view.deadline_ns
    state.tried.clear()


def _same(there: Record, target: Record) -> bool:
    return there.token == target.token and there.version == target.version and there.data == target.data


def _check_allowed(state: State) -> None:
    """Raise `SessionStateError` or `SessionConflict` if the session's state does not allow an atomic step."""
    if state.destroying or state.destroyed:
        raise SessionStateError("atomic: the session was destroyed in this request; call atomic before destroy")
    if state.ended:
        raise SessionConflict("the session was ended by another request, or has expired", ended=True)
    if state.renewing:
        raise SessionStateError("atomic: a renewal is pending; call save() between renew_token and atomic")
    if state.tried and state.draft.pending():
        raise SessionStateError("atomic: an earlier save() got no reply; call save() again first")
