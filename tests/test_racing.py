"""Hosts with several addresses: attempts overlap, the first whole connection wins, and nothing is left of the others."""

from __future__ import annotations

import asyncio
import heapq
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dynamostore.wire import CertificateError, ConnectError, WireClient, _names
from dynamostore.wire._adialing import _end, adial
from dynamostore.wire._racing import DELAY, SHORTEST, Race

from .faulty import KINDS, Driver, FaultyDynamoDB, Line, honestly

NEVER = float("inf")
TIMEOUT = 1.0


# By the book: races on a clock of their own


@dataclass(frozen=True)
class Host:
    """An address: when it accepts, how long TLS takes then, and what comes of it."""

    accepts: float = 0.001
    tls: float = 0.3
    error: type[OSError] | None = None


def run(hosts: list[Host], timeout: float = TIMEOUT) -> tuple[Host | OSError, list[tuple[float, Host]], float]:
    """Drive a race as its drivers do: the outcome, who was begun when, and when it ended."""
    now = 0.0
    race = Race(hosts, now, timeout)
    events: list[tuple[float, int, str, Host]] = []
    begun: list[tuple[float, Host]] = []
    for _ in range(1000):
        while (host := race.begin(now)) is not None:
            begun.append((now, host))
            whole = host.accepts + host.tls
            if host.accepts < whole:
                heapq.heappush(events, (now + host.accepts, len(begun), "accepts", host))
            heapq.heappush(events, (now + whole, len(begun), "ends", host))
        if race.is_lost(now):
            return race.failure, begun, now
        wait = race.wait(now)
        assert wait >= 0
        if not events or events[0][0] > now + wait:
            assert wait > 0, "a race must not spin"
            now += wait
            continue
        now, _order, kind, host = heapq.heappop(events)
        if kind == "accepts":
            race.reached(now)
        elif host.error is None:
            return host, begun, now
        else:
            race.failed(host.error("no"), now)
    raise AssertionError("it does not end")


healthy = st.builds(Host, st.floats(0, 0.05), st.floats(0.001, 0.3))
black_hole = st.just(Host(NEVER, 0))
refused = st.builds(Host, st.floats(0, 0.05), st.just(0.0), st.just(ConnectionRefusedError))
hangs = st.builds(Host, st.floats(0, 0.05), st.just(NEVER))
unverified = st.builds(Host, st.floats(0, 0.05), st.floats(0.001, 0.1), st.just(ssl.SSLCertVerificationError))
anything = st.one_of(healthy, black_hole, refused, hangs, unverified)


@settings(max_examples=50)
@given(st.lists(anything, max_size=8), st.floats(0.05, 5))
@example([], 1.0)
def test_a_race_ends_in_time_and_says_how(hosts: list[Host], timeout: float) -> None:
    outcome, begun, ended = run(hosts, timeout)
    assert ended <= timeout + 1e-9
    assert [host for _, host in begun] == hosts[: len(begun)]
    if isinstance(outcome, Host):
        assert outcome in hosts
        assert outcome.error is None
    elif not hosts:
        assert isinstance(outcome, ConnectError)
    elif isinstance(outcome, TimeoutError):
        assert ended >= timeout - 1e-9
    elif not isinstance(outcome, ssl.SSLCertVerificationError):
        # All were tried.
        assert len(begun) == len(hosts)


@settings(max_examples=50)
@given(st.lists(anything, min_size=2, max_size=8))
def test_attempts_do_not_come_too_fast_and_after_a_failure_at_once(hosts: list[Host]) -> None:
    _, begun, ended = run(hosts)
    delay = max(min(DELAY, TIMEOUT / 2 / (len(hosts) - 1)), SHORTEST)
    failures = [
        at + host.accepts + host.tls for at, host in begun if host.error and at + host.accepts + host.tls <= ended
    ]
    for (first, _), (second, _) in pairwise(begun):
        assert second - first >= delay - 1e-9 or any(abs(second - failed) < 1e-9 for failed in failures)
    for failed in failures:
        # The next is begun with it, unless there is none.
        had_begun = sum(at <= failed + 1e-9 for at, _ in begun)
        assert failed >= ended - 1e-9 or had_begun == len(hosts) or any(abs(at - failed) < 1e-9 for at, _ in begun)


@settings(max_examples=50)
@given(st.lists(black_hole | refused, max_size=3), st.lists(hangs, max_size=1), healthy, st.lists(anything, max_size=3))
def test_one_good_address_is_found_behind_bad_ones(
    bad: list[Host], hanging: list[Host], good: Host, rest: list[Host]
) -> None:
    hosts = [*bad, *hanging, good, *(host for host in rest if host.error is not ssl.SSLCertVerificationError)]
    if hanging:
        hosts = [*hanging, good]
    outcome, _, _ = run(hosts)
    assert isinstance(outcome, Host)


@settings(max_examples=50)
@given(st.lists(healthy, min_size=1, max_size=8))
def test_a_good_address_is_the_only_one_that_is_asked(hosts: list[Host]) -> None:
    outcome, begun, _ = run(hosts)
    assert outcome == hosts[0]
    assert len(begun) == 1


