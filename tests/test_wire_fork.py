"""One client in many threads, in a forked child, when it is closed or forgotten; and connections that have been idle."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import trustme
from aiobotocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import AsyncDynamoStore, DynamoStore, connect
from dynamostore.wire import AsyncWireClient, Credentials, WireClient
from dynamostore.wire._sockets import server_keeps

from .backends import TABLE, Backends
from .faulty import KINDS, Driver

KEYS = Credentials("key", "secret")
PATIENT = 10.0
"""Seconds: for what must come. Whoever waits for it in vain fails."""

KEY = re.compile(rb'"S":"([^"]*)"')
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")


# A server


class Echo:
    """A server whose every reply says which key it was asked for, and on the how manieth of its connections.

    *opened* and *ended* count connections, *asked* requests. A key that begins with "fail" is first answered with a 500. *keeps* is its
    ``Keep-Alive`` header. *hold* keeps replies back while it is not set.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.opened = self.ended = self.asked = 0
        self.keeps: str | None = None
        self.hold = threading.Event()
        self.hold.set()
        self._tls = tls
        self._failed: set[bytes] = set()
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._over = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        port = self._listener.getsockname()[1]
        self._address = ("127.0.0.1", port)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        self._accepting = threading.Thread(target=self._accept)

    def until(self, **counts: int) -> None:
        """Wait until *opened*, *ended*, or *asked* are so many; fails if they do not come to be."""
        with self._changed:
            assert self._changed.wait_for(lambda: {name: getattr(self, name) for name in counts} == counts, PATIENT)

    def _count(self, *, opened: int = 0, ended: int = 0, asked: int = 0) -> int:
        with self._changed:
            self.opened += opened
            self.ended += ended
            self.asked += asked
            self._changed.notify_all()
            return self.opened

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._over:
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock, self._count(opened=1)))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with suppress(OSError), sock:
            if self._tls:
                with self._tls.wrap_socket(sock, server_side=True) as inside:
                    self._answer(inside, number)
            else:
                self._answer(sock, number)
        self._open.discard(sock)
        self._count(ended=1)

    def _answer(self, sock: socket.socket, number: int) -> None:
        asked = b""
        while True:
            head, blank, body = asked.partition(b"\r\n\r\n")
            length = LENGTH.search(head)
            if not blank or length is None or len(body) < int(length[1]):
                received = sock.recv(65536)
                if not received:
                    return
                asked += received
                continue
            # No request is sent before the reply to the last one is there; more would be a second one's, who does not know.
            assert len(body) == int(length[1])
            asked = b""
            key = KEY.search(body)
            assert key is not None
            self._count(asked=1)
            self.hold.wait(PATIENT)
            sock.sendall(self._reply(key[1], number))

    def _reply(self, key: bytes, number: int) -> bytes:
        status, body = b"200 OK", b'{"Item":{"token":{"S":"%b"},"connection":{"N":"%d"}}}' % (key, number)
        if key.startswith(b"fail") and key not in self._failed:
            self._failed.add(key)
            status, body = b"500 Internal Server Error", b'{"__type":"InternalServerError"}'
        keeps = f"Keep-Alive: {self.keeps}\r\n" if self.keeps is not None else ""
        return (
            b"HTTP/1.1 %b\r\nContent-Type: application/x-amz-json-1.0\r\n%bContent-Length: %d\r\n\r\n"
            % (status, keeps.encode(), len(body))
            + body
        )

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over = True
        self.hold.set()
        # To close it would not wake it up.
        with socket.create_connection(self._address, timeout=PATIENT):
            self._accepting.join()
        self._listener.close()
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


