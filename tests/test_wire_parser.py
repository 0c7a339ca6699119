"""The reply parser: what comes of a reply does not depend on how it comes, and of no bytes at all comes anything but an answer.

The invariants are the fuzzer's (``python -m tests.fuzz``); here they are tried on replies that are made by a grammar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynamostore.wire._http import ReplyParser
from dynamostore.wire.errors import ConnectionLostError, DamagedReplyError

from .fuzz import invariants
from .fuzz.invariants import check, outcome_of, seeds, small_limits

SEEDS = list(seeds())


@pytest.fixture(autouse=True, scope="module")
def limits() -> Iterator[None]:
    with small_limits():
        yield


# A grammar of replies


@dataclass(frozen=True)
class Made:
    """A reply as it goes over the wire, and what it is; *ends*: with the connection."""

    wire: bytes
    status: int
    body: bytes
    kept: bool
    ends: bool


NAMES = st.sampled_from(
    [
        "X-Name",
        "x-amz-crc32",
        "x-amz-retry-after",
        "Date",
        "Keep-Alive",
        "x-amzn-RequestId",
        "x-amzn-ErrorType",
        "Content-Type",
    ]
)
DATES = st.one_of(
    st.floats(-1e9, 1e11).map(lambda seconds: formatdate(seconds, usegmt=True)),
    st.sampled_from(
        [
            "",
            "Thu, 01 Jan 1970",
            "Mon, 01 Jan 0001 00:00:00 -0000",
            "Fri, 31 Dec 9999 23:59:59 -2359",
            "1 Jan 99999999999",
        ]
    ),
)
VALUES = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20),
    st.integers(0, 10**20).map(str),
    DATES,
)
FIELDS = st.lists(st.tuples(NAMES, VALUES).map(lambda field: f"{field[0]}: {field[1]}\r\n"), max_size=4)
BODIES = st.one_of(
    st.sampled_from([seed.rpartition(b"\r\n\r\n")[2] for seed in SEEDS]),
    st.binary(max_size=60),
    # What ends as a head does, or as a reply begins.
    st.sampled_from([b"\r\n", b"\n", b"{}\r\n", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n"]),
)
STATUSES = st.sampled_from([200, 200, 200, 201, 301, 400, 400, 403, 413, 429, 500, 503])
TYPE = "Content-Type: application/x-amz-json-1.0\r\n"
INTERIM = st.sampled_from(
    ["", "", "", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]
)


@st.composite
def replies(draw: st.DrawFn, *, ends: bool | None = None) -> Made:
    """A reply; *ends*: whether it does so with the connection."""
    status, body, fields = draw(STATUSES), draw(BODIES), [TYPE, *draw(FIELDS)]
    old = draw(st.booleans())
    how = draw(st.sampled_from({None: ["length", "chunks", "end"], False: ["length", "chunks"], True: ["end"]}[ends]))
    if old and how == "chunks":
        # HTTP/1.0 has none.
        how = "length"
    says = draw(st.sampled_from(["", "Connection: close\r\n", "Connection: keep-alive\r\n"]))
    kept = how != "end" and ("keep-alive" in says or not (old or says))
    sent = body
    if how == "length":
        fields.append(f"Content-Length: {len(body)}\r\n")
    elif how == "chunks":
        fields.append("Transfer-Encoding: chunked\r\n")
        sent = chunked(body, draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)), draw(FIELDS))
    if draw(st.booleans()):
        fields.append(f"x-amz-crc32: {crc32(body)}\r\n")
    head = "".join([f"HTTP/1.{0 if old else 1} {status} Whatever\r\n", *draw(st.permutations([*fields, says])), "\r\n"])
    interim = "" if old else draw(INTERIM)
    return Made((interim + head).encode("latin-1") + sent, status, body, kept, how == "end")


def chunked(body: bytes, sizes: list[int], trailers: list[str]) -> bytes:
    chunks: list[bytes] = []
    while body:
        size = sizes[len(chunks) % len(sizes)]
        part, body = body[:size], body[size:]
        chunks.append(b"%x\r\n%b\r\n" % (len(part), part))
    return b"".join(chunks) + b"0\r\n" + "".join(trailers).encode("latin-1") + b"\r\n"


SIZES = st.lists(st.integers(1, 80), min_size=1, max_size=6)


# What a reply comes to


@given(made=replies(), sizes=SIZES)
def test_a_reply_is_what_it_was_made_of(made: Made, sizes: list[int]) -> None:
    if len(made.wire) >= invariants.MAX_HEAD:
        return
    outcome = check(made.wire, sizes)
    reply = outcome.reply
    if made.ends:
        # Not over until the connection is.
        assert reply is None
        assert outcome.final is not None
        reply = outcome.final.reply
    assert reply is not None
    assert outcome.length == len(made.wire)
    assert (reply.status, reply.body, reply.reusable) == (made.status, made.body, made.kept)


@given(made=replies(ends=False), sizes=SIZES, data=st.data())
def test_a_reply_that_is_cut_off_is_none(made: Made, sizes: list[int], data: st.DataObject) -> None:
    if len(made.wire) >= invariants.MAX_HEAD:
        return
    cut = data.draw(st.integers(0, len(made.wire) - 1))
    outcome = check(made.wire[:cut], sizes)
    assert outcome.final is not None
    assert outcome.final.error is ConnectionLostError


@given(
    made=replies(ends=False),
    surplus=st.binary(min_size=1, max_size=40) | replies().map(lambda other: other.wire),
    sizes=SIZES,
)
@example(made=Made(SEEDS[0], 200, b"{}", kept=True, ends=False), surplus=b"\r\n", sizes=[1000])
@example(made=Made(SEEDS[0], 200, b"{}", kept=True, ends=False), surplus=b"\n", sizes=[len(SEEDS[0]) - 1, 2])
def test_what_comes_after_a_reply_is_no_part_of_it_and_ends_its_connection(
    made: Made, surplus: bytes, sizes: list[int]
) -> None:
    if len(made.wire) >= invariants.MAX_HEAD:
        return
    outcome = check(made.wire + surplus, sizes)
    assert outcome.length == len(made.wire)
    assert outcome.reply is not None
    assert outcome.reply.body == made.body
    whole = ReplyParser().feed(made.wire + surplus)
    assert whole is not None
    assert not whole.reusable


@pytest.mark.parametrize("surplus", [b"\n", b"\r", b"\r\n", b"\r\n\r\n"])
@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Trailer: a\r\n\r\n",
    ],
)
def test_an_empty_line_after_a_reply_is_too_much_too(reply: bytes, surplus: bytes) -> None:
    # The parser passes over it: it may stand before a reply.
    for first in range(1, len(reply + surplus) + 1):
        outcome = check(reply + surplus, [first, len(reply + surplus)])
        assert outcome.length == len(reply)


# Whatever bytes it is


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Replies, one or more, of which something is missing, twice there, or another."""
    data = bytearray(
        b"".join(draw(st.lists(replies().map(lambda made: made.wire) | st.sampled_from(SEEDS), min_size=1, max_size=3)))
    )
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(start + draw(st.integers(0, 12)), len(data))
        new = draw(
            st.binary(max_size=8)
            | st.sampled_from(
                [
                    b"\r\n",
                    b"\r\n\r\n",
                    b"\0",
                    b"-1",
                    b"9" * 25,
                    b"chunked",
                    b"close",
                    b": ",
                    b"HTTP/1.1 100 \r\n\r\n",
                    b"f" * 20,
                ]
            )
            | st.just(bytes(data[start:end]) * 2)
        )
        data[start:end] = new
    return bytes(data)


