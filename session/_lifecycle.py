"""A session's life as plans over a store's verbs: load, commit, renew, destroy. All logic, no I/O.

The state of a session stands here, too; `Session` is what a request sees of it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from random import uniform
from typing import Literal, TypeAlias, TypeGuard, TypeVar

from dynamostore import Conflict, ItemTooLargeError, Record
from dynamostore._instants import INT64_MAX, Clock, from_ns
from dynamostore._steps import Call, Plan, issue, pause
from dynamostore.errors import digest

from .changes import Changes, Draft
from .codec import Codec
from .errors import CorruptSessionError, SessionConflict, SessionTypeError
from .values import JSONValue

__all__ = ["OnConflict", "Policy", "State", "Status"]

S = TypeVar("S")

OnConflict: TypeAlias = Literal["merge", "raise", "overwrite"]

REMEMBER = "__rememberMe"
"""The key under which a session keeps whether its cookie outlives the browser, as in SCS v2."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_ATTEMPTS = 10
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.5


class Status(Enum):
    """What became of a session in this request."""

    UNMODIFIED = "unmodified"
    """Nothing was changed."""
    MODIFIED = "modified"
    """Something was changed; it is stored once the session is committed."""
    DESTROYED = "destroyed"
    """It was destroyed, by this request or meanwhile by another; nothing is stored."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How the sessions of one manager live; all lengths of time in nanoseconds."""

    codec: Codec
    clock: Clock
    lifetime_ns: int
    idle_ns: int | None
    touch_after_ns: int
    hash_tokens: bool
    on_conflict: OnConflict
    renewal_grace: timedelta = timedelta(0)

    def key(self, token: str) -> str:
        """The key in the table of a client's token: its SHA-256, as SCS v2's HashTokenInStore has it."""
        if not self.hash_tokens:
            return token
        return _base64(hashlib.sha256(token.encode()).digest())

    def expiry_ns(self, deadline_ns: int) -> int:
        """When a session that is active now expires: by idling, or at its deadline, whichever is earlier."""
        if self.idle_ns is None:
            return deadline_ns
        return min(deadline_ns, self.clock() + self.idle_ns)

    def new_deadline_ns(self) -> int:
        return min(self.clock() + self.lifetime_ns, INT64_MAX)


@dataclass(slots=True)
class State:
    """One session in one request. *token* and *record* are what is stored; *draft* is what the request has.

    *coming* is the token that a renewed session gets when it is stored; *found* tells of what was read whether the
    client's cookie was to outlive the browser, *kept* the same of what is stored now.
    """

    presented: str | None = field(repr=False)
    token: str | None = field(repr=False)
    deadline_ns: int
    record: Record | None = None
    loaded: bool = False
    looked: bool = False
    draft: Draft = field(default_factory=lambda: Draft({}))
    renewing: bool = False
    coming: str | None = field(default=None, repr=False)
    rescheduled: bool = False
    insisting: bool = False
    destroying: bool = False
    closed: bool = False
    saving: bool = False
    written: bool = False
    prolonged: bool = False
    gone: bool = False
    destroyed: bool = False
    found: bool | None = None
    kept: bool | None = None

    @property
    def changed(self) -> bool:
        """Whether there is something still to be stored."""
        try:
            return self.renewing or (self.rescheduled and self.record is not None) or self.draft.changes() is not None
        except (TypeError, ValueError):
            return True  # to what cannot be stored, which the commit will say

    @property
    def token_is_new(self) -> bool:
        """Whether to store it is to give it a token that the client has not got."""
        if self.renewing:
            return True
        return (self.record is None or self.destroying) and self.changed

    @property
    def status(self) -> Status:
        if self.written or self.changed:
            return Status.MODIFIED
        return Status.DESTROYED if self.destroying or self.gone else Status.UNMODIFIED


# The verbs of a store that are used, with the types of their replies.


def _find(token: str) -> Call[Record | None]:
    return Call("find", {"token": token})


def _write(verb: Literal["create", "replace", "rename", "touch"], **arguments: object) -> Call[Record]:
    return Call(verb, arguments)


def _delete(token: str) -> Call[None]:
    return Call("delete", {"token": token})


def could_be_ours(token: object) -> TypeGuard[str]:
    """Whether it looks like what `new_token` makes."""
    return isinstance(token, str) and _TOKEN.fullmatch(token) is not None


def begin(presented: str | None, policy: Policy) -> State:
    """The state at the start of a request whose client presented a token, or none.

    A token that could not be one of ours is none.
    """
    token = presented if could_be_ours(presented) else None
    return State(presented, token, policy.new_deadline_ns(), loaded=token is None)


