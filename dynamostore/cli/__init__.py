"""The command line, ``dynamostore`` and ``python -m dynamostore``: parsing and printing only.

``dynamostore.batch``, ``dynamostore.admin`` and the store do the work. Install it with ``pip install 'dynamostore[cli]'``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dynamostore.hidden import Hidden

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in *arguments* and return its exit code. By default, use the arguments of the process.

    Exit codes: 0 success; 1 failure or problems found; 2 wrong usage, or the extra is not installed; 3 incomplete; 130 Ctrl-C.

    >>> main(["policy", "--help"])  # doctest: +ELLIPSIS
    Usage: dynamostore policy [OPTIONS] ...
    0
    """
    try:
        from ._app import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("click", "rich"):
            raise
        sys.stderr.write("dynamostore: the command line needs an extra: pip install 'dynamostore[cli]'\n")
        return 2
    # The arguments may contain tokens.
    given = Hidden(sys.argv[1:] if arguments is None else list(arguments))
    del arguments
    return run(given)
