"""An export's file: written page by page, so that a killed export can resume, and verified when it is read."""

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
except ImportError:  # Windows has no fcntl, so two processes can write one file there
    fcntl = None  # type: ignore[assignment]  # the name stands for a module elsewhere

JOB = "export"
_NAMES = Table().own

Check: TypeAlias = Callable[[int, bytes, tuple[str, ...]], object]


@dataclass(frozen=True, slots=True)
class Exported:
    """The content of an export's file: the number of *records*, and the *sha256* of its lines, as in its last line."""

    path: Path
    table: str
    records: int
    sha256: str
    attributes: tuple[str, ...] = field(default=(), repr=False)
    """The names of a record's own attributes in that table."""


class _Notes(msgspec.Struct, forbid_unknown_fields=True):
    """The content of PATH.resume: how much of the partial file is valid, and the position in the table."""

    offset: int
    records: int
    sha256: str
    expired: bool
    position: str

    def __repr__(self) -> str:
        # The position contains tokens.
        return f"<_Notes {self.records} records>"


class ExportFile:
    """The file of an export in progress: ``PATH.partial`` until it is complete, with ``PATH.resume`` beside it.

    If both files exist, the export resumes: it truncates the partial file to the length in ``PATH.resume``.
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
        """Open the partial file and lock it, so that no other process writes it."""
        while True:
            file = open_private(self._partial)
            try:
                _lock(file.fileno(), self._partial)
                # If another process renamed the file before the lock, try again with a new one.
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(file.fileno()), self._partial.lstat()):
                        # The file holds tokens and data, so it must belong to this user alone.
                        check_private(file, self._partial)
                        return file
            except BaseException:
                file.close()
                raise
            file.close()

    def _tidy(self) -> None:
        """Remove the remains of an export that was killed after its file got its final name."""
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
            self.position: Position = self._resumed(table)
        else:
            # One file without the other is useless. A later run must not match an old PATH.resume with the new file.
            self._resume.unlink(missing_ok=True)
            self._file.truncate(0)
            self.position = Position.start(table, JOB, segments, self._scope)
            head = Head(FORMAT, table.name, table.own, datetime.now(UTC).replace(microsecond=0))
            self.write(msgspec.json.encode(head) + b"\n", 0)

    @property
    def records(self) -> int:
        """The number of records written."""
        return self._digest.records

    def write(self, lines: bytes, records: int) -> None:
        """Append *lines*, of which *records* are records."""
        if self.path.suffix == ".gz":
            # A separate gzip member, so that the file can be truncated after it.
            compressor = zlib.compressobj(wbits=GZIP)
            self._file.write(compressor.compress(lines) + compressor.flush())
        else:
            self._file.write(lines)
        self._digest.add(lines, records)

    def note(self) -> None:
        """Save that everything written so far is valid, together with the position."""
        self._file.flush()
        notes = _Notes(self._file.tell(), self._digest.records, self._digest.sha256, self._expired, self.position.text)
        write_private(self._resume, Hidden(msgspec.json.encode(notes)), new=self._new)

    def finish(self) -> Exported:
        """Write the last line, give the file its final name, and return what it contains."""
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
        """Close the file. If it is not finished, the export can be resumed."""
        self._file.close()

    def _resumed(self, table: Table) -> Position:
        try:
            notes = msgspec.json.decode(read_private(self._resume), type=_Notes)
            position = Position.parse(notes.position, table, JOB, self._scope)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise ValueError(f"{self._resume}: {error}; to start over, delete the file") from None
        if notes.expired != self._expired:
            raise ValueError(f"{self._partial} was started with expired={notes.expired}; to start over, delete it")
        file = self._file
        if file.seek(0, os.SEEK_END) < notes.offset:
            raise ValueError(f"{self._partial} is shorter than {self._resume} says; to start over, delete both files")
        file.truncate(notes.offset)
        file.seek(0)
        try:
            lines = Lines(file, gzipped=self.path.suffix == ".gz")
            while lines.advance():
                self._digest.add(lines.line, 0)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise ValueError(f"{self._partial} is damaged: {error}; to start over, delete it") from None
        if self._digest.sha256 != notes.sha256:
            raise ValueError(f"{self._partial} was changed since it was written; to start over, delete it")
        self._digest.records = notes.records
        file.seek(notes.offset)
        return position


def _lock(file: int, path: Path) -> None:
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(f"another process is writing {path}; wait until it has finished") from None


def _taken(path: Path) -> FileExistsError:
    return FileExistsError(f"{path} already exists; pass overwrite=True to replace it")


class _Verifier:
    """Checks a file line by line: its first line, its last line, and the checksum of all lines before the last."""

    def __init__(self, path: Path, check: Check | None) -> None:
        self.path = path
        self.head: Head | None = None
        self.lines = 0
        self._check = check
        self._last = b""
        self._sha256 = hashlib.sha256()

    def add(self, lines: Lines) -> None:
        """Check the next line."""
        if self.head is None:
            self.head = msgspec.json.decode(lines.line, type=Head)
            if self.head.dynamostore != FORMAT:
                raise ValueError(
                    f"{self.path} has format {self.head.dynamostore}, but this version of dynamostore reads {FORMAT}"
                )
            if (number := len(self.head.attributes)) != len(_NAMES):
                raise ValueError(f"{self.path} is damaged: its first line names {number} attributes, not {len(_NAMES)}")
        elif self._check is not None and self.lines > 1:
            # The previous line is a record: it is neither the first nor the last.
            self._check(self.lines - 1, self._last, self.head.attributes)
        self._sha256.update(self._last)
        self._last = lines.line
        self.lines += 1

    def end(self) -> Exported:
        """Return the file's content. Raise `ValueError` if the last line is missing or does not match the others."""
        if self.head is None or self.lines < 2:
            raise ValueError(f"{self.path} is not a complete export: it is empty")
        if not self._last.startswith(b'{"records":'):
            raise ValueError(
                f"{self.path} was cut off: its last line, with the number of records and the checksum, is missing"
            )
        end = msgspec.json.decode(self._last, type=End)
        expected = self._sha256.hexdigest(), self.lines - 2, msgspec.json.encode(end) + b"\n"
        if (end.sha256, end.records, self._last) != expected:
            raise ValueError(f"{self.path} is damaged: its content does not match its SHA-256")
        return Exported(self.path, self.head.table, end.records, end.sha256, self.head.attributes)


def verify(path: str | Path) -> Exported:
    """Check an export's file and return what it contains. Raise `ValueError` if it is incomplete or was changed."""
    return verify_lines(Path(path), None)


def verify_lines(path: Path, check: Check | None) -> Exported:
    """Check a file as `verify` does, and call *check* for each record.

    The arguments of *check* are the record's number, its line, and the attribute names from the first line.
    """
    whole = _Verifier(path, check)
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
    """Yield the records of a verified file with their numbers, without the first *skip*."""
    with _open(path) as file:
        lines = Lines(file, gzipped=path.suffix == ".gz")
        number = -2
        # Yield the previous line each time, because the first and the last line are not records.
        while lines.advance():
            number += 1
            if number > skip:
                yield number, Hidden(lines.previous)


def _open(path: Path) -> BinaryIO:
    file = path.open("rb")
    if not file.seekable():
        # Loading reads the file twice.
        file.close()
        raise OSError(errno.ESPIPE, "is not a regular file", str(path))
    return file
