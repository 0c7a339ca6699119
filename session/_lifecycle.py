"""A session's life as plans over a store's verbs: load, commit, abandon, update. All logic, no I/O."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from random import uniform
from typing import Literal, TypeVar

from dynamostore import Conflict, ItemTooLargeError, Record, ThrottledError, UnavailableError
from dynamostore._instants import from_ns
from dynamostore._steps import Call, Plan, issue, pause
from dynamostore.errors import digest

from . import _rarely
from ._policy import Policy
from ._state import (
    Deadline,
    State,
    Tried,
    decode,
    discard,
    is_untouched,
    is_well_formed_token,
    new_token,
    remembered,
    snapshot,
)
from .changes import Changes, Draft
from .errors import SessionConflict, SessionStateError, SessionTypeError
from .merging import Snapshot, merged, own_part, stale_keys
from .values import JSONValue

__all__ = ["abandon", "commit", "destroy", "insist", "load", "prolong", "renew", "reschedule", "update"]

S = TypeVar("S")

_ATTEMPTS = 10
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.5

_log = logging.getLogger("session")


# The verbs of a store that are used, with the types of their replies.


def _find(token: str) -> Call[Record | None]:
    return Call("find", {"token": token})


def _write(verb: Literal["create", "replace", "rename", "touch"], **arguments: object) -> Call[Record]:
    return Call(verb, arguments)


def _delete(token: str) -> Call[None]:
    return Call("delete", {"token": token})


def _remove(record: Record) -> Call[None]:
    return Call("remove", {"record": record})


def load(state: State, policy: Policy) -> Plan[None]:
    """Read the session, once; a token that leads nowhere is dropped, never adopted."""
    if state.loaded or state.token is None:
        return
    record = yield from issue(_find(policy.key(state.token)))
    if state.loaded:
        return  # by another task, which may have changed it since; or it was destroyed meanwhile
    if record is not None:
        data, deadline_ns = decode(record, policy)
        if deadline_ns >= policy.clock():
            state.record, state.draft = record, Draft(data)
            state.deadline_ns = state.stored_deadline_ns = deadline_ns
            state.found = state.kept = remembered(data)
            state.loaded = True
            return
    state.token, state.draft = None, Draft({})
    state.loaded = True


def renew(state: State, policy: Policy, *, grace: bool = False, deadline: Deadline = "new") -> None:
    """Give the session a new token, and perhaps a new lifetime, at the next commit. The session must be loaded."""
    if deadline == "new":
        reschedule(state, policy.new_deadline_ns())
    state.renewing = state.record is not None and not state.destroying
    state.coming = new_token() if state.renewing else None
    state.grace = grace and state.renewing


def reschedule(state: State, deadline_ns: int) -> None:
    """End the session at another time, from the next commit on. The session must be loaded."""
    state.deadline_ns = deadline_ns
    state.rescheduled, state.by_activity = True, False


def prolong(state: State, deadline_ns: int) -> None:
    """End the session at another time because it is in use, from the next commit on: that alone is no change, and never stale."""
    state.by_activity = state.by_activity or not state.rescheduled
    state.deadline_ns = deadline_ns
    state.rescheduled = True


def insist(state: State) -> None:
    """Store a new session at the next commit even if there is nothing in it."""
    state.insisting = True


def destroy(state: State, policy: Policy) -> None:
    """Delete the session at the next commit; values put after this make a new one."""
    if not state.destroying and state.record is not None:
        state.before = (state.draft.reads(), _meant(state), state.read_deadline)
    state.destroying, state.coming = True, None
    state.renewing = state.rescheduled = state.written = state.read_deadline = False
    state.draft = Draft({})
    state.deadline_ns = policy.new_deadline_ns()
    state.loaded = True


def _meant(state: State) -> Changes | None:
    try:
        return state.draft.meant()
    except (TypeError, ValueError):
        return None  # what cannot be stored is not going to be


def commit(state: State, policy: Policy) -> Plan[None]:
    """Store the changes, if any. On a conflict, follow the policy."""
    if state.destroying:
        yield from _end(state, policy)
    if is_untouched(state):
        return
    try:
        if state.ended:
            state.draft.settle()
        elif state.record is None:
            yield from store_new(state, policy)
        else:
            yield from _store_changes(state, policy)
    except ItemTooLargeError as error:
        raise with_keys(error, state.draft) from error


def abandon(state: State, policy: Policy) -> Plan[None]:
    """Forget what was not committed, but for `destroy`: a logout counts also if the request fails afterwards."""
    if state.destroying:
        state.draft = Draft({})
        state.insisting = False
        yield from _end(state, policy)
    discard(state)


def store_new(state: State, policy: Policy) -> Plan[None]:
    """Store a session that is not there yet, under a new token; nothing if there is nothing to store."""
    if state.draft.changes() is None and not state.insisting:
        return
    token = state.coming or new_token()
    expiry_ns = policy.expiry_ns(state.deadline_ns)
    payload = policy.codec.encode(state.draft.data, state.deadline_ns)
    state.record = yield from issue(_write("create", token=policy.key(token), data=payload, expiry=from_ns(expiry_ns)))
    mark_stored(state, token)


# Ending it


def _end(state: State, policy: Policy) -> Plan[None]:
    """Delete the session, whatever others did to it."""
    record, token = state.record, state.token
    if token is None and not state.destroyed and is_well_formed_token(state.presented):
        # A session that was renewed before or meanwhile is reached by the token that the client sent.
        token = state.presented
    if token is not None:
        key = policy.key(token)
        held = yield from _remove_if_held(state, policy)
        if not held:
            if record is not None and record.token != key:
                # Read by an old token within a renewal's grace, which may be over by now.
                yield from issue(_delete(record.token))
            yield from issue(_delete(key))
        if held is False:
            _log.warning("a session was changed while it was destroyed: what this request put afterwards is dropped")
            state.draft, state.insisting = Draft({}), False
    state.token = state.record = None
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
    for attempt in range(_ATTEMPTS):
        try:
            yield from issue(_remove(target))
        except Conflict as conflict:
            winner = conflict.current
            if winner is None or winner.token != target.token:
                return False
            theirs = snapshot(winner, policy)
            if stale_keys(reads, changes, base, theirs, policy.rules, read_deadline=read_deadline, exclusive=True):
                return False
            target = winner
            yield from back_off(attempt)
        else:
            return not state.is_superseded(policy) or None
    return False


# Changing it


@dataclass(slots=True)
class _Writing:
    """The data and deadline that are to be stored, and the record that they are to be stored upon."""

    target: Record
    data: dict[str, JSONValue] = field(repr=False)
    deadline_ns: int


def _store_changes(state: State, policy: Policy) -> Plan[None]:
    record = state.record
    assert record is not None
    changes = state.draft.changes()
    if changes is None and (state.renewing or state.deadline_moves):
        # It is stored anyway: then everything counts that was put, also a value that was there already.
        changes = state.draft.meant()
    if state.renewing and state.is_superseded(policy):
        yield from _lose_renewal(state, policy, changes, None)
        return
    if not (state.renewing or state.deadline_moves or changes):
        yield from _touch(state, record, policy)
        state.draft.settle()
        return
    writing = _Writing(record, state.draft.data, state.deadline_ns)
    for attempt in range(_ATTEMPTS):
        try:
            yield from _write_once(state, writing, policy)
            return
        except (UnavailableError, ThrottledError) as error:
            _note_tried(state, error, writing, policy, changes)
            raise
        except Conflict as conflict:
            winner = conflict.current
            last = attempt == _ATTEMPTS - 1
            ours = winner is not None and state.coming is not None and winner.token == policy.key(state.coming)
            if ours:
                state.coming = None  # it is taken
            if winner is not None and attempt and not last:
                # Where two met, the loser writes on the winner's data at once. Where there are more, that would be old
                # again by the time it is written, and a refused write costs more than a read.
                yield from back_off(attempt)
                # An eventually consistent read may miss it. If it is really gone, the next write will fail.
                winner = (yield from issue(_find(winner.token))) or winner
            renewed = conflict.renamed or (winner is not None and winner.token != writing.target.token)
            if state.renewing and renewed and not ours:
                yield from _lose_renewal(state, policy, changes, conflict)
                return
            if winner is None:
                _lose(state, policy, changes, conflict)
                return
            _yield_to(state, policy, writing, changes, winner, conflict=conflict, last=last)


def _write_once(state: State, writing: _Writing, policy: Policy) -> Plan[None]:
    expiry_ns = policy.expiry_ns(writing.deadline_ns)
    before = writing.target
    # Another process's clock may be ahead of this one's: the expiry that it promised the session is kept.
    expiry_ns = max(expiry_ns, min(before.expiry_ns, writing.deadline_ns))
    content = {"data": policy.codec.encode(writing.data, writing.deadline_ns), "expiry": from_ns(expiry_ns)}
    token = state.token
    if state.renewing:
        token = state.coming or new_token()
        content["token"] = policy.key(token)
        if state.grace and policy.renewal_grace:
            content["grace"] = policy.renewal_grace
        state.record = yield from issue(_write("rename", record=before, **content))
    else:
        state.record = yield from issue(_write("replace", record=before, **content))
        state.prolonged |= state.record.expiry > before.expiry
    state.draft.adopt(writing.data)
    state.deadline_ns = writing.deadline_ns
    mark_stored(state, token)


def _touch(state: State, record: Record, policy: Policy) -> Plan[None]:
    """Move the expiry, since access is activity, if enough of the idle timeout has been used."""
    expiry_ns = policy.expiry_ns(state.deadline_ns)
    if policy.idle_ns is None or expiry_ns - record.expiry_ns < policy.touch_after_ns:
        return
    try:
        state.record = yield from issue(_write("touch", record=record, expiry=from_ns(expiry_ns)))
        state.prolonged = True
    except Conflict as conflict:
        # Renewed by another request: that one gave it a new expiry. What this one was shown stays, to be compared with
        # later.
        if conflict.current is None:
            _lose(state, policy, None, conflict)


def mark_stored(state: State, token: str | None) -> None:
    """Note that the draft is what is stored under *token*."""
    state.token, state.coming = token, None
    state.renewing, state.rescheduled, state.insisting, state.written = False, False, False, True
    state.stored_deadline_ns = state.deadline_ns
    state.tried.clear()
    state.kept = remembered(state.draft.data)
    state.draft.settle()


def note_tried_step(
    state: State,
    policy: Policy,
    error: UnavailableError | ThrottledError,
    payload: bytes,
    target: Record,
    *,
    changed: frozenset[str],
) -> None:
    """Remember an atomic step whose outcome is not known, which changed *changed*, to know it again if it was applied."""
    seen, base, _ = since_tried(state, target, None, policy)
    stored = policy.codec.decode(payload)[0]
    data = {key: value for key, value in seen.data.items() if key not in changed}
    data |= {key: stored[key] for key in changed if key in stored}
    state.tried.append(Tried(error.version, payload, {}, Snapshot(data, seen.deadline_ns), base))


def _note_tried(
    state: State, error: UnavailableError | ThrottledError, writing: _Writing, policy: Policy, changes: Changes | None
) -> None:
    """Remember a write whose outcome is not known, to know it again if it was applied.

    The request does not see what it was merged with: it has seen, and goes on from, its own data.
    """
    payload = policy.codec.encode(writing.data, writing.deadline_ns)
    mine = Snapshot(*policy.codec.decode(policy.codec.encode(state.draft.data, state.deadline_ns)))
    state.tried.append(Tried(error.version, payload, dict(changes.incremented if changes else {}), mine, mine))


# Another request was faster


def _yield_to(
    state: State,
    policy: Policy,
    writing: _Writing,
    changes: Changes | None,
    winner: Record,
    *,
    conflict: Conflict,
    last: bool,
) -> None:
    """Have the changes made on the faster request's data at the next try; raise `SessionConflict` if they must not be."""
    if winner.version == writing.target.version != 0 and winner.token == writing.target.token and not last:
        writing.target = winner  # only its expiry was moved
        return
    theirs = snapshot(winner, policy)
    what = f"session {digest(winner.token)} was changed by another request"
    if last:
        _refuse(state, f"{what}, {_ATTEMPTS} times while it was to be stored", theirs, conflict)
    acts = _acts(state, changes)
    if policy.on_conflict == "raise" and acts:
        _refuse(state, what, theirs, conflict)
    seen, base, left = since_tried(state, winner, changes, policy)
    stale = _stale(state, seen, theirs, changes, policy) if acts else []
    if stale and policy.checks:
        _refuse(state, f"{what}, in what this one read: {_named(stale)}", theirs, conflict, stale)
    if stale and policy.on_conflict == "report":
        report(state, stale)
    if policy.on_conflict != "overwrite":
        try:
            writing.data = merged(left, base.data, theirs.data, policy.rules.mergeable)
        except (SessionTypeError, ValueError) as error:
            what += f", and the two cannot be merged: {error}"
            raise SessionConflict(what, ours=state.draft.data, theirs=theirs.data) from error
        if not state.rescheduled:
            writing.deadline_ns = theirs.deadline_ns
    writing.target = winner


