"""Decide what happens if another request changed the session first: merge, refuse or drop this one's changes. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from dynamostore import Conflict, Record, items
from dynamostore.digests import digest
from session import _rarely
from session._policy import Policy
from session._settings import NO_SETTINGS, Settings
from session._state import State, Tried, bears, encode, snapshot
from session.changes import Changes, Reads, encoded
from session.draft import Draft
from session.errors import SessionConflict, SessionTypeError
from session.merging import Snapshot, merged, outdated_keys, stale_keys
from session.types import JSONValue

from .calls import ATTEMPTS

__all__ = [
    "Writing",
    "acts",
    "check_outdated",
    "check_outdated_step",
    "check_reads",
    "drop_changes",
    "lose",
    "named",
    "note_late_reads",
    "note_tried",
    "note_tried_step",
    "since_tried",
    "yield_to",
]

_log = logging.getLogger("session")


@dataclass(slots=True)
class Writing:
    """The data, deadline and settings to be stored, and the record that they replace."""

    target: Record
    data: dict[str, JSONValue] = field(repr=False)
    deadline_ns: int
    settings: Settings
    held: Mapping[str, bytes] = field(repr=False)
    """The encodings of lent lists and dicts, as they are in *data*. The app may change the originals meanwhile."""
    reads: Reads
    """The reads that were compared with the record."""
    merged: bool = False
    """True if the data is merged with another request's."""
    outdated: frozenset[str] = frozenset()
    """The keys that differed in the record, where that did not count."""


def note_tried(state: State, version: int, writing: Writing, policy: Policy, changes: Changes | None) -> None:
    """Remember a write whose outcome is unknown, to recognize it later if it was applied. *version* is 0 if unknown.

    Later reads are compared with the request's own data, not with the merged data, which the request has not seen.
    """
    payload = encode(writing.data, writing.deadline_ns, writing.settings, policy)
    shown = state.draft.frozen(writing.held)
    data, deadline_ns = policy.codec.decode(policy.codec.encode(shown, state.deadline_ns))
    mine = Snapshot(data, deadline_ns, state.own_settings)
    state.tried.append(Tried(version, payload, dict(changes.incremented if changes else {}), mine, mine))


def note_tried_step(
    state: State,
    policy: Policy,
    version: int,
    payload: bytes,
    target: Record,
    *,
    changed: frozenset[str],
) -> None:
    """Remember an atomic step whose outcome is unknown, to recognize it later. *changed*: the keys that it changed."""
    seen, base, _ = since_tried(state, target, None, policy)
    stored = policy.codec.decode(payload)[0]
    data = {key: value for key, value in seen.data.items() if key not in changed}
    data |= {key: stored[key] for key in changed if key in stored}
    state.tried.append(Tried(version, payload, {}, Snapshot(data, seen.deadline_ns, seen.settings), base, is_step=True))


def yield_to(
    state: State,
    policy: Policy,
    writing: Writing,
    changes: Changes | None,
    winner: Record,
    *,
    conflict: Conflict,
    last: bool,
) -> None:
    """Prepare *writing* to apply the changes to the faster request's data. Raise `SessionConflict` if that is not allowed."""
    if winner.version == writing.target.version != 0 and winner.token == writing.target.token and not last:
        writing.target = winner  # only its expiry has changed
        return
    theirs = snapshot(winner, policy)
    what = f"session {digest(winner.token)} was changed by another request"
    if last:
        _refuse(state, f"{what} at each of {ATTEMPTS} attempts to store it", theirs, conflict)
    changing = acts(state, changes)
    mine = any(tried.is_latest_in(winner) for tried in state.tried)
    if policy.on_conflict == "raise" and changing and not mine:
        _refuse(state, what, theirs, conflict)
    if changes is not None and _may_repeat(state, winner, changes, policy):
        what = f"session {digest(winner.token)}: unknown whether an earlier attempt to store this request's changes succeeded"
        _refuse(state, what, theirs, conflict)
    seen, base, left = since_tried(state, winner, changes, policy)
    stale = _stale(state, seen, theirs, left, policy) if changing else []
    if stale and policy.checks:
        _refuse(state, f"{what}, in keys that this request read: {named(stale)}", theirs, conflict, stale)
    if stale and policy.on_conflict == "report":
        report(state, stale)
    writing.reads = state.draft.reads()
    writing.outdated = outdated_keys(writing.reads, left, seen, theirs, policy.rules, read_deadline=state.read_deadline)
    if policy.on_conflict != "overwrite":
        try:
            writing.data = merged(left, base.data, theirs.data, policy.rules.mergeable)
            writing.merged = True
        except (SessionTypeError, ValueError) as error:
            what += f", and the two cannot be merged: {error}"
            raise SessionConflict(what, ours=state.draft.data, theirs=theirs.data) from error
        if not state.rescheduled:
            writing.deadline_ns = theirs.deadline_ns
        writing.settings = {**theirs.settings, **state.told}
    writing.target = winner