@settings(max_examples=50)
@given(st.lists(healthy | refused | unverified, min_size=1, max_size=8))
def test_who_cannot_prove_it_ends_the_race(hosts: list[Host]) -> None:
    outcome, begun, _ = run(hosts)
    if any(host.error is ssl.SSLCertVerificationError for _, host in begun):
        assert isinstance(outcome, ssl.SSLCertVerificationError)
        assert begun[-1][1].error is ssl.SSLCertVerificationError


# On real sockets


class Hesitant(FaultyDynamoDB):
    """Waits for *hesitates* seconds before TLS begins, on all addresses of the loopback interface."""

    hesitates = 0.0

    def _bound(self, port: int) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind(("", port))
        return sock

    async def _serve(self, line: Line) -> None:
        await asyncio.sleep(self.hesitates)
        await super()._serve(line)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("dynamodb.test", "fe80::1", "::1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def module_server(tls: ssl.SSLContext) -> Iterator[Hesitant]:
    with Hesitant(tls=tls) as server:
        yield server


@pytest.fixture
def server(module_server: Hesitant) -> Iterator[Hesitant]:
    module_server.forget()
    module_server.hesitates = 0.0
    yield module_server
    module_server.be_still()


@pytest.fixture(params=KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with Driver(request.param) as driver:
        yield driver
        driver.assert_clean()


Resolve = Callable[[list[tuple[str, int]]], None]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolve]:
    """Give dynamodb.test these addresses."""

    def give(addresses: list[tuple[str, int]]) -> None:
        def getaddrinfo(host: str, port: int, *arguments: Any, **more: Any) -> list[Any]:
            assert host == "dynamodb.test"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

        _names.forget()
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    yield give
    _names.forget()


@pytest.fixture
def hole() -> Iterator[tuple[str, int]]:
    """An address that never answers: of a queue of connections that is full, Linux says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        where = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(where)
        time.sleep(0.01)
        yield where
        for filler in fillers:
            filler.close()


@pytest.fixture
def closed() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        where: tuple[str, int] = probe.getsockname()
    return where


@contextmanager
def mute() -> Iterator[tuple[str, int]]:
    """A server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


URL = "https://dynamodb.test"


def get(client: WireClient) -> object:
    return client.get_item(TableName="sessions", Key={"token": {"S": "abc"}})["Item"]


def files() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0


def test_four_good_addresses_with_a_slow_handshake(
    driver: Driver, server: Hesitant, resolve: Resolve, bundle: str
) -> None:
    # At a third of the default's scale.
    resolve([(f"127.0.0.{number}", server.port) for number in range(1, 5)])
    server.hesitates = 0.1
    with closing(driver.client(URL, attempts=1, connect_timeout=0.35, ca_bundle=bundle)) as client:
        assert get(client)
        assert server.connections == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses")
def test_an_address_that_is_silent_costs_the_delay_and_only_once(
    driver: Driver,
    server: Hesitant,
    resolve: Resolve,
    bundle: str,
    hole: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dynamostore.wire._racing.DELAY", 0.1)
    resolve([hole, ("127.0.0.1", server.port)])
    before = files()
    for least, most in ((0.1, 0.5), (0, 0.1)):
        begun = time.monotonic()
        with closing(driver.client(URL, attempts=1, ca_bundle=bundle)) as client:
            assert get(client)
            assert least <= time.monotonic() - begun < most
    server.be_still()
    assert files() <= before + 1  # the loop has one more, perhaps


def test_addresses_that_refuse_cost_nothing(
    driver: Driver, server: Hesitant, resolve: Resolve, bundle: str, closed: tuple[str, int]
) -> None:
    _, port = closed
    resolve([closed, ("127.0.0.2", port), ("127.0.0.1", server.port)])
    with closing(driver.client(URL, attempts=1, connect_timeout=5, ca_bundle=bundle)) as client:
        begun = time.monotonic()
        assert get(client)
        assert time.monotonic() - begun < DELAY


def test_a_handshake_that_hangs_is_overtaken(driver: Driver, server: Hesitant, resolve: Resolve, bundle: str) -> None:
    with mute() as where:
        resolve([where, ("127.0.0.1", server.port)])
        with closing(driver.client(URL, attempts=1, connect_timeout=0.3, ca_bundle=bundle)) as client:
            assert get(client)


def test_all_that_fail_are_an_error_at_once_and_are_looked_up_anew(
    driver: Driver, server: Hesitant, resolve: Resolve, bundle: str, closed: tuple[str, int]
) -> None:
    resolve([closed, ("127.0.0.2", closed[1])])
    with closing(driver.client(URL, attempts=1, connect_timeout=5, ca_bundle=bundle)) as client:
        begun = time.monotonic()
        with pytest.raises(ConnectError, match="Connection refused"):
            get(client)
        assert time.monotonic() - begun < DELAY
        # A failover: no answer is kept that led nowhere.
        real = socket.getaddrinfo
        socket.getaddrinfo = lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        try:
            assert get(client)
        finally:
            socket.getaddrinfo = real


def test_silence_everywhere_is_a_time_out(driver: Driver, resolve: Resolve, bundle: str) -> None:
    with mute() as one, mute() as other:
        resolve([one, other])
        before = files()
        with closing(driver.client(URL, attempts=1, connect_timeout=0.1, ca_bundle=bundle)) as client:
            begun = time.monotonic()
            with pytest.raises(ConnectError, match=r"no connection to dynamodb\.test:443 within 0\.1 s"):
                get(client)
            assert time.monotonic() - begun < 1
        assert files() <= before + 1


def test_a_refused_certificate_is_final(
    driver: Driver, server: Hesitant, resolve: Resolve, closed: tuple[str, int]
) -> None:
    resolve([closed, ("127.0.0.1", server.port), ("127.0.0.2", server.port)])
    # The system does not know this authority.
    with closing(driver.client(URL, connect_timeout=5)) as client, pytest.raises(CertificateError):
        get(client)
    assert server.connections == 1


@pytest.mark.parametrize("driver", ["asyncio", "uvloop"], indirect=True)
@pytest.mark.parametrize("secure", [True, False])
def test_a_call_that_is_cancelled_while_it_connects_leaves_nothing(
    driver: Driver, server: Hesitant, resolve: Resolve, bundle: str, hole: tuple[str, int], secure: bool
) -> None:
    server.hesitates = 0.02
    with mute() as where:
        resolve([where, hole, ("127.0.0.1", server.port)])
        client: Any = driver.client(
            URL if secure else f"http://dynamodb.test:{server.port}", attempts=1, connect_timeout=0.05, ca_bundle=bundle
        )

        async def cancel_after(seconds: float) -> None:
            call = asyncio.create_task(client.client.scan(TableName="sessions"))
            await asyncio.sleep(seconds)
            call.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await call
            # Nothing is left to do.
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not [task for task in others if "_attempt" in repr(task)]

        before = files()
        for step in range(6):
            driver.run(cancel_after(step * 0.009))
        client.close()
        # Its ends are in this process, too.
        server.be_still()
        assert files() <= before + 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses")
@pytest.mark.parametrize("driver", ["asyncio", "uvloop"], indirect=True)
def test_a_call_that_is_cancelled_while_the_losers_end_does_not_keep_the_winner(
    driver: Driver, resolve: Resolve, hole: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynamostore.wire._racing.DELAY", 0.02)
    ending = 0

    async def end(attempts: Iterable[Any]) -> None:
        nonlocal ending
        ending += 1
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await _end(attempts)

    monkeypatch.setattr("dynamostore.wire._adialing._end", end)
    with FaultyDynamoDB() as server:
        resolve([hole, ("127.0.0.1", server.port)])
        client: Any = driver.client(f"http://dynamodb.test:{server.port}", attempts=1)

        async def call() -> None:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.create_task(client.client.scan(TableName="sessions"))

        driver.run(call())
        assert ending == 1
        server.be_still()
        client.close()


@pytest.mark.parametrize("driver", ["asyncio", "uvloop"], indirect=True)
def test_a_connection_that_is_lost_before_it_is_used_is_no_time_out(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang_up(line: Line) -> None:
        line.close()

    async def late(*arguments: Any) -> object:
        connection = await adial(*arguments)
        await asyncio.sleep(0.05)
        return connection

    monkeypatch.setattr("dynamostore.wire._streams.adial", late)
    with FaultyDynamoDB() as server, closing(driver.client(server.url, read_timeout=5)) as client:
        server.script(hang_up)
        begun = time.monotonic()
        assert get(client)
        assert server.connections == 2
        assert time.monotonic() - begun < 2


# IPv6


def link_local() -> str | None:
    """An address of this machine that means nothing without its scope."""
    with suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            address, _, _, scope, *_, name = line.split()
            if scope == "20":
                packed = bytes.fromhex(address)
                return f"{socket.inet_ntop(socket.AF_INET6, packed)}%{name}"
    return None


@pytest.mark.parametrize("secure", [True, False])
def test_the_scope_of_an_address_is_kept(driver: Driver, authority: trustme.CA, bundle: str, secure: bool) -> None:
    host = link_local()
    if host is None:
        pytest.skip("no interface has a link-local address")
    # As RFC 6874 has it, and as people write it.
    written = host.replace("%", "%25") if secure else host
    hosts: list[str] = []

    async def listen(line: Line) -> None:
        hosts.append((await line.read()).header("host"))
        await honestly(line)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host.partition("%")[0]).configure_cert(context)

    class V6(FaultyDynamoDB):
        def _bound(self, port: int) -> socket.socket:
            sock = socket.socket(socket.AF_INET6)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setblocking(False)
            sock.bind(("::", port))
            return sock

    with (
        V6(tls=context if secure else None) as server,
        closing(
            driver.client(
                f"{'https' if secure else 'http'}://[{written}]:{server.port}",
                attempts=1,
                connect_timeout=5,
                ca_bundle=bundle,
            )
        ) as client,
    ):
        server.script(listen)
        assert get(client)
        # It means nothing to the server.
        assert hosts == [f"[{host.partition('%')[0]}]:{server.port}"]
