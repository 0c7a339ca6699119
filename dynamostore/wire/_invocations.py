"""The headers that tell an attempt at a call from another call: ``amz-sdk-invocation-id`` and ``amz-sdk-request``.

The SDKs send them, unsigned, and AWS's support and logs know them. No I/O, and no clock of its own.
"""

from __future__ import annotations

import os
import uuid
from itertools import count

__all__ = ["Invocations"]

# Twelve digits, as a UUID ends in; to write them in hex, or to fill them up, takes longer.
_FIRST = 100_000_000_000


class Invocations:
    """Makes the ids of one client's calls: UUIDs, no two the same.

    A random one for each call takes longer than all else that is sent with it. So there is a random base, and a count.
    The base is new each second and after a fork, for memory can be copied: by a fork, or by a snapshot of a virtual machine.

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
        """Return the lines that go with the first attempt at a call, which begins in this *second* (Unix time)."""
        # Replaced in one piece, as other threads may do so, too; to count is atomic.
        process, latest, base, number = self._latest
        if latest != second or process is not _process:
            base, number = f"amz-sdk-invocation-id: {str(uuid.uuid4())[:24]}", count(_FIRST)
            self._latest = (_process, second, base, number)
        return f"{base}{next(number)}{self._request}"

    def again(self, first: str, attempt: int) -> str:
        """Return the lines that go with an *attempt* at the call whose *first* attempt had those."""
        return first.replace("attempt=1;", f"attempt={attempt};")


# By identity: each process has its own.
_process = object()


def _begin_anew() -> None:
    global _process  # noqa: PLW0603 (what a fork copies cannot be an object of its own)
    _process = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