@given(data=mutated(), sizes=SIZES)
def test_what_comes_of_a_damaged_reply_does_not_depend_on_how_it_comes(data: bytes, sizes: list[int]) -> None:
    check(data, sizes)


@given(data=st.binary(max_size=200), sizes=SIZES)
def test_what_comes_of_garbage_does_not_depend_on_how_it_comes(data: bytes, sizes: list[int]) -> None:
    check(data, sizes)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reply_can_be_split_anywhere(seed: bytes) -> None:
    for first in range(1, len(seed)):
        check(seed, [first, len(seed)])
    check(seed * 3, [len(seed) + 1, len(seed)])


@pytest.mark.parametrize("beyond", [-2, -1, 0, 1, 2, 100])
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 5])
def test_a_head_is_too_long_from_the_same_byte_on_however_it_comes(interim: bytes, beyond: int) -> None:
    before, after = interim + b"HTTP/1.1 200 OK\r\nX-Long: ", b"\r\nContent-Length: 2\r\n\r\n"
    data = before + b"a" * (invariants.MAX_HEAD + beyond - len(before + after)) + after + b"{}"
    for size in (1, 7, 64, len(data) - 3, len(data) - 1, len(data)):
        check(data, [size])
    # The fields, the status line and the blanks: to a few bytes it is the limit.
    if abs(beyond) == 100:
        assert (outcome_of(data).error is DamagedReplyError) == (beyond > 0)


