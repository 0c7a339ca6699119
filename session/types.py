"""`JSONValue`: what a session holds; `JSONInput`: what may be put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, TypeAlias, TypeVar

__all__ = ["JSONArray", "JSONInput", "JSONItems", "JSONValue"]

T_co = TypeVar("T_co", covariant=True)

JSONValue: TypeAlias = bool | int | float | str | list["JSONValue"] | dict[str, "JSONValue"] | None
"""What JSON can say, and so what a session can hold."""


class JSONArray(Protocol[T_co]):
    """A sequence that becomes a list: a list, a tuple, any other ``Sequence`` but `bytes` and its like.

    (``bytes`` is a ``Sequence[int]`` as well, so a type checker could not tell it from others. It asks only for bytes in ``in``,
    and ``memoryview`` has no ``index``.)
    """

    def __contains__(self, value: object, /) -> bool: ...

    def __getitem__(self, index: int, /) -> T_co: ...

    def __iter__(self) -> Iterator[T_co]: ...

    def __len__(self) -> int: ...

    def __reversed__(self) -> Iterator[T_co]: ...

    @property
    def index(self) -> Callable[..., int]:
        """A sequence's method."""


class JSONItems(Protocol):
    """What has keys and values, as ``update`` takes it: a mapping, and what has as much of one as ``dict()`` asks for."""

    def keys(self) -> Iterable[str]:
        """Return the keys."""

    def __getitem__(self, key: str, /) -> JSONInput: ...


# `list` and `dict` as well, though they are an array and a mapping: mypy checks what stands in a literal only against these.
JSONInput: TypeAlias = (
    bool
    | int
    | float
    | str
    | list["JSONInput"]
    | JSONArray["JSONInput"]
    | dict[str, "JSONInput"]
    | Mapping[str, "JSONInput"]
    | None
)
"""What may be put into a session: `JSONValue`, and any sequence or mapping of such, of which it makes lists and dicts."""
