"""`Policy`: the validated settings of a session manager."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Literal, TypeAlias, get_args

from dynamostore.instants import INT64_MAX, Clock, duration_ns

from ._settings import NO_SETTINGS, Settings, own_idle_ns
from .codecs import Codec
from .mergeable import Merge, check_mergeable
from .merging import Level, Rules

__all__ = ["SHORT_TOKEN_BYTES", "OnConflict", "OnCorrupt", "Policy", "make_policy"]

OnConflict: TypeAlias = Literal["merge", "serialize", "raise", "overwrite", "merge_unchecked", "report"]
"""The reaction of a manager if another request has changed the session: docs/guides/consistency.md."""
OnCorrupt: TypeAlias = Literal["raise", "reset"]
"""The reaction of a manager to a record that holds no session: raise `CorruptSessionError`, or begin a new session."""


# An expiry is stored with microsecond precision, so smaller differences do not count.
_LEAST_NS = 1000

SHORT_TOKEN_BYTES: Final = 30
"""The `Policy.token_bytes` of a 40-character token, for a framework whose users store tokens in columns of that length."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The validated settings of a session manager. Durations are in nanoseconds.

    - *rules*: which reads count in a conflict.
    - *login_keys*: keys that a request may have read and still start its own session when it loses to another renewal.
    - *token_bytes*: the number of random bytes in a new token, 32 or `SHORT_TOKEN_BYTES`.
    - *raises_if_ended*: a stale request whose session has ended raises `SessionConflict`, instead of dropping its changes.
    - *on_corrupt*: raise an error for a corrupt session, or treat it as missing.
    - *is_visit*: leave the expiry of a session as it is.
    - *manager*: the same object in all policies that are derived from one manager's.
    """

    codec: Codec
    clock: Clock
    lifetime_ns: int
    idle_ns: int | None
    touch_after_ns: int
    hash_tokens: bool
    on_conflict: OnConflict
    renewal_grace: timedelta = timedelta(0)
    rules: Rules = field(default_factory=Rules)
    login_keys: frozenset[str] = frozenset()
    token_bytes: int = 32
    raises_if_ended: bool = True
    on_corrupt: OnCorrupt = "raise"
    is_visit: bool = False
    manager: object = field(default_factory=object)

    @property
    def checks(self) -> bool:
        """True if a stale request is refused."""
        return self.on_conflict in ("merge", "serialize")

    def key(self, token: str) -> str:
        """Return the table key of a client's token: its SHA-256, as with SCS v2's HashTokenInStore, or the token itself."""
        if not self.hash_tokens:
            return token
        return _base64(hashlib.sha256(token.encode()).digest())

    def effective_idle_ns(self, settings: Settings) -> int | None:
        """Return the idle timeout of a session with these settings, its own or the manager's; None if there is no timeout."""
        own = own_idle_ns(settings)
        idle_ns = self.idle_ns if own is None else own or None
        return 0 if self.is_visit and idle_ns is not None else idle_ns

    def expiry_ns(self, deadline_ns: int, settings: Settings = NO_SETTINGS) -> int:
        """Return when a session that is active now expires: after its idle timeout or at its deadline, whichever is earlier."""
        idle_ns = self.effective_idle_ns(settings)
        if idle_ns is None:
            return deadline_ns
        return min(deadline_ns, self.clock() + idle_ns)

    def touch_is_due(self, expiry_ns: int, deadline_ns: int, settings: Settings) -> bool:
        """Return True if a request that only reads should extend the stored expiry, as enough of the idle timeout is used."""
        idle_ns = self.effective_idle_ns(settings)
        if idle_ns is None or self.is_visit:
            return False
        after_ns = self.touch_after_ns
        if idle_ns != self.idle_ns:
            # The same fraction of the session's own idle timeout as touch_after is of the manager's.
            after_ns = idle_ns // 10 if self.idle_ns is None else after_ns * idle_ns // self.idle_ns
        return self.expiry_ns(deadline_ns, settings) - expiry_ns >= max(after_ns, _LEAST_NS)

    def new_deadline_ns(self) -> int:
        """Return the deadline of a session that starts now."""
        return min(self.clock() + self.lifetime_ns, INT64_MAX)

    def rerunning(self) -> Policy:
        """Return the policy of `update`, which re-runs its function: every read counts, and an ended session is not a conflict."""
        on_conflict: OnConflict = "raise" if self.on_conflict == "raise" else "serialize"
        rules = replace(self.rules, level="serialize")
        return replace(self, on_conflict=on_conflict, rules=rules, raises_if_ended=False)

    def visiting(self) -> Policy:
        """Return the policy of `iterate`: as `rerunning`, but sessions are found by table key and keep their expiry."""
        return replace(self.rerunning(), hash_tokens=False, is_visit=True)

    def knowing(
        self,
        mergeable: Mapping[str, Merge],
        login_keys: Iterable[str] = (),
        *,
        checked: bool,
    ) -> Policy:
        """Return a policy that also has a framework's own *mergeable* and login keys.

        Reads of these *mergeable* keys count if *checked* is True, and never otherwise. The app's own declarations take
        precedence.
        """
        known = {key: how for key, how in mergeable.items() if key not in self.rules.mergeable}
        which = frozenset(known)
        rules = replace(
            self.rules,
            mergeable={**self.rules.mergeable, **known},
            checked=self.rules.checked | (which if checked else frozenset()),
            unchecked=self.rules.unchecked | (frozenset() if checked else which),
        )
        return replace(self, rules=rules, login_keys=self.login_keys | frozenset(login_keys))


