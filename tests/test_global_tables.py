"""Global tables: what holds in several Regions and what does not, renewals without transactions, and what is told of replicas.

What the fake tables answer, and which documentation says so, is in `tests.global_tables`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, TypeAlias

import pytest
import yaml

from dynamostore import (
    AccessDeniedError,
    AsyncDynamoStore,
    Conflict,
    DynamoStore,
    ItemTooLargeError,
    Record,
    Store,
    StoreError,
    Table,
    TableSchemaError,
    ThrottledError,
    UnavailableError,
)
from dynamostore.admin import Description, Finding, adescribe, cloudformation, describe, doctor, terraform
from dynamostore.admin import Replica as AdminReplica
from dynamostore.cli import main
from dynamostore.hidden import Hidden
from dynamostore.instants import Clock
from dynamostore.plans import faults
from dynamostore.plans.verbs import Plans
from dynamostore.steps import Call, Pause, Plan, Step
from dynamostore.testing import BlockingStore, FakeClock, StoreContract
from session import SessionManager, Status

from .fakes import Watched
from .faulty import Blocking, Driver, FaultyDynamoDB, Reply, Request
from .global_tables import EventualTable, Replica, StrongTable
from .simulation.model import ServerError

HOUR = timedelta(hours=1)
EAST, OTHER = "us-east-1", "us-east-2"
EUROPE = "eu-west-1"


@pytest.fixture
def later(clock: FakeClock) -> datetime:
    return clock.now + HOUR


@pytest.fixture
def strong(clock: FakeClock) -> StrongTable:
    return StrongTable(clock)


@pytest.fixture
def eventual(clock: FakeClock) -> EventualTable:
    return EventualTable(clock)


# Eventual consistency: what docs/guides/global-tables.md says does not hold between Regions


def test_with_eventual_consistency_a_touch_in_one_region_undoes_a_logout_in_another(
    eventual: EventualTable, clock: FakeClock, later: datetime
) -> None:
    here, there = eventual[EAST].store(), eventual[EUROPE].store()
    record = here.create("token", b"data", later)
    eventual.replicate()
    here.delete("token")
    # The other Region has not heard of it: its condition holds on its own copy.
    there.touch(record, later + HOUR)
    eventual.replicate()
    assert here.find("token") == there.find("token") != None  # noqa: E711 (a chain)
    assert eventual.contents[0] == eventual.contents[1]


def test_in_one_region_it_does_not(eventual: EventualTable, later: datetime) -> None:
    here = eventual[EAST].store()
    record = here.create("token", b"data", later)
    eventual.replicate()
    here.delete("token")
    with pytest.raises(Conflict):
        eventual[EAST].store().touch(record, later + HOUR)
    eventual.replicate()
    assert eventual.contents == [{}, {}]


def test_with_eventual_consistency_the_earlier_of_two_acknowledged_writes_is_lost(
    eventual: EventualTable, later: datetime
) -> None:
    here, there = eventual[EAST].store(), eventual[EUROPE].store()
    record = here.create("token", b"data", later)
    eventual.replicate()
    here.replace(record, b"here", later)
    winner = there.replace(record, b"there", later)
    eventual.replicate()
    assert here.find("token") == there.find("token") == winner


def test_with_eventual_consistency_a_consistent_read_is_one_of_the_regions_own_copy(
    eventual: EventualTable, later: datetime
) -> None:
    record = eventual[EAST].store().create("token", b"data", later)
    assert eventual[EUROPE].store().find("token") is None
    eventual.replicate()
    assert eventual[EUROPE].store().find("token") == record


def test_with_eventual_consistency_a_read_in_one_region_evicts_what_another_has_prolonged(
    eventual: EventualTable, clock: FakeClock, later: datetime
) -> None:
    here, there = eventual[EAST].store(), eventual[EUROPE].store()
    record = here.create("token", b"data", later)
    eventual.replicate()
    there.touch(record, later + HOUR)
    clock.advance(HOUR * 1.5)
    assert eventual[EAST].store(evict_expired=False).find("token") is None
    assert there.find("token") is not None
    assert here.find("token") is None
    eventual.replicate()
    assert there.find("token") is None


@pytest.mark.parametrize(("arrives", "live"), [("old", []), ("new", ["old", "new"])])
def test_with_eventual_consistency_another_region_sees_half_of_a_renewal(
    eventual: EventualTable, later: datetime, arrives: str, live: list[str]
) -> None:
    here, there = eventual[EAST].store(), eventual[EUROPE].store()
    record = here.create("old", b"data", later)
    eventual.replicate()
    here.rename(record, "new", b"data", later)
    eventual.replicate(arrives)
    assert [token for token in ("old", "new") if there.find(token)] == live
    eventual.replicate()
    assert [token for token in ("old", "new") if there.find(token)] == ["new"]


def test_with_eventual_consistency_sessions_whose_requests_go_to_one_region_are_as_in_one(
    eventual: EventualTable, clock: FakeClock
) -> None:
    here = SessionManager(eventual[EAST].store(), clock=clock)
    with here.session(None) as s:
        s.put_string("user", "Ada")
    with here.session(s.token) as slow:
        slow.put_string("seen", "home")
        with here.session(s.token) as fast:
            fast.destroy()
    assert slow.status is Status.DESTROYED
    eventual.replicate()
    # Moved to another Region when all has arrived there: nothing is back.
    with SessionManager(eventual[EUROPE].store(), clock=clock).session(s.token) as moved:
        assert moved.get_string("user") == ""


# Strong consistency: the contract, on real connections


class Endpoint:
    """The origin of a server that goes on running while its tables come and go."""

    replica: Replica

    async def __call__(self, request: Request) -> Reply:
        return await self.replica(request)


ENDPOINT = Endpoint()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with FaultyDynamoDB(ENDPOINT) as server:
        yield server.url


@pytest.fixture(scope="module", params=["sync", "asyncio"])
def wired(request: pytest.FixtureRequest, url: str) -> Iterator[Callable[[Table, Clock], Store]]:
    """Makes a store on one of the package's own clients."""
    with Driver(request.param) as driver:
        client = driver.client(url, attempts=1)

        def store(table: Table, clock: Clock) -> Store:
            if isinstance(client, Blocking):
                return BlockingStore(AsyncDynamoStore(client.client, table, clock=clock), driver.loop)
            return DynamoStore(client, table, clock=clock)

        yield store
        client.close()


