"""One table for Go and Python: SCS for Go's items are read and kept, and Go reads what Python writes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Literal, TypeAlias, TypedDict, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamostore import MemoryStore, Store, Table, items
from dynamostore.client import AttributeValue, DynamoClient, Item
from dynamostore.testing import FakeClock
from session import JSONValue, Session, SessionManager, Status

from . import go_reader
from .backends import SERVERS, TABLE, Backend, Backends
from .go_reader import KINDS, GoReader, Kind, found_by_scs

Typed: TypeAlias = str | int | float | bool | bytes | datetime
Plain: TypeAlias = str | int | bool | bytes | tuple[datetime, timedelta | None]
Entry: TypeAlias = tuple[Kind | Literal["json"], object]

MINUTE = timedelta(minutes=1)
SECOND = 10**9


class Expected(TypedDict):
    """A value that SCS put: as itself, or as reader.go gives it (float, bytes, time)."""

    type: Kind
    value: str | int | bool


class Fixture(TypedDict):
    """An item that SCS for Go wrote, and what a Go program reads from it."""

    name: str
    item: dict[str, dict[str, str]]
    payload: str
    keys: list[str]
    expected: dict[str, Expected]


FIXTURES = cast("list[Fixture]", json.loads((Path(__file__).parent / "interop/scs_go_items.json").read_text("utf-8")))

every_item_of_scs = pytest.mark.parametrize("scs", [pytest.param(scs, id=scs["name"]) for scs in FIXTURES])


def item_of(scs: Fixture) -> dict[str, AttributeValue]:
    """The item as a client has it: bytes where the file has base64."""
    item = scs["item"]
    return {
        "token": {"S": item["token"]["S"]},
        "data": {"B": base64.b64decode(item["data"]["B"])},
        "expiry": {"N": item["expiry"]["N"]},
        "ttl": {"N": item["ttl"]["N"]},
    }


def deadline_of(payload: bytes) -> int:
    """The deadline, by its place: as an integer literal at the end."""
    found = re.search(rb'"deadline":([0-9]+)\}$', payload)
    assert found is not None
    return int(found[1])


@dataclass(frozen=True)
class Shelf:
    """A store, and its items as another program sees and writes them."""

    store: Store
    put: Callable[[Item], None]
    get: Callable[[str], Item]

    def payload(self, token: str) -> bytes:
        return self.get(token)["data"]["B"]

    def go_puts(self, token: str, payload: bytes, expiry_ns: int | None = None) -> None:
        """Write *payload* as SCS does: the whole item, no version; without an idle timeout until the deadline."""
        expiry_ns = deadline_of(payload) if expiry_ns is None else expiry_ns
        self.put(
            {
                "token": {"S": token},
                "data": {"B": payload},
                "expiry": {"N": str(expiry_ns)},
                "ttl": {"N": str(expiry_ns // SECOND + 1)},
            }
        )


@pytest.fixture(params=("memory", *SERVERS))
def shelf(request: pytest.FixtureRequest, backends: Backends, clock: FakeClock) -> Shelf:
    """Each store, on ``clock``."""
    if request.param == "memory":
        return memory_shelf(clock)
    server = backends.server(request.param)
    client: DynamoClient = server.client

    def put(item: Item) -> None:
        client.put_item(TableName=TABLE.name, Item=item)

    def get(token: str) -> Item:
        return client.get_item(TableName=TABLE.name, Key={"token": {"S": token}}, ConsistentRead=True).get("Item", {})

    return Shelf(server.store(clock), put, get)


def memory_shelf(clock: FakeClock) -> Shelf:
    memory = MemoryStore(clock=clock)

    def put(item: Item) -> None:
        # No verb writes a record without a version, nor an expiry to the nanosecond.
        record = items.decode(Table(), item)
        memory._records[record.token] = record

    def get(token: str) -> Item:
        record = memory._records.get(token)
        return {} if record is None else items.encode(Table(), record)

    return Shelf(memory, put, get)


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoReader]:
    """reader.go, built and running."""
    if reason := go_reader.missing():
        pytest.skip(reason)
    with go_reader.go_reader(tmp_path_factory.mktemp("go")) as reader:
        yield reader


def shared(store: Store, clock: FakeClock) -> SessionManager:
    """A manager for a table that is shared with SCS for Go v0 and v1."""
    return SessionManager(store, hash_tokens=False, clock=clock)


def get_typed(s: Session, key: str, kind: Kind) -> Typed | None:
    match kind:
        case "string":
            return s.get_string(key)
        case "int":
            return s.get_int(key)
        case "float":
            return s.get_float(key)
        case "bool":
            return s.get_bool(key)
        case "bytes":
            return s.get_bytes(key)
        case "time":
            return s.get_time(key)


def plain(value: Typed | None) -> Plain:
    """*value* so that == tells what a getter's caller can tell: the sign of a zero, the offset of a time."""
    assert value is not None
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, datetime):
        return value.replace(tzinfo=None), value.utcoffset()
    return value


