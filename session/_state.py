"""`State`: one session in one request, what is stored of it and what the request has done to it."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, TypeAlias, TypeGuard

from dynamostore import Record
from dynamostore.digests import digest
from dynamostore.hidden import Hidden

from ._policy import Policy
from ._settings import NO_SETTINGS, Settings, take_settings
from .changes import NOTHING_READ, Changes, Reads, encoded
from .draft import Draft
from .errors import CorruptSessionError, SessionError
from .merging import Snapshot
from .types import JSONValue

__all__ = ["Deadline", "State", "Status", "Tried"]

Deadline: TypeAlias = Literal["new", "keep"]

# Of the lengths that `Policy.token_bytes` gives: what one manager made, any other reads.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{40}(?:[A-Za-z0-9_-]{3})?")

MOST_TOKENS = 4
"""How many tokens of one client are tried, one read each."""


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

    If it was applied, the reads are compared with *seen*, and the changes were made on *base*. *is_step*: it was an atomic step,
    with none of the request's own changes in it.
    """

    version: int
    payload: bytes = field(repr=False)
    incremented: Mapping[str, int] = field(repr=False)
    seen: Snapshot
    base: Snapshot
    is_step: bool = False

    def is_in(self, record: Record) -> bool:
        """Return True if *record* bears this write, as the latest or a recent one."""
        return self.is_latest_in(record) or (self.version != 0 and bears(record, self.version))

    def is_latest_in(self, record: Record) -> bool:
        """Return True if *record* is what this write stored."""
        if self.version:
            return record.version == self.version
        # A store that gives no version with its error, or a cancellation: the very same payload.
        return record.data == self.payload


def bears(record: Record, version: int) -> bool:
    """Return True if *version* is the record's, or one of the recent ones."""
    tags = record.recent
    return record.version == version or version.to_bytes(8, "big") in (tags[i : i + 8] for i in range(0, len(tags), 8))


@dataclass(slots=True)
class State:
    """One session in one request.

    *token* and *record* are what is stored, as this request read or last wrote it; *draft* is the request's own view.
    *token_read*: the app was told the token, so its response may depend on the cookie.
    *coming* is the token that a renewed session gets when it is stored. *found* tells if the client's cookie was to outlive
    the browser when the session was read, *kept* the same of the session as it is stored now. *gone*: it is no more;
    *ended*: another request ended it, or it expired, while this one was under way, so this one begins no other; *destroyed*: this
    request destroyed it. *before*: the reads and changes before `destroy`. *only_if_there*: a session that is not found has ended.
    *tried_token*: a new session may be stored under this one. *removal_tried*: the record may have been removed by this request.
    *outdated*: keys that others had changed since this request read them, when that did not count; it may later.
    *settings*: the session's own, as they are stored; *told*: those that this request set. *dated*: the app set the deadline in
    this request, so that a renewal leaves it. *by_activity*: the deadline moves because the request was active, as a framework
    has it, and not because the app said so. *others*: tokens that are still to be tried if *token* leads nowhere. *sent*: all
    that the client sent, if there are several. *presented*: the one that led to the session, or the first.
    *unpresented*: it was found in the table and not by a client's token. *absorbed*: the keys of sessions whose data is in this
    one, and which are to be deleted once that is stored.
    """

    presented: str | None = field(repr=False)
    token: str | None = field(repr=False)
    deadline_ns: int
    record: Record | None = None
    loaded: bool = False
    looked: bool = False
    token_read: bool = False
    draft: Draft = field(default_factory=lambda: Draft({}))
    renewing: bool = False
    grace: bool = False
    coming: str | None = field(default=None, repr=False)
    stored_deadline_ns: int = 0
    settings: Settings = field(default_factory=dict, repr=False)
    told: Settings = field(default_factory=dict, repr=False)
    rescheduled: bool = False
    dated: bool = False
    by_activity: bool = False
    unpresented: bool = False
    absorbed: tuple[str, ...] = field(default=(), repr=False)
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
    removal_tried: bool = False
    tried_token: str | None = field(default=None, repr=False)
    outdated: frozenset[str] = frozenset()
    found: bool | None = None
    kept: bool | None = None
    tried: list[Tried] = field(default_factory=list)
    attempt: int = 1
    rerun: bool = True
    route: Callable[[], str] | None = field(default=None, repr=False)
    others: tuple[str, ...] = field(default=(), repr=False)
    sent: tuple[str, ...] = field(default=(), repr=False)

    @property
    def changed(self) -> bool:
        """True if there is something still to be stored."""
        if self.ended:
            return False  # it will not be
        try:
            return self.renewing or self.deadline_moves or self.settings_differ or self.draft.changes() is not None
        except (SessionError, ValueError):
            return True  # to what cannot be stored, which the commit will say

    @property
    def app_rescheduled(self) -> bool:
        """True if the app gave the session another deadline."""
        return self.rescheduled and not self.by_activity

    @property
    def deadline_moves(self) -> bool:
        """True if what is stored is to end at another time."""
        if self.record is None or self.destroying:
            return False
        return self.rescheduled and self.deadline_ns != self.stored_deadline_ns

    @property
    def own_settings(self) -> Settings:
        """The session's settings as this request sees them."""
        return {**self.settings, **self.told} if self.told else self.settings

    @property
    def settings_differ(self) -> bool:
        """True if a stored session is to have other settings."""
        if self.record is None or self.destroying:
            return False
        return any(encoded(self.told, key) != encoded(self.settings, key) for key in self.told)

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
    """Return True if *token* looks like those that `new_token` makes, by any policy."""
    return isinstance(token, str) and _TOKEN.fullmatch(token) is not None


