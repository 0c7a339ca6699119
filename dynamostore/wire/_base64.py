"""Base64 of large values by pybase64, where it is installed: SIMD instructions, and the validation of msgspec.

A small value msgspec itself reads and writes faster, for it needs no call from C into Python.
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
"""From how many bytes on pybase64 is faster, of a value that is sent or of a reply."""

LARGEST: Final = 90 * 1024
"""To how many bytes of a value: its text stays below 128 KiB, from where on malloc asks the system for memory each time."""

LARGEST_REPLY: Final = 124 * 1024
"""To how many bytes of a reply: a value of `LARGEST` and some small ones."""


def _find() -> ModuleType | None:
    try:
        import pybase64
    except ImportError:
        return None
    # Without its extension in C it is the standard library's, and slower than msgspec.
    return pybase64 if "C extension active" in pybase64.get_version() else None


_pybase64: Final = _find()

is_fast: Final = _pybase64 is not None


class _ReadAsBytes(type):
    def __instancecheck__(cls, value: object) -> bool:
        return type(value) is bytes


class _Binary(metaclass=_ReadAsBytes):
    """What msgspec asks `_read` for; what it then has is bytes, as the metaclass tells it."""


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
    """Return what reads *reply*, a TypedDict with an ``Item``, from JSON as msgspec does; None without pybase64."""
    if not is_fast:
        return None
    fields: dict[str, object] = {name: NotRequired[kind] for name, kind in get_type_hints(reply).items()}
    fields["Item"] = NotRequired[Mapping[str, _AttributeValue]]
    alike = TypedDict(reply.__name__, fields)  # type: ignore[misc]  # made of another at run time
    decode = msgspec.json.Decoder(alike, dec_hook=_read).decode
    return cast("Callable[[bytes], T]", decode)  # its dicts are like *reply*, whose type is known before run time only


def with_base64(arguments: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return *arguments* of a call with the large values in the one called *name* as the JSON that they are going to be."""
    # In as few steps as can be: this is on the way of every write, large or not.
    try:
        values: dict[str, Any] = arguments[name]  # type: ignore[assignment]  # if it is none, that is seen below
        for key, value in values.items():
            data = value.get("B")
            if data is not None and LARGE <= len(data) <= LARGEST and type(data) is bytes:
                values = {**values, key: {**value, "B": _quoted(data)}}
                arguments = {**arguments, name: values}
    except (KeyError, TypeError, AttributeError):
        # Not there, or not what DynamoDB takes.
        pass
    return arguments


def _quoted(data: bytes) -> msgspec.Raw:
    assert _pybase64 is not None
    return msgspec.Raw(b'"%b"' % _pybase64.b64encode(data))
