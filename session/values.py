"""Convert between Python values and the JSON values that a session holds: one pair of pure functions for each type.

A session's data contains only JSON values. Conversion happens in the putters and getters, never in the data. So a value
reads the same before and after it is stored, and an untouched value is stored unchanged. Each function takes the key for
its error message.
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

# In messages of msgspec, types are in backticks; values are in single quotes or bare.
_QUOTED = re.compile(r"(?<=value )('.*'|-?[0-9]+)|(?<=unknown field )`.*`(?= -|$)", re.DOTALL)

# The format that Go's time.RFC3339 reads and writes. Python's fromisoformat alone would accept much more.
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def kind(value: object) -> str:
    """Return the name of a value's type for an error message, with the module unless it is a built-in type."""
    if value is None:
        return "null"
    found = type(value)
    return found.__name__ if found.__module__ == "builtins" else f"{found.__module__}.{found.__name__}"


def _mismatch(key: str, wanted: str, value: object) -> SessionTypeError:
    return SessionTypeError(key=key, wanted=wanted, found=kind(value))


# Into the session


def converted(how: Callable[[str, object], T], key: str, value: Hidden[object]) -> Hidden[T]:
    """Return the result of *how*, which converts a value for *key*. If it raises, clear the value from the traceback's frames."""
    try:
        return Hidden(how(key, value.reveal()))
    except BaseException as error:
        clear_frames(error)
        raise


# A proxy, such as werkzeug's LocalProxy, has the __class__ of the object behind it, and isinstance relies on that. So every
# value whose type is not exactly a JSON type is converted or refused.


def native(key: str, value: object, depth: int = 0) -> JSONValue:
    """Return a deep copy of *value* as JSON values: sequences become lists, mappings become dicts.

    An instance of a subclass of str, int or float, or a proxy of one or of a bool, becomes the plain value. Raises
    `SessionTypeError` for a value that JSON cannot express and for a proxy of anything else. Raises `ValueError` for a NaN, an
    infinity, an int beyond signed 64 bits, a lone surrogate, or more than 100 levels of nesting.
    """
    if value is None or value is True or value is False:
        return value
    wanted = "a JSON value (for others, use put_bytes, put_time or put_object)"
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
        raise ValueError(f"session key {key!r}: nested more than {MAX_DEPTH} levels deep, or contains itself")
    if isinstance(value, Mapping):
        return {_name(key, name): native(key, part, depth + 1) for name, part in value.items()}
    return [native(key, part, depth + 1) for part in value]


def accepted(key: str, value: object) -> tuple[JSONValue, object]:
    """Return the value to keep for *value*, and the list or dict whose later changes count, or None.

    A list or dict of plain JSON values is kept itself; others are copied. Raises as `native` does.
    """
    kind = type(value)
    if (kind is list or kind is dict) and is_plain(value):
        return value, value  # type: ignore[return-value]  # is_plain checked it
    copy = native(key, value)
    return copy, (value if isinstance(copy, list | dict) else None)


_EXACT = frozenset((str, int, float, list, dict, tuple))


def is_container(value: object) -> TypeGuard[Sequence[object] | Mapping[object, object]]:
    """Return True if *value* becomes a list or dict in a session: any sequence or mapping except str and bytes-like objects."""
    if isinstance(value, list | dict | tuple):
        return True
    return isinstance(value, Sequence | Mapping) and not isinstance(value, str | bytes | bytearray | memoryview)


def is_plain(value: object, depth: int = 0) -> bool:
    """Return True if *value* consists of exact JSON types only, so that `native` would return an equal value."""
    kind = type(value)
    if kind is str:
        return _is_encodable(value)  # type: ignore[arg-type]  # mypy does not narrow by it
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
            type(name) is str and _is_encodable(name) and is_plain(part, depth + 1) for name, part in named.items()
        )
    return value is None or kind is bool


