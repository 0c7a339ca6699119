"""Kill and disturb batch jobs on many records, and print what was checked; ends with 1 if anything was violated."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from dynamostore.local import CREDENTIALS, LocalDynamoDB
from tests.backends import dynalite, missing

from .run import Check, Settings, harass

MOST = 10


@contextmanager
def _server(name: str) -> Iterator[str]:
    with ExitStack() as stack:
        yield stack.enter_context(LocalDynamoDB()).url if name == "ministack" else stack.enter_context(dynalite())


def _row(check: Check) -> str:
    writers = f"{check.others:,}" if check.disturbed else "none"
    verdict = f"**{len(check.violations)} violations**" if check.violations else "equal"
    return (
        f"| {check.server} | {check.job} | {check.kind} | {writers} | {check.kills} | {check.records:,} "
        f"| {check.seconds:.1f} s | {check.memory} MB | {verdict} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.batch", description=__doc__)
    parser.add_argument("--records", type=int, default=2000, help="items in each table (2000)")
    parser.add_argument("--kills", type=int, default=5, help="how often each job is killed (5)")
    parser.add_argument("--page", type=int, default=500, help="items in a page at most (500)")
    parser.add_argument("--segments", type=int, default=4, help="segments that are read at once (4)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice; time has its own")
    parser.add_argument(
        "--servers", nargs="*", default=["ministack", "dynalite"], help="ministack and dynalite, if it is there"
    )
    arguments = vars(parser.parse_args())
    servers = arguments.pop("servers")
    settings = Settings(**arguments)
    os.environ.update(CREDENTIALS)
    checks: list[Check] = []
    print(f"{settings.records:,} records, {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}\n")
    print("| server | job | | touched by others | killed | compared | took | at most | found |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in servers:
        if reason := missing(name):
            print(reason, file=sys.stderr)
            continue
        with _server(name) as url:
            for check in harass(url, name, settings):
                checks.append(check)
                print(_row(check), flush=True)
    violations = [f"{check.server} {check.job}: {what}" for check in checks for what in check.violations]
    print(f"\n{sum(check.records for check in checks):,} items compared, {len(violations)} violations")
    print(*violations[:MOST], sep="\n")
    return 1 if violations or not checks else 0


if __name__ == "__main__":
    sys.exit(main())
