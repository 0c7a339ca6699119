"""`State`: one session in one request, as it is stored and as the request has changed it."""

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

# Every manager reads tokens of both lengths that `Policy.token_bytes` allows.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{40}(?:[A-Za-z0-9_-]{3})?")

MOST_TOKENS = 4
"""The maximum number of tokens that are tried for one client. Each costs one read."""


# Most requests never access their session, so all of them share this draft until the first access.
_UNREAD = Draft({})


class Status(Enum):
    """The effect of a request on its session so far."""

    UNMODIFIED = "unmodified"
    """The request has changed nothing."""
    MODIFIED = "modified"
    """The request has changed the session. The changes are stored at the commit."""
    DESTROYED = "destroyed"
    """This request or another one destroyed the session. Nothing is stored."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A write of this request whose outcome is unknown: its version, its payload and the increments in it.

    If it was applied, the reads are compared with *seen*, and the changes were made on *base*. *is_step*: the write was an
    atomic step, without the request's own pending changes.
    """

    version: int
    payload: bytes = field(repr=False)
    incremented: Mapping[str, int] = field(repr=False)
    seen: Snapshot
    base: Snapshot
    is_step: bool = False

    def is_in(self, record: Record) -> bool:
        """Return True if this write is the latest or a recent write of *record*."""
        return self.is_latest_in(record) or (self.version != 0 and bears(record, self.version))

    def is_latest_in(self, record: Record) -> bool:
        """Return True if this write is the latest write of *record*."""
        if self.version:
            return record.version == self.version
        # After a cancellation, or with a store whose errors carry no version, only the payload can be compared.
        return record.data == self.payload


def bears(record: Record, version: int) -> bool:
    """Return True if *version* is the record's current or a recent version."""
    tags = record.recent
    return record.version == version or version.to_bytes(8, "big") in (tags[i : i + 8] for i in range(0, len(tags), 8))


@dataclass(slots=True)
class State:
    """One session in one request.

    Tokens:

    - *presented*: the client's token that led to the session, or else the first token that the client sent.
    - *token*, *record*: the stored session, as this request read or last wrote it.
    - *others*: the tokens still to be tried if *token* leads to no session.
    - *sent*: all tokens that the client sent, if there are several.
    - *unpresented*: the session was found in the table, without a client's token.
    - *token_read*: the app read the token, so the response may depend on the cookie.
    - *coming*: the token that a renewed session gets when it is stored.
    - *tried_token*: a token under which an earlier try may have stored the new session.

    The request's view and changes:

    - *draft*: the data as this request sees it.
    - *settings*: the session's own settings as stored. *told*: those that this request set.
    - *dated*: the app set the deadline in this request, so a renewal keeps it.
    - *by_activity*: the deadline moves because the request was active, as some frameworks do, and not because the app set it.
    - *before*: the reads and changes before `destroy`.
    - *outdated*: keys that others changed after this request read them, where that did not count. It may count later.
    - *absorbed*: table keys of the sessions merged into this one, to be deleted once this one is stored.

    Outcomes:

    - *found*: whether the client's cookie was persistent when the session was read. *kept*: the same, as stored now.
    - *gone*: the session no longer exists.
    - *ended*: another request ended the session, or it expired, during this request; so this request creates no other.
    - *destroyed*: this request destroyed the session.
    - *only_if_there*: treat a session that is not found as ended.
    - *removal_tried*: this request may have removed the record already.
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
    create_even_if_empty: bool = False
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
        """True if there are unsaved changes."""
        if self.ended:
            return False  # changes are never stored after the end
        try:
            return self.renewing or self.deadline_moves or self.settings_differ or self.draft.changes() is not None
        except (SessionError, ValueError):
            return True  # to a value that cannot be stored; the commit will raise

    @property
    def app_rescheduled(self) -> bool:
        """True if the app moved the deadline."""
        return self.rescheduled and not self.by_activity

    @property
    def deadline_moves(self) -> bool:
        """True if the commit must move the stored deadline."""
        if self.record is None or self.destroying:
            return False
        return self.rescheduled and self.deadline_ns != self.stored_deadline_ns

    @property
    def own_settings(self) -> Settings:
        """The session's settings as this request sees them."""
        return {**self.settings, **self.told} if self.told else self.settings

    @property
    def settings_differ(self) -> bool:
        """True if the commit must change the stored settings."""
        if self.record is None or self.destroying:
            return False
        return any(encoded(self.told, key) != encoded(self.settings, key) for key in self.told)

    @property
    def stored(self) -> bool:
        """True if this request has stored something already, so running it again would store it twice."""
        return self.written or self.destroyed or bool(self.tried)

    @property
    def token_is_new(self) -> bool:
        """True if the client gets a new token at the commit."""
        if self.renewing:
            return True
        return (self.record is None or self.destroying) and self.changed

    @property
    def status(self) -> Status:
        """The effect of the request on the session so far."""
        if self.ended:
            return Status.DESTROYED
        if self.written or self.changed:
            return Status.MODIFIED
        return Status.DESTROYED if self.destroying or self.gone else Status.UNMODIFIED

    def is_superseded(self, policy: Policy) -> bool:
        """Return True if the session was found by its old token, within the grace of a renewal."""
        return self.record is not None and self.token is not None and self.record.token != policy.key(self.token)


