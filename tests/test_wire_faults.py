"""The wire clients against a server that fails on purpose: the right typed error or a retry, never a wrong answer or a hang."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import partial
from itertools import chain, repeat
from typing import Any
from zlib import crc32

import pytest
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dynamostore import AccessDeniedError, DynamoStore, Record, StoreError, ThrottledError, UnavailableError
from dynamostore.hidden import Hidden
from dynamostore.local import LocalDynamoDB
from dynamostore.steps import Pause
from dynamostore.wire import AsyncWireClient, WireClient, _http
from dynamostore.wire._access import Fixed
from dynamostore.wire._core import Core, Endpoint
from dynamostore.wire._http import RawReply
from dynamostore.wire._retries import Caller, Limits, Quota
from dynamostore.wire.errors import (
    CertificateError,
    ConnectError,
    ConnectionLostError,
    DamagedReplyError,
    ReplyTimeoutError,
    ServiceError,
    TransportError,
    WireError,
)
from dynamostore.wire.types import GET_ITEM

from .fakes import verb
from .faulty import (
    KEYS,
    KINDS,
    Blocking,
    Driver,
    Fault,
    FaultyDynamoDB,
    Kind,
    Line,
    Reply,
    Upstream,
    data_of,
    honestly,
    item_of,
    page,
    refusal,
    reply,
)

ATTEMPTS = 2
# Of what never comes, each test waits for one of these; of what comes, for none.
READ_TIMEOUT = 0.15
CALL_TIMEOUT = 0.6
# What a busy machine may add.
SLACK = 1.5

PATIENT: dict[str, Any] = {"attempts": ATTEMPTS, "connect_timeout": 2, "read_timeout": 3, "call_timeout": 5}
HURRIED: dict[str, Any] = {
    "attempts": ATTEMPTS,
    "connect_timeout": 2,
    "read_timeout": READ_TIMEOUT,
    "call_timeout": CALL_TIMEOUT,
}

LATER = datetime(2200, 1, 1, tzinfo=UTC)

_numbers = itertools.count()


def new_token() -> str:
    return f"token-{next(_numbers)}"


# What may go wrong: faults that end without a reply


async def reset_at_once(line: Line) -> None:
    line.reset()


async def reset_before_the_request_is_read(line: Line) -> None:
    await line.arrival()
    line.reset()


async def reset_in_the_request(line: Line) -> None:
    await line.read(0.5)
    line.reset()


async def reset_after_the_request(line: Line) -> None:
    await line.read()
    line.reset()


async def reset_in_place_of_the_reply(line: Line) -> None:
    await line.answer()
    line.reset()


async def close_at_once(line: Line) -> None:
    line.close()


async def close_after_the_request(line: Line) -> None:
    await line.read()
    line.close()


async def close_in_place_of_the_reply(line: Line) -> None:
    await line.answer()
    line.close()


def cut(part: Callable[[Reply], bytes], *, reset: bool = False, done: bool = True) -> Fault:
    """Send a part of the reply, and hang up."""

    async def fault(line: Line) -> None:
        if done:
            answer = await line.answer()
        else:
            await line.read()
            answer = reply(200, b"{}")
        await line.send(part(answer))
        if reset:
            line.reset()
        line.close()

    return fault


def silent_after(part: Callable[[Reply], bytes]) -> Fault:
    """Send a part of the reply, and nothing more."""

    async def fault(line: Line) -> None:
        await line.send(part(await line.answer()))
        await line.hold()
        line.close()

    return fault


async def too_late(line: Line) -> None:
    """The reply comes when nobody waits for it any more, or should."""
    answer = await line.answer()
    await asyncio.sleep(1.2 * READ_TIMEOUT)
    await line.send(answer)


def drip(head: bytes, drop: bytes) -> Fault:
    """A few bytes each 50 ms, without end."""

    async def fault(line: Line) -> None:
        await line.answer()
        await line.send(head)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            await line.send(drop)
            await asyncio.sleep(0.05)
        line.close()

    return fault


def say(*segments: Reply | bytes, close: bool = False, read: float = 1.0) -> Fault:
    """Reply just so, whatever was asked; the origin hears nothing of it."""

    async def fault(line: Line) -> None:
        await line.read(read)
        await line.send(*segments)
        if close:
            line.close()

    return fault


def pour(head: bytes, drop: bytes) -> Fault:
    """As much as is taken, without end."""

    async def fault(line: Line) -> None:
        await line.read()
        await line.send(head)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            await line.send(drop)
        line.close()

    return fault


def tamper(change: Callable[[Reply], Reply]) -> Fault:
    """The origin's reply, changed."""

    async def fault(line: Line) -> None:
        await line.send(change(await line.answer()))

    return fault


def with_crc(answer: Reply) -> Reply:
    """The reply with its right checksum, as DynamoDB sends it."""
    return answer.having(f"x-amz-crc32: {crc32(answer.body)}", without="x-amz-crc32")


OK = b"HTTP/1.1 200 OK\r\n"
TYPE = b"Content-Type: application/x-amz-json-1.0\r\n"


@dataclass(frozen=True)
class Case:
    """A fault, and what comes of it if it stays: of a client's call, and of a store's."""

    fault: Fault
    wire: type[WireError] | tuple[type[WireError], ...]
    store: type[StoreError] = UnavailableError
    attempts: int = ATTEMPTS
    hurried: bool = False
    """It is waited for until the time is over."""
    done: bool = False
    """The request is done, though its reply is lost."""


