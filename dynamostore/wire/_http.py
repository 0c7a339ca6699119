"""HTTP/1.1 replies from bytes as they come: no socket, no clock. The parsing is httptools' (llhttp)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import httptools

from .errors import ConnectionLostError, DamagedReplyError

__all__ = ["Bytes", "RawReply", "ReplyParser"]

Bytes: TypeAlias = bytes | bytearray | memoryview

_LINE_ENDS = b"\r\n"

MAX_HEAD = 64 * 1024
# The largest replies, of a batch of 16 MB of items, are larger by a third in base64, and by their names.
MAX_BODY = 64 * 1024 * 1024


@dataclass(slots=True, repr=False)
class RawReply:
    """A whole reply. *headers* by their lower-case names; *reusable*: whether its connection can be used again."""

    status: int
    headers: dict[str, str]
    body: bytes
    reusable: bool

    def __repr__(self) -> str:
        return f"<RawReply {self.status}, {len(self.body)} bytes>"


class _Parser(Protocol):
    def feed_data(self, data: Bytes) -> None: ...
    def get_status_code(self) -> int: ...
    def should_keep_alive(self) -> bool: ...


class ReplyParser:
    """The replies of one connection, one after the other.

    Give `feed` what was received, until it returns a reply; at the connection's end ask `at_end`. After an exception,
    and after a reply that is not *reusable*, it is of no more use, and neither is the connection.

    >>> parser = ReplyParser()
    >>> parser.feed(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n")
    >>> parser.feed(b"\\r\\n{}").body
    b'{}'
    """

    __slots__ = (
        "_body", "_complete", "_fields", "_head_done", "_headers", "_keep_alive", "_parser", "_received", "_status", "_surplus",
        "on_header",
    )  # fmt: skip

    def __init__(self) -> None:
        # What the parser calls for each header, as it is in C: one that comes twice counts as it came last.
        self._fields: dict[bytes, bytes] = {}
        self.on_header = self._fields.__setitem__
        self._parser: _Parser = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._received = 0
        self._status = 0
        self._head_done = self._complete = self._surplus = self._keep_alive = False

    @property
    def begun(self) -> bool:
        """Whether a reply has begun that is not complete."""
        return self._received > 0

    def feed(self, data: Bytes) -> RawReply | None:
        """The reply, if *data* completes it; raises `DamagedReplyError` for what cannot be one."""
        room = (MAX_BODY if self._head_done else MAX_HEAD) - self._received
        if len(data) > room:
            return self._feed_in_two(data, room)
        if len(data) > 1 and data[-1] in _LINE_ENDS:
            # Not DynamoDB's JSON; but a head alone, and a reply in chunks.
            return self._feed_to_the_end(bytes(data))
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if isinstance(error.__context__, BaseException) and not isinstance(error.__context__, Exception):
                # An interrupt, which came while the parser called back.
                raise error.__context__ from None
            # What follows a complete reply is not a part of it; it only ends the connection.
            if not self._complete:
                raise DamagedReplyError("what came is not HTTP") from None
            self._surplus = True
        if not self._complete:
            return None
        return self._finish(reusable=self._keep_alive and not self._surplus)

    def _feed_to_the_end(self, data: bytes) -> RawReply | None:
        """`feed` what ends in line ends, those byte by byte: after the reply they are too many, and the parser passes over them."""
        text = data.rstrip(_LINE_ENDS)
        reply = self.feed(text) if text else None
        for at in range(len(text), len(data)):
            if reply is not None:
                reply.reusable = False
                return reply
            reply = self.feed(data[at : at + 1])
        return reply

    def _feed_in_two(self, data: Bytes, room: int) -> RawReply | None:
        """`feed` what there is room for, and the rest if then there is more room: when the head is over."""
        if room > 0:
            headless = not self._head_done
            reply = self.feed(data[:room])
            if reply is not None:
                reply.reusable = False
                return reply
            if headless and self._head_done:
                return self.feed(data[room:])
        raise DamagedReplyError(f"the reply is longer than any of DynamoDB's: more than {self._received:,} bytes")

    def at_end(self) -> RawReply:
        """The reply whose body ends with the connection; raises `ConnectionLostError` if there is none such."""
        if (
            self._head_done
            and self._status >= 200
            and not self._headers.keys() & {"content-length", "transfer-encoding"}
        ):
            return self._finish(reusable=False)
        what = "in the middle of the reply" if self.begun else "before there was a reply"
        raise ConnectionLostError(f"the connection was closed {what}")

    def _finish(self, *, reusable: bool) -> RawReply:
        body = self._body
        reply = RawReply(self._status, self._headers, body[0] if len(body) == 1 else b"".join(body), reusable)
        self._begin()
        return reply

    # What the parser calls

    def on_message_begin(self) -> None:
        self._fields.clear()
        if self._complete:
            self._surplus = True
            return
        # If there was a head, an interim reply is over.
        self._body.clear()

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        self._headers = {
            _LOWER.get(name) or _lower(name): value.decode("latin-1") for name, value in self._fields.items()
        }
        self._status = self._parser.get_status_code()
        # An interim reply (100 Continue) is a part of the head.
        self._head_done = self._status >= 200

    def on_body(self, body: bytes) -> None:
        if not self._complete:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if not self._complete and self._head_done:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()


# The names of headers as they come, and as they are called: always the same few.
_LOWER: dict[bytes, str] = {}


def _lower(name: bytes) -> str:
    lower = name.lower().decode("latin-1")
    if len(_LOWER) < 100:
        _LOWER[name] = lower
    return lower