class TestContract(StoreContract):
    """All that a store promises, on a table with strong consistency."""

    @pytest.fixture
    def store(self, wired: Callable[[Table, Clock], Store], clock: FakeClock) -> Store:
        ENDPOINT.replica = StrongTable(clock)[EAST]
        return wired(Table(), clock)


# Strong consistency: what a table without transactions costs


def test_a_refused_transaction_is_remembered_for_an_hour(
    strong: StrongTable, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(strong[EAST])
    store = watched.store(Table(), clock)
    record = store.create("0", b"data", clock.now + 9 * HOUR)
    watched.taken()
    in_two = ["put_item", "update_item"]
    calls: list[str] = []
    for n in range(1, 4):
        record = store.rename(record, str(n), b"data", record.expiry)
        calls += watched.taken()
    assert calls == ["transact_write_items", *in_two * 3]
    clock.advance(HOUR)
    record = store.rename(record, "later", b"data", record.expiry)
    assert watched.taken() == ["transact_write_items", *in_two]
    # What was remembered when the clock was wrong does not last.
    clock.advance(-3 * HOUR)
    store.rename(record, "earlier", b"data", record.expiry)
    assert watched.taken() == ["transact_write_items", *in_two]
    (warning,) = caplog.records
    assert (warning.name, warning.levelname) == ("dynamostore", "WARNING")
    assert "scs_session refuses transactions" in warning.getMessage()


def test_a_table_that_has_become_an_ordinary_one_has_transactions_within_the_hour(
    strong: StrongTable, clock: FakeClock
) -> None:
    # "Deleting two replicas converts the remaining replica to a single-Region table": HOW, in `tests.global_tables`.
    ordinary = EventualTable(clock)[EAST]
    replica: list[Replica] = [strong[EAST]]

    class Client:
        def __getattr__(self, name: str) -> object:
            return getattr(replica[0], name)

    watched = Watched(Client())
    store = watched.store(Table(), clock)
    store.rename(store.create("a", b"data", clock.now + HOUR), "b", b"data", clock.now + HOUR)
    replica[0] = ordinary
    clock.advance(HOUR)
    record = store.create("c", b"data", clock.now + HOUR)
    watched.taken()
    store.rename(record, "d", b"data", clock.now + HOUR)
    assert watched.taken() == ["transact_write_items"]


@pytest.mark.parametrize(
    "refusal",
    [
        ("ValidationException", "Transactions are not supported"),
        ("ValidationException", ""),
        ("UnsupportedOperationException", "no"),
        ("UnknownOperationException", ""),
    ],
    ids=str,
)
def test_whichever_error_says_so(
    wired: Callable[[Table, Clock], Store], strong: StrongTable, clock: FakeClock, refusal: tuple[str, str]
) -> None:
    strong.no_transactions = refusal
    ENDPOINT.replica = strong[EAST]
    store = wired(Table(), clock)
    record = store.create("old", b"data", clock.now + HOUR)
    new = store.rename(record, "new", b"data", record.expiry)
    assert (store.find("old"), store.find("new")) == (None, new)


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (("ValidationException", "The provided key element does not match the schema"), TableSchemaError),
        (("ValidationException", "Item size has exceeded the maximum allowed size"), ItemTooLargeError),
        (("AccessDeniedException", "no"), AccessDeniedError),
        (("ThrottlingException", "later"), ThrottledError),
        (("TransactionInProgressException", ""), UnavailableError),
        (("IdempotentParameterMismatchException", ""), StoreError),
    ],
    ids=str,
)
def test_no_other_error_does(
    wired: Callable[[Table, Clock], Store],
    strong: StrongTable,
    clock: FakeClock,
    refusal: tuple[str, str],
    kind: type[StoreError],
) -> None:
    strong.no_transactions = refusal
    ENDPOINT.replica = strong[EAST]
    store = wired(Table(), clock)
    record = store.create("old", b"data", clock.now + HOUR)
    with pytest.raises(StoreError) as caught:
        store.rename(record, "new", b"data", record.expiry)
    assert (type(caught.value), caught.value.operation) == (kind, "TransactWriteItems")
    assert (store.find("old"), store.find("new")) == (record, None)


