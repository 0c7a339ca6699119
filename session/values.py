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
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard, TypeVar

import msgspec

from dynamostore.hidden import Hidden, clear_frames
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
    """Return the name of a value's type, for an error message; with its module, if that is not Python's own."""
    if value is None:
        return "null"
    found = type(value)
    return found.__name__ if found.__module__ == "builtins" else f"{found.__module__}.{found.__name__}"


def _mismatch(key: str, wanted: str, value: object) -> SessionTypeError:
    return SessionTypeError(key=key, wanted=wanted, found=kind(value))


# Into the session


def converted(how: Callable[[str, object], T], key: str, value: Hidden[object]) -> Hidden[T]:
    """Return what *how* makes of a value that is put under *key*. Where it raises, no frame shows the value."""
    try:
        return Hidden(how(key, value.reveal()))
    except BaseException as error:
        clear_frames(error)
        raise


# A proxy, such as werkzeug's LocalProxy, says by its __class__ that it is of the class of the object behind it, and isinstance
# believes it. What is not exactly of one of JSON's types is made so, or refused.


def native(key: str, value: object, depth: int = 0) -> JSONValue:
    """Return *value* as JSON-native values of its own: a deep copy; sequences as lists, mappings as dicts.

    An instance of a subclass of str, int or float, or a proxy of one or of a bool, becomes the value that it holds. Raises
    `SessionTypeError` for what JSON has no word for, and for a proxy of anything else; `ValueError` for a NaN or an infinity, an
    int beyond signed 64 bits, a lone surrogate, and nesting deeper than 100.
    """
    if value is None or value is True or value is False:
        return value
    wanted = "a JSON value (put_bytes, put_time and put_object take more)"
    if type(value) not in _EXACT:
        value = _real(key, wanted, value)
    if isinstance(value, str):
        return from_string(key, value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return from_int(key, value)
    if isinstance(value, float):
        return from_float(key, value)
    if not is_container(value):
        raise _mismatch(key, wanted, value)
    if depth >= MAX_DEPTH:
        raise ValueError(f"session key {key!r}: nested deeper than {MAX_DEPTH}, or within itself")
    if isinstance(value, Mapping):
        return {_name(key, name): native(key, part, depth + 1) for name, part in value.items()}
    return [native(key, part, depth + 1) for part in value]


def accepted(key: str, value: object) -> tuple[JSONValue, object]:
    """Return what a session keeps of *value*, and the list or dict whose later changes count, or None.

    A list or dict of nothing but JSON's own types is kept itself. Raises as `native` does.
    """
    kind = type(value)
    if (kind is list or kind is dict) and is_plain(value):
        return value, value  # type: ignore[return-value]  # it is
    copy = native(key, value)
    return copy, (value if isinstance(copy, list | dict) else None)


_EXACT = frozenset((str, int, float, list, dict, tuple))


def is_container(value: object) -> TypeGuard[Sequence[object] | Mapping[object, object]]:
    """Return True if *value* becomes a list or dict in a session: any sequence or mapping but a str and what holds bytes."""
    if isinstance(value, list | dict | tuple):
        return True
    return isinstance(value, Sequence | Mapping) and not isinstance(value, str | bytes | bytearray | memoryview)


def is_plain(value: object, depth: int = 0) -> bool:
    """Return True if *value* is made of nothing but what JSON says, exactly, so that `native` would return its equal."""
    kind = type(value)
    if kind is str:
        return _is_sayable(value)  # type: ignore[arg-type]  # mypy does not narrow by it
    if kind is int:
        return INT64_MIN <= value <= INT64_MAX  # type: ignore[operator]  # likewise
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]  # likewise
    if kind is list:
        parts: list[object] = value  # type: ignore[assignment]  # likewise
        return depth < MAX_DEPTH and all(is_plain(part, depth + 1) for part in parts)
    if kind is dict:
        named: dict[object, object] = value  # type: ignore[assignment]  # likewise
        return depth < MAX_DEPTH and all(
            type(name) is str and _is_sayable(name) and is_plain(part, depth + 1) for name, part in named.items()
        )
    return value is None or kind is bool


