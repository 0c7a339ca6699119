"""Keeps secrets out of frames: `Hidden`, and what clears the frames of an error. Error trackers record the locals of each frame.

A frame that lives while the library waits, or while the app's code runs, holds a secret as a `Hidden`, or in an object whose repr
does not show it. A function that only computes may hold it in clear. If it raises, the caller at the boundary clears it with `clear_frames`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from types import FrameType
from typing import Final, Generic, NoReturn, ParamSpec, TypeVar

__all__ = ["Hidden", "clear_frames", "clearing", "clears_frames", "is_clearing"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_OURS: Final = frozenset(("dynamostore", "session"))

# Of code objects: a generator, a coroutine, an iterable coroutine, an asynchronous generator.
_CAN_WAIT: Final = 0x20 | 0x80 | 0x100 | 0x200


class Hidden(Generic[T_co]):
    """Holds a value and does not show it: neither its repr nor its attributes' names lead to it by accident.

    Reveal it in the expression that needs it; a local that holds what was revealed is in clear again. It cannot be pickled.

    >>> token = Hidden("a token")
    >>> token
    Hidden(...)
    >>> token.reveal()
    'a token'
    """

    __slots__ = ("_value",)

    def __init__(self, value: T_co) -> None:
        self._value = value

    def reveal(self) -> T_co:
        """The value."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Hidden(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a hidden value is not pickled, which would write it down")


def clear_frames(error: BaseException) -> None:
    """Clear the locals of this library's functions in the traceback of *error*, and in those of its causes and contexts.

    Functions that have not returned yet keep their locals. So do generators and coroutines: they may have caught the error, and continue.

    >>> from dynamostore import items
    >>> try:
    ...     items.check_token(7)
    ... except TypeError as error:
    ...     clear_frames(error)
    """
    for frame in _frames(error):
        code = frame.f_code
        # What a generator expression has let pass is its end.
        goes_on = code.co_flags & _CAN_WAIT and code.co_name != "<genexpr>"
        if not goes_on and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
            try:
                frame.clear()
            except RuntimeError:
                continue  # it is running


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Iterate over the frames that *error* and what it was raised from have passed. Drop a suppressed UnicodeError: it holds the text."""
    to_do: list[BaseException | None] = [error]
    seen: set[int] = set()
    while to_do:
        each = to_do.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if each.__suppress_context__ and isinstance(each.__context__, UnicodeError):
            each.__context__ = None
        to_do += (each.__cause__, each.__context__)
        if isinstance(each, BaseExceptionGroup):
            to_do += each.exceptions
        traceback = each.__traceback__
        while traceback is not None:
            yield traceback.tb_frame
            traceback = traceback.tb_next


def clears_frames(*methods: str) -> Callable[[type[T]], type[T]]:
    """Clear the frames of *methods* of a class when they raise. They take secrets, and are not awaited.

    It decorates the class, not each method, because type checkers lose information about a decorated method.

    >>> @clears_frames("parse")
    ... class Parser:
    ...     def parse(self, secret: str) -> int:
    ...         return int(secret)
    >>> Parser().parse("7")
    7
    """

    def decorate(cls: type[T]) -> type[T]:
        for method in methods:
            setattr(cls, method, clearing(vars(cls)[method]))
        return cls

    return decorate


def clearing(function: Callable[P, R]) -> Callable[P, R]:
    """`clears_frames` for a function."""

    @wraps(function)
    def cleared(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            clear_frames(error)
            raise

    return cleared


_CODE: Final = clearing(repr).__code__


def is_clearing(function: object) -> bool:
    """Return True if *function* is one that `clearing` has made, around one that is not awaited."""
    return getattr(function, "__code__", None) is _CODE