def load(state: State, policy: Policy) -> Plan[None]:
    """Read the session, once; a token that leads nowhere is dropped, never adopted."""
    if state.loaded or state.token is None:
        return
    record = yield from issue(_find(policy.key(state.token)))
    if state.loaded:
        return  # by another task, which may have changed it since; or it was destroyed meanwhile
    if record is not None:
        data, deadline_ns = _decode(record, policy)
        if deadline_ns >= policy.clock():
            state.record, state.deadline_ns, state.draft = record, deadline_ns, Draft(data)
            state.found = state.kept = remembered(data)
            state.loaded = True
            return
    state.token = None
    state.loaded = True


def renew(state: State, policy: Policy) -> None:
    """Have the next commit give the session a new token and a whole lifetime. It must be loaded."""
    state.deadline_ns = policy.new_deadline_ns()
    state.rescheduled = False
    state.renewing = state.record is not None and not state.destroying
    state.coming = new_token() if state.renewing else None


def reschedule(state: State, deadline_ns: int) -> None:
    """Have the next commit end the session at another time. It must be loaded."""
    if deadline_ns != state.deadline_ns:
        state.deadline_ns = deadline_ns
        state.rescheduled = True


def insist(state: State) -> None:
    """Have the next commit store a new session even if there is nothing in it."""
    state.insisting = True


def destroy(state: State, policy: Policy) -> None:
    """Have the next commit delete the session; what is put after this makes a new one."""
    state.destroying, state.coming = True, None
    state.renewing = state.rescheduled = state.written = False
    state.draft = Draft({})
    state.deadline_ns = policy.new_deadline_ns()
    state.loaded = True


def is_untouched(state: State) -> bool:
    """Whether nobody has looked at the session, so that there is nothing to commit: as of most requests."""
    if state.destroying or state.insisting:
        return False
    return not state.loaded or (state.record is None and not state.looked)


def commit(state: State, policy: Policy) -> Plan[None]:
    """Store what was changed, if anything; where another request was faster, as the policy says."""
    if state.destroying:
        if state.token is not None:
            key = policy.key(state.token)
            if state.record is not None and state.record.token != key:
                # Read by an old token within a renewal's grace, which may be over by now.
                yield from issue(_delete(state.record.token))
            yield from issue(_delete(key))
        state.token = state.record = None
        state.destroying, state.gone, state.destroyed = False, True, True
    if is_untouched(state):
        return
    try:
        if state.record is None:
            yield from _store_new(state, policy)
        else:
            yield from _store_changes(state, policy)
    except ItemTooLargeError as error:
        raise _with_keys(error, state) from error


def discard(state: State) -> None:
    """Forget what was not committed: the client keeps the session that is stored, if there is one."""
    state.destroying = state.renewing = state.rescheduled = state.insisting = False
    state.coming = None
    state.draft = Draft({})
    # What is stored does not seem to be missing: who looks now is told that it is too late.
    state.loaded = state.token is None


def _store_new(state: State, policy: Policy) -> Plan[None]:
    if state.draft.changes() is None and not state.insisting:
        return
    token = state.coming or new_token()
    state.record = yield from issue(_write("create", token=policy.key(token), **_content(state, policy)))
    _stored(state, token)


def _store_changes(state: State, policy: Policy) -> Plan[None]:
    meant: Changes | None = None
    for attempt in range(_ATTEMPTS):
        try:
            if state.renewing:
                yield from _rename(state, policy)
            elif state.rescheduled or state.draft.changes():
                yield from _replace(state, policy)
            else:
                yield from _touch(state, policy)
                state.draft.settle()
            return
        except Conflict as conflict:
            # All that was meant: what is no change on this winner's data may be one on the next one's.
            meant = meant or state.draft.changes()
            last = attempt == _ATTEMPTS - 1
            winner = conflict.current
            if winner is not None and state.coming is not None and winner.token == policy.key(state.coming):
                state.coming = None  # it is taken
            if winner is not None and attempt and not last:
                # Where two met, the loser writes on the winner's data at once. Where there are more, that would be old
                # again by the time it is written, and a refused write costs more than a read.
                yield from back_off(attempt)
                # A read that is not consistent may not see it yet; if it is really gone, the next write says so.
                winner = (yield from issue(_find(winner.token))) or winner
            if winner is None:
                _lost(state, policy)
                return
            _yield_to(state, winner, meant, policy, conflict, last=last)


def update(token: str | None, policy: Policy, attempts: int) -> Plan[S]:
    """Have a change made in a block of its own, and again where another request was faster; at most so many times.

    The target's ``attempt`` makes it, and returns the session.
    """
    call: Call[S] = Call("attempt", {"token": token, "policy": policy})
    for attempt in range(attempts - 1):
        try:
            return (yield from issue(call))
        except SessionConflict:
            yield from back_off(attempt)
    return (yield from issue(call))


