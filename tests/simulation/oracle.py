"""What is promised, checked as it happens: on every change of the table, every read and every acknowledgement.

The promises, each a method's docstring with its exceptions. They hold for *sessions*, which are told by the id
that each carries in its data (a renewed session is the same session under another key), and for *commits*: what
one request stores at once. Times are the server's; processes' clocks are off by up to `SKEW_NS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

import msgspec

from dynamostore import Table
from session import SessionConflict, Status
from session._state import State

from .expressions import Item
from .history import ABSENT, DEADLINE, Add, Append, Clear, Event, Has, Read, Remove, TooLarge, Write
from .intent import UNIVERSE, Commit, Data, Promises, describe_events
from .model import NS
from .network import Attempt, Network
from .notes import change, reads_of, replay, stale
from .trace import describe_item, short
from .witness import History, Witness

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
    own: bool = False
    """Begun by the loser of two renewals: it may have put the other's id."""
    history: History = field(default_factory=History)
    foreign: bool = False
    """SCS for Go wrote it, which knows no conditions: less is promised from then on."""


class Oracle:
    """Watches one run. *stale_reads*: reads are not consistent, so what they show is no evidence."""

    def __init__(self, counts: Counter[str]) -> None:
        self.counts = counts
        self.promises = Promises()
        self.witness = Witness()
        self.lives: dict[str, Life] = {}
        """Key → the session that is there, or was."""
        self.makers: dict[str, str] = {}
        """Key → the request that made it."""
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
        self.items: Mapping[str, Item]
        self.changes: list[tuple[str, Item | None, Item | None]]
        self._payloads: dict[bytes, Data] = {}

    def attach(self, network: Network) -> None:
        """Watch the server of this network: its clock, its items and its journal."""
        self.network, self.items, self.changes = network, network.server.known, network.server.changes

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
        data = self._content(promise, key, new)
        if commit is None or attempt.call.operation != "put_item":
            _broken(promise, f"{attempt.sender.name} made an item of {short(key)} by {attempt.call.operation}")
        self._not_dead(promise, attempt, key)
        if commit.applied and _expiry(new) < self.network.now_ns + SKEW_NS:
            self.lives[key].key = key
            return
        if commit.applied:
            _broken(promise, f"{commit} was applied again")
        if commit.had_ended:
            _broken(promise, f"{commit} began a session, after its own had been ended by another request")
        if without_deadline(data) != commit.whole():
            _broken(promise, f"{commit} stored {data}, not {commit.whole()}")
        own = commit.renews and commit.destroys is None
        if key in self.lives or (not own and self._is_known(data)):
            _broken(promise, f"{data} is stored as new under {short(key)}, but it was there before")
        if own:
            self._may_begin_its_own(promise, commit)
        if commit.destroys is not None and commit.before:
            self._still_held(promise, commit)
        self.lives[key] = life = Life(key, [data], own=own)
        self.makers[key] = commit.request
        writes = [event for event in commit.all_events() if change(event)]
        ops = [*writes, Write(DEADLINE, data[DEADLINE])]
        self._note(commit, life, key, data, ops)

    def overwritten(self, attempt: Attempt, key: str, old: Item, new: Item) -> None:
        """Nothing lost: a write leaves the session as it was, but for just the changes of its own commit.

        Each commit's changes are made once at most, however often they were sent. A touch changes the expiry
        alone. The expiry never moves backwards, but to an earlier deadline. What had expired (by the
        clock of whoever sent the write, when it did) is not written over. Exceptions: SCS for Go overwrites; its
        nanoseconds are cut off to the microsecond.
        """
        promise = "overwritten"
        was = self._content(promise, key, old)
        data = self._content(promise, key, new)
        commit = attempt.commit
        if commit is None:
            _broken(promise, f"{attempt.sender.name} wrote {short(key)} while it only read")
        self._not_dead(promise, attempt, key)
        expiry_ns, was_expiry_ns = _expiry(new), _expiry(old)
        if expiry_ns <= min(was_expiry_ns, data[DEADLINE]) - 1000:
            _broken(promise, f"{commit} moved the expiry of {short(key)} back by {(was_expiry_ns - expiry_ns) / NS}s")
        if was_expiry_ns < attempt.issued_ns - SKEW_NS:
            _broken(promise, f"{commit} wrote over {short(key)}, which had expired")
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
        was = self._content(promise, old_key, old)
        data = self._content(promise, key, new)
        if old_key != commit.key and self.makers.get(old_key) != commit.request:
            _broken(promise, f"{commit} came with {short(commit.key or '')}, and renewed {short(old_key)}")
        self._left(promise, attempt, old_key, marker, key)
        if _expiry(new) < min(_expiry(old), data[DEADLINE] // 1000 * 1000, was[DEADLINE] - 2 * SKEW_NS):
            back = (_expiry(old) - _expiry(new)) / NS
            _broken(promise, f"{commit} moved the expiry back by {back}s, from {short(old_key)} to {short(key)}")
        if _expiry(old) < attempt.issued_ns - SKEW_NS:
            _broken(promise, f"{commit} renewed {short(old_key)}, which had expired")
        self.retired[old_key] = key
        self.makers[key] = commit.request
        self.lives[key] = life = self.lives[old_key]
        life.key = key
        self._changed(promise, commit, key, was, data)

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
            self._end(key, "evicted")
            return
        commit.deleted.add(key)
        if _MOVED not in old:
            self._end(key, f"destroyed by {commit}")
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
            self._end(key, "swept")

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
                data = self._content(promise, key, item)
                if min(_expiry(item), data[DEADLINE]) >= read_ns + SKEW_NS:
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
        data = self._content(promise, key, item)
        if min(_expiry(item), data[DEADLINE]) < read_ns - SKEW_NS:
            _broken(promise, f"{short(key)} was found, but it had expired")
        if state.draft.data != without_deadline(data) or state.deadline_ns != data[DEADLINE]:
            _broken(promise, f"{short(key)} was read as {state.draft.data}, not {data}")
        if not self.stale_reads and key in self.destroyed_before(begun):
            _broken(promise, f"{short(key)} was found, but {self.destroyed[key]} had destroyed it")

    def acknowledged(self, commit: Commit, state: State, presented: str | None) -> None:
        """A commit that ends without an error has stored its changes, once, or the status says DESTROYED.

        DESTROYED is said only of a session that is no more. What a request destroyed is not there when it is told so. A
        request is handed no token but the one that it came with, or that of a session that it stored. A request that took a
        value of a session that has ended is not told that all is well; nor, in "serialize", one that read anything.
        """
        promise = "acknowledged"
        commit.acknowledged = True
        self.witness.ended(commit)
        if commit.destroys is not None:
            self.told_destroyed(commit, commit.destroys)
        if state.token not in (None, presented) and self.makers.get(state.token) != commit.request:
            _broken(promise, f"{commit} was handed {short(state.token or '')}, which it did not make")
        if commit.result is not None:
            if self.lives[commit.keys[-1]].foreign:
                return
            if state.status is not Status.MODIFIED and not state.gone:
                _broken(promise, f"{commit} stored its changes, but the status is {state.status.value}")
            if state.gone and state.token is None:
                self._is_gone(promise, commit)
            return
        if commit.had_ended:
            if state.token is not None:
                _broken(promise, f"the session of {commit} had ended, but it is handed a token")
        elif commit.destroys is None and state.ended:
            if not (commit.renews and commit.key in self.retired):
                self._is_gone(promise, commit)
            if self._must_not_end_well(commit):
                _broken(promise, f"{commit} was acknowledged, but the session that it had read has ended")
        elif commit.renews and commit.destroys is None:
            _broken(promise, f"{commit} was acknowledged, but did not renew")
        elif commit.changes() and not (commit.destroys and commit.read_before):
            _broken(promise, f"{commit} was acknowledged, but did not store: {describe_events(commit.events())}")
        elif commit.destroys is None and commit.key is not None and state.record is not None:
            self._read_only(commit, state.record.data)
        if state.token is None and state.gone and state.status is not Status.DESTROYED:
            _broken(promise, f"the session of {commit} is gone, but the status is {state.status.value}")

    def refused(self, commit: Commit, conflict: SessionConflict, state: State) -> None:
        """A request is refused only if what it read has changed, and counts; or if the session has ended, and it may not.

        So there are no false alarms but those that the rules name: a value that was read and not overwritten, or taken.
        A request that destroys is never refused. Exception: an atomic step that has nothing to write reads what is there, and
        with reads that are not consistent it may miss it.
        """
        promise = "refused"
        if commit.destroys is not None:
            _broken(promise, f"{commit} destroys, and was refused: {conflict}")
        if not self.promises.checks and not commit.atomic:
            _broken(promise, f"{commit} was refused, though nothing is checked: {conflict}")
        if self.scs_wrote:
            return
        if conflict.ended:
            superseded = commit.renews and commit.key in self.retired
            if not (superseded or commit.had_ended or (commit.atomic and self.stale_reads)):
                self._is_gone(promise, commit)
            if not (
                commit.atomic
                or self._must_not_end_well(commit, perhaps=True)
                or (superseded and self._holds_old(commit))
            ):
                _broken(promise, f"{commit} was refused, though all that it had read may be dropped: {conflict}")
            return
        states = [
            each
            for life in self.lives.values()
            for each in life.states
            if without_deadline(each) == conflict.theirs and (commit.key is None or life is self._life(commit.key))
        ]
        if "not known" in str(conflict):
            if not commit.unknown:
                _broken(
                    promise, f"{commit} was refused, as if the outcome of an earlier try were not known: {conflict}"
                )
            return
        named = {tuple(sorted({*stale(commit.counted(), each), *commit.still_outdated()})) for each in states}
        if not conflict.keys or tuple(conflict.keys) not in named:
            _broken(promise, f"{commit} was refused for {conflict.keys}, but it is stale in {named}: {conflict}")

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
            data = self._content(promise, key, item)
            life = self.lives[key]
            if life.foreign:
                continue
            if not life.own and data.get("id", key) in places:
                _broken(promise, f"{data['id']} is stored twice: under {short(places[data['id']])} and {short(key)}")
            places[key if life.own else data.get("id", key)] = key
            if life.key != key:
                _broken(promise, f"{data} should be under {short(life.key or 'no key')}, not {short(key)}")
            if sum(life.weights) != data.get("n", 0):
                _broken(promise, f"the increments of {data} add up to {sum(life.weights)}, not {data.get('n')}")
        for life in {id(life): life for life in self.lives.values()}.values():
            if life.foreign:
                continue
            if life.key is not None and life.key not in places.values():
                _broken(promise, f"{life.states[-1]} should be under {short(life.key)}, but is nowhere")
            self.explained(life)

    def explained(self, life: Life) -> None:
        """For all that was committed on a session there is an order that explains it (see `history`)."""
        self.counts["histories"] += 1
        self.counts["transactions in them"] += len(life.history.transactions)
        try:
            what = life.history.unexplained(life.states[-1], self.promises.level)
        except TooLarge:
            self.counts["histories that are too large"] += 1
            return
        if what:
            _broken("explained", what)

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
            data = self.content(item[_TABLE.data]["B"])
            life = self.lives[key]
            life.foreign, life.key = True, key if new else None
            life.states.append(data)
            if new is not None:
                self.destroyed.pop(key, None)
                self.retired.pop(key, None)
                self.marked.pop(key, None)

    # Parts

    def content(self, payload: bytes) -> Data:
        """The data of a payload, and among it the deadline; decoded here once."""
        found = self._payloads.get(payload)
        if found is None:
            decoded = _decode(payload)
            found = self._payloads[payload] = {**decoded["data"], DEADLINE: decoded["deadline"]}
        return found

    def _content(self, promise: str, key: str, item: Item) -> Data:
        if _TABLE.data not in item:
            _broken(promise, f"an item without data: {short(key)}, {describe_item(item)}")
        if int(item[_TABLE.ttl]["N"]) != _expiry(item) // NS + 1:
            _broken(promise, f"the ttl of {short(key)} is not that of its expiry")
        return self.content(item[_TABLE.data]["B"])

    def _changed(self, promise: str, commit: Commit, key: str, was: Data, data: Data) -> None:
        if data.get("id") != was.get("id"):
            _broken(promise, f"{commit} put {data.get('id')} in the place of {was.get('id')}")
        expected = commit.apply(was)
        life = self.lives[key]
        # What it had stored already may be gone, and with it the version by which it would know that.
        again = life.foreign and commit.notes.landed and data == replay(commit.all_events(), was)
        if data != expected and not again:
            told = describe_events(commit.events())
            _broken(promise, f"{commit} ({told}) made {data} of {was}; it should be {expected}")
        if commit.applied and not life.foreign:
            _broken(promise, f"{commit} was applied again, under another version")
        life.states.append(data)
        commit.found_outdated = frozenset(
            stale(commit.outer_strict if commit.atomic else commit.counted_for(exclusive=True), was)
        )
        self._note(commit, life, key, data, commit.ops())

    def _note(self, commit: Commit, life: Life, key: str, data: Data, ops: list[Event]) -> None:
        events = commit.events()
        commit.applied += 1
        commit.result = data
        commit.keys.append(key)
        self.witness.wrote(life.history, commit, ops, data)
        if any(isinstance(event, Clear) for event in events):
            life.weights = {data["n"]} if "n" in data else set()
        else:
            new = life.states == [data]
            weight = sum(e.by for e in (commit.all_events() if new else events) if isinstance(e, Add) and e.key == "n")
            if weight:
                life.weights.add(int(weight))
        if commit.atomic:
            if commit.outer_notes is not None:
                changed = [
                    event.key for event in commit.notes.events if isinstance(event, Write | Remove | Add | Append)
                ]
                commit.outer_notes.overlay |= {each: data.get(each, ABSENT) for each in changed}
        else:
            commit.notes.landed = commit.upto

    def _is_known(self, data: Data) -> bool:
        return any(data.get("id") == life.states[-1].get("id", "") for life in self.lives.values() if not life.own)

    def _life(self, key: str) -> Life | None:
        return self.lives.get(key)

    def _read_only(self, commit: Commit, payload: bytes) -> None:
        """A commit that had nothing to store: all that it shows was there at once, some time after it was read.

        Exception: reads that are not consistent may show what a renewal in two steps had put and taken back.
        """
        if self.stale_reads and any(item[_TABLE.data]["B"] == payload for item in self.network.server.taken_back):
            return
        life = self._life(commit.key or "")
        # After a reply that was lost it shows what was there before, and what it has put perhaps.
        unsure = commit.notes.landed or commit.notes.overlay or commit.notes.unsure
        if life is not None and not life.foreign and not unsure:
            begun = 0 if self.stale_reads else commit.begun
            ops = commit.ops()
            self.witness.read(life.history, commit, ops, begun=begun, result=None if commit.atomic else commit.base())

    def _still_held(self, promise: str, commit: Commit) -> None:
        """What is put after a destroy may rest on what was read before: then that held when the session was deleted.

        Exception: if another request deleted it while the reply of this one's delete was lost, nobody knows which of them did.
        """
        life = self._life(commit.destroys or "")
        if life is None or self.scs_wrote or life.ended != f"destroyed by {commit}":
            return
        if wrong := stale(commit.before, life.states[-1]):
            _broken(promise, f"{commit} stored what rests on {', '.join(wrong)}, which had changed before it destroyed")

    def _may_begin_its_own(self, promise: str, commit: Commit) -> None:
        """The loser of two renewals begins a session of its own only if it read nothing that is in the other's."""
        if wrong := self._holds_old(commit):
            _broken(promise, f"{commit} lost its renewal and began a session, but it had read {', '.join(wrong)}")

    def _holds_old(self, commit: Commit) -> list[str]:
        free = self.promises.login_keys | self.promises.mergeable
        events = commit.all_events()
        if self.promises.level == "merge":
            # What it overwrote itself; a list may still hold what others put into it.
            free |= {
                key for key, value in _left_by(events).items() if not isinstance(value, list)
            } - commit.notes.popped
        reads = reads_of(events, commit.base(), UNIVERSE)
        return [f"{each}" for each in reads if not (isinstance(each, Read | Has) and each.key in free)]

    def _must_not_end_well(self, commit: Commit, *, perhaps: bool = False) -> bool:
        """Return True if a request whose session has ended meanwhile is stale; with *perhaps*, if it may be."""
        if not self.promises.checks or self.scs_wrote:
            return False
        events = commit.all_events()
        if not (commit.changes() or commit.renews or any(isinstance(e, Write) and e.key == DEADLINE for e in events)):
            return False
        if not perhaps and commit.renews and commit.key in self.retired and not self._holds_old(commit):
            # It might have begun a session of its own, and had nothing to put in it.
            return False
        if self.promises.level == "serialize":
            return bool(reads_of(events, commit.base(), UNIVERSE))
        return any(key in commit.notes.base for key in commit.notes.popped)

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

    def _end(self, key: str, how: str) -> None:
        life = self.lives[key]
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


def without_deadline(data: Data) -> Data:
    return {key: value for key, value in data.items() if key != DEADLINE}


def _left_by(events: Iterable[Event]) -> dict[str, object]:
    """The values that these events have put, as far as they are still there."""
    put: dict[str, object] = {}
    for event in events:
        match event:
            case Write(key, value) if key != DEADLINE:
                put[key] = value
            case Remove(key):
                put.pop(key, None)
            case Clear():
                put.clear()
    return put


def _expiry(item: Item) -> int:
    return int(item[_TABLE.expiry]["N"])


def _broken(promise: str, what: str) -> NoReturn:
    raise Violation(promise, what)
