"""Values that are stored in another type than is asked for: told, never taken for missing, and left where they are."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec
import pytest

from dynamostore import MemoryStore
from session import CorruptSessionError, SessionManager, SessionTypeError, Status

from .fakes import StoredSession, assert_discreet

SECRET = "what nobody is to know"


GETTERS = ["string", "int", "float", "bool", "bytes", "time"]
ZERO = {"string": "", "int": 0, "float": 0.0, "bool": False, "bytes": b"", "time": None}
WANTED = {"string": "str", "int": "int", "float": "float", "bool": "bool", "bytes": "bytes", "time": "datetime"}
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)

# A value as it is stored, and what each getter makes of it; the getters that are not here refuse it.
FITS: dict[str, dict[str, object]] = {
    "null": {},
    "true": {"bool": True},
    "false": {"bool": False},
    "0": {"int": 0, "float": 0.0},
    "-1": {"int": -1, "float": -1.0},
    "9223372036854775807": {"int": 2**63 - 1, "float": 2.0**63},
    "-9223372036854775808": {"int": -(2**63), "float": -(2.0**63)},
    "9223372036854775808": {"float": 2.0**63},
    "100000000000000000000": {"float": 1e20},
    "-100000000000000000000": {"float": -1e20},
    "1" + "0" * 400: {},
    "1.0": {"float": 1.0},
    "-2.5": {"float": -2.5},
    "1e308": {"float": 1e308},
    '""': {"string": "", "bytes": b""},
    '"7"': {"string": "7"},
    '"true"': {"string": "true", "bytes": b"\xb6\xbb\x9e"},
    '"/w=="': {"string": "/w==", "bytes": b"\xff"},
    '"_w=="': {"string": "_w=="},
    '"/w"': {"string": "/w"},
    '"/w=\\n="': {"string": "/w=\n="},
    '"é==="': {"string": "é==="},
    '"2030-01-01T12:00:00Z"': {"string": "2030-01-01T12:00:00Z", "time": NOON},
    '"2030-01-01T12:00:00.000000999Z"': {"string": "2030-01-01T12:00:00.000000999Z", "time": NOON},
    '"2030-01-01T12:00:00"': {"string": "2030-01-01T12:00:00"},
    '"2030-01-01"': {"string": "2030-01-01"},
    '"2030-02-30T12:00:00Z"': {"string": "2030-02-30T12:00:00Z"},
    '"2030-01-01T12:00:60Z"': {"string": "2030-01-01T12:00:60Z"},
    '"2030-01-01T12:00:00+24:00"': {"string": "2030-01-01T12:00:00+24:00"},
    '"2030-01-01t12:00:00z"': {"string": "2030-01-01t12:00:00z"},
    '"0000-01-01T00:00:00Z"': {"string": "0000-01-01T00:00:00Z"},
    '"\uff12030-01-01T12:00:00Z"': {"string": "\uff12030-01-01T12:00:00Z"},
    '"1893499200"': {"string": "1893499200"},
    "[]": {},
    "[1]": {},
    "{}": {},
    '{"int":1}': {},
}


def having(manager: SessionManager, memory: MemoryStore, value: str) -> StoredSession:
    return StoredSession(manager, memory, b'{"data":{"k":%s},"deadline":8102534735004839040}' % value.encode())


@pytest.mark.parametrize("getter", GETTERS)
@pytest.mark.parametrize("value", FITS, ids=lambda value: value[:40].encode("ascii", "backslashreplace").decode())
def test_a_value_of_another_type_is_told_and_never_taken_for_missing(
    manager: SessionManager, memory: MemoryStore, value: str, getter: str
) -> None:
    stored = having(manager, memory, value)
    fits = FITS[value]
    with manager.session(stored.token) as s:
        for method in (f"get_{getter}", f"pop_{getter}"):
            for arguments in ((), (None,), ("default",)):
                if getter in fits:
                    if method.startswith("get"):
                        assert getattr(s, method)("k", *arguments) == fits[getter]
                    continue
                with pytest.raises(SessionTypeError) as caught:
                    getattr(s, method)("k", *arguments)
                error = caught.value
                assert (error.key, error.wanted) == ("k", WANTED[getter])
                assert error.found
                assert str(error) == f"session key 'k': wanted {error.wanted}, found {error.found}"
                assert "k" in s
        assert s.status is Status.UNMODIFIED
    assert stored.now() == stored.record


@pytest.mark.parametrize("getter", GETTERS)
def test_only_what_is_missing_is_zero(manager: SessionManager, stored: StoredSession, getter: str) -> None:
    with manager.session(stored.token) as s:
        for method in (f"get_{getter}", f"pop_{getter}"):
            found = getattr(s, method)("missing")
            assert (found, type(found)) == (ZERO[getter], type(ZERO[getter]))
            assert getattr(s, method)("missing", None) is None
        assert s.get_object("missing", Holder) is None
        assert s.status is Status.UNMODIFIED


# Objects


@dataclass
class Holder:
    content: object


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Node:
    next: Node | None = None


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True):
    side: float


@dataclass
class Painted:
    colour: Colour


OBJECTS: dict[str, tuple[str, Any]] = {
    "an int for a string": ("7", str),
    "null for a dataclass": ("null", Holder),
    "a list for a dataclass": ("[]", Painted),
    "a member is missing": ("{}", Painted),
    "an enum": (f'"{SECRET}"', Colour),
    "an enum within": (f'{{"colour":"{SECRET}"}}', Painted),
    "a literal": (f'"{SECRET}"', Literal["a", "b"]),
    "a tag": (f'{{"type":"{SECRET}"}}', Circle | Square),
    "a time": (f'"{SECRET}"', datetime),
    "bytes": (f'"{SECRET}"', bytes),
    "a decimal": (f'"{SECRET}"', Decimal),
    "a list of ints": (f'[1,"{SECRET}"]', list[int]),
    "a dict of ints": (f'{{"a":"{SECRET}"}}', dict[str, int]),
    "an int beyond a float": ("1" + "0" * 400, float),
}


@pytest.mark.parametrize(("value", "kind"), OBJECTS.values(), ids=OBJECTS)
def test_an_object_that_does_not_fit_is_told_without_its_values(
    manager: SessionManager, memory: MemoryStore, value: str, kind: Any
) -> None:
    stored = having(manager, memory, value)
    with manager.session(stored.token) as s:
        for method in (s.get_object, s.pop_object):
            with pytest.raises(SessionTypeError) as caught:
                method("k", kind)
            assert caught.value.key == "k"
            assert caught.value.wanted
            assert caught.value.found
            assert "'k'" in str(caught.value)
            assert_discreet(caught.value, SECRET)
            assert "k" in s
        assert s.status is Status.UNMODIFIED
    assert stored.now() == stored.record


def test_an_object_however_deep_is_read_or_told(manager: SessionManager, memory: MemoryStore) -> None:
    stored = having(manager, memory, "null")
    for depth in range(100, 1100, 7):
        stored.put(
            b'{"data":{"k":%s%s},"deadline":8102534735004839040}' % (b'{"next":' * depth + b"null", b"}" * depth)
        )
        try:
            with manager.session(stored.token) as s:
                assert isinstance(s.get_object("k", Node), Node)
        except SessionTypeError as error:
            assert "'k'" in str(error)
        except CorruptSessionError as error:
            assert error.reason == "nested too deeply"
        assert stored.now() == stored.record
