"""Sends what we send to each server, and prints where it answers in another way: ``python -m tests.conformance``."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.backends import missing

from .cases import GROUPS
from .report import news, read_page, render, write_page
from .running import Outcome, run
from .sending import SERVERS, running


def main() -> int:
    """Run all cases against the servers, and return the exit status: 1 if a server is not as on record."""
    there = (*SERVERS, *(["endpoint"] if "DYNAMOSTORE_TEST_ENDPOINT" in os.environ else []))
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--server", action="append", choices=there, help="only this one; may be repeated")
    parser.add_argument("--update", action="store_true", help="bring docs/reference/conformance.md up to date")
    options = parser.parse_args()
    began = time.monotonic()
    results: dict[str, list[Outcome]] = {}
    record = read_page()
    unexpected: list[str] = []
    for name in options.server or there:
        if reason := missing(name):
            print(reason, file=sys.stderr)
            continue
        with running(name) as server:
            outcomes = run(server, [case for cases in GROUPS.values() for case in cases])
        print(render(name, outcomes), flush=True)
        if name in SERVERS:
            results[name] = outcomes
            unexpected += news(name, outcomes, record)
    print(f"\n{time.monotonic() - began:.0f} seconds")
    if options.update:
        write_page(results)
        return 0
    if unexpected:
        print(
            "\nNot as on record in docs/reference/conformance.md (make conformance UPDATE=1):", *unexpected, sep="\n  "
        )
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