def from_text(kind: Kind, text: str) -> Plain:
    """A value as reader.go writes it, as `plain` has it; a time is cut off to the microsecond."""
    match kind:
        case "string":
            return text
        case "int":
            return int(text)
        case "float":
            return plain(float(text))
        case "bool":
            return {"true": True, "false": False}[text]
        case "bytes":
            return base64.b64decode(text)
        case "time":
            return plain(datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text)))


def as_text(expected: Expected) -> str:
    """An expected value as reader.go writes it."""
    value = expected["value"]
    return str(value).lower() if isinstance(value, bool) else str(value)


def literally(payload: bytes) -> object:
    """*payload* decoded so that == tells an int from a float, and 0 from -0."""

    def integer(literal: str) -> tuple[str, str]:
        # SCS writes the float -0.0 as -0. Anybody's reader makes the same of the two.
        return floating(literal) if literal == "-0" else ("int", literal)

    def floating(literal: str) -> tuple[str, str]:
        return "float", float(literal).hex()

    return json.loads(payload, parse_int=integer, parse_float=floating)


def data_but(payload: bytes, *keys: str) -> dict[str, object]:
    """The data of *payload* as `literally` has it, without *keys*."""
    decoded = cast("dict[str, dict[str, object]]", literally(payload))
    return {key: value for key, value in decoded["data"].items() if key not in keys}


# Python reads what SCS wrote


@every_item_of_scs
def test_an_item_of_scs_is_a_record(scs: Fixture) -> None:
    record = items.decode(TABLE, item_of(scs))
    assert record.token == scs["item"]["token"]["S"]
    assert record.data == scs["payload"].encode()
    assert str(record.expiry_ns) == scs["item"]["expiry"]["N"]
    assert str(items.ttl(record.expiry_ns)) == scs["item"]["ttl"]["N"]
    assert record.version == 0
    assert items.encode(TABLE, record) == item_of(scs)


@every_item_of_scs
def test_an_item_of_scs_is_found_in_a_table(server: Backend, clock: FakeClock, scs: Fixture) -> None:
    client: DynamoClient = server.client
    client.put_item(TableName=TABLE.name, Item=item_of(scs))
    assert server.store(clock).find(scs["item"]["token"]["S"]) == items.decode(TABLE, item_of(scs))


@every_item_of_scs
def test_a_session_of_scs_reads_as_it_was_put(shelf: Shelf, clock: FakeClock, scs: Fixture) -> None:
    shelf.put(item_of(scs))
    deadline = deadline_of(scs["payload"].encode())
    with shared(shelf.store, clock).session(scs["item"]["token"]["S"]) as s:
        assert list(s.keys()) == scs["keys"] == sorted(scs["expected"])
        for key, expected in scs["expected"].items():
            found = get_typed(s, key, expected["type"])
            assert plain(found) == from_text(expected["type"], as_text(expected)), key
        assert s.deadline == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=deadline // 1000)
    # Looking changes nothing, not even the item's lack of a version.
    assert shelf.get(scs["item"]["token"]["S"]) == item_of(scs)


# What Python does not touch stays as SCS wrote it


def change_twice(shelf: Shelf, clock: FakeClock, scs: Fixture) -> tuple[bytes, list[str]]:
    """Add one key to SCS's session, then change another in what Python has written: the payload, those keys."""
    token = scs["item"]["token"]["S"]
    shelf.put(item_of(scs))
    manager = shared(shelf.store, clock)
    changed = ["from_python", scs["keys"][-1] if scs["keys"] else "another"]
    for key in changed:
        with manager.session(token) as s:
            s.put_string(key, "changed by Python")
        assert s.token == token
    return shelf.payload(token), changed


