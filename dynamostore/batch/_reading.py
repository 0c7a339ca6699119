"""`Lines`: reading and decompressing a file line by line. Its memory is bounded, whatever the file contains."""

from __future__ import annotations

import zlib
from collections import deque
from typing import BinaryIO, Final, Protocol

from dynamostore._texts import quoted

__all__ = ["GZIP", "MAX_LINE", "LineTooLongError", "Lines", "shortened"]

MAX_LINE: Final = 1 << 22
"""The longest line, in bytes.

An item has at most 400 KB. JSON takes up to 6 bytes for a control character, and 9 for an empty string in a list.
"""

GZIP: Final = 31
"""zlib's name for the gzip format, with the largest window."""

_PIECE: Final = 1 << 18
_SAID: Final = 200


class LineTooLongError(ValueError):
    """A line is longer than the line of any item can be."""

    def __init__(self) -> None:
        super().__init__(f"the line is longer than {MAX_LINE:,} bytes, so it is not a record")


class Lines:
    """The lines of *file*. Call `advance`, then read `line` and `previous`.

    Local variables never hold a line, because lines contain tokens and data, and tracebacks show locals.
    `advance` raises `LineTooLongError`, and `EOFError` or `zlib.error` if a compressed file is damaged.
    """

    __slots__ = ("_begun", "_compressed", "_file", "_gzipped", "_member", "_ready", "_rest", "line", "previous")

    def __init__(self, file: BinaryIO, *, gzipped: bool) -> None:
        self._file = file
        self._gzipped = gzipped
        self._compressed = b""
        self._member: _Decompressor | None = None
        self._begun = False
        self._ready: deque[bytes] = deque()
        self._rest = b""
        self.line = b""
        """The line that `advance` read."""
        self.previous = b""
        """The line before it."""

    def advance(self) -> bool:
        """Read the next line. Return False at the end of the file."""
        while not self._ready:
            if self._read():
                continue
            if not self._rest:
                return False
            self.previous, self.line, self._rest = self.line, self._rest, b""
            break
        else:
            self.previous, self.line = self.line, self._ready.popleft() + b"\n"
        if len(self.line) > MAX_LINE:
            raise LineTooLongError
        return True

    def _read(self) -> bool:
        """Read one more piece of the file. Return False at the end of the file."""
        before = len(self._rest)
        if self._gzipped:
            if not self._decompress():
                return False
        else:
            self._rest += self._file.read(_PIECE)
            if len(self._rest) == before:
                return False
        if self._rest.find(b"\n", before) >= 0:
            self._ready.extend(self._rest.split(b"\n"))
            self._rest = self._ready.pop()
        elif len(self._rest) > MAX_LINE:
            raise LineTooLongError
        return True

    def _decompress(self) -> bool:
        if not self._compressed:
            self._compressed = self._file.read(_PIECE)
        filled = bool(self._compressed)
        if self._member is None:
            if self._begun:
                # gzip allows zeros after the last member, as padding.
                self._compressed = self._compressed.lstrip(b"\0")
            if not self._compressed:
                return filled
            self._member, self._begun = zlib.decompressobj(GZIP), True
        before, at_the_end = len(self._rest), not filled
        self._rest += self._member.decompress(self._compressed, _PIECE)
        if self._member.eof:
            self._compressed, self._member = self._member.unused_data, None
        elif at_the_end and len(self._rest) == before:
            raise EOFError("the compressed data is cut off")
        else:
            self._compressed = self._member.unconsumed_tail
        return True


class _Decompressor(Protocol):
    """The type that `zlib.decompressobj` returns, which has no public name."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def shortened(error: Exception) -> str:
    """Return the message of *error*, shortened and with control characters escaped: a file may have written parts of it."""
    return quoted(str(error), _SAID)
