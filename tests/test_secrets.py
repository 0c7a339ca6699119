"""No secret is in a frame, a message or a log: neither AWS's, nor a session's token, nor what is stored under it.

Errors of all kinds are driven, and searched as error trackers do (`tests.frames`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import flask
import pytest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

import dynamostore
from dynamostore import (
    AsyncDynamoStore,
    AsyncMemoryStore,
    Conflict,
    DynamoStore,
    MemoryStore,
    Record,
    StoreError,
    Table,
    UnavailableError,
    items,
)
from dynamostore.admin import adoctor, doctor
from dynamostore.batch import AsyncBatch, Batch
from dynamostore.errors import ItemTooLargeError, ThrottledError
from dynamostore.hidden import Hidden, clear_frames
from dynamostore.steps import asleep
from dynamostore.wire import AsyncWireClient, Credentials, WireClient
from dynamostore.wire.errors import WireError
from session import AsyncSession, AsyncSessionManager, Session, SessionConflict, SessionManager
from session.codecs import JSONCodec
from session.web import asgi, django, wsgi
from session.web.flask import SessionInterface

from . import django_site  # noqa: F401 (importing it sets Django up)
from .faulty import Driver, Fault, FaultyDynamoDB, Line, Request, honestly, page, reply
from .frames import (
    COOKIE,
    DATA,
    IBAN,
    KEY,
    OTHER,
    STS,
    TOKEN,
    Sent,
    check_error,
    check_live_frames,
    checked_logs,
    fail_if_noted,
    holders_in,
    watched,
)

SOON = datetime(2200, 1, 1, tzinfo=UTC)
RECORD = Record(TOKEN, DATA, SOON, 7)
CREDENTIALS = Credentials("AKIAEXAMPLE", KEY, STS)

Act: TypeAlias = Callable[[], object]


@pytest.fixture(autouse=True)
def _no_live_frame() -> Iterator[None]:
    yield
    fail_if_noted()


@pytest.fixture(scope="module")
def sent() -> Sent:
    return Sent()


def caught(act: Act, sent: Sent) -> BaseException | None:
    """What *act* raises, searched; None if it raises nothing."""
    try:
        act()
    except BaseException as error:  # noqa: BLE001 (whatever it is)
        check_error(error, sent)
        return error
    return None


@contextmanager
def opened(client: WireClient, driver: Driver) -> Iterator[WireClient]:
    """*client*, which may be an async one that is waited for, to be closed in the end."""
    try:
        yield client
    finally:
        made: Any = client
        closed = made.close()
        if closed is not None:
            driver.run(closed)


# What finds a secret


def test_the_search_finds_what_trackers_would_show(sent: Sent) -> None:
    """Functions that pass for the library's, and hold a secret in all ways."""

    def raises(source: str) -> BaseException:
        scope: dict[str, Any] = {"__name__": "dynamostore.made_up", "TOKEN": TOKEN, "Hidden": Hidden, "RECORD": RECORD}
        exec(f"def leak():\n    local = {source}\n    raise ValueError('it')", scope)
        with pytest.raises(ValueError, match="it") as info:
            scope["leak"]()
        return info.value

    for source in (
        "TOKEN",
        "TOKEN.encode()",
        "{'a': {'S': TOKEN}}",
        "[(TOKEN,)]",
        "{TOKEN}",
        "type('X', (str,), {})(TOKEN)",
    ):
        assert holders_in(raises(source)), source
    assert sent.holders_in(raises("TOKEN"))
    for source in ("Hidden(TOKEN)", "[Hidden(TOKEN)]", "RECORD"):
        assert holders_in(raises(source)) + sent.holders_in(raises(source)) == [], source


def test_frames_that_go_on_are_not_cleared() -> None:
    def plan() -> Iterator[int]:
        kept = 1
        try:
            yield kept
        except ValueError as error:
            clear_frames(error)
            yield kept + 1

    running = plan()
    next(running)
    assert running.throw(ValueError()) == 2  # type: ignore[attr-defined]  # it is a generator


def awaited(act: Act) -> Awaitable[object]:
    made = act()
    assert isinstance(made, Awaitable)
    return made


# The store, on the wire


def item(**changes: object) -> dict[str, object]:
    whole: dict[str, object] = {
        "token": {"S": TOKEN},
        "data": {"B": base64.b64encode(DATA).decode()},
        "expiry": {"N": "8000000000000000000"},
        "ttl": {"N": "8000000001"},
        "version": {"N": "7"},
    }
    return whole | changes


async def nothing(line: Line) -> None:
    await line.read()
    await line.hold()


async def lost(line: Line) -> None:
    await line.read()
    line.reset()


def saying(status: int, body: object, *fields: str) -> Fault:
    async def say(line: Line) -> None:
        await line.read()
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await line.send(reply(status, data, *fields))

    return say


def refusing(code: str, status: int = 400, **more: object) -> Fault:
    return saying(status, {"__type": f"com.amazonaws#{code}", "message": "because", **more})


def paged(line: Line) -> Awaitable[None]:
    async def send() -> None:
        await line.read()
        await line.send(page(200))

    return send()