def since_tried(
    state: State, winner: Record, changes: Changes | None, policy: Policy
) -> tuple[Snapshot, Snapshot, Changes | None]:
    """Return what the reads are to be compared with, what the changes were made on, and the changes that *winner* lacks.

    That is the data as it was read, unless a write of this request's whose reply was lost is in *winner*.
    """
    for tried in reversed(state.tried):
        if tried.is_in(winner):
            if changes is not None:
                left = {key: by - tried.incremented.get(key, 0) for key, by in changes.incremented.items()}
                left = {key: by for key, by in left.items() if by}
                changes = Changes(changes.put, changes.removed, left, changes.cleared)
            return tried.seen, tried.base, changes
    assert state.record is not None
    read = snapshot(state.record, policy)
    return read, read, changes


def _acts(state: State, changes: Changes | None) -> bool:
    """Return True if the request changes anything, so that its reads matter."""
    return changes is not None or state.renewing or state.app_rescheduled


def _stale(state: State, base: Snapshot, theirs: Snapshot, changes: Changes | None, policy: Policy) -> list[str]:
    return stale_keys(
        state.draft.reads(),
        changes,
        base,
        theirs,
        policy.rules,
        read_deadline=state.read_deadline,
        wrote_deadline=state.app_rescheduled,
        exclusive=state.renewing,
    )


