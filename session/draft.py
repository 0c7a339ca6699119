"""`Draft`: a session's data as one request sees it, with the request's changes and reads.

A draft records the operations, not only the result. If another request changes the session first, the changes can be
applied to its data, and the reads can be compared with it (`session.merging`). Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from . import values
from .changes import NOTHING_READ, Changes, Reads, add, encode, encoded, try_to_encode
from .errors import SessionStateError
from .types import JSONValue

__all__ = ["Draft"]

_decode: Callable[[bytes], JSONValue] = msgspec.json.decode


class Draft:
    """A session's data, the changes made to it since it was read, and the keys that were read.

    Only a real difference is stored. The draft keeps the encoding of the original value of each key that was changed, and of
    each list or dict that was handed out. It compares them at the commit. Once anything differs, every put counts, even a put
    of an equal value.

    A list or dict is *lent* if the app may hold a reference to it: the session returned it, or the app put it. A value that
    the session had to convert, such as a defaultdict, is *followed*: if the original changes, it is converted again.

    >>> draft = Draft({"cart": [1], "n": 1})
    >>> draft.get("cart").append(2)
    >>> draft.increment("n", 1)
    >>> draft.changes()
    <Changes: put 'cart'; increment 'n'>
    >>> sorted(draft.reads().values)
    ['cart']
    """

    __slots__ = (
        "_before",
        "_blind",
        "_cleared",
        "_emptiness",
        "_found",
        "_increments",
        "_lent",
        "_original",
        "_presence",
        "_taken",
        "_unlisted",
        "_written",
        "data",
        "followed",
        "seen",
    )

    def __init__(self, data: dict[str, JSONValue]) -> None:
        self.data: dict[str, JSONValue] = data
        self.seen: set[str] = set()
        """The keys whose value was read. Getters add to it directly."""
        self._presence: set[str] = set()
        self._unlisted: frozenset[str] | None = None
        self._emptiness: set[frozenset[str]] = set()
        self._taken: set[str] = set()
        # The keys that this request wrote; _blind has those that it had not read before, so reading them later does not count.
        self._written: dict[str, None] = {}
        self._blind: set[str] = set()
        self._increments: dict[str, int] = {}
        self._original: dict[str, bytes | None] = {}
        self._lent: set[str] = set()
        # The encodings of the lent values when they were last checked. Changes and payloads are built from these, since the
        # app may change a lent value at any time, even during a write.
        self._found: dict[str, bytes] = {}
        self.followed: dict[str, list[tuple[object, bytes]]] = {}
        """For each key, the app's objects from which its value was converted, each with its encoding at that time."""
        self._cleared = False
        # The reads before the draft was cleared. After that, every value is this request's own.
        self._before = NOTHING_READ

    @property
    def cleared(self) -> bool:
        """True if this request removed all keys and has not stored that yet."""
        return self._cleared

    # Reading

    def get(self, key: str) -> JSONValue:
        """Return the value of *key*, which the app may keep and change. Raise `KeyError` if it is missing."""
        self.seen.add(key)
        if self.followed:
            self.follow(key)
        value = self.data[key]
        if isinstance(value, list | dict):
            self._keep(key)
            self._lent.add(key)
        return value

    def has(self, key: object) -> bool:
        """Return True if *key* is present."""
        if type(key) is str:
            # A key that this request put or incremented is present, whatever other requests do.
            if key not in self._blind and key not in self._increments and not self._cleared:
                self._presence.add(key)
            return key in self.data
        return False

    def keys(self) -> list[str]:
        """Return the keys, sorted."""
        if not self._cleared and self._unlisted is None:
            # Only the first listing counts: later ones contain more keys of this request's own.
            self._unlisted = frozenset(self._blind)
        return sorted(self.data)

    def any(self) -> bool:
        """Return True if there are any keys."""
        if not self._cleared and not any(key in self.data for key in self._written):
            self._emptiness.add(frozenset(self._written))
        return bool(self.data)

    # Changing

    def put(self, key: str, value: JSONValue, made_from: object = None) -> None:
        """Set *key* to a value. *made_from*: the app's list or dict that *value* is or was converted from, to be followed."""
        self._keep(key)
        self._write(key)
        if self._lent or self.followed:
            self._let_go(key)
        self.data[key] = value
        if made_from is value and isinstance(value, list | dict):
            self._lent.add(key)
            self._found[key] = encode(value)
        elif made_from is not None:
            self.followed[key] = [(made_from, encode(value))]

    def setdefault(self, key: str, value: JSONValue, made_from: object = None) -> None:
        """Set *key* to a value if it is missing. The request then depends on its absence."""
        if not self.has(key):
            self.put(key, value, made_from)
            if key not in self._blind and not self._cleared:
                self._taken.add(key)

    def remove(self, key: str) -> None:
        """Remove *key*. If it is missing, the removal still applies to the data of a faster request."""
        self._keep(key)
        self._write(key)
        listed = self._unlisted is not None and key not in self._unlisted
        if (listed or key not in self._blind) and not self._cleared:
            self._taken.add(key)
        if self._lent or self.followed:
            self._let_go(key)
        self.data.pop(key, None)

    def clear(self) -> None:
        """Remove all keys."""
        for key in self.data:
            self._keep(key)
        self._before = self.reads()
        self._cleared = True
        self._increments.clear()
        self._lent.clear()
        self._found.clear()
        self.followed.clear()
        self.data.clear()

    def increment(self, key: str, by: int) -> None:
        """Add *by* to the int under *key*; a missing key counts as 0."""
        try:
            total = add(key, self.data.get(key, 0), by)
        except (TypeError, ValueError):
            # The error reveals the value's type or size, so it counts as a read.
            self.seen.add(key)
            raise
        self._keep(key)
        if not self._cleared and key not in self._written:
            self._increments[key] = self._increments.get(key, 0) + by
        self.data[key] = total

    # Reads and changes

    def reads(self) -> Reads:
        """Return the parts that this request read of the session as it was read or last stored."""
        if self._cleared:
            return self._before
        return Reads(
            values=_keys(self.seen - self._blind),
            presence=frozenset(self._presence),
            unlisted=self._unlisted,
            emptiness=frozenset(self._emptiness),
            taken=frozenset(self._taken),
        )

    def changes(self) -> Changes | None:
        """Return the changes, including puts of an equal value; None if nothing differs from the data as it was read.

        Raises as `values.native <session.values.native>` if the app changed a list or dict so that it is not valid JSON.
        Raises `SessionStateError` if the app changed both an object that it put and the session's own copy of it.
        """
        differing = self._differing()
        return self._changes(differing) if differing else None

    def meant(self, *others: Mapping[str, JSONValue]) -> Changes:
        """Return the changes, even if nothing differs from the data as it was read. Raises as `changes` does.

        *others*: data that may be stored instead of the data that was read. A list or dict that differs from theirs counts as
        changed.
        """
        differing = self._differing()
        for data in others:
            differing |= {key for key in self._lent if self._found.get(key) != encoded(data, key)}
        return self._changes(differing)

    def differs_from(self, data: Mapping[str, JSONValue]) -> bool:
        """Return True if a key that this request changed, even if it changed it back, has another value in *data*."""
        mine = self.frozen()
        return any(encoded(mine, key) != encoded(data, key) for key in self._original)

    def held(self) -> dict[str, bytes]:
        """Return the encodings of the lent lists and dicts, as `changes` last found them, for `settle`."""
        return dict(self._found)

    def _differing(self) -> set[str]:
        if self.followed:
            for key in list(self.followed):
                self.follow(key, strict=True)
        return {key for key, original in self._original.items() if self._differs(key, original)}

    def _changes(self, differing: set[str]) -> Changes:
        if self._cleared:
            return Changes(put=self.content(), cleared=True)
        written = self._written
        if self._lent:
            # A list that was changed in place counts as written. An increment stays an increment.
            written = {**written, **{key: None for key in self._original if key in differing and key in self._lent}}
        put: dict[str, JSONValue] = {}
        removed: list[str] = []
        for key in written:
            if key in self.data:
                put[key] = self._as_found(key)
            else:
                removed.append(key)
        incremented = {key: by for key, by in self._increments.items() if key not in written}
        return Changes(put, frozenset(removed), incremented)

    def pending(self) -> frozenset[str]:
        """Return the keys that were changed since they were read, including incremented keys."""
        changes = self.meant()
        return changes.keys | frozenset(self._original if changes.cleared else ())

    # After a write

    def settle(self, held: Mapping[str, bytes]) -> None:
        """Treat the data as the stored data, since it has been stored. Reads still count, with the values as stored.

        *held* is the result of `held` at the time of the encoding. The app may have changed a list since then.
        """
        if not (self._written or self._increments or self._cleared or self._lent):
            return
        if self._cleared:
            before = self._before
            self.seen, self._presence = set(before.values), set(before.presence)
            self._unlisted, self._emptiness = before.unlisted, set(before.emptiness)
            self._cleared, self._before = False, NOTHING_READ
        elif self._blind:
            self.seen -= self._blind
        # This request's own keys are stored now, so others may change them from now on.
        if self._unlisted is not None:
            self._unlisted = frozenset()
        if self._emptiness:
            self._emptiness = {frozenset()}
        self._taken.clear()
        self._written.clear()
        self._blind.clear()
        self._increments.clear()
        self._original = {key: self._handed_out(key, held) for key in self._lent}

    def content(self) -> dict[str, JSONValue]:
        """Return the data to store, as `changes` last found it. Lent values that were changed are copied."""
        if not self._lent:
            return self.data
        changed = {key for key in self._lent if self._found.get(key) not in (None, self._original[key])}
        return {key: self._as_found(key) if key in changed else value for key, value in self.data.items()}

    def frozen(self, held: Mapping[str, bytes] | None = None) -> dict[str, JSONValue]:
        """Return the data with copies of all lent values: as of *held*, or as `changes` last found them."""
        found = self._found if held is None else held
        return {key: _decode(found[key]) if key in found else value for key, value in self.data.items()}

    def adopt(self, data: dict[str, JSONValue], held: Mapping[str, bytes]) -> None:
        """Replace the data by *data*, which was stored: `content` merged with the data of others. Call `settle` next."""
        if not self._lent:
            self.data = data
            return
        data = self._with_lent(data, held)
        for key in [key for key in self._lent if key not in data or data[key] is not self.data[key]]:
            self._lent.discard(key)
            self._found.pop(key, None)
        self.data = data

    def rebase(
        self, base: Mapping[str, JSONValue], data: dict[str, JSONValue], lent: Draft, held: Mapping[str, bytes]
    ) -> None:
        """Replace the data by *data*: the changes of this draft, applied to *base* instead of the data that was read.

        A value in *data* that the draft *lent* handed out counts as handed out by this draft. *held*: see `settle`.
        """
        data = self._with_lent(data, held)
        # A merged list is a new object, and is still a pending change of this request.
        self._lent &= data.keys()
        self._found.clear()
        for key in lent.data.keys() & data.keys():
            if data[key] is lent.data[key]:
                self._lent |= {key} & lent._lent
                self.followed.setdefault(key, []).extend(lent.followed.get(key, ()))
        self.followed = {key: followed for key, followed in self.followed.items() if followed}
        touched = self._original.keys() | base.keys() if self._cleared else self._original.keys() | self._lent
        self._original = {key: encoded(base, key) for key in touched}
        self.data = data

    def begin_anew(self, data: dict[str, JSONValue]) -> Draft:
        """Return a draft in which *data*, this request's own part of this draft, was put. Lent values stay lent."""
        data = self._with_lent(data, self.held())
        new = Draft({})
        for key, value in data.items():
            new.put(key, value, value if key in self._lent else None)
        new.followed.update(self.followed)
        return new

    def note(self, reads: Reads, changed: Iterable[str]) -> None:
        """Add the reads of an atomic step to this draft's, and count the keys that it changed as read."""
        if self._cleared:
            return
        self.seen |= reads.values
        self.seen.update(changed)
        self._presence |= reads.presence
        if reads.unlisted is not None and self._unlisted is None:
            self._unlisted = frozenset(self._blind)
        self._emptiness |= reads.emptiness

    def forget_reads(self) -> None:
        """Forget all reads so far."""
        self.seen, self._presence, self._unlisted, self._emptiness = set(), set(), None, set()
        self._taken, self._before = set(), NOTHING_READ

    def sizes(self) -> list[tuple[str, int]]:
        """Return each key with the size of its value in bytes of JSON, the largest first."""
        return sorted(((key, len(encode(value))) for key, value in self.content().items()), key=lambda pair: -pair[1])

    # Values that the app holds a reference to

    def follow(self, key: str, *, strict: bool = False) -> None:
        """Convert the value of *key* again if the app changed the object from which it was converted.

        With *strict*, raise `SessionStateError` if the session's own copy was changed as well, and raise as `values.native`
        does.
        """
        followed = self.followed.get(key, ())
        for n, (held, before) in enumerate(followed):
            try:
                copy = values.native(key, held)
            except (TypeError, ValueError):
                if strict:
                    raise
                continue
            now = encode(copy)
            if now == before:
                continue
            mine = try_to_encode(self.data[key]) if key in self.data else None
            if mine == before:
                if key in self._lent:
                    # The copy that is replaced here was handed out, so follow it from now on.
                    self.followed[key].append((self.data[key], before))
                    self._lent.discard(key)
                    self._found.pop(key, None)
                self._keep(key)
                self._write(key)
                self.data[key] = copy
            elif mine != now:
                if strict:
                    raise SessionStateError(
                        f"session key {key!r}: both the session's list or dict and another object for it were changed; "
                        f"change only what session[{key!r}] returns, and get it again after save() and atomic()"
                    )
                continue
            self.followed[key][n] = (held, now)

    def _with_lent(self, data: dict[str, JSONValue], held: Mapping[str, bytes]) -> dict[str, JSONValue]:
        """Return *data* with equal values replaced by the lists and dicts that the app holds."""
        for key in list(self._lent):
            mine = self.data[key]
            if key in data and data[key] is mine:
                continue
            # No encoding is kept for a value that was lent during the write.
            found = self._handed_out(key, held) or try_to_encode(mine) or b""
            if encoded(data, key) == found:
                data[key] = mine
            else:
                # The app's object is no longer the session's. Follow it, so that a change to it is not lost silently.
                self.followed.setdefault(key, []).append((mine, found))
        return data

    def _handed_out(self, key: str, held: Mapping[str, bytes]) -> bytes | None:
        """Return the encoding of a list or dict as of *held*, or as it was handed out, if that was later."""
        return held.get(key, self._original.get(key))

    def _let_go(self, key: str) -> None:
        """Stop tracking the app's references to the value of *key*, which the session no longer holds."""
        self._lent.discard(key)
        self._found.pop(key, None)
        self.followed.pop(key, None)

    def _as_found(self, key: str) -> JSONValue:
        """Return the value of *key* as `changes` last found it; a copy if it is lent."""
        found = self._found.get(key)
        return self.data[key] if found is None else _decode(found)

    def _write(self, key: str) -> None:
        self._increments.pop(key, None)
        if key not in self._written:
            self._written[key] = None
            if key not in self.seen and key not in self._presence:
                self._blind.add(key)

    def _differs(self, key: str, original: bytes | None) -> bool:
        if key not in self.data:
            return original is not None
        value = self.data[key]
        if key not in self._lent:
            return encode(value) != original
        found = try_to_encode(value)
        if found is None or (found != original and found != self._found.get(key) and not values.is_plain(value)):
            # The app may have put values into it that are not JSON, so check and convert it.
            found = encode(values.native(key, value))
        self._found[key] = found
        return found != original

    def _keep(self, key: str) -> None:
        """Keep the encoding of the original value of *key*, before its first change."""
        if key not in self._original:
            self._original[key] = encode(self.data[key]) if key in self.data else None


def _keys(asked: set[str]) -> frozenset[str]:
    """Return the requested keys that a session can have. Getters do not check their keys."""
    return frozenset(key for key in map(values.exact_key, asked) if type(key) is str)