def back_off(attempt: int) -> Plan[None]:
    """Wait after the *attempt*-th conflict, counted from 0, for a random time: two that met need not meet again."""
    yield from pause(uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)))


def _replace(state: State, policy: Policy) -> Plan[None]:
    before = state.record
    state.record = yield from issue(_write("replace", record=before, **_content(state, policy)))
    state.prolonged |= before is not None and state.record.expiry > before.expiry
    _stored(state, state.token)


def _rename(state: State, policy: Policy) -> Plan[None]:
    # Refuses what JSON cannot say in a list or dict that was handed out.
    state.draft.changes()
    token = state.coming or new_token()
    arguments = {"record": state.record, "token": policy.key(token), **_content(state, policy)}
    if policy.renewal_grace:
        arguments["grace"] = policy.renewal_grace
    state.record = yield from issue(_write("rename", **arguments))
    _stored(state, token)


def _touch(state: State, policy: Policy) -> Plan[None]:
    """Looking at a session is activity: move its expiry, if enough of the idle timeout has been used."""
    assert state.record is not None
    expiry_ns = policy.expiry_ns(state.deadline_ns)
    if policy.idle_ns is not None and expiry_ns - state.record.expiry_ns >= policy.touch_after_ns:
        state.record = yield from issue(_write("touch", record=state.record, expiry=from_ns(expiry_ns)))
        state.prolonged = True


def _content(state: State, policy: Policy) -> dict[str, object]:
    expiry_ns = policy.expiry_ns(state.deadline_ns)
    if state.record is not None:
        # Another process's clock may be ahead of this one's: what it promised the session is kept.
        expiry_ns = max(expiry_ns, min(state.record.expiry_ns, state.deadline_ns))
    return {"data": policy.codec.encode(state.draft.data, state.deadline_ns), "expiry": from_ns(expiry_ns)}


def _stored(state: State, token: str | None) -> None:
    state.token, state.coming = token, None
    state.renewing, state.rescheduled, state.insisting, state.written = False, False, False, True
    state.kept = remembered(state.draft.data)
    state.draft.settle()


def _lost(state: State, policy: Policy) -> None:
    """Another request destroyed or renewed the session, or it expired: the changes go with it."""
    state.token = state.coming = state.record = None
    state.deadline_ns = policy.new_deadline_ns()
    state.renewing = state.rescheduled = state.written = False
    state.gone = True
    state.draft = Draft({})


def _yield_to(
    state: State, winner: Record, meant: Changes | None, policy: Policy, conflict: Conflict, *, last: bool
) -> None:
    """Take the faster request's record for a new start, and make this one's changes on it.

    The record is taken with its data only: if that raises, the next commit meets the same conflict again.
    """
    before = state.record
    if before is not None and winner.version == before.version != 0 and not last:
        state.record = winner  # only its expiry was moved
        return
    theirs, deadline_ns = _decode(winner, policy)
    what = f"session {digest(winner.token)} was changed by another request"
    looked_only = not (state.renewing or state.rescheduled) and meant is None
    if last or (policy.on_conflict == "raise" and not looked_only):
        if last:
            what += f", {_ATTEMPTS} times while it was to be stored"
        raise SessionConflict(what, ours=state.draft.data, theirs=theirs) from conflict
    if policy.on_conflict == "merge" or looked_only:
        try:
            state.draft.rebase(dict(theirs), meant)
        except (SessionTypeError, ValueError) as error:
            what += f", and the two cannot be merged: {error}"
            raise SessionConflict(what, ours=state.draft.data, theirs=theirs) from error
    state.record = winner
    if not (state.renewing or state.rescheduled):
        state.deadline_ns = deadline_ns


def _decode(record: Record, policy: Policy) -> tuple[dict[str, JSONValue], int]:
    try:
        return policy.codec.decode(record.data)
    except CorruptSessionError as error:
        name = digest(record.token)
        raise CorruptSessionError(f"session {name}: {error}", digest=name, reason=error.reason) from error


def _with_keys(error: ItemTooLargeError, state: State) -> ItemTooLargeError:
    largest = state.draft.sizes()[:5]
    named = ", ".join(f"{key!r} ({size:,} bytes)" for key, size in largest)
    return ItemTooLargeError(
        f"{error}; the session's largest keys: {named}",
        size=error.size,
        limit=error.limit,
        largest=largest,
        operation=error.operation,
        code=error.code,
    )


def remembered(data: Mapping[str, JSONValue]) -> bool | None:
    """Whether a session's cookie is to outlive the browser; None if it was never said."""
    value = data.get(REMEMBER)
    return value if isinstance(value, bool) else None


def new_token() -> str:
    """32 random bytes in unpadded URL-safe base64: 43 characters."""
    return _base64(secrets.token_bytes(32))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
