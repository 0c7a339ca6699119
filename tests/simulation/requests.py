"""What a request does to a session: random things, through the real session code, one low-level call at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dynamostore import Record, StoreError, ThrottledError, UnavailableError, items
from dynamostore.hidden import Hidden
from dynamostore.instants import from_ns
from dynamostore.steps import Call, Plan, issue
from session import SessionConflict, SessionData, SessionStateError, _state
from session._state import State
from session.errors import SessionError

from .drivers import Driver
from .history import DEADLINE, Append, Event, Read, Remove, Write
from .intent import UNIVERSE, Commit
from .model import NS
from .network import Attempt
from .notes import Data, Notes, carried, change, reads_of

if TYPE_CHECKING:
    from .scheduler import World

# The plainest first: what a shrunk run falls back on.
DOINGS: Final[Sequence[str]] = (
    *("look",) * 2,
    *("branch",) * 3,
    *("put",) * 3,
    *("get",) * 2,
    *("increment",) * 2,
    *("append",) * 2,
    *("save",) * 2,
    *("atomic",) * 2,
    *("renew",) * 2,
    *("pop", "in", "setdefault", "add", "remove", "iterate", "set deadline", "read deadline"),
    *("destroy", "clear", "empty", "fail"),
)
WITHIN: Final[Sequence[str]] = ("branch", "pop", "put", "get", "increment", "in", "setdefault", "append")
"""What an atomic step does."""
RENEWALS: Final[Sequence[tuple[bool, _state.Deadline]]] = ((False, "new"), (True, "new"), (False, "keep"))
DEADLINES_NS: Final = (7200 * NS, 60 * NS, 5 * NS)
KEYS: Final = ("a", "b", "user")
READ_KEYS: Final = (*KEYS, "n", "list", "sum")
LAST_WEIGHT: Final = 61


class Boom(Exception):
    """What a request's own code may raise."""


Act: TypeAlias = Callable[[Notes, SessionData], str]


class Process:
    """A process that serves requests, with a clock and a driver of its own."""

    def __init__(self, name: str, driver: Driver) -> None:
        self.name = name
        self.driver = driver
        self.plans = driver.plans
        self.policy = driver.policy