@every_item_of_scs
def test_a_changed_session_of_scs_keeps_its_other_values(shelf: Shelf, clock: FakeClock, scs: Fixture) -> None:
    before = scs["payload"].encode()
    after, changed = change_twice(shelf, clock, scs)
    assert data_but(after, *changed) == data_but(before, *changed)
    assert deadline_of(after) == deadline_of(before)
    # Without an idle timeout it lives until the deadline, whatever expiry SCS had given it.
    item = shelf.get(scs["item"]["token"]["S"])
    assert item["expiry"]["N"] == str(deadline_of(before) // 1000 * 1000)
    assert item["ttl"]["N"] == str(deadline_of(before) // SECOND + 1)


@every_item_of_scs
def test_go_reads_the_other_values_of_a_changed_session(
    go: GoReader, shelf: Shelf, clock: FakeClock, scs: Fixture
) -> None:
    after, changed = change_twice(shelf, clock, scs)
    others = {key: expected for key, expected in scs["expected"].items() if key not in changed}
    answer = go.read(after, [(key, expected["type"]) for key, expected in others.items()])
    # As text: the nanoseconds of a time, the sign of -0, and each digit.
    assert [found.value for found in answer.values] == [as_text(expected) for expected in others.values()]
    assert all(found.ok and not found.missing for found in answer.values)
    assert answer.keys == sorted({*scs["keys"], *changed})
    assert answer.deadline == deadline_of(scs["payload"].encode())


@every_item_of_scs
def test_each_getter_of_go_answers_as_before(go: GoReader, clock: FakeClock, scs: Fixture) -> None:
    after, changed = change_twice(memory_shelf(clock), clock, scs)
    reads: list[tuple[str, Kind]] = [(key, kind) for key in scs["keys"] if key not in changed for kind in KINDS]
    # The float -0 comes back as -0.0. As an int Go reads the one as 0 and refuses the other; nobody put an int.
    reads = [read for read in reads if read != ("float_minus_zero", "int")]
    then, now = go.read(scs["payload"].encode(), reads), go.read(after, reads)
    for read, old, new in zip(reads, then.values, now.values, strict=True):
        assert (new.ok, new.value) == (old.ok, old.value), read


NUMBERS_OF_GO = "-0,0,1,-1,100000000000000000000,1e+21,1e-7,0.000001,5e-324,1.7976931348623157e+308,9007199254740993"


@pytest.mark.parametrize(
    "value", [f"[{NUMBERS_OF_GO}]", f'{{"a":[[{NUMBERS_OF_GO}],null,{{"b":-0}}]}}', "-0", '":-0,"', "null", "[{}]"]
)
def test_a_nested_value_that_nobody_touched_stays_as_it_was(clock: FakeClock, value: str) -> None:
    shelf, token = memory_shelf(clock), new_token()
    before = b'{"data":{"k":%s},"deadline":8102536662633797704}' % value.encode()
    shelf.go_puts(token, before)
    with shared(shelf.store, clock).session(token) as s:
        s.put_int("n", 1)
    assert data_but(shelf.payload(token), "n") == data_but(before)


# Go reads what Python writes

texts = st.text(max_size=30) | st.sampled_from(
    [
        "</script>&",
        "\u2028\u2029",
        "\x00\x1f\x7f\x80",
        '\\"\\u0041',
        "\ufeff\ufffd\uffff",
        "😀👩\u200d👧",
        "1",
        "null",
        "-0",
    ]
)
integers = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1, 2**53 + 1, -(2**53) - 1, 0])
floats = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [-0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e20, 1e21, 1e-6, 1e-7, 1.0, 2.0**53, 2.0**63]
)
day = timedelta(days=1, microseconds=-1)
offsets = (
    st.timezones()
    | st.just(UTC)
    | st.timedeltas(-day, day).map(timezone)
    | st.integers(-24 * 60 + 1, 24 * 60 - 1).map(lambda minutes: timezone(minutes * MINUTE))
)
times = st.datetimes(timezones=offsets) | st.builds(
    datetime.replace,
    st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]),
    tzinfo=offsets,
)
nested = st.recursive(
    st.none() | st.booleans() | integers | floats | texts,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(texts, part, max_size=4),
    max_leaves=12,
)