def ask(client: WireClient, key: str) -> int:
    """Ask for *key*, and be given it; on which of the server's connections."""
    item = client.get_item(TableName="sessions", Key={"token": {"S": key}})["Item"]
    assert item["token"].get("S") == key
    return int(item["connection"]["N"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture(params=["plain", "tls"])
def either(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[Echo]:
    """A server, once without and once with TLS."""
    context = None
    if request.param == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
    with Echo(context) as server:
        yield server


@pytest.fixture
def server() -> Iterator[Echo]:
    with Echo() as server:
        yield server


@pytest.fixture(params=KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """The clients of each kind, called alike."""
    with Driver(request.param) as driver:
        yield driver
        driver.assert_clean()


@contextmanager
def client_of(driver: Driver, server: Echo, **settings: Any) -> Iterator[WireClient]:
    client = driver.client(server.url, **settings)
    try:
        yield client
    finally:
        client.close()


# Threads


def test_sixteen_threads_have_their_own_replies_on_no_more_connections_than_there_are_threads(
    driver: Driver, server: Echo
) -> None:
    threads, calls = 16, 200

    def work(name: int) -> None:
        together.wait(PATIENT)
        for number in range(calls):
            ask(client, f"{name}-{number}")

    together = threading.Barrier(threads)
    # No attempt is made twice, so that nothing is hidden.
    with client_of(driver, server, attempts=1) as client, ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work, name) for name in range(threads)]:
            future.result()
    assert server.asked == threads * calls
    assert server.opened <= threads


def test_as_many_connections_are_kept_as_were_used_at_once(driver: Driver, either: Echo, bundle: str) -> None:
    threads = 5
    with client_of(driver, either, attempts=1, ca_bundle=bundle) as client, ThreadPoolExecutor(threads) as pool:
        for last in (threads, 2 * threads, 3 * threads):
            either.hold.clear()
            futures = [pool.submit(ask, client, f"{last}-{name}") for name in range(threads)]
            either.until(asked=last)
            either.hold.set()
            assert sorted(future.result() for future in futures) == [1, 2, 3, 4, 5]
        assert (either.opened, either.ended) == (threads, 0)
    either.until(ended=threads)


# Forks

# To be run by a process of its own; it says on which connections which part of it was answered.
SYNC = """
import json, os, sys, threading
from dynamostore.wire import Credentials, WireClient

url, bundle = sys.argv[1:]
client = WireClient("us-east-1", url, credentials=Credentials("key", "secret"), ca_bundle=bundle, attempts=1)


def ask(who, calls):
    on = set()
    for number in range(calls):
        key = f"{who}-{number}"
        item = client.get_item(TableName="sessions", Key={"token": {"S": key}})["Item"]
        assert item["token"] == {"S": key}, (key, item)
        on.add(int(item["connection"]["N"]))
    return sorted(on)


def fork(child):
    # The child's end of the pipe is what it says; nothing of it, if it fails.
    said, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(say, json.dumps(child()).encode())
        os._exit(0)
    os.close(say)

    def join():
        with open(said, "rb") as reader:
            text = reader.read()
        assert os.waitpid(pid, 0)[1] == 0
        return json.loads(text)

    return join
"""

A_CHILD = """
before = ask("before", 5)
join = fork(lambda: ask("child", 200))
parent = ask("parent", 200)
print(json.dumps({"before": before, "parent": parent, "child": join(), "after": ask("after", 5)}))
"""

CHILDREN_OF_CHILDREN = """
before = ask("before", 1)


def child():
    mine = ask("child", 5)
    join = fork(lambda: ask("grandchild", 50))
    return [mine, ask("child, too", 50), join()]


join = fork(child)
parent = ask("parent", 50)
mine, mine_then, grandchilds = join()
assert mine_then == mine
print(json.dumps({"before": before, "parent": parent, "child": mine, "grandchild": grandchilds}))
"""

WHILE_THREADS_ARE_CALLING = """
over = threading.Event()
failed = []


def work(name):
    try:
        number = 0
        while not over.is_set():
            used.update(ask(f"{name}-{number}", 1))
            number += 1
    except BaseException as error:
        failed.append(repr(error))
        raise


used = set()
threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
for thread in threads:
    thread.start()
while len(used) < 2:
    pass
joins = [fork(lambda n=n: ask(f"child {n}", 50)) for n in range(3)]
children = [join() for join in joins]
over.set()
for thread in threads:
    thread.join()
assert not failed, failed
print(json.dumps({"parent": sorted(used), **{f"child {n}": on for n, on in enumerate(children)}}))
"""

# A credential_process: the first one says that it has begun, and waits until it may go on.
SLOW_CREDENTIALS = """
import json, pathlib, sys, time

folder = pathlib.Path(sys.argv[1])
if not (folder / "begun").exists():
    (folder / "begun").touch()
    while not (folder / "go on").exists():
        time.sleep(0.01)
print(json.dumps({"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "secret"}))
"""

WHILE_A_THREAD_LOOKS_FOR_CREDENTIALS = """
import pathlib, time

folder = pathlib.Path(os.environ["AWS_CONFIG_FILE"]).parent
client = WireClient("us-east-1", url, ca_bundle=bundle, attempts=1)
answered = []
thread = threading.Thread(target=lambda: answered.extend(ask("thread", 2)))
thread.start()
while not (folder / "begun").exists():
    time.sleep(0.01)


def child():
    import signal

    # Not to wait for ever for a thread that is not here.
    signal.alarm(10)
    return ask("child", 2)


childs = fork(child)()
assert not answered
(folder / "go on").touch()
thread.join()
print(json.dumps({"parent": answered, "child": childs}))
"""

ASYNC = """
import asyncio, json, os, sys
from dynamostore.wire import AsyncWireClient, Credentials

kind, url, bundle = sys.argv[1:]
client = AsyncWireClient("us-east-1", url, credentials=Credentials("key", "secret"), ca_bundle=bundle, attempts=1)
if kind == "uvloop":
    from uvloop import new_event_loop
else:
    from asyncio import new_event_loop


async def ask_one(key):
    item = (await client.get_item(TableName="sessions", Key={"token": {"S": key}}))["Item"]
    assert item["token"] == {"S": key}, (key, item)
    return int(item["connection"]["N"])


async def ask(who, calls):
    on = set()
    for number in range(calls // 5):
        on.update(await asyncio.gather(*(ask_one(f"{who}-{number}-{n}") for n in range(5))))
    return sorted(on)


said, say = os.pipe()
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    before = runner.run(ask("before", 10))
    pid = os.fork()
    if pid == 0:
        with asyncio.Runner(loop_factory=new_event_loop) as of_its_own:
            child = of_its_own.run(ask("child", 100))
            of_its_own.run(client.close())
        os.write(say, json.dumps(child).encode())
        os._exit(0)
    os.close(say)
    parent = runner.run(ask("parent", 100))
    with open(said, "rb") as reader:
        child = json.loads(reader.read())
    assert os.waitpid(pid, 0)[1] == 0
    after = runner.run(ask("after", 10))
    runner.run(client.close())
print(json.dumps({"before": before, "parent": parent, "child": child, "after": after}))
"""


def run(program: str, *arguments: str) -> dict[str, set[int]]:
    """What a program says; it must have nothing to complain of."""
    # Python 3.12 warns of any fork while there are threads: of what may go wrong, and here must not.
    options = ["-W", "error", "-W", "ignore::DeprecationWarning"]
    ran = subprocess.run(
        [sys.executable, *options, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stderr == ""
    assert ran.returncode == 0
    return {who: set(on) for who, on in json.loads(ran.stdout).items()}


needs_fork = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Windows has no fork")


@needs_fork
def test_a_child_has_connections_of_its_own_and_leaves_the_parents_alone(either: Echo, bundle: str) -> None:
    on = run(SYNC + A_CHILD, either.url, bundle)
    assert on["before"] == on["parent"] == on["after"] == {1}
    assert on["child"] == {2}
    assert either.asked == 410


@needs_fork
def test_a_childs_child_does_so_too(either: Echo, bundle: str) -> None:
    on = run(SYNC + CHILDREN_OF_CHILDREN, either.url, bundle)
    assert on["before"] == on["parent"] == {1}
    assert on["child"] == {2}
    assert on["grandchild"] == {3}


@needs_fork
def test_children_that_are_forked_while_threads_are_calling_have_connections_of_their_own(
    either: Echo, bundle: str
) -> None:
    on = run(SYNC + WHILE_THREADS_ARE_CALLING, either.url, bundle)
    assert len(on["parent"]) <= 4
    assert all(len(on[f"child {n}"]) == 1 for n in range(3))
    assert len(set.union(*on.values())) == len(on["parent"]) + 3


@needs_fork
def test_a_child_does_not_wait_for_the_credentials_that_a_thread_of_its_parent_was_looking_for(
    server: Echo, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "credentials.py"
    program.write_text(SLOW_CREDENTIALS)
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {sys.executable} -I -S {program} {tmp_path}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    on = run(SYNC + WHILE_A_THREAD_LOOKS_FOR_CREDENTIALS, server.url, bundle)
    assert on == {"child": {1}, "parent": {2}}


@needs_fork
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_a_child_with_an_event_loop_of_its_own_has_connections_of_its_own(either: Echo, bundle: str, kind: str) -> None:
    on = run(ASYNC, kind, either.url, bundle)
    assert on["before"] == on["parent"] == on["after"]
    assert len(on["before"]) == len(on["child"]) == 5
    assert on["child"].isdisjoint(on["before"])


# Closed, and forgotten


def test_a_closed_client_makes_no_call(driver: Driver, server: Echo) -> None:
    client = driver.client(server.url)
    ask(client, "before")
    client.close()
    server.until(ended=1)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the client is closed"):
            ask(client, "after")
        with pytest.raises(RuntimeError, match="the client is closed"):
            driver.store(client).find("after")
        client.close()
    assert (server.asked, server.opened) == (1, 1)


@pytest.mark.parametrize("what", ["client", "store"])
def test_what_was_closed_opens_again_when_it_is_entered(server: Echo, what: str) -> None:
    client = WireClient("us-east-1", server.url, credentials=KEYS)
    entered: WireClient | DynamoStore = client if what == "client" else DynamoStore(client)
    for round_ in (1, 2, 3):
        with entered:
            assert [ask(client, "one"), ask(client, "two")] == [round_, round_]
        server.until(ended=round_)
        with pytest.raises(
            RuntimeError, match=r"the client is closed; enter it again \(with client: ...\) to reopen it"
        ):
            ask(client, "after")
    assert (server.asked, server.opened) == (6, 3)


@pytest.mark.parametrize("what", ["client", "store"])
def test_what_was_closed_opens_again_on_another_loop(server: Echo, what: str) -> None:
    client = AsyncWireClient("us-east-1", server.url, credentials=KEYS)
    entered: AsyncWireClient | AsyncDynamoStore = client if what == "client" else AsyncDynamoStore(client)

    async def look() -> None:
        await client.get_item(TableName="sessions", Key={"token": {"S": "one"}})

    async def main() -> None:
        for _ in range(2):
            async with entered:
                await look()
            with pytest.raises(RuntimeError, match="the client is closed"):
                await look()

    for round_ in (2, 4):
        asyncio.run(main())
        server.until(ended=round_)
    with pytest.raises(RuntimeError, match="the client is closed"):
        asyncio.run(look())
    assert server.opened == 4


def test_a_store_on_another_client_opens_again(backends: Backends) -> None:
    url = backends.server("ministack").url
    store = connect(TABLE, region="us-east-1", endpoint_url=url, via="boto3")
    for _ in range(2):
        with store:
            store.ping()

    async def main() -> None:
        context = get_session().create_client("dynamodb", region_name="us-east-1", endpoint_url=url)
        async with context as client:
            aio = AsyncDynamoStore(client, TABLE)
            for _ in range(2):
                async with aio:
                    await aio.ping()

    asyncio.run(main())


def test_a_client_that_was_never_used_can_be_closed(driver: Driver, server: Echo) -> None:
    client = driver.client(server.url)
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        ask(client, "after")
    assert server.opened == 0


def test_a_client_is_closed_at_the_end_of_its_block(server: Echo) -> None:
    with pytest.raises(ZeroDivisionError), WireClient("us-east-1", server.url, credentials=KEYS) as client:
        ask(client, "one")
        raise ZeroDivisionError
    server.until(ended=1)
    with pytest.raises(RuntimeError, match="the client is closed"):
        ask(client, "two")

    async def main() -> None:
        async with AsyncWireClient("us-east-1", server.url, credentials=KEYS) as client:
            await client.get_item(TableName="sessions", Key={"token": {"S": "three"}})
        with pytest.raises(RuntimeError, match="the client is closed"):
            await client.get_item(TableName="sessions", Key={"token": {"S": "four"}})

    asyncio.run(main())
    server.until(ended=2)


def test_a_call_that_is_under_way_when_a_sync_client_is_closed_ends_as_it_would_have(server: Echo) -> None:
    client = WireClient("us-east-1", server.url, credentials=KEYS)
    server.hold.clear()
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(ask, client, "one")
        server.until(asked=1)
        client.close()
        server.hold.set()
        assert under_way.result() == 1
    # Its connection is not kept.
    server.until(ended=1)


def test_a_client_that_is_forgotten_closes_its_connections(either: Echo, bundle: str) -> None:
    client = WireClient("us-east-1", either.url, credentials=KEYS, ca_bundle=bundle)
    either.hold.clear()
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(ask, client, str(name)) for name in range(3)]
        either.until(asked=3)
        either.hold.set()
        for future in futures:
            future.result()
    del future, futures
    assert either.ended == 0
    # By its last reference: no collection is needed for that (and a ResourceWarning would fail the test).
    gc.disable()
    try:
        del client
        either.until(ended=3)
    finally:
        gc.enable()


def test_a_client_that_is_forgotten_in_a_circle_closes_its_connections_when_that_is_collected(server: Echo) -> None:
    store = DynamoStore(WireClient("us-east-1", server.url, credentials=KEYS))
    store.client.circle = store  # type: ignore[attr-defined]  # as an application might
    store.client.get_item(TableName="sessions", Key={"token": {"S": "one"}})
    del store
    gc.collect()
    server.until(ended=1)


AT_THE_END = """
ask("one", 3)
print(json.dumps({"on": [1]}))
"""


def test_a_client_that_a_program_never_closes_is_closed_with_it_without_a_warning(either: Echo, bundle: str) -> None:
    run(SYNC + AT_THE_END, either.url, bundle)
    either.until(ended=1)


# Connections that were idle


class Time:
    """Stands in for the module ``time``."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """What the connections' time is taken from; the event loops have their own."""
    time = Time()
    monkeypatch.setattr("dynamostore.wire._sockets.time", time)
    monkeypatch.setattr("dynamostore.wire._streams.time", time)
    return time


@pytest.mark.parametrize("keep_idle", [0.5, 20.0, 3600.0])
def test_a_connection_is_used_again_until_it_has_been_idle_for_too_long(
    driver: Driver, server: Echo, time: Time, keep_idle: float
) -> None:
    with client_of(driver, server, attempts=1, keep_idle=keep_idle) as client:
        assert ask(client, "one") == 1
        for _ in range(3):
            # From the last call on.
            time.now += keep_idle - 0.25
            assert ask(client, "two") == 1
        time.now += keep_idle
        assert ask(client, "three") == 2
        server.until(ended=1)
        assert server.opened == 2


@pytest.mark.parametrize(
    ("keeps", "keep_idle", "kept"),
    [("timeout=5", 20.0, 4.0), ("timeout=5, max=100", 20.0, 4.0), ("timeout=60", 20.0, 20.0), ("max=7", 20.0, 20.0)],
)
def test_a_connection_is_not_used_when_the_server_may_be_about_to_close_it(
    driver: Driver, server: Echo, time: Time, keeps: str, keep_idle: float, kept: float
) -> None:
    server.keeps = keeps
    with client_of(driver, server, attempts=1, keep_idle=keep_idle) as client:
        assert ask(client, "one") == 1
        time.now += kept - 0.25
        assert ask(client, "two") == 1
        time.now += kept
        assert ask(client, "three") == 2
        server.until(ended=1)


def test_a_server_that_keeps_nothing_is_asked_anew_each_time(driver: Driver, server: Echo) -> None:
    server.keeps = "timeout=1"
    with client_of(driver, server, attempts=1) as client:
        assert [ask(client, name) for name in "abc"] == [1, 2, 3]


@pytest.mark.parametrize(("keeps", "keep_idle"), [(None, 0.05), ("timeout=1", 20.0)])
@pytest.mark.parametrize("driver", ["asyncio", "uvloop"], indirect=True)
def test_an_async_client_closes_what_was_idle_for_too_long_without_being_called(
    driver: Driver, server: Echo, keeps: str | None, keep_idle: float
) -> None:
    server.keeps = keeps
    with client_of(driver, server, attempts=1, keep_idle=keep_idle) as client:
        assert ask(client, "one") == 1
        server.until(ended=1)
        assert ask(client, "two") == 2
        server.until(ended=2)


@pytest.mark.parametrize("keeps", [None, "timeout=5"])
def test_connections_that_are_no_longer_needed_are_closed_while_one_is_used_on(
    server: Echo, time: Time, keeps: str | None
) -> None:
    server.keeps = keeps
    keep = 20.0 if keeps is None else 4.0
    with WireClient("us-east-1", server.url, credentials=KEYS, attempts=1, keep_idle=20.0) as client:
        server.hold.clear()
        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(ask, client, str(name)) for name in range(4)]
            server.until(asked=4)
            server.hold.set()
            used = {future.result() for future in futures}
        assert used == {1, 2, 3, 4}
        time.now += keep / 2
        last = ask(client, "one")
        time.now += keep / 2
        # One with each call.
        for ended in (1, 2, 3):
            assert ask(client, "on") == last
            server.until(ended=ended)
        assert ask(client, "on") == last
        assert (server.opened, server.ended) == (4, 3)


parameters = st.sampled_from(
    ["max=100", "timeout", "timeout=", "timeout=x", "timeout=-3", "timeout=1.5", "", "a=b=c", "="]
)
blanks = st.sampled_from(["", " ", "  "])


@given(st.text() | st.lists(parameters).map(", ".join))
def test_a_header_that_says_nothing_of_a_time_changes_nothing(header: str) -> None:
    if re.search(r"timeout\s*=\s*\d", header, re.IGNORECASE) and not re.search(r"timeout=1\.5", header):
        return
    assert server_keeps(header) == float("inf")


@given(
    st.integers(0, 10**30),
    st.lists(parameters),
    st.lists(st.sampled_from(["max=5", "timeout=x"])),
    blanks,
    st.sampled_from(["timeout", "Timeout", "TIMEOUT"]),
)
def test_a_time_in_a_header_is_taken_less_a_second(
    seconds: int, before: list[str], after: list[str], blank: str, name: str
) -> None:
    header = f"{blank},".join([*before, f"{blank}{name}{blank}={blank}{seconds}{blank}", *after])
    assert server_keeps(header) == max(float(seconds) - 1, 0.0)