def check_reads(state: State, winner: Record, policy: Policy, conflict: Conflict | None) -> None:
    """Raise `SessionConflict` if *winner* has other values of what this request read."""
    seen, _, _ = since_tried(state, winner, None, policy)
    theirs = snapshot(winner, policy)
    stale = _stale(state, seen, theirs, state.draft.changes(), policy)
    if stale:
        what = f"session {digest(winner.token)} was changed by another request, in what this one read: {_named(stale)}"
        _refuse(state, what, theirs, conflict, stale)


def _refuse(
    state: State, what: str, theirs: Snapshot, conflict: Conflict | None, keys: list[str] | None = None
) -> None:
    raise SessionConflict(what, keys=keys or (), ours=state.draft.data, theirs=theirs.data) from conflict


def _lose(state: State, policy: Policy, changes: Changes | None, conflict: Conflict | None) -> None:
    """Drop the changes: another request destroyed or renewed the session, or it expired.

    A request that took a value out of it, and did something with that, must not end well.
    """
    assert state.record is not None
    reads, ours = state.draft.reads(), state.draft.data
    serialize = policy.rules.level == "serialize"
    refused = _acts(state, changes) and (bool(reads) or state.read_deadline if serialize else bool(reads.taken))
    stale: list[str] = []
    if refused:
        # To set a key by setdefault is to put it.
        held = snapshot(state.record, policy).data
        which = reads.values | reads.presence if serialize else reads.taken & held.keys()
        stale = sorted(which - policy.rules.unchecked)
        shown = reads.unlisted is not None or reads.emptiness or state.read_deadline
        refused = bool(stale) or (serialize and shown)
    lose(state, policy)
    if refused and policy.checks and policy.raises_if_ended:
        what = f"the session was ended by another request, or has expired, after this one read {_named(stale)}"
        raise SessionConflict(what, keys=stale, ended=True, ours=ours) from conflict
    if refused and policy.on_conflict == "report":
        report(state, stale)


