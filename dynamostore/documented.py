"""`Documented`: an error that knows where the documentation explains it."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Final

__all__ = ["Documented", "site"]

# The packages whose errors have a heading in docs/reference/errors.md.
_PACKAGES: Final = ("dynamostore", "dynamostore.batch", "dynamostore.wire", "session")


@cache
def site() -> str | None:
    """Return the URL of the documentation, from the metadata of the installed distribution, or None."""
    from importlib import metadata

    try:
        urls = metadata.metadata("dynamostore").get_all("Project-URL") or ()
    except metadata.PackageNotFoundError:
        return None
    for label, _, url in (entry.partition(",") for entry in urls):
        # The name .invalid is reserved: it stands there until the project has an address.
        if label.strip() == "Documentation" and ".invalid" not in url:
            return str(url).strip().rstrip("/")
    return None


class _Notes:
    """``__notes__`` of an error that nobody added a note to: the link.

    Python looks at ``__notes__`` only when it prints a traceback, so raising an error costs nothing more.
    """

    def __get__(self, error: object, owner: type[object]) -> list[str]:
        url = error.help_url if isinstance(error, Documented) else None
        if url is None:
            raise AttributeError("__notes__")
        # `add_note` appends to this list.
        notes: list[str] = vars(error).setdefault("__notes__", [f"Help: {url}"])
        return notes


class Documented:
    """A mixin for exceptions: `help_url`, which a traceback shows, too."""

    __slots__ = ()

    if not TYPE_CHECKING:  # there, BaseException says what it is
        __notes__ = _Notes()

    @property
    def help_url(self) -> str | None:
        """The URL that explains the error; None if the installed distribution names no documentation."""
        url = site()
        if url is None:
            return None
        for kind in type(self).__mro__:
            if any(getattr(sys.modules.get(package), kind.__name__, None) is kind for package in _PACKAGES):
                return f"{url}/reference/errors.html#{kind.__name__.lower()}"
        return None