async def babbling(line: Line) -> None:
    await line.read()
    await line.send(f"{TOKEN} {IBAN}\r\n\r\n".encode())


FAULTS: dict[str, Fault] = {
    "time-out": nothing,
    "lost": lost,
    "no HTTP": babbling,
    "a page": paged,
    "another checksum": saying(200, {"Item": item()}, "x-amz-crc32: 1"),
    "no JSON": saying(200, json.dumps({"Item": item()}).encode()[:-3]),
    "another key": saying(200, {"Item": item(token={"S": OTHER})}),
    "corrupt": saying(200, {"Item": item(expiry={"S": IBAN})}),
    "corrupt data": saying(200, {"Item": item(data={"S": IBAN})}),
    "invalid": refusing("ValidationException"),
    "denied": refusing("AccessDeniedException"),
    "throttled": refusing("ThrottlingException"),
    "5xx": refusing("InternalServerError", 500),
    "condition": refusing("ConditionalCheckFailedException", Item=item(version={"N": "8"})),
    "corrupt winner": refusing("ConditionalCheckFailedException", Item=item(expiry={"S": IBAN})),
    "transaction": refusing(
        "TransactionCanceledException",
        CancellationReasons=[{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Item": item(version={"N": "8"})}],
    ),
    "taken": refusing(
        "TransactionCanceledException",
        CancellationReasons=[{"Code": "ConditionalCheckFailed", "Item": item(token={"S": OTHER})}, {"Code": "None"}],
    ),
    "unknown": refusing("UnknownOperationException"),
}


def verbs(store: Any) -> dict[str, Act]:
    """Calls with tokens and data, those that are refused too."""
    large = DATA * 6000
    return {
        "find": lambda: store.find(TOKEN),
        "save": lambda: store.save(TOKEN, DATA, SOON),
        "create": lambda: store.create(TOKEN, DATA, SOON),
        "replace": lambda: store.replace(RECORD, DATA, SOON),
        "touch": lambda: store.touch(RECORD, SOON),
        "rename": lambda: store.rename(RECORD, OTHER, DATA, SOON),
        "remove": lambda: store.remove(RECORD),
        "delete": lambda: store.delete(TOKEN),
        "too large": lambda: store.save(TOKEN, large, SOON),
        "too large, replaced": lambda: store.replace(RECORD, large, SOON),
        "no bytes": lambda: store.save(TOKEN, DATA.decode(), SOON),
        "no token": lambda: store.save(TOKEN + "\ud800", DATA, SOON),
        "naive": lambda: store.create(TOKEN, DATA, datetime(2200, 1, 1)),  # noqa: DTZ001
        "the same": lambda: store.rename(RECORD, TOKEN, DATA, SOON),
        "no record": lambda: store.replace(None, DATA, SOON),
        "negative grace": lambda: store.rename(RECORD, OTHER, DATA, SOON, grace=-timedelta(1)),
    }


# The plans are the same: awaited, only what a driver does otherwise.
_AWAITED = ("time-out", "lost", "another checksum", "corrupt", "condition")


@pytest.mark.parametrize(
    ("kind", "fault"), [*(("sync", fault) for fault in FAULTS), *(("asyncio", fault) for fault in _AWAITED)]
)
def test_a_store_and_its_client(kind: Any, fault: str, sent: Sent) -> None:
    raised = 0
    with FaultyDynamoDB() as server, Driver(kind) as driver, checked_logs(), watched():
        server.always = FAULTS[fault]
        settings: Any = {"read_timeout": 0.05, "attempts": 1, "credentials": CREDENTIALS}
        with opened(driver.client(server.url, **settings), driver) as client:
            for name, act in verbs(driver.store(client)).items():
                if fault == "time-out" and name in ("save", "replace", "touch", "remove"):
                    continue  # for the time's sake
                raised += caught(act, sent) is not None
    assert raised > 6


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_what_a_client_refuses(kind: Any, sent: Sent) -> None:
    with (
        FaultyDynamoDB() as server,
        Driver(kind) as driver,
        opened(driver.client(server.url, credentials=CREDENTIALS), driver) as client,
    ):
        key: Any = {"token": {"S": TOKEN}}
        refused: list[Act] = [
            lambda: client.get_item(Key=key, TableName="t", Other=1),  # type: ignore[call-arg]
            lambda: client.get_item(Key=key),  # type: ignore[call-arg]
            lambda: client.put_item(TableName="t", Item={"token": {"S": f"{TOKEN}\ud800"}}),
            lambda: client.put_item(TableName="t", Item={"token": object(), "data": {"S": TOKEN}}),  # type: ignore[dict-item]
            lambda: client.transact_write_items(TransactItems=[{"Put": {"Item": {"a": {"S": f"{TOKEN}\ud800"}}}}]),
        ]
        with watched():
            assert all(caught(act, sent) for act in refused)


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_server_that_is_gone(kind: Any, sent: Sent) -> None:
    with FaultyDynamoDB() as server, Driver(kind) as driver, checked_logs(), watched():
        server.stop()
        with opened(driver.client(server.url, attempts=2, credentials=CREDENTIALS, dice=0.0), driver) as client:
            for act in verbs(driver.store(client)).values():
                assert caught(act, sent)


def test_a_cancelled_call(sent: Sent) -> None:
    async def main(url: str) -> None:
        async with dynamostore.connect_async("t-sessions", endpoint_url=url) as store:
            with watched():
                for act in verbs(store).values():
                    task = asyncio.ensure_future(awaited(act))
                    await asyncio.sleep(0.005)
                    task.cancel()
                    with pytest.raises(BaseException) as info:
                        await task
                    check_error(info.value, sent)

    with FaultyDynamoDB() as server:
        server.always = nothing
        asyncio.run(main(server.url))


def test_a_low_level_client_of_somebody_elses(sent: Sent) -> None:
    """Whose replies the store looks at itself."""

    class Client:
        def __getattr__(self, name: str) -> Callable[..., object]:
            def call(**arguments: object) -> object:
                del arguments
                check_live_frames()
                return {"Item": item(), "ResponseMetadata": {"HTTPHeaders": {"content-type": "text/html"}}}

            return call

    client: Any = Client()
    assert sum(caught(act, sent) is not None for act in verbs(DynamoStore(client)).values()) > 8


# Settings and credentials


def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **variables: str) -> None:
    nowhere = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "keys")}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    for name, value in {"AWS_DEFAULT_REGION": "us-east-1", **nowhere, **variables}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_SECRET_ACCESS_KEY": f"{KEY}\n"},
        {"AWS_SECRET_ACCESS_KEY": KEY, "AWS_SESSION_TOKEN": f"{STS} \u00e9"},
        {"AWS_SECRET_ACCESS_KEY": KEY, "AWS_DEFAULT_REGION": "no region"},
        {"AWS_SECRET_ACCESS_KEY": KEY, "AWS_ENDPOINT_URL": "ftp://example.org"},
        {"AWS_SECRET_ACCESS_KEY": KEY, "HTTPS_PROXY": "http://127.0.0.1:1"},
        {"AWS_SECRET_ACCESS_KEY": KEY, "AWS_CA_BUNDLE": "/nowhere"},
        {"AWS_SECRET_ACCESS_KEY": KEY, "AWS_PROFILE": "nobody"},
        {"AWS_SECRET_ACCESS_KEY": KEY, "AWS_RETRY_MODE": "adaptive"},
        {"AWS_SECRET_ACCESS_KEY": KEY, "AWS_USE_FIPS_ENDPOINT": "true", "AWS_DEFAULT_REGION": "no_region!"},
    ],
    ids=" ".join,
)
def test_settings(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sent: Sent) -> None:
    environment(monkeypatch, tmp_path, **variables)
    for connect in (dynamostore.connect, dynamostore.connect_async):
        error = caught(lambda connect=connect: connect("t-sessions"), sent)  # type: ignore[misc]
        assert isinstance(error, ValueError | StoreError | WireError), error


