"""Base64 of large values, by pybase64 where it is installed: what msgspec reads and writes, and refuses."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynamostore.wire import _base64
from dynamostore.wire._core import encode
from dynamostore.wire.types import GET_ITEM, PUT_ITEM, SCAN, UPDATE_ITEM

CHARACTERS = "ABQRZaz019+/=-_ \t\r\n.~\0é\u2028\U0001f600\ud800"


def padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


# What is base64, and what nearly is.
good = st.binary(max_size=200).map(lambda data: base64.b64encode(data).decode())
spoilt = st.builds(
    lambda text, at, character: text[: at % (len(text) + 1)] + character + text[at % (len(text) + 1) + 1 :],
    good,
    st.integers(0, 300),
    st.sampled_from(CHARACTERS) | st.just(""),
)
texts = good | spoilt | st.text(CHARACTERS, max_size=12) | st.text("AQRg+/=", max_size=9).map(padded)


def outcome(read: object, body: bytes) -> object:
    assert callable(read)
    try:
        return read(body)
    except (msgspec.DecodeError, ValueError) as error:
        # Never what was read.
        assert len(str(error)) < 100
        return None


def item(value: object) -> bytes:
    return json.dumps({"Item": {"data": {"B": value}}, "ConsumedCapacity": {"CapacityUnits": 0.5}}).encode()


@given(texts | st.integers() | st.none() | st.lists(st.just("QQ==")) | st.booleans())
@example("QQ")
@example("QQ=")
@example("QR==")
@example("QQ==QQ==")
@example("QQ==\n")
@example(" QQ==")
@example("Q-__")
@example("====")
@example("")
def test_pybase64_takes_and_refuses_what_msgspec_does(value: object) -> None:
    assert _base64.is_fast
    assert GET_ITEM.decode_large is not GET_ITEM.decode
    assert outcome(GET_ITEM.decode_large, item(value)) == outcome(GET_ITEM.decode, item(value))
    in_sets = json.dumps({"Item": {"a": {"M": {"b": {"L": [{"BS": [value, "QQ=="]}]}}}}}).encode()
    assert outcome(GET_ITEM.decode_large, in_sets) == outcome(GET_ITEM.decode, in_sets)


@given(st.binary(max_size=300))
def test_json_that_is_cut_or_mistyped_is_refused_by_both(junk: bytes) -> None:
    body = item("QUJD")
    for bad in (
        body[: len(junk) % len(body)],
        junk,
        body.replace(b'"B"', b'"S": "a", "B"'),
        body.replace(b"{", b"[", 1),
    ):
        assert outcome(GET_ITEM.decode_large, bad) == outcome(GET_ITEM.decode, bad)


SIZES = [
    0,
    1,
    1024,
    _base64.LARGE - 1,
    _base64.LARGE,
    _base64.LARGE + 1,
    32 * 1024,
    90 * 1024,
    90 * 1024 + 1,
    96 * 1024,
    400_000,
]


@pytest.mark.parametrize("size", SIZES)
def test_a_request_has_the_same_bytes_whatever_the_size_of_its_values(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    value = {"B": data[:size]}
    plain = msgspec.json.Encoder().encode
    put = {"TableName": "abc", "Item": {"token": {"S": "a"}, "data": value, "recent": {"B": b"b"}, "more": value}}
    update = {
        "Key": {"token": {"S": "a"}},
        "ExpressionAttributeValues": {":data": value, ":held": value, ":n": {"N": "1"}},
    }
    before = (repr(put), repr(update))
    assert encode(PUT_ITEM, put) == plain(put)
    assert encode(UPDATE_ITEM, update) == plain(update)
    assert (repr(put), repr(update)) == before
    body = plain({"Item": {"data": value}})
    read: object = GET_ITEM.decode_large(body)
    assert read == {"Item": {"data": value}}


@pytest.mark.parametrize("odd", [None, 5, [], "x", {":a": None}, {":a": {"B": "text"}}, {":a": {"B": bytearray(5000)}}])
def test_odd_arguments_are_left_to_msgspec(odd: object) -> None:
    arguments = {"ExpressionAttributeValues": odd}
    assert encode(UPDATE_ITEM, arguments) == msgspec.json.Encoder().encode(arguments)


def test_pages_of_many_items_are_read_by_msgspec() -> None:
    assert SCAN.decode_large is SCAN.decode


WITHOUT = """
import sys
{hide}
from dynamostore.wire import _base64
from dynamostore.wire._core import encode
from dynamostore.wire.types import GET_ITEM, PUT_ITEM
assert not _base64.is_fast
assert GET_ITEM.decode_large is GET_ITEM.decode
data = bytes(32 * 1024)
body = encode(PUT_ITEM, {{"Item": {{"data": {{"B": data}}}}}})
assert GET_ITEM.decode_large(body) == {{"Item": {{"data": {{"B": data}}}}}}
"""


@pytest.mark.parametrize(
    "hide",
    ["sys.modules['pybase64'] = None", "sys.modules['pybase64._pybase64'] = None"],
    ids=["not installed", "without its extension in C"],
)
def test_without_pybase64_msgspec_does_it_all(hide: str) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT.format(hide=hide)], check=True, timeout=20)
