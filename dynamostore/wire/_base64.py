"""Base64 of large values by pybase64, if it is installed. It uses SIMD instructions and validates as strictly as msgspec.

msgspec handles small values faster itself, because it does not have to call from C into Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict, TypeVar, cast, get_type_hints

import msgspec

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["LARGE", "LARGEST", "LARGEST_REPLY", "is_fast", "item_reader", "with_base64"]

T = TypeVar("T")

LARGE: Final = 4096
"""The size in bytes from which pybase64 is faster, for a value to send or for a reply."""

LARGEST: Final = 90 * 1024
"""The largest value for pybase64, in bytes.

Its text stays below 128 KiB. For larger blocks, malloc asks the system for memory each time.
"""

LARGEST_REPLY: Final = 124 * 1024
"""The largest reply for pybase64, in bytes: it holds a value of `LARGEST` and some small ones."""


def _find() -> ModuleType | None:
    try:
        import pybase64
    except ImportError:
        return None
    # Without its C extension, pybase64 uses the standard library, which is slower than msgspec.
    return pybase64 if "C extension active" in pybase64.get_version() else None


_pybase64: Final = _find()

is_fast: Final = _pybase64 is not None


class _ReadAsBytes(type):
    def __instancecheck__(cls, value: object) -> bool:
        return type(value) is bytes


class _Binary(metaclass=_ReadAsBytes):
    """A type for which msgspec calls `_read`. The metaclass makes msgspec accept the bytes that `_read` returns."""


class _AttributeValue(TypedDict, total=False):
    """`dynamostore.client.AttributeValue`, whose binary values are read by `_read`."""

    S: str
    N: str
    B: _Binary
    BOOL: bool
    NULL: bool
    M: Mapping[str, _AttributeValue]
    L: Sequence[_AttributeValue]
    SS: Sequence[str]
    NS: Sequence[str]
    BS: Sequence[_Binary]


def _read(kind: type, value: object) -> bytes:
    assert _pybase64 is not None
    assert kind is _Binary
    if type(value) is not str:
        raise TypeError("expected base64")
    decoded: bytes = _pybase64.b64decode(value, None, True)
    return decoded


def item_reader(reply: type[T]) -> Callable[[bytes], T] | None:
    """Return a decoder from JSON to *reply*, a TypedDict with an ``Item``. None if pybase64 is not installed."""
    if not is_fast:
        return None
    fields: dict[str, object] = {name: NotRequired[kind] for name, kind in get_type_hints(reply).items()}
    fields["Item"] = NotRequired[Mapping[str, _AttributeValue]]
    alike = TypedDict(reply.__name__, fields)  # type: ignore[misc]  # its fields are only known at run time
    decode = msgspec.json.Decoder(alike, dec_hook=_read).decode
    return cast("Callable[[bytes], T]", decode)  # it returns dicts of the same shape as *reply*


def with_base64(arguments: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return the *arguments* of a call, with the large binary values in ``arguments[name]`` already encoded as JSON."""
    # Every write runs this, large or not, so keep the steps few.
    try:
        values: dict[str, Any] = arguments[name]  # type: ignore[assignment]  # any other type is caught below
        for key, value in values.items():
            data = value.get("B")
            if data is not None and LARGE <= len(data) <= LARGEST and type(data) is bytes:
                values = {**values, key: {**value, "B": _quoted(data)}}
                arguments = {**arguments, name: values}
    except (KeyError, TypeError, AttributeError):
        # The argument is missing or has a type that DynamoDB does not accept. DynamoDB will report it.
        pass
    return arguments


def _quoted(data: bytes) -> msgspec.Raw:
    assert _pybase64 is not None
    return msgspec.Raw(b'"%b"' % _pybase64.b64encode(data))