def lose(state: State, policy: Policy) -> None:
    """Note that the session is no more; from now on the request has none, and begins none."""
    state.token = state.coming = state.record = None
    state.deadline_ns = policy.new_deadline_ns()
    state.renewing = state.rescheduled = False
    state.gone = state.ended = True
    state.draft = Draft({})


def _lose_renewal(state: State, policy: Policy, changes: Changes | None, conflict: Conflict | None) -> Plan[None]:
    """Begin a session of its own for a login that lost to another renewal, if nothing of the old session is in it."""
    assert state.record is not None
    reads = state.draft.reads()
    free = policy.login_keys | policy.rules.mergeable.keys()
    read = (reads.values | reads.presence) - free
    stale = read or reads.unlisted is not None or reads.emptiness or state.read_deadline
    if stale or not policy.checks:
        keys, ours = sorted(read), state.draft.data
        lose(state, policy)
        if not (policy.checks and policy.raises_if_ended):
            return
        what = f"the session was renewed by another request, after this one read {_named(keys)}"
        raise SessionConflict(what, keys=keys, ended=True, ours=ours) from conflict
    data = own_part(changes or Changes(), snapshot(state.record, policy).data, policy.rules.mergeable)
    state.record, state.token, state.coming, state.grace = None, None, None, False
    if not state.rescheduled:
        state.deadline_ns = policy.new_deadline_ns()
    state.renewing, state.rescheduled = False, False
    state.draft = Draft({})
    for key, value in data.items():
        state.draft.put(key, value)
    yield from store_new(state, policy)
    if state.record is None:
        lose(state, policy)