LOST: dict[str, Case] = {
    name: Case(fault, ConnectionLostError, done=done)
    for name, (fault, done) in {
        "reset before the request is read": (reset_before_the_request_is_read, False),
        "reset in the middle of the request": (reset_in_the_request, False),
        "reset after the request": (reset_after_the_request, False),
        "reset in place of the reply": (reset_in_place_of_the_reply, True),
        "closed after the request": (close_after_the_request, False),
        "closed in place of the reply": (close_in_place_of_the_reply, True),
        "half a status line": (cut(lambda r: r.head[:9]), True),
        "half a header": (cut(lambda r: r.head[: len(r.head) // 2]), True),
        "a head but for its last byte": (cut(lambda r: r.head[:-1]), True),
        "a head and no body": (cut(lambda r: r.having("Content-Length: 7").head), True),
        "half a body, closed": (cut(lambda r: bytes(r.having(f"Content-Length: {2 * len(r.body)}"))), True),
        "half a body, reset": (cut(lambda r: r.having("Content-Length: 9").head + b"{", reset=True), True),
        "a body but for its last byte": (cut(lambda r: bytes(r.having(f"Content-Length: {len(r.body) + 1}"))), True),
        "cut in the size of a chunk": (cut(lambda r: r.chunked(1).head + b"1"), True),
        "cut in a chunk": (cut(lambda r: r.chunked(1).head + b"20\r\n" + r.body[:1]), True),
        "cut before the last chunk": (cut(lambda r: bytes(r.chunked(9)).removesuffix(b"0\r\n\r\n")), True),
        "cut in the last chunk": (cut(lambda r: bytes(r.chunked(9))[:-2]), True),
        "100 Continue and no more": (cut(lambda _: b"HTTP/1.1 100 Continue\r\n\r\n"), True),
        "a line feed": (cut(lambda _: b"\r\n"), True),
    }.items()
}

# Seen when connecting, or afterwards.
AT_ONCE: dict[str, Case] = {
    "reset at once": Case(reset_at_once, (ConnectError, ConnectionLostError)),
    "closed at once": Case(close_at_once, (ConnectError, ConnectionLostError)),
}

LATE: dict[str, Case] = {
    name: Case(fault, ReplyTimeoutError, attempts=attempts, hurried=True, done=True)
    for name, (fault, attempts) in {
        "silence": (silent_after(lambda _: b""), 2),
        "silence after half a head": (silent_after(lambda r: r.head[:30]), 2),
        "silence after the head": (silent_after(lambda r: r.having("Content-Length: 2").head), 2),
        "silence in a chunk": (silent_after(lambda r: r.chunked(1).head + b"20\r\n{"), 2),
        "silence after a body that ends with the connection": (silent_after(lambda r: bytes(r.closing())), 2),
        "silence after 100 Continue": (silent_after(lambda _: b"HTTP/1.1 100 Continue\r\n\r\n"), 2),
        "a reply that comes too late": (too_late, 2),
        # Each byte is a sign of life, so it is the time of the whole call that ends these.
        "a header of a byte at a time": (drip(OK + b"X-Slow: ", b"a"), 1),
        "a body of a byte at a time": (drip(OK + TYPE + b"Content-Length: 9999\r\n\r\n", b" "), 1),
        "a chunk of a byte at a time": (drip(OK + TYPE + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"), 1),
        "a body that never stops coming": (
            pour(OK + TYPE + b"Content-Length: 999999999\r\n\r\n", b" " * 200),
            1,
        ),
        "interim replies at a time": (drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), 1),
    }.items()
}

RIGHT = json.dumps({"Item": item_of("another token")}).encode()
DAMAGED: dict[str, Case] = {
    name: Case(fault, DamagedReplyError)
    for name, fault in {
        "a page of status 200": say(page(200)),
        "no body": say(reply(200, b"")),
        "a list": say(reply(200, b"[]")),
        "null": say(reply(200, b"null")),
        "a string": say(reply(200, b'"ok"')),
        "a number": say(reply(200, b"1")),
        "half of the JSON": say(reply(200, RIGHT[: len(RIGHT) // 2])),
        "JSON and more": say(reply(200, RIGHT + b"}")),
        "not UTF-8": say(reply(200, b'{"Item": {"token": {"S": "\xff"}}}')),
        "a NUL": say(reply(200, b'{"Item"\0: {}}')),
        "too deep": say(reply(200, b'{"Item": {"a": ' + b'{"L": [' * 50_000 + b"]}" * 50_000 + b"}}")),
        "an item that is a list": say(reply(200, b'{"Item": []}')),
        "an attribute that is none": say(reply(200, b'{"Item": {"token": "plain"}}')),
        "data that is no base64": say(reply(200, b'{"Item": {"data": {"B": "a"}}}')),
        "text": say(reply(200, RIGHT, kind="text/plain")),
        "JSON, but not DynamoDB's": say(reply(200, RIGHT, kind="application/json")),
        "JSON of no type": say(reply(200, RIGHT, kind=None)),
        "compressed": say(reply(200, b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "Content-Encoding: gzip")),
        "another checksum": say(reply(200, RIGHT, f"x-amz-crc32: {crc32(RIGHT) ^ 1}")),
        "a checksum that is none": say(reply(200, RIGHT, "x-amz-crc32: none")),
        "a refusal with another checksum": say(refusal(400, "ResourceNotFoundException", "x-amz-crc32: 1")),
        "an outage with another checksum": say(refusal(500, "InternalServerError", "x-amz-crc32: 1")),
        **{f"a {status} with JSON": say(reply(status, RIGHT)) for status in (201, 202, 206)},
        "a 204": say(reply(204, b"", length=None)),
        **{
            f"a page of status {status}": say(page(status, "Location: http://127.0.0.1:1/"))
            for status in (301, 302, 307, 400, 401, 403, 404, 407, 413, 429, 431)
        },
        "another protocol": say(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
        "garbage": say(bytes(range(256))),
        "NULs": say(bytes(64)),
        "a page without a head": say(b"<html><body>Please sign in</body></html>"),
        "SSH": say(b"SSH-2.0-OpenSSH_9.2\r\n"),
        "SMTP": say(b"220 mail.example.com ESMTP\r\n"),
        "Redis": say(b"-ERR unknown command 'POST'\r\n"),
        "MySQL": say(b"J\0\0\0\n8.0.36\0\x08\0\0\0"),
        "TLS": say(b"\x15\x03\x01\0\x02\x02\x0a"),
        "HTTP/2": say(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0d"),
        "a greeting before the request": say(b"220 ready\r\n", read=0.0),
        "a length that is negative": say(reply(200, RIGHT, length=-2)),
        "a length that is no number": say(reply(200, RIGHT, length="many")),
        "a length of two numbers": say(reply(200, RIGHT, length=f"{len(RIGHT)}, {len(RIGHT)}")),
        "a length that no number holds": say(reply(200, RIGHT, length="9" * 40)),
        "two lengths": say(reply(200, RIGHT, "Content-Length: 3")),
        "a length and chunks": tamper(
            lambda r: replace(r.chunked(20), head=r.having("Content-Length: 9", "Transfer-Encoding: chunked").head)
        ),
        "chunks and a length": tamper(
            lambda r: replace(r.chunked(20), head=r.having("Transfer-Encoding: chunked", "Content-Length: 9").head)
        ),
        "a chunk of no size": say(OK + TYPE + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        "a chunk of a negative size": say(OK + TYPE + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n"),
        "a chunk of a size that no number holds": say(OK + TYPE + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40),
        "a chunk that is longer than it says": say(OK + TYPE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{} \r\n0\r\n"),
        "a NUL in a header": say(reply(200, RIGHT, "X-Nul: a\0b")),
        "a NUL in a header's name": say(reply(200, RIGHT, "X\0Nul: a")),
        "a header without a colon": say(reply(200, RIGHT, "X-Nothing")),
        "a head that is too long": say(reply(200, RIGHT, *(f"X-{n}: {'a' * 1000}" for n in range(70)))),
        "a header that is too long": say(reply(200, RIGHT, "X-Long: " + "a" * 70_000)),
        "a header without end": pour(OK + b"X-Long: ", b"a" * 9999),
        "headers without end": pour(OK, b"X-More: and more\r\n" * 500),
        "interim replies without end": pour(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
        "a status line without end": pour(b"HTTP/1.1 200 ", b"O" * 9999),
    }.items()
}

REFUSED: dict[str, Case] = {
    **{
        f"a {status} {what}": Case(say(answer), ServiceError)
        for status in (500, 502, 503, 504)
        for what, answer in {
            "of DynamoDB's": refusal(status, "InternalServerError"),
            "of a name that is new": refusal(status, "SomethingNewException"),
            "with a page": page(status),
            "without a body": reply(status, b"", kind=None),
            "with half of the JSON": reply(status, b'{"__type": "Intern'),
        }.items()
    },
    "a 501": Case(say(page(501)), ServiceError, attempts=1),
    "a 505": Case(say(page(505)), ServiceError, attempts=1),
    **{
        code: Case(say(refusal(400, code)), ServiceError, ThrottledError)
        for code in (
            "LimitExceededException",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "Throttling",
            "ThrottlingException",
        )
    },
    "a 429 of DynamoDB's": Case(say(refusal(429, "ThrottlingException")), ServiceError, ThrottledError),
    "a 429 that says no more": Case(say(reply(429, b"{}")), ServiceError, ThrottledError),
    "a 503 that throttles": Case(say(refusal(503, "ThrottlingException")), ServiceError, ThrottledError),
    "InternalServerError as a 400": Case(say(refusal(400, "InternalServerError")), ServiceError),
    "RequestTimeout": Case(say(refusal(408, "RequestTimeout")), ServiceError),
    "a 413 of DynamoDB's": Case(say(refusal(413, "RequestEntityTooLarge")), ServiceError, StoreError, attempts=1),
    "AccessDeniedException": Case(
        say(refusal(400, "AccessDeniedException")), ServiceError, AccessDeniedError, attempts=1
    ),
    "a name that is new": Case(say(refusal(400, "SomethingNewException")), ServiceError, StoreError, attempts=1),
    # No reason to think that the clock is off: the reply does not say what time it is.
    "a signature that is wrong": Case(
        say(refusal(400, "InvalidSignatureException")), ServiceError, AccessDeniedError, attempts=1
    ),
    # More digits than Python reads, or a float holds; and in any case longer than the call may take.
    **{
        f"a time to wait of {digits} digits": Case(
            say(refusal(503, "ServiceUnavailable", f"x-amz-retry-after: {'9' * digits}")), ServiceError, attempts=1
        )
        for digits in (400, 5000)
    },
}

CASES = LOST | AT_ONCE | LATE | DAMAGED | REFUSED
TRIED_AGAIN = {name: case for name, case in CASES.items() if case.attempts > 1}
PASSING = {name: case for name, case in CASES.items() if case.attempts > 1 or case.hurried}


# Fixtures


@pytest.fixture(scope="module", params=KINDS)
def driver(request: pytest.FixtureRequest, credentials: None) -> Iterator[Driver]:
    with Driver(request.param) as driver:
        yield driver


@pytest.fixture(scope="module")
def running() -> Iterator[FaultyDynamoDB]:
    with FaultyDynamoDB() as server:
        yield server


@pytest.fixture
def server(running: FaultyDynamoDB) -> FaultyDynamoDB:
    running.forget()
    return running


@pytest.fixture
def connect(driver: Driver, server: FaultyDynamoDB) -> Iterator[Callable[..., WireClient]]:
    """Makes a client, which in the end is closed; then no connection is open, and nothing is left on the event loop."""
    made: list[WireClient] = []

    def connect(**settings: Any) -> WireClient:
        made.append(driver.client(server.url, **{**PATIENT, **settings}))
        return made[-1]

    yield connect
    for client in made:
        client.close()
    driver.assert_clean()
    server.be_still()


@pytest.fixture
def client(connect: Callable[..., WireClient]) -> WireClient:
    return connect()


@pytest.fixture
def hurried(connect: Callable[..., WireClient]) -> WireClient:
    return connect(**HURRIED)


def get(client: WireClient, token: str | None = None) -> int:
    """Get an item, which is the one that was asked for; the number of retries that it took."""
    token = token or new_token()
    got = client.get_item(TableName="scs_session", Key={"token": {"S": token}})
    assert got["Item"]["token"]["S"] == token
    assert got["Item"]["data"]["B"] == data_of(token)
    return got["ResponseMetadata"]["RetryAttempts"]


def assert_found(record: Record | None, token: str) -> None:
    assert record is not None
    assert (record.token, record.data) == (token, data_of(token))


def assert_well(client: WireClient, server: FaultyDynamoDB, calls: int = 3) -> None:
    """All is as if nothing had ever happened: each call is one request, on one connection, and has its reply."""
    server.forget()
    for _ in range(calls):
        assert get(client) == 0
    assert server.begun == calls
    assert server.connections <= 1


# A fault that stays


@pytest.mark.parametrize("name", CASES)
def test_a_fault_that_stays_is_the_error_that_it_is(
    driver: Driver, connect: Callable[..., WireClient], server: FaultyDynamoDB, name: str
) -> None:
    case = CASES[name]
    client = connect(**(HURRIED if case.hurried else {}))
    # On a connection that was good, and on new ones.
    assert get(client) == 0
    calls: list[Callable[[], object]] = [partial(get, client), partial(driver.store(client).find, new_token())]
    # What a store raises has the client's error as its cause: where the time must be waited for, that says both.
    for raised in calls[case.hurried :]:
        server.forget()
        server.always = case.fault
        begun = time.monotonic()
        with pytest.raises((WireError, StoreError)) as caught:
            raised()
        took = time.monotonic() - begun
        assert server.begun == case.attempts
        assert took < (CALL_TIMEOUT if case.hurried else 1) + SLACK
        error: BaseException | None = caught.value
        if isinstance(error, StoreError):
            assert type(error) is case.store
            error = error.__cause__
        assert type(error) in (case.wire if isinstance(case.wire, tuple) else (case.wire,))
        if isinstance(error, ServiceError):
            metadata = error.response["ResponseMetadata"]
            assert isinstance(metadata, dict)
            assert metadata["RetryAttempts"] == case.attempts - 1
    assert_well(client, server)


def test_a_server_that_is_not_there_is_a_connect_error(
    driver: Driver, client: WireClient, server: FaultyDynamoDB
) -> None:
    server.stop()
    try:
        with pytest.raises(ConnectError) as caught:
            get(client)
        assert type(caught.value) is ConnectError
        with pytest.raises(UnavailableError) as unavailable:
            driver.store(client).find(new_token())
        assert type(unavailable.value.__cause__) is ConnectError
    finally:
        server.start()
    assert_well(client, server)


@pytest.mark.parametrize(
    "head",
    [OK + TYPE + b"Content-Length: 99999999999999\r\n\r\n", OK + TYPE + b"\r\n"],
    ids=["of a length", "of no length"],
)
def test_a_body_without_end_is_taken_only_so_far(
    monkeypatch: pytest.MonkeyPatch, client: WireClient, server: FaultyDynamoDB, head: bytes
) -> None:
    # So that the test takes no longer than it must.
    monkeypatch.setattr(_http, "MAX_BODY", 2**20)
    server.always = pour(head, b" " * 9999)
    with pytest.raises(DamagedReplyError):
        get(client)
    assert_well(client, server)


# A fault that passes


@pytest.mark.parametrize("name", TRIED_AGAIN)
def test_a_fault_that_passes_is_made_good_by_a_retry(
    driver: Driver, connect: Callable[..., WireClient], server: FaultyDynamoDB, name: str
) -> None:
    case = CASES[name]
    client = connect(**(HURRIED if case.hurried else {}))
    if not case.hurried:
        server.script(case.fault)
        assert get(client) == 1
        assert server.begun == 2
        server.script(case.fault)
        token = new_token()
        assert_found(driver.store(client).find(token), token)
        assert server.begun == 4
        server.forget()
    # Also on a connection that was good.
    server.script(honestly, case.fault, honestly)
    assert get(client) == 0
    assert get(client) == 1
    assert server.begun == 3
    assert_well(client, server)


def test_a_write_that_meets_one_in_another_region_is_tried_again(client: WireClient, server: FaultyDynamoDB) -> None:
    # As botocore's model of DynamoDB has it ("retryable").
    server.script(say(refusal(400, "ReplicatedWriteConflictException")))
    replied = client.put_item(TableName="scs_session", Item={"token": {"S": new_token()}})
    assert replied["ResponseMetadata"]["RetryAttempts"] == 1
    server.always = say(refusal(400, "ReplicatedWriteConflictException"))
    server.begun = 0
    with pytest.raises(ServiceError) as caught:
        client.put_item(TableName="scs_session", Item={"token": {"S": new_token()}})
    assert caught.value.code == "ReplicatedWriteConflictException"
    assert server.begun == ATTEMPTS
    assert_well(client, server)


def test_a_server_that_comes_back_in_time_is_found_by_a_retry(client: WireClient, server: FaultyDynamoDB) -> None:
    assert get(client) == 0
    # It has gone, and come back, without the client's having been told.
    server.stop()
    server.start()
    assert get(client) <= 1
    assert_well(client, server)


# Replies that are odd, and right


@dataclass(frozen=True)
class Odd:
    """A reply that is right, and whether its connection may be used again."""

    fault: Fault
    reused: bool


def segments(cut_up: Callable[[bytes], list[bytes]], *, pause: float = 0.0) -> Fault:
    async def fault(line: Line) -> None:
        await line.send(*cut_up(bytes(with_crc_of_its_length(await line.answer()))), pause=pause)

    return fault


def with_crc_of_its_length(answer: Reply) -> Reply:
    return answer.having(f"Content-Length: {len(answer.body)}", f"x-amz-crc32: {crc32(answer.body)}")


def then(*more: Reply | bytes, pause: float = 0.0) -> Fault:
    """The reply, and more, in the same segment or after a pause."""

    async def fault(line: Line) -> None:
        answer = bytes(await line.answer())
        if pause:
            await line.send(answer, *more, pause=pause)
        else:
            await line.send(answer + b"".join(map(bytes, more)))

    return fault


def closing(change: Callable[[Reply], Reply]) -> Fault:
    async def fault(line: Line) -> None:
        await line.send(change(await line.answer()))
        line.close()

    return fault


def first(*interim: bytes) -> Fault:
    async def fault(line: Line) -> None:
        await line.send(*interim, await line.answer(), pause=0.001)

    return fault


ANOTHER = reply(200, RIGHT)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nContent-Type: text/html\r\n\r\n"

ODD: dict[str, Odd] = {
    "with its checksum": Odd(tamper(with_crc_of_its_length), True),
    "in segments of a byte": Odd(segments(lambda whole: [whole[i : i + 1] for i in range(len(whole))]), True),
    "in three segments": Odd(segments(lambda whole: [whole[:50], whole[50:150], whole[150:]], pause=0.002), True),
    "in chunks": Odd(tamper(lambda r: r.chunked(1, 2, 3, 50)), True),
    "in chunks of a byte": Odd(tamper(lambda r: r.chunked(1)), True),
    "in chunks with extensions": Odd(tamper(lambda r: r.chunked(7, extension=';name="value"')), True),
    "in chunks with trailers": Odd(tamper(lambda r: r.chunked(7, trailer="X-Trailer: value\r\n")), True),
    # A trailer says nothing about the head.
    "in chunks with a trailer of another type": Odd(
        tamper(lambda r: r.chunked(7, trailer="Content-Type: text/html\r\nx-amz-crc32: 1\r\n")), True
    ),
    "after 100 Continue": Odd(first(CONTINUE), True),
    "after 100 Continue in the same segment": Odd(tamper(lambda r: Reply(CONTINUE + r.head, r.body)), True),
    "after two interim replies": Odd(first(CONTINUE, HINTS), True),
    "with names in capitals": Odd(
        tamper(lambda r: r.having("CONTENT-TYPE: application/x-amz-json-1.0", f"CONTENT-LENGTH: {len(r.body)}")), True
    ),
    "with a header that is not ASCII": Odd(tamper(lambda r: r.having("X-Name: Zoë", without="x-none")), True),
    "with no reason": Odd(tamper(lambda r: replace(r, head=r.head.replace(b" Whatever", b""))), True),
    "with a long reason": Odd(tamper(lambda r: replace(r, head=r.head.replace(b"Whatever", b"O" * 9999))), True),
    "with a long head": Odd(tamper(lambda r: r.having("X-Long: " + "a" * 60_000, without="x-none")), True),
    "that is kept for a minute": Odd(tamper(lambda r: r.having("Keep-Alive: timeout=60", without="x-none")), True),
    "that is kept for a second": Odd(tamper(lambda r: r.having("Keep-Alive: timeout=1", without="x-none")), False),
    "that is kept for no time": Odd(
        tamper(lambda r: r.having("Keep-Alive: max=5, timeout=0", without="x-none")), False
    ),
    "that is the last": Odd(closing(lambda r: r.having("Connection: close", without="x-none")), False),
    "that says it is the last": Odd(tamper(lambda r: r.having("Connection: close", without="x-none")), False),
    "that ends with the connection": Odd(closing(Reply.closing), False),
    "whose connection then ends": Odd(closing(lambda r: r), False),
    "of HTTP/1.0": Odd(closing(lambda r: r.having(version="1.0")), False),
    "of HTTP/1.0 with a length": Odd(tamper(lambda r: r.having(without="x-none", version="1.0")), False),
    "of HTTP/1.0 that is kept": Odd(
        tamper(lambda r: r.having("Connection: keep-alive", without="x-none", version="1.0")), True
    ),
    "with a byte more": Odd(then(b"}"), False),
    "with a line feed more": Odd(then(b"\r\n"), False),
    "with much more": Odd(then(b"x" * 100_000), False),
    "with another after it": Odd(then(ANOTHER), False),
    "with half of another after it": Odd(then(bytes(ANOTHER)[:40]), False),
    "with a byte more after a while": Odd(then(b"}", pause=0.01), False),
    "with a line feed more after a while": Odd(then(b"\r\n", pause=0.01), False),
    "with another after a while": Odd(then(ANOTHER, pause=0.01), False),
    "with a 408 after a while": Odd(then(page(408, "Connection: close"), pause=0.01), False),
}


@pytest.mark.parametrize("name", ODD)
def test_a_reply_that_is_odd_and_right_is_one(
    driver: Driver, client: WireClient, server: FaultyDynamoDB, name: str
) -> None:
    odd = ODD[name]
    sent = threading.Event()

    async def fault(line: Line) -> None:
        await odd.fault(line)
        sent.set()

    server.always = fault
    store = driver.store(client)
    for _ in range(2):
        for call in (partial(get, client), partial(lambda token: assert_found(store.find(token), token), new_token())):
            sent.clear()
            assert not call()
            assert sent.wait(2)
            # What comes when nobody waits for anything comes before the next call: see below for when it does not.
            time.sleep(0.003)
    assert server.begun == 4
    assert server.connections == (1 if odd.reused else 4)
    assert_well(client, server)


@pytest.mark.parametrize(
    "surplus", [bytes(ANOTHER), bytes(ANOTHER)[:40], b"}"], ids=["a reply", "half a reply", "a byte"]
)
def test_what_comes_between_two_calls_is_no_reply_to_the_second(
    driver: Driver, connect: Callable[..., WireClient], server: FaultyDynamoDB, surplus: bytes
) -> None:
    client = connect(attempts=1)
    sent = threading.Event()

    async def fault(line: Line) -> None:
        await line.send(await line.answer(), surplus, pause=0.002)
        sent.set()

    async def both(client: Any) -> None:
        for token in (new_token(), new_token()):
            got = await client.get_item(TableName="scs_session", Key={"token": {"S": token}})
            assert got["Item"]["token"]["S"] == token
            # Busy with something else, so that the loop does not see what has come until the next request is made.
            assert sent.wait(2)

    server.script(fault)
    if isinstance(client, Blocking):
        driver.run(both(client.client))
    else:
        get(client)
        assert sent.wait(2)
        get(client)
    assert_well(client, server)


def test_a_reply_too_many_that_nobody_can_tell_from_the_right_one_is_told_by_its_item(
    driver: Driver, client: WireClient, server: FaultyDynamoDB
) -> None:
    async def fault(line: Line) -> None:
        await line.send(await line.answer())
        await line.begin()
        # The next request is on its way, and this is no reply to it.
        await line.send(ANOTHER)
        await line.read()
        line.close()

    store = driver.store(client)
    server.script(fault)
    token = new_token()
    assert_found(store.find(token), token)
    with pytest.raises(UnavailableError, match="the reply contains another record"):
        store.find(new_token())
    for token in (new_token(), new_token()):
        assert_found(store.find(token), token)


def test_a_late_reply_is_nobody_elses(connect: Callable[..., WireClient], server: FaultyDynamoDB) -> None:
    client = connect(**{**HURRIED, "attempts": 1})
    for _ in range(3):
        late, given_up = threading.Event(), threading.Event()

        async def fault(line: Line, late: threading.Event = late, given_up: threading.Event = given_up) -> None:
            answer = await line.answer()
            await asyncio.to_thread(given_up.wait, 5)
            try:
                await line.send(answer)
            finally:
                late.set()

        server.script(fault)
        with pytest.raises(ReplyTimeoutError):
            get(client)
        given_up.set()
        for _ in range(3):
            get(client)
        assert late.wait(2)
        get(client)


# Writes whose reply is lost

WRITES = ("create", "save", "replace", "touch", "rename", "delete")
DONE = {name: case for name, case in CASES.items() if case.done and case.attempts > 1 and case.fault is not too_late}


@pytest.fixture(scope="module")
def dynamodb(credentials: None) -> Iterator[LocalDynamoDB]:
    with LocalDynamoDB() as dynamodb:
        with dynamodb.connect() as store:
            store.create_table()
        yield dynamodb


@pytest.fixture(scope="module")
def honest(dynamodb: LocalDynamoDB) -> Iterator[DynamoStore]:
    with dynamodb.connect() as store:
        yield store


@pytest.fixture(scope="module")
def proxy_running(dynamodb: LocalDynamoDB) -> Iterator[FaultyDynamoDB]:
    with FaultyDynamoDB(Upstream(dynamodb.port)) as proxy:
        yield proxy


@pytest.fixture
def proxy(proxy_running: FaultyDynamoDB) -> FaultyDynamoDB:
    proxy_running.forget()
    return proxy_running


@pytest.mark.parametrize("name", DONE)
def test_a_write_that_was_done_is_no_conflict_though_its_reply_was_lost(
    driver: Driver, proxy: FaultyDynamoDB, honest: DynamoStore, name: str
) -> None:
    case = DONE[name]
    # A real server may take its time, too; so just one of those that are waited for.
    client = driver.client(proxy.url, **(PATIENT | {"read_timeout": 0.25} if case.hurried else PATIENT))
    store = driver.store(client)
    for write in ("rename",) if case.hurried else WRITES:
        record = Record(new_token(), b"old data", LATER, 1)
        if write != "create":
            record = honest.create(record.token, record.data, record.expiry)
        proxy.forget()
        proxy.script(case.fault)
        written = verb(write, store, record)()
        assert proxy.begun == 2
        assert honest.find(record.token if written is None else written.token) == written  # type: ignore[attr-defined]  # a Record, if anything
        if write in ("rename", "delete"):
            assert honest.find(record.token) is None
    client.close()
    driver.assert_clean()
    proxy.be_still()


@pytest.mark.parametrize("write", WRITES)
def test_a_write_without_a_reply_is_not_known_to_be_done_or_not(
    driver: Driver, proxy: FaultyDynamoDB, honest: DynamoStore, write: str
) -> None:
    client = driver.client(proxy.url, **PATIENT)
    store = driver.store(client)
    record = Record(new_token(), b"old data", LATER, 1)
    if write != "create":
        record = honest.create(record.token, record.data, record.expiry)
    proxy.always = reset_in_place_of_the_reply
    with pytest.raises(UnavailableError):
        verb(write, store, record)()
    assert proxy.begun == ATTEMPTS
    proxy.forget()
    # It was done, as it happens; and the same client says so.
    for token in (record.token, record.token + "2"):
        assert store.find(token) == honest.find(token)
    client.close()
    driver.assert_clean()
    proxy.be_still()


# A request that is refused before it has been sent


@pytest.mark.parametrize(
    ("answer", "wire", "kind"),
    [
        (refusal(413, "RequestEntityTooLarge"), ServiceError, StoreError),
        (refusal(413, "RequestEntityTooLarge", "Connection: close"), ServiceError, StoreError),
        (page(413, "Connection: close"), DamagedReplyError, UnavailableError),
        (page(503, "Connection: close"), ServiceError, UnavailableError),
    ],
    ids=["a 413 of DynamoDB's", "a 413 of DynamoDB's that is the last", "a page of status 413", "a page of status 503"],
)
def test_a_refusal_that_comes_before_the_request_is_sent_is_read(
    driver: Driver,
    client: WireClient,
    server: FaultyDynamoDB,
    answer: Reply,
    wire: type[WireError],
    kind: type[StoreError],
) -> None:
    server.always = say(answer, close=True, read=0.0)
    # More than fits into the buffers on the way, so that the client is in the middle of it.
    with pytest.raises(WireError) as caught:
        client.put_item(TableName="scs_session", Item={"token": {"S": "token"}, "data": {"B": b"x" * 8_000_000}})
    assert type(caught.value) is wire
    with pytest.raises(StoreError) as refused:
        driver.store(client).save("token", b"x" * 300_000, LATER)
    assert type(refused.value) is kind
    server.forget()
    # A connection that is closed without notice may be tried once more.
    assert get(client) <= ("Connection: close" not in str(answer.head))
    assert_well(client, server)


def test_a_large_request_that_is_cut_off_is_sent_again(
    client: WireClient, server: FaultyDynamoDB, driver: Driver
) -> None:
    data = b"x" * 300_000
    for fault in (reset_at_once, reset_in_the_request, reset_after_the_request):
        server.forget()
        server.script(fault)
        assert driver.store(client).save("token", data, LATER).data == data
        assert server.begun == 2
    assert_well(client, server)


# Many calls at once


def in_threads(count: int, call: Callable[[], object]) -> None:
    """Make *call* in so many threads at once; raises what one of them raised."""
    with ThreadPoolExecutor(count) as threads:
        for done in [threads.submit(call) for _ in range(count)]:
            done.result()


QUICK: dict[str, Fault] = {
    **{name: case.fault for name, case in (LOST | AT_ONCE | DAMAGED | REFUSED).items() if "without end" not in name},
    # A reply too many that comes when the next request has been sent: HTTP cannot tell it from the right one.
    **{name: odd.fault for name, odd in ODD.items() if name != "with another after a while"},
}


@settings(max_examples=12)
@given(names=st.lists(st.sampled_from([*QUICK]), min_size=5, max_size=30))
@example(names=["with a byte more after a while", "with another after it", "closed at once"] * 8)
def test_no_call_ever_has_anothers_reply(driver: Driver, running: FaultyDynamoDB, names: list[str]) -> None:
    running.forget()
    running.script(*(QUICK[name] for name in names))
    client = driver.client(running.url, **PATIENT, dice=0.01)

    def call() -> None:
        for _ in range(len(names) // 4 + 1):
            with suppress(ServiceError, TransportError):
                get(client)

    try:
        in_threads(4, call)
        running.forget()
        in_threads(4, partial(get, client))
    finally:
        client.close()
    driver.assert_clean()
    running.be_still()


def test_a_server_that_is_restarted_under_load_gives_no_wrong_answer(
    driver: Driver, connect: Callable[..., WireClient], server: FaultyDynamoDB
) -> None:
    client = connect(attempts=3, connect_timeout=1, read_timeout=1, call_timeout=2)
    store = driver.store(client)
    over = threading.Event()
    right = itertools.count()
    longest = 0.0

    def call() -> None:
        nonlocal longest
        while not over.is_set():
            token = new_token()
            begun = time.monotonic()
            try:
                record = store.find(token)
            except UnavailableError:
                over.wait(0.005)
            else:
                assert_found(record, token)
                next(right)
            longest = max(longest, time.monotonic() - begun)

    def restart() -> None:
        for pause in (0.0, 0.05, 0.1):
            time.sleep(0.15)
            server.stop()
            time.sleep(pause)
            server.start()
        time.sleep(0.1)
        over.set()

    restarting = threading.Thread(target=restart)
    restarting.start()
    in_threads(8 if driver.kind == "sync" else 32, call)
    restarting.join()
    assert next(right) > 50
    assert longest < 2 + SLACK
    in_threads(8, partial(get, client))
    assert_well(client, server)


# The clock


def on_the_clock(off: float, status: int, code: str, dates: list[str], *, tells: bool = True) -> Fault:
    """A server whose clock differs from ours by *off* seconds, and who takes no request whose time is not its own."""

    async def fault(line: Line) -> None:
        request = await line.read()
        sent = request.header("x-amz-date")
        dates.append(sent)
        now = time.time() + off
        signed = datetime.strptime(sent, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        if abs(signed - now) > 300:
            date = [f"Date: {formatdate(now, usegmt=True)}"] if tells else []
            await line.send(refusal(status, code, *date))
        else:
            await line.send(await line.answer())

    return fault


SKEWED = [(400, "InvalidSignatureException"), (403, "RequestTimeTooSkewed"), (403, "SignatureDoesNotMatch")]


@pytest.mark.parametrize("off", [timedelta(hours=-5), timedelta(hours=9), timedelta(days=400)], ids=str)
@pytest.mark.parametrize(("status", "code"), SKEWED, ids=[code for _, code in SKEWED])
def test_a_clock_that_is_off_costs_one_retry(
    client: WireClient, server: FaultyDynamoDB, off: timedelta, status: int, code: str
) -> None:
    server.always = on_the_clock(off.total_seconds(), status, code, [])
    assert get(client) == 1
    assert [get(client) for _ in range(3)] == [0, 0, 0]
    # And when the server's clock is put right.
    server.always = on_the_clock(0, status, code, [])
    assert get(client) == 1
    assert get(client) == 0


def test_a_clock_that_is_off_is_found_out_by_all_calls_that_are_under_way(
    client: WireClient, server: FaultyDynamoDB
) -> None:
    together = threading.Barrier(6)
    server.always = on_the_clock(7200, 400, "InvalidSignatureException", [])

    def call() -> None:
        together.wait(5)
        assert get(client) <= 1

    # They were all signed before the first of them was refused.
    waiting = itertools.count(1)
    skewed, all_there = server.always, asyncio.Event()

    async def fault(line: Line) -> None:
        await line.read()
        if next(waiting) == 6:
            all_there.set()
        await asyncio.wait_for(all_there.wait(), 2)
        await skewed(line)

    server.always = fault
    in_threads(6, call)


def test_a_refused_signature_is_not_tried_again_where_the_clock_is_right(
    client: WireClient, server: FaultyDynamoDB
) -> None:
    date = formatdate(time.time() + 60, usegmt=True)
    server.always = say(refusal(400, "InvalidSignatureException", f"Date: {date}"))
    with pytest.raises(ServiceError) as caught:
        get(client)
    assert type(caught.value) is ServiceError
    assert server.begun == 1


def test_a_signature_that_is_refused_whatever_the_time_is_an_error_after_one_retry(
    connect: Callable[..., WireClient], driver: Driver, server: FaultyDynamoDB
) -> None:
    client = connect(attempts=4)
    date = formatdate(time.time() + 3600, usegmt=True)
    server.always = say(refusal(400, "InvalidSignatureException", f"Date: {date}"))
    with pytest.raises(AccessDeniedError):
        driver.store(client).find(new_token())
    assert server.begun == 2


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "Thu, 01 Jan 1970",
        "Fri, 99 Feb 2099 99:99:99 GMT",
        "9" * 5000,
        "Mon, 01 Jan 0001 00:00:00 -0000",
    ],
)
def test_a_refusal_that_bears_no_date_that_is_one_is_just_a_refusal(
    client: WireClient, server: FaultyDynamoDB, date: str
) -> None:
    server.always = say(refusal(400, "InvalidSignatureException", f"Date: {date}"))
    with pytest.raises(ServiceError):
        get(client)
    server.forget()
    # Whatever it made of that, the next calls are none the worse for it.
    assert get(client) == 0


# Retries: how many, and when


def test_when_everything_fails_the_retries_end(connect: Callable[..., WireClient], server: FaultyDynamoDB) -> None:
    client = connect(attempts=3, dice=0.0)
    server.always = say(page(503))
    calls = 30
    for _ in range(calls):
        with pytest.raises(ServiceError):
            get(client)
    affordable = Quota.CAPACITY // Quota.COST
    assert server.begun == calls + affordable
    # Now a failure is one at once, until successes have earned a retry.
    server.forget()
    earned = Quota.COST - Quota.CAPACITY % Quota.COST
    for _ in range(earned - 1):
        get(client)
    server.script(say(page(503)))
    with pytest.raises(ServiceError):
        get(client)
    get(client)
    server.script(say(page(503)))
    assert get(client) == 1


def test_the_server_is_left_alone_for_as_long_as_it_asks(client: WireClient, server: FaultyDynamoDB) -> None:
    server.script(say(refusal(503, "ServiceUnavailable", "x-amz-retry-after: 250")))
    begun = time.monotonic()
    assert get(client) == 1
    assert 0.25 <= time.monotonic() - begun < 0.25 + SLACK
    # Longer than the call may take: then it is over now.
    server.script(say(refusal(503, "ServiceUnavailable", "x-amz-retry-after: 60000")))
    hasty = time.monotonic()
    with pytest.raises(ServiceError):
        get(client)
    assert time.monotonic() - hasty < SLACK


RETRIED_STATUS = (500, 502, 503, 504)
THROTTLES = ("ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "SlowDown")


@dataclass(frozen=True)
class Outcome:
    """What becomes of an attempt, after *took* seconds; *wait* is the time that the service asks for, in milliseconds."""

    took: float
    status: int = 200
    code: str = ""
    error: type[TransportError] | None = None
    wait: str | None = None

    @property
    def good(self) -> bool:
        return self.error is None and self.status == 200

    @property
    def throttles(self) -> bool:
        return self.error is None and (self.code in THROTTLES or self.status == 429)

    @property
    def passes(self) -> bool:
        return (
            self.error not in (None, CertificateError)
            or self.throttles
            or self.status in RETRIED_STATUS
            or self.code in ("InternalServerError", "RequestTimeout", "ReplicatedWriteConflictException")
        )

    def raw(self) -> RawReply:
        headers = {"content-type": "application/x-amz-json-1.0"}
        if self.wait is not None:
            headers["x-amz-retry-after"] = self.wait
        body = b"{}" if self.good else json.dumps({"__type": self.code, "message": "because"}).encode()
        return RawReply(self.status, headers, body, reusable=True)


# Whole parts of a second in binary: they add up to the same in any order.
_took = st.integers(0, 3 * 1024).map(lambda n: n / 1024)
_wait = (
    st.none() | st.integers(0, 20_000).map(str) | st.sampled_from(["", "soon", "-1", "1.5", "²", "9" * 9, "9" * 400])
)
OUTCOMES = st.one_of(
    st.builds(Outcome, _took),
    st.builds(
        Outcome,
        _took,
        error=st.sampled_from(
            [ConnectError, CertificateError, ReplyTimeoutError, ConnectionLostError, DamagedReplyError]
        ),
    ),
    st.builds(
        Outcome,
        _took,
        status=st.sampled_from([400, 403, 408, 413, 429, *RETRIED_STATUS, 501, 505]),
        code=st.sampled_from(
            [
                *THROTTLES,
                "InternalServerError",
                "RequestTimeout",
                "ReplicatedWriteConflictException",
                "SomethingNewException",
                "AccessDenied",
            ]
        ),
        wait=_wait,
    ),
)


class Model:
    """What the SDKs' standard mode does: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html."""

    def __init__(self, attempts: int, call_timeout: float, dice: float) -> None:
        self.attempts = attempts
        self.call_timeout = call_timeout
        self.dice = dice
        self.quota = 500

    def call(self, outcomes: Iterator[Outcome]) -> tuple[list[float], Outcome]:
        """The pauses between the attempts of one call, and what it comes to."""
        pauses: list[float] = []
        gone = 0.0
        last_cost = 0
        while True:
            outcome = next(outcomes)
            gone += outcome.took
            if outcome.good:
                self.quota = min(500, self.quota + (last_cost or 1))
                return pauses, outcome
            cost = 5 if outcome.throttles else 14
            delay = self.dice * min((1.0 if outcome.throttles else 0.025) * 2 ** len(pauses), 20.0)
            if outcome.error is None and re.fullmatch("[0-9]+", outcome.wait or ""):
                asked = float(outcome.wait or "") / 1000
                # Not sooner than it would be anyway, and not more than five seconds later.
                delay = min(max(delay, asked), delay + 5)
            in_time = gone + delay < self.call_timeout
            if not outcome.passes or len(pauses) + 1 >= self.attempts or not in_time or self.quota < cost:
                return pauses, outcome
            self.quota -= cost
            last_cost = cost
            pauses.append(delay)
            gone += delay


@settings(max_examples=200)
@given(
    attempts=st.integers(1, 8),
    call_timeout=st.integers(100, 60 * 1024).map(lambda n: n / 1024),
    dice=st.floats(0, 1),
    outcomes=st.lists(OUTCOMES, max_size=60),
)
@example(attempts=8, call_timeout=600.0, dice=1.0, outcomes=[Outcome(0, 400, "SlowDown")] * 8)
@example(attempts=8, call_timeout=600.0, dice=1.0, outcomes=[Outcome(0, error=ConnectError)] * 60)
@example(
    attempts=3, call_timeout=60.0, dice=0.5, outcomes=[Outcome(0, 503, "SlowDown", wait=w) for w in ("20000", "1")]
)
@example(attempts=3, call_timeout=60.0, dice=0.5, outcomes=[Outcome(0, error=CertificateError)])
def test_retries_are_made_when_the_standard_mode_makes_them(
    attempts: int, call_timeout: float, dice: float, outcomes: list[Outcome]
) -> None:
    now = 0.0
    endpoint = Endpoint.parse("http://127.0.0.1:1")
    caller = Caller(
        Core("us-east-1", "test"),
        Fixed(KEYS, endpoint),
        Limits(attempts, call_timeout),
        clock=lambda: 1_700_000_000.0 + now,
        monotonic=lambda: now,
        random=lambda: dice,
    )
    model = Model(attempts, call_timeout, dice)
    real, imagined = (chain(outcomes, repeat(Outcome(0))) for _ in range(2))
    made = 0
    while made < len(outcomes):
        deadline = now + call_timeout
        pauses: list[float] = []
        plan = caller.call(GET_ITEM, Hidden(b"{}"))
        step = next(plan)
        last = outcomes[made]
        try:
            while True:
                if isinstance(step, Pause):
                    now += step.seconds
                    pauses.append(step.seconds)
                    step = plan.send(None)
                else:
                    assert step.operation == "exchange"
                    assert step.arguments["timeout"] == pytest.approx(deadline - now, abs=1e-6)
                    last = next(real)
                    made += 1
                    now += last.took
                    # As a pool does it.
                    read = step.arguments["read"]
                    assert callable(read)
                    step = plan.throw(last.error("because")) if last.error else plan.send(read(last.raw()))
        except StopIteration as end:
            assert last.good
            assert end.value["ResponseMetadata"]["HTTPStatusCode"] == 200
        except ServiceError as error:
            assert (error.status, error.code) == (last.status, last.code)
        except TransportError as error:
            assert type(error) is last.error
        expected, outcome = model.call(imagined)
        assert outcome == last
        # No time at all is not waited for.
        assert pauses == pytest.approx([seconds for seconds in expected if seconds])
        assert caller.quota.available == model.quota


def test_a_pause_that_was_longer_than_the_call_may_take_is_no_pause_before_an_attempt() -> None:
    now = 0.0
    limits = Limits(3, 10.0)
    endpoint = Endpoint.parse("http://127.0.0.1:1")
    caller = Caller(
        Core("us-east-1", "test"),
        Fixed(KEYS, endpoint),
        limits,
        clock=lambda: 1_700_000_000.0 + now,
        monotonic=lambda: now,
        random=lambda: 1.0,
    )
    for asleep, left in ((4.0, 6.0), (10.0, None)):
        now = 0.0
        plan = caller.call(GET_ITEM, Hidden(b"{}"))
        next(plan)
        assert isinstance(plan.throw(ConnectionLostError("because")), Pause)
        # The process was frozen.
        now = asleep
        if left is None:
            with pytest.raises(ConnectionLostError):
                plan.send(None)
        else:
            step = plan.send(None)
            assert not isinstance(step, Pause)
            assert step.arguments["timeout"] == left
        plan.close()


# On an event loop: calls that are cancelled, and calls that wait in line


LOOPS: tuple[Kind, ...] = ("asyncio", "uvloop")


@pytest.fixture(scope="module", params=LOOPS)
def looping(request: pytest.FixtureRequest, credentials: None) -> Iterator[Driver]:
    with Driver(request.param) as driver:
        yield driver


@pytest.fixture
def aconnect(looping: Driver, server: FaultyDynamoDB) -> Iterator[Callable[..., AsyncWireClient]]:
    """As `connect`, an async client."""
    made: list[AsyncWireClient] = []

    def connect(**settings: Any) -> AsyncWireClient:
        made.append(AsyncWireClient("us-east-1", server.url, credentials=KEYS, **{**PATIENT, **settings}))
        return made[-1]

    yield connect
    for client in made:
        looping.run(client.close())
    looping.assert_clean()
    server.be_still()


async def aget(client: AsyncWireClient) -> None:
    """Get an item, which is the one that was asked for."""
    token = new_token()
    got = await client.get_item(TableName="scs_session", Key={"token": {"S": token}})
    assert got["Item"] == {**item_of(token), "data": {"B": data_of(token)}}


class Crowd:
    """A fault that replies to nobody until *count* requests are there, so that as many connections must be in use."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._complete = asyncio.Event()

    async def __call__(self, line: Line) -> None:
        await line.read()
        self._missing -= 1
        if self._missing == 0:
            self._complete.set()
        await asyncio.wait_for(self._complete.wait(), 2)
        await honestly(line)


async def assert_all_free(client: AsyncWireClient, server: FaultyDynamoDB, connections: int) -> None:
    """As many calls as there may be connections are under way at once, and all have their replies."""
    server.always = Crowd(connections)
    await asyncio.gather(*(aget(client) for _ in range(connections)))
    server.always = honestly


def slowly(seconds: float) -> Fault:
    async def fault(line: Line) -> None:
        answer = bytes(await line.answer())
        await asyncio.sleep(seconds)
        # In two parts: a call can be cancelled in between.
        await line.send(answer[:60], answer[60:], pause=seconds)

    return fault


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task, and see it end, as cancelled or because it was faster."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("warm", [False, True], ids=["on a new connection", "on one that was used"])
@pytest.mark.parametrize("fault", [honestly, slowly(0.002)], ids=["of a fast server", "of a slow server"])
def test_a_call_can_be_cancelled_at_any_step(
    looping: Driver, aconnect: Callable[..., AsyncWireClient], server: FaultyDynamoDB, fault: Fault, warm: bool
) -> None:
    client = aconnect(max_connections=2)

    async def sweep() -> None:
        for steps in [*range(12), *range(12, 60, 6)]:
            if warm:
                await aget(client)
            server.always = fault
            task = asyncio.create_task(aget(client))
            for _ in range(steps):
                await asyncio.sleep(0)
            await end(task)
            server.always = honestly
            await aget(client)
        await assert_all_free(client, server, 2)

    looping.run(sweep())


@settings(max_examples=25)
@given(
    delays=st.lists(st.none() | st.integers(0, 12), min_size=10, max_size=40),
    connections=st.integers(1, 5),
    odd=st.lists(st.sampled_from(list(ODD)), max_size=4),
)
def test_calls_that_are_cancelled_leave_the_others_alone(
    looping: Driver, running: FaultyDynamoDB, delays: list[int | None], connections: int, odd: list[str]
) -> None:
    running.forget()
    running.always = slowly(0.001)
    running.script(*(ODD[name].fault for name in odd if name != "with another after a while"))

    async def load() -> None:
        async with AsyncWireClient(
            "us-east-1", running.url, credentials=KEYS, max_connections=connections, **PATIENT
        ) as client:

            async def call(delay: int | None) -> None:
                task = asyncio.create_task(aget(client))
                if delay is None:
                    await task
                else:
                    await asyncio.sleep(delay / 2000)
                    await end(task)

            await asyncio.gather(*map(call, delays))
            running.forget()
            await assert_all_free(client, running, connections)

    looping.run(load())
    looping.assert_clean()
    running.be_still()


def test_calls_that_are_cancelled_in_line_or_on_their_turn_leave_no_hole(
    looping: Driver, aconnect: Callable[..., AsyncWireClient], server: FaultyDynamoDB
) -> None:
    client = aconnect(max_connections=1)

    async def line_up(turns: int) -> None:
        server.always = slowly(0.001)
        first = asyncio.create_task(aget(client))
        waiting = [asyncio.create_task(aget(client)) for _ in range(6)]
        for task in (waiting[0], waiting[3]):
            await asyncio.sleep(0)
            task.cancel()
        await first
        # Now it is the next one's turn, or will be in a moment.
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting[1].cancel()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [outcome for outcome in outcomes if not isinstance(outcome, asyncio.CancelledError)] == [None] * 3
        await assert_all_free(client, server, 1)

    async def sweep() -> None:
        for turns in range(8):
            await line_up(turns)

    looping.run(sweep())


def test_calls_that_wait_in_line_for_too_long_leave_no_hole(
    looping: Driver, aconnect: Callable[..., AsyncWireClient], server: FaultyDynamoDB
) -> None:
    client = aconnect(max_connections=2, call_timeout=0.05, attempts=1)

    async def too_many() -> None:
        # They all have the same time: whoever waits has his turn at the moment at which he gives up.
        for _ in range(5):
            server.always = silent_after(lambda _: b"")
            outcomes = await asyncio.gather(*(aget(client) for _ in range(9)), return_exceptions=True)
            # With a moment left, it has to connect; and finds that there is no time for that.
            assert {type(outcome) for outcome in outcomes} <= {ReplyTimeoutError, ConnectError}
            server.always = honestly

    looping.run(too_many())
    # What is free is seen without hurry.
    setup = client._setup.caller
    setup._limits = Limits(2, 5)
    looping.run(assert_all_free(client, server, 2))


def test_more_calls_than_connections_wait_and_all_have_their_replies(
    looping: Driver, aconnect: Callable[..., AsyncWireClient], server: FaultyDynamoDB
) -> None:
    client = aconnect(max_connections=3)
    now, most = 0, 0

    async def counted(line: Line) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        try:
            await slowly(0.001)(line)
        finally:
            now -= 1

    async def crowd() -> None:
        await asyncio.gather(*(aget(client) for _ in range(60)))

    server.always = counted
    looping.run(crowd())
    assert most == 3
    assert server.connections == 3
    assert server.begun == 60


def test_calls_have_their_turn_in_the_order_in_which_they_came(
    looping: Driver, aconnect: Callable[..., AsyncWireClient], server: FaultyDynamoDB
) -> None:
    client = aconnect(max_connections=1)
    done: list[int] = []

    async def call(number: int) -> None:
        await aget(client)
        done.append(number)

    async def line_up() -> None:
        await asyncio.gather(*(call(number) for number in range(20)))

    looping.run(line_up())
    assert done == list(range(20))


def test_a_client_that_is_closed_under_load_leaves_no_connection_and_no_call(
    looping: Driver, aconnect: Callable[..., AsyncWireClient], server: FaultyDynamoDB
) -> None:
    server.always = slowly(0.005)

    async def load(client: AsyncWireClient, steps: int) -> None:
        calls = [asyncio.create_task(aget(client)) for _ in range(6)]
        for _ in range(steps):
            await asyncio.sleep(0)
        await client.close()
        # Whoever was in line, or about to connect, does not go on to do so.
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, (RuntimeError, ConnectionLostError))
        with pytest.raises(RuntimeError, match="closed"):
            await aget(client)

    for steps in (0, 1, 2, 3, 5, 8, 13, 40):
        looping.run(load(aconnect(max_connections=2), steps))
        looping.assert_clean()
        server.be_still()


# A thread that is interrupted


class Interrupted(BaseException):
    """What a signal's handler raises, as Ctrl-C does."""


def test_a_call_that_is_interrupted_leaves_its_reply_to_nobody(credentials: None, server: FaultyDynamoDB) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are the main thread's")

    def interrupt(signum: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with WireClient("us-east-1", server.url, credentials=KEYS, **PATIENT) as client:
            for fault in (slowly(0.04), too_late):
                get(client)
                server.script(fault)
                signal.setitimer(signal.ITIMER_REAL, 0.06)
                with pytest.raises(Interrupted):
                    get(client)
                time.sleep(1.2 * READ_TIMEOUT)
                get(client)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    server.be_still()


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module")
def tls_running(authority: trustme.CA) -> Iterator[FaultyDynamoDB]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FaultyDynamoDB(tls=context) as server:
        yield server


def raw(change: Callable[[Line, bytes], bytes]) -> Fault:
    """Send the records of a reply, changed, and hang up."""

    async def fault(line: Line) -> None:
        answer = bytes(await line.answer())
        await line.send_raw(change(line, answer))
        line.close()

    return fault


TLS: dict[str, tuple[Fault, type[TransportError]]] = {
    "closed after the request": (close_after_the_request, ConnectionLostError),
    "reset in place of the reply": (reset_in_place_of_the_reply, ConnectionLostError),
    "closed in the middle of a record": (
        raw(lambda line, answer: (whole := line.encrypt(answer))[: len(whole) // 2]),
        ConnectionLostError,
    ),
    "closed in a record's head": (raw(lambda line, answer: line.encrypt(answer)[:3]), ConnectionLostError),
    "closed between two records": (
        raw(lambda line, answer: line.encrypt(answer[:-9]) + line.encrypt(answer[-9:])[:9]),
        ConnectionLostError,
    ),
    "a record of which a bit is another": (
        raw(lambda line, answer: (whole := line.encrypt(answer))[:-1] + bytes([whole[-1] ^ 1])),
        ConnectionLostError,
    ),
    "a reply that is not encrypted": (raw(lambda _, answer: answer), ConnectionLostError),
}


@pytest.mark.parametrize("name", TLS)
def test_a_reply_that_tls_does_not_vouch_for_is_none(
    driver: Driver, tls_running: FaultyDynamoDB, bundle: str, name: str
) -> None:
    fault, kind = TLS[name]
    tls_running.forget()
    client = driver.client(tls_running.url, ca_bundle=bundle, **PATIENT)
    assert get(client) == 0
    tls_running.always = fault
    for raised in (partial(get, client), partial(driver.store(client).find, new_token())):
        with pytest.raises((TransportError, UnavailableError)) as caught:
            raised()
        error = caught.value.__cause__ if isinstance(caught.value, UnavailableError) else caught.value
        assert type(error) is kind
    tls_running.forget()
    tls_running.script(fault)
    assert get(client) == 1
    assert_well(client, tls_running)
    client.close()
    driver.assert_clean()
    tls_running.be_still()


def test_a_body_that_ends_with_the_connection_and_without_tls_s_farewell_may_be_cut_and_is_read_as_json(
    driver: Driver, tls_running: FaultyDynamoDB, bundle: str
) -> None:
    client = driver.client(tls_running.url, ca_bundle=bundle, **PATIENT)

    def endless(cut_off: int) -> Fault:
        async def fault(line: Line) -> None:
            answer = (await line.answer()).closing()
            await line.send(bytes(answer)[: -cut_off or None])
            line.close()

        return fault

    for cut_off, retries in ((0, 0), (1, 1), (20, 1)):
        tls_running.forget()
        tls_running.script(endless(cut_off))
        # On a connection of its own: what is left in it is not looked for.
        assert get(client) == retries
    client.close()
    driver.assert_clean()
    tls_running.be_still()


@pytest.mark.parametrize(
    "hello", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\0\x02\x02\x28", b"\x16\x03\x03"]
)
def test_a_server_that_does_not_speak_tls_is_a_connect_error(driver: Driver, bundle: str, hello: bytes) -> None:
    with FaultyDynamoDB() as plain:
        plain.always = say_first(hello)
        client = driver.client(plain.url.replace("http:", "https:"), ca_bundle=bundle, **PATIENT)
        begun = time.monotonic()
        with pytest.raises(ConnectError) as caught:
            get(client)
        assert type(caught.value) is ConnectError
        assert plain.begun == ATTEMPTS
        assert time.monotonic() - begun < SLACK
        client.close()
        driver.assert_clean()
        plain.be_still()


def say_first(hello: bytes) -> Fault:
    async def fault(line: Line) -> None:
        await line.arrival()
        await line.send(hello)
        line.close()

    return fault
