"""`TypedAccess`: the typed getters, putters and pops, over three primitives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Final, Literal, TypeAlias, TypeVar, overload

from dynamostore.hidden import Hidden, clears_frames

from . import values
from .types import JSONValue

__all__ = ["TypedAccess"]

D = TypeVar("D")
E = TypeVar("E")
K = TypeVar("K")
T = TypeVar("T")
V = TypeVar("V")


class _Missing(Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
Missing: TypeAlias = Literal[_Missing.MISSING]


@clears_frames(
    "get_string",
    "pop_string",
    "get_int",
    "pop_int",
    "get_float",
    "pop_float",
    "get_bool",
    "pop_bool",
    "get_bytes",
    "pop_bytes",
    "get_time",
    "pop_time",
    "get_object",
    "pop_object",
)
class TypedAccess(ABC):
    """``get_``, ``put_`` and ``pop_`` for string, int, float, bool, bytes, time and object.

    A getter of a missing key returns the zero value of its type (None for time and object), or *default* if
    one is given, of whatever type. A value of another type raises `SessionTypeError`, which names the key,
    what was asked for and what is there; null is of no type. ``pop_`` returns what ``get_`` would and removes
    the key, or raises and leaves it. ``put_`` refuses what JSON cannot say, and the session stays as it was:
    `SessionTypeError` for a value of another type, `ValueError` for one out of range.

    >>> from dynamostore import MemoryStore
    >>> from session import SessionManager
    >>> with SessionManager(MemoryStore()).session(None) as s:
    ...     s.put_int("visits", 1)
    ...     s.get_int("visits"), s.get_int("clicks"), s.get_int("clicks", default=None), s.pop_int("visits")
    (1, 0, None, 1)
    """

    __slots__ = ()

    @abstractmethod
    def _peek(self, key: str) -> JSONValue | Missing: ...

    def _followed(self, key: str, value: JSONValue) -> JSONValue:  # noqa: ARG002 (others have it)
        """Return the *value* of *key* as it is now, if the app can have changed what it was made from."""
        return value

    @abstractmethod
    def _put(self, key: str, value: Hidden[JSONValue]) -> None: ...

    @abstractmethod
    def _drop(self, key: str) -> None: ...

    def _get(self, key: str, convert: Callable[[str, JSONValue], V], default: D) -> V | D:
        value = self._peek(key)
        return default if value is MISSING else convert(key, value)

    def _pop(self, key: str, convert: Callable[[str, JSONValue], V], default: D) -> V | D:
        value = self._peek(key)
        if value is MISSING:
            return default
        converted = convert(key, value)
        self._drop(key)
        return converted

    # string

    @overload
    def get_string(self, key: str) -> str: ...
    @overload
    def get_string(self, key: str, default: D) -> str | D: ...
    def get_string(self, key: str, default: object = "") -> object:
        """The str under *key*; ``""``, or *default*, if there is none."""
        return self._get(key, values.to_string, default)

    def put_string(self, key: str, value: str) -> None:
        """Set *key* to a str; `ValueError` if it has a lone surrogate."""
        held = Hidden(value)
        del value
        self._put(key, values.converted(values.from_string, key, held))

    @overload
    def pop_string(self, key: str) -> str: ...
    @overload
    def pop_string(self, key: str, default: D) -> str | D: ...
    def pop_string(self, key: str, default: object = "") -> object:
        """What `get_string` returns, and the key is removed."""
        return self._pop(key, values.to_string, default)

    # int

    @overload
    def get_int(self, key: str) -> int: ...
    @overload
    def get_int(self, key: str, default: D) -> int | D: ...
    def get_int(self, key: str, default: object = 0) -> object:
        """The int under *key*; ``0``, or *default*, if there is none. A bool is no int."""
        return self._get(key, values.to_int, default)

    def put_int(self, key: str, value: int) -> None:
        """Set *key* to an int; `ValueError` beyond signed 64 bits."""
        held = Hidden(value)
        del value
        self._put(key, values.converted(values.from_int, key, held))

    @overload
    def pop_int(self, key: str) -> int: ...
    @overload
    def pop_int(self, key: str, default: D) -> int | D: ...
    def pop_int(self, key: str, default: object = 0) -> object:
        """What `get_int` returns, and the key is removed."""
        return self._pop(key, values.to_int, default)

    # float

    @overload
    def get_float(self, key: str) -> float: ...
    @overload
    def get_float(self, key: str, default: D) -> float | D: ...
    def get_float(self, key: str, default: object = 0.0) -> object:
        """The float under *key*; ``0.0``, or *default*, if there is none. An int reads as a float."""
        return self._get(key, values.to_float, default)

    def put_float(self, key: str, value: float) -> None:
        """Set *key* to a float; `ValueError` for a NaN or an infinity."""
        held = Hidden(value)
        del value
        self._put(key, values.converted(values.from_float, key, held))

    @overload
    def pop_float(self, key: str) -> float: ...
    @overload
    def pop_float(self, key: str, default: D) -> float | D: ...
    def pop_float(self, key: str, default: object = 0.0) -> object:
        """What `get_float` returns, and the key is removed."""
        return self._pop(key, values.to_float, default)

    # bool

    @overload
    def get_bool(self, key: str) -> bool: ...
    @overload
    def get_bool(self, key: str, default: D) -> bool | D: ...
    def get_bool(self, key: str, default: object = False) -> object:
        """The bool under *key*; ``False``, or *default*, if there is none."""
        return self._get(key, values.to_bool, default)

    def put_bool(self, key: str, value: bool) -> None:
        """Set *key* to a bool."""
        held = Hidden(value)
        del value
        self._put(key, values.converted(values.from_bool, key, held))

    @overload
    def pop_bool(self, key: str) -> bool: ...
    @overload
    def pop_bool(self, key: str, default: D) -> bool | D: ...
    def pop_bool(self, key: str, default: object = False) -> object:
        """What `get_bool` returns, and the key is removed."""
        return self._pop(key, values.to_bool, default)

    # bytes

    @overload
    def get_bytes(self, key: str) -> bytes: ...
    @overload
    def get_bytes(self, key: str, default: D) -> bytes | D: ...
    def get_bytes(self, key: str, default: object = b"") -> object:
        """The bytes under *key*; ``b""``, or *default*, if there is none. Kept as padded base64, as in SCS."""
        return self._get(key, values.to_bytes, default)

    def put_bytes(self, key: str, value: bytes) -> None:
        """Set *key* to bytes."""
        held = Hidden(value)
        del value
        self._put(key, values.converted(values.from_bytes, key, held))

    @overload
    def pop_bytes(self, key: str) -> bytes: ...
    @overload
    def pop_bytes(self, key: str, default: D) -> bytes | D: ...
    def pop_bytes(self, key: str, default: object = b"") -> object:
        """What `get_bytes` returns, and the key is removed."""
        return self._pop(key, values.to_bytes, default)

    # time

    @overload
    def get_time(self, key: str) -> datetime | None: ...
    @overload
    def get_time(self, key: str, default: D) -> datetime | D: ...
    def get_time(self, key: str, default: object = None) -> object:
        """The datetime under *key*, aware, with the offset it was put with; None, or *default*, if there is none.

        Kept as RFC 3339, as in SCS; a nanosecond that Go wrote is cut off here and stays in the session.
        """
        return self._get(key, values.to_time, default)

    def put_time(self, key: str, value: datetime) -> None:
        """Set *key* to an aware datetime; `ValueError` for a naive one. An offset with seconds becomes UTC."""
        held = Hidden(value)
        del value
        self._put(key, values.converted(values.from_time, key, held))

    @overload
    def pop_time(self, key: str) -> datetime | None: ...
    @overload
    def pop_time(self, key: str, default: D) -> datetime | D: ...
    def pop_time(self, key: str, default: object = None) -> object:
        """What `get_time` returns, and the key is removed."""
        return self._pop(key, values.to_time, default)

    # object

    @overload
    def get_object(self, key: str, type: type[T]) -> T | None: ...
    # Containers by themselves, so that an empty one gets its type from the first argument.
    @overload
    def get_object(self, key: str, type: type[list[E]], default: list[E]) -> list[E]: ...
    @overload
    def get_object(self, key: str, type: type[dict[K, V]], default: dict[K, V]) -> dict[K, V]: ...
    @overload
    def get_object(self, key: str, type: type[set[E]], default: set[E]) -> set[E]: ...
    @overload
    def get_object(self, key: str, type: type[T], default: D) -> T | D: ...
    def get_object(self, key: str, type: type[T], default: object = None) -> object:
        """The object under *key*, a new one each time; None, or *default*, if there is none.

        *type* is a dataclass, TypedDict, attrs class, msgspec.Struct, or another class that ``msgspec.convert`` takes.
        Raises `SessionTypeError` if what is there does not fit, and says where.

        >>> from dataclasses import dataclass
        >>> from dynamostore import MemoryStore
        >>> from session import SessionManager
        >>> @dataclass
        ... class User:
        ...     name: str
        ...     age: int
        >>> with SessionManager(MemoryStore()).session(None) as s:
        ...     s.put_object("user", User("Ada", 36))
        ...     s.get_object("user", User)
        User(name='Ada', age=36)
        """
        return self._get(key, lambda k, value: values.to_object(k, self._followed(k, value), type), default)

    def put_object(self, key: str, value: object) -> None:
        """Set *key* to an object, as ``msgspec.to_builtins`` has it: nested JSON, readable by anybody.

        What is stored is the object as it is now: it is converted, and to change it later changes nothing in the session.
        Not the gob that SCS's PutObject writes; Go reads it as a map.
        """
        held = Hidden(value)
        del value
        self._put(key, values.converted(values.from_object, key, held))

    @overload
    def pop_object(self, key: str, type: type[T]) -> T | None: ...
    @overload
    def pop_object(self, key: str, type: type[list[E]], default: list[E]) -> list[E]: ...
    @overload
    def pop_object(self, key: str, type: type[dict[K, V]], default: dict[K, V]) -> dict[K, V]: ...
    @overload
    def pop_object(self, key: str, type: type[set[E]], default: set[E]) -> set[E]: ...
    @overload
    def pop_object(self, key: str, type: type[T], default: D) -> T | D: ...
    def pop_object(self, key: str, type: type[T], default: object = None) -> object:
        """What `get_object` returns, and the key is removed."""
        return self._pop(key, lambda k, value: values.to_object(k, self._followed(k, value), type), default)
