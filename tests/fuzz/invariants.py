"""What must hold of a reply, whatever bytes it is: the invariants that the fuzzer and the property tests share.

The reference is the same parser, fed byte by byte: it knows where a reply ends, so that what is after it can be told. However
the bytes are split into segments, what comes of them is to be what comes of them there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch

from dynamostore import StoreError
from dynamostore.hidden import Hidden
from dynamostore.plans.faults import check as check_reply
from dynamostore.plans.faults import explain
from dynamostore.steps import Pause
from dynamostore.wire import Credentials, _http, types
from dynamostore.wire._access import Fixed
from dynamostore.wire._core import Core, Endpoint
from dynamostore.wire._http import RawReply, ReplyParser
from dynamostore.wire._retries import Caller, Limits
from dynamostore.wire.errors import ConnectionLostError, DamagedReplyError, ServiceError, TransportError
from dynamostore.wire.types import Operation

__all__ = ["OPERATIONS", "Outcome", "check", "outcome_of", "seeds", "small_limits"]

OPERATIONS: tuple[Operation[types.Reply], ...] = tuple(
    operation for operation in vars(types).values() if isinstance(operation, Operation)
)

MAX_HEAD = 700
MAX_BODY = 2000

_CORE = Core("us-east-1", "fuzz")
_ACCESS = Fixed(Credentials("key", "secret"), Endpoint.parse("http://127.0.0.1:1"))


@contextmanager
def small_limits() -> Iterator[None]:
    """Limits that are within reach of inputs of a few hundred bytes."""
    with patch.object(_http, "MAX_HEAD", MAX_HEAD), patch.object(_http, "MAX_BODY", MAX_BODY):
        yield


@dataclass(frozen=True)
class Outcome:
    """What comes of the bytes of a connection: a reply of *length* bytes, an error, or that more is needed.

    *final*, of the last: what comes of it if the connection ends there.
    """

    length: int
    reply: RawReply | None = None
    error: type[TransportError] | None = None
    final: Outcome | None = None


def outcome_of(data: bytes) -> Outcome:
    """What comes of *data*, fed byte by byte."""
    parser = ReplyParser()
    for length in range(1, len(data) + 1):
        reply = error = None
        try:
            reply = parser.feed(data[length - 1 : length])
        except DamagedReplyError:
            error = DamagedReplyError
        if reply is not None or error is not None:
            return Outcome(length, reply, error)
        _check_holdings(parser, length)
    return Outcome(len(data), final=_at_end(parser, len(data)))


def check(data: bytes, sizes: Sequence[int]) -> Outcome:
    """Assert all that must hold of *data*, received in segments of *sizes* (in turn); what comes of it."""
    expected = outcome_of(data)
    _check_segments(ReplyParser(), data, sizes, expected)
    # In one segment, as most replies come; and as a view of a buffer that is used again.
    buffer = bytearray(data)
    whole = ReplyParser()
    _check_segments(whole, memoryview(buffer), [len(data) or 1], expected)
    buffer[:] = bytes(len(buffer))
    if expected.reply is not None:
        _check_reply(expected.reply, data[: expected.length])
        if expected.reply.reusable:
            _check_reuse(data, expected)
    elif expected.final is not None and expected.final.reply is not None:
        _check_reply(expected.final.reply, data)
        assert not expected.final.reply.reusable
    return expected


def _check_segments(parser: ReplyParser, data: bytes | memoryview, sizes: Sequence[int], expected: Outcome) -> None:
    fed = number = 0
    while fed < len(data):
        segment = data[fed : fed + max(sizes[number % len(sizes)], 1)]
        number += 1
        fed += len(segment)
        try:
            reply = parser.feed(segment)
        except DamagedReplyError:
            assert expected.error is DamagedReplyError
            assert fed >= expected.length
            return
        if reply is not None:
            assert expected.reply is not None
            assert fed >= expected.length
            _check_same(reply, expected.reply)
            # What came after it, in the same segment, was seen; so nobody is to use that connection again.
            assert reply.reusable == (expected.reply.reusable and fed == expected.length)
            return
        assert expected.reply is None or fed < expected.length
        assert expected.error is None or fed < expected.length
        _check_holdings(parser, fed)
    assert expected.final is not None
    final = _at_end(parser, fed)
    assert final.error is expected.final.error
    if final.reply is not None:
        assert expected.final.reply is not None
        _check_same(final.reply, expected.final.reply)


def _check_same(reply: RawReply, expected: RawReply) -> None:
    assert (reply.status, reply.headers, reply.body) == (expected.status, expected.headers, expected.body)
    assert type(reply.body) is bytes


def _check_holdings(parser: ReplyParser, fed: int) -> None:
    """No more is held than was received, and no more is received than may be."""
    assert fed <= _http.MAX_BODY
    assert parser.begun
    assert sum(map(len, parser._body)) <= fed
    assert len(parser._body) <= fed
    # Until the next head begins, the last one's fields are there.
    assert sum(len(name) + len(value) for name, value in parser._fields.items()) <= _http.MAX_BODY


def _at_end(parser: ReplyParser, length: int) -> Outcome:
    try:
        return Outcome(length, parser.at_end())
    except ConnectionLostError:
        return Outcome(length, error=ConnectionLostError)


def _check_reuse(data: bytes, expected: Outcome) -> None:
    """What comes next, on a connection that is used again, is as if it were the first thing on it."""
    used = ReplyParser()
    assert used.feed(data[: expected.length]) is not None
    assert not used.begun
    if rest := data[expected.length :]:
        _check_segments(used, rest, [len(rest)], outcome_of(rest))


def _check_reply(reply: RawReply, data: bytes) -> None:
    """A reply is made of the bytes that it came in, and means something to every operation, or is an error."""
    assert 200 <= reply.status <= 999
    assert len(reply.body) <= len(data)
    # In one piece, unless it came in chunks.
    if "transfer-encoding" not in reply.headers:
        assert data.endswith(reply.body)
    assert all(name == name.lower() for name in reply.headers)
    for operation in OPERATIONS:
        _check_meaning(operation, reply)
    _check_call(OPERATIONS[len(data) % len(OPERATIONS)], reply)


def _check_meaning(operation: Operation[types.Reply], reply: RawReply) -> None:
    method = operation.name
    try:
        meaning = _CORE.reply(operation, reply, 0)
    except ServiceError as error:
        assert reply.status >= 300
        assert error.status == reply.status
        assert error.code
        explained = explain(error, method, "table")
        assert isinstance(explained, StoreError)
        assert explained.__cause__ is error
    except DamagedReplyError as error:
        assert isinstance(explain(error, method, "table"), StoreError)
    else:
        assert reply.status == 200
        assert type(meaning) is dict
        assert meaning["ResponseMetadata"]["HTTPHeaders"] is reply.headers
        check_reply(meaning, method, "table")


def _check_call(operation: Operation[types.Reply], reply: RawReply) -> None:
    """A call that has this reply and no other ends, with the same meaning."""
    now = 0.0
    caller = Caller(
        _CORE, _ACCESS, Limits(4, 60.0), clock=lambda: 1.7e9 + now, monotonic=lambda: now, random=lambda: 0.5
    )
    plan = caller.call(operation, Hidden(b"{}"))
    asked = 0
    try:
        step = next(plan)
        while True:
            if isinstance(step, Pause):
                assert 0 <= step.seconds <= 60
                now += step.seconds
                step = plan.send(None)
            else:
                asked += 1
                assert asked <= 4
                read = step.arguments["read"]
                assert callable(read)
                try:
                    meaning = read(replace(reply))
                except DamagedReplyError as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(meaning)
    except StopIteration:
        assert asked == 1
    except (ServiceError, TransportError):
        assert now <= 60


# Something to begin with

_GOOD = b'{"Item":{"token":{"S":"abc"},"data":{"B":"aGVsbG8="},"expiry":{"N":"9"},"version":{"N":"7"}}}'
_BODIES = (
    b"{}",
    _GOOD,
    b'{"Items":[],"Count":0,"ScannedCount":0,"LastEvaluatedKey":{"token":{"S":"a"}}}',
    b'{"Table":{"TableStatus":"ACTIVE","KeySchema":[],"AttributeDefinitions":[]}}',
    b'{"TimeToLiveDescription":{"TimeToLiveStatus":"ENABLED","AttributeName":"ttl"}}',
    b'{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"no","Item":{"a":{"N":"1"}}}',
    b'{"__type":"x#TransactionCanceledException","Message":"no","CancellationReasons":[{"Code":"None"},{"Code":"ThrottlingError"}]}',
)
_KIND = b"Content-Type: application/x-amz-json-1.0\r\n"


def seeds() -> Iterator[bytes]:
    """Replies of every kind, good and bad."""
    for body in _BODIES:
        status = b"400 Bad Request" if b"__type" in body else b"200 OK"
        yield b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, _KIND, len(body), body)
    head = b"HTTP/1.1 200 OK\r\n" + _KIND
    yield head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;a=b\r\n}\r\n0\r\nX-Trailer: a\r\n\r\n"
    yield head + b"Connection: close\r\n\r\n{}"
    yield head + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
    yield head + b"Content-Length: 2\r\nKeep-Alive: timeout=5\r\nx-amz-crc32: 2745614147\r\n\r\n{}"
    yield head.replace(b"1.1", b"1.0") + b"\r\n{}"
    yield b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"Content-Length: 2\r\n\r\n{}"
    yield (head + b"Content-Length: 2\r\n\r\n{}") * 2
    yield head + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"
    yield b"HTTP/1.1 204 No Content\r\n\r\n"
    yield b"HTTP/1.1 503 Slow\r\nx-amz-retry-after: 250\r\nContent-Length: 0\r\n\r\n"
    yield (
        b"HTTP/1.1 400 Bad\r\nDate: Tue, 01 Jan 2030 00:00:00 GMT\r\nx-amzn-ErrorType: InvalidSignatureException:\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )
    yield b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    yield b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>"
