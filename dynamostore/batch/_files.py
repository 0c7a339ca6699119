"""An export's file: written page by page, so that a process that is killed can go on; and read again, checked."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from dynamostore.hidden import Hidden
from dynamostore.table import Table

from ._lines import FORMAT, Digest, End, Head
from ._position import Position

__all__ = ["ExportFile", "Exported", "read_lines", "verify"]

try:
    import fcntl
except ImportError:  # Windows has none of it: there, nobody is kept from writing one file twice at once
    fcntl = None  # type: ignore[assignment]  # as it is there

JOB = "export"
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_GZIP = 31
"""zlib's name for the gzip format, with the largest window."""


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
        return f"<_Notes: {self.records} records>"


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
        there = self._partial.exists()
        self._file: BinaryIO = self._locked()
        try:
            self._begin(table, segments, there=there, overwrite=overwrite)
        except BaseException:
            self._file.close()
            raise

    def _locked(self) -> BinaryIO:
        """The partial file, which nobody else is writing."""
        while True:
            # It holds tokens and data: not for everybody to read, whoever made it.
            file = os.fdopen(os.open(self._partial, os.O_RDWR | os.O_CREAT | _NOFOLLOW, 0o600), "r+b")
            _chmod(file.fileno())
            if not _lock(file.fileno()):
                file.close()
                raise FileExistsError(f"{self._partial} is being written by another process")
            # Whoever had it until now may have given it its name.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), self._partial.stat()):
                    return file
            file.close()

    def _begin(self, table: Table, segments: int, *, there: bool, overwrite: bool) -> None:
        if self.path.exists() and not overwrite:
            if not there:
                self._partial.unlink()
            raise FileExistsError(f"{self.path} is there already: overwrite=True replaces it")
        if self._resume.exists() and there:
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
            compressor = zlib.compressobj(wbits=_GZIP)
            self._file.write(compressor.compress(lines) + compressor.flush())
        else:
            self._file.write(lines)
        self._digest.add(lines, records)

    def note(self) -> None:
        """What is written so far is good, and the position is where it is."""
        self._file.flush()
        notes = _Notes(self._file.tell(), self._digest.records, self._digest.sha256, self._expired, self.position.text)
        with os.fdopen(os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NOFOLLOW, 0o600), "wb") as file:
            _chmod(file.fileno())
            file.write(msgspec.json.encode(notes))
        self._new.replace(self._resume)

    def finish(self) -> Exported:
        """The table is read to its end: write the last line, and give the file its name."""
        end = self._digest.end()
        self.write(end, 0)
        self._file.flush()
        os.fsync(self._file.fileno())
        # In this order: killed in between, it is begun anew, and no tokens lie about beside a file that is whole.
        self._new.unlink(missing_ok=True)
        self._resume.unlink(missing_ok=True)
        self._partial.replace(self.path)
        self._file.close()
        last = msgspec.json.decode(end, type=End)
        return Exported(self.path, self.position.table, last.records, last.sha256, self._attributes)

    def close(self) -> None:
        """Leave it as it is, so that the job can be resumed."""
        self._file.close()

    def _go_on(self, table: Table) -> Position:
        try:
            notes = msgspec.json.decode(self._resume.read_bytes(), type=_Notes)
            position = Position.parse(notes.position, table, JOB, self._scope)
        except (msgspec.DecodeError, ValueError) as error:
            raise ValueError(f"{self._resume}: {error}; to begin anew, delete it") from None
        if notes.expired != self._expired:
            raise ValueError(f"{self._partial} was begun with expired={notes.expired}; to begin anew, delete it")
        file = self._file
        if file.seek(0, os.SEEK_END) < notes.offset:
            raise ValueError(f"{self._partial} is shorter than {self._resume} says; to begin anew, delete both")
        file.truncate(notes.offset)
        try:
            for line in _lines(self._partial, gzipped=self.path.suffix == ".gz"):
                self._digest.add(line, 0)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{self._partial} is damaged: {error}; to begin anew, delete it") from None
        if self._digest.sha256 != notes.sha256:
            raise ValueError(f"{self._partial} is damaged: it is not as it was written; to begin anew, delete it")
        self._digest.records = notes.records
        file.seek(notes.offset)
        return position


def _lock(file: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _chmod(file: int) -> None:
    if hasattr(os, "fchmod"):
        os.fchmod(file, 0o600)


def verify(path: str | Path) -> Exported:
    """Read a file to its end; `ValueError` if it is not whole, or not as it was written."""
    path = Path(path)
    sha256 = hashlib.sha256()
    head: Head | None = None
    last = b""
    lines = 0
    try:
        for line in _lines(path, gzipped=path.suffix == ".gz"):
            if head is None:
                head = msgspec.json.decode(line, type=Head)
                if head.dynamostore != FORMAT:
                    raise ValueError(f"{path} is of format {head.dynamostore}, and this version reads {FORMAT}")
            sha256.update(last)
            last = line
            lines += 1
        if head is None or lines < 2:
            raise ValueError(f"{path} is no whole export: it is empty")
        if not last.startswith(b'{"records":'):
            raise ValueError(
                f"{path} was cut off: its last line, with the number of records and the checksum, is not there"
            )
        end = msgspec.json.decode(last, type=End)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no whole export of dynamostore's: {error}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if end.sha256 != sha256.hexdigest() or end.records != lines - 2 or last != msgspec.json.encode(end) + b"\n":
        raise ValueError(f"{path} is damaged: it is not as it was written (its SHA-256 is another)")
    return Exported(path, head.table, end.records, end.sha256, head.attributes)


def read_lines(path: Path, skip: int = 0) -> Iterator[tuple[int, Hidden[bytes]]]:
    """The records of a file that was verified, with their numbers, but for the first so many."""
    previous: Hidden[bytes] | None = None
    for number, line in enumerate(map(Hidden, _lines(path, gzipped=path.suffix == ".gz"))):
        # Neither the first line nor the last is one.
        if previous is not None and number - 1 > skip:
            yield number - 1, previous
        previous = line


def _lines(path: Path, *, gzipped: bool) -> Iterator[bytes]:
    with gzip.open(path, "rb") if gzipped else path.open("rb") as file:
        yield from file
