"""``read_timeout`` counts silence: a large request on a slow line goes on while it moves, and fails when it does not."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamostore.wire import ReplyTimeoutError, ServiceError, WireClient
from dynamostore.wire._silence import FLIGHT, LOOKS, Silence, acknowledged

from .faulty import Driver, Fault, FaultyDynamoDB, Kind, Line, refusal

READ_TIMEOUT = 0.12
SIZE = 1_500_000

# The clock


@settings(max_examples=50)
@given(
    st.lists(st.floats(0.01, 3), max_size=30),
    st.floats(0.05, 5),
    st.booleans(),
    st.lists(st.floats(0, 0.1), min_size=1),
)
def test_a_silence_is_as_long_as_it_may_be_give_or_take_a_look(
    gaps: list[float], limit: float, small: bool, late: list[float]
) -> None:
    now, moved = 0.0, [0.0]
    for gap in gaps:
        moved.append(moved[-1] + gap * limit / 2)
    silence = Silence()
    silence.begin(FLIGHT if small else FLIGHT + 1, now, limit)
    looks = 0

    def measure() -> int:
        return sum(at <= now for at in moved)

    while (wait := silence.look(now, measure)) > 0:
        assert wait <= limit / LOOKS + 1e-9
        now += wait + late[looks % len(late)] * limit / LOOKS  # no loop is punctual
        looks += 1
        assert looks < 1000
    since = 0.0 if small else max(at for at in moved if at <= now)
    look = 1.1 * limit / LOOKS
    assert since + limit - look - 1e-9 <= now <= since + limit + look + 1e-9
    assert silence.explain(now) == f"no reply within {limit:.3g} s"


def test_a_byte_of_the_reply_ends_a_silence() -> None:
    silence = Silence()
    silence.begin(10, 100.0, 2.0)
    silence.heard(101.0)
    assert silence.look(102.9, int) == pytest.approx(0.1)
    assert silence.explain(102.9) == "the reply was not complete in time"
    assert silence.look(103.0, int) == 0


def test_what_has_moved_while_the_process_was_frozen_is_no_silence() -> None:
    for moved, wait in ((2, 2.0 / LOOKS), (1, 0.0)):
        silence = Silence()
        silence.begin(FLIGHT + 1, 100.0, 2.0)
        assert silence.look(100.5, [1].copy) > 0
        assert silence.look(110.0, [moved].copy) == wait
        assert silence.look(112.0, [moved].copy) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_the_system_tells_how_much_has_arrived() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        before = int.from_bytes(acknowledged(sock), "little")
        sock.sendall(bytes(5000))
        until = time.monotonic() + 2
        while int.from_bytes(acknowledged(sock), "little") - before != 5000:
            assert time.monotonic() < until
            time.sleep(0.001)
        assert acknowledged(listener) in (b"", bytes(8))
    assert acknowledged(sock) == b""


# On real sockets


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


KINDS: list[tuple[Kind, bool]] = [("sync", False), ("sync", True), ("asyncio", True), ("uvloop", False)]
IDS = [f"{kind} over {'TLS' if secure else 'TCP'}" for kind, secure in KINDS]


@pytest.fixture(params=KINDS, ids=IDS)
def ends(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[tuple[Driver, FaultyDynamoDB]]:
    """A kind of client, and a server."""
    kind, secure = request.param
    context = None
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
    server = FaultyDynamoDB(tls=context)
    # So that what the server has not read is the client's to send.
    server._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    with server, Driver(kind) as driver:
        yield driver, server
        driver.assert_clean()


def put(client: WireClient) -> None:
    client.put_item(TableName="sessions", Item={"token": {"S": "abc"}, "data": {"S": "x" * SIZE}})


def slowly(share: float = 1.0) -> Fault:
    """Read a share of a request in twice the read time-out, and then no more."""

    async def fault(line: Line) -> None:
        steps = 20
        for step in range(1, steps + 1):
            await line.read(share * step / steps)
            await asyncio.sleep(2 * READ_TIMEOUT / steps)
        if share < 1:
            await asyncio.sleep(5 * READ_TIMEOUT)
            return
        await line.send(await line.answer())

    return fault


def test_an_upload_that_makes_progress_is_no_silence(ends: tuple[Driver, FaultyDynamoDB], bundle: str) -> None:
    driver, server = ends
    server.script(slowly())
    with closing(driver.client(server.url, attempts=1, read_timeout=READ_TIMEOUT, ca_bundle=bundle)) as client:
        begun = time.monotonic()
        put(client)
        assert time.monotonic() - begun > 1.5 * READ_TIMEOUT


@pytest.mark.parametrize("ends", [KINDS[1], KINDS[3]], ids=[IDS[1], IDS[3]], indirect=True)
def test_an_upload_that_stands_still_is_given_up(ends: tuple[Driver, FaultyDynamoDB], bundle: str) -> None:
    driver, server = ends
    server.script(slowly(0.2))
    with closing(driver.client(server.url, attempts=1, read_timeout=READ_TIMEOUT, ca_bundle=bundle)) as client:
        begun = time.monotonic()
        with pytest.raises(ReplyTimeoutError, match=r"no reply within 0\.12 s"):
            put(client)
        assert 2.5 * READ_TIMEOUT < time.monotonic() - begun < 5 * READ_TIMEOUT


@pytest.mark.parametrize("ends", [KINDS[0], KINDS[2]], ids=[IDS[0], IDS[2]], indirect=True)
def test_no_upload_is_longer_than_its_call(ends: tuple[Driver, FaultyDynamoDB], bundle: str) -> None:
    driver, server = ends
    server.script(slowly())
    with closing(
        driver.client(server.url, attempts=1, read_timeout=READ_TIMEOUT, call_timeout=0.1, ca_bundle=bundle)
    ) as client:
        begun = time.monotonic()
        with pytest.raises(ReplyTimeoutError, match="not complete in time"):
            put(client)
        assert time.monotonic() - begun < 2 * READ_TIMEOUT


@pytest.mark.parametrize("ends", [KINDS[1]], ids=[IDS[1]], indirect=True)
def test_an_upload_that_never_stands_still_ends_with_its_call(ends: tuple[Driver, FaultyDynamoDB], bundle: str) -> None:
    async def read_on(line: Line) -> None:
        # Faster than anybody looks, and slower than the call may take.
        for step in range(1, 1001):
            await line.read(step / 1001)
            await asyncio.sleep(0.002)

    driver, server = ends
    server.script(read_on)
    with closing(driver.client(server.url, attempts=1, read_timeout=5, call_timeout=0.2, ca_bundle=bundle)) as client:
        begun = time.monotonic()
        with pytest.raises(ReplyTimeoutError, match="not complete in time"):
            client.put_item(TableName="sessions", Item={"token": {"S": "abc"}, "data": {"S": "x" * 8_000_000}})
        assert time.monotonic() - begun < 0.8


@pytest.mark.parametrize("ends", [KINDS[0], KINDS[3]], ids=[IDS[0], IDS[3]], indirect=True)
def test_who_answers_and_does_not_read_on_is_heard_and_asked_no_more(ends: tuple[Driver, FaultyDynamoDB]) -> None:
    async def answer_early(line: Line) -> None:
        await line.read(0.01)
        await line.send(refusal(413, "SerializationException"))
        await asyncio.sleep(0.3)

    driver, server = ends
    with closing(driver.client(server.url, attempts=1, read_timeout=0.1)) as client:
        for number in (1, 2):
            server.script(answer_early)
            with pytest.raises(ServiceError, match="SerializationException"):
                client.put_item(TableName="sessions", Item={"token": {"S": "abc"}, "data": {"S": "x" * 8_000_000}})
            assert server.connections == number


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much has come")
@pytest.mark.parametrize(
    "ends", [KINDS[1], KINDS[2], ("uvloop", True)], ids=["sync", "asyncio", "uvloop"], indirect=True
)
def test_a_reply_that_comes_slowly_is_no_silence_within_a_tls_record(
    ends: tuple[Driver, FaultyDynamoDB], bundle: str
) -> None:
    async def trickle(line: Line) -> None:
        record = line.encrypt(bytes(await line.answer()))
        for start in range(0, len(record), len(record) // 8):
            await line.send_raw(record[start : start + len(record) // 8])
            await asyncio.sleep(READ_TIMEOUT / 3)

    driver, server = ends
    server.script(trickle)
    with closing(driver.client(server.url, attempts=1, read_timeout=READ_TIMEOUT, ca_bundle=bundle)) as client:
        begun = time.monotonic()
        assert "Item" in client.get_item(TableName="sessions", Key={"token": {"S": "abc"}})
        assert time.monotonic() - begun > 2 * READ_TIMEOUT