def test_a_write_that_another_region_is_in_the_way_of_is_made_again(strong: StrongTable, clock: FakeClock) -> None:
    store = strong[EAST].store()
    record = store.create("old", b"data", clock.now + HOUR)
    strong.busy = 3
    record = store.replace(record, b"newer", record.expiry)
    strong.busy = 3
    new = store.rename(record, "new", b"data", record.expiry)
    assert strong[OTHER].store().find("new") == new
    strong.busy = 99
    with pytest.raises(ThrottledError):
        store.touch(new, new.expiry + HOUR)


def test_a_renewal_in_one_region_and_a_logout_in_another(strong: StrongTable, clock: FakeClock) -> None:
    here = SessionManager(strong[EAST].store(), clock=clock)
    there = SessionManager(strong[OTHER].store(), clock=clock)
    with here.session(None) as s:
        s.put_string("user", "Ada")
    old = s.token
    with here.session(old) as s:
        s.renew_token()
    with there.session(old) as gone:
        gone.destroy()
    with here.session(s.token) as after:
        assert after.get_string("user") == ""
    with there.session(None) as s:
        s.put_string("user", "Ada")
    with here.session(s.token) as slow:
        slow.renew_token()
        with there.session(s.token) as fast:
            fast.destroy()
    assert slow.status is Status.DESTROYED
    assert [key for key, item in strong.server(EAST).items.items() if "data" in item] == []


# Strong consistency: a renaming in two steps, wherever it stops and whatever comes between


class Choices:
    """Makes choices, so that of a number of runs each makes others, until all have been made."""

    def __init__(self) -> None:
        self._made: list[tuple[int, int]] = []
        self._next = 0

    def choose(self, among: int) -> int:
        if self._next == len(self._made):
            self._made.append((0, among))
        choice, _ = self._made[self._next]
        self._next += 1
        return choice

    def runs(self) -> Iterator[Choices]:
        while True:
            self._next = 0
            yield self
            del self._made[self._next :]
            while self._made and self._made[-1][0] + 1 == self._made[-1][1]:
                self._made.pop()
            if not self._made:
                return
            choice, among = self._made.pop()
            self._made.append((choice + 1, among))


class Fate(Enum):
    """What becomes of a call."""

    FINE = "fine"
    REPEATED = "its reply is lost, and it is sent again"
    UNKNOWN = "its reply is lost, for good"
    NEVER = "it does not arrive"
    DENIED = "it is denied"
    KILLED = "the process dies before it"


