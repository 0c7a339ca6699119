"""`TypedAccess`: typed ``get_``, ``put_`` and ``pop_`` methods on top of three primitives."""

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
    """Typed access to a session: ``get_``, ``put_`` and ``pop_`` for string, int, float, bool, bytes, time and object.

    - ``get_`` returns the value of a key. For a missing key it returns *default*, or the zero value of the type (None for
      time and object). It raises `SessionTypeError` if the value has another type or is null.
    - ``pop_`` returns the same as ``get_`` and removes the key. If it raises, the key stays.
    - ``put_`` sets a key. It raises `SessionTypeError` for a value of another type and `ValueError` for a value out of
      range; the session is then unchanged.

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

    def _followed(self, key: str, value: JSONValue) -> JSONValue:  # noqa: ARG002 (overridden with it)
        """Return the current value of *key*, if the app may have changed the object from which *value* was converted."""
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
        """Return the str under *key*; ``""``, or *default*, if the key is missing."""
        return self._get(key, values.to_string, default)

    def put_string(self, key: str, value: str) -> None:
        """Set *key* to a str. Raise `ValueError` if it has a lone surrogate."""
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
        """Return the int under *key*; ``0``, or *default*, if the key is missing. A bool does not count as an int."""
        return self._get(key, values.to_int, default)

    def put_int(self, key: str, value: int) -> None:
        """Set *key* to an int. Raise `ValueError` if it does not fit into signed 64 bits."""
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
        """Return the float under *key*; ``0.0``, or *default*, if the key is missing. An int is converted to a float."""
        return self._get(key, values.to_float, default)

    def put_float(self, key: str, value: float) -> None:
        """Set *key* to a float. Raise `ValueError` for a NaN or an infinity."""
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
        """Return the bool under *key*; ``False``, or *default*, if the key is missing."""
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
        """Return the bytes under *key*; ``b""``, or *default*, if the key is missing. Stored as padded base64, as in SCS."""
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
        """Return the aware datetime under *key*; None, or *default*, if the key is missing.

        It has the UTC offset with which it was put. Stored in RFC 3339 format, as in SCS. Nanoseconds that Go wrote are
        truncated to microseconds here, but stay in the session.
        """
        return self._get(key, values.to_time, default)

    def put_time(self, key: str, value: datetime) -> None:
        """Set *key* to an aware datetime. Raise `ValueError` for a naive one. An offset with seconds is converted to UTC."""
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
    # Overloads for containers, so that an empty default gets its type from the *type* argument.
    @overload
    def get_object(self, key: str, type: type[list[E]], default: list[E]) -> list[E]: ...
    @overload
    def get_object(self, key: str, type: type[dict[K, V]], default: dict[K, V]) -> dict[K, V]: ...
    @overload
    def get_object(self, key: str, type: type[set[E]], default: set[E]) -> set[E]: ...
    @overload
    def get_object(self, key: str, type: type[T], default: D) -> T | D: ...
    def get_object(self, key: str, type: type[T], default: object = None) -> object:
        """Return a new object of *type* from the value under *key*; None, or *default*, if the key is missing.

        *type* is a dataclass, TypedDict, attrs class, msgspec.Struct, or any other type that ``msgspec.convert`` supports.
        Raises `SessionTypeError` if the value does not fit; the message says which part.

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
        """Set *key* to an object, converted to JSON by ``msgspec.to_builtins``.

        The session stores the object as it is now; later changes to the object do not affect the session. Raises
        `SessionTypeError` for an object that cannot be converted. SCS's PutObject writes a gob instead; Go reads this
        object as a map.
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
