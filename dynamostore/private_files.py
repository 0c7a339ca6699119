"""Files that hold tokens or data: made for one user's eyes, never made or read through somebody else's name or link.

Export files, their notes and resume files lie in directories that others may write to, ``/tmp`` say. There, a name may be
taken before this process uses it: by a symbolic link, a hard link, a FIFO, or a file that another user owns and keeps open.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from dynamostore.hidden import Hidden

__all__ = ["check_private", "create_private", "open_private", "publish", "read_only", "read_private", "write_private"]

# O_NONBLOCK: to open a FIFO does not wait for its other end. What Windows lacks is 0 there.
_SAFE: Final = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
# What O_NOFOLLOW says of a link (FreeBSD: EMLINK), and open() of a socket or a FIFO without a reader.
_NO_FILE: Final = frozenset((errno.ELOOP, errno.EMLINK, errno.ENXIO))
# What link() says where it is not supported.
_NO_LINKS: Final = frozenset(
    (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.EINVAL)
)
_MOST: Final = 1 << 24
_TRIES: Final = 10


def open_private(path: Path) -> BinaryIO:
    """Open a file for reading and writing, and create it if it is missing. Call `check_private` before you use what is in it.

    Raises `PermissionError` if *path* is a link or no regular file.
    """
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            return os.fdopen(_open(path, os.O_RDWR), "r+b")
        with suppress(FileExistsError):
            return os.fdopen(_open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL), "r+b")
    raise _refusal(path, "keeps appearing and disappearing")


def check_private(file: BinaryIO, path: Path) -> None:
    """Raise `PermissionError` unless the open *file* is this user's alone; make it readable for nobody else.

    It must have one name, and not be writable for everyone.
    """
    found = os.fstat(file.fileno())
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        raise _refusal(path, f"belongs to another user (uid {found.st_uid})")
    if found.st_nlink > 1:
        raise _refusal(path, "has another name (a hard link)")
    if hasattr(os, "fchmod"):
        if found.st_mode & stat.S_IWOTH:
            raise _refusal(path, "is writable for everyone")
        os.fchmod(file.fileno(), 0o600)


def create_private(path: Path) -> BinaryIO:
    """Create a file for writing. A file of this user's that an earlier run left under this name is removed.

    Raises `PermissionError` if *path* is a link, no regular file, or another user's.
    """
    for _ in range(_TRIES):
        with suppress(FileExistsError):
            file = os.fdopen(_open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")
            if hasattr(os, "fchmod"):
                # A umask can take rights away that the owner needs.
                os.fchmod(file.fileno(), 0o600)
            return file
        with suppress(FileNotFoundError):
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                raise _refusal(
                    path, "is not a regular file" if not stat.S_ISLNK(found.st_mode) else "is a symbolic link"
                )
            if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
                raise _refusal(path, f"belongs to another user (uid {found.st_uid})")
            path.unlink()
    raise _refusal(path, "keeps appearing and disappearing")


def read_only(path: Path) -> BinaryIO:
    """Open a file for reading; raise `PermissionError` as `check_private` does."""
    file = os.fdopen(_open(path, os.O_RDONLY), "rb")
    try:
        check_private(file, path)
    except BaseException:
        file.close()
        raise
    return file


def read_private(path: Path) -> bytes:
    """Return what is in a file; raise `PermissionError` as `check_private` does, and `OSError` if it is over 16 MiB."""
    with read_only(path) as file:
        if os.fstat(file.fileno()).st_size > _MOST:
            raise OSError(errno.EFBIG, f"is larger than {_MOST:,} bytes", str(path))
        return file.read(_MOST)


def write_private(path: Path, content: Hidden[bytes] | None, *, new: Path) -> None:
    """Put *content* in the place of what is under *path*, by way of *new*; None: only find out whether *new* can be made."""
    with create_private(new) as file:
        if content is not None:
            file.write(content.reveal())
    if content is None:
        new.unlink()
    else:
        new.replace(path)


def publish(partial: Path, path: Path, *, overwrite: bool, beside: Iterable[Path] = ()) -> None:
    """Give a file its name, and remove what was kept *beside* it while it was written.

    Raises `FileExistsError` if there is another of this name by then, unless told to *overwrite*; then all stays as it was.
    """
    linked = False if overwrite else _link(partial, path)
    # In this order: killed before the last step, no tokens lie about beside a file that is whole.
    for other in beside:
        other.unlink(missing_ok=True)
    if linked:
        partial.unlink(missing_ok=True)
    else:
        partial.replace(path)


def _link(partial: Path, path: Path) -> bool:
    """Give a file another name, if nobody has it; return False if *path* is an empty file now, for want of hard links."""
    try:
        os.link(partial, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LINKS:
            raise
        # Killed before this is replaced, the empty file stays.
        os.close(_open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        return False
    return True


def _open(path: Path, flags: int) -> int:
    try:
        file = os.open(path, flags | _SAFE, 0o600)
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        raise _refusal(path, "is a symbolic link or not a regular file") from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise _refusal(path, "is not a regular file")
    return file


def _refusal(path: Path, why: str) -> PermissionError:
    return PermissionError(errno.EPERM, f"{why}, so it is not used: delete it, or choose another path", str(path))
