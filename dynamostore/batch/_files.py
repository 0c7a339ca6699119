"""An export's file: written page by page, so that a process that is killed can go on; and read again, checked."""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeAlias

import msgspec

from dynamostore.hidden import Hidden
from dynamostore.private_files import check_private, open_private, publish, read_private, write_private
from dynamostore.table import Table

from ._lines import FORMAT, Digest, End, Head
from ._position import Position
from ._reading import GZIP, Lines, LineTooLongError, shortened

__all__ = ["ExportFile", "Exported", "read_lines", "verify", "verify_lines"]

try:
    import fcntl
except ImportError:  # Windows has none of it: there, nobody is kept from writing one file twice at once
    fcntl = None  # type: ignore[assignment]  # as it is there

JOB = "export"
_NAMES = Table().own

Check: TypeAlias = Callable[[int, bytes, tuple[str, ...]], object]


@dataclass(frozen=True, slots=True)
class Exported:
    """What is in a file: how many *records*, and the *sha256* of its lines, which its last line holds, too."""

    path: Path
    table: str
    records: int
    sha256: str
    attributes: tuple[str, ...] = field(default=(), repr=False)
    """What that table calls a record's own attributes."""


class _Notes(msgspec.Struct, forbid_unknown_fields=True):
    """Beside a file that is being written: so much of it is good, and this is where the table was left."""

    offset: int
    records: int
    sha256: str
    expired: bool
    position: str

    def __repr__(self) -> str:
        # The position has tokens in it.
        return f"<_Notes {self.records} records>"


class ExportFile:
    """A file that is being written: ``PATH.partial`` until it is whole, with ``PATH.resume`` beside it.

    What was begun before goes on: it is cut back to what was noted last.
    """

    def __init__(self, path: Path, table: Table, segments: int, scope: str, *, expired: bool, overwrite: bool) -> None:
        self.path = path
        self._scope = scope
        self._attributes = table.own
        self._expired = expired
        self._partial = path.with_name(f"{path.name}.partial")
        self._resume = path.with_name(f"{path.name}.resume")
        self._new = path.with_name(f"{path.name}.resume.new")
        self._digest = Digest()
        self._tidy()
        there = os.path.lexists(self._partial)
        self._file: BinaryIO = self._locked()
        try:
            self._begin(table, segments, there=there, overwrite=overwrite)
        except BaseException:
            self._file.close()
            raise

    def _locked(self) -> BinaryIO:
        """The partial file, which nobody else is writing."""
        while True:
            file = open_private(self._partial)
            try:
                _lock(file.fileno(), self._partial)
                # Another process may have given it its final name meanwhile.
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(file.fileno()), self._partial.lstat()):
                        # Tokens and data go into it, or are in it: it must be this user's alone.
                        check_private(file, self._partial)
                        return file
            except BaseException:
                file.close()
                raise
            file.close()

    def _tidy(self) -> None:
        """Remove what is left of an export that was killed after its file had got its name."""
        with suppress(FileNotFoundError):
            if os.path.samestat(self._partial.lstat(), self.path.lstat()):
                for path in (self._new, self._resume, self._partial):
                    path.unlink(missing_ok=True)

    def _begin(self, table: Table, segments: int, *, there: bool, overwrite: bool) -> None:
        self._overwrite = overwrite
        if os.path.lexists(self.path) and not overwrite:
            if not there:
                self._partial.unlink()
            raise _taken(self.path)
        if os.path.lexists(self._resume) and there:
            self.position = self._go_on(table)
        else:
            # One without the other is of no use, and is not to be taken for that of the file that is begun now.
            self._resume.unlink(missing_ok=True)
            self._file.truncate(0)
            self.position = Position.start(table, JOB, segments, self._scope)
            head = Head(FORMAT, table.name, table.own, datetime.now(UTC).replace(microsecond=0))
            self.write(msgspec.json.encode(head) + b"\n", 0)

    @property
    def records(self) -> int:
        """How many are written."""
        return self._digest.records

    def write(self, lines: bytes, records: int) -> None:
        """Some more lines, so many of them records."""
        if self.path.suffix == ".gz":
            # A member of its own, so that the file can be cut off after it.
            compressor = zlib.compressobj(wbits=GZIP)
            self._file.write(compressor.compress(lines) + compressor.flush())
        else:
            self._file.write(lines)
        self._digest.add(lines, records)

    def note(self) -> None:
        """What is written so far is good, and the position is where it is."""
        self._file.flush()
        notes = _Notes(self._file.tell(), self._digest.records, self._digest.sha256, self._expired, self.position.text)
        write_private(self._resume, Hidden(msgspec.json.encode(notes)), new=self._new)

    def finish(self) -> Exported:
        """The table is read to its end: write the last line, and give the file its name."""
        end = self._digest.end()
        self.write(end, 0)
        self._file.flush()
        os.fsync(self._file.fileno())
        try:
            publish(self._partial, self.path, overwrite=self._overwrite, beside=(self._new, self._resume))
        except FileExistsError:
            raise _taken(self.path) from None
        self._file.close()
        last = msgspec.json.decode(end, type=End)
        return Exported(self.path, self.position.table, last.records, last.sha256, self._attributes)

    def close(self) -> None:
        """Leave it as it is, so that the job can be resumed."""
        self._file.close()

    def _go_on(self, table: Table) -> Position:
        try:
            notes = msgspec.json.decode(read_private(self._resume), type=_Notes)
            position = Position.parse(notes.position, table, JOB, self._scope)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise ValueError(f"{self._resume}: {error}; to begin anew, delete it") from None
        if notes.expired != self._expired:
            raise ValueError(f"{self._partial} was begun with expired={notes.expired}; to begin anew, delete it")
        file = self._file
        if file.seek(0, os.SEEK_END) < notes.offset:
            raise ValueError(f"{self._partial} is shorter than {self._resume} says; to begin anew, delete both")
        file.truncate(notes.offset)
        file.seek(0)
        try:
            lines = Lines(file, gzipped=self.path.suffix == ".gz")
            while lines.advance():
                self._digest.add(lines.line, 0)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise ValueError(f"{self._partial} is damaged: {error}; to begin anew, delete it") from None
        if self._digest.sha256 != notes.sha256:
            raise ValueError(f"{self._partial} is damaged: it is not as it was written; to begin anew, delete it")
        self._digest.records = notes.records
        file.seek(notes.offset)
        return position