@pytest.mark.parametrize("beyond", [-2, -1, 0, 1, 2, 100])
@pytest.mark.parametrize("chunks", [False, True])
def test_a_body_is_too_long_from_the_same_byte_on_however_it_comes(chunks: bool, beyond: int) -> None:
    body = b" " * (invariants.MAX_BODY + beyond - 50)
    framing = b"Transfer-Encoding: chunked\r\n\r\n" if chunks else b"Content-Length: %d\r\n\r\n" % len(body)
    data = b"HTTP/1.1 200 OK\r\n" + framing + (chunked(body, [70], []) if chunks else body)
    for size in (1, 7, 64, len(data) - 3, len(data) - 1, len(data)):
        check(data, [size])


@pytest.mark.parametrize("endless", [b"HTTP/1.1 100 Continue\r\n\r\n", b"X-Name: value\r\n", b"a", b"\r\n"])
def test_what_has_no_end_is_taken_only_so_far(endless: bytes) -> None:
    for begin in (b"", b"HTTP/1.1 200 OK\r\n"):
        data = begin + endless * (invariants.MAX_BODY // len(endless) + 2)
        for size in (1, len(endless), 3 * len(endless) + 1, len(data)):
            assert check(data, [size]).error is DamagedReplyError


def test_an_interim_reply_leaves_nothing_in_the_one_that_follows() -> None:
    # One that has a body is none that HTTP knows: whatever is made of it, that body is not another reply's.
    data = b'HTTP/1.1 199 Odd\r\nContent-Length: 9\r\nX-Odd: 1\r\n\r\n{"Item": HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}}'
    for size in (1, 9, len(data)):
        outcome = check(data, [size])
        assert outcome.error is DamagedReplyError or (outcome.reply is not None and outcome.reply.body == b"{}}")


# Interrupts


class Interrupt(BaseException):
    """What a signal's handler raises, as Ctrl-C does."""


def _interrupted(*_: object) -> None:
    raise Interrupt


@pytest.mark.parametrize("name", ["on_message_begin", "on_headers_complete", "on_body", "on_message_complete"])
@pytest.mark.parametrize("kind", ["in one segment", "byte by byte"])
def test_an_interrupt_while_parsing_is_one_and_no_damaged_reply(name: str, kind: str) -> None:
    # As if a signal came there: its handler runs in whatever Python code is being run.
    parser_class: type[ReplyParser] = type("Interrupted", (ReplyParser,), {name: _interrupted})
    parser = parser_class()
    with pytest.raises(Interrupt):
        if kind == "in one segment":
            parser.feed(SEEDS[0])
        else:
            for byte in SEEDS[0]:
                parser.feed(bytes([byte]))