def sayable(instant: datetime) -> bool:
    """Whether RFC 3339 can say it: an offset with seconds needs UTC, where the year must be one, too."""
    if not seconds_of(instant):
        return True
    try:
        instant.astimezone(UTC)
    except OverflowError:
        return False
    return True


def seconds_of(instant: datetime) -> timedelta:
    offset = instant.utcoffset()
    assert offset is not None
    return offset % MINUTE


def entry(kind: Kind | Literal["json"], values: st.SearchStrategy[object]) -> st.SearchStrategy[Entry]:
    return st.tuples(st.just(kind), values)


entries = (
    entry("string", texts)
    | entry("int", integers)
    | entry("float", floats)
    | entry("bool", st.booleans())
    | entry("bytes", st.binary(max_size=40))
    | entry("time", times.filter(sayable))
    | entry("json", nested)
)


def put_typed(s: Session, key: str, kind: Kind | Literal["json"], value: object) -> None:
    """Put *value* with the putter of its kind; JSON through the mapping and as an object in turn."""
    match kind, value:
        case "string", str():
            s.put_string(key, value)
        case "bool", bool():
            s.put_bool(key, value)
        case "int", int():
            s.put_int(key, value)
        case "float", float():
            s.put_float(key, value)
        case "bytes", bytes():
            s.put_bytes(key, value)
        case "time", datetime():
            s.put_time(key, value)
        case _:
            if len(key) % 2:
                s.put_object(key, value)
            else:
                s[key] = cast("JSONValue", value)


def as_written(value: object) -> Plain:
    """What Go is to read for *value*."""
    assert isinstance(value, str | int | float | bool | bytes | datetime)
    if isinstance(value, datetime) and seconds_of(value):
        value = value.astimezone(UTC)
    return plain(value)


@settings(max_examples=400)
@given(entries=st.dictionaries(texts, entries, min_size=1, max_size=10), nanoseconds=st.integers(0, SECOND))
def test_go_reads_every_value_that_python_writes(go: GoReader, entries: dict[str, Entry], nanoseconds: int) -> None:
    clock = FakeClock()
    clock.now_ns += nanoseconds
    shelf = memory_shelf(clock)
    manager = shared(shelf.store, clock)
    with manager.session(None) as s:
        for key, (kind, value) in entries.items():
            put_typed(s, key, kind, value)
    assert s.token is not None
    reads = [(key, kind) for key, (kind, _) in entries.items() if kind != "json"]
    expected = [as_written(value) for kind, value in entries.values() if kind != "json"]

    answer = go.read(shelf.payload(s.token), reads)
    assert answer.keys == sorted(entries)
    assert answer.deadline == clock.now_ns + 24 * 3600 * SECOND
    assert [found.error for found in answer.values if not found.ok] == []
    go_has = [from_text(kind, found.value) for (_, kind), found in zip(reads, answer.values, strict=True)]
    assert go_has == expected

    with manager.session(s.token) as s:
        assert list(s) == answer.keys
        assert [plain(get_typed(s, key, kind)) for key, kind in reads] == expected


# The item