def is_well_formed_token(token: object) -> TypeGuard[str]:
    """Return True if *token* has the format of `new_token`, under any policy."""
    return isinstance(token, str) and _TOKEN.fullmatch(token) is not None


class PresentedToken(str):
    """A client's token that carries *others*: the tokens of further cookies of the same name. Made by `choose_token`."""

    __slots__ = ("others",)

    others: tuple[str, ...]


def choose_token(values: Iterable[str]) -> str | None:
    """Return the first well-formed token among a cookie's values. It remembers up to three further tokens.

    If no value is well-formed, return the first that is not empty, to show that the client has a cookie; or None.
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
    """Return the state at the start of a request. A malformed token counts as no token."""
    # The app's clock may raise, so call it while no frame holds the token in clear text.
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
    """Return the state at the start of a re-run of the request of *last*, for the same session or none."""
    state = begin(Hidden(_presented(last.sent) if last.sent else last.presented), policy)
    keep_to(state, last)
    return state


def keep_to(state: State, last: State) -> None:
    """Make the re-run in *state* look only for the session that *last* found, even if that session has ended."""
    if not last.others and last.presented in state.sent:
        state.presented = state.token = last.presented
        state.others = ()


def begin_at(record: Record, policy: Policy) -> State:
    """Return the state of a session that was found in the table, in *record*. Its token is the table key."""
    state = State(None, record.token, policy.new_deadline_ns(), record=record, unpresented=True)
    show_stored(state, policy)
    return state


def is_untouched(state: State) -> bool:
    """Return True if the request never accessed the session, so there is nothing to commit. Most requests."""
    if state.destroying or state.create_even_if_empty:
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
    """Reset the request's view to the stored session. The state must have its record."""
    assert state.record is not None
    data, state.deadline_ns, state.settings = decode(state.record, policy)
    state.draft, state.loaded, state.stored_deadline_ns = Draft(data), True, state.deadline_ns


def discard(state: State) -> None:
    """Discard uncommitted changes. The client keeps the stored session, if there is one."""
    state.destroying = state.renewing = state.rescheduled = state.dated = state.create_even_if_empty = False
    state.coming, state.told = None, NO_SETTINGS
    state.absorbed = ()
    state.draft = Draft({})
    # The next access shows the session as stored.
    state.loaded = state.token is None


def new_token(policy: Policy) -> str:
    """Return a random token in unpadded URL-safe base64: 43 characters for 32 bytes, 40 characters for 30 bytes."""
    return base64.urlsafe_b64encode(secrets.token_bytes(policy.token_bytes)).rstrip(b"=").decode("ascii")