class Party:
    """A plan that is run on a replica, call by call."""

    def __init__(self, plan: Plan[Any], replica: Replica) -> None:
        self.result: Any = None
        self.error: Exception | None = None
        self.over = self.was_killed = False
        self.struck = ""
        """The call that did not end well."""
        self._plan = plan
        self._replica = replica
        self._advance(lambda: next(plan))

    def go(self, fate: Fate = Fate.FINE) -> None:
        """Have the next call meet its fate."""
        if isinstance(self.step, Pause):
            self._advance(lambda: self._plan.send(None))
            return
        call, method = self.step, getattr(self._replica, self.step.operation)
        if fate is not Fate.FINE:
            self.struck = call.operation
        if fate is Fate.KILLED:
            self.over = self.was_killed = True
            self._plan.close()
            return
        try:
            reply = _meet(fate, lambda: method(**call.arguments))
        except (ServerError, TimeoutError) as raised:
            if isinstance(raised, ServerError):
                raised.response["ResponseMetadata"]["RetryAttempts"] = int(fate is Fate.REPEATED)
            error = faults.explain(raised, call.operation, "scs_session")
            self._advance(lambda: self._plan.throw(error))
        else:
            self._advance(lambda: self._plan.send(reply))

    def _advance(self, act: Callable[[], Step]) -> None:
        try:
            self.step = act()
        except StopIteration as end:
            self.over, self.result = True, end.value
        except StoreError as error:
            self.over, self.error = True, error


def _meet(fate: Fate, call: Callable[[], object]) -> object:
    if fate is Fate.DENIED:
        raise ServerError("AccessDeniedException", "no")
    if fate is Fate.NEVER:
        raise TimeoutError
    if fate in (Fate.REPEATED, Fate.UNKNOWN):
        with suppress(ServerError):
            call()
    if fate is Fate.UNKNOWN:
        raise TimeoutError
    return call()


@dataclass
class Scene:
    """A table with strong consistency and a record under "old", in one run."""

    table: StrongTable
    plans: Plans
    record: Record

    @classmethod
    def set(cls) -> Scene:
        clock = FakeClock()
        table = StrongTable(clock)
        store = table[EAST].store()
        record = store.replace(store.create("old", b"0", clock.now + HOUR), b"1", clock.now + HOUR)
        plans = store._plans
        plans.transactions._refused_until_ns = clock() + 1
        return cls(table, plans, record)

    def start(self, plan: Plan[Any], region: str = EAST) -> Party:
        return Party(plan, self.table[region])

    def find(self, token: str) -> Record | None:
        return self.table[EAST].store(evict_expired=False).find(token)

    def live(self) -> list[str]:
        """The tokens under which there are records (markers are none)."""
        return [token for token, item in self.table.server(EAST).items.items() if "data" in item]


Other: TypeAlias = Callable[[Plans, Record], Plan[Any]]
OTHERS: dict[str, Other] = {
    "a logout": lambda plans, record: plans.delete(Hidden(record.token)),
    "a change": lambda plans, record: plans.replace(record, Hidden(b"theirs"), record.expiry),
    "a touch": lambda plans, record: plans.touch(record, record.expiry + HOUR),
    "another renewal": lambda plans, record: plans.rename(record, Hidden("theirs"), Hidden(b"theirs"), record.expiry),
    "a removal": lambda plans, record: plans.remove(record),
    "a read": lambda plans, record: plans.find(Hidden(record.token)),
}
ENDING = (OTHERS["a logout"], OTHERS["a removal"])


