"""Explain why a source of credentials failed. Messages name files and settings, but never quote a program's output."""

from __future__ import annotations

import errno
import os
import re
from typing import Final

from ._texts import quoted

__all__ = ["is_secretive", "key_log_trouble", "reason_of", "status_of_agent", "without_file"]

_PROCESS_FAILED: Final = "the credential_process failed, or did not return valid credentials; run it by hand to see why"

_STATUS: Final = re.compile(r"non 200 response ([0-9]{3})")

# Environment variables that name a token file.
_TOKEN_FILES: Final = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")

# Errors that the user must fix in the file. Others (EMFILE, EIO) are temporary, or have another cause.
_OF_A_FILE: Final = frozenset(
    (
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EACCES,
        errno.EPERM,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EROFS,
        errno.ENOEXEC,
    )
)


def key_log_trouble(error: Exception) -> str | None:
    """Explain why Python cannot write to the file that ``SSLKEYLOGFILE`` names; None if *error* is about something else."""
    if isinstance(error, OSError) and error.filename and error.filename == os.environ.get("SSLKEYLOGFILE"):
        return (
            f"SSLKEYLOGFILE {error.filename!r} cannot be written ({error.strerror}); unset it, or name a writable file"
        )
    return None


def without_file(error: Exception) -> str | None:
    """Say which file could not be opened, and which setting names it; None if *error* is not about a file or is temporary."""
    return _about_file(error, None) if isinstance(error, OSError) and error.errno in _OF_A_FILE else None


def _about_file(error: OSError, of_profile: str | None) -> str | None:
    if not isinstance(error.filename, str):
        return None
    if (trouble := key_log_trouble(error)) is not None:
        return trouble
    name = error.filename
    settings = [variable for variable in _TOKEN_FILES if os.environ.get(variable) == name]
    if name == of_profile:
        settings.append("web_identity_token_file")
    if not settings:
        # The file may be the program of a credential_process.
        return f"the file {name!r} cannot be read or run: {error.strerror}"
    return f"the file {name!r} ({settings[0]}) cannot be read: {error.strerror}"


def reason_of(error: Exception, *, of_profile: str | None = None) -> str:
    """Explain why there are no credentials. *error* was raised by botocore, or propagated through it.

    *of_profile* is the profile's ``web_identity_token_file``.
    """
    if isinstance(error, OSError) and (said := _about_file(error, of_profile) or error.strerror):
        return said
    if _is_a_process(error):
        return _PROCESS_FAILED
    if status := status_of_agent(error):
        return f"the container's agent answered with status {status}"
    if _is_botocores(error, "BotoCoreError"):
        # These messages name only providers and profiles.
        return quoted(str(error))
    # A parser's message may quote the secret, so name only its type.
    return f"their source returned invalid data ({type(error).__name__})"


def is_secretive(error: Exception) -> bool:
    """Return True if *error* may quote the output of a source of credentials, so that it must not be chained."""
    return _is_a_process(error) or bool(status_of_agent(error)) or not _is_botocores(error, "BotoCoreError")


def status_of_agent(error: Exception) -> str:
    """Return the HTTP status with which a container's agent refused, from botocore's message; "" for another error."""
    said = _STATUS.search(str(error)) if _is_botocores(error, "CredentialRetrievalError") else None
    return said[1] if said else ""


def _is_a_process(error: Exception) -> bool:
    details = getattr(error, "kwargs", None)
    return (
        _is_botocores(error, "CredentialRetrievalError")
        and isinstance(details, dict)
        and details.get("provider") == "custom-process"
    )


def _is_botocores(error: Exception, name: str) -> bool:
    # Compare names, to avoid an import of botocore.
    return any(kind.__name__ == name for kind in type(error).__mro__)