def _lock(file: int, path: Path) -> None:
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(f"{path} is being written by another process") from None


def _taken(path: Path) -> FileExistsError:
    return FileExistsError(f"{path} exists already: pass overwrite=True to replace it")


class _Whole:
    """What `verify` reads of a file: its first line, its last, and the checksum of what is before that."""

    def __init__(self, path: Path, check: Check | None) -> None:
        self.path = path
        self.head: Head | None = None
        self.lines = 0
        self._check = check
        self._last = b""
        self._sha256 = hashlib.sha256()

    def add(self, lines: Lines) -> None:
        """Take one more line."""
        if self.head is None:
            self.head = msgspec.json.decode(lines.line, type=Head)
            if self.head.dynamostore != FORMAT:
                raise ValueError(
                    f"{self.path} has format {self.head.dynamostore}, but this version of dynamostore reads {FORMAT}"
                )
            if (number := len(self.head.attributes)) != len(_NAMES):
                raise ValueError(f"{self.path} is damaged: its first line names {number} attributes, not {len(_NAMES)}")
        elif self._check is not None and self.lines > 1:
            # The one before this is a record's: neither the first nor the last.
            self._check(self.lines - 1, self._last, self.head.attributes)
        self._sha256.update(self._last)
        self._last = lines.line
        self.lines += 1

    def end(self) -> Exported:
        """What the file is, if its last line is right."""
        if self.head is None or self.lines < 2:
            raise ValueError(f"{self.path} is not a complete export: it is empty")
        if not self._last.startswith(b'{"records":'):
            raise ValueError(
                f"{self.path} was cut off: its last line, with the number of records and the checksum, is missing"
            )
        end = msgspec.json.decode(self._last, type=End)
        right = self._sha256.hexdigest(), self.lines - 2, msgspec.json.encode(end) + b"\n"
        if (end.sha256, end.records, self._last) != right:
            raise ValueError(f"{self.path} is damaged: its content does not match its SHA-256")
        return Exported(self.path, self.head.table, end.records, end.sha256, self.head.attributes)


def verify(path: str | Path) -> Exported:
    """Read a file to its end; `ValueError` if it is not whole, or not as it was written."""
    return verify_lines(Path(path), None)


def verify_lines(path: Path, check: Check | None) -> Exported:
    """`verify`, and *check* each record's line on the way: its number, itself, and the names in the first line."""
    whole = _Whole(path, check)
    try:
        with _open(path) as file:
            lines = Lines(file, gzipped=path.suffix == ".gz")
            while lines.advance():
                whole.add(lines)
        return whole.end()
    except LineTooLongError as error:
        raise ValueError(f"{path}, line {whole.lines + 1}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not a complete export of dynamostore: {shortened(error)}") from None
    except (EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def read_lines(path: Path, skip: int = 0) -> Iterator[tuple[int, Hidden[bytes]]]:
    """The records of a file that was verified, with their numbers, but for the first so many."""
    with _open(path) as file:
        lines = Lines(file, gzipped=path.suffix == ".gz")
        number = -2
        # Neither the first line nor the last is a record's.
        while lines.advance():
            number += 1
            if number > skip:
                yield number, Hidden(lines.previous)


def _open(path: Path) -> BinaryIO:
    file = path.open("rb")
    if not file.seekable():
        # It is read twice.
        file.close()
        raise OSError(errno.ESPIPE, "is not a regular file", str(path))
    return file