class Request:
    """One request: its session, its plan, and where it stands on the network (see `network.Sender`)."""

    __slots__ = (
        "before",
        "begun",
        "call",
        "client",
        "commit",
        "commits",
        "dated",
        "foreign",
        "held",
        "issued_ns",
        "last_read",
        "name",
        "notes",
        "outcome",
        "outdated",
        "plan",
        "presented",
        "process",
        "read_before",
        "refused",
        "session",
        "state",
        "step",
        "tries",
        "unknown",
        "wake_ns",
        "world",
    )  # fmt: skip

    def __init__(self, world: World, name: str, process: Process, client: int, presented: str | None) -> None:
        self.world = world
        self.name = name
        self.process = process
        self.client = client
        self.presented = presented
        self.state: State = _state.begin(Hidden(presented), process.policy)
        self.session = process.driver.session(self.state)
        self.notes = self._noting({})
        self.before: list[Event] = []
        self.read_before = False
        self.begun = 0
        self.dated = False
        self.commit: Commit | None = None
        self.commits = 0
        self.foreign = False
        self.refused = False
        self.tries = 0
        self.wake_ns = self.issued_ns = 0
        self.held: Attempt | None = None
        self.last_read: tuple[int, Any] | None = None
        self.outdated: set[str] = set()
        self.unknown = False
        self.outcome = ""
        self.step: Any = None
        self.call: Any = None
        self.plan: Plan[None] = self._serve()

    def _serve(self) -> Plan[None]:
        draw = self.world.draw
        last = False
        try:
            for _ in range(1 + draw(4)):
                yield from self._do(DOINGS[draw(len(DOINGS))])
            last = True
            yield from self._commit()
            self.outcome = "done"
        except (StoreError, SessionError, Boom) as error:
            self.outcome = type(error).__name__
            self.world.failed(self, error)
            if last and isinstance(error, StoreError):
                _state.discard(self.state)
            else:
                yield from self._abandon()

    def _abandon(self) -> Plan[None]:
        """Leave the block by an exception: a logout counts all the same."""
        state = self.state
        self.commit = commit = self._new_commit(self._noting({}))
        self.world.tell(self, "discards")
        try:
            yield from self.process.driver.abandon(self.session)
        except StoreError as error:
            self.world.failed(self, error)
            if commit.destroys is not None and not state.destroying:
                self.world.oracle.told_destroyed(commit, commit.destroys)
        else:
            if commit.destroys is not None:
                self.world.oracle.told_destroyed(commit, commit.destroys)
                self.world.counts["destroys by requests that failed"] += 1
        finally:
            self.commit = None

    def found(self) -> Plan[None]:
        """Begin a session, and do nothing else."""
        yield from self._do("put")
        yield from self._do("increment")
        yield from self._commit()
        self.outcome = "done"

    def overwrite(self) -> Plan[None]:
        """A request to SCS for Go: it reads the item, changes its data, and puts the whole of it; or deletes it."""
        self.foreign = True
        draw, plans = self.world.draw, self.process.plans
        self.outcome = "done"
        if self.state.token is None:
            return
        key = items.key(plans.table, self.process.policy.key(self.state.token))
        reply = yield from issue(_call("get_item", TableName=plans.table.name, Key=key, ConsistentRead=True))
        item = reply.get("Item")
        if item is None or plans.table.data not in item or items.decode_expiry(plans.table, item) < plans.clock():
            return
        if draw(4) == 3:
            yield from issue(_call("delete_item", TableName=plans.table.name, Key=key))
            return
        policy = self.process.policy
        data, deadline_ns = policy.codec.decode(item[plans.table.data]["B"])
        data[KEYS[draw_key(self.world)]] = self.world.unique("go")
        record = Record.at(item[plans.table.token]["S"], policy.codec.encode(data, deadline_ns), deadline_ns, 0)
        yield from issue(_call("put_item", TableName=plans.table.name, Item=items.encode(plans.table, record)))

    def _do(self, doing: str) -> Plan[None]:
        world, session = self.world, self.session
        if doing == "save":
            yield from self._going_on(self._commit())
            return
        if doing == "fail":
            world.tell(self, "fails")
            raise Boom
        if doing == "destroy":
            self._destroy()
            return
        if not self.state.loaded:
            yield from self._load()
        match doing:
            case "atomic":
                yield from self._going_on(self._atomic(), atomic=True)
            case "renew":
                grace, deadline = RENEWALS[world.draw(len(RENEWALS))]
                session.renew_token(grace=grace, deadline=deadline)
                if deadline == "new" and not self.dated:
                    self.notes.note(Write(DEADLINE, self.process.policy.new_deadline_ns()))
                world.tell(self, f"renew_token(grace={grace}, deadline={deadline!r})")
            case "set deadline":
                deadline_ns = (self.process.policy.clock() + DEADLINES_NS[world.draw(len(DEADLINES_NS))]) // 1000 * 1000
                session.set_deadline(from_ns(deadline_ns))
                self.dated = True
                self.notes.note(Write(DEADLINE, deadline_ns))
                world.tell(self, f"set_deadline({deadline_ns})")
            case "read deadline" if self.state.record is not None and not self.state.destroying:
                # To read it tells the same as what it was read as: what was read, or put since.
                _ = session.deadline
                self.notes.note(Read(DEADLINE, self.state.deadline_ns))
                world.tell(self, "reads the deadline")
            case "clear" if self.state.record is not None:
                # Its id stays, so that the session can be told.
                mine = session.peek("id")
                self.notes.clear(session)
                if mine is not None:
                    self.notes.put(session, "id", mine)
                world.tell(self, "clear()")
            case "look" | "read deadline" | "clear":
                world.tell(self, "looks")
            case _:
                for act in _drawn(world, doing):
                    self._be_somebody(doing)
                    world.tell(self, act(self.notes, session))

    def _destroy(self) -> None:
        # The order of the changes does not matter: they are not made. What was put before is free.
        commit = self._new_commit(self.notes)
        commit.renews = True
        if not self.state.destroying:
            there = self.state.record is not None
            self.before = commit.counted() if there else []
            self.read_before = there and bool(reads_of(commit.all_events(), commit.base(), UNIVERSE))
        self.session.destroy()
        self.dated = False
        self.notes = self._noting({})
        self.world.tell(self, "destroy()")

    def _be_somebody(self, doing: str) -> None:
        """A session that is new gets its id."""
        if self.state.record is None and doing in _PUTS and self.session.peek("id") is None:
            self.notes.put(self.session, "id", self.world.unique("s"))

    def _load(self) -> Plan[None]:
        assert self.state.token is not None
        key = self.process.policy.key(self.state.token)
        oracle = self.world.oracle
        begun, begun_ns = len(oracle.destroyed), self.world.network.now_ns
        self.begun = oracle.witness.tick()
        yield from self.process.driver.load(self.session)
        oracle.loaded(self.state, key, begun, begun_ns, self.last_read)
        self.notes = self._noting(self._stored())

    def _stored(self) -> Data:
        record = self.state.record
        return self.world.oracle.content(record.data) if record is not None else {}

    def _noting(self, base: Data) -> Notes:
        return Notes(base, self.world.oracle.promises.mergeable)

    def _new_commit(self, notes: Notes) -> Commit:
        state, policy = self.state, self.process.policy
        token = self.presented if state.ended else state.token
        key = policy.key(token) if token is not None else None
        # A logout counts for the token that the client sent, also if nothing was found under it.
        sent = state.token or (None if state.destroyed else self.presented)
        destroys = policy.key(sent) if state.destroying and sent is not None else None
        self.commits += 1
        return Commit(
            request=self.name,
            number=self.commits,
            promises=self.world.oracle.promises,
            notes=notes,
            upto=len(notes.events),
            key=key,
            destroys=destroys,
            renews=state.renewing,
            begun_ns=self.world.network.now_ns,
            begun=self.begun,
            before=self.before,
            read_before=self.read_before,
            had_ended=state.ended,
            outdated=frozenset(self.outdated),
            unknown=self.unknown,
        )

    def _commit(self) -> Plan[None]:
        state, oracle = self.state, self.world.oracle
        self.commit = commit = self._new_commit(self.notes)
        try:
            yield from self.process.driver.commit(self.session)
        except (StoreError, SessionError) as error:
            if commit.destroys is not None and not state.destroying:
                # That much was acknowledged before the rest failed.
                oracle.told_destroyed(commit, commit.destroys)
            if isinstance(error, SessionConflict):
                oracle.refused(commit, error, state)
            raise
        finally:
            self.commit = None
        self.world.acknowledged(self, commit)
        if commit.result is not None:
            # What it shows from now on is what it stored then, also if others have written since.
            self.begun = commit.applied_at
            self.outdated |= commit.found_outdated
            self._starts_from(commit.result, carried(self.notes, commit.events(), commit.result, UNIVERSE))
        elif state.record is None:
            self.notes = self._noting({})
        else:
            base, before = commit.base(), self.notes
            self._starts_from(base, carried(before, commit.events(), base, UNIVERSE))
            self.notes.unsure = before.unsure or bool(before.landed or before.overlay)
            # It still shows what was there before an atomic step whose reply was lost.
            self.notes.overlay = before.overlay

    def _atomic(self) -> Plan[None]:
        """Decide on what is stored now; the same again for each time that it runs."""
        world, state, outer = self.world, self.state, self.notes
        oracle = world.oracle
        draw = world.draw
        acts = [act for _ in range(1 + draw(2)) for act in _drawn(world, WITHIN[draw(len(WITHIN))])]
        mine = self.world.unique("s") if state.record is None else None
        self.begun = oracle.witness.tick() if state.record is None else self.begun
        commit = self._new_commit(outer)
        commit.renews = False
        if state.record is not None:
            commit.outer, commit.outer_strict = (commit.counted_for(exclusive=strict) for strict in (False, True))
            commit.outer_outdated = commit.outdated_for(exclusive=False), commit.outdated_for(exclusive=True)
        commit.outer_notes = outer
        outer_events = commit.events()
        commit.atomic, commit.notes = True, self._noting({})
        begun = oracle.witness.tick()
        commit.begun = 0 if oracle.stale_reads else begun

        def change_it(s: SessionData) -> None:
            data = s._reading().data
            commit.notes = notes = self._noting({key: s.peek(key) for key in data})
            if mine is not None:
                notes.put(s, "id", mine)
            for act in acts:
                act(notes, s)

        world.tell(self, "atomic")
        self.commit = commit
        try:
            yield from self.process.driver.atomic(self.session, change_it)
        except SessionStateError:
            world.tell(self, "atomic makes no sense now")
            return
        except SessionConflict as error:
            oracle.refused(commit, error, state)
            raise
        finally:
            self.commit = None
        inner = commit.notes
        world.acknowledged(self, commit)
        if state.record is None:
            return
        if commit.result is not None:
            stored, self.begun = commit.result, commit.applied_at
            self.outdated |= commit.found_outdated
        else:
            self.begun = commit.begun
            stored = {**inner.base, DEADLINE: self._stored()[DEADLINE]}
        pending = [event for event in outer_events if change(event)]
        if commit.key is None:
            # The session has begun with the deadline that was set before.
            pending = [event for event in pending if not (isinstance(event, Write) and event.key == DEADLINE)]
        reads = reads_of(outer_events, stored, UNIVERSE)
        if not outer._cleared:
            changed = [event for event in inner.events if isinstance(event, Write | Remove | Append)]
            reads += reads_of(inner.events, stored, UNIVERSE)
            reads += reads_of([Read(event.key, None) for event in changed], stored, UNIVERSE)
        popped = outer.popped
        self._starts_from(stored, reads, listed=outer.listed)
        self.notes.popped |= popped
        for event in pending:
            self.notes.again(event)

    def _going_on(self, plan: Plan[None], *, atomic: bool = False) -> Plan[None]:
        """Some requests do not end when the store fails them: they go on, and save again later."""
        world = self.world
        there = self.state.record is not None and not self.state.destroying and not world.options.scs
        try:
            yield from plan
        except (UnavailableError, ThrottledError) as error:
            if not (there and world.goes_on and world.draw(2)):
                raise
            world.counts["requests that went on"] += 1
            self.unknown = True
            if self.state.tried and not atomic:
                self.notes.tried.append(len(self.notes.events))
            world.tell(self, f"goes on after {type(error).__name__}")

    def _starts_from(self, base: Data, reads: list[Event], listed: frozenset[str] | None = frozenset()) -> None:
        before, self.notes = self.notes, self._noting(base)
        self.notes.start_from(reads, listed=before.listed is not None)
        if listed:
            self.notes.listed = listed


