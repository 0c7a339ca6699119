"""Items of every kind that a table of records may hold: any number of them from dice, or as a hypothesis strategy."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from hypothesis import strategies as st

from dynamostore import Record, Table, items
from dynamostore.client import AttributeValue, Item
from dynamostore.instants import INT64_MAX, INT64_MIN

__all__ = ["attribute_values", "findable", "mixed", "stored_items", "stored_tokens"]

T = TypeVar("T", bound=Mapping[str, Any])

HOUR = 3600 * 10**9

# By dice


def mixed(table: Table, number: int, now_ns: int, seed: int, *, most: int = 3000) -> Iterator[Item]:
    """So many items of mixed kind, size and age, with tokens that say which: ``x`` has expired, ``u`` has not."""
    dice = random.Random(seed)
    for index in range(number):
        kind = dice.choices(["plain", "rich", "scs", "lead", "corrupt"], [70, 12, 8, 5, 5])[0]
        expired = dice.random() < 0.2
        token = f"{'x' if expired else 'u'}-{kind}-{index}-{dice.randbytes(8).hex()}"
        # More than an hour, less than a hundred days, this way or that.
        expiry_ns = now_ns + dice.randrange(HOUR, 2400 * HOUR) * (-1 if expired else 1)
        size = min(most, int(dice.lognormvariate(5, 1.2)))
        data = dice.randbytes(size) if dice.random() < 0.3 else (b'{"data":{"n":%d}}' % index).ljust(size, b" ")
        yield _item(table, kind, dice, token, data, expiry_ns)


def _item(table: Table, kind: str, dice: random.Random, token: str, data: bytes, expiry_ns: int) -> Item:
    version = 0 if kind == "scs" else dice.getrandbits(63) or 1
    if kind == "rich":
        beside: dict[str, AttributeValue] = {
            "owner": {"S": f"owner {dice.randrange(9)}"},
            "tags": {"SS": ["a", "b"]},
            "deep": {"M": {"list": {"L": [{"N": "1.5"}, {"NULL": True}, {"B": b"\xff\x00"}]}}},
        }
        record = Record.at(
            token, data, expiry_ns, version, beside=beside, recent=dice.randbytes(8 * dice.randint(1, 8))
        )
    else:
        record = Record.at(token, data, expiry_ns, version)
    item = items.encode(table, record)
    if kind == "lead":
        del item[table.data]
        item[table.moved] = {"S": f"{token}-moved"}
    if kind == "corrupt":
        # Its expiry is good: it expires like any other.
        item[table.data] = {"S": "text"}
    return item


def findable(stored: Mapping[str, T], table: Table = Table()) -> dict[str, T]:  # noqa: B008 (frozen)
    """Those that `find` would not call corrupt: what is loaded of a file."""
    return {token: item for token, item in stored.items() if items.why_not_findable(table, item) is None}


# As a strategy

_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
_numbers = st.integers(-(10**30), 10**30).map(str) | st.decimals(-1000, 1000, places=3).map(str)
_scalars = st.one_of(
    st.builds(lambda value: AttributeValue(S=value), _texts | st.just("")),
    st.builds(lambda value: AttributeValue(N=value), _numbers),
    st.builds(lambda value: AttributeValue(B=value), st.binary(max_size=12)),
    st.builds(lambda value: AttributeValue(BOOL=value), st.booleans()),
    st.just(AttributeValue(NULL=True)),
    st.builds(lambda value: AttributeValue(SS=value), st.lists(_texts, min_size=1, max_size=3, unique=True)),
    st.builds(
        lambda value: AttributeValue(NS=[str(number) for number in value]),
        st.lists(st.integers(-999, 999), min_size=1, max_size=3, unique=True),
    ),
    st.builds(
        lambda value: AttributeValue(BS=value),
        st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=3, unique=True),
    ),
)


def attribute_values() -> st.SearchStrategy[AttributeValue]:
    """Attribute values of every type, one in the other."""

    def deeper(values: st.SearchStrategy[AttributeValue]) -> st.SearchStrategy[AttributeValue]:
        return st.builds(lambda value: AttributeValue(L=value), st.lists(values, max_size=3)) | st.builds(
            lambda value: AttributeValue(M=value), st.dictionaries(_texts, values, max_size=3)
        )

    return st.recursive(_scalars, deeper, max_leaves=5)


def stored_tokens() -> st.SearchStrategy[str]:
    """Tokens that DynamoDB takes, odd ones and long ones, too."""
    return st.one_of(
        _texts,
        st.sampled_from(["a", '"quoted"\\', "line\nbreak", "\u2028", "é" * 1024, "x" * items.MAX_TOKEN, "null", "{}"]),
        st.integers(0, 10**6).map(lambda number: f"token-{number}"),
    )


@st.composite
def stored_items(draw: st.DrawFn, table: Table) -> dict[str, AttributeValue]:
    """Items as they may lie in a table: records, SCS's, leads, corrupt ones, with anything beside."""
    other = _texts.filter(lambda name: name not in table.attributes)
    expiry_ns = draw(st.integers(INT64_MIN, INT64_MAX) | st.integers(0, 4 * 10**18))
    record = Record.at(
        draw(stored_tokens()),
        draw(st.binary(max_size=40) | _texts.map(str.encode) | st.just(b"")),
        expiry_ns,
        draw(st.just(0) | st.integers(1, INT64_MAX)),
        beside=draw(st.just({}) | st.dictionaries(other, attribute_values(), max_size=3)),
        recent=draw(st.just(b"") | st.integers(1, 12).map(lambda number: bytes(range(8)) * number)),
    )
    item = items.encode(table, record)
    match draw(st.sampled_from(["record", "record", "lead", "odd", "missing"])):
        case "lead":
            item[table.moved] = {"S": draw(stored_tokens())}
            if draw(st.booleans()):
                del item[table.data]
        case "odd":
            name = draw(st.sampled_from(table.own[1:]))
            item[name] = draw(attribute_values())
        case "missing":
            del item[draw(st.sampled_from([name for name in table.own[1:] if name in item]))]
    return item