@pytest.mark.parametrize("keys", [(f"{KEY}\n", None), (KEY, f"{STS}\r"), (7, KEY), (KEY, "\u00e9")])
def test_credentials_that_cannot_be(keys: Any, sent: Sent) -> None:
    assert caught(lambda: Credentials("AKIAEXAMPLE", *keys), sent)
    assert caught(lambda: Credentials(access_key="AKIAEXAMPLE", secret_key=keys[0], token=keys[1]), sent)


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_credentials_from_files(kind: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sent: Sent) -> None:
    """Those that cannot be used show when they are first needed."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    (tmp_path / "keys").write_text(
        f"[one]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = {KEY} \u00e9\naws_session_token = {STS}\n"
        f'[two]\ncredential_process = sh -c "echo {KEY}"\n',
        encoding="utf-8",
    )
    environment(monkeypatch, tmp_path)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with Driver(kind) as driver:
        for profile in ("one", "two"):
            with opened(driver.client("http://127.0.0.1:1", profile=profile, credentials=None), driver) as client:
                assert caught(lambda client=client: client.scan(TableName="t"), sent)  # type: ignore[misc]


# Records and items, by themselves


def test_functions_of_items(sent: Sent) -> None:
    table = Table()
    bad: list[Act] = [
        lambda: items.decode(table, {"token": {"S": TOKEN}, "data": {"S": IBAN}, "expiry": {"N": "1"}}),
        lambda: items.decode_expiry(table, {"token": {"S": TOKEN}, "expiry": {"S": IBAN}}),
        lambda: items.moved(table, {"token": {"S": TOKEN}, "moved": {"B": DATA}}),
        lambda: items.key_of(table, {"data": {"B": DATA}}),
        lambda: items.check_token(f"{TOKEN}\ud800"),
        lambda: items.check_data(DATA.decode()),  # type: ignore[arg-type]
        lambda: items.check_size(table, Record(TOKEN, DATA * 6000, SOON, 1)),
        lambda: Record(TOKEN, DATA, datetime(2200, 1, 1), 1),  # noqa: DTZ001
        lambda: Record(TOKEN, data=DATA, expiry=datetime(2200, 1, 1), version=1, beside={"a": {"S": IBAN}}),  # noqa: DTZ001
        lambda: JSONCodec().decode(f'{{"data": {{"iban": "{IBAN}"}}'.encode()),
        lambda: JSONCodec().decode(f'{{"data": {{"iban": "{IBAN}", "n": -0}}, "deadline": NaN}}'.encode()),
        lambda: JSONCodec().encode({"iban": IBAN, "x": object()}, 1),  # type: ignore[dict-item]
    ]
    for number, act in enumerate(bad):
        assert caught(act, sent), number


def test_a_store_in_memory(sent: Sent) -> None:
    memory = MemoryStore()
    memory.save(TOKEN, DATA, SOON)
    memory.save(OTHER, DATA, SOON)
    assert sum(caught(act, sent) is not None for act in verbs(memory).values()) > 8

    async def main() -> None:
        for act in verbs(AsyncMemoryStore(memory)).values():
            task = asyncio.ensure_future(awaited(act))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(BaseException) as info:
                await task
            check_error(info.value, sent)

    with watched():
        asyncio.run(main())


# Sessions


class Looking:
    """A store in memory, sync or async, that fails as it is told, and looks at the frames of all who wait for it."""

    def __init__(self, memory: MemoryStore) -> None:
        self.memory = memory
        self.fails: dict[str, Callable[[], BaseException]] = {}

    def _do(self, verb: str, *arguments: object, **more: object) -> Any:
        check_live_frames()
        if verb in self.fails:
            error = self.fails[verb]()
            raise error
        return getattr(self.memory, verb)(*arguments, **more)


def _verb(name: str, *, awaited: bool) -> Callable[..., object]:
    if awaited:

        async def averb(self: Looking, *arguments: object, **more: object) -> object:
            await asleep(0)
            return self._do(name, *arguments, **more)

        return averb

    def verb(self: Looking, *arguments: object, **more: object) -> object:
        return self._do(name, *arguments, **more)

    return verb


_VERBS = ("find", "save", "create", "replace", "touch", "rename", "remove", "delete", "ping")
Sync: Any = type("Sync", (Looking,), {name: _verb(name, awaited=False) for name in _VERBS})
Async: Any = type("Async", (Looking,), {name: _verb(name, awaited=True) for name in _VERBS})

FAILURES: dict[str, Callable[[], BaseException]] = {
    "down": lambda: UnavailableError("down"),
    "throttled": lambda: ThrottledError("slow down"),
    "gone": lambda: Conflict("gone"),
    "changed": lambda: Conflict("changed", current=Record(TOKEN, DATA.replace(b"iban", b"theirs"), SOON, 9)),
    "renamed": lambda: Conflict("renamed", current=Record(OTHER, DATA, SOON, 9), renamed=True),
    "corrupt": lambda: Conflict("corrupt", current=Record(TOKEN, b'{"data":{"iban":"' + IBAN.encode(), SOON, 9)),
    "too large": lambda: ItemTooLargeError("too large"),
    "interrupted": KeyboardInterrupt,
}


def use(session: Session | AsyncSession) -> None:
    session.get_string("iban")
    session["other"] = [IBAN]
    session.put_string("owner", IBAN)
    check_live_frames()


def leave_raising(session: Session | AsyncSession) -> None:
    use(session)
    raise LookupError("the app's")


def renewing(session: Session | AsyncSession) -> None:
    use(session)
    session.renew_token(grace=True)


def destroying(session: Session | AsyncSession) -> None:
    use(session)
    session.destroy()
    session.put_string("owner", IBAN)


def too_large(session: Session | AsyncSession) -> None:
    session.put_string("owner", IBAN * 25_000)


BLOCKS: dict[str, Callable[[Session | AsyncSession], None]] = {
    "use": use,
    "raise": leave_raising,
    "renew": renewing,
    "destroy": destroying,
    "too large": too_large,
}


def step(stored: Any) -> str:
    stored["nonce"] = IBAN
    return str(stored.pop("iban"))


def acts_of(manager: SessionManager) -> dict[str, Act]:
    def block(act: Callable[[Session | AsyncSession], None], token: str | None) -> Act:
        def run() -> None:
            with manager.session(token) as session:
                act(session)

        return run

    def atomic() -> None:
        with manager.session(TOKEN) as session:
            session.atomic(step)

    def merge() -> None:
        with manager.session(None) as session:
            session.merge_session(TOKEN)

    acts = {name: block(act, TOKEN) for name, act in BLOCKS.items()}
    acts |= {f"new, {name}": block(act, None) for name, act in BLOCKS.items()}
    return acts | {
        "atomic": atomic,
        "merge_session": merge,
        "update": lambda: manager.update(TOKEN, use, attempts=2),
        "iterate": lambda: manager.iterate(use, records=[RECORD], attempts=2),
        "load": lambda: manager.load(TOKEN).get_string("iban"),
    }


def async_acts_of(manager: AsyncSessionManager) -> dict[str, Callable[[], Awaitable[object]]]:
    def block(act: Callable[[Session | AsyncSession], None], token: str | None) -> Callable[[], Awaitable[object]]:
        async def run() -> None:
            async with manager.session(token) as session:
                act(session)

        return run

    async def atomic() -> None:
        async with manager.session(TOKEN) as session:
            await session.atomic(step)

    async def merge() -> None:
        async with manager.session(None) as session:
            await session.merge_session(TOKEN)

    async def records() -> AsyncIterator[Record]:
        yield RECORD

    acts = {name: block(act, TOKEN) for name, act in BLOCKS.items()}
    acts |= {f"new, {name}": block(act, None) for name, act in BLOCKS.items()}
    return acts | {
        "atomic": atomic,
        "merge_session": merge,
        "update": lambda: manager.update(TOKEN, use, attempts=2),
        "iterate": lambda: manager.iterate(use, records=records(), attempts=2),
        "load": lambda: manager.load(TOKEN),
    }


def managed(store: Any, **settings: Any) -> dict[str, Any]:
    """Settings with which a token is the table's key, and so as secret in the store."""
    return {"store": store, "hash_tokens": False, "renewal_grace": timedelta(seconds=5), **settings}


