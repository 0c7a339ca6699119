"""No secret shows in what is done beside sessions: renamings in two steps, jobs, files, credentials, tables, the command line.

What is searched, and how, is as in `test_secrets`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from typing import Any

import boto3
import flask
import msgspec
import pytest
from botocore.config import Config
from botocore.loaders import create_loader
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

import dynamostore
from dynamostore import (
    AsyncDynamoStore,
    AsyncMemoryStore,
    DynamoStore,
    MemoryStore,
    StoreError,
    Table,
    UnavailableError,
)
from dynamostore.admin import describe, doctor
from dynamostore.batch import AsyncBatch, Batch, BatchIncompleteError, Outcome, Progress, Tally
from dynamostore.cli import main
from dynamostore.wire import AsyncWireClient, WireClient
from dynamostore.wire.errors import ConnectionLostError, ServiceError
from session import AsyncSessionManager, SessionManager
from session.codecs import JSONCodec
from session.web import asgi, django, wsgi
from session.web.flask import SessionInterface

from . import django_site  # noqa: F401 (importing it sets Django up)
from .faulty import Fault, FaultyDynamoDB, Reply, Request, honestly, reply
from .frames import (
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
from .test_secrets import (
    COOKIES,
    CREDENTIALS,
    FAULTS,
    RECORD,
    SOON,
    Act,
    Async,
    Sync,
    acts_of,
    ask,
    async_acts_of,
    caught,
    environment,
    managed,
    refusing,
    saying,
    stored,
    use,
    verbs,
)
from .test_secrets import (
    item as wired,
)

LONG_AGO = "1000000000000000000"
# Botocore would read its descriptions of all services anew for each session.
LOADER = create_loader(None)


@pytest.fixture(autouse=True)
def _no_live_frame() -> Iterator[None]:
    yield
    fail_if_noted()


@pytest.fixture(scope="module")
def sent() -> Sent:
    return Sent()


class Scripted:
    """A low-level client without a server: each operation's next reply or error; the last one stays."""

    checks_replies = True

    def __init__(self, **script: list[Any]) -> None:
        self.script = script

    def __getattr__(self, operation: str) -> Callable[..., object]:
        def call(**arguments: object) -> object:
            del arguments
            check_live_frames()
            left = self.script.get(operation, [{}])
            reply = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(reply, Exception):
                raise reply
            return reply

        return call


class AsyncScripted(Scripted):
    """`Scripted`, awaited."""

    def __getattr__(self, operation: str) -> Callable[..., object]:
        answer = super().__getattr__(operation)

        async def call(**arguments: object) -> object:
            await asyncio.sleep(0)
            return answer(**arguments)

        return call


