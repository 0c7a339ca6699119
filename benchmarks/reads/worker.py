"""Measure the packages that PYTHONPATH names; a script, so that it can measure those of another checkout.

Prints a line for each case: its name, and the CPU time of one call in nanoseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dynamostore import MemoryStore
from session import SessionManager

_BLOCK_NS = 100_000_000
_AT_A_TIME = 50


def cases() -> dict[str, Callable[[], object]]:
    """Return the cases by name."""
    manager = SessionManager(MemoryStore())
    with manager.session(None) as s:
        s.update({f"key{n}": f"value {n}" for n in range(10)})
        s.put_int("n", 1)
    token = s.token
    get = manager.load(token).get_string

    def getters() -> None:
        # Ten, so that the call of this function weighs little.
        get("key0")
        get("key1")
        get("key2")
        get("key3")
        get("key4")
        get("key5")
        get("key6")
        get("key7")
        get("key8")
        get("key9")

    def read() -> None:
        with manager.session(token) as s:
            s.get_int("n")

    def change() -> None:
        with manager.session(token) as s:
            s.put_int("n", s.get_int("n") + 1)

    return {"ten getters": getters, "a request that reads a key": read, "a read-modify-write": change}


def main() -> None:
    for name, act in cases().items():
        act()
        calls, begun = 0, time.process_time_ns()
        while (spent := time.process_time_ns() - begun) < _BLOCK_NS:
            for _ in range(_AT_A_TIME):
                act()
            calls += _AT_A_TIME
        print(f"{name}\t{spent / calls}")


if __name__ == "__main__":
    main()
