"""Record ⇄ item: round trips, totality, and the size of an item as the servers count it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamostore import CorruptRecordError, Record, Table
from dynamostore.client import AttributeValue, Item
from dynamostore.instants import INT64_MAX, INT64_MIN, from_ns, to_ns
from dynamostore.items import MAX_ITEM, decode, encode, item_size, number
from dynamostore.testing import expiries, tokens

from .backends import TABLE, Backend

NANOSECONDS = st.integers(INT64_MIN, INT64_MAX)

values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
numbers = st.integers().map(str) | st.decimals().map(str) | st.text("0123456789-+.eE ", max_size=45)
attributes = st.one_of(
    values,
    st.fixed_dictionaries({"N": numbers | values}),
    st.fixed_dictionaries({"S": st.text() | values}),
    st.fixed_dictionaries({"B": st.binary() | values}),
)


@given(NANOSECONDS)
def test_an_instant_is_the_same_after_a_round_trip_but_for_nanoseconds(ns: int) -> None:
    # The first microsecond of all begins before the range does.
    assert to_ns(from_ns(max(ns, INT64_MIN + 1000))) == max(ns, INT64_MIN + 1000) // 1000 * 1000


@given(expiries())
def test_a_datetime_is_the_same_instant_after_a_round_trip(expiry: datetime) -> None:
    assert from_ns(to_ns(expiry)) == expiry.astimezone(UTC)


@given(tokens(), st.binary(), NANOSECONDS, st.integers(0, INT64_MAX))
def test_a_record_is_the_same_after_a_round_trip(token: str, data: bytes, ns: int, version: int) -> None:
    record = Record.at(token, data, max(ns, INT64_MIN + 1000), version)
    item = encode(TABLE, record)
    assert decode(TABLE, item) == record
    assert item["ttl"] == number(record.expiry_ns // 10**9 + 1)


@given(st.dictionaries(st.sampled_from([*TABLE.attributes, "x"]), attributes))
@settings(max_examples=400)
def test_any_item_whatever_is_a_record_or_corrupt(item: Item) -> None:
    try:
        record = decode(TABLE, item)
    except CorruptRecordError as error:
        assert error.reason
        assert error.digest in str(error)
    else:
        again = decode(TABLE, encode(TABLE, record))
        assert again == record
        assert again.beside == record.beside
    assert item_size(item) >= 0


def test_what_is_beside_a_record_is_kept_beside_it() -> None:
    owner: AttributeValue = {"S": "ada"}
    record = Record.at("token", b"data", 10**18, 7, beside={"owner": owner})
    item = encode(TABLE, record)
    assert item["owner"] == owner
    assert decode(TABLE, item).beside == {"owner": owner}


def test_a_record_shows_neither_its_token_nor_its_data() -> None:
    shown = repr(Record.at("the token", b"the data", 10**18, 7))
    assert "the" not in shown


def test_a_record_whose_expiry_is_moved_has_the_nanoseconds_of_the_new_one() -> None:
    record = Record("token", b"", datetime(2030, 1, 1, tzinfo=UTC), 1, expiry_ns=5)
    assert record.expiry_ns == to_ns(datetime(2030, 1, 1, tzinfo=UTC))
    exact = Record.at("token", b"", record.expiry_ns + 999, 1)
    assert exact.expiry == record.expiry
    assert exact != record


BESIDE: dict[str, dict[str, AttributeValue]] = {
    "nothing": {},
    "a name of two-byte letters": {"имя": {"S": "значение"}},
    "numbers": {
        "a": {"N": "-1"},
        "b": {"N": "123456789"},
        "c": {"N": "1200000"},
        "d": {"N": "-0.00123"},
        "e": {"N": "3.14159"},
    },
    "an empty string": {"empty": {"S": ""}},
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
def test_the_largest_item_is_the_same_for_us_and_for_the_server(
    server: Backend, beside: dict[str, AttributeValue]
) -> None:
    if not server.is_strict:
        pytest.skip(f"{server.name} does not count as DynamoDB does")
    if server.name == "dynalite" and not all(name.isascii() for name in beside):
        pytest.skip("dynalite counts the letters of a name, not its bytes")

    def item(size: int) -> dict[str, AttributeValue]:
        return encode(Table(), Record.at("largest", b"x" * size, 8102534735004839040, 2**62, beside=beside))

    room = MAX_ITEM - item_size(item(0))
    server.client.put_item(TableName=TABLE.name, Item=item(room))
    with pytest.raises(ClientError, match="Item size has exceeded"):
        server.client.put_item(TableName=TABLE.name, Item=item(room + 1))
