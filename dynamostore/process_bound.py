"""`ProcessBound`: a base class for objects that must not be pickled or copied."""

from __future__ import annotations

from typing import ClassVar, NoReturn

__all__ = ["ProcessBound"]


class ProcessBound:
    """A base class for objects with connections, locks or secrets.

    ``pickle``, ``copy.copy`` and ``copy.deepcopy`` raise `TypeError`. The message says what to do *instead*, and shows
    nothing of the object. A subclass that can be copied defines ``__reduce__``.

    >>> import pickle
    >>> class Connection(ProcessBound, instead="open one in each process"):
    ...     pass
    >>> pickle.dumps(Connection())
    Traceback (most recent call last):
    TypeError: Connection belongs to its process and cannot be pickled or copied: open one in each process
    """

    __slots__ = ()

    _instead: ClassVar[str] = "make one in each process"

    def __init_subclass__(cls, *, instead: str = "") -> None:
        super().__init_subclass__()
        if instead:
            cls._instead = instead

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"{name} belongs to its process and cannot be pickled or copied: {self._instead}")
