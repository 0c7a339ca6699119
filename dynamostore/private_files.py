"""Create and open files with tokens or data so that only their owner can read them, and never through another user's link.

Export files and resume files may be in a directory that other users can write to, such as ``/tmp``. There, another user can
take a file name before this process uses it: with a symbolic link, a hard link, a FIFO, or a file that they own and keep open.
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

# O_NONBLOCK: opening a FIFO does not wait for its other end. Flags that Windows lacks are 0.
_SAFE: Final = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
# The errors of O_NOFOLLOW for a link (FreeBSD: EMLINK), and of open() for a socket or for a FIFO without a reader.
_NO_FILE: Final = frozenset((errno.ELOOP, errno.EMLINK, errno.ENXIO))
# The errors of link() where hard links are not supported.
_NO_LINKS: Final = frozenset(
    (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.EINVAL)
)
_MOST: Final = 1 << 24
_TRIES: Final = 10


def open_private(path: Path) -> BinaryIO:
    """Open a file for reading and writing. Create it if it does not exist. Call `check_private` before you use its content.

    Raises `PermissionError` if *path* is a link or not a regular file.
    """
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            return os.fdopen(_open(path, os.O_RDWR), "r+b")
        with suppress(FileExistsError):
            return os.fdopen(_open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL), "r+b")
    raise _refusal(path, "keeps appearing and disappearing")


def check_private(file: BinaryIO, path: Path) -> None:
    """Raise `PermissionError` unless the open *file* belongs to this user only. Remove the access of other users.

    The file must have a single name, and must not be writable by everyone.
    """
    found = os.fstat(file.fileno())
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        raise _refusal(path, f"belongs to another user (uid {found.st_uid})")
    if found.st_nlink > 1:
        raise _refusal(path, "has a second name (a hard link)")
    if hasattr(os, "fchmod"):
        if found.st_mode & stat.S_IWOTH:
            raise _refusal(path, "is writable by everyone")
        os.fchmod(file.fileno(), 0o600)


def create_private(path: Path) -> BinaryIO:
    """Create a file for writing. Delete a file with this name that this user's earlier run left.

    Raises `PermissionError` if *path* is a link, is not a regular file, or belongs to another user.
    """
    for _ in range(_TRIES):
        with suppress(FileExistsError):
            file = os.fdopen(_open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")
            if hasattr(os, "fchmod"):
                # The umask may have removed access that the owner needs.
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
    """Open a file for reading. Raise `PermissionError` as `check_private` does."""
    file = os.fdopen(_open(path, os.O_RDONLY), "rb")
    try:
        check_private(file, path)
    except BaseException:
        file.close()
        raise
    return file


def read_private(path: Path) -> bytes:
    """Return the content of a file. Raise `PermissionError` as `check_private` does, and `OSError` if it is larger than 16 MiB."""
    with read_only(path) as file:
        if os.fstat(file.fileno()).st_size > _MOST:
            raise OSError(errno.EFBIG, f"is larger than {_MOST:,} bytes", str(path))
        return file.read(_MOST)


def write_private(path: Path, content: Hidden[bytes] | None, *, new: Path) -> None:
    """Replace the file *path* with *content*, through the temporary file *new*. If *content* equals None, only check that *new* can be created."""
    with create_private(new) as file:
        if content is not None:
            file.write(content.reveal())
    if content is None:
        new.unlink()
    else:
        new.replace(path)


def publish(partial: Path, path: Path, *, overwrite: bool, beside: Iterable[Path] = ()) -> None:
    """Rename the finished file *partial* to *path*, and delete the files *beside* it that were needed while it was written.

    Raises `FileExistsError`, and changes nothing, if *path* exists and *overwrite* is False.
    """
    linked = False if overwrite else _link(partial, path)
    # Delete these first: if the process is killed before the last step, no tokens are left beside a complete file.
    for other in beside:
        other.unlink(missing_ok=True)
    if linked:
        partial.unlink(missing_ok=True)
    else:
        partial.replace(path)


def _link(partial: Path, path: Path) -> bool:
    """Give *partial* the second name *path*, which must be free. Without hard links, create *path* empty and return False."""
    try:
        os.link(partial, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LINKS:
            raise
        # If the process is killed before it replaces this file, the empty file stays.
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
