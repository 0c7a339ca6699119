"""Lookups of host names: few threads, shared by all who ask, remembered for seconds; nobody waits longer than it may."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import UnavailableError
from dynamostore.steps import Call, Plan
from dynamostore.wire import ConnectError, WireClient, _names
from dynamostore.wire._names import (
    FAILED,
    FRESH,
    OUTDATED,
    PATIENCE,
    SILENT,
    THREADS,
    Address,
    Names,
    address_of_literal,
    interleaved,
)

from .faulty import KINDS, Driver, FaultyDynamoDB

V4, V6 = socket.AF_INET, socket.AF_INET6


def v4(*numbers: int) -> list[Address]:
    return [(V4, (f"10.0.0.{number}", 80)) for number in numbers]


# By hand: a resolver that answers when it is told to, on a clock of its own


class Resolver:
    """`Names` whose threads are run by hand: each is a lookup that hangs until `answer` ends it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: list[str] = []
        self.threads: deque[Callable[[], None]] = deque()
        self.refuses = False
        self._outcomes: list[tuple[list[Address] | Exception, Callable[[], None]]] = []
        self.names = Names(ask=self._ask, start=self._start, clock=lambda: self.now)

    def _start(self, work: Callable[[], None]) -> None:
        if self.refuses:
            raise RuntimeError("can't create new thread at interpreter shutdown")
        self.threads.append(work)

    def _ask(self, host: str, port: int) -> list[Address]:
        self.asked.append(host)
        outcome, meanwhile = self._outcomes.pop()
        meanwhile()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def answer(self, outcome: list[Address] | Exception, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Have the oldest thread look up one name, with this outcome; *meanwhile* is done before it is there."""
        self._outcomes.append((outcome, meanwhile))
        self.threads.popleft()()


class Asking:
    """A caller: its plan, and how long it would wait at most."""

    def __init__(self, resolver: Resolver, host: str = "a.test", timeout: float = 1.0) -> None:
        self._resolver = resolver
        self._plan: Plan[tuple[Address, ...]] = resolver.names.find(host, 80, timeout)
        self.told = False
        self.seconds: float | None = None
        self.found: list[Address] | None = None
        self.error: ConnectError | None = None
        self._go(lambda: next(self._plan))

    def go_on(self) -> None:
        """It was told, or has waited for long enough."""
        self._go(lambda: self._plan.send(None))

    def _go(self, step: Callable[[], object]) -> None:
        self.seconds = None
        while True:
            try:
                call = step()
            except StopIteration as end:
                self.found = list(end.value)
                return
            except ConnectError as error:
                self.error = error
                return
            assert isinstance(call, Call)
            assert call.operation == "wait"
            name, seen, self.seconds = (call.arguments[key] for key in ("name", "seen", "seconds"))  # type: ignore[assignment]
            self.told = False
            assert isinstance(name, _names.Name)
            if name.watch(seen, self, self._tell):  # type: ignore[arg-type]
                return
            step = lambda: self._plan.send(None)  # noqa: E731

    def _tell(self) -> None:
        self.told = True


@pytest.fixture
def resolver() -> Resolver:
    return Resolver()


def test_all_who_ask_at_once_share_a_lookup_and_its_answer_is_kept_for_seconds(resolver: Resolver) -> None:
    first, second = Asking(resolver), Asking(resolver, timeout=0.5)
    assert (first.seconds, second.seconds, len(resolver.threads)) == (1.0, 0.5, 1)
    resolver.answer(v4(1, 2))
    for asking in (first, second):
        assert asking.told
        asking.go_on()
        assert asking.found == v4(1, 2)
    resolver.now += FRESH - 0.01
    assert Asking(resolver).found == v4(1, 2)
    assert (resolver.asked, len(resolver.threads), resolver.names.threads) == (["a.test"], 0, 0)
    resolver.now += 0.01
    assert Asking(resolver).found is None
    assert len(resolver.threads) == 1


def test_who_has_waited_for_long_enough_goes_and_the_next_has_the_answer(resolver: Resolver) -> None:
    asking = Asking(resolver)
    resolver.now += 1.0
    asking.go_on()
    assert str(asking.error) == "the address of a.test was not found within 1 s"
    late = Asking(resolver)
    assert (late.seconds, len(resolver.threads)) == (1.0, 1)
    resolver.answer(v4(1))
    late.go_on()
    assert late.found == v4(1)


def test_an_outdated_answer_is_used_where_no_newer_one_comes(resolver: Resolver) -> None:
    Asking(resolver)
    resolver.answer(v4(1))
    resolver.now += FRESH
    # The resolver hangs: part of the time is kept for connecting.
    asking = Asking(resolver)
    assert asking.seconds == PATIENCE
    resolver.now += PATIENCE
    asking.go_on()
    assert asking.found == v4(1)
    # It fails.
    asking = Asking(resolver)
    resolver.answer(socket.gaierror(socket.EAI_AGAIN, "try again"))
    asking.go_on()
    assert asking.found == v4(1)
    # There can be no thread.
    resolver.now += FAILED
    resolver.refuses = True
    assert Asking(resolver).found == v4(1)
    resolver.refuses = False
    # It is not used for ever.
    resolver.now += OUTDATED
    asking = Asking(resolver)
    assert (asking.found, asking.seconds) == (None, 1.0)


def test_while_the_resolver_hangs_only_the_first_caller_waits_for_it(resolver: Resolver) -> None:
    Asking(resolver)
    resolver.answer(v4(1))
    resolver.now += FRESH
    first = Asking(resolver)

    def meanwhile() -> None:
        resolver.now += PATIENCE / 2
        second = Asking(resolver)
        assert second.seconds == PATIENCE / 2
        resolver.now += PATIENCE / 2
        for asking in (first, second):
            asking.go_on()
            assert asking.found == v4(1)
        assert Asking(resolver).found == v4(1)
        # But it is asked for once more, all the same.
        assert not resolver.threads
        resolver.now += SILENT
        assert Asking(resolver).found == v4(1)
        assert len(resolver.threads) == 1
        resolver.answer(v4(3))
        assert Asking(resolver).found == v4(3)

    resolver.answer(v4(2), meanwhile)
    assert Asking(resolver).found == v4(2)


def test_a_name_that_does_not_exist_any_more_has_no_address(resolver: Resolver) -> None:
    Asking(resolver)
    resolver.answer(v4(1))
    resolver.now += FRESH
    asking = Asking(resolver)
    resolver.answer(socket.gaierror(socket.EAI_NONAME, "no such name"))
    asking.go_on()
    assert "no such name" in str(asking.error)


def test_a_failure_is_remembered_but_briefly(resolver: Resolver) -> None:
    asking = Asking(resolver)
    resolver.answer(socket.gaierror(socket.EAI_AGAIN, "try again"))
    asking.go_on()
    assert "the address of a.test was not found: " in str(asking.error)
    resolver.now += FAILED - 0.01
    assert Asking(resolver).error is not None
    assert not resolver.threads
    resolver.now += 0.02
    asking = Asking(resolver)
    resolver.answer(v4(1))
    asking.go_on()
    assert asking.found == v4(1)


@pytest.mark.parametrize(
    "outcome", [[], UnicodeError("label too long"), ZeroDivisionError("a resolver of an app's own")]
)
def test_whatever_a_lookup_comes_to_those_who_wait_are_told(resolver: Resolver, outcome: Any) -> None:
    asking = Asking(resolver)
    resolver.answer(outcome)
    assert asking.told
    asking.go_on()
    assert isinstance(asking.error, ConnectError)


def test_an_answer_that_led_nowhere_is_not_used_again_unless_there_is_no_other(resolver: Resolver) -> None:
    Asking(resolver)
    resolver.answer(v4(1))
    kept = tuple(v4(1))
    resolver.names.distrust("a.test", 80, kept)  # another one's answer, which only looks the same
    found = drive(resolver.names.find("a.test", 80, 1.0))
    assert list(found) == v4(1)
    resolver.names.distrust("a.test", 80, found)
    asking = Asking(resolver)
    assert (asking.found, asking.seconds) == (None, PATIENCE)
    resolver.answer(v4(2))
    asking.go_on()
    assert asking.found == v4(2)
    # What is newer was not meant.
    resolver.names.distrust("a.test", 80, found)
    assert Asking(resolver).found == v4(2)


def test_those_that_were_overtaken_come_last(resolver: Resolver) -> None:
    Asking(resolver)
    resolver.answer(v4(1, 2, 3))
    found = drive(resolver.names.find("a.test", 80, 1.0))
    resolver.names.prefer("a.test", 80, found, found[1])
    assert Asking(resolver).found == v4(2, 3, 1)


@pytest.mark.parametrize("outcome", [v4(2), socket.gaierror(socket.EAI_NONAME, "no such name")])
def test_a_name_that_hangs_is_asked_for_once_more(resolver: Resolver, outcome: Any) -> None:
    askings = [Asking(resolver, timeout=10.0)]

    def meanwhile() -> None:
        resolver.now += SILENT - 0.01
        askings.append(Asking(resolver, timeout=10.0))
        assert not resolver.threads
        resolver.now += 0.01
        askings.append(Asking(resolver, timeout=10.0))
        resolver.now += SILENT
        askings.append(Asking(resolver, timeout=10.0))
        assert len(resolver.threads) == 1
        resolver.answer(v4(1))
        for asking in askings:
            asking.go_on()
            assert asking.found == v4(1)

    resolver.answer(outcome, meanwhile)
    # What it comes to in the end is no worse.
    assert Asking(resolver).found == (outcome if isinstance(outcome, list) else v4(1))


def test_no_thread_is_no_address_and_not_a_runtime_error(resolver: Resolver) -> None:
    resolver.refuses = True
    asking = Asking(resolver)
    assert "can't create new thread at interpreter shutdown" in str(asking.error)
    resolver.refuses = False
    asking = Asking(resolver)
    resolver.answer(v4(1))
    asking.go_on()
    assert asking.found == v4(1)


@given(st.lists(st.sampled_from([f"{letter}.test" for letter in "abcdefgh"]), max_size=30), st.data())
def test_there_are_four_lookups_at_once_at_most_and_all_have_their_answer(
    hosts: list[str], data: st.DataObject
) -> None:
    resolver = Resolver()
    askings = [(host, Asking(resolver, host)) for host in hosts]
    assert len(resolver.threads) == resolver.names.threads == min(len(set(hosts)), THREADS)
    # Some give up while they are in line, and are told nothing.
    for name in resolver.names._names.values():
        for key in list(name.waiting):
            if data.draw(st.booleans()):
                name.unwatch(key)
    outcomes = {f"{letter}.test": v4(number) for number, letter in enumerate("abcdefgh")}

    def ask(host: str, port: int) -> list[Address]:
        resolver.asked.append(host)
        return outcomes[host]

    resolver.names._ask = ask
    while resolver.threads:
        resolver.threads.popleft()()
    assert resolver.names.threads == 0
    assert sorted(resolver.asked) == sorted(set(hosts))
    for host, asking in askings:
        if asking.told:
            asking.go_on()
            assert asking.found == outcomes[host]


def test_no_more_names_are_remembered_than_are_of_use(resolver: Resolver) -> None:
    waiting = Asking(resolver, "slow.test")
    for number in range(300):
        Asking(resolver, f"127.0.0.{number}" if number < 100 else f"{number}.test", timeout=0.0)
    assert len(resolver.names._names) <= 64
    resolver.answer(v4(1))
    waiting.go_on()
    assert waiting.found == v4(1)


families = st.tuples(st.sampled_from([V4, V6]), st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.just(80)))


@given(st.lists(families, max_size=12))
def test_families_come_by_turns_and_the_order_within_is_kept(addresses: list[Address]) -> None:
    mixed = interleaved(addresses)
    unique = list(dict.fromkeys(addresses))
    assert sorted(mixed) == sorted(unique)
    for family in (V4, V6):
        assert [one for one in mixed if one[0] == family] == [one for one in unique if one[0] == family]
    if unique:
        assert mixed[0] == unique[0]
        fewer = min(sum(family == one for family, _ in unique) for one in (V4, V6))
        turns = [family for family, _ in mixed[: 2 * fewer]]
        assert all(a != b for a, b in pairwise(turns))


def drive(plan: Plan[tuple[Address, ...]]) -> tuple[Address, ...]:
    """The outcome of a plan that has nothing to wait for."""
    try:
        next(plan)
    except StopIteration as end:
        found: tuple[Address, ...] = end.value
        return found
    raise AssertionError("it waits")


# Addresses


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", (V4, ("127.0.0.1", 80))),
        ("::1", (V6, ("::1", 80, 0, 0))),
        ("fe80::1%7", (V6, ("fe80::1", 80, 0, 7))),
        ("fe80::1%lo", (V6, ("fe80::1", 80, 0, socket.if_nametoindex("lo") if sys.platform == "linux" else 1))),
        ("localhost", None),
        ("127.1", None),
        ("1.2.3.4.5", None),
        ("fe80::1::2%7", None),
        ("127.0.0.1%lo", None),
        ("", None),
        ("\N{FULLWIDTH DIGIT ONE}27.0.0.1", None),
    ],
)
def test_an_address_is_known_for_one(host: str, address: Address | None) -> None:
    assert address_of_literal(host, 80) == address


@pytest.mark.parametrize("scope", ["nowhere0", "", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_a_scope_that_does_not_exist_is_no_connection(scope: str) -> None:
    with pytest.raises(ConnectError, match=r"network interface .* does not exist"):
        address_of_literal(f"fe80::1%{scope}", 80)


# With real threads and clients


@pytest.fixture(params=KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with Driver(request.param) as driver:
        yield driver
        driver.assert_clean()


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyDynamoDB]:
    with FaultyDynamoDB() as server:
        yield server


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that does not answer before the event is set."""
    real, answers = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: str, *arguments: Any, **more: Any) -> list[Any]:
        answers.wait(10)
        return list(real("127.0.0.1" if host.endswith(".test") else host, *arguments, **more))

    _names.forget()
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield answers
    answers.set()
    until = time.monotonic() + 5
    while resolving() and time.monotonic() < until:
        time.sleep(0.001)
    _names.forget()


