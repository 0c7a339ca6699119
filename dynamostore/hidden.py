"""`Hidden`: a secret that can stand in a frame. Error trackers record the locals of every frame that an exception passes."""

from __future__ import annotations

from typing import Generic, NoReturn, TypeVar

__all__ = ["Hidden"]

T = TypeVar("T")


class Hidden(Generic[T]):
    """Holds a value and does not show it: neither its repr nor its attributes' names lead to it by accident.

    Reveal it in the expression that needs it; a local that holds what was revealed is in clear again. It cannot be pickled.

    >>> token = Hidden("a token")
    >>> token
    Hidden(...)
    >>> token.reveal()
    'a token'
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """The value."""
        return self._value

    def __repr__(self) -> str:
        return "Hidden(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a hidden value is not pickled, which would write it down")
