"""What is promised, checked as it happens: on every change of the table, every read and every acknowledgement.

The promises, each a method's docstring with its exceptions. They hold for *sessions*, which are told by the id
that each carries in its data (a renewed session is the same session under another key), and for *commits*: what
one request stores at once. Times are the server's; processes' clocks are off by up to `SKEW_NS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import msgspec

from dynamostore import Record, Table
from session import Status
from session._lifecycle import State

from .expressions import Item
from .intent import Commit, Data, Intent
from .model import NS
from .network import Attempt, Network
from .trace import describe_item, short

SKEW_NS: Final = NS // 2
"""How far a process's clock may be from the server's."""

_TABLE: Final = Table()
_MOVED: Final = _TABLE.moved
_MARKER_NS: Final = 900 * NS
"""How long a renewal's marker stays."""
_HOPS: Final = 2
"""How many markers a read follows."""
_decode = msgspec.json.Decoder().decode


class Violation(Exception):
    """A promise was broken. *promise* is its name: that of the oracle's method."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


@dataclass(slots=True, eq=False)
class Life:
    """One session, as the table has had it. *key* is where it is now, None when it is no more."""

    key: str | None
    states: list[Data]
    weights: set[int] = field(default_factory=set)
    """The increments that must be in its counter, as far as nothing cleared it."""
    ended: str = ""
    foreign: bool = False
    """SCS for Go wrote it, which knows no conditions: less is promised from then on."""


class Oracle:
    """Watches one run. *stale_reads*: reads are not consistent, so what they show is no evidence."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self.destroyed: dict[str, str] = {}
        """Key → who destroyed it, acknowledged."""
        self.retired: dict[str, str] = {}
        """Key → the key that took its place."""
        self.marked: dict[str, tuple[int, int]] = {}
        """Key → when its marker was made, and when its grace ends."""
        self.stale_reads = False
        self.scs_wrote = False
        self.grace_ns = 0
        self.network: Network
        self.items: dict[str, Item]
        self.changes: list[tuple[str, Item | None, Item | None]]
        self._payloads: dict[bytes, tuple[Data, int]] = {}

    def attach(self, network: Network) -> None:
        """Watch the server of this network: its clock, its items and its journal."""
        self.network, self.items, self.changes = network, network.server.items, network.server.changes

    def destroyed_before(self, begun: int) -> Sequence[str]:
        """The keys that were destroyed by then, as a count of them: what was read meanwhile may be either."""
        return [*self.destroyed][:begun]

    # The table changed

    def applied(self, attempt: Attempt) -> None:
        if attempt.sender.foreign:
            self.overwritten_by_scs()
        elif len(self.changes) == 1:
            key, old, new = self.changes[0]
            if new is None:
                assert old is not None
                self.removed(attempt, key, old)
            elif old is None or (attempt.call.operation == "put_item" and _expiry(old) < attempt.issued_ns + SKEW_NS):
                # What has expired and was not swept yet is as good as nothing.
                self.created(attempt, key, new)
            else:
                self.overwritten(attempt, key, old, new)
        else:
            self.renamed(attempt)

    def created(self, attempt: Attempt, key: str, new: Item) -> None:
        """Nothing resurrected: an item comes to be only where there never was one, by a commit's first success.

        So no key that was destroyed or renewed away holds an item again, and no item is without data, whatever
        was delivered late or twice. Exceptions: SCS for Go puts without asking; and what had expired meanwhile
        may be put once more by a late retry, as expired as it was.
        """
        promise = "created"
        commit = attempt.commit
        data, _ = self._content(promise, key, new)
        if commit is None or attempt.call.operation != "put_item":
            _broken(promise, f"{attempt.sender.name} made an item of {short(key)} by {attempt.call.operation}")
        self._not_dead(promise, attempt, key)
        if commit.applied and _expiry(new) < self.network.now_ns + SKEW_NS:
            self.lives[data["id"]].key = key
            return
        if commit.applied:
            _broken(promise, f"{commit} was applied again")
        if data != commit.intent.data:
            _broken(promise, f"{commit} stored {data}, not {commit.intent.data}")
        life = self.lives.get(data["id"])
        if life is not None:
            _broken(promise, f"{data['id']} is stored as new, but there was one under {short(life.key or 'no key')}")
        self.lives[data["id"]] = life = Life(key, [data])
        self._note(commit, life, key, data)

    def overwritten(self, attempt: Attempt, key: str, old: Item, new: Item) -> None:
        """Nothing lost: a write leaves the session as it was, but for just the changes of its own commit.

        Each commit's changes are made once at most, however often they were sent. A touch changes the expiry
        alone. The expiry never moves backwards, the deadline only by a renewal. What had expired (by the
        clock of whoever sent the write, when it did) is not written over. Exceptions: SCS for Go overwrites; its
        nanoseconds are cut off to the microsecond.
        """
        promise = "overwritten"
        was, was_deadline_ns = self._content(promise, key, old)
        data, deadline_ns = self._content(promise, key, new)
        commit = attempt.commit
        if commit is None:
            _broken(promise, f"{attempt.sender.name} wrote {short(key)} while it only read")
        self._not_dead(promise, attempt, key)
        expiry_ns, was_expiry_ns = _expiry(new), _expiry(old)
        if expiry_ns <= was_expiry_ns - 1000:
            _broken(promise, f"{commit} moved the expiry of {short(key)} back by {(was_expiry_ns - expiry_ns) / NS}s")
        if was_expiry_ns < attempt.issued_ns - SKEW_NS:
            _broken(promise, f"{commit} wrote over {short(key)}, which had expired")
        if deadline_ns != was_deadline_ns:
            _broken(promise, f"{commit} moved the deadline of {short(key)}")
        if new[_TABLE.data] == old[_TABLE.data] and new.get(_TABLE.version) == old.get(_TABLE.version):
            return
        self._changed(promise, commit, key, was, data)

    def renamed(self, attempt: Attempt) -> None:
        """Never two sessions, and never none: a renewal puts the new key and a marker under the old one, at once.

        The session under the new key is the one under the old, but for the changes of the commit. The marker holds no
        data; it may be followed for just the grace, and stays for fifteen minutes. Exception: the expiry
        may move back, by the skew of two clocks, to a whole lifetime after the renewal.
        """
        promise = "renamed"
        commit = attempt.commit
        put = [(key, new) for key, old, new in self.changes if old is None and new is not None]
        left = [
            (key, old, new) for key, old, new in self.changes if old is not None and new is not None and _MOVED in new
        ]
        if commit is None or not commit.renews or len(put) != 1 or len(left) != 1:
            _broken(promise, f"{attempt.sender.name} made a transaction that is no renewal")
        [(key, new)], [(old_key, old, marker)] = put, left
        self._not_dead(promise, attempt, key)
        was, was_deadline_ns = self._content(promise, old_key, old)
        data, deadline_ns = self._content(promise, key, new)
        self._left(promise, attempt, old_key, marker, key)
        if _expiry(new) < min(_expiry(old), deadline_ns // 1000 * 1000, was_deadline_ns - 2 * SKEW_NS):
            back = (_expiry(old) - _expiry(new)) / NS
            _broken(promise, f"{commit} moved the expiry back by {back}s, from {short(old_key)} to {short(key)}")
        if _expiry(old) < attempt.issued_ns - SKEW_NS:
            _broken(promise, f"{commit} renewed {short(old_key)}, which had expired")
        self.retired[old_key] = key
        self._changed(promise, commit, key, was, data)
        self.lives[data["id"]].key = key

    def removed(self, attempt: Attempt, key: str, old: Item) -> None:
        """Nothing is removed but what a request destroyed, what had expired, and markers that had ended.

        A destroy is unconditional: it may be delivered late, and then deletes nothing, or what it was to. It takes
        along what the markers lead to, and that goes before they do.
        """
        promise = "removed"
        commit = attempt.commit
        if commit is None or commit.destroys is None or not (key in self._trail(commit.destroys) or self.scs_wrote):
            if _MOVED in old:
                self._marker_ended(promise, key, old)
                return
            if _expiry(old) >= self.network.now_ns + SKEW_NS:
                _broken(promise, f"{attempt.sender.name} evicted {short(key)}, which had not expired")
            self._end(old, "evicted")
            return
        commit.deleted.add(key)
        if _MOVED not in old:
            self._end(old, f"destroyed by {commit}")
            return
        leads_to = self.items.get(old[_MOVED]["S"])
        if leads_to is not None and not self.scs_wrote and self._stays(key):
            _broken(promise, f"{commit} destroyed {short(key)}, but not {describe_item(leads_to)}")

    def swept(self, key: str, old: Item) -> None:
        """The service's TTL deletes nothing that has not expired, and no marker before fifteen minutes are over."""
        if _expiry(old) >= self.network.now_ns:
            _broken("swept", f"the ttl of {short(key)} let it be swept before it expired")
        if _MOVED in old:
            self._marker_ended("swept", key, old)
        else:
            self._end(old, "swept")

    # A request saw something

    def loaded(
        self, state: State, key: str, begun: int, begun_ns: int, last_read: tuple[int, Item | None] | None
    ) -> None:
        """A session that is alive is found, as it is; one that is not is not, nor what was destroyed before.

        A session whose end is within the clocks' skew may be either. A key that was renewed shows the renewed session
        within the grace, over two markers at most: without a grace never. Exception: reads that are not consistent
        may show what was there a moment ago.
        """
        promise = "loaded"
        assert last_read is not None
        read_ns, item = last_read
        if state.record is None:
            if item is not None and _MOVED in item:
                hops = len(self._followed(key, item[_TABLE.token]["S"]))
                if _expiry(item) >= read_ns + SKEW_NS and hops < _HOPS:
                    _broken(promise, f"{short(key)} was not found, but it leads to {item[_MOVED]}")
            elif item is not None:
                data, deadline_ns = self._content(promise, key, item)
                if min(_expiry(item), deadline_ns) >= read_ns + SKEW_NS:
                    _broken(promise, f"{short(key)} was not found, but it is alive: {data}")
            return
        if item is None:
            _broken(promise, f"{short(key)} was found, but it is not there")
        followed = self._followed(key, state.record.token)
        if len(followed) > _HOPS:
            _broken(promise, f"{short(key)} was found over {len(followed)} markers")
        for each in followed:
            if not self.grace_ns or self.marked[each][1] < begun_ns - SKEW_NS:
                _broken(promise, f"{short(key)} was found, but {short(each)} was renewed, and its grace is over")
        data, deadline_ns = self._content(promise, key, item)
        if min(_expiry(item), deadline_ns) < read_ns - SKEW_NS:
            _broken(promise, f"{short(key)} was found, but it had expired")
        if state.draft.data != data:
            _broken(promise, f"{short(key)} was read as {state.draft.data}, not {data}")
        if not self.stale_reads and key in self.destroyed_before(begun):
            _broken(promise, f"{short(key)} was found, but {self.destroyed[key]} had destroyed it")

    def acknowledged(self, commit: Commit, state: State) -> None:
        """A commit that ends without an error has stored its changes, once, or the status says DESTROYED.

        Stored means that a write did, or that somebody else's had just the same effect (both removed a key).
        DESTROYED is said only of a session that is no more. What a request destroyed is not there when it is
        told so, and no key that a request was told about holds another session than its own.
        """
        promise = "acknowledged"
        commit.acknowledged = True
        if commit.destroys is not None:
            self.told_destroyed(commit, commit.destroys)
        if commit.result is not None:
            if self.lives[commit.result["id"]].foreign:
                return
            if state.status is not Status.MODIFIED and not state.gone:
                _broken(promise, f"{commit} stored its changes, but the status is {state.status.value}")
            if state.gone and state.token is None:
                self._is_gone(promise, commit)
            return
        if commit.destroys is None and state.gone and state.token is None:
            self._is_gone(promise, commit)
        elif commit.renews and commit.destroys is None:
            _broken(promise, f"{commit} was acknowledged, but did not renew")
        elif commit.intent.changes() and not self._same_effect(commit, state):
            _broken(promise, f"{commit} was acknowledged, but did not store: {commit.intent}")
        if state.token is None and state.gone and state.status is not Status.DESTROYED:
            _broken(promise, f"the session of {commit} is gone, but the status is {state.status.value}")

    def told_destroyed(self, commit: Commit, destroyed: str) -> None:
        """What a request destroyed is gone when it is told so, and stays so (see `created` and `overwritten`).

        So is what it was renewed to, as far as markers lead there.
        """
        gone = {destroyed, *commit.deleted}
        for key in self._trail(destroyed)[:-1]:
            if not self._stays(key):
                break
            gone.add(self.retired[key])
        for key in gone:
            if key not in self.items:
                self.destroyed[key] = str(commit)
            elif not self.scs_wrote:
                _broken("told_destroyed", f"{commit} destroyed {short(key)}, but it is there")

    def finished(self) -> None:
        """In the end: one item for a living session, none for another; increments add up to the bit.

        Each commit adds a power of two of its own, so the counter says which of them counted. Exception: a
        clear takes earlier increments away.
        """
        promise = "finished"
        places: dict[str, str] = {}
        for key, item in self.items.items():
            if _MOVED in item:
                continue
            data, _ = self._content(promise, key, item)
            if self.lives[data["id"]].foreign:
                continue
            if data["id"] in places:
                _broken(promise, f"{data['id']} is stored twice: under {short(places[data['id']])} and {short(key)}")
            places[data["id"]] = key
            life = self.lives[data["id"]]
            if life.key != key:
                _broken(promise, f"{data['id']} should be under {short(life.key or 'no key')}, not {short(key)}")
            if sum(life.weights) != data.get("n", 0):
                _broken(promise, f"the increments of {data['id']} add up to {sum(life.weights)}, not {data.get('n')}")
        for name, life in self.lives.items():
            if life.key is not None and not life.foreign and places.get(name) != life.key:
                _broken(promise, f"{name} should be under {short(life.key)}, but is nowhere")

    # SCS for Go

    def overwritten_by_scs(self) -> None:
        """SCS for Go puts what it has where it had it, and may so lose changes and bring sessions back.

        From then on a commit may be applied twice (what it put has no versions, so a retry is not known again),
        and one session may be under two keys. What else is promised still is: each write of ours makes just its
        own changes to what is there, moves no expiry back, and makes no item without data.
        """
        self.scs_wrote = True
        for key, old, new in self.changes:
            item = new or old
            if item is None or _MOVED in item:
                continue
            data, _ = self.content(item[_TABLE.data]["B"])
            life = self.lives[data["id"]]
            life.foreign, life.key = True, key if new else None
            life.states.append(data)
            if new is not None:
                self.destroyed.pop(key, None)
                self.retired.pop(key, None)
                self.marked.pop(key, None)

    # Parts

    def content(self, payload: bytes) -> tuple[Data, int]:
        """The data and the deadline of a payload, decoded here once."""
        found = self._payloads.get(payload)
        if found is None:
            decoded = _decode(payload)
            found = self._payloads[payload] = (decoded["data"], decoded["deadline"])
        return found

    def _content(self, promise: str, key: str, item: Item) -> tuple[Data, int]:
        if _TABLE.data not in item:
            _broken(promise, f"an item without data: {short(key)}, {describe_item(item)}")
        if int(item[_TABLE.ttl]["N"]) != _expiry(item) // NS + 1:
            _broken(promise, f"the ttl of {short(key)} is not that of its expiry")
        return self.content(item[_TABLE.data]["B"])

    def _changed(self, promise: str, commit: Commit, key: str, was: Data, data: Data) -> None:
        if data.get("id") != was.get("id"):
            _broken(promise, f"{commit} put {data.get('id')} in the place of {was.get('id')}")
        expected = commit.intent.apply(was)
        if data != expected:
            _broken(promise, f"{commit} ({commit.intent}) made {data} of {was}; it should be {expected}")
        life = self.lives[data["id"]]
        if commit.applied and not life.foreign:
            _broken(promise, f"{commit} ({commit.intent}) was applied again, under another version")
        life.states.append(data)
        self._note(commit, life, key, data)

    def _note(self, commit: Commit, life: Life, key: str, data: Data) -> None:
        commit.applied += 1
        commit.result = data
        commit.keys.append(key)
        if commit.intent.cleared:
            life.weights = {data["n"]} if "n" in data else set()
        else:
            weight = commit.intent.increments.get("n", commit.intent.puts.get("n", 0))
            if weight:
                life.weights.add(weight)

    def _not_dead(self, promise: str, attempt: Attempt, key: str) -> None:
        if key in self.destroyed:
            _broken(promise, f"{attempt.commit} wrote {short(key)}, which {self.destroyed[key]} had destroyed")
        if key in self.retired:
            # Also for the time of a grace: what leads elsewhere is not written.
            _broken(promise, f"{attempt.commit} wrote {short(key)}, which was renewed to {short(self.retired[key])}")

    def _left(self, promise: str, attempt: Attempt, old_key: str, marker: Item, key: str) -> None:
        """The marker under the old key leads to the new one, for as long as the grace is; and stays for fifteen minutes."""
        issued_ns = attempt.issued_ns
        if _TABLE.data in marker or marker[_MOVED]["S"] != key:
            _broken(promise, f"what {attempt.commit} left behind is {marker}")
        if _expiry(marker) > issued_ns + self.grace_ns + SKEW_NS:
            _broken(promise, f"{attempt.commit} left the old key until long after the grace")
        if not self.grace_ns and _expiry(marker) >= issued_ns - 2 * SKEW_NS:
            _broken(promise, f"{attempt.commit} left the old key for a process whose clock is behind")
        if int(marker[_TABLE.ttl]["N"]) * NS < issued_ns + _MARKER_NS - SKEW_NS:
            _broken(promise, f"{attempt.commit} left a marker that does not stay")
        self.marked[old_key] = (issued_ns, _expiry(marker))

    def _stays(self, key: str) -> bool:
        """Whether the marker under *key* cannot have ended, by anybody's clock."""
        made_ns, grace_ends_ns = self.marked[key]
        return self.network.now_ns < max(made_ns + _MARKER_NS, grace_ends_ns) - 2 * SKEW_NS

    def _marker_ended(self, promise: str, key: str, marker: Item) -> None:
        if not self.scs_wrote and self._stays(key):
            _broken(promise, f"the marker of {short(key)} was removed before its time: {describe_item(marker)}")

    def _trail(self, key: str | None) -> list[str]:
        """A key, and those that it was renamed to, one after the other."""
        trail = []
        while key is not None:
            trail.append(key)
            key = self.retired.get(key)
        return trail

    def _followed(self, key: str, found: str) -> list[str]:
        """The keys whose markers were followed from *key* to *found*; none, if SCS has written over one meanwhile."""
        trail = self._trail(key)
        return trail[: trail.index(found)] if found in trail else []

    def _end(self, old: Item, how: str) -> None:
        data, _ = self.content(old[_TABLE.data]["B"])
        life = self.lives[data["id"]]
        life.key, life.ended = None, how

    def _is_gone(self, promise: str, commit: Commit) -> None:
        """DESTROYED is said only of a session that was destroyed, renewed away, or has expired."""
        for key in (commit.key, *commit.keys[-1:]):
            item = self.items.get(key or "")
            hops = 0
            while item is not None and _MOVED in item and _expiry(item) >= self.network.now_ns + SKEW_NS:
                item = self.items.get(item[_MOVED]["S"]) if hops < _HOPS else None
                hops += 1
            if (
                item is not None
                and _MOVED not in item
                and not self.scs_wrote
                and _expiry(item) >= self.network.now_ns + SKEW_NS
            ):
                _broken(promise, f"{commit} was told that {short(key or '')} is gone, but it is alive")

    def _same_effect(self, commit: Commit, state: State) -> bool:
        data: dict[str, Any] = state.draft.data
        life = self.lives.get(data.get("id", ""))
        return life is not None and any(commit.intent.apply(each) == each for each in life.states[commit.since - 1 :])

    def _foreign(self, item: Item) -> bool:
        if _MOVED in item:
            return False
        data, _ = self.content(item[_TABLE.data]["B"])
        return self.lives[data["id"]].foreign

    def intent_after(self, record: Record | None) -> Intent:
        """What a request starts from once it has read or stored *record*."""
        return Intent(self.content(record.data)[0] if record is not None else {})


def _expiry(item: Item) -> int:
    return int(item[_TABLE.expiry]["N"])


def _broken(promise: str, what: str) -> NoReturn:
    raise Violation(promise, what)
