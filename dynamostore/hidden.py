"""Keep secrets out of stack frames, whose local variables error trackers record: `Hidden` and `clear_frames`.

A function that does I/O or calls the app's code must hold a secret as a `Hidden`, or in an object whose repr hides it. A
function that only computes may hold it in clear text. If it raises, its caller clears the frame with `clear_frames`.
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

# Flags of code objects: generator, coroutine, iterable coroutine, async generator.
_CAN_WAIT: Final = 0x20 | 0x80 | 0x100 | 0x200


class Hidden(Generic[T_co]):
    """Hold a secret value, which the repr does not show.

    Call `reveal` inside the expression that needs the value: a local variable would hold it in clear text again. A `Hidden`
    cannot be pickled.

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
        """Return the value."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Hidden(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Hidden value cannot be pickled, as that would write the secret in clear text")


def clear_frames(error: BaseException) -> None:
    """Clear the local variables of this library's functions in the tracebacks of *error*, its causes and its contexts.

    Functions that are still running keep their variables. So do generators and coroutines, which may have caught the error
    and may continue.

    >>> from dynamostore import items
    >>> try:
    ...     items.check_token(7)
    ... except TypeError as error:
    ...     clear_frames(error)
    """
    for frame in _frames(error):
        code = frame.f_code
        # A generator expression cannot catch an error, so it does not continue.
        goes_on = code.co_flags & _CAN_WAIT and code.co_name != "<genexpr>"
        if not goes_on and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
            try:
                frame.clear()
            except RuntimeError:
                continue  # the frame is still running


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Iterate over the frames of *error*, its causes and contexts. Drop suppressed UnicodeErrors, which contain the text."""
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
    """Decorate a class so that the frames of these *methods* are cleared when they raise.

    For methods that take secrets and are not awaited. It decorates the class, not each method, because type checkers lose
    information about a decorated method.

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
    """Decorate a function so that its frames are cleared when it raises. See `clears_frames`."""

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
    """Return True if *function* is decorated with `clearing`, so that it is not a coroutine function."""
    return getattr(function, "__code__", None) is _CODE
