"""What a request does to a session: random things, through the real session code, one low-level call at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from dynamostore import Record, StoreError, items
from dynamostore._steps import Call, Plan, issue
from session import _lifecycle
from session._lifecycle import State
from session.errors import SessionError

from .drivers import Driver
from .intent import Commit, Intent
from .network import Attempt

if TYPE_CHECKING:
    from .scheduler import World

# The plainest first: what a shrunk run falls back on.
DOINGS: Final[Sequence[str]] = (
    *("look",) * 2,
    *("increment",) * 4,
    *("put",) * 3,
    *("append",) * 2,
    *("save",) * 2,
    *("renew",) * 2,
    *("remove", "destroy", "clear", "fail"),
)
KEYS: Final = ("a", "b")
LAST_WEIGHT: Final = 61


class Boom(Exception):
    """What a request's own code may raise."""


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
        "call", "client", "commit", "commits", "foreign", "held", "intent", "issued_ns", "last_read", "name", "outcome", "plan", "presented",
        "process", "refused", "session", "state", "step", "tries", "wake_ns", "world",
    )  # fmt: skip

    def __init__(self, world: World, name: str, process: Process, client: int, presented: str | None) -> None:
        self.world = world
        self.name = name
        self.process = process
        self.client = client
        self.presented = presented
        self.state: State = _lifecycle.begin(presented, process.policy)
        self.session = process.driver.session(self.state)
        self.intent = Intent({})
        self.commit: Commit | None = None
        self.commits = 0
        self.foreign = False
        self.refused = False
        self.tries = 0
        self.wake_ns = self.issued_ns = 0
        self.held: Attempt | None = None
        self.last_read: tuple[int, Any] | None = None
        self.outcome = ""
        self.step: Any = None
        self.call: Any = None
        self.plan: Plan[None] = self._serve()

    def _serve(self) -> Plan[None]:
        draw = self.world.draw
        try:
            for _ in range(1 + draw(4)):
                yield from self._do(DOINGS[draw(len(DOINGS))])
            yield from self._commit()
            self.outcome = "done"
        except (StoreError, SessionError, Boom) as error:
            _lifecycle.discard(self.state)
            self.outcome = type(error).__name__
            self.world.failed(self, error)

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
        world, session, intent = self.world, self.session, self.intent
        if doing == "save":
            yield from self._commit()
            return
        if doing == "fail":
            world.tell(self, "fails")
            raise Boom
        if doing == "destroy":
            session.destroy()
            self.intent = Intent({})
            world.tell(self, "destroy()")
            return
        if not self.state.loaded:
            yield from self._load()
            intent = self.intent
        match doing:
            case "increment" if world.weight < LAST_WEIGHT:
                self._be_somebody()
                weight = 1 << world.weight
                world.weight += 1
                session.increment("n", weight)
                intent.increment("n", weight)
                world.tell(self, f"increment n by {weight}")
            case "put":
                self._be_somebody()
                key, value = KEYS[draw_key(world)], world.unique("v")
                session[key] = value
                intent.put(key, value)
                world.tell(self, f"put {key}={value!r}")
            case "append":
                self._be_somebody()
                value = world.unique("v")
                if "list" in session:
                    items = session["list"]
                    assert isinstance(items, list)
                    items.append(value)
                else:
                    session["list"] = [value]
                intent.append("list", value)
                world.tell(self, f"append {value!r} to list")
            case "renew":
                session.renew_token()
                world.tell(self, "renew_token()")
            case "remove":
                key = KEYS[draw_key(world)]
                session.remove(key)
                intent.remove(key)
                world.tell(self, f"remove {key}")
            case "clear":
                # Its id stays, so that the session can be told.
                mine = session.get("id")
                session.clear()
                intent.clear()
                if mine is not None:
                    session["id"] = mine
                    intent.put("id", mine)
                world.tell(self, "clear()")
            case _:
                world.tell(self, "looks")

    def _be_somebody(self) -> None:
        """A session that is new gets its id."""
        if "id" not in self.session:
            mine = self.world.unique("s")
            self.session["id"] = mine
            self.intent.put("id", mine)

    def _load(self) -> Plan[None]:
        assert self.state.token is not None
        key = self.process.policy.key(self.state.token)
        oracle = self.world.oracle
        begun, begun_ns = len(oracle.destroyed), self.world.network.now_ns
        yield from self.process.driver.load(self.session)
        oracle.loaded(self.state, key, begun, begun_ns, self.last_read)
        self.intent = oracle.intent_after(self.state.record)

    def _commit(self) -> Plan[None]:
        world, state, policy = self.world, self.state, self.process.policy
        key = policy.key(state.token) if state.token is not None else None
        self.commits += 1
        life = world.oracle.lives.get(self.intent.data.get("id", ""))
        self.commit = commit = Commit(
            self.name,
            self.commits,
            self.intent,
            key,
            key if state.destroying else None,
            state.renewing,
            world.network.now_ns,
            len(life.states) if life else 0,
        )
        try:
            yield from self.process.driver.commit(self.session)
        except (StoreError, SessionError):
            if commit.destroys is not None and not state.destroying:
                # That much was acknowledged before the rest failed.
                world.oracle.told_destroyed(commit, commit.destroys)
            raise
        finally:
            self.commit = None
        world.acknowledged(self, commit)
        self.intent = world.oracle.intent_after(state.record)


def _call(operation: str, **arguments: object) -> Call[Any]:
    return Call(operation, arguments)


def draw_key(world: World) -> int:
    return world.draw(len(KEYS))
