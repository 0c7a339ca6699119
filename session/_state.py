"""`State`: one session in one request, what is stored of it and what the request has done to it."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, TypeAlias, TypeGuard

from dynamostore import Record
from dynamostore.digest import digest

from ._policy import Policy
from .changes import NOTHING_READ, Changes, Draft, Reads
from .errors import CorruptSessionError, SessionError
from .merging import Snapshot
from .types import JSONValue

__all__ = ["Deadline", "State", "Status", "Tried"]

Deadline: TypeAlias = Literal["new", "keep"]

REMEMBER = "__rememberMe"
"""The key under which a session keeps its cookie's persistence, as in SCS v2."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


# Most requests never access their session: until then, all have this one.
_UNREAD = Draft({})


class Status(Enum):
    """What became of a session in this request."""

    UNMODIFIED = "unmodified"
    """Nothing was changed."""
    MODIFIED = "modified"
    """Something was changed; it is stored once the session is committed."""
    DESTROYED = "destroyed"
    """It was destroyed, by this request or meanwhile by another; nothing is stored."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A write of this request's whose outcome is not known: its version tag, payload, and the increments in it.

    If it was applied, the reads are compared with *seen*, and the changes were made on *base*.
    """

    version: int
    payload: bytes = field(repr=False)
    incremented: Mapping[str, int]
    seen: Snapshot
    base: Snapshot

    def is_in(self, record: Record) -> bool:
        """Return True if *record* bears this write, as the latest or a recent one."""
        if self.version and record.version == self.version:
            return True
        tags = record.recent
        if self.version and self.version.to_bytes(8, "big") in (tags[i : i + 8] for i in range(0, len(tags), 8)):
            return True
        # A store that gives no version with its error: the very same payload.
        return not self.version and record.data == self.payload


@dataclass(slots=True)
class State:
    """One session in one request.

    *token* and *record* are what is stored, as this request read or last wrote it; *draft* is the request's own view.
    *coming* is the token that a renewed session gets when it is stored. *found* tells if the client's cookie was to outlive
    the browser when the session was read, *kept* the same of the session as it is stored now. *gone*: it is no more;
    *ended*: another request ended it, or it expired, while this one was under way, so this one begins no other; *destroyed*: this
    request destroyed it. *before*: the reads and changes before `destroy`. *only_if_there*: a session that is not found has ended.
    *by_activity*: the deadline moves because the request was active, as a framework has it, and not because the app said so.
    *unpresented*: it was found in the table and not by a client's token. *absorbed*: the keys of sessions whose data is in this
    one, and which are to be deleted once that is stored.
    """

    presented: str | None = field(repr=False)
    token: str | None = field(repr=False)
    deadline_ns: int
    record: Record | None = None
    loaded: bool = False
    looked: bool = False
    draft: Draft = field(default_factory=lambda: Draft({}))
    renewing: bool = False
    grace: bool = False
    coming: str | None = field(default=None, repr=False)
    stored_deadline_ns: int = 0
    rescheduled: bool = False
    by_activity: bool = False
    unpresented: bool = False
    absorbed: list[str] = field(default_factory=list, repr=False)
    read_deadline: bool = False
    insisting: bool = False
    destroying: bool = False
    before: tuple[Reads, Changes | None, bool] = field(default=(NOTHING_READ, None, False), repr=False)
    closed: bool = False
    saving: bool = False
    deciding: bool = False
    written: bool = False
    prolonged: bool = False
    gone: bool = False
    ended: bool = False
    only_if_there: bool = False
    destroyed: bool = False
    found: bool | None = None
    kept: bool | None = None
    tried: list[Tried] = field(default_factory=list)
    attempt: int = 1
    rerun: bool = True
    route: Callable[[], str] | None = field(default=None, repr=False)

    @property
    def changed(self) -> bool:
        """True if there is something still to be stored."""
        if self.ended:
            return False  # it will not be
        try:
            return self.renewing or self.deadline_moves or self.draft.changes() is not None
        except (SessionError, ValueError):
            return True  # to what cannot be stored, which the commit will say

    @property
    def app_rescheduled(self) -> bool:
        """True if the app gave the session another deadline."""
        return self.rescheduled and not self.by_activity

    @property
    def deadline_moves(self) -> bool:
        """True if what is stored is to end at another time."""
        return self.rescheduled and self.record is not None and self.deadline_ns != self.stored_deadline_ns

    @property
    def stored(self) -> bool:
        """True if this request has stored something already: run again, it would do so twice."""
        return self.written or self.destroyed or bool(self.tried)

    @property
    def token_is_new(self) -> bool:
        """True if the client gets a new token once this is stored."""
        if self.renewing:
            return True
        return (self.record is None or self.destroying) and self.changed

    @property
    def status(self) -> Status:
        """What became of the session."""
        if self.ended:
            return Status.DESTROYED
        if self.written or self.changed:
            return Status.MODIFIED
        return Status.DESTROYED if self.destroying or self.gone else Status.UNMODIFIED

    def is_superseded(self, policy: Policy) -> bool:
        """Return True if it was found by the old token of a session that has been renewed, within the grace."""
        return self.record is not None and self.token is not None and self.record.token != policy.key(self.token)


