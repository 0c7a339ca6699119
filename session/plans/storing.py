"""Store a new session, or a request's changes to a stored one, and try again after a conflict."""

from __future__ import annotations

from dataclasses import replace

from dynamostore import Conflict, ItemTooLargeError, Record, ThrottledError, UnavailableError
from dynamostore.hidden import Hidden
from dynamostore.instants import from_ns
from dynamostore.steps import Plan, issue
from session import _state
from session._policy import Policy
from session._settings import IDLE_TIMEOUT, NO_SETTINGS, remembered
from session._state import State, encode, snapshot
from session.changes import Changes
from session.draft import Draft
from session.errors import SessionConflict, SessionStateError
from session.merging import Snapshot, own_part

from .calls import ATTEMPTS, back_off, find, write
from .meeting import Writing, check_outdated, drop_changes, lose, named, note_late_reads, note_tried, yield_to

__all__ = ["create", "mark_stored", "store_changes", "store_new", "with_keys"]


def store_new(state: State, policy: Policy) -> Plan[None]:
    """Store a new session under a new token, if there is anything to store."""
    if state.draft.changes() is None and not state.create_even_if_empty:
        return
    if state.unpresented:
        raise SessionStateError("iterate: no client would get the token of a new session; put nothing after destroy()")
    held = Hidden(state.draft.held())
    token = yield from create(state, policy, state.draft)
    mark_stored(state, token.reveal())
    state.draft.settle(held.reveal())


def create(state: State, policy: Policy, draft: Draft) -> Plan[Hidden[str]]:
    """Store the data of *draft* as a new session, and return its token."""
    token = Hidden(state.coming or state.tried_token or _state.new_token(policy))
    tried, state.tried_token = token.reveal() == state.tried_token, token.reveal()
    payload = Hidden(encode(draft.content(), state.deadline_ns, state.told, policy))
    expiry = from_ns(policy.expiry_ns(state.deadline_ns, state.told))
    try:
        state.record = yield from issue(
            write("create", token=policy.key(token.reveal()), data=payload.reveal(), expiry=expiry)
        )
    except Conflict as conflict:
        if not tried or conflict.current is None:
            raise
        # No one else knows this token, so an earlier try was stored and its reply was lost.
        state.record = yield from issue(write("replace", record=conflict.current, data=payload.reveal(), expiry=expiry))
    return token


def store_changes(state: State, policy: Policy) -> Plan[None]:
    """Store this request's changes, merged with those of faster requests. Without changes, only extend the expiry if due."""
    record = state.record
    assert record is not None
    changes = state.draft.changes()
    # A write whose reply was lost may be stored, so a key that this request has changed back may have to be written again.
    others = [tried.seen for tried in state.tried if not tried.is_step]
    moves = state.deadline_moves or state.settings_differ
    moves = moves or any(
        (each.deadline_ns, each.settings) != (state.deadline_ns, state.own_settings) for each in others
    )
    undone = any(state.draft.differs_from(each.data) for each in others)
    if state.renewing or moves or undone if changes is None else others:
        # There will be a write anyway, so every put counts, even a put of an equal value.
        changes = state.draft.meant(*(each.data for each in others)) or None
    check_outdated(state, changes, policy)
    if state.renewing and state.is_superseded(policy):
        yield from _lose_renewal(state, policy, changes, None)
        return
    held = Hidden(state.draft.held())
    if not (state.renewing or moves or changes):
        yield from _touch(state, record, policy)
        state.draft.settle(held.reveal())
        state.told = NO_SETTINGS
        return
    writing = Writing(
        record,
        state.draft.content(),
        state.deadline_ns,
        state.own_settings,
        held=held.reveal(),
        reads=state.draft.reads(),
    )
    for attempt in range(ATTEMPTS):
        try:
            yield from _write_once(state, writing, policy)
            return
        except (UnavailableError, ThrottledError) as error:
            note_tried(state, error.version, writing, policy, changes)
            raise
        except GeneratorExit:
            # The write was cancelled or interrupted, but may have been stored.
            note_tried(state, 0, writing, policy, changes)
            raise
        except Conflict as conflict:
            winner = conflict.current
            last = attempt == ATTEMPTS - 1
            ours = winner is not None and state.coming is not None and winner.token == policy.key(state.coming)
            if ours and winner is not None:
                # The renewal was stored and its reply lost. The next attempt is a plain write.
                state.token, state.coming, state.renewing, state.grace = state.coming, None, False, False
                state.record = replace(record, token=winner.token)
            if winner is not None and attempt and not last:
                # With two requests, the loser retries at once on the winner's data. With more, that data is probably old
                # again, and a refused write costs more than a read.
                yield from back_off(attempt)
                # An eventually consistent read may miss it. If it is really gone, the next write will fail.
                winner = (yield from issue(find(winner.token))) or winner
            renewed = conflict.renamed or (winner is not None and winner.token != writing.target.token)
            if state.renewing and renewed and not ours:
                yield from _lose_renewal(state, policy, changes, conflict)
                return
            if winner is None:
                drop_changes(state, policy, changes, conflict)
                return
            yield_to(state, policy, writing, changes, winner, conflict=conflict, last=last)


