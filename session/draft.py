"""`Draft`: a session's data as one request sees it, the changes made to it, and what was read of it.

A session records what was *done*, not only the result. When another request was faster, the changes can be made again on
its data, and the reads can be compared with it (`session.merging`). Pure: no I/O, no clock.
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

    A difference decides if there is anything to store: for each key that was changed or whose list or dict was handed
    out, the encoding of its value as it was read is kept and compared in the end. Once something is stored, everything
    counts that was put, also a value that was there already.

    A list or dict is *lent* if the app may hold it, too: it came out of the session, or is the very one that was put. What the
    app put and the session could not keep as it was, a defaultdict, say, is *followed*: the session has a converted copy, which
    is made anew if the original changes.

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
        self.data = data
        self.seen: set[str] = set()
        """The keys whose value was asked for; getters add to it directly."""
        self._presence: set[str] = set()
        self._unlisted: frozenset[str] | None = None
        self._emptiness: set[frozenset[str]] = set()
        self._taken: set[str] = set()
        # Keys that this request wrote, and those of them that it had not read before: to read them later is to read its own.
        self._written: dict[str, None] = {}
        self._blind: set[str] = set()
        self._increments: dict[str, int] = {}
        self._original: dict[str, bytes | None] = {}
        self._lent: set[str] = set()
        # How the lent values were when they were last looked at, and were JSON: the changes and what is stored are made of this,
        # since the app may change them at any time, while a write is under way, too.
        self._found: dict[str, bytes] = {}
        self.followed: dict[str, list[tuple[object, bytes]]] = {}
        """Objects of the app's that a key's value was made from, each with the encoding that it had then."""
        self._cleared = False
        # The reads before everything was cleared: since then there is nothing of others to read.
        self._before = NOTHING_READ

    @property
    def cleared(self) -> bool:
        """True if everything was removed, and that is still to be stored."""
        return self._cleared

    # Reading

    def get(self, key: str) -> JSONValue:
        """Return the value of *key*, to keep and to change; KeyError if there is none."""
        self.seen.add(key)
        if self.followed:
            self.follow(key)
        value = self.data[key]
        if isinstance(value, list | dict):
            self._keep(key)
            self._lent.add(key)
        return value

    def has(self, key: object) -> bool:
        """Return True if *key* is there."""
        if type(key) is str:
            # What this request put or incremented is there, whatever others do.
            if key not in self._blind and key not in self._increments and not self._cleared:
                self._presence.add(key)
            return key in self.data
        return False

    def keys(self) -> list[str]:
        """Return the keys, sorted."""
        if not self._cleared and self._unlisted is None:
            # Later listings show fewer keys of others, since more are this request's own.
            self._unlisted = frozenset(self._blind)
        return sorted(self.data)

    def any(self) -> bool:
        """Return True if there are any keys."""
        if not self._cleared and not any(key in self.data for key in self._written):
            self._emptiness.add(frozenset(self._written))
        return bool(self.data)

    # Changing

    def put(self, key: str, value: JSONValue, made_from: object = None) -> None:
        """Set *key* to a value. *made_from*: the app's object that it was made from or is, to be followed."""
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
        """Set *key* to a value if it is not there; the request depends on that."""
        if not self.has(key):
            self.put(key, value, made_from)
            if key not in self._blind and not self._cleared:
                self._taken.add(key)

    def remove(self, key: str) -> None:
        """Remove *key*, also if it is not there: then it is not to be there."""
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
        """Add *by* to the int under *key* (0 if there is none)."""
        try:
            total = add(key, self.data.get(key, 0), by)
        except (TypeError, ValueError):
            # The error shows what is there.
            self.seen.add(key)
            raise
        self._keep(key)
        if not self._cleared and key not in self._written:
            self._increments[key] = self._increments.get(key, 0) + by
        self.data[key] = total

    # What was read and changed

    def reads(self) -> Reads:
        """Return the parts of the session, as it was read or last stored, that this request was shown."""
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
        """Return the changes, those to a value that was there already included; None if everything is as it was read.

        Raises what `values.native <session.values.native>` raises for a list or dict that the app holds and that
        now holds what JSON cannot express; `SessionStateError` if the app changed both an object that it put and the session's
        own copy.
        """
        differing = self._differing()
        return self._changes(differing) if differing else None

    def meant(self, *others: Mapping[str, JSONValue]) -> Changes:
        """Return the changes, also if everything is as it was read; raises as `changes` does.

        *others* may be stored instead of what was read: a list or dict that differs from theirs was changed, too.
        """
        differing = self._differing()
        for data in others:
            differing |= {key for key in self._lent if self._found.get(key) != encoded(data, key)}
        return self._changes(differing)

    def differs_from(self, data: Mapping[str, JSONValue]) -> bool:
        """Return True if what was changed, there and back perhaps, is otherwise in *data*."""
        mine = self.frozen()
        return any(encoded(mine, key) != encoded(data, key) for key in self._original)

    def held(self) -> dict[str, bytes]:
        """Return the encodings of the lists and dicts that the app holds, as `changes` last found them: `settle` takes them."""
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
            # A list that was changed in place was written as well. An increment stays one.
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
        """Return the keys that were changed since they were read, increments included."""
        changes = self.meant()
        return changes.keys | frozenset(self._original if changes.cleared else ())

    # What becomes of it

    def settle(self, held: Mapping[str, bytes]) -> None:
        """Take the data for the data that was read: it has been stored. Reads stay, with the values as stored.

        *held* is what `held` returned when the data was encoded: the app may have changed a list since.
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
        # The keys that were its own are stored: others may change them from now on.
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
        """Return the data to store, as `changes` last found it. What was changed of what the app holds is a copy."""
        if not self._lent:
            return self.data
        changed = {key for key in self._lent if self._found.get(key) not in (None, self._original[key])}
        return {key: self._as_found(key) if key in changed else value for key, value in self.data.items()}

    def frozen(self, held: Mapping[str, bytes] | None = None) -> dict[str, JSONValue]:
        """Return the data with copies of all that the app holds: as of *held*, or as `changes` last found it."""
        found = self._found if held is None else held
        return {key: _decode(found[key]) if key in found else value for key, value in self.data.items()}

    def adopt(self, data: dict[str, JSONValue], held: Mapping[str, bytes]) -> None:
        """Go on with *data*, which has been stored, and is the `content` merged with the data of others; then `settle`."""
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
        """Go on with *data*: the changes of this draft, made on *base* instead of the data that was read.

        What *lent* handed out counts as handed out by this draft, if it is in *data*. *held* is as `settle` has it.
        """
        data = self._with_lent(data, held)
        # A list that was merged with that of others is another one, and a change of this request's still.
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
        """Return a draft in which *data* was put: the part of this one that is its own. What the app holds, it still holds."""
        data = self._with_lent(data, self.held())
        new = Draft({})
        for key, value in data.items():
            new.put(key, value, value if key in self._lent else None)
        new.followed.update(self.followed)
        return new

    def note(self, reads: Reads, changed: Iterable[str]) -> None:
        """Count the reads of an atomic step as this draft's, and the keys that it changed as read."""
        if self._cleared:
            return
        self.seen |= reads.values
        self.seen.update(changed)
        self._presence |= reads.presence
        if reads.unlisted is not None and self._unlisted is None:
            self._unlisted = frozenset(self._blind)
        self._emptiness |= reads.emptiness

    def forget_reads(self) -> None:
        """Begin the reads anew."""
        self.seen, self._presence, self._unlisted, self._emptiness = set(), set(), None, set()
        self._taken, self._before = set(), NOTHING_READ

    def sizes(self) -> list[tuple[str, int]]:
        """Return the keys with the sizes of their values in bytes of JSON, the largest first."""
        return sorted(((key, len(encode(value))) for key, value in self.content().items()), key=lambda pair: -pair[1])

    # What the app holds, too

    def follow(self, key: str, *, strict: bool = False) -> None:
        """Make the value of *key* anew if an object of the app's that it was made from has changed since.

        With *strict*, raise `SessionStateError` if the session's own copy was changed as well, and what `values.native` raises.
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
                    # The copy that it replaces was handed out.
                    self.followed[key].append((self.data[key], before))
                    self._lent.discard(key)
                    self._found.pop(key, None)
                self._keep(key)
                self._write(key)
                self.data[key] = copy
            elif mine != now:
                if strict:
                    raise SessionStateError(
                        f"session key {key!r}: a list or dict that was put or taken before was changed, and so was the session's "
                        f"own: change only the one that session[{key!r}] returns, and take it anew after save() and atomic()"
                    )
                continue
            self.followed[key][n] = (held, now)

    def _with_lent(self, data: dict[str, JSONValue], held: Mapping[str, bytes]) -> dict[str, JSONValue]:
        """Return *data* with the lists and dicts that the app holds in the place of their equals."""
        for key in list(self._lent):
            mine = self.data[key]
            if key in data and data[key] is mine:
                continue
            # None: it was lent while the write was under way.
            found = self._handed_out(key, held) or try_to_encode(mine) or b""
            if encoded(data, key) == found:
                data[key] = mine
            else:
                # The app holds one that is the session's no longer. To change that must not be lost silently.
                self.followed.setdefault(key, []).append((mine, found))
        return data

    def _handed_out(self, key: str, held: Mapping[str, bytes]) -> bytes | None:
        """Return the encoding of a list or dict as of *held*; as it was handed out, if that was later."""
        return held.get(key, self._original.get(key))

    def _let_go(self, key: str) -> None:
        """Forget what the app holds of the value of *key*: it is the session's no longer."""
        self._lent.discard(key)
        self._found.pop(key, None)
        self.followed.pop(key, None)

    def _as_found(self, key: str) -> JSONValue:
        """Return the value of *key* as `changes` last found it; a copy if the app holds it, too."""
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
            # Its owner may have put anything into it since.
            found = encode(values.native(key, value))
        self._found[key] = found
        return found != original

    def _keep(self, key: str) -> None:
        """Keep how the value of *key* was read, before it changes for the first time."""
        if key not in self._original:
            self._original[key] = encode(self.data[key]) if key in self.data else None


def _keys(asked: set[str]) -> frozenset[str]:
    """Return the keys that a session can have of those that were asked for; getters do not check them."""
    return frozenset(key for key in map(values.exact_key, asked) if type(key) is str)