@pytest.mark.parametrize(
    "fraction", [timedelta(0), timedelta(microseconds=1), timedelta(seconds=1, microseconds=-1)], ids=str
)
def test_a_session_is_an_item_of_five_attributes(server: Backend, clock: FakeClock, fraction: timedelta) -> None:
    client: DynamoClient = server.client
    manager = SessionManager(server.store(clock), lifetime=timedelta(hours=1) + fraction, clock=clock)
    with manager.session(None) as s:
        s.put_string("message", "Hello world!")
    assert s.token is not None
    key = base64.urlsafe_b64encode(hashlib.sha256(s.token.encode()).digest()).decode().rstrip("=")
    item = client.get_item(TableName=TABLE.name, Key={"token": {"S": key}}, ConsistentRead=True)["Item"]

    expiry_ns = clock.now_ns + (3600 * 10**6 + fraction // timedelta(microseconds=1)) * 1000
    version = item["version"]["N"]
    assert item == {
        "token": {"S": key},
        "data": {"B": b'{"data":{"message":"Hello world!"},"deadline":%d}' % expiry_ns},
        "expiry": {"N": str(expiry_ns)},
        "ttl": {"N": str(expiry_ns // SECOND + 1)},
        "version": {"N": version},
    }
    assert 0 < int(version) < 2**63
    record = server.store(clock).find(key)
    assert record is not None
    assert record.expiry_ns == expiry_ns
    # Who can read the table has no token to send.
    assert server.store(clock).find(s.token) is None


def test_the_key_of_a_token_is_its_sha256_unless_the_table_is_shared(shelf: Shelf, clock: FakeClock) -> None:
    # SCS v2, HashTokenInStore: base64.RawURLEncoding of sha256.Sum256.
    token, key = "BKNUwXCyGbC7-lpq2lJs38oTmltJmZuqb3HQRS1neew", "RXytypp4ezEPIbhuB1hef_ah2mAcTzZzBRVnlGw0Ngs"
    payload = b'{"data":{"message":"Hello world!"},"deadline":8102534735004839040}'
    for hash_tokens, put_under in ((True, key), (False, token)):
        shelf.go_puts(put_under, payload)
        with SessionManager(shelf.store, hash_tokens=hash_tokens, clock=clock).session(token) as s:
            assert s.get_string("message") == "Hello world!"
        shelf.store.delete(put_under)


# One table for both


def new_token() -> str:
    return secrets.token_urlsafe(32)


DEADLINE = 1_900_000_000_123_456_789  # in 2030, after the clock; to the nanosecond, as Go has it


def go_payload(data: bytes, deadline: int = DEADLINE) -> bytes:
    """What Go's json.Marshal makes of a session with *data*: sorted keys, no spaces; *data* has its escapes."""
    return b'{"data":{%s},"deadline":%d}' % (data, deadline)


def stored(shelf: Shelf, token: str) -> Mapping[str, object]:
    """The data that another program finds under *token*."""
    decoded = cast("dict[str, dict[str, object]]", json.loads(shelf.payload(token)))
    return decoded["data"]


def test_python_goes_on_with_a_session_that_go_began(shelf: Shelf, clock: FakeClock) -> None:
    token = new_token()
    shelf.go_puts(token, go_payload(rb'"message":"\u003cb\u003eR\u0026D\u003c/b\u003e \u2028","visits":1'))
    with shared(shelf.store, clock).session(token) as s:
        assert s.get_string("message") == "<b>R&D</b> \u2028"
        s.increment("visits")
        s.put_bytes("from_python", b"\xff")
    item = shelf.get(token)
    assert set(item) == {"token", "data", "expiry", "ttl", "version"}
    # Nanoseconds are kept where Go looks for them; the item's expiry is cut off to the microsecond.
    assert deadline_of(shelf.payload(token)) == DEADLINE
    assert item["expiry"]["N"] == str(DEADLINE // 1000 * 1000)
    assert item["ttl"]["N"] == str(DEADLINE // SECOND + 1)
    assert stored(shelf, token) == {"message": "<b>R&D</b> \u2028", "visits": 2, "from_python": "/w=="}


def test_python_goes_on_with_its_own_session_after_go_wrote_it(shelf: Shelf, clock: FakeClock) -> None:
    manager = shared(shelf.store, clock)
    with manager.session(None) as s:
        s.put_string("from_python", "<1>")
    assert s.token is not None
    first = shelf.get(s.token)["version"]
    shelf.go_puts(s.token, go_payload(rb'"from_go":1,"from_python":"\u003c1\u003e"'))
    assert "version" not in shelf.get(s.token)
    with manager.session(s.token) as s:
        assert dict(s) == {"from_go": 1, "from_python": "<1>"}
        s.put_string("from_python", "<2>")
    assert s.token is not None
    assert stored(shelf, s.token) == {"from_go": 1, "from_python": "<2>"}
    assert shelf.get(s.token)["version"] != first


@pytest.mark.parametrize("who", ["go", "python"])
def test_what_go_writes_during_a_request_is_kept(shelf: Shelf, clock: FakeClock, who: str) -> None:
    token = begun_by(who, shelf, clock)
    with shared(shelf.store, clock).session(token) as s:
        s.put_string("mine", "2")
        s.increment("visits", 10)
        s.remove("old")
        # The deadline is what it was, so Go's item has the same expiry as before: only its data tells.
        shelf.go_puts(token, go_payload(rb'"kept":"\u003e","new":true,"old":1,"visits":3'))
    assert s.token == token
    assert s.status is Status.MODIFIED
    assert "version" in shelf.get(token)
    assert stored(shelf, token) == {"kept": ">", "new": True, "visits": 13, "mine": "2"}
    assert dict(s) == stored(shelf, token)
    assert deadline_of(shelf.payload(token)) == DEADLINE


@pytest.mark.parametrize("moved_by", [timedelta(hours=-1), timedelta(hours=1)], ids=["earlier", "later"])
def test_a_deadline_that_go_moves_during_a_request_holds(shelf: Shelf, clock: FakeClock, moved_by: timedelta) -> None:
    token, deadline = begun_by("python", shelf, clock), DEADLINE + moved_by // MINUTE * 60 * SECOND
    with shared(shelf.store, clock).session(token) as s:
        s.put_string("mine", "2")
        shelf.go_puts(token, go_payload(b'"kept":1', deadline))
    assert stored(shelf, token) == {"kept": 1, "mine": "2"}
    assert deadline_of(shelf.payload(token)) == deadline
    assert shelf.get(token)["expiry"]["N"] == str(deadline // 1000 * 1000)


@pytest.mark.parametrize("who", ["go", "python"])
def test_a_session_of_both_can_be_renewed_while_go_writes_it(shelf: Shelf, clock: FakeClock, who: str) -> None:
    token = begun_by(who, shelf, clock)
    with shared(shelf.store, clock).session(token) as s:
        s.renew_token()
        s.put_int("user", 7)
        shelf.go_puts(token, go_payload(b'"kept":1'))
    assert s.token not in {None, token}
    # What is left there is nothing to Go.
    assert found_by_scs(shelf.get(token), clock.now_ns) is None
    assert found_by_scs(shelf.get(s.token or ""), clock.now_ns) is not None
    assert stored(shelf, s.token or "") == {"kept": 1, "user": 7}


@pytest.mark.parametrize("meanwhile", [b'"n":1', b'"n":2'], ids=["left alone", "written by Go"])
def test_looking_at_a_session_of_go_moves_its_expiry_and_nothing_else(
    shelf: Shelf, clock: FakeClock, meanwhile: bytes
) -> None:
    token, idle_timeout = new_token(), timedelta(minutes=20)
    manager = SessionManager(shelf.store, hash_tokens=False, idle_timeout=idle_timeout, clock=clock)
    soon = clock.now_ns + 60 * SECOND + 1
    shelf.go_puts(token, go_payload(b'"n":1'), soon)
    with manager.session(token) as s:
        assert s.get_int("n") == 1
        shelf.go_puts(token, go_payload(meanwhile), soon + 1)
    later = clock.now_ns + 1200 * SECOND
    assert shelf.get(token) == {
        "token": {"S": token},
        "data": {"B": go_payload(meanwhile)},
        "expiry": {"N": str(later)},
        "ttl": {"N": str(later // SECOND + 1)},
    }


@pytest.mark.parametrize("who", ["go", "python"])
def test_what_go_deletes_during_a_request_stays_deleted(shelf: Shelf, clock: FakeClock, who: str) -> None:
    token = begun_by(who, shelf, clock)
    with shared(shelf.store, clock).session(token) as s:
        s.put_string("mine", "2")
        shelf.store.delete(token)
    assert s.token is None
    assert s.status is Status.DESTROYED
    assert shelf.get(token) == {}


def test_go_reads_what_both_have_changed(go: GoReader, clock: FakeClock) -> None:
    shelf = memory_shelf(clock)
    token = begun_by("go", shelf, clock)
    with shared(shelf.store, clock).session(token) as s:
        s.put_time("mine", datetime(2026, 11, 22, 8, tzinfo=UTC))
        shelf.go_puts(token, go_payload(b'"kept":-0,"old":1,"theirs":"2026-11-22T08:00:00.123456789Z","visits":3'))
    answer = go.read(shelf.payload(token), [("kept", "float"), ("mine", "time"), ("theirs", "time"), ("visits", "int")])
    texts = [found.value for found in answer.values]
    assert texts == ["-0", "2026-11-22T08:00:00Z", "2026-11-22T08:00:00.123456789Z", "3"]
    assert answer.deadline == DEADLINE


def begun_by(who: str, shelf: Shelf, clock: FakeClock) -> str:
    """A session with "old" and "visits", last written by Go (no version) or by Python (with one)."""
    token = new_token()
    shelf.go_puts(token, go_payload(b'"old":1,"visits":1'))
    if who == "python":
        with shared(shelf.store, clock).session(token) as s:
            s.increment("visits")
    return token
