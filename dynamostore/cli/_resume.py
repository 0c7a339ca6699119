"""`ResumeFile`: where a job goes on; written while it goes, so that it is there whatever ends the process."""

from __future__ import annotations

import time
from pathlib import Path

from dynamostore.hidden import Hidden
from dynamostore.private_files import read_private, write_private

__all__ = ["ResumeFile"]

_EVERY = 1.0


class ResumeFile:
    """The file of ``--resume-file``; without a path, nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._kept = 0.0

    def read(self) -> str | None:
        """Where to go on; None: at the beginning. `OSError` if it could not be written later."""
        if self.path is None:
            return None
        try:
            text = read_private(self.path).decode().strip()
        except FileNotFoundError:
            # That it can't be written is better known now than in an hour.
            write_private(self.path, None, new=self._new)
            return None
        except UnicodeDecodeError:
            raise ValueError(f"{self.path} is no resume file") from None
        if not text:
            raise ValueError(f"{self.path} is empty, and so no resume file: to begin anew, delete it")
        return text

    def keep(self, token: str | None) -> None:
        """Remember *token*, from time to time."""
        place = Hidden(token)
        del token
        if self.path is not None and place.reveal() is not None and time.monotonic() - self._kept >= _EVERY:
            self.write(place.reveal() or "")
            self._kept = time.monotonic()

    def remove(self) -> None:
        """The job is done. (A file that was no use is left alone: who knows what it is.)"""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def write(self, token: str) -> None:
        """The job ended early, here."""
        line = Hidden(f"{token}\n".encode())
        del token
        if self.path is not None:
            write_private(self.path, line, new=self._new)

    @property
    def _new(self) -> Path:
        """A file beside it. It is to hold keys of the table, so only this user can read it."""
        assert self.path is not None
        return self.path.with_name(f"{self.path.name}.new")