def _write_once(state: State, writing: Writing, policy: Policy) -> Plan[None]:
    expiry_ns = policy.expiry_ns(writing.deadline_ns, writing.settings)
    before = writing.target
    # Never shorten the stored expiry: another process whose clock is ahead may have set it.
    if not _shortens(state, before, policy):
        expiry_ns = max(expiry_ns, min(before.expiry_ns, writing.deadline_ns))
    token, expiry = Hidden(state.token), from_ns(expiry_ns)
    if state.renewing:
        new = Hidden(state.coming or _state.new_token(policy))
        has_grace = state.grace and policy.renewal_grace
        grace = {"grace": policy.renewal_grace} if has_grace else {}
        state.record = yield from issue(
            write(
                "rename",
                record=before,
                token=policy.key(new.reveal()),
                data=encode(writing.data, writing.deadline_ns, writing.settings, policy),
                expiry=expiry,
                **grace,
            )
        )
        token = Hidden(new.reveal())
    else:
        state.record = yield from issue(
            write(
                "replace",
                record=before,
                data=encode(writing.data, writing.deadline_ns, writing.settings, policy),
                expiry=expiry,
            )
        )
        state.prolonged |= state.record.expiry > before.expiry
    if writing.merged:
        shown = Snapshot(state.draft.frozen(writing.held), state.deadline_ns)
        state.outdated |= writing.outdated
        note_late_reads(state, writing.reads, shown, Snapshot(writing.data, writing.deadline_ns), policy)
    state.draft.adopt(writing.data, writing.held)
    state.deadline_ns, state.settings = writing.deadline_ns, writing.settings
    mark_stored(state, token.reveal())
    state.draft.settle(writing.held)


def _shortens(state: State, before: Record, policy: Policy) -> bool:
    """Return True if this request gives the session a shorter idle timeout than the stored one."""
    if IDLE_TIMEOUT not in state.told:
        return False
    idle_ns = policy.effective_idle_ns(state.told)
    stored_ns = policy.effective_idle_ns(snapshot(before, policy).settings)
    return idle_ns is not None and (stored_ns is None or idle_ns < stored_ns)


def _touch(state: State, record: Record, policy: Policy) -> Plan[None]:
    """Extend the expiry, since access counts as activity, if enough of the idle timeout is used."""
    if not policy.touch_is_due(record.expiry_ns, state.deadline_ns, state.settings):
        return
    expiry_ns = policy.expiry_ns(state.deadline_ns, state.settings)
    try:
        state.record = yield from issue(write("touch", record=record, expiry=from_ns(expiry_ns)))
        state.prolonged = True
    except Conflict as conflict:
        # If another request renewed the session, it also set a new expiry. Keep the data that this request saw, for later
        # comparisons.
        if conflict.current is None:
            drop_changes(state, policy, None, conflict)


def mark_stored(state: State, token: str | None) -> None:
    """Update the state after the session was stored under *token*."""
    state.token, state.coming, state.tried_token = token, None, None
    state.renewing, state.rescheduled, state.create_even_if_empty, state.written = False, False, False, True
    state.stored_deadline_ns = state.deadline_ns
    state.tried.clear()
    state.settings, state.told = state.own_settings, NO_SETTINGS
    state.kept = remembered(state.settings)


def _lose_renewal(state: State, policy: Policy, changes: Changes | None, conflict: Conflict | None) -> Plan[None]:
    """Start a separate session for a login that lost to another renewal, if it does not depend on the old session."""
    assert state.record is not None
    reads = state.draft.reads()
    free = policy.login_keys | policy.rules.mergeable.keys()
    if policy.rules.level == "merge" and changes is not None:
        # As in every conflict, reads of keys that the request overwrote do not count; for example, the time of the last
        # activity. Lists and dicts do count, as they may still hold values of the old session.
        free |= {key for key, value in changes.put.items() if not isinstance(value, list | dict)} - reads.taken
    read = (reads.values | reads.presence) - free
    stale = read or reads.unlisted is not None or reads.emptiness or state.read_deadline
    if stale or not policy.checks:
        keys, draft = sorted(read), state.draft
        lose(state, policy)
        if not (policy.checks and policy.raises_if_ended):
            return
        what = f"the session was renewed by another request, after this request read {named(keys)}"
        raise SessionConflict(what, keys=keys, ended=True, ours=draft.data) from conflict
    own = Hidden(own_part(changes or Changes(), snapshot(state.record, policy).data, policy.rules.mergeable))
    state.record, state.token, state.coming, state.grace, state.outdated = None, None, None, False, frozenset()
    state.settings = NO_SETTINGS
    if not state.rescheduled:
        state.deadline_ns = policy.new_deadline_ns()
    state.renewing, state.rescheduled = False, False
    state.draft = state.draft.begin_anew(own.reveal())
    yield from store_new(state, policy)
    if state.record is None:
        lose(state, policy)


def with_keys(error: ItemTooLargeError, draft: Draft) -> ItemTooLargeError:
    """Return a copy of *error* whose message names the largest keys of *draft*."""
    largest = draft.sizes()[:5]
    named = ", ".join(f"{key!r} ({size:,} bytes)" for key, size in largest)
    return ItemTooLargeError(
        f"{error}; the session's largest keys: {named}",
        size=error.size,
        limit=error.limit,
        largest=largest,
        operation=error.operation,
        code=error.code,
    )
