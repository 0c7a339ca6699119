"""Python values ⇄ the JSON-native values that a session holds: pure functions, one pair a type.

A session's data is what JSON is: converting happens on the way in and on the way out, never in the data.
So a value reads the same before and after it was stored, and one that nobody touched is stored as it was.
Each function takes the key for its error's sake.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from dynamostore.instants import INT64_MAX, INT64_MIN

from ._settings import RESERVED
from .errors import SessionTypeError
from .types import JSONValue

__all__ = ["kind", "native"]

T = TypeVar("T")

MAX_DEPTH = 100

# In a message of msgspec's: types stand in backticks, values in single quotes or bare.
_QUOTED = re.compile(r"(?<=value )('.*'|-?[0-9]+)|(?<=unknown field )`.*`(?= -|$)", re.DOTALL)

# What Go's time.RFC3339 reads and writes; Python's fromisoformat alone would take much more.
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def kind(value: object) -> str:
    """The name of a value's type, for an error message."""
    return "null" if value is None else type(value).__name__


def _mismatch(key: str, wanted: str, value: object) -> SessionTypeError:
    return SessionTypeError(key=key, wanted=wanted, found=kind(value))


# Into the session


def native(key: str, value: object, depth: int = 0) -> JSONValue:
    """*value* as JSON-native values of its own: a deep copy, tuples as lists.

    Raises `SessionTypeError` for what JSON has no word for, `ValueError` for a NaN or an infinity, an int
    beyond signed 64 bits, a lone surrogate, and nesting deeper than 100.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return from_string(key, value)
    if isinstance(value, int):
        return from_int(key, value)
    if isinstance(value, float):
        return from_float(key, value)
    if depth >= MAX_DEPTH:
        raise ValueError(f"session key {key!r}: nested deeper than {MAX_DEPTH}, or within itself")
    if isinstance(value, list | tuple):
        return [native(key, part, depth + 1) for part in value]
    if isinstance(value, dict):
        return {_name(key, name): native(key, part, depth + 1) for name, part in value.items()}
    raise _mismatch(key, "a JSON value (put_bytes, put_time and put_object take more)", value)


def _name(key: str, name: object) -> str:
    if not isinstance(name, str):
        raise _mismatch(key, "str as the keys of a dict", name)
    return from_string(key, name)


def checked_key(key: object) -> str:
    """*key*, if a session can have it; else `SessionTypeError` or `ValueError`."""
    if not isinstance(key, str):
        raise SessionTypeError(
            f"a session key must be a str, not {type(key).__name__}", wanted="str", found=type(key).__name__
        )
    name = from_string(key, key)
    if name in RESERVED:
        raise ValueError(f"session key {name!r} is reserved: call {RESERVED[name]} instead")
    return name


def from_string(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise _mismatch(key, "str", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"session key {key!r}: the string has a lone surrogate, which UTF-8 cannot say") from None
    # A subclass may encode otherwise.
    return value if type(value) is str else str.__str__(value)


def from_int(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _mismatch(key, "int", value)
    if not INT64_MIN <= value <= INT64_MAX:
        raise ValueError(f"session key {key!r}: the int does not fit into signed 64 bits")
    return int(value)


def from_float(key: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _mismatch(key, "float", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"session key {key!r}: JSON has no NaN and no infinity")
    return number


def from_bool(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _mismatch(key, "bool", value)
    return value


def from_bytes(key: str, value: object) -> str:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise _mismatch(key, "bytes", value)
    return base64.b64encode(bytes(value)).decode("ascii")


def from_time(key: str, value: object) -> str:
    """RFC 3339 with the offset, ``Z`` for UTC, the fraction without trailing zeros: as Go writes it."""
    if not isinstance(value, datetime):
        raise _mismatch(key, "datetime", value)
    offset = value.utcoffset()
    if offset is None:
        raise ValueError(f"session key {key!r}: the datetime must be timezone-aware: datetime.now(UTC), say")
    if offset % timedelta(minutes=1):
        # RFC 3339 has no seconds in an offset (zoneinfo does, before there were time zones).
        try:
            value, offset = value.astimezone(UTC), timedelta(0)
        except OverflowError:
            raise ValueError(f"session key {key!r}: the datetime is outside the years 1 to 9999 in UTC") from None
    text = datetime.isoformat(value.replace(tzinfo=None))
    if "." in text:
        text = text.rstrip("0")
    if not offset:
        return text + "Z"
    sign = "-" if offset < timedelta(0) else "+"
    hours, minutes = divmod(abs(offset) // timedelta(minutes=1), 60)
    return f"{text}{sign}{hours:02}:{minutes:02}"


def from_object(key: str, value: object) -> JSONValue:
    """Any dataclass, TypedDict, attrs class or msgspec.Struct (and what they hold) as JSON values."""
    try:
        builtins: object = msgspec.to_builtins(value, str_keys=True)
        lost = _entries(msgspec.to_builtins(value)) - _entries(builtins)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise SessionTypeError(
            f"session key {key!r}: {kind(value)} cannot be made JSON: {error} (a dataclass, TypedDict, attrs class or "
            "msgspec.Struct can)",
            key=key,
            wanted="an object of JSON values",
            found=kind(value),
        ) from error
    if lost:
        raise ValueError(f"session key {key!r}: two keys of a dict, such as 1 and '1', would be one in JSON")
    return native(key, builtins)


def _entries(value: object) -> int:
    """How many entries the dicts in *value* have."""
    if isinstance(value, dict):
        return len(value) + sum(map(_entries, value.values()))
    return sum(map(_entries, value)) if isinstance(value, list | tuple) else 0


# Out of the session


def to_string(key: str, value: JSONValue) -> str:
    if not isinstance(value, str):
        raise _mismatch(key, "str", value)
    return value


def to_int(key: str, value: JSONValue) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _mismatch(key, "int", value)
    if not INT64_MIN <= value <= INT64_MAX:
        # SCS for Go writes the float 1e20 as 100000000000000000000, and cannot read that as an int either.
        raise SessionTypeError(key=key, wanted="int", found="a number beyond signed 64 bits")
    return value


def to_float(key: str, value: JSONValue) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _mismatch(key, "float", value)
    try:
        return float(value)
    except OverflowError:
        raise SessionTypeError(key=key, wanted="float", found="a number beyond a float") from None


def to_bool(key: str, value: JSONValue) -> bool:
    if not isinstance(value, bool):
        raise _mismatch(key, "bool", value)
    return value


def to_bytes(key: str, value: JSONValue) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise SessionTypeError(key=key, wanted="bytes", found="a str that is not base64") from None
    raise _mismatch(key, "bytes", value)


def to_time(key: str, value: JSONValue) -> datetime:
    """The datetime, with the offset it was put with; nanoseconds, which only Go writes, are cut off."""
    if not isinstance(value, str):
        raise _mismatch(key, "datetime", value)
    try:
        if _RFC3339.fullmatch(value):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise SessionTypeError(key=key, wanted="datetime", found="a str that is not an RFC 3339 time")


def to_object(key: str, value: JSONValue, type_: type[T]) -> T:
    name = getattr(type_, "__name__", str(type_))
    try:
        return msgspec.convert(value, type_, str_keys=True)
    except RecursionError:
        what = "it is nested too deeply"
    except (msgspec.ValidationError, ValueError) as error:
        # "Expected `int`, got `str` - at `$.age`" names types; "Invalid enum value 'x' - at …" a value, too.
        what = _QUOTED.sub("(value)", str(error))
    # Without its cause, which may show the value.
    raise SessionTypeError(f"session key {key!r}: wanted {name}: {what}", key=key, wanted=name, found=kind(value))