def since_tried(
    state: State, winner: Record, changes: Changes | None, policy: Policy
) -> tuple[Snapshot, Snapshot, Changes | None]:
    """Return the data to compare reads with, the data on which the changes were made, and the changes that *winner* lacks.

    Both are the data as it was read, unless *winner* contains a write of this request whose reply was lost.
    """
    for tried in reversed(state.tried):
        if tried.is_in(winner):
            return tried.seen, tried.base, None if changes is None else _without(changes, tried, policy)
    assert state.record is not None
    read = snapshot(state.record, policy)
    return read, read, changes


def _may_repeat(state: State, winner: Record, changes: Changes, policy: Policy) -> bool:
    """Return True if *winner* may already hold these changes, unrecognized, so that applying them again would count twice."""
    assert state.record is not None
    if not state.tried or any(tried.is_in(winner) for tried in state.tried):
        return False
    forgot = len(winner.recent) >= 8 * items.RECENT and not bears(winner, state.record.version)
    unknown = forgot or not all(tried.version for tried in state.tried)
    return unknown and bool(changes.incremented or changes.keys & policy.rules.mergeable.keys())


def _without(changes: Changes, tried: Tried, policy: Policy) -> Changes:
    """Return *changes* without increments and merges that *tried* has stored already: they must not be applied twice.

    A plain put is applied again, on top of the changes of others.
    """
    if changes.cleared:
        return changes
    stored, mergeable = tried.seen.data, policy.rules.mergeable
    done = {key for key in mergeable if key in changes.keys and encoded(changes.put, key) == encoded(stored, key)}
    left = {key: by - tried.incremented.get(key, 0) for key, by in changes.incremented.items()}
    return Changes(
        {key: value for key, value in changes.put.items() if key not in done},
        changes.removed - done,
        {key: by for key, by in left.items() if by},
    )


def acts(state: State, changes: Changes | None) -> bool:
    """Return True if the request changes anything, so that its reads matter."""
    return changes is not None or state.renewing or state.app_rescheduled or state.settings_differ


def _stale(
    state: State, base: Snapshot, theirs: Snapshot, changes: Changes | None, policy: Policy, *, exclusive: bool = False
) -> list[str]:
    return stale_keys(
        state.draft.reads(),
        changes,
        base,
        theirs,
        policy.rules,
        read_deadline=state.read_deadline,
        wrote_deadline=state.app_rescheduled,
        exclusive=exclusive or state.renewing or bool(state.told),
        outdated=state.outdated,
    )


def check_reads(
    state: State, winner: Record, step: Changes | None, policy: Policy, conflict: Conflict | None = None
) -> frozenset[str]:
    """Raise `SessionConflict` if *winner* has other values for keys that this request read before its atomic *step*.

    Return the keys that differ, where that does not count.
    """
    seen, _, _ = since_tried(state, winner, None, policy)
    theirs, changes = snapshot(winner, policy), state.draft.changes()
    stale = _stale(state, seen, theirs, changes, policy, exclusive=_is_exclusive(step, policy))
    if stale:
        what = f"session {digest(winner.token)} was changed by another request, in keys that this request read: {named(stale)}"
        _refuse(state, what, theirs, conflict, stale)
    reads, rules = state.draft.reads(), policy.rules
    return outdated_keys(reads, changes, seen, theirs, rules, read_deadline=state.read_deadline)