def make_policy(
    *,
    lifetime: timedelta,
    idle_timeout: timedelta | None,
    touch_after: timedelta | None,
    hash_tokens: bool,
    on_conflict: OnConflict,
    mergeable: Mapping[str, Merge] | None,
    login_keys: Iterable[str],
    renewal_grace: timedelta | None,
    codec: Codec,
    clock: Clock,
    on_corrupt: OnCorrupt = "raise",
) -> Policy:
    """Return the policy for a manager's arguments. Raise `TypeError` or `ValueError` if an argument is invalid."""
    lengths = {
        "lifetime": lifetime,
        "idle_timeout": idle_timeout,
        "touch_after": touch_after,
        "renewal_grace": renewal_grace,
    }
    for name, length in lengths.items():
        if length is None and name != "lifetime":
            continue
        if not isinstance(length, timedelta):
            raise TypeError(
                f"{name} must be a timedelta, not {type(length).__name__}; for example timedelta(minutes=20)"
            )
        if length < timedelta(0) or (length == timedelta(0) and name in ("lifetime", "idle_timeout")):
            at_least = "more than zero" if name in ("lifetime", "idle_timeout") else "zero or more"
            raise ValueError(f"{name} must be {at_least}")
    if on_conflict not in get_args(OnConflict):
        choices = ", ".join(f'"{choice}"' for choice in get_args(OnConflict))
        raise ValueError(f"on_conflict must be one of {choices}, not {on_conflict!r}")
    if on_corrupt not in get_args(OnCorrupt):
        raise ValueError(f'on_corrupt must be "raise" or "reset", not {on_corrupt!r}')
    if touch_after is None:
        touch_after = (idle_timeout or timedelta(0)) / 10
    elif idle_timeout is None or touch_after >= idle_timeout:
        raise ValueError("touch_after requires an idle_timeout and must be shorter than it")
    level: Level = "serialize" if on_conflict == "serialize" else "merge"
    return Policy(
        codec=codec,
        clock=clock,
        lifetime_ns=duration_ns(lifetime),
        idle_ns=None if idle_timeout is None else duration_ns(idle_timeout),
        touch_after_ns=max(duration_ns(touch_after), _LEAST_NS),
        hash_tokens=hash_tokens,
        on_conflict=on_conflict,
        renewal_grace=renewal_grace or timedelta(0),
        rules=Rules(level, check_mergeable(mergeable or {})),
        login_keys=_checked_keys(login_keys),
        on_corrupt=on_corrupt,
    )


def _checked_keys(login_keys: Iterable[str]) -> frozenset[str]:
    if isinstance(login_keys, str):
        raise TypeError('login_keys must be an iterable of session keys, not a str; for example {"user_id"}')
    keys = frozenset(login_keys)
    for key in keys:
        if not isinstance(key, str):
            raise TypeError(f"login_keys must contain only str, not {type(key).__name__}")
    return keys


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