def is_well_formed_token(token: object) -> TypeGuard[str]:
    """Return True if *token* looks like those that `new_token` makes."""
    return isinstance(token, str) and _TOKEN.fullmatch(token) is not None


def begin(presented: str | None, policy: Policy) -> State:
    """Return the state at the start of a request whose client presented a token, or none.

    A token that could not be one of ours counts as none.
    """
    if is_well_formed_token(presented):
        return State(presented, presented, policy.new_deadline_ns(), draft=_UNREAD)
    return State(presented, None, policy.new_deadline_ns(), loaded=True)


def begin_at(record: Record, policy: Policy) -> State:
    """Return the state of a session that nobody presented: *record* was found in the table, and its token is the table's key."""
    state = State(None, record.token, policy.new_deadline_ns(), record=record, unpresented=True)
    show_stored(state, policy)
    return state


def is_untouched(state: State) -> bool:
    """Return True if the request never accessed the session, so there is nothing to commit. Most requests."""
    if state.destroying or state.insisting:
        return False
    return not state.loaded or (state.record is None and not state.looked)


def decode(record: Record, policy: Policy) -> tuple[dict[str, JSONValue], int]:
    """Return the data and the deadline of *record*; raise `CorruptSessionError` if it holds no session."""
    try:
        return policy.codec.decode(record.data)
    except CorruptSessionError as error:
        name = digest(record.token)
        raise CorruptSessionError(f"session {name}: {error}", digest=name, reason=error.reason) from error


def snapshot(record: Record, policy: Policy) -> Snapshot:
    """Return the session that *record* holds."""
    return Snapshot(*decode(record, policy))


def show_stored(state: State, policy: Policy) -> None:
    """Have the request see the session as it was read or last stored; the record is there already."""
    assert state.record is not None
    data, state.deadline_ns = decode(state.record, policy)
    state.draft, state.loaded, state.stored_deadline_ns = Draft(data), True, state.deadline_ns


def discard(state: State) -> None:
    """Forget what was not committed: the client keeps the session that is stored, if there is one."""
    state.destroying = state.renewing = state.rescheduled = state.insisting = False
    state.coming = None
    state.absorbed.clear()
    state.draft = Draft({})
    # To look at it now is to see it as it is stored.
    state.loaded = state.token is None


def remembered(data: Mapping[str, JSONValue]) -> bool | None:
    """Return True if a session's cookie is to outlive the browser; None if the app never said."""
    value = data.get(REMEMBER)
    return value if isinstance(value, bool) else None


def new_token() -> str:
    """Return 32 random bytes in unpadded URL-safe base64: 43 characters."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode("ascii")
