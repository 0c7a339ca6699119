"""Values of the wrong type: refused when put, and the session and the store stay as they were."""

from __future__ import annotations

import enum
import math
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from session import Session, SessionManager, SessionTypeError, Status

from .counting import CountingStore
from .fakes import StoredSession

SURROGATE = "\ud800"
NAIVE = datetime(2030, 1, 1)  # noqa: DTZ001 (that is the point)


class Anything:
    pass


@dataclass
class Holder:
    content: object


class Colour(enum.Enum):
    RED = "red"


def within_itself() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


WRONG: dict[str, list[tuple[object, str]]] = {
    # Each with what the error says was found; "" where it is the value, not its type, that is refused.
    "string": [(1, "int"), (True, "bool"), (None, "null"), (b"x", "bytes"), (["x"], "list"), (SURROGATE, "")],
    "int": [
        *[(True, "bool"), (1.0, "float"), ("1", "str"), (None, "null"), (b"1", "bytes"), (math.nan, "float")],
        *[(Decimal(1), "Decimal"), (2**63, ""), (-(2**63) - 1, ""), (2**64, ""), (10**400, "")],
    ],
    "float": [
        *[
            (True, "bool"),
            ("1.5", "str"),
            (None, "null"),
            (b"1", "bytes"),
            (Decimal("1.5"), "Decimal"),
            (1j, "complex"),
        ],
        *[(math.nan, ""), (math.inf, ""), (-math.inf, ""), (10**400, "")],
    ],
    "bool": [(1, "int"), (0, "int"), ("true", "str"), (None, "null"), (1.0, "float")],
    "bytes": [("x", "str"), (None, "null"), ([1], "list"), (1, "int"), (Anything(), "Anything")],
    "time": [
        *[(NAIVE, ""), (date(2030, 1, 1), "date"), (time(tzinfo=UTC), "time"), ("2030-01-01T00:00:00Z", "str")],
        *[(None, "null"), (1893456000, "int"), (timedelta(1), "timedelta")],
    ],
    "object": [
        *[
            (Anything(), "Anything"),
            (Anything, "type"),
            (len, "builtin_function_or_method"),
            (Holder(Anything()), "Holder"),
        ],
        *[({None: 1}, "dict"), (within_itself(), "list"), (Holder(within_itself()), "Holder"), (1j, "complex")],
        *[(Holder(math.nan), ""), (math.inf, ""), (Holder(2**63), ""), (Holder(SURROGATE), ""), ({SURROGATE: 1}, "")],
        *[(nested(101), ""), (SURROGATE, "")],
    ],
    "item": [
        *[(b"x", "bytes"), (datetime(2030, 1, 1, tzinfo=UTC), "datetime"), (date(2030, 1, 1), "date"), ({1}, "set")],
        *[(Anything(), "Anything"), (Holder(1), "Holder"), (1j, "complex"), (Decimal(1), "Decimal"), (len, "builtin")],
        *[
            ({1: "x"}, "int"),
            ({"a": [{None: 1}]}, "null"),
            ([1, [b"x"]], "bytes"),
            ({"a": {"b": Colour.RED}}, "Colour"),
        ],
        *[(math.nan, ""), ([math.inf], ""), ({"a": -math.inf}, ""), ([2**63], ""), ({"a": -(2**63) - 1}, "")],
        *[(SURROGATE, ""), ([SURROGATE], ""), ({SURROGATE: 1}, ""), ({"a": [{SURROGATE: 1}]}, "")],
        *[(within_itself(), ""), (nested(101), ""), ({"a": nested(100)}, "")],
    ],
}
CASES = [(kind, value, found) for kind, cases in WRONG.items() for value, found in cases]


def put(s: Session, kind: str, key: Any, value: object) -> None:
    if kind == "item":
        s[key] = value  # type: ignore[assignment]  # that is the point
    else:
        getattr(s, f"put_{kind}")(key, value)


def assert_untouched(s: Session, stored: StoredSession, counted: CountingStore) -> None:
    """Nothing was changed in the session, nor will anything be written."""
    assert dict(s) == {"k": "before", "n": 1, "cart": ["apple"]}
    assert s.status is Status.UNMODIFIED
    s.save()
    assert counted.taken() == ["find"]
    assert stored.now() == stored.record


@pytest.mark.parametrize(("kind", "value", "found"), CASES, ids=[f"{kind}-{n}" for n, (kind, _, _) in enumerate(CASES)])
@pytest.mark.parametrize("key", ["k", "new"])
def test_a_value_that_does_not_fit_is_refused_and_the_session_stays_as_it_was(
    manager: SessionManager,
    stored: StoredSession,
    counted: CountingStore,
    key: str,
    kind: str,
    value: object,
    found: str,
) -> None:
    with manager.session(stored.token) as s:
        with pytest.raises((SessionTypeError, ValueError)) as caught:
            put(s, kind, key, value)
        error = caught.value
        assert repr(key) in str(error)
        assert isinstance(error, SessionTypeError) == bool(found)
        if isinstance(error, SessionTypeError):
            assert isinstance(error, TypeError)
            assert error.key == key
            assert error.wanted
            assert found in error.found
        assert_untouched(s, stored, counted)