def check_outdated_step(state: State, step: Changes | None, policy: Policy) -> None:
    """Raise `SessionConflict` if an atomic *step* depends on a key whose change did not count at an earlier commit."""
    if state.outdated:
        _check_outdated(state, state.draft.changes(), policy, exclusive=_is_exclusive(step, policy))


def check_outdated(state: State, changes: Changes | None, policy: Policy) -> None:
    """Raise `SessionConflict` if *changes* depend on a key whose change did not count at an earlier commit."""
    if state.outdated and acts(state, changes):
        _check_outdated(state, changes, policy, exclusive=False)


def _is_exclusive(step: Changes | None, policy: Policy) -> bool:
    # A step that changes nothing still makes a decision.
    return step is None or step.cleared or not step.keys <= policy.rules.mergeable.keys()


def _check_outdated(state: State, changes: Changes | None, policy: Policy, *, exclusive: bool) -> None:
    assert state.record is not None
    stored = snapshot(state.record, policy)
    stale = _stale(state, stored, stored, changes, policy, exclusive=exclusive)
    if stale and policy.checks:
        what = f"session {digest(state.record.token)} was changed by another request, in keys that this request read before"
        _refuse(state, f"{what}: {named(stale)}", stored, None, stale)
    if stale and policy.on_conflict == "report":
        report(state, stale)


def note_late_reads(state: State, checked: Reads, shown: Snapshot, stored: Snapshot, policy: Policy) -> None:
    """Note the keys that another task of this request read during the write, and that the merge then changed."""
    late = state.draft.reads().since(checked)
    if late:
        state.outdated |= outdated_keys(late, None, shown, stored, policy.rules)


def _refuse(
    state: State, what: str, theirs: Snapshot, conflict: Conflict | None, keys: list[str] | None = None
) -> NoReturn:
    raise SessionConflict(what, keys=keys or (), ours=state.draft.data, theirs=theirs.data) from conflict


def drop_changes(state: State, policy: Policy, changes: Changes | None, conflict: Conflict | None) -> None:
    """Drop the changes, since another request destroyed or renewed the session, or it expired.

    Raise `SessionConflict` if this request took a value out of the session, since it may have acted on that value. In
    "serialize", raise it if the request read anything.
    """
    assert state.record is not None
    reads, ours = state.draft.reads(), state.draft.data
    serialize = policy.rules.level == "serialize"
    refused = acts(state, changes) and (bool(reads) or state.read_deadline if serialize else bool(reads.taken))
    stale: list[str] = []
    if refused:
        # A key that setdefault set was not taken out of the session, so it does not count.
        held = snapshot(state.record, policy).data
        which = reads.values | reads.presence if serialize else reads.taken & held.keys()
        stale = sorted(which - policy.rules.unchecked)
        shown = reads.unlisted is not None or bool(reads.emptiness) or state.read_deadline
        refused = bool(stale) or (serialize and shown)
    lose(state, policy)
    if refused and policy.checks and policy.raises_if_ended:
        what = f"the session was ended by another request, or has expired, after this request read {named(stale)}"
        raise SessionConflict(what, keys=stale, ended=True, ours=ours) from conflict
    if refused and policy.on_conflict == "report":
        report(state, stale)


def lose(state: State, policy: Policy) -> None:
    """Mark the session as ended. For the rest of the request, it is empty and stays empty at the commit."""
    state.token = state.coming = state.record = None
    state.deadline_ns = policy.new_deadline_ns()
    state.renewing = state.rescheduled = state.dated = False
    state.settings = state.told = NO_SETTINGS
    state.gone = state.ended = True
    state.draft = Draft({})


def report(state: State, keys: list[str]) -> None:
    """Log that a stale request was stored, under the policy "report"."""
    where = f" ({state.route()})" if state.route else ""
    message = f"a stale request was stored{where}: another request had changed {named(keys)}, which it read"
    _rarely.warn(_log, (where, *keys), message)


def named(keys: list[str]) -> str:
    """Return *keys* as a list for a message."""
    return ", ".join(repr(key) for key in keys) or "something"