def _is_sayable(text: str) -> bool:
    """Return True if UTF-8 can say *text*: it has no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(key: str, name: object) -> str:
    if type(name) is not str and not isinstance(name := _real(key, "str as the keys of a dict", name), str):
        raise _mismatch(key, "str as the keys of a dict", name)
    return from_string(key, name)


def _real(key: str, wanted: str, value: object) -> object:
    """Return *value*, or the value behind it if it is a proxy of a str, int, float, bool, None, bytes or datetime.

    Raise `SessionTypeError` for another proxy, and for one with nothing behind it.
    """
    try:
        said = value.__class__
        if issubclass(type(value), said):
            return value
        # By attributes and operators that every proxy passes on, and not by str() or int(): of a member of an Enum these may be
        # its name.
        behind: Any = value  # it says itself what it is
        found: object = value
        if issubclass(said, str | bytes):
            found = behind[:]
        elif issubclass(said, bool):
            found = bool(behind)
        elif issubclass(said, int):
            found = behind.__index__()
        elif issubclass(said, float):
            found = behind.__float__()
        elif issubclass(said, datetime):
            found = _exact_time(behind)
        elif issubclass(said, type(None)):
            found = None
        if issubclass(type(found), found.__class__):
            return found
    except Exception as error:
        raise _mismatch(key, wanted, value) from error
    raise SessionTypeError(
        f"session key {key!r}: wanted {wanted}, found {kind(value)}, a proxy: pass the object itself, or a copy of it",
        key=key,
        wanted=wanted,
        found=kind(value),
    )


def checked_key(key: object) -> str:
    """*key*, if a session can have it; else `SessionTypeError` or `ValueError`."""
    if type(key) is str and key.isascii():
        name = key
    else:
        found = exact_key(key)
        if type(found) is not str:
            raise SessionTypeError(f"a session key must be a str, not {kind(key)}", wanted="str", found=kind(key))
        name = from_string(found, found)
    if name in RESERVED:
        raise ValueError(f"session key {name!r} is reserved: call {RESERVED[name]} instead")
    return name


def exact_key(key: object) -> object:
    """Return *key* as exactly a str if it is an instance of a subclass of str, or a proxy of one; else as it is."""
    if type(key) is str:
        return key
    try:
        found = _real("", "str", key)
    except SessionTypeError:
        return key
    return str.__str__(found) if isinstance(found, str) else key


def from_string(key: str, value: object) -> str:
    if type(value) is not str:
        value = _real(key, "str", value)
        if not isinstance(value, str):
            raise _mismatch(key, "str", value)
        # A subclass may encode otherwise.
        value = str.__str__(value)
    if not _is_sayable(value):
        raise ValueError(f"session key {key!r}: the string has a lone surrogate, which UTF-8 cannot say")
    return value


def from_int(key: str, value: object) -> int:
    if type(value) is not int:
        value = _real(key, "int", value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _mismatch(key, "int", value)
        value = int.__index__(value)
    if not INT64_MIN <= value <= INT64_MAX:
        raise ValueError(f"session key {key!r}: the int does not fit into signed 64 bits")
    return value


def from_float(key: str, value: object) -> float:
    if type(value) is not float:
        value = _real(key, "float", value)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _mismatch(key, "float", value)
        try:
            value = float.__float__(value) if isinstance(value, float) else float(int.__index__(value))
        except OverflowError:
            value = math.inf
    if not math.isfinite(value):
        raise ValueError(f"session key {key!r}: JSON has no NaN and no infinity")
    return value


def from_bool(key: str, value: object) -> bool:
    found = value if type(value) is bool else _real(key, "bool", value)
    if not isinstance(found, bool):
        raise _mismatch(key, "bool", value)
    return found


def from_bytes(key: str, value: object) -> str:
    found = value if type(value) is bytes else _real(key, "bytes", value)
    if not isinstance(found, bytes | bytearray | memoryview):
        raise _mismatch(key, "bytes", value)
    # Not by bytes(): a subclass may have a __bytes__ of its own. Only of a memoryview may the parts lie apart.
    content = found.tobytes() if isinstance(found, memoryview) else found
    return base64.b64encode(content).decode("ascii")


def from_time(key: str, value: object) -> str:
    """RFC 3339 with the offset, ``Z`` for UTC, the fraction without trailing zeros: as Go writes it."""
    found = _real(key, "datetime", value)
    if not isinstance(found, datetime):
        raise _mismatch(key, "datetime", value)
    # A subclass may calculate in its own way.
    time = _exact_time(found)
    offset = time.utcoffset()
    if offset is None:
        raise ValueError(f"session key {key!r}: the datetime must be timezone-aware: datetime.now(UTC), say")
    if offset % timedelta(minutes=1):
        # RFC 3339 has no seconds in an offset (zoneinfo does, before there were time zones).
        try:
            time, offset = time.astimezone(UTC), timedelta(0)
        except OverflowError:
            raise ValueError(f"session key {key!r}: the datetime is outside the years 1 to 9999 in UTC") from None
    text = datetime.isoformat(time.replace(tzinfo=None))
    if "." in text:
        text = text.rstrip("0")
    if not offset:
        return text + "Z"
    sign = "-" if offset < timedelta(0) else "+"
    hours, minutes = divmod(abs(offset) // timedelta(minutes=1), 60)
    return f"{text}{sign}{hours:02}:{minutes:02}"


def _exact_time(time: datetime) -> datetime:
    return datetime(
        *(time.year, time.month, time.day, time.hour, time.minute, time.second, time.microsecond),
        tzinfo=time.tzinfo,
        fold=time.fold,
    )


def from_object(key: str, value: object) -> JSONValue:
    """Any dataclass, TypedDict, attrs class or msgspec.Struct (and what they hold) as JSON values."""

    def plain(part: object) -> JSONValue:
        """Return what msgspec does not know, a proxy, say, as a mapping of JSON values takes it."""
        return native(key, part)

    try:
        builtins: object = msgspec.to_builtins(value, str_keys=True, enc_hook=plain)
        lost = _entries(msgspec.to_builtins(value, enc_hook=plain)) - _entries(builtins)
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