class PresentedToken(str):
    """A client's token that also remembers the *others*, of further cookies by the same name. Made by `choose_token`."""

    __slots__ = ("others",)

    others: tuple[str, ...]


def choose_token(values: Iterable[str]) -> str | None:
    """Return the first of a cookie's values that could be one of our tokens, which remembers up to three others.

    If none could be, return the first that is not empty, or None: it tells that there is a cookie.
    """
    found: list[str] = []
    first = None
    for value in values:
        if is_well_formed_token(value):
            if value not in found:
                found.append(value)
            if len(found) == MOST_TOKENS:
                break
        first = first or value or None
    return _presented(found) if found else first


def _presented(tokens: Iterable[str]) -> str:
    first, *others = tokens
    if not others:
        return first
    presented = PresentedToken(first)
    presented.others = tuple(others)
    return presented


def begin(presented: Hidden[str | None], policy: Policy) -> State:
    """Return the state at the start of a request whose client presented a token, or none.

    A token that could not be one of ours counts as none.
    """
    # The app's clock may raise.
    return _begun(presented.reveal(), policy.new_deadline_ns())


def _begun(presented: str | None, deadline_ns: int) -> State:
    if not is_well_formed_token(presented):
        return State(presented, None, deadline_ns, loaded=True)
    state = State(presented, presented, deadline_ns, draft=_UNREAD)
    if isinstance(presented, PresentedToken):
        state.presented = state.token = str(presented)
        state.others = presented.others
        state.sent = (state.token, *state.others)
    return state


def begin_again(last: State, policy: Policy) -> State:
    """Return the state at the start of a later run of the request of *last*: it has the same session, or none."""
    state = begin(Hidden(_presented(last.sent) if last.sent else last.presented), policy)
    keep_to(state, last)
    return state


def keep_to(state: State, last: State) -> None:
    """Have *state*, of a later run, look for the session that *last* had found: if that has ended, for no other one."""
    if not last.others and last.presented in state.sent:
        state.presented = state.token = last.presented
        state.others = ()


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


def decode(record: Record, policy: Policy) -> tuple[dict[str, JSONValue], int, Settings]:
    """Return the data, deadline and settings of *record*; raise `CorruptSessionError` if it holds no session."""
    try:
        data, deadline_ns = policy.codec.decode(record.data)
    except CorruptSessionError as error:
        name = digest(record.token)
        raise CorruptSessionError(f"session {name}: {error}", digest=name, reason=error.reason) from error
    return data, deadline_ns, take_settings(data)


def encode(data: Mapping[str, JSONValue], deadline_ns: int, settings: Settings, policy: Policy) -> bytes:
    """Return the payload of a session."""
    return policy.codec.encode({**data, **settings} if settings else data, deadline_ns)


def snapshot(record: Record, policy: Policy) -> Snapshot:
    """Return the session that *record* holds."""
    return Snapshot(*decode(record, policy))


def show_stored(state: State, policy: Policy) -> None:
    """Have the request see the session as it was read or last stored; the record is there already."""
    assert state.record is not None
    data, state.deadline_ns, state.settings = decode(state.record, policy)
    state.draft, state.loaded, state.stored_deadline_ns = Draft(data), True, state.deadline_ns


def discard(state: State) -> None:
    """Forget what was not committed: the client keeps the session that is stored, if there is one."""
    state.destroying = state.renewing = state.rescheduled = state.dated = state.insisting = False
    state.coming, state.told = None, NO_SETTINGS
    state.absorbed = ()
    state.draft = Draft({})
    # To look at it now is to see it as it is stored.
    state.loaded = state.token is None


def new_token(policy: Policy) -> str:
    """Return as many random bytes as *policy* says in unpadded URL-safe base64: 43 characters of 32 bytes, 40 of 30."""
    return base64.urlsafe_b64encode(secrets.token_bytes(policy.token_bytes)).rstrip(b"=").decode("ascii")