_PUTS: Final = frozenset(("branch", "put", "increment", "append", "setdefault", "add"))


def _drawn(world: World, doing: str) -> list[Act]:
    """Return what a request does now, its choices made: it can be done twice."""
    match doing:
        case "increment" if world.weight < LAST_WEIGHT:
            weight = 1 << world.weight
            world.weight += 1
            return [lambda notes, s: notes.increment(s, "n", weight) or f"increment n by {weight}"]
        case "add" if world.weight < LAST_WEIGHT:
            number = 1 << world.weight
            world.weight += 1
            return [lambda notes, s: notes.add(s, "sum", number) or f"sum += {number}"]
        case "append":
            value = world.unique("v")
            return [lambda notes, s: notes.append(s, "list", value) or f"append {value!r} to list"]
        case "put" | "setdefault" | "branch":
            at, value = draw_key(world), world.unique("v")
            key = KEYS[at]
            if doing == "put":
                return [lambda notes, s: notes.put(s, key, value) or f"put {key}={value!r}"]
            if doing == "setdefault":
                return [lambda notes, s: notes.setdefault(s, key, value) or f"setdefault {key}={value!r}"]
            # The plainest is to decide on another key.
            other = KEYS[(at + 1 + draw_key(world)) % len(KEYS)]
            return [lambda notes, s: _branch(notes, s, other, key, value)]
        case "pop" | "in" | "remove":
            key = KEYS[draw_key(world)]
            if doing == "pop":
                return [lambda notes, s: notes.pop(s, key) or f"pop {key}"]
            if doing == "in":
                return [lambda notes, s: f"{key} in it: {notes.has(s, key)}"]
            return [lambda notes, s: notes.remove(s, key) or f"remove {key}"]
        case "iterate":
            return [lambda notes, s: notes.iterate(s) or "lists the keys"]
        case "empty":
            return [lambda notes, s: notes.empty(s) or "asks if it is empty"]
    key = READ_KEYS[world.draw(len(READ_KEYS))]
    return [lambda notes, s: f"get {key}: {notes.get(s, key)!r}"]


def _branch(notes: Notes, s: SessionData, read: str, key: str, value: str) -> str:
    """Decide on one key what becomes of another."""
    there = notes.get(s, read)
    if isinstance(there, str) and there.endswith(("0", "5")):
        notes.remove(s, key)
        return f"{read} is {there!r}, so remove {key}"
    notes.put(s, key, value)
    return f"{read} is {there!r}, so put {key}={value!r}"


def _call(operation: str, **arguments: object) -> Call[Any]:
    return Call(operation, arguments)


def draw_key(world: World) -> int:
    return world.draw(len(KEYS))
