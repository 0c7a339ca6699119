"""The headers that identify a call and the number of the attempt: ``amz-sdk-invocation-id`` and ``amz-sdk-request``.

The AWS SDKs send them too, unsigned, and AWS's support and logs use them. This module does no I/O and reads no clock.
"""

from __future__ import annotations

import os
import uuid
from itertools import count

__all__ = ["Invocations"]

# Has twelve digits, like the end of a UUID. Formatting in hex or padding with zeros would take longer.
_FIRST = 100_000_000_000


class Invocations:
    """Creates the ids of one client's calls. Each is a unique UUID.

    Creating a random UUID for each call would take longer than creating the rest of the request. So each id is a random
    base and a count. A fork or a snapshot of a virtual machine copies memory, so the base is renewed each second and after
    a fork.

    >>> invocations = Invocations(attempts=4)
    >>> first = invocations.begin(1_000)
    >>> first == invocations.begin(1_000)
    False
    >>> print(invocations.again(first, 2).splitlines()[1])
    amz-sdk-request: attempt=2; max=4
    """

    __slots__ = ("_latest", "_request")

    def __init__(self, attempts: int) -> None:
        self._request = f"\r\namz-sdk-request: attempt=1; max={attempts}\r\n"
        self._latest = (_process, -1, "", count())

    def begin(self, second: int) -> str:
        """Return the header lines of the first attempt at a call that begins in this *second* (Unix time)."""
        # Other threads may replace the tuple too, so read and write it in one piece. Counting is atomic.
        process, latest, base, number = self._latest
        if latest != second or process is not _process:
            base, number = f"amz-sdk-invocation-id: {str(uuid.uuid4())[:24]}", count(_FIRST)
            self._latest = (_process, second, base, number)
        return f"{base}{next(number)}{self._request}"

    def again(self, first: str, attempt: int) -> str:
        """Return the header lines of a later *attempt*. *first* holds the lines of the first attempt."""
        return first.replace("attempt=1;", f"attempt={attempt};")


# Identifies the process: each process has a different object.
_process = object()


def _begin_anew() -> None:
    global _process  # noqa: PLW0603 (a fork copies the object, so the child must replace it)
    _process = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