def test_bytes_that_do_not_lie_in_one_piece_are_taken_or_refused(
    manager: SessionManager, stored: StoredSession
) -> None:
    with manager.session(stored.token) as s:
        try:
            s.put_bytes("k", memoryview(b"abcdef")[::2])  # type: ignore[arg-type]  # beyond what the type promises
        except (SessionTypeError, ValueError):
            assert s.get_string("k") == "before"
        else:
            assert s.get_bytes("k") == b"ace"


@pytest.mark.parametrize("value", ["HTTPStatus.OK", "type('Int', (int,), {})(7)"])
def test_an_int_of_a_class_of_its_own_is_an_int(value: str) -> None:
    # In a process of its own, which can be stopped if it does not come back.
    program = f"""
from http import HTTPStatus
from dynamostore import MemoryStore
from session import SessionManager
with SessionManager(MemoryStore()).session(None) as s:
    value = {value}
    s.put_int("n", value)
    s["m"] = [value]
    s.increment("n", value)
    assert s["m"] == [int(value)]
    assert s.get_int("n") == 2 * value
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=5, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize(("key", "found"), [(None, "null"), (7, "int"), (b"k", "bytes"), (SURROGATE, "")], ids=repr)
def test_a_key_that_is_none_is_refused_and_the_session_stays_as_it_was(
    manager: SessionManager, stored: StoredSession, counted: CountingStore, kind: str, key: Any, found: str
) -> None:
    good: dict[str, object] = {"string": "x", "int": 7, "float": 1.5, "bool": True, "bytes": b"x", "item": 1}
    with manager.session(stored.token) as s:
        with pytest.raises((SessionTypeError, ValueError)) as caught:
            put(s, kind, key, good.get(kind, datetime(2030, 1, 1, tzinfo=UTC)))
        assert isinstance(caught.value, SessionTypeError) == bool(found)
        assert_untouched(s, stored, counted)


@pytest.mark.parametrize(
    ("key", "by", "error"),
    [
        ("n", True, SessionTypeError),
        ("n", 1.0, SessionTypeError),
        ("n", "1", SessionTypeError),
        ("n", None, SessionTypeError),
        ("n", 2**63, ValueError),
        ("n", 2**63 - 1, ValueError),
        ("new", -(2**63) - 1, ValueError),
        ("k", 1, SessionTypeError),
        ("cart", 1, SessionTypeError),
        (None, 1, SessionTypeError),
        (SURROGATE, 1, ValueError),
    ],
)
def test_an_increment_that_cannot_be_is_refused_and_the_session_stays_as_it_was(
    manager: SessionManager, stored: StoredSession, counted: CountingStore, key: Any, by: Any, error: type[Exception]
) -> None:
    with manager.session(stored.token) as s:
        with pytest.raises(error):
            s.increment(key, by)
        assert_untouched(s, stored, counted)


SPOILS: dict[str, tuple[object, type[Exception]]] = {
    "no JSON": (Anything(), SessionTypeError),
    "bytes": (b"x", SessionTypeError),
    "NaN": (math.nan, ValueError),
    "a lone surrogate": (SURROGATE, ValueError),
    "int keys": ({1: 2}, SessionTypeError),
    "an int of 65 bits": (2**64, ValueError),
    "itself": (None, ValueError),
}


@pytest.mark.parametrize(("value", "error"), SPOILS.values(), ids=SPOILS)
def test_a_list_that_is_spoilt_in_place_is_refused_on_leaving_and_the_store_stays_as_it_was(
    manager: SessionManager, stored: StoredSession, counted: CountingStore, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match="'cart'"), manager.session(stored.token) as s:
        cart: Any = s["cart"]
        cart.append(cart if value is None else value)
    assert counted.taken() == ["find"]
    assert stored.now() == stored.record


def test_a_session_can_be_shown_whatever_was_put_into_its_lists(manager: SessionManager, stored: StoredSession) -> None:
    shown = []
    with pytest.raises(SessionTypeError), manager.session(stored.token) as s:
        cart: Any = s["cart"]
        cart.append(Anything())
        shown += [repr(s), s.status]
    assert shown == ["<Session modified>", Status.MODIFIED]


def test_keys_that_would_be_one_in_json_are_refused(manager: SessionManager, stored: StoredSession) -> None:
    with manager.session(stored.token) as s:
        s.put_object("scores", {1: "one", 2: "two"})
        assert s.get_object("scores", dict[int, str]) == {1: "one", 2: "two"}
        with pytest.raises(ValueError, match="'scores'"):
            s.put_object("scores", [{1: "one", "1": "another"}])
        assert s.get_object("scores", dict[int, str]) == {1: "one", 2: "two"}