def report(state: State, keys: list[str]) -> None:
    """Log that a stale request was stored all the same."""
    where = f" ({state.route()})" if state.route else ""
    message = f"a request stored a decision on stale data{where}: another one had changed {_named(keys)}"
    _rarely.warn(_log, (where, *keys), message)


def _named(keys: list[str]) -> str:
    return ", ".join(repr(key) for key in keys) or "something"


# Trying again


def update(token: str | None, policy: Policy, attempts: int) -> Plan[S]:
    """Have a change made in a block of its own, again where another request was faster; at most *attempts* times.

    The target's ``attempt`` makes it, and returns the session.
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


def back_off(attempt: int) -> Plan[None]:
    """Wait after the *attempt*-th conflict, counted from 0, for a random time, so that two that met do not meet again."""
    yield from pause(uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)))


def check_allows_step(state: State) -> None:
    """Raise if an atomic step makes no sense now."""
    if state.ended:
        raise SessionConflict("the session was ended by another request, or has expired", ended=True)
    if state.destroying or state.destroyed:
        raise SessionStateError("atomic: the session was destroyed in this request; call atomic before destroy")
    if state.renewing:
        raise SessionStateError("atomic: a renewal is pending; call save() between renew_token and atomic")
    if state.tried and state.draft.pending():
        raise SessionStateError("atomic: an earlier save() got no reply; its changes must be saved first")


def with_keys(error: ItemTooLargeError, draft: Draft) -> ItemTooLargeError:
    """Return *error* with the largest keys of *draft* named."""
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
