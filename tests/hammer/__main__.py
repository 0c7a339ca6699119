"""Run the hammer, and say what came of it: ``python -m tests.hammer``; ends with 1 if anything was violated."""

from __future__ import annotations

import argparse
import sys

from .report import table
from .run import Settings, hammer


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hammer", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to hammer (60)")
    parser.add_argument("--processes", type=int, default=8, help="worker processes (8)")
    parser.add_argument("--threads", type=int, default=3, help="threads in each (3)")
    parser.add_argument("--attempts", type=int, default=4, help="of a client, for each call (4)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice; threads and the network have their own")
    parser.add_argument("--late-creates", action="store_true", help="show the limit that faults.py speaks of")
    parser.add_argument("--keep", action="store_true", help="leave the journals and the server's log, and say where")
    result = hammer(Settings(**vars(parser.parse_args())))
    print(table(result))
    return 1 if result.verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