@pytest.mark.parametrize("grace", [timedelta(0), HOUR / 4], ids=["no grace", "grace"])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_renaming_in_two_steps_loses_nothing_and_brings_nothing_back(other: Other, grace: timedelta) -> None:
    seen = 0
    for choices in Choices().runs():
        seen += 1
        scene = Scene.set()
        ours = scene.start(scene.plans.rename(scene.record, Hidden("new"), Hidden(b"ours"), scene.record.expiry, grace))
        theirs = scene.start(other(scene.plans, scene.record), OTHER)
        fates = list(Fate)
        while not (ours.over and theirs.over):
            running = [party for party in (ours, theirs) if not party.over]
            party = running[choices.choose(len(running))]
            if party is theirs:
                party.go()
            else:
                fate = fates[choices.choose(len(fates))]
                party.go(fate)
                if fate is not Fate.FINE:
                    # One thing that goes wrong in each run is enough.
                    fates = [Fate.FINE]
            assert scene.live() or other in ENDING, "no token works"
        ended = other in ENDING and theirs.error is None
        # That it could not be taken back leaves nothing open.
        assert not (ours.struck == "delete_item" and isinstance(ours.error, UnavailableError))
        # What is there now could not be read: so it is not known if the marker was made.
        unread = ours.struck == "get_item" and isinstance(ours.error, AccessDeniedError)
        if ours.was_killed or unread or isinstance(ours.error, UnavailableError):
            # Nobody has been given the new token: what is there under it, nobody can reach.
            assert not (ended and (scene.find("old") or "old" in scene.live()))
            continue
        if ours.error is None:
            assert "old" not in scene.live()
            assert "theirs" not in scene.live()
            if other is OTHERS["a logout"]:
                assert scene.live() == []
            else:
                assert scene.live() == ["new"]
                assert (scene.find("old") is not None) == bool(grace)
        else:
            # Known not to have been done: nothing of it is left, except where it could not be taken back.
            assert isinstance(ours.error, Conflict | AccessDeniedError)
            left = scene.live()
            if ours.struck == "delete_item" and "new" in left:
                left.remove("new")
            assert len(left) <= 1
            assert not (ended and left)
            assert scene.find("old") is None or scene.find("old").data in (b"1", b"theirs")  # type: ignore[union-attr]  # just seen
    assert seen > 20


@pytest.mark.parametrize("grace", [timedelta(0), HOUR / 4], ids=["no grace", "grace"])
@pytest.mark.parametrize("between", [None, *OTHERS.values()], ids=["nothing", *OTHERS])
def test_a_renaming_that_is_tried_again_is_finished_or_undone(between: Other | None, grace: timedelta) -> None:
    # As a session does it in one request: with the same new token, and with what a conflict said is there.
    for choices in Choices().runs():
        scene = Scene.set()
        first = scene.start(
            scene.plans.rename(scene.record, Hidden("new"), Hidden(b"first"), scene.record.expiry, grace)
        )
        fates = [Fate.FINE, Fate.UNKNOWN, Fate.NEVER]
        while not first.over:
            fate = fates[choices.choose(len(fates))]
            first.go(fate)
        if between is not None:
            theirs = scene.start(between(scene.plans, scene.record), OTHER)
            while not theirs.over:
                theirs.go()
        if first.error is None:
            continue
        record = scene.record
        for _ in range(3):
            again = scene.start(
                scene.plans.rename(record, Hidden("new"), Hidden(b"again"), record.expiry + HOUR, grace)
            )
            while not again.over:
                again.go()
            if again.error is None:
                assert scene.live() == ["new"]
                assert again.result == scene.find("new")
                break
            assert isinstance(again.error, Conflict)
            current = again.error.current
            if current is None:
                assert [token for token in scene.live() if token != "theirs"] == []
                break
            if current.token != "old":
                # Done already, or by another.
                assert scene.live() == [current.token]
                break
            record = current
        else:
            raise AssertionError("it goes on for ever")
        assert scene.live() or between in ENDING


def test_a_token_that_another_record_has_is_taken_however_it_came_there(strong: StrongTable, later: datetime) -> None:
    store = strong[EAST].store()
    taken = store.replace(store.create("new", b"a", later), b"b", later)
    record = store.replace(store.create("old", b"a", later), b"b", later)
    with pytest.raises(Conflict) as caught:
        store.rename(record, "new", b"data", later)
    assert caught.value.current == taken
    assert (store.find("old"), store.find("new")) == (record, taken)


def test_what_a_renaming_took_the_place_of_is_put_back_if_it_fails(strong: StrongTable, clock: FakeClock) -> None:
    store = strong[EAST].store(evict_expired=False)
    marker_of = store.rename(store.create("new", b"a", clock.now + HOUR), "elsewhere", b"a", clock.now + HOUR)
    record = store.create("old", b"a", clock.now + HOUR)
    store.replace(record, b"b", record.expiry)
    with pytest.raises(Conflict):
        store.rename(record, "new", b"late", record.expiry)
    # The marker is there again: a logout with its token still ends what it leads to.
    store.delete("new")
    assert store.find(marker_of.token) is None