def _is_encodable(text: str) -> bool:
    """Return True if UTF-8 can encode *text*: it has no lone surrogate."""
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

    Raise `SessionTypeError` for any other proxy, and for an unbound proxy.
    """
    try:
        said = value.__class__
        if issubclass(type(value), said):
            return value
        # Use attributes and operators that every proxy forwards. Not str() or int(): for an Enum member they may differ.
        behind: Any = value  # its real type is known only from __class__
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
        f"session key {key!r}: wanted {wanted}, found {kind(value)}, a proxy; pass the object itself, or a copy of it",
        key=key,
        wanted=wanted,
        found=kind(value),
    )


def checked_key(key: object) -> str:
    """Return *key* as a plain str. Raise `SessionTypeError` or `ValueError` if a session cannot have it."""
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
    """Return *key* as a plain str if it is an instance of a subclass of str or a proxy of a str; else unchanged."""
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
        # Encode the plain str: a subclass may be encoded differently.
        value = str.__str__(value)
    if not _is_encodable(value):
        raise ValueError(f"session key {key!r}: the string has a lone surrogate, which UTF-8 cannot encode")
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
    # Not bytes(): a subclass may override __bytes__. Only a memoryview may be non-contiguous.
    content = found.tobytes() if isinstance(found, memoryview) else found
    return base64.b64encode(content).decode("ascii")


def from_time(key: str, value: object) -> str:
    """Return a datetime in RFC 3339 format as Go writes it: ``Z`` for UTC, and no trailing zeros in the fraction."""
    found = _real(key, "datetime", value)
    if not isinstance(found, datetime):
        raise _mismatch(key, "datetime", value)
    # Use a plain datetime: a subclass may override its arithmetic.
    time = _exact_time(found)
    offset = time.utcoffset()
    if offset is None:
        raise ValueError(f"session key {key!r}: the datetime must be timezone-aware; for example datetime.now(UTC)")
    if offset % timedelta(minutes=1):
        # RFC 3339 offsets have no seconds. zoneinfo has such offsets for dates before time zones were standardized.
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
    """Return a dataclass, TypedDict, attrs class or msgspec.Struct, and everything in it, as JSON values."""

    def plain(part: object) -> JSONValue:
        """Convert an object that msgspec does not know, such as a proxy."""
        return native(key, part)

    try:
        builtins: object = msgspec.to_builtins(value, str_keys=True, enc_hook=plain)
        lost = _entries(msgspec.to_builtins(value, enc_hook=plain)) - _entries(builtins)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        # An error about a part of the value names the key itself.
        reason = str(error).removeprefix(f"session key {key!r}: ")
        raise SessionTypeError(
            f"session key {key!r}: {kind(value)} cannot be converted to JSON: {reason}; use a dataclass, TypedDict, "
            "attrs class or msgspec.Struct, or for a pydantic model put_object(key, model.model_dump(mode='json'))",
            key=key,
            wanted="an object of JSON values",
            found=kind(value),
        ) from error
    if lost:
        raise ValueError(f"session key {key!r}: two keys of a dict, such as 1 and '1', would be the same key in JSON")
    return native(key, builtins)


def _entries(value: object) -> int:
    """Return the total number of entries in all dicts within *value*."""
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
        # SCS for Go writes the float 1e20 as 100000000000000000000, which Go cannot read as an int either.
        raise SessionTypeError(key=key, wanted="int", found="a number beyond signed 64 bits")
    return value


def to_float(key: str, value: JSONValue) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _mismatch(key, "float", value)
    try:
        return float(value)
    except OverflowError:
        raise SessionTypeError(key=key, wanted="float", found="a number that does not fit into a float") from None


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
    """Return the datetime, with its original offset. Nanoseconds, which only Go writes, are truncated."""
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
    except SystemError:
        # msgspec before 0.22 raises it for an int beyond a float; its cause contains the value.
        what = "the number is too large"
    except (msgspec.ValidationError, ValueError) as error:
        # "Expected `int`, got `str` - at `$.age`" names only types, but "Invalid enum value 'x' - at …" contains a value.
        what = _QUOTED.sub("(value)", str(error))
    # Do not chain the exception: it may contain the value.
    raise SessionTypeError(f"session key {key!r}: wanted {name}: {what}", key=key, wanted=name, found=kind(value))