def refused(code: str, status: int = 400, **more: object) -> ServiceError:
    response = {"Error": {"Code": code, "Message": "because"}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
    return ServiceError(response, "Operation")


def held(**changes: object) -> dict[str, object]:
    """An item as replies have it."""
    data: dict[str, object] = {"data": {"B": DATA}}
    return wired() | data | changes


def condition(**changes: object) -> ServiceError:
    return refused("ConditionalCheckFailedException", Item=held(**changes))


# Renamings in two steps, and evictions

STEPS: dict[str, Callable[[], object]] = {
    "done": dict,
    "lost": lambda: ConnectionLostError("lost"),
    "denied": lambda: refused("AccessDeniedException"),
    "busy": lambda: refused("TransactionConflictException"),
    "nothing": lambda: refused("ConditionalCheckFailedException"),
    "taken": lambda: condition(version={"N": "8"}),
    "expired": lambda: condition(expiry={"N": LONG_AGO}),
    "corrupt": lambda: condition(expiry={"S": IBAN}, version={"N": "8"}),
    "left over": lambda: condition(version={"N": "9"}, recent={"B": (7).to_bytes(8, "big")}),
    "marker": lambda: condition(version={"N": "9"}, moved={"S": TOKEN}, data={"S": IBAN}),
}


def test_renaming_without_transactions(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamostore.plans.parts.uniform", lambda *_: 0.0)
    raised = 0
    with checked_logs(), watched():
        for put, update, undone in product(STEPS, STEPS, ("done", "lost", "taken")):
            if undone != "done" and put not in ("done", "expired"):
                continue
            there = held(moved={"S": OTHER}) if put == "left over" else held()
            client: Any = Scripted(
                transact_write_items=[refused("UnknownOperationException")],
                put_item=[
                    STEPS[put](),
                    STEPS["done" if put in ("done", "expired", "left over") else put](),
                    STEPS[undone](),
                ],
                update_item=[STEPS[update]()],
                delete_item=[STEPS[undone]()],
                get_item=[{"Item": there}],
            )
            store = DynamoStore(client, sleep=lambda _: None)
            raised += caught(lambda: store.rename(RECORD, OTHER, DATA, SOON), sent) is not None  # noqa: B023
    assert raised > 80


@pytest.mark.parametrize("date", ["Sun, 09 Sep 2001 01:46:40 GMT", "nonsense", None])
def test_evictions_with_a_clock_that_is_off(date: str | None, sent: Sent) -> None:
    metadata: Mapping[str, object] = {"HTTPHeaders": {} if date is None else {"date": date}}
    with checked_logs(), watched():
        for changes, deleted in product(
            ({"expiry": {"N": LONG_AGO}}, {"expiry": {"S": IBAN}}, {"expiry": {"N": LONG_AGO}, "moved": {"S": OTHER}}),
            STEPS,
        ):
            client: Any = Scripted(
                get_item=[{"Item": held(**changes), "ResponseMetadata": metadata}], delete_item=[STEPS[deleted]()]
            )
            caught(lambda: DynamoStore(client).find(TOKEN), sent)  # noqa: B023


# Jobs: what they keep of an error, what they tell while they go, and how they end


def scanned(*items: Mapping[str, object], after: str | None = TOKEN) -> dict[str, object]:
    reply: dict[str, object] = {"Items": list(items), "Count": len(items), "ScannedCount": len(items)}
    return reply if after is None else {**reply, "LastEvaluatedKey": {"token": {"S": after}}}


PAGES = {
    "whole": lambda: scanned(held(), held(token={"S": OTHER}, expiry={"N": LONG_AGO})),
    "corrupt": lambda: scanned(held(expiry={"S": IBAN}), held(token={"S": OTHER}, data={"S": IBAN})),
    "taken": lambda: scanned(held(key={"S": IBAN})),
    "keyless": lambda: scanned({"data": {"B": DATA}}),
}
ENDS: dict[str, Callable[[], object]] = {
    "end": lambda: scanned(after=None),
    "lost": lambda: ConnectionLostError("lost"),
    "denied": lambda: refused("AccessDeniedException"),
    "invalid": lambda: refused("ValidationException"),
}
WRITES: dict[str, Callable[[], object]] = {
    "done": dict,
    "lost": lambda: ConnectionLostError("lost"),
    "invalid": lambda: refused("ValidationException"),
    "condition": lambda: condition(version={"N": "8"}),
    "denied": lambda: refused("AccessDeniedException"),
    "unprocessed": lambda: {"UnprocessedItems": {"scs_session": [{"PutRequest": {"Item": held()}}]}},
}


class Watching(Exception):
    """What the app's function raises that is told of the progress."""


def quiet(progress: object) -> None:
    del progress
    check_live_frames()


def raising(progress: object) -> None:
    quiet(progress)
    raise Watching


def interrupting(progress: object) -> None:
    quiet(progress)
    raise KeyboardInterrupt


def kept_by(result: object) -> Iterator[BaseException]:
    """The errors that a result or an error bears, for those who called to look at."""
    if isinstance(result, Tally):
        yield from result.failed.values()
    elif isinstance(result, BatchIncompleteError):
        yield from result.errors.values()
        yield from result.tally.failed.values()
    elif isinstance(result, Outcome) and result.error is not None:
        yield result.error


def check_kept(result: object, sent: Sent) -> int:
    """Search what *result* bears; how much that was."""
    kept = list(kept_by(result))
    for error in kept:
        check_error(error, sent)
    return len(kept)


def loaded(directory: Path) -> Path:
    """A file of which some lines are refused when it is loaded."""
    line = {"token": TOKEN, "text": DATA.decode(), "expiry": 8_000_000_000_000_000_000}
    corrupt = {"token": OTHER, "item": {"token": {"S": OTHER}, "expiry": {"S": IBAN}}}
    head = {"dynamostore": 1, "table": "t", "attributes": list(Table().own), "exported": "2001-09-09T01:46:40Z"}
    lines = [head, line, corrupt, {**line, "token": OTHER}]
    text = b"".join(msgspec.json.encode(each) + b"\n" for each in lines)
    end = {"records": 3, "sha256": hashlib.sha256(text).hexdigest()}
    path = directory / "loaded.jsonl"
    path.write_bytes(text + msgspec.json.encode(end) + b"\n")
    return path


def jobs(batch: Any, to: Any, directory: Path) -> dict[str, Callable[[], Any]]:
    foreign = directory / "foreign.jsonl"
    with suppress(FileExistsError):
        (directory / "foreign.jsonl.partial").symlink_to(directory / "elsewhere")
    return {
        "find_many": lambda: batch.find_many([TOKEN, OTHER, OTHER + "\ud800"]),
        "save_many": lambda: batch.save_many(
            [(TOKEN, DATA, SOON), (OTHER, DATA.decode(), SOON), (OTHER, DATA * 9000, SOON)]
        ),
        "delete_many": lambda: batch.delete_many([TOKEN, OTHER]),
        "scan": lambda: batch.scan(segments=3),
        "scan, alone": batch.scan,
        "scan_items": batch.scan_items,
        "count": batch.count,
        "purge": lambda: batch.purge_expired(segments=3),
        "purge, alone": batch.purge_expired,
        "copy": lambda: batch.copy(to),
        "export": lambda: batch.export(directory / "exported.jsonl.gz", overwrite=True, expired=True),
        "export, foreign": lambda: batch.export(foreign),
        "load": lambda: batch.load(loaded(directory), expired=True),
    }


SCANNING = ("scan", "scan, alone", "scan_items", "count", "purge", "copy", "export", "export, foreign")
WRITING = ("save_many", "delete_many", "purge", "purge, alone", "copy", "load")


def cases() -> Iterator[tuple[str, dict[str, list[Any]]]]:
    """Which jobs, and what the server does, in the order of the calls."""
    for page, (end, ended) in product(PAGES, ENDS.items()):
        for name in SCANNING if end in ("end", "lost") else ("scan", "purge"):
            yield name, {"scan": [PAGES[page](), ended()]}
    for write, written in WRITES.items():
        for attempt in ("done", "lost") if write == "unprocessed" else ("done",):
            writes = {"batch_write_item": [written(), WRITES[attempt]()], "delete_item": [written()]}
            for name in WRITING:
                yield name, {"scan": [PAGES["whole"](), ENDS["end"]()], **writes}
    found = {"Responses": {"scs_session": [held(), held(token={"S": OTHER}, data={"S": IBAN})]}}
    for read in (found, *(ended() for ended in ENDS.values())):
        yield "find_many", {"batch_get_item": [read]}


KEYED = Table(name="other", token="key")


def test_jobs(sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamostore.batch._calls._LONGEST_PAUSE", 0.0)
    number = 0
    seen: set[str] = set()
    with checked_logs(), watched():
        for name, case in cases():
            first = name not in seen
            seen.add(name)
            for watch in (quiet, raising, interrupting) if first else (quiet,):
                client: Any = Scripted(**{operation: list(replies) for operation, replies in case.items()})
                batch = Batch(DynamoStore(client), attempts=2, watch=watch)
                to: Any = Scripted(**{operation: list(replies) for operation, replies in case.items()})
                job = jobs(batch, DynamoStore(to, KEYED), tmp_path)[name]

                def run(job: Any = job) -> None:
                    nonlocal number
                    result = job()
                    for one in result if isinstance(result, Iterator) else [result]:
                        number += check_kept(one, sent)

                error = caught(run, sent)
                number += (error is not None) + check_kept(error, sent)
    assert number > 60


def test_jobs_that_are_awaited(sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamostore.batch._calls._LONGEST_PAUSE", 0.0)
    number = 0

    async def main(name: str, case: Mapping[str, list[Any]], watch: Callable[[object], None]) -> None:
        nonlocal number
        client: Any = AsyncScripted(**{operation: list(replies) for operation, replies in case.items()})
        to: Any = AsyncScripted(**{operation: list(replies) for operation, replies in case.items()})
        batch = AsyncBatch(AsyncDynamoStore(client), attempts=2, watch=watch)
        try:
            made = jobs(batch, AsyncDynamoStore(to, KEYED), tmp_path)[name]()
            if isinstance(made, AsyncIterator):
                async for one in made:
                    number += check_kept(one, sent)
            else:
                number += check_kept(await made, sent)
        except BaseException as error:  # noqa: BLE001 (whatever it is)
            check_error(error, sent)
            number += 1 + check_kept(error, sent)

    seen: set[str] = set()
    with checked_logs(), watched():
        for name, case in cases():
            if name not in seen or "batch_write_item" in case:
                for watch in (quiet,) if name in seen else (quiet, raising):
                    asyncio.run(main(name, case, watch))
            seen.add(name)
    assert number > 15


def test_resumed_jobs(sent: Sent, tmp_path: Path) -> None:
    """A resume token names tokens."""
    places: list[Any] = []

    def noting(progress: Progress) -> None:
        places.append(progress.resume)
        raise Watching

    for name in ("scan", "purge_expired", "copy", "load"):
        with checked_logs(), watched():
            to = DynamoStore(Scripted(), KEYED)  # type: ignore[arg-type]  # it is a client in all but its type
            arguments = {"copy": (to,), "load": (loaded(tmp_path),)}.get(name, ())
            for watch in (noting, quiet, raising):
                client: Any = Scripted(scan=[scanned(held()), ConnectionLostError("lost")])
                job = getattr(Batch(DynamoStore(client), attempts=1, watch=watch), name)
                act = partial(job, *arguments, resume=None if watch is noting else places[-1])
                error = caught(lambda: list(act()) if name == "scan" else act(), sent)  # noqa: B023
                assert isinstance(error, BatchIncompleteError | UnavailableError | Watching) or name == "load", error


# Endpoints with a password, and clocks of the app's that raise


ENDPOINT = f"https://user:{OTHER}@127.0.0.1:1"


def by_boto3(url: str) -> DynamoStore:
    client = boto3.client(
        "dynamodb", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}), region_name="us-east-1"
    )
    return DynamoStore(client)


def test_an_endpoint_with_a_password(sent: Sent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment(monkeypatch, tmp_path, AWS_SECRET_ACCESS_KEY=KEY, AWS_SESSION_TOKEN=STS)
    for url in (
        ENDPOINT,
        f"https://user:{OTHER}@127.0.0.1:1/?{OTHER}",
        f"ftp://user:{OTHER}@example.org",
        f"https://user:{OTHER}@[127",
    ):
        for act in (
            lambda: dynamostore.connect(endpoint_url=url),  # noqa: B023
            lambda: dynamostore.connect_async(endpoint_url=url),  # noqa: B023
            *([lambda: dynamostore.connect(endpoint_url=url, via="boto3")] if url == ENDPOINT else []),  # noqa: B023
            lambda: WireClient("us-east-1", url),  # noqa: B023
            lambda: AsyncWireClient("us-east-1", url),  # noqa: B023
        ):
            assert caught(act, sent), url
        assert main(["show", "--endpoint-url", url, "x"]) != 0
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
            monkeypatch.setenv(name, url)
            for via in ("wire", "boto3") if url == ENDPOINT else ("wire",):
                assert caught(lambda: dynamostore.connect(via=via), sent)  # noqa: B023
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "one")
    (tmp_path / "config").write_text(f"[profile one]\nendpoint_url = {ENDPOINT}\n")
    assert caught(dynamostore.connect, sent)


def test_an_endpoint_with_a_password_of_a_client_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What botocore itself says is botocore's."""
    environment(monkeypatch, tmp_path, AWS_SECRET_ACCESS_KEY=KEY)
    store = by_boto3(ENDPOINT)
    acts: list[Act] = [store.ping, partial(describe, store), lambda: list(Batch(store, attempts=1).scan_items(limit=1))]
    with checked_logs():
        for act in acts:
            with pytest.raises(StoreError) as info:
                act()
            assert OTHER not in str(info.value)
            assert [where for where in holders_in(info.value) if "EndpointConnectionError" not in where] == []
        assert OTHER not in f"{doctor(store)}"


class Clock:
    """A clock of the app's, which breaks at its *last* reading."""

    def __init__(self, last: int) -> None:
        self.left = last

    def __call__(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise LookupError("the app's")
        return 1_800_000_000_000_000_000


@pytest.mark.parametrize("last", range(4))
def test_a_clock_that_raises(last: int, sent: Sent) -> None:
    number = 0
    with checked_logs(), watched():
        for name in acts_of(SessionManager(MemoryStore())):
            store = Sync(stored())
            manager = SessionManager(**managed(store, idle_timeout=timedelta(hours=1)), clock=Clock(last))
            number += caught(acts_of(manager)[name], sent) is not None
        for name in verbs(None):
            client: Any = Scripted(get_item=[{"Item": held()}], update_item=[condition()], put_item=[condition()])
            for made in (DynamoStore(client, clock=Clock(last)), MemoryStore(clock=Clock(last))):
                number += caught(verbs(made)[name], sent) is not None

        async def main() -> None:
            nonlocal number
            for name in async_acts_of(AsyncSessionManager(AsyncMemoryStore())):
                manager = AsyncSessionManager(
                    **managed(Async(stored()), idle_timeout=timedelta(hours=1)), clock=Clock(last)
                )
                try:
                    await async_acts_of(manager)[name]()
                except Exception as error:  # noqa: BLE001 (whatever it is)
                    check_error(error, sent)
                    number += 1

        asyncio.run(main())
    assert number > 8


@pytest.mark.parametrize("last", range(5))
def test_a_clock_that_raises_in_an_adapter(last: int, sent: Sent) -> None:
    def manager() -> SessionManager:
        return SessionManager(**managed(Sync(stored()), idle_timeout=timedelta(hours=1)), clock=Clock(last))

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        use(wsgi.get_session(environ))
        start_response("200 OK", [])
        yield b""

    async def aapp(scope: Any, receive: Any, send: Any) -> None:
        del receive
        session = asgi.get_session(scope)
        await session.load()
        use(session)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def serve() -> None:
        store = Async(stored())
        settings = managed(store, idle_timeout=timedelta(hours=1))
        served = asgi.SessionMiddleware(aapp, AsyncSessionManager(**settings, clock=Clock(last)))

        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: object) -> None:
            del message
            check_live_frames()

        scope: Any = {"type": "http", "method": "GET", "path": "/", "headers": [(b"cookie", COOKIES.encode())]}
        await served(scope, receive, send)

    flasks = flask.Flask("app")
    flasks.config["PROPAGATE_EXCEPTIONS"] = True
    SessionInterface(manager()).init_app(flasks)

    @flasks.get("/")
    def answer_flask() -> str:
        shown: Any = flask.session
        use(shown)
        return ""

    def ask_django() -> None:
        def answer(request: Any) -> HttpResponse:
            use(request.session)
            return HttpResponse()

        with override_settings(SESSION_MANAGER=manager(), SESSION_COOKIE_NAME="session"):
            django.SessionMiddleware(answer)(RequestFactory().get("/", HTTP_COOKIE=COOKIES))

    acts: list[Act] = [
        lambda: ask(wsgi.SessionMiddleware(app, manager())),
        lambda: asyncio.run(serve()),
        lambda: ask(flasks),
        ask_django,
    ]
    with checked_logs("app"), watched():
        raised = [caught(act, sent) for act in acts]
    assert any(raised) or last > 3


class Codec:
    """The app's own, which breaks where it is told to."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._inner = JSONCodec()

    def encode(self, values: Any, deadline_ns: int) -> bytes:
        if self._where == "encode":
            raise LookupError("the app's")
        return self._inner.encode(values, deadline_ns)

    def decode(self, data: bytes) -> Any:
        if self._where == "decode":
            raise LookupError("the app's")
        return self._inner.decode(data)


@pytest.mark.parametrize("where", ["encode", "decode"])
def test_a_codec_that_raises(where: str, sent: Sent) -> None:
    number = 0
    with checked_logs(), watched():
        for name in acts_of(SessionManager(MemoryStore())):
            manager = SessionManager(**managed(Sync(stored()), codec=Codec(where)))
            number += caught(acts_of(manager)[name], sent) is not None
    assert number > 3


# Credentials that are fetched


class Secretive(BaseHTTPRequestHandler):
    """STS, an instance's or a container's metadata: says what *answers* has for each path, of secrets."""

    answers: dict[str, tuple[int, str]]

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, text = next((answer for path, answer in self.answers.items() if path in self.path), (404, ""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_PUT = do_POST = _answer

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def metadata(**answers: tuple[int, str]) -> Iterator[str]:
    handler = type("Handler", (Secretive,), {"answers": {f"/{path}": answer for path, answer in answers.items()}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


GIVEN = {"AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": KEY, "Token": STS, "SessionToken": STS}
SAID = {
    "good": json.dumps({**GIVEN, "Version": 1, "Code": "Success", "Expiration": "2200-01-01T00:00:00Z"}),
    "expired": json.dumps({**GIVEN, "Version": 1, "Code": "Success", "Expiration": "2001-01-01T00:00:00Z"}),
    "bad": json.dumps(
        {
            **GIVEN,
            "SecretAccessKey": f"{KEY}\u00e9\n",
            "Version": 1,
            "Code": "Success",
            "Expiration": "2200-01-01T00:00:00Z",
        }
    ),
    "cut off": json.dumps(GIVEN)[:-9],
    "no dates": json.dumps({**GIVEN, "Version": 1, "Code": "Success", "Expiration": STS}),
}
REFUSAL = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{STS} {KEY}</Message></Error></ErrorResponse>"


def sources(url: str, directory: Path) -> dict[str, dict[str, str]]:
    """Where credentials come from, by what says so in the environment."""
    (directory / "identity").write_text(STS)
    for name, text in SAID.items():
        (directory / name).write_text(text)
    (directory / "config").write_text(
        "".join(
            f"[profile {name.replace(' ', '-')}]\ncredential_process = sh -c \"cat '{directory / name}'\"\n"
            for name in SAID
        )
        + f"[profile fails]\ncredential_process = sh -c \"echo '{KEY}' >&2; exit 3\"\n"
    )
    identity = {
        "AWS_ROLE_ARN": "arn:aws:iam::000000000000:role/any",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(directory / "identity"),
    }
    return {
        **{f"process, {name}": {"AWS_PROFILE": name.replace(" ", "-")} for name in (*SAID, "fails")},
        "identity": {**identity, "AWS_ENDPOINT_URL_STS": f"{url}/sts"},
        "identity, no file": {**identity, "AWS_WEB_IDENTITY_TOKEN_FILE": str(directory / "nothing")},
        **{
            f"container, {name}": {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/{name.replace(' ', '-')}",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": STS,
            }
            for name in (*SAID, "none")
        },
    }


def test_credentials_that_are_fetched(sent: Sent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    environment(monkeypatch, tmp_path, AWS_EC2_METADATA_DISABLED="true", AWS_MAX_ATTEMPTS="1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setattr("botocore.session.create_loader", lambda _: LOADER)
    answers = {name.replace(" ", "-"): (200, text) for name, text in SAID.items()} | {"sts": (403, REFUSAL)}
    with metadata(**answers) as url, FaultyDynamoDB() as server, checked_logs():
        server.always = FAULTS["denied"]
        for name, variables in sources(url, tmp_path).items():
            with pytest.MonkeyPatch.context() as patch, watched() if name == "process, fails" else nullcontext():
                for variable, value in variables.items():
                    patch.setenv(variable, value)
                with WireClient("us-east-1", server.url, attempts=1) as client:
                    store = DynamoStore(client)
                    assert caught(lambda: store.find(TOKEN), sent), name  # noqa: B023

                async def main() -> None:
                    async with AsyncWireClient("us-east-1", server.url, attempts=1) as client:
                        with pytest.raises(StoreError) as info:
                            await AsyncDynamoStore(client).find(TOKEN)
                        check_error(info.value, sent)

                if name in ("process, fails", "identity"):
                    asyncio.run(main())


def test_credentials_that_are_refused(sent: Sent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are fetched again, and what comes of it is told."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    environment(monkeypatch, tmp_path, AWS_EC2_METADATA_DISABLED="true")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setattr("dynamostore.wire._fetching.LOOK_EVERY", 0.0)
    monkeypatch.setattr("botocore.session.create_loader", lambda _: LOADER)
    with FaultyDynamoDB() as server, checked_logs(), watched():
        server.always = refusing("ExpiredTokenException")
        for variables in (sources("http://127.0.0.1:1", tmp_path)["process, good"],):
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            with WireClient("us-east-1", server.url, attempts=3) as client:
                client._setup.caller._random = lambda: 0.0
                assert caught(lambda: DynamoStore(client).find(TOKEN), sent)
                (tmp_path / "good").write_text(SAID["bad"])
                assert caught(lambda: DynamoStore(client).find(TOKEN), sent)
        with WireClient("us-east-1", server.url, attempts=2, credentials=CREDENTIALS) as client:
            assert caught(lambda: DynamoStore(client).find(TOKEN), sent)


def test_creating_a_table(sent: Sent) -> None:
    with FaultyDynamoDB() as server, checked_logs(), watched():
        for name, fault in FAULTS.items():
            if name in ("time-out", "throttled"):
                continue  # for the time's sake
            server.always = fault
            with WireClient("us-east-1", server.url, attempts=1, credentials=CREDENTIALS) as client:
                store = DynamoStore(client, sleep=lambda _: None)
                assert caught(lambda: store.create_table(timeout=timedelta(0)), sent), name  # noqa: B023


# The command line


ACTS_ON_A_TERMINAL = "\x1b]0;title\x07\x9b2J\u202e\u2066\U000e0041\r"
COMMANDS: dict[str, list[str]] = {
    "show": ["show", "--raw", TOKEN],
    "show, revealed": ["show", "--raw", "--reveal", TOKEN],
    "show, json": ["show", "--raw", "--json", TOKEN],
    "revoke": ["revoke", "--raw", "--yes", TOKEN, OTHER],
    "stats": ["stats"],
    "purge": ["purge", "--yes"],
    "purge, dry": ["purge", "--dry-run", "--json"],
    "export": ["export", "--overwrite", "FILES/exported.jsonl"],
    "load": ["load", "--yes", "--expired", "FILES/loaded.jsonl"],
    "load, resumed": ["load", "--yes", "--resume-file", "FILES/resume", "FILES/loaded.jsonl"],
    "copy": ["copy", "--yes", "other", "--to-attribute", "token=key"],
    "doctor": ["doctor"],
    "create-table": ["create-table"],
    "unknown": ["show", "--raw", "--no-such-option", TOKEN],
}


def test_the_command_line(
    sent: Sent,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It shows what it is asked for; nothing else, and nothing that a terminal acts upon."""
    environment(monkeypatch, tmp_path, AWS_SECRET_ACCESS_KEY=KEY, AWS_SESSION_TOKEN=STS)
    monkeypatch.setattr("dynamostore.batch._calls._LONGEST_PAUSE", 0.0)
    monkeypatch.setattr("dynamostore.cli._meter.ATTEMPTS", 1)
    monkeypatch.setattr("dynamostore.pauses.sleep", lambda _: None)
    loaded(tmp_path)
    (tmp_path / "resume").write_text(f"{TOKEN}:1")
    (tmp_path / "resume").chmod(0o600)
    ran = 0
    with FaultyDynamoDB(answering) as server, checked_logs():
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        for kind, always in TOLD.items():
            for name, arguments in COMMANDS.items():
                server.always = always
                given = [argument.replace("FILES", str(tmp_path)) for argument in arguments]
                caught(lambda: main(given), sent)  # noqa: B023
                said = capsys.readouterr()
                text = said.out + said.err
                assert_printable(text)
                shown = {KEY, STS} if name in ("show, revealed", "unknown") else {KEY, STS, TOKEN, OTHER, IBAN}
                assert [secret for secret in shown if secret in text] == [], (kind, name)
                if kind == "records":
                    assert said.out or name in ("unknown", "load, resumed"), (name, text)
                ran += 1
    assert ran == len(TOLD) * len(COMMANDS)


async def answering(request: Request) -> Reply:
    """A table in which what is stored acts upon a terminal, and some of it is corrupt."""
    data = base64.b64encode(f"{IBAN}{ACTS_ON_A_TERMINAL}".encode()).decode()
    whole, corrupt = wired(data={"B": data}), wired(token={"S": OTHER}, expiry={"S": f"{IBAN}{ACTS_ON_A_TERMINAL}"})
    key = request.arguments.get("TableName") == "other"
    described = {
        "TableName": "t",
        "TableStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": "key" if key else "token", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "key" if key else "token", "AttributeType": "S"}],
        "TableArn": f"arn:{request.arguments.get('TableName')}",
    }
    ttl = {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    bodies: dict[str, dict[str, object]] = {
        "GetItem": {"Item": whole},
        "Scan": {"Items": [] if key else [whole, corrupt], "Count": 2, "ScannedCount": 2},
        "BatchGetItem": {"Responses": {"scs_session": [whole, corrupt]}},
        "DescribeTable": {"Table": described},
        "DescribeTimeToLive": {"TimeToLiveDescription": ttl},
    }
    return reply(200, json.dumps(bodies.get(request.operation, {})).encode())


TOLD: dict[str, Fault] = {
    "records": honestly,
    "keyless": saying(
        200, {"Item": {"data": {"S": IBAN}}, "Items": [{"data": {"S": IBAN}}], "Count": 1, "ScannedCount": 1}
    ),
    "refused": saying(400, {"__type": f"com.amazonaws#Odd{ACTS_ON_A_TERMINAL}", "message": f"no{ACTS_ON_A_TERMINAL}"}),
    "lost": FAULTS["lost"],
    "corrupt": FAULTS["another checksum"],
}


def assert_printable(text: str) -> None:
    assert [
        char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char != "\n"
    ] == []


def test_a_command_that_breaks(sent: Sent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment(monkeypatch, tmp_path, AWS_SECRET_ACCESS_KEY=KEY, AWS_SESSION_TOKEN=STS)
    loaded(tmp_path)

    def breaks(*_: object, **__: object) -> None:
        raise LookupError("a bug of ours")

    monkeypatch.setattr("dynamostore.wire.client.WireClient._call", breaks)
    for name, arguments in COMMANDS.items():
        given = [argument.replace("FILES", str(tmp_path)) for argument in arguments]
        error = caught(lambda: main(given), sent)  # noqa: B023
        assert error is not None or name in ("unknown", "load, resumed"), name