def test_what_was_written_under_the_new_token_meanwhile_stays(strong: StrongTable, clock: FakeClock) -> None:
    others = strong[EAST].store()

    def write() -> None:
        there = others.find("new")
        assert there is not None
        others.replace(there, b"theirs", there.expiry)

    store = Watched(strong[EAST], before={"delete_item": write}).store(Table(), clock)
    record = others.create("old", b"a", clock.now + HOUR)
    others.replace(record, b"b", record.expiry)
    with pytest.raises(Conflict):
        store.rename(record, "new", b"late", record.expiry)
    found = others.find("new")
    assert found is not None
    assert found.data == b"theirs"


@pytest.mark.parametrize("minutes", [14, 16])
def test_a_marker_that_has_ended_before_the_call_is_sent_again_leaves_the_outcome_open(minutes: int) -> None:
    clock = FakeClock()
    table = StrongTable(clock)
    plans = table[EAST].store()._plans
    record = table[EAST].store().create("old", b"a", clock.now + 9 * HOUR)
    ours = Party(plans.rename(record, Hidden("new"), Hidden(b"b"), record.expiry), table[EAST])
    ours.go(Fate.FINE)
    ours.go(Fate.FINE)
    assert isinstance(ours.step, Call)
    arguments = ours.step.arguments
    table[EAST].update_item(**arguments)
    # Swept, or evicted by whoever came upon it; or deleted by a logout, along with what it leads to.
    clock.advance(timedelta(minutes=minutes))
    del table.server(EAST).items["old"]
    if minutes < 15:
        del table.server(EAST).items["new"]
    # The reply to the first try was lost.
    ours.go(Fate.REPEATED)
    while not ours.over:
        ours.go()
    assert isinstance(ours.error, Conflict if minutes < 15 else UnavailableError)
    assert list(table.server(EAST).items) == ([] if minutes < 15 else ["new"])


def test_a_conflict_says_what_was_there_when_it_came_to_be(strong: StrongTable, clock: FakeClock) -> None:
    others = strong[EAST].store()
    record = others.create("old", b"a", clock.now + HOUR)
    theirs = others.replace(record, b"b", record.expiry)
    # To take the new record back takes so long that the old one would have expired meanwhile.
    store = Watched(strong[EAST], before={"delete_item": lambda: clock.advance(2 * HOUR)}).store(Table(), clock)
    with pytest.raises(Conflict) as caught:
        store.rename(record, "new", b"late", record.expiry)
    assert caught.value.current == theirs


@pytest.mark.parametrize("lost", [Fate.UNKNOWN, Fate.NEVER], ids=["done", "not done"])
@pytest.mark.parametrize("step", ["put_item", "update_item"])
def test_a_session_whose_renewal_got_no_reply_has_one_token_when_it_is_saved_again(
    strong: StrongTable, clock: FakeClock, step: str, lost: Fate
) -> None:
    losing: list[str] = []

    class Client:
        def __getattr__(self, name: str) -> Callable[..., object]:
            method: Callable[..., object] = getattr(strong[EAST], name)

            def call(**arguments: object) -> object:
                if name not in losing:
                    return method(**arguments)
                losing.remove(name)
                if lost is Fate.UNKNOWN:
                    method(**arguments)
                raise TimeoutError

            return call

    client: Any = Client()
    manager = SessionManager(DynamoStore(client, clock=clock), clock=clock)
    with manager.session(None) as s:
        s.put_string("user", "Ada")
    old = s.token
    with manager.session(old) as s:
        s.renew_token()
        s.put_string("user", "Grace")
        losing.append(step)
        with pytest.raises(UnavailableError):
            s.save()
    assert s.token != old
    assert len([key for key, item in strong.server(EAST).items.items() if "data" in item]) == 1
    with manager.session(s.token) as after:
        assert after.get_string("user") == "Grace"
    with manager.session(old) as before:
        assert before.get_string("user") == ""


# Making it, and looking after it


