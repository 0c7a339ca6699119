"""`ResumeFile`: the place to resume a job. It is written while the job runs, so that it survives a killed process."""

from __future__ import annotations

import time
from pathlib import Path

from dynamostore.hidden import Hidden
from dynamostore.private_files import read_private, write_private

__all__ = ["ResumeFile"]

_EVERY = 1.0


class ResumeFile:
    """The file of ``--resume-file``. Without a path, it saves nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._kept = 0.0

    def read(self) -> str | None:
        """Return the saved resume token, or None to start at the beginning.

        Raise `OSError` if the file could not be written later.
        """
        if self.path is None:
            return None
        try:
            text = read_private(self.path).decode().strip()
        except FileNotFoundError:
            # Find out now, not in an hour, that the file cannot be written.
            write_private(self.path, None, new=self._new)
            return None
        except UnicodeDecodeError:
            raise ValueError(f"{self.path} is not a resume file; choose another --resume-file") from None
        if not text:
            raise ValueError(f"{self.path} is empty, so it is not a resume file; to start over, delete it")
        return text

    def keep(self, token: str | None) -> None:
        """Save *token* if the last save was at least a second ago."""
        place = Hidden(token)
        del token
        if self.path is not None and place.reveal() is not None and time.monotonic() - self._kept >= _EVERY:
            self.write(place.reveal() or "")
            self._kept = time.monotonic()

    def remove(self) -> None:
        """Delete the file when the job is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def write(self, token: str) -> None:
        """Save *token*."""
        line = Hidden(f"{token}\n".encode())
        del token
        if self.path is not None:
            write_private(self.path, line, new=self._new)

    @property
    def _new(self) -> Path:
        """The path of the temporary file beside it. `write_private` makes it readable by this user only."""
        assert self.path is not None
        return self.path.with_name(f"{self.path.name}.new")