def stored() -> MemoryStore:
    memory = MemoryStore()
    memory.save(TOKEN, DATA, SOON)
    memory.save(OTHER, DATA, SOON)
    return memory


@pytest.fixture
def known_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokens of new sessions are known, and searched for; and nobody waits after a conflict."""
    monkeypatch.setattr("session.plans.calls._LONGEST_PAUSE", 0.0)
    monkeypatch.setattr("secrets.token_bytes", lambda _: base64.urlsafe_b64decode(f"{OTHER}="))


WRITES = ("create", "replace", "rename", "touch", "remove", "delete")


@pytest.mark.parametrize(
    ("verbs", "failure"),
    [(("find",), "down"), (("find",), "interrupted"), *((WRITES, failure) for failure in FAILURES)],
    ids=str,
)
@pytest.mark.usefixtures("known_tokens")
def test_sessions(failure: str, verbs: tuple[str, ...], sent: Sent) -> None:
    raised = 0
    with checked_logs(), watched():
        for name in acts_of(SessionManager(MemoryStore())):
            store = Sync(stored())
            store.memory.delete(OTHER)
            store.fails = dict.fromkeys(verbs, FAILURES[failure])
            for policy in ("merge", "raise") if name == "use" else ("serialize",):
                manager = SessionManager(**managed(store, on_conflict=policy))
                raised += caught(acts_of(manager)[name], sent) is not None
    assert raised > 2


@pytest.mark.usefixtures("known_tokens")
@pytest.mark.parametrize(
    ("verbs", "failure"), [(("find",), "down"), (WRITES, "down"), (WRITES, "changed"), (WRITES, "renamed")], ids=str
)
def test_async_sessions(failure: str, verbs: tuple[str, ...], sent: Sent) -> None:
    raised = []

    async def main() -> None:
        for name in async_acts_of(AsyncSessionManager(AsyncMemoryStore())):
            for cancelled in (False, True) if failure == "down" else (False,):
                store = Async(stored())
                store.memory.delete(OTHER)
                store.fails = dict.fromkeys(verbs, FAILURES[failure])
                manager = AsyncSessionManager(**managed(store))
                task = asyncio.ensure_future(async_acts_of(manager)[name]())
                if cancelled:
                    await asyncio.sleep(0)
                    task.cancel()
                try:
                    await task
                except BaseException as error:  # noqa: BLE001 (whatever it is)
                    check_error(error, sent)
                    raised.append(error)

    with checked_logs(), watched():
        asyncio.run(main())
    assert len(raised) > 2


@pytest.mark.parametrize(
    "payload",
    [b"null", b'{"data":{"iban":"' + IBAN.encode(), b'{"data":{"iban":"DE89370400440532013000"},"deadline":NaN}'],
)
@pytest.mark.parametrize("on_corrupt", ["raise", "reset"])
def test_corrupt_sessions(payload: bytes, on_corrupt: Any, sent: Sent) -> None:
    store = Sync(stored())
    store.memory.save(TOKEN, payload, SOON)
    manager = SessionManager(**managed(store, on_corrupt=on_corrupt))
    with checked_logs(), watched():
        for act in acts_of(manager).values():
            caught(act, sent)


def test_values_that_a_session_refuses(sent: Sent) -> None:
    @dataclass
    class Account:
        iban: object

    refused: list[Callable[[Any], object]] = [
        lambda s: s.put_string("k", f"{IBAN}\ud800"),
        lambda s: s.put_int("k", IBAN),
        lambda s: s.put_time("k", IBAN),
        lambda s: s.put_bytes("k", IBAN),
        lambda s: s.put_bool("k", IBAN),
        lambda s: s.put_float("k", IBAN),
        lambda s: s.put_object("k", Account(f"{IBAN}\ud800")),
        lambda s: s.put_object("k", [IBAN, object()]),
        lambda s: s.__setitem__("k", [{"a": (IBAN, object())}]),
        lambda s: s.__setitem__("k", {1: IBAN}),
        lambda s: s.update({"k": IBAN, "n": object()}),
        lambda s: s.update(k=IBAN, n=float("nan")),
        lambda s: s.setdefault("k", {"a": IBAN, "b": object()}),
        lambda s: s.get_int("iban"),
        lambda s: s.pop_float("iban"),
        lambda s: s.get_bool("iban"),
        lambda s: s.get_bytes("iban"),
        lambda s: s.get_time("iban", default=None),
        lambda s: s.get_object("iban", Account),
        lambda s: s.get_object("iban", int),
        lambda s: s.increment("iban"),
        lambda s: s | 7,
        lambda s: s.__ior__({"k": IBAN, "n": object()}),
        lambda s: s.atomic(lambda stored: stored.put_int("k", IBAN)),
        lambda s: s.atomic(lambda stored: stored.increment("iban")),
    ]

    def leave(act: Callable[[Any], object], token: str | None, store: Any) -> None:
        with SessionManager(**managed(store)).session(token) as session:
            act(session)

    for number, act in enumerate(refused):
        assert caught(lambda act=act: leave(act, TOKEN, Sync(stored())), sent), number  # type: ignore[misc]
        down = Sync(stored())
        down.fails = {"find": FAILURES["down"]}
        assert caught(lambda act=act, down=down: leave(act, TOKEN, down), sent), number  # type: ignore[misc]


def test_a_merge_that_fails(sent: Sent) -> None:
    def merge(base: object, ours: object, theirs: object) -> Any:
        del base, ours, theirs
        raise ValueError("the app's")

    store = Sync(stored())
    manager = SessionManager(**managed(store, mergeable={"iban": merge}))

    def meet() -> None:
        with manager.session(TOKEN) as session:
            session["iban"] = [IBAN]
            with manager.session(TOKEN) as other:
                other["iban"] = [IBAN, IBAN]

    with watched():
        assert caught(meet, sent)


# The adapters


COOKIES = f"session={TOKEN}; {COOKIE}; sessionid={TOKEN}"


class Bad(Exception):
    """The app's, or the server's."""


def environ_of(method: str = "GET") -> dict[str, Any]:
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "HTTP_COOKIE": COOKIES,
    }


def ask(app: Any, *, method: str = "GET", start_fails: bool = False) -> None:
    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        del status, headers, exc_info
        check_live_frames()
        if start_fails:
            raise Bad
        return lambda data: None

    body = app(environ_of(method), start_response)
    try:
        for _ in body:
            check_live_frames()
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()


def views() -> dict[str, Callable[[Any], None]]:
    def clash(session: Any) -> None:
        use(session)
        SessionManager(**managed(session_store[0])).update(TOKEN, lambda s: s.put_string("iban", IBAN * 2))

    def renew(session: Any) -> None:
        use(session)
        (session.renew_token if hasattr(session, "renew_token") else session.cycle_key)()

    def fail(session: Any) -> None:
        use(session)
        raise Bad

    return {
        "use": use,
        "renew": renew,
        "fail": fail,
        "clash": clash,
        "bad": lambda s: s.put_int("n", IBAN),
        "none": lambda _: None,
    }


session_store: list[Any] = []
WHEN = ("find", "replace", "rename", "")
ENDINGS = ((False, False), (True, False), (False, True))


def told(found: BaseException | None, number: list[int]) -> None:
    number[0] += found is not None


def cases() -> Iterator[tuple[str, Callable[[Any], None], Any]]:
    for name, view in views().items():
        for verb in WHEN:
            store = Sync(stored())
            session_store[:] = [store]
            if verb:
                store.fails = {verb: FAILURES["down"] if name != "use" or verb == "find" else FAILURES["changed"]}
            yield name, view, store


@pytest.mark.usefixtures("known_tokens")
def test_wsgi(sent: Sent) -> None:
    number = [0]
    with checked_logs(), watched():
        for name, view, store in cases():

            def app(environ: Any, start_response: Any, view: Any = view, name: str = name) -> Iterable[bytes]:
                view(wsgi.get_session(environ))
                if name == "none":
                    environ["session"] = {"iban": IBAN, "bad": object()}
                start_response("200 OK", [("Set-Cookie", f"own={TOKEN}")])
                return [IBAN.encode()]

            def streaming(environ: Any, start_response: Any, view: Any = view) -> Iterator[bytes]:
                write = start_response("200 OK", [("Set-Cookie", f"own={TOKEN}")])
                view(wsgi.get_session(environ))
                write(IBAN.encode())
                yield IBAN.encode()
                raise Bad

            def rerun(environ: Any) -> bool:
                del environ
                check_live_frames()
                return True

            manager = SessionManager(**managed(store))
            for inner in (app, streaming):
                for start_fails in (False, True) if name == "use" else (False,):
                    wrapped = wsgi.SessionMiddleware(inner, manager, rerun=rerun, sleep=lambda _: None)
                    told(caught(lambda: ask(wrapped, start_fails=start_fails), sent), number)  # noqa: B023
            failing = wsgi.SessionMiddleware(app, manager, rerun=lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
            told(caught(lambda: ask(failing), sent), number)  # noqa: B023
        told(caught(lambda: wsgi.get_session(environ_of()), sent), number)
    assert number[0] > 20


def test_asgi(sent: Sent) -> None:
    number = [0]

    async def serve(app: Any, kind: str, *, send_fails: bool) -> None:
        scope = {"type": kind, "method": "GET", "path": "/", "headers": [(b"cookie", COOKIES.encode())]}
        messages: list[dict[str, object]] = [{"type": "websocket.connect"}] if kind == "websocket" else []
        messages += [{"type": "http.request", "body": IBAN.encode()}, {"type": f"{kind}.disconnect"}]

        async def receive() -> dict[str, object]:
            check_live_frames()
            return messages.pop(0)

        async def send(message: object) -> None:
            del message
            await asyncio.sleep(0)
            check_live_frames()
            if send_fails:
                raise Bad

        await app(scope, receive, send)

    async def one(app: Any, kind: str, *, send_fails: bool, cancelled: bool) -> None:
        task = asyncio.ensure_future(serve(app, kind, send_fails=send_fails))
        if cancelled:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
        try:
            await task
        except BaseException as error:  # noqa: BLE001 (whatever it is)
            check_error(error, sent)
            number[0] += 1

    async def main() -> None:
        for name, view, store in cases():
            awaited = Async(store.memory)
            awaited.fails = store.fails

            async def app(scope: Any, receive: Any, send: Any, view: Any = view, name: str = name) -> None:
                session = asgi.get_session(scope)
                await session.load()
                await receive()
                if name != "clash":
                    view(session)
                if name == "none":
                    scope["session"] = {"iban": IBAN, "bad": object()}
                headers = [(b"set-cookie", f"own={TOKEN}".encode())]
                if scope["type"] == "websocket":
                    await send({"type": "websocket.accept", "headers": headers})
                    await send({"type": "websocket.send", "text": IBAN})
                    return
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": IBAN.encode()})

            for manager in (AsyncSessionManager(**managed(awaited)), SessionManager(**managed(store))):
                if isinstance(manager, SessionManager) and name not in ("use", "clash"):
                    continue
                wrapped = asgi.SessionMiddleware(app, manager, sleep=asleep)
                for kind in ("http", "websocket"):
                    for send_fails, cancelled in ENDINGS if name == "use" else ENDINGS[:1]:
                        await one(wrapped, kind, send_fails=send_fails, cancelled=cancelled)
        told(
            caught(lambda: asgi.get_session({"type": "http", "headers": [(b"cookie", COOKIES.encode())]}), sent), number
        )

    with checked_logs(), watched():
        asyncio.run(main())
    assert number[0] > 20


@pytest.mark.usefixtures("known_tokens")
def test_flask(sent: Sent) -> None:
    number = [0]
    with checked_logs("app"), watched():
        for name, view, store in cases():
            app = flask.Flask("app")
            app.config["PROPAGATE_EXCEPTIONS"] = True
            SessionInterface(SessionManager(**managed(store)), sleep=lambda _: None).init_app(app)

            if name == "clash":
                # Others are shown what was raised.
                @app.errorhandler(SessionConflict)
                @app.errorhandler(StoreError)
                def shown(error: Exception) -> Any:
                    check_live_frames()
                    check_error(error, sent)
                    raise error

            @app.after_request
            def after(response: Any, name: str = name) -> Any:
                if name == "renew":
                    raise Bad
                return response

            @app.get("/")
            def answer(view: Any = view, name: str = name) -> Any:
                view(flask.session)
                if name == "none":
                    flask.session["bad"] = {"iban": IBAN, "bad": object()}
                response = flask.make_response(IBAN)
                response.set_cookie("own", TOKEN)
                return response

            for start_fails in (False, True) if name == "use" else (False,):
                told(caught(lambda: ask(app, start_fails=start_fails), sent), number)  # noqa: B023
    assert number[0] > 10


@pytest.mark.usefixtures("known_tokens")
def test_django(sent: Sent) -> None:
    number = [0]
    with checked_logs(), watched():
        for name, view, store in cases():
            with override_settings(SESSION_MANAGER=SessionManager(**managed(store)), SESSION_COOKIE_NAME="session"):

                def answer(request: Any, view: Any = view, name: str = name) -> HttpResponse:
                    if name != "none":
                        view(request.session)
                    else:
                        request.session = {"iban": IBAN, "bad": object()}
                    response = HttpResponse(IBAN)
                    response.set_cookie("own", TOKEN)
                    return response

                def serve(answer: Any = answer) -> None:
                    request = RequestFactory().get("/", HTTP_COOKIE=COOKIES)
                    django.SessionMiddleware(answer)(request)

                told(caught(serve, sent), number)
                session: Any = django.SessionStore(TOKEN)
                held: list[Callable[[], object]] = [
                    lambda: session.__setitem__("k", [IBAN, object()]),  # noqa: B023
                    lambda: session.update({"k": IBAN, "bad": object()}),  # noqa: B023
                    lambda: session.setdefault("k", [IBAN, object()]),  # noqa: B023
                    lambda: session.put_int("k", IBAN),  # noqa: B023
                    lambda: session.get_int("iban"),  # noqa: B023
                    lambda: session.pop("iban"),  # noqa: B023
                    lambda: session.exists(TOKEN),  # noqa: B023
                    lambda: session.delete(TOKEN),  # noqa: B023
                    lambda: asyncio.run(session.aset("k", IBAN)),  # noqa: B023
                    lambda: asyncio.run(session.adelete(TOKEN)),  # noqa: B023
                    session.create,
                    session.load,
                    session.save,
                    session.flush,
                ]
                for act in held:
                    told(caught(act, sent), number)
    assert number[0] > 60


# Batches, and files


class Broken:
    """Many records, of which one cannot be read."""

    def __init__(self, first: object) -> None:
        self.first = first

    def __iter__(self) -> Iterator[Any]:
        yield self.first
        check_live_frames()
        raise Bad

    async def __aiter__(self) -> AsyncIterator[Any]:
        yield self.first
        check_live_frames()
        raise Bad


BATCH_FAULTS = ("lost", "invalid", "throttled")


@pytest.mark.parametrize("fault", BATCH_FAULTS)
def test_batches(fault: str, sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamostore.batch._calls._LONGEST_PAUSE", 0.0)
    resume = json.dumps(
        {
            "dynamostore": 1,
            "table": "scs_session",
            "job": "scan",
            "scope": "elsewhere",
            "after": [TOKEN],
            "done": [False],
        }
    )
    number = [0]

    async def answer(request: Request) -> Any:
        body: dict[str, object] = {}
        if request.operation == "Scan":
            body = {
                "Items": [item(), item(expiry={"S": IBAN})],
                "Count": 2,
                "ScannedCount": 2,
                "LastEvaluatedKey": {"token": {"S": TOKEN}},
            }
        elif request.operation == "BatchGetItem":
            body = {"Responses": {"scs_session": [item(), item(token={"S": OTHER}, expiry={"S": IBAN})]}}
        return reply(200, json.dumps(body).encode())

    def jobs(batch: Any, at: Path) -> dict[str, Callable[[], object]]:
        entry = (TOKEN, DATA, SOON)
        return {
            "find_many": lambda: batch.find_many([TOKEN, OTHER]),
            "find_many, broken": lambda: batch.find_many(Broken(TOKEN)),
            "save_many": lambda: batch.save_many([entry, (OTHER, DATA.decode(), SOON)]),
            "save_many, broken": lambda: batch.save_many(Broken(entry)),
            "delete_many": lambda: batch.delete_many([TOKEN]),
            "delete_many, broken": lambda: batch.delete_many(Broken(TOKEN)),
            "scan": lambda: batch.scan(limit=3),
            "scan, resumed": lambda: batch.scan(resume=resume),
            "scan_items": lambda: batch.scan_items(segments=2, limit=3),
            "purge": batch.purge_expired,
            "export": lambda: batch.export(at),
            "load": lambda: batch.load(loaded),
            "doctor": lambda: (adoctor if isinstance(batch, AsyncBatch) else doctor)(batch.store),
            "load, resumed": lambda: batch.load(loaded, resume=f"{TOKEN}:1"),
        }

    loaded = tmp_path / "loaded.jsonl"
    line = json.dumps({"token": TOKEN, "text": DATA.decode(), "expiry": 8_000_000_000_000_000_000})
    head = json.dumps({"dynamostore": 1, "table": "t", "attributes": [], "exported": "2001-09-09T01:46:40Z"})
    text = f"{head}\n{line}\n{json.dumps({'token': TOKEN, 'text': IBAN})}\n".encode()
    digest = hashlib.sha256(text).hexdigest()
    loaded.write_bytes(text + json.dumps({"records": 2, "sha256": digest}, separators=(",", ":")).encode() + b"\n")

    with FaultyDynamoDB(answer) as server, checked_logs(), watched():

        def after_one() -> None:
            server.forget()
            server.script(honestly)
            server.always = FAULTS[fault]

        settings: Any = {"read_timeout": 0.2, "attempts": 1, "credentials": CREDENTIALS}
        with WireClient("us-east-1", server.url, **settings) as client:
            for name, job in jobs(Batch(DynamoStore(client), attempts=2), tmp_path / f"{fault}.jsonl").items():
                after_one()

                def run(job: Any = job) -> None:
                    found = job()
                    if isinstance(found, Iterator):
                        for _ in found:
                            check_live_frames()

                found = caught(run, sent)
                told(found, number)
                assert found or "broken" not in name

        async def main() -> None:
            async with AsyncWireClient("us-east-1", server.url, **settings) as aclient:
                at = tmp_path / f"async {fault}.jsonl"
                for job in jobs(AsyncBatch(AsyncDynamoStore(aclient), attempts=2), at).values():
                    after_one()
                    try:
                        made: Any = job()
                        if isinstance(made, AsyncIterator):
                            async for _ in made:
                                check_live_frames()
                        else:
                            await made
                    except Exception as error:  # noqa: BLE001 (whatever it is)
                        check_error(error, sent)
                        number[0] += 1

        asyncio.run(main())
    assert number[0] > 8
