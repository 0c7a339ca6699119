"""An incremental parser of HTTP/1.1 replies, without socket or clock. It uses httptools (llhttp)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import httptools

from .errors import ConnectionLostError, DamagedReplyError

__all__ = ["Bytes", "RawReply", "ReplyParser"]

Bytes: TypeAlias = bytes | bytearray | memoryview

_LINE_ENDS = b"\r\n"

MAX_HEAD = 64 * 1024
# The largest replies hold a batch of 16 MB of items. Base64 adds a third, and attribute names add more.
MAX_BODY = 64 * 1024 * 1024


@dataclass(slots=True, repr=False)
class RawReply:
    """A whole reply. The names in *headers* are in lower case. If *reusable*, its connection can take another call."""

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
    """Parses the replies of one connection, one after the other.

    Pass received bytes to `feed` until it returns a reply. When the connection ends, call `at_end`. Discard the parser and
    the connection after an exception, or after a reply that is not *reusable*.

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
        # The parser calls this method for each header. It is implemented in C. Of a repeated header, the last value counts.
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
        """True if a reply has begun but is not complete."""
        return self._received > 0

    def feed(self, data: Bytes) -> RawReply | None:
        """Return the reply if *data* completes it, else None. Raise `DamagedReplyError` if it is not a valid reply."""
        room = (MAX_BODY if self._head_done else MAX_HEAD) - self._received
        if len(data) > room:
            return self._feed_in_two(data, room)
        if len(data) > 1 and data[-1] in _LINE_ENDS:
            # DynamoDB's JSON never ends in a line end, but a head without a body does, and so does a chunked reply.
            return self._feed_to_the_end(bytes(data))
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if isinstance(error.__context__, BaseException) and not isinstance(error.__context__, Exception):
                # An interrupt arrived during a callback of the parser.
                raise error.__context__ from None
            # Data after a complete reply does not damage it. It only makes the connection unusable.
            if not self._complete:
                raise DamagedReplyError("the reply is not valid HTTP") from None
            self._surplus = True
        if not self._complete:
            return None
        return self._finish(reusable=self._keep_alive and not self._surplus)

    def _feed_to_the_end(self, data: bytes) -> RawReply | None:
        """Feed *data*, which ends in line ends, and feed those byte by byte.

        The parser ignores line ends after a complete reply, but here they must make the connection unusable.
        """
        text = data.rstrip(_LINE_ENDS)
        reply = self.feed(text) if text else None
        for at in range(len(text), len(data)):
            if reply is not None:
                reply.reusable = False
                return reply
            reply = self.feed(data[at : at + 1])
        return reply

    def _feed_in_two(self, data: Bytes, room: int) -> RawReply | None:
        """Feed *room* bytes, and then the rest if the head ended in them: the limit for a body is higher."""
        if room > 0:
            headless = not self._head_done
            reply = self.feed(data[:room])
            if reply is not None:
                reply.reusable = False
                return reply
            if headless and self._head_done:
                return self.feed(data[room:])
        raise DamagedReplyError(f"the reply is too large to come from DynamoDB: more than {self._received:,} bytes")

    def at_end(self) -> RawReply:
        """Return the reply if its body ends with the connection. Raise `ConnectionLostError` if no reply is complete."""
        if (
            self._head_done
            and self._status >= 200
            and not self._headers.keys() & {"content-length", "transfer-encoding"}
        ):
            return self._finish(reusable=False)
        what = "in the middle of the reply" if self.begun else "before a reply arrived"
        raise ConnectionLostError(f"the connection was closed {what}")

    def _finish(self, *, reusable: bool) -> RawReply:
        body = self._body
        reply = RawReply(self._status, self._headers, body[0] if len(body) == 1 else b"".join(body), reusable)
        self._begin()
        return reply

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        self._fields.clear()
        if self._complete:
            self._surplus = True
            return
        # If there was a head before, it belonged to an interim reply.
        self._body.clear()

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        self._headers = {
            _LOWER.get(name) or _lower(name): value.decode("latin-1") for name, value in self._fields.items()
        }
        self._status = self._parser.get_status_code()
        # Treat an interim reply (100 Continue) as a part of the head.
        self._head_done = self._status >= 200

    def on_body(self, body: bytes) -> None:
        if not self._complete:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if not self._complete and self._head_done:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()


# Header names as received, and in lower case. A service always sends the same few.
_LOWER: dict[bytes, str] = {}


def _lower(name: bytes) -> str:
    lower = name.lower().decode("latin-1")
    if len(_LOWER) < 100:
        _LOWER[name] = lower
    return lower