def test_create_table_warns_that_a_table_with_strong_consistency_has_no_ttl(
    wired: Callable[[Table, Clock], Store], strong: StrongTable, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    ENDPOINT.replica = strong[EAST]
    store: Any = wired(Table(), clock)
    if isinstance(store, BlockingStore):
        awaited: Any = store.store
        store._loop.run(awaited.create_table())
    else:
        store.create_table()
    (warning,) = caplog.records
    assert "not support TTL" in warning.getMessage()
    assert "dynamostore purge" in warning.getMessage()


def test_create_table_turns_ttl_on_where_the_consistency_is_eventual(
    eventual: EventualTable, caplog: pytest.LogCaptureFixture
) -> None:
    eventual[EAST].store().create_table()
    assert eventual.ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    assert caplog.records == []


def found_by(store: DynamoStore) -> dict[str, Finding]:
    return {finding.check: finding for finding in doctor(store)}


def test_the_doctor_on_eventual_consistency(eventual: EventualTable) -> None:
    store = eventual[EAST].store()
    store.create_table()
    found = found_by(store)
    assert found["replicas"].level == "warning"
    assert "(also in eu-west-1: ACTIVE)" in found["replicas"].message
    assert "one Region" in found["replicas"].advice
    assert found["ttl"].level == found["transactions"].level == "ok"
    assert [check for check in found if check.startswith("replica:")] == []


def test_the_doctor_on_strong_consistency(strong: StrongTable, clock: FakeClock) -> None:
    store = strong[EAST].store()
    store.save("unswept", b"data", clock.now)
    clock.advance(49 * HOUR)
    found = found_by(store)
    assert found["replicas"].level == "ok"
    assert "(also in us-east-2: ACTIVE; witness in us-west-2: ACTIVE)" in found["replicas"].message
    assert found["ttl"].level == found["transactions"].level == "note"
    assert "purge_expired()" in found["ttl"].advice
    assert "two steps" in found["transactions"].message
    assert found["records:unswept"].advice.startswith("purge more often")
    bad = [check for check, finding in found.items() if finding.level in ("warning", "error")]
    assert bad == ["records:unswept"]


@pytest.mark.parametrize(
    ("status", "level"),
    [
        ("ACTIVE", None),
        ("UPDATING", None),
        ("CREATING", "warning"),
        ("DELETING", "warning"),
        ("CREATION_FAILED", "error"),
        ("REGION_DISABLED", "error"),
        ("INACCESSIBLE_ENCRYPTION_CREDENTIALS", "error"),
        ("REPLICATION_NOT_AUTHORIZED", "error"),
        ("ARCHIVED", "error"),
    ],
)
def test_a_replica_that_is_not_active_is_told(
    strong: StrongTable, eventual: EventualTable, status: str, level: str | None
) -> None:
    strong.statuses[OTHER] = eventual.statuses[EUROPE] = status
    for table, region in ((strong, OTHER), (eventual, EUROPE)):
        finding = found_by(table[EAST].store()).get(f"replica:{region}")
        assert (finding and finding.level) == level
        if finding:
            assert finding.message.startswith(f"the replica in {region} is {status}")


def test_a_description_has_the_replicas(
    wired: Callable[[Table, Clock], Store], strong: StrongTable, eventual: EventualTable, clock: FakeClock
) -> None:
    store = wired(Table(), clock)

    def described(replica: Replica) -> Description:
        ENDPOINT.replica = replica
        if isinstance(store, BlockingStore):
            assert isinstance(store.store, AsyncDynamoStore)
            return store._loop.run(adescribe(store.store))
        assert isinstance(store, DynamoStore)
        return describe(store)

    there = described(strong[OTHER])
    assert there.multi_region_consistency == "STRONG"
    assert there.replicas == (AdminReplica(EAST, "ACTIVE"),)
    assert there.witness == AdminReplica("us-west-2", "ACTIVE")
    eventual.statuses[EUROPE] = "CREATING"
    there = described(eventual[EAST])
    assert (there.multi_region_consistency, there.witness) == ("EVENTUAL", None)
    assert there.replicas == (AdminReplica(EUROPE, "CREATING"),)
    alone = described(EventualTable(clock, ["us-east-1"])[EAST])
    assert (alone.replicas, alone.multi_region_consistency, alone.witness) == ((), None, None)


# Declaring it


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's own tags as if they were not there."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: loader.construct_scalar(node))

PROTECTED = {
    "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    "DeletionProtectionEnabled": True,
}


def test_a_cloudformation_template_of_a_global_table() -> None:
    table = Table(name="sessions", token="id", ttl="forget")
    text = cloudformation(table, replicas=["eu-west-1", "eu-west-2"])
    resource = yaml.load(text, _Loader)["Resources"]["Table"]
    assert resource["Type"] == "AWS::DynamoDB::GlobalTable"
    assert resource["DeletionPolicy"] == "Retain"
    common = {
        "TableName": "sessions",
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "Replicas": [{"Region": region, **PROTECTED} for region in ("AWS::Region", "eu-west-1", "eu-west-2")],
    }
    assert resource["Properties"] == common | {
        "TimeToLiveSpecification": {"AttributeName": "forget", "Enabled": True},
        "MultiRegionConsistency": "EVENTUAL",
        "StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"},
    }
    text = cloudformation(table, replicas=["eu-west-1", "eu-west-2"], consistency="STRONG")
    assert yaml.load(text, _Loader)["Resources"]["Table"]["Properties"] == common | {"MultiRegionConsistency": "STRONG"}
    text = cloudformation(table, replicas=["eu-west-1"], consistency="STRONG", witness="eu-west-2")
    properties = yaml.load(text, _Loader)["Resources"]["Table"]["Properties"]
    assert properties["GlobalTableWitnesses"] == [{"Region": "eu-west-2"}]
    assert len(properties["Replicas"]) == 2


