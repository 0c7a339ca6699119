"""The command line, ``dynamostore`` and ``python -m dynamostore``: parsing and printing only.

What it does is done by ``dynamostore.batch``, ``dynamostore.admin`` and the store. It needs ``pip install 'dynamostore[cli]'``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dynamostore.hidden import Hidden

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that *arguments* are (None: those of the process), and return its exit code.

    0: done. 1: it failed, or something was found. 2: wrong usage, or the extra is not installed. 3: incomplete. 130: Ctrl-C.

    >>> main(["policy", "--help"])  # doctest: +ELLIPSIS
    Usage: dynamostore policy [OPTIONS] ...
    0
    """
    try:
        from ._app import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("click", "rich"):
            raise
        sys.stderr.write("dynamostore: the command line needs two more packages: pip install 'dynamostore[cli]'\n")
        return 2
    # There are tokens among them.
    given = Hidden(sys.argv[1:] if arguments is None else list(arguments))
    del arguments
    return run(given)
