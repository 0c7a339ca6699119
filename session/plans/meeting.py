"""When another request was faster: is this one stale, and what becomes of its changes? All logic, no I/O."""

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
    """The data, deadline and settings that are to be stored, and the record that they are to be stored upon."""

    target: Record
    data: dict[str, JSONValue] = field(repr=False)
    deadline_ns: int
    settings: Settings
    held: Mapping[str, bytes] = field(repr=False)
    """The lists and dicts that were handed out, as they are in *data*: another task may change them meanwhile."""
    reads: Reads
    """What was compared with the record."""
    merged: bool = False
    """The data is this request's, merged with another's."""
    outdated: frozenset[str] = frozenset()
    """The keys that differed in the record, though that did not count."""


def note_tried(state: State, version: int, writing: Writing, policy: Policy, changes: Changes | None) -> None:
    """Remember a write whose outcome is not known, to know it again if it was applied; *version* is its tag, 0 if not known.

    The request does not see what it was merged with: it has seen, and goes on from, its own data.
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
    """Remember an atomic step whose outcome is not known, which changed *changed*, to know it again if it was applied."""
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
    """Have the changes made on the faster request's data at the next try; raise `SessionConflict` if they must not be."""
    if winner.version == writing.target.version != 0 and winner.token == writing.target.token and not last:
        writing.target = winner  # only its expiry was moved
        return
    theirs = snapshot(winner, policy)
    what = f"session {digest(winner.token)} was changed by another request"
    if last:
        _refuse(state, f"{what}, {ATTEMPTS} times while it was to be stored", theirs, conflict)
    changing = acts(state, changes)
    mine = any(tried.is_latest_in(winner) for tried in state.tried)
    if policy.on_conflict == "raise" and changing and not mine:
        _refuse(state, what, theirs, conflict)
    if changes is not None and _may_repeat(state, winner, changes, policy):
        what = f"session {digest(winner.token)}: it is not known if an earlier try to store this request's changes succeeded"
        _refuse(state, what, theirs, conflict)
    seen, base, left = since_tried(state, winner, changes, policy)
    stale = _stale(state, seen, theirs, left, policy) if changing else []
    if stale and policy.checks:
        _refuse(state, f"{what}, in what this one read: {named(stale)}", theirs, conflict, stale)
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
    """Return what the reads are to be compared with, what the changes were made on, and the changes that *winner* lacks.

    That is the data as it was read, unless a write of this request's whose reply was lost is in *winner*.
    """
    for tried in reversed(state.tried):
        if tried.is_in(winner):
            return tried.seen, tried.base, None if changes is None else _without(changes, tried, policy)
    assert state.record is not None
    read = snapshot(state.record, policy)
    return read, read, changes


def _may_repeat(state: State, winner: Record, changes: Changes, policy: Policy) -> bool:
    """Return True if *winner* may hold these changes already, unrecognised, and they would count twice."""
    assert state.record is not None
    if not state.tried or any(tried.is_in(winner) for tried in state.tried):
        return False
    forgot = len(winner.recent) >= 8 * items.RECENT and not bears(winner, state.record.version)
    unknown = forgot or not all(tried.version for tried in state.tried)
    return unknown and bool(changes.incremented or changes.keys & policy.rules.mergeable.keys())