def test_a_terraform_configuration_of_a_global_table() -> None:
    table = Table(name="sessions")
    text = terraform(table, replicas=["eu-west-1"])
    assert 'stream_view_type            = "NEW_AND_OLD_IMAGES"' in text
    assert 'region_name                 = "eu-west-1"' in text
    assert text.count('consistency_mode            = "EVENTUAL"') == text.count("replica {") == 1
    assert "ttl {" in text
    text = terraform(table, replicas=["eu-west-1"], consistency="STRONG", witness="eu-west-3")
    assert text.count('consistency_mode            = "STRONG"') == text.count("replica {") == 1
    assert 'global_table_witness {\n    region_name = "eu-west-3"' in text
    assert "ttl {" not in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("template", [cloudformation, terraform])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"replicas": ["eu-west-1"], "consistency": "STRONG"}, "exactly three Regions"),
        ({"replicas": ["a-1", "a-2", "a-3"], "consistency": "STRONG"}, "exactly three Regions"),
        ({"witness": "eu-west-1", "consistency": "STRONG"}, "exactly three Regions"),
        ({"consistency": "STRONG"}, "exactly three Regions"),
        ({"replicas": ["eu-west-1"], "witness": "eu-west-2"}, "witness"),
        ({"replicas": ["eu-west-1", "eu-west-1"]}, "one replica"),
        ({"replicas": ["eu-west-1"], "witness": "eu-west-1", "consistency": "STRONG"}, "one replica"),
        ({"replicas": ['eu-west-1"\n']}, "such as"),
        ({"replicas": ["Ireland"]}, "such as"),
        ({"consistency": "strong"}, "EVENTUAL"),
    ],
)
def test_what_makes_no_global_table(template: Callable[..., str], arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        template(Table(), **arguments)


# At the command line


def test_the_command_line_knows_global_tables(
    url: str, strong: StrongTable, credentials: None, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        code = main([*arguments, "--region", EAST, "--endpoint-url", url, "--json"])
        return code, capsys.readouterr().out

    strong.statuses[OTHER] = "REGION_DISABLED"
    ENDPOINT.replica = strong[EAST]
    strong[EAST].store().create("token", b"data", datetime(2200, 1, 1, tzinfo=UTC))
    # There is nothing to ask: TTL cannot be turned on.
    code, said = run("create-table")
    assert (code, json.loads(said)["ttl_enabled"]) == (0, False)
    assert json.loads(run("create-table", "--dry-run")[1])["would_enable_ttl"] is False
    code, said = run("doctor")
    found = {finding["check"]: finding for finding in json.loads(said)["findings"]}
    assert (code, found["replica:us-east-2"]["level"]) == (1, "error")
    assert f"--region {EAST} --endpoint-url {url}" in found["replica:us-east-2"]["advice"]
    assert f"dynamostore purge --region {EAST} --endpoint-url {url}" in found["ttl"]["advice"]
    where = ("--replica", OTHER, "--witness", "us-west-2", "--multi-region-consistency", "STRONG")
    code, said = run("template", "cloudformation", *where)
    assert code == 0
    assert json.loads(said)["template"] == cloudformation(
        Table(), replicas=[OTHER], consistency="STRONG", witness="us-west-2"
    )
    assert run("template", "terraform", *where[:2], *where[4:])[0] == 2
