"""A DynamoDB that answers as it is told, clients that watch what passes through them, and `assert_discreet`."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, TypeAlias

from dynamostore import DynamoStore, MemoryStore, Record, Store, Table
from dynamostore.digests import digest
from dynamostore.instants import Clock
from session import SessionManager

OPERATIONS = {
    "find": "GetItem",
    "save": "PutItem",
    "create": "PutItem",
    "replace": "UpdateItem",
    "touch": "UpdateItem",
    "rename": "TransactWriteItems",
    "remove": "DeleteItem",
    "delete": "DeleteItem",
    "ping": "GetItem",
}
"""The low-level operation that each verb begins with."""


def verb(name: str, store: Store, record: Record, data: bytes = b"new data") -> Callable[[], object]:
    """A call of the verb *name*, on *record* or its token."""
    later = record.expiry + timedelta(hours=1)
    verbs: dict[str, Callable[[], object]] = {
        "find": partial(store.find, record.token),
        "save": partial(store.save, record.token, data, later),
        "create": partial(store.create, record.token, data, later),
        "replace": partial(store.replace, record, data, later),
        "touch": partial(store.touch, record, later),
        "rename": partial(store.rename, record, record.token + "2", data, later),
        "remove": partial(store.remove, record),
        "delete": partial(store.delete, record.token),
        "ping": store.ping,
    }
    return verbs[name]


def assert_discreet(error: BaseException, *secrets: str | bytes, log: str = "") -> None:
    """Neither what *error* and its causes say nor *log* gives a token or data away, plain or in base64."""
    said = [log]
    for one in _chain(error):
        said += [str(one), repr(one), *getattr(one, "__notes__", ())]
    for secret in secrets:
        plain = secret.encode() if isinstance(secret, str) else secret
        encoded = base64.b64encode(plain).decode()
        for text in said:
            assert plain.decode("latin-1") not in text
            assert repr(plain)[2:-1] not in text
            assert encoded.rstrip("=") not in text


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and all that it came of, whether or not a traceback would show it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def assert_names(message: str, token: str) -> None:
    """*message* names the record of *token* by its digest, and by that alone."""
    assert digest(token) in message
    assert token not in message


# A server that answers as it is told


@dataclass(frozen=True)
class Reply:
    """An HTTP reply with a body; of JSON, usually."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Fault(Enum):
    """What may become of a request that was read, in place of a reply."""

    CLOSED = "the connection is closed"
    RESET = "the connection is reset"
    HALF = "half a reply, and the connection is closed"
    SILENCE = "nothing at all"


Answer: TypeAlias = Reply | Fault


def success(**body: object) -> Reply:
    """A reply that all went well."""
    return Reply(200, json.dumps(body).encode())


def refusal(code: str, message: str = "the reason", status: int = 400, **more: object) -> Reply:
    """A reply that says why not, as DynamoDB writes it."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **more}
    return Reply(status, json.dumps(body).encode())


class FakeDynamoDB:
    """A real HTTP server on a free port of the loopback interface; *requests* is what it was asked, in order."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self._answers: dict[str, list[Answer]] = {}
        self._over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), partial(_Handler, self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, answer: Answer, *then: Answer, to: str = "") -> None:
        """Answer *to* an operation (or any) with this and then that, and with the last one ever after."""
        self._answers[to] = [answer, *then]

    def forget(self) -> None:
        """Begin anew."""
        self.requests.clear()
        self._answers.clear()

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self.requests]

    def next_answer(self, operation: str, request: object) -> Answer:
        self.requests.append((operation, request))
        answers = self._answers.get(operation) or self._answers[""]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def be_silent(self) -> None:
        """Say nothing for as long as the server runs."""
        self._over.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that hangs up on us is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, fake: FakeDynamoDB, *arguments: Any) -> None:
        self._fake = fake
        super().__init__(*arguments)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self._fake.next_answer(self.headers["X-Amz-Target"].partition(".")[2], json.loads(body))
        if isinstance(answer, Reply):
            self._reply(answer.status, answer.body, len(answer.body), answer.headers)
            return
        self.close_connection = True
        match answer:
            case Fault.HALF:
                self._reply(200, b'{"Item": {"token": {"S"', 100)
            case Fault.RESET:
                # To linger for no time at all is to reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            case Fault.SILENCE:
                self._fake.be_silent()
            case Fault.CLOSED:
                pass

    def _reply(self, status: int, body: bytes, length: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(length))
        self.send_header("x-amzn-RequestId", "REQUEST")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


# Clients in front of clients


@dataclass
class Watched:
    """A client that keeps account of its calls, and may do something just *before* one is passed on."""

    client: object
    before: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self.client, name)

        def call(**arguments: Any) -> object:
            self.calls.append((name, arguments))
            self.before.get(name, lambda: None)()
            return method(**arguments)

        return call

    def taken(self) -> list[str]:
        """The names of the calls since this was last asked."""
        names = [name for name, _ in self.calls]
        self.calls.clear()
        return names

    def store(
        self, table: Table, clock: Clock, *, consistent_read: bool = True, evict_expired: bool = True
    ) -> DynamoStore:
        """A store that makes its calls through this."""
        # The protocol cannot see the methods behind __getattr__.
        client: Any = self
        return DynamoStore(client, table, consistent_read=consistent_read, evict_expired=evict_expired, clock=clock)


# What lies in the store


class StoredSession:
    """A session that is stored, perhaps with a *payload* of somebody else's, and its record as it should stay."""

    def __init__(self, manager: SessionManager, memory: MemoryStore, payload: bytes | None = None) -> None:
        with manager.session(None) as s:
            s.update({"k": "before", "n": 1, "cart": ["apple"]})
        assert s.token is not None
        self.token = s.token
        self._memory = memory
        (self._key,) = memory._records
        self.record = self.now()
        if payload is not None:
            self.put(payload)

    def now(self) -> Record:
        """The record as it is."""
        return self._memory._records[self._key]

    def put(self, payload: bytes) -> None:
        """Store another payload."""
        self.record = self._memory.replace(self.record, payload, self.record.expiry)