def _without(changes: Changes, tried: Tried, policy: Policy) -> Changes:
    """Return *changes* without those that are in what *tried* stored, and that to make again would not be to make again.

    A plain put is made again, after the changes of others. What is merged has its part in the stored value already.
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
    """Raise `SessionConflict` if *winner* has other values of what this request read, which an atomic *step* rests on.

    Return the keys that differ there, though that does not count.
    """
    seen, _, _ = since_tried(state, winner, None, policy)
    theirs, changes = snapshot(winner, policy), state.draft.changes()
    stale = _stale(state, seen, theirs, changes, policy, exclusive=_is_exclusive(step, policy))
    if stale:
        what = f"session {digest(winner.token)} was changed by another request, in what this one read: {named(stale)}"
        _refuse(state, what, theirs, conflict, stale)
    reads, rules = state.draft.reads(), policy.rules
    return outdated_keys(reads, changes, seen, theirs, rules, read_deadline=state.read_deadline)


def check_outdated_step(state: State, step: Changes | None, policy: Policy) -> None:
    """Raise `SessionConflict` if an atomic *step* rests on what had changed when an earlier commit did not count it."""
    if state.outdated:
        _check_outdated(state, state.draft.changes(), policy, exclusive=_is_exclusive(step, policy))


def check_outdated(state: State, changes: Changes | None, policy: Policy) -> None:
    """Raise `SessionConflict` if these changes rest on what had changed when an earlier commit did not count it."""
    if state.outdated and acts(state, changes):
        _check_outdated(state, changes, policy, exclusive=False)


def _is_exclusive(step: Changes | None, policy: Policy) -> bool:
    # A step that changes nothing is a decision, too.
    return step is None or step.cleared or not step.keys <= policy.rules.mergeable.keys()


def _check_outdated(state: State, changes: Changes | None, policy: Policy, *, exclusive: bool) -> None:
    assert state.record is not None
    stored = snapshot(state.record, policy)
    stale = _stale(state, stored, stored, changes, policy, exclusive=exclusive)
    if stale and policy.checks:
        what = f"session {digest(state.record.token)} had been changed by another request, in what this one read before"
        _refuse(state, f"{what}: {named(stale)}", stored, None, stale)
    if stale and policy.on_conflict == "report":
        report(state, stale)


def note_late_reads(state: State, checked: Reads, shown: Snapshot, stored: Snapshot, policy: Policy) -> None:
    """Note what another task read while this one was storing, of what it was about to be merged with."""
    late = state.draft.reads().since(checked)
    if late:
        state.outdated |= outdated_keys(late, None, shown, stored, policy.rules)


def _refuse(
    state: State, what: str, theirs: Snapshot, conflict: Conflict | None, keys: list[str] | None = None
) -> NoReturn:
    raise SessionConflict(what, keys=keys or (), ours=state.draft.data, theirs=theirs.data) from conflict


def drop_changes(state: State, policy: Policy, changes: Changes | None, conflict: Conflict | None) -> None:
    """Drop the changes: another request destroyed or renewed the session, or it expired.

    A request that took a value out of it, and did something with that, must not end well.
    """
    assert state.record is not None
    reads, ours = state.draft.reads(), state.draft.data
    serialize = policy.rules.level == "serialize"
    refused = acts(state, changes) and (bool(reads) or state.read_deadline if serialize else bool(reads.taken))
    stale: list[str] = []
    if refused:
        # To set a key by setdefault is to put it.
        held = snapshot(state.record, policy).data
        which = reads.values | reads.presence if serialize else reads.taken & held.keys()
        stale = sorted(which - policy.rules.unchecked)
        shown = reads.unlisted is not None or bool(reads.emptiness) or state.read_deadline
        refused = bool(stale) or (serialize and shown)
    lose(state, policy)
    if refused and policy.checks and policy.raises_if_ended:
        what = f"the session was ended by another request, or has expired, after this one read {named(stale)}"
        raise SessionConflict(what, keys=stale, ended=True, ours=ours) from conflict
    if refused and policy.on_conflict == "report":
        report(state, stale)


def lose(state: State, policy: Policy) -> None:
    """Note that the session is no more; from now on the request has none, and begins none."""
    state.token = state.coming = state.record = None
    state.deadline_ns = policy.new_deadline_ns()
    state.renewing = state.rescheduled = state.dated = False
    state.settings = state.told = NO_SETTINGS
    state.gone = state.ended = True
    state.draft = Draft({})


def report(state: State, keys: list[str]) -> None:
    """Log that a stale request was stored all the same."""
    where = f" ({state.route()})" if state.route else ""
    message = f"a request stored a decision on stale data{where}: another one had changed {named(keys)}"
    _rarely.warn(_log, (where, *keys), message)


def named(keys: list[str]) -> str:
    """Keys as a message names them."""
    return ", ".join(repr(key) for key in keys) or "something"
