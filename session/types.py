"""`JSONValue`: the type of the values in a session. `JSONInput`: the type of values that you may put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, TypeAlias, TypeVar

__all__ = ["JSONArray", "JSONInput", "JSONItems", "JSONValue"]

T_co = TypeVar("T_co", covariant=True)

JSONValue: TypeAlias = bool | int | float | str | list["JSONValue"] | dict[str, "JSONValue"] | None
"""A JSON value: the type of every value that a session holds."""


class JSONArray(Protocol[T_co]):
    """A sequence that becomes a list: a list, a tuple, or any other ``Sequence`` except bytes-like objects.

    Type checkers treat ``bytes`` as a ``Sequence[int]``. This protocol excludes it: ``bytes`` accepts only bytes in
    ``__contains__``, and ``memoryview`` has no ``index`` before Python 3.14. From 3.14 on, only the session refuses a
    ``memoryview``, when you assign it.
    """

    def __contains__(self, value: object, /) -> bool: ...

    def __getitem__(self, index: int, /) -> T_co: ...

    def __iter__(self) -> Iterator[T_co]: ...

    def __len__(self) -> int: ...

    def __reversed__(self) -> Iterator[T_co]: ...

    @property
    def index(self) -> Callable[..., int]:
        """The ``index`` method of a sequence."""


class JSONItems(Protocol):
    """An argument of ``update`` with keys and values: a mapping, or any object with ``keys()`` and ``[]``."""

    def keys(self) -> Iterable[str]:
        """Return the keys."""

    def __getitem__(self, key: str, /) -> JSONInput: ...


# `list` and `dict` are listed although the protocols cover them: mypy checks the items of a literal only against these.
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
"""A value that you may put into a session: a `JSONValue`, or a sequence or mapping of them (stored as a list or dict)."""