def resolving() -> int:
    return sum(thread.name == "dynamostore-resolver" for thread in threading.enumerate())


def get(client: WireClient) -> object:
    return client.get_item(TableName="sessions", Key={"token": {"S": "abc"}})["Item"]


def test_a_silent_resolver_holds_few_threads_and_each_call_no_longer_than_it_may(
    driver: Driver, server: FaultyDynamoDB, silent: threading.Event
) -> None:
    clients = [
        driver.client(f"http://{number}.test:{server.port}", attempts=1, connect_timeout=0.1) for number in range(6)
    ]
    before = threading.active_count()

    def call(client: WireClient) -> None:
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match=r"not found within 0\.1 s"):
            driver.store(client).find("token")
        assert time.monotonic() - begun < 2

    with ThreadPoolExecutor(24) as pool:
        calls = [pool.submit(call, clients[number % 6]) for number in range(24)]
        time.sleep(0.05)
        assert resolving() <= THREADS
        assert threading.active_count() <= before + 24 + THREADS
        for done in calls:
            done.result()
    assert resolving() == THREADS
    silent.set()
    for number, client in enumerate(clients):
        client.close()
        assert get(driver.client(f"http://{number}.test:{server.port}", connect_timeout=5))


def test_a_thread_that_cannot_be_had_is_no_connection(
    driver: Driver, server: FaultyDynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    client = driver.client(f"http://localhost:{server.port}", attempts=1)
    _names.forget()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(ConnectError, match="can't start new thread"):
            get(client)
        with pytest.raises(UnavailableError):
            driver.store(client).find("token")
        # An address needs none.
        assert get(driver.client(server.url, attempts=1))
    assert get(client)


class Refusing(ThreadPoolExecutor):
    """An app's executor, of which nobody else has any business."""

    def submit(self, *arguments: Any, **more: Any) -> Any:
        raise AssertionError("the event loop's default executor was used")


@pytest.mark.parametrize("driver", ["asyncio", "uvloop"], indirect=True)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_event_loops_executor_is_the_apps_own(driver: Driver, server: FaultyDynamoDB, host: str) -> None:
    _names.forget()
    driver.loop.loop.set_default_executor(Refusing(1))
    assert get(driver.client(f"http://{host}:{server.port}", attempts=1))
    driver.loop.loop.set_default_executor(ThreadPoolExecutor(1))


def test_an_address_is_not_looked_up(driver: Driver, server: FaultyDynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*arguments: Any, **more: Any) -> Any:
        raise AssertionError("the resolver was asked")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    assert get(driver.client(server.url, attempts=1))


def test_a_name_is_looked_up_once_for_many_connections(
    driver: Driver, server: FaultyDynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = socket.getaddrinfo, []

    def getaddrinfo(host: str, *arguments: Any, **more: Any) -> list[Any]:
        asked.append(host)
        return list(real("127.0.0.1", *arguments, **more))

    _names.forget()
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for _ in range(3):
        client = driver.client(f"http://many.test:{server.port}", attempts=1)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(get, [client] * 8))
        client.close()
    assert asked == ["many.test"]


FORK = """
import os, socket, sys, threading, time
from dynamostore.wire import ConnectError, Credentials, WireClient

real, hangs = socket.getaddrinfo, True
def getaddrinfo(host, *arguments, **more):
    while hangs:
        time.sleep(0.001)
    return real("127.0.0.1", *arguments, **more)
socket.getaddrinfo = getaddrinfo
url = f"http://parent.test:{sys.argv[1]}"
client = WireClient("us-east-1", url, credentials=Credentials("key", "secret"), attempts=1, connect_timeout=0.05)
try:
    client.scan(TableName="sessions")
except ConnectError:
    pass
assert threading.active_count() == 2
from dynamostore.wire import _names
with _names.names()._lock:  # as if another thread had it
    child = os.fork()
if child == 0:
    assert threading.active_count() == 1
    hangs = False
    client = WireClient("us-east-1", url, credentials=Credentials("key", "secret"), attempts=1)
    client.get_item(TableName="sessions", Key={"token": {"S": "abc"}})
    os._exit(42)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_begins_anew_while_its_parent_waits_for_an_answer(server: FaultyDynamoDB) -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(server.port)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (42, "")
