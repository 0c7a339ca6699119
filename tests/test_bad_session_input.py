"""What comes from outside: tokens that nobody gave out are no session, payloads that nobody wrote are an error."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dynamostore import MemoryStore, StoreError
from dynamostore.digests import digest
from dynamostore.testing import FakeClock
from session import CorruptSessionError, JSONCodec, SessionManager, Status

from .backends import Backend, Backends
from .counting import CountingStore
from .fakes import StoredSession, assert_discreet, assert_names

HOUR = timedelta(hours=1)


# Tokens

MALFORMED: dict[str, Any] = {
    "empty": "",
    "42 characters": "A" * 42,
    "44 characters": "A" * 44,
    "padded": "A" * 43 + "=",
    "standard base64": "A" * 42 + "+",
    "a slash": "A" * 42 + "/",
    "a space": "A" * 42 + " ",
    "led by a space": " " + "A" * 43,
    "a newline at the end": "A" * 43 + "\n",
    "a carriage return at the end": "A" * 42 + "\r",
    "a NUL": "A" * 42 + "\0",
    "a letter that is no ASCII": "A" * 42 + "é",
    "a wide letter": "\uff21" * 43,
    "a Cyrillic letter that looks like ours": "\u0410" * 43,
    "digits of another script": "٣" * 43,
    "a superscript": "²" * 43,
    "a dotless i, which grows when folded": "\u0131" * 43,
    "a lone surrogate": "A" * 42 + "\ud800",
    "an emoji": "😀" * 43,
    "10 kB": "A" * 10_240,
    "whitespace": " \t\r\n",
    "a percent escape": "A" * 40 + "%41",
    "SQL": "' OR 1=1 --",
    "a header": "A\r\nSet-Cookie: a=b",
    "bytes": b"A" * 43,
    "a number": 43,
    "a list": ["A" * 43],
}

malformed = pytest.mark.parametrize("token", MALFORMED.values(), ids=MALFORMED)


@malformed
@pytest.mark.parametrize("hashed", [True, False], ids=["hashed", "plain"])
def test_a_token_that_cannot_be_ours_is_no_session_and_no_call(
    counted: CountingStore, clock: FakeClock, token: Any, hashed: bool
) -> None:
    manager = SessionManager(counted, hash_tokens=hashed, idle_timeout=HOUR, clock=clock)
    with manager.session(token) as s:
        assert s.token is None
        assert dict(s) == {}
        assert s.get_int("n") == 0
        assert s.expiry is None
        s.remove("n")
        s.renew_token()
    assert counted.taken() == []
    assert (s.token, s.status) == (None, Status.UNMODIFIED)


@malformed
def test_a_token_that_cannot_be_ours_is_never_adopted(
    manager: SessionManager, counted: CountingStore, token: Any
) -> None:
    with manager.session(token) as s:
        s.put_int("n", 1)
    assert counted.taken() == ["create"]
    assert s.token is not None
    assert s.token != token
    assert len(s.token) == 43
    header = manager.set_cookie(s)
    assert header is not None
    assert header.startswith(f"session={s.token};")


@malformed
def test_a_cookie_with_a_token_that_cannot_be_ours_is_left_alone(manager: SessionManager, token: Any) -> None:
    # It may be another application's; and to be told so costs nothing.
    with manager.session(token) as s:
        assert s.get_int("n") == 0
    assert manager.set_cookie(s) is None


@malformed
def test_destroying_what_cannot_be_ours_does_nothing(
    manager: SessionManager, counted: CountingStore, token: Any
) -> None:
    with manager.session(token) as s:
        s.destroy()
    assert counted.taken() == []


def test_no_token_is_no_session_and_nothing_to_clear(manager: SessionManager, counted: CountingStore) -> None:
    with manager.session(None) as s:
        assert dict(s) == {}
    assert counted.taken() == []
    assert manager.set_cookie(s) is None


def test_a_well_formed_token_is_looked_for_once_and_never_adopted(
    manager: SessionManager, counted: CountingStore, memory: MemoryStore
) -> None:
    token = secrets.token_urlsafe(32)
    with manager.session(token) as s:
        assert s.get_int("n") == 0
        assert dict(s) == {}
        s.put_int("n", 1)
    assert counted.taken() == ["find", "create"]
    assert s.token not in (None, token)
    assert memory.find(token) is None
    with manager.session(token) as again:
        assert dict(again) == {}


@given(st.text(max_size=60) | st.text("AZaz09-_", min_size=40, max_size=46))
def test_whatever_the_token_is_it_is_not_adopted(token: str) -> None:
    store = CountingStore(MemoryStore())
    with SessionManager(store).session(token) as s:
        s.put_int("n", 1)
    assert s.token != token
    assert store.taken() in (["create"], ["find", "create"])


def test_a_key_of_the_table_is_not_a_token(manager: SessionManager, memory: MemoryStore) -> None:
    # Who can read the table cannot take over a session.
    with manager.session(None) as s:
        s.put_int("n", 1)
    (key,) = memory._records
    assert len(key) == 43
    with manager.session(key) as s:
        assert dict(s) == {}


# Payloads


def payload(data: bytes = b"{}", deadline: bytes = b"8102534735004839040", more: bytes = b"") -> bytes:
    return b'{"data":%s,"deadline":%s%s}' % (data, deadline, more)


SECRET = "what nobody is to know"
CORRUPT: dict[str, bytes] = {
    "nothing": b"",
    "blank": b" \n",
    "no JSON": f"name={SECRET}".encode(),
    "a gob": b"\x0b\xff\x81\x03\x01\x01\x05Value\x01\xff\x82",
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94.",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "a list": b"[]",
    "null": b"null",
    "a string": b'"x"',
    "a number": b"7",
    "an empty object": b"{}",
    "no data": b'{"deadline":8102534735004839040}',
    "data is null": payload(b"null"),
    "data is a list": payload(b"[]"),
    "data is a string": payload(f'"{SECRET}"'.encode()),
    "data is a number": payload(b"7"),
    "no deadline": b'{"data":{}}',
    "deadline is null": payload(deadline=b"null"),
    "deadline is a string": payload(deadline=b'"8102534735004839040"'),
    "deadline has a fraction": payload(deadline=b"1.5"),
    "deadline is a whole float": payload(deadline=b"8102534735004839040.0"),
    "deadline has an exponent": payload(deadline=b"8e18"),
    "deadline is a bool": payload(deadline=b"true"),
    "deadline is a list": payload(deadline=b"[1]"),
    "deadline is an object": payload(deadline=b'{"ns":1}'),
    "deadline is one beyond int64": payload(deadline=str(2**63).encode()),
    "deadline is one below int64": payload(deadline=str(-(2**63) - 1).encode()),
    "deadline is of 5,000 digits": payload(deadline=b"9" * 5000),
    "trailing garbage": payload() + b"x",
    "two payloads": payload() * 2,
    "cut off": payload(f'{{"name":"{SECRET}"}}'.encode())[:-2],
    "a byte order mark": b"\xef\xbb\xbf" + payload(),
    "UTF-16": payload().decode().encode("utf-16"),
    "not UTF-8": payload(b'{"name":"\xff' + SECRET.encode() + b'"}'),
    "a key that is not UTF-8": payload(b'{"\xc3":1}'),
    "a lone surrogate": payload(b'{"name":"\\ud800"}'),
    "a lone low surrogate": payload(b'{"name":"\\udc00\\ud800"}'),
    "a lone surrogate in a key": payload(b'{"\\udfff":1}'),
    "a surrogate as WTF-8": payload(b'{"name":"\xed\xa0\x80"}'),
    "NaN": payload(b'{"x":NaN}'),
    "Infinity": payload(b'{"x":Infinity}'),
    "1e999": payload(b'{"x":1e999}'),
    "-1e999": payload(b'{"x":-1e999}'),
    "a comment": payload(b"{/* */}"),
    "single quotes": payload(b"{'x':1}"),
    "a trailing comma": payload(b'{"x":1,}'),
    "a control character": payload(b'{"x":"\x00"}'),
    "a number led by zero": payload(b'{"x":01}'),
    # How deep is too deep differs from one Python to the next.
    "nested 50,000 deep": payload(b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "nested 5,000 deep and cut off": payload(b'{"x":' + b'{"x":' * 5000),
    "nested 100,000 deep": payload(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "nested 50,000 deep where nobody looks": payload(more=b',"x":' + b"[" * 50_000 + b"]" * 50_000),
    "an int of 5,000 digits": payload(b'{"x":' + b"7" * 5000 + b"}"),
}


@pytest.mark.parametrize("bad", CORRUPT.values(), ids=CORRUPT)
def test_a_payload_that_is_no_session_is_told_and_left_alone(
    manager: SessionManager,
    memory: MemoryStore,
    counted: CountingStore,
    caplog: pytest.LogCaptureFixture,
    bad: bytes,
) -> None:
    caplog.set_level(logging.DEBUG)
    stored = StoredSession(manager, memory, bad)
    counted.taken()
    with pytest.raises(CorruptSessionError) as caught, manager.session(stored.token) as s:
        s.get_string("name")
    error = caught.value
    assert not isinstance(error, StoreError)
    assert error.digest == digest(stored.record.token)
    assert error.reason
    assert error.reason in str(error)
    assert_names(str(error), stored.record.token)
    assert_discreet(error, stored.token, stored.record.token, SECRET, log=caplog.text)
    assert counted.taken() == ["find"]
    assert stored.now() == stored.record
    # The client keeps its cookie: what is wrong may yet be put right.
    assert s.token == stored.token
    assert manager.set_cookie(s) is None


@pytest.mark.parametrize("look", ["put", "remove", "clear", "renew", "deadline", "len"])
def test_a_corrupt_session_is_not_written_over_by_any_means(
    manager: SessionManager, memory: MemoryStore, counted: CountingStore, look: str
) -> None:
    stored = StoredSession(manager, memory, b"null")
    counted.taken()
    with pytest.raises(CorruptSessionError), manager.session(stored.token) as s:
        looks: dict[str, Callable[[], object]] = {
            "put": lambda: s.put_int("n", 1),
            "remove": lambda: s.remove("n"),
            "clear": s.clear,
            "renew": s.renew_token,
            "deadline": lambda: s.deadline,
            "len": lambda: len(s),
        }
        looks[look]()
    assert counted.taken() == ["find"]
    assert stored.now() == stored.record


def test_a_handler_may_get_rid_of_a_corrupt_session(
    manager: SessionManager, memory: MemoryStore, counted: CountingStore
) -> None:
    stored = StoredSession(manager, memory, b"null")
    counted.taken()
    with manager.session(stored.token) as s:
        with pytest.raises(CorruptSessionError):
            s.get_int("n")
        s.destroy()
        s.put_int("n", 1)
    assert counted.taken() == ["find", "delete", "create"]
    assert memory.find(stored.record.token) is None
    with manager.session(s.token) as again:
        assert again.get_int("n") == 1


def test_a_request_that_never_looks_does_not_mind(manager: SessionManager, memory: MemoryStore) -> None:
    stored = StoredSession(manager, memory, b"null")
    with manager.session(stored.token) as s:
        pass
    assert s.token == stored.token


@pytest.mark.parametrize("on_conflict", ["merge", "raise", "overwrite"])
def test_a_corrupt_payload_that_wins_a_conflict_is_told_and_left_alone(
    memory: MemoryStore, clock: FakeClock, on_conflict: Any
) -> None:
    manager = SessionManager(memory, on_conflict=on_conflict, clock=clock)
    stored = StoredSession(manager, memory, payload(b'{"n":1}'))
    with pytest.raises(CorruptSessionError) as caught, manager.session(stored.token) as s:
        s.put_int("n", 2)
        spoilt = memory.replace(stored.record, SECRET.encode(), stored.record.expiry)
    assert_names(str(caught.value), stored.record.token)
    assert_discreet(caught.value, stored.token, stored.record.token, SECRET)
    assert memory.find(stored.record.token) == spoilt


def test_a_corrupt_payload_stays_in_the_table(backends: Backends, clock: FakeClock) -> None:
    server: Backend = backends.server("ministack")
    store = server.store(clock)
    manager = SessionManager(store, hash_tokens=False, clock=clock)
    record = store.create(secrets.token_urlsafe(32), b"{}", clock.now + HOUR)
    for _ in range(2):
        with pytest.raises(CorruptSessionError, match=digest(record.token)), manager.session(record.token) as s:
            s.put_int("n", 1)
    assert store.find(record.token) == record


GOOD: dict[str, tuple[bytes, dict[str, Any]]] = {
    "more members": (payload(b'{"n":1}', more=b',"flash":["x"],"v":2,"nested":{"data":{}}'), {"n": 1}),
    "members in another order": (b'{"deadline":8102534735004839040,"data":{"n":1}}', {"n": 1}),
    "white space": (b' {\n"data" : {"n": 1} ,\t"deadline": 8102534735004839040 }\r\n', {"n": 1}),
    "duplicate keys": (payload(b'{"n":1,"n":2}'), {"n": 2}),
    "duplicate members": (b'{"data":{"n":1},"deadline":1,"data":{"n":2},"deadline":8102534735004839040}', {"n": 2}),
    "null as a value": (payload(b'{"n":null}'), {"n": None}),
    "the empty key": (payload(b'{"":1}'), {"": 1}),
    "a pair of surrogates": (payload(b'{"n":"\\ud83d\\ude00"}'), {"n": "😀"}),
    "a NUL, escaped": (payload(b'{"n":"\\u0000"}'), {"n": "\0"}),
    "a big int": (payload(b'{"n":100000000000000000000}'), {"n": 10**20}),
    "minus zero": (payload(b'{"n":-0}'), {"n": 0.0}),
}


@pytest.mark.parametrize(("good", "data"), GOOD.values(), ids=GOOD)
def test_a_payload_of_another_make_is_read(
    manager: SessionManager, memory: MemoryStore, good: bytes, data: dict[str, Any]
) -> None:
    stored = StoredSession(manager, memory, good)
    with manager.session(stored.token) as s:
        assert dict(s) == data
    assert stored.now() == stored.record


VALID = (
    payload(),
    payload(b'{"a":-0,"b":[1,2.5e3,true,null,{"c":"\\u00e9\\ud83d\\ude00"}],"d":1e20}', more=b',"x":"y"'),
    '{"deadline":1893459600000000000,"data":{"имя":"значение","-0":" -0 ,[-0]"}}'.encode(),
)
SPLICES = st.lists(
    st.tuples(
        st.integers(0, 120),
        st.integers(0, 4),
        st.binary(max_size=3)
        | st.sampled_from([b"-0", b"null", b"\\u", b'"', b"]", b"}", b"[-0,", b"1e", b"9" * 5000]),
    ),
    max_size=3,
)


@given(st.binary(max_size=80))
@settings(max_examples=300)
def test_any_bytes_whatever_are_a_session_or_corrupt(found: bytes) -> None:
    assert_total(found)


@given(st.sampled_from(VALID), SPLICES)
@settings(max_examples=1500)
@example(payload(b'{"n":-0}', more=b',"x":' + b"7" * 5000), [])
@example(payload(b'{"n":-0}', more=b',"x":"\xff"'), [])
def test_any_damage_to_a_payload_makes_it_another_or_corrupt(
    found: bytes, splices: list[tuple[int, int, bytes]]
) -> None:
    for at, length, instead in splices:
        found = found[:at] + instead + found[at + length :]
    assert_total(found)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_any_value_for_a_deadline_is_an_int64_or_corrupt(value: Any) -> None:
    assert_total(b'{"data":{},"deadline":%s}' % json.dumps(value).encode())


def assert_total(found: bytes) -> None:
    """The codec takes *found* for a session, or says that it is none; and what it takes it can write again."""
    codec = JSONCodec()
    try:
        data, deadline_ns = codec.decode(found)
    except CorruptSessionError as error:
        assert error.reason
        return
    assert isinstance(data, dict)
    assert type(deadline_ns) is int
    assert -(2**63) <= deadline_ns < 2**63
    assert codec.decode(codec.encode(data, deadline_ns)) == (data, deadline_ns)


def test_the_state_of_a_session_shows_no_token(manager: SessionManager) -> None:
    # Whoever reports an error with its local variables shows it.
    with manager.session(None) as s:
        s.put_int("n", 1)
    with manager.session(s.token) as again:
        again.renew_token()
        for token in (s.token, again._state.coming):
            assert token is not None
            assert token not in repr(again._state)
