"""Commands about the table itself: create-table, ping, doctor, policy, template."""

from __future__ import annotations

import json
import shlex
import time
from typing import get_args

import click
from rich.console import RenderableType
from rich.table import Table as Grid
from rich.text import Text

from dynamostore.admin import Consistency, Description, Role, cloudformation, describe, policy, terraform
from dynamostore.admin import doctor as examine
from dynamostore.errors import AccessDeniedError, TableNotFoundError

from ._errors import spoken
from ._jobs import has_items
from ._meter import MeteredStore, connect, place, region_of
from ._options import Command, Option, dry_run, everywhere, segments, yes
from ._state import State, WrongUsageError, printable

__all__ = ["COMMANDS"]

# For two minutes, as the store itself does.
_LOOKS = 240
_INDENT = 9
_LEVELS = {"error": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}


@click.command(
    "create-table",
    cls=Command,
    short_help="Make the table, unless it is there.",
    examples=(
        ("make a table for sessions, on demand, with TTL", "dynamostore create-table --table sessions"),
        ("on a local server", "dynamostore create-table --endpoint-url http://127.0.0.1:8000"),
        ("see where it would be made", "dynamostore create-table --table sessions --dry-run"),
    ),
)
@dry_run
@yes
@everywhere
@click.pass_obj
def create_table(state: State, *, dry_run: bool, yes: bool) -> None:
    """Make the table unless it is there: paid by the request, with TTL; wait until it can be used.

    Of one that is there, nothing is changed but this: TTL is turned on, if it is off. From then on DynamoDB deletes what has
    expired, so it asks before that if there are records. A table with another key, or with its TTL on another attribute, is left
    as it is, and is an error.
    """
    with connect(state) as store:
        there = _wait_for(store)
        # Of a server that has no TTL, or does not say, it is unknown; then it is not turned on either.
        # Nor is it of a global table with strong consistency, which has none.
        has_ttl = there is None or (there.ttl_status != "UNKNOWN" and there.multi_region_consistency != "STRONG")
        ttl_is_off = there is not None and there.ttl is None and has_ttl
        enabled = False
        if not dry_run:
            if there is not None and ttl_is_off and _may_lose(store, there):
                about = f"{place(store)} has records already, and its TTL is off"
                state.confirm("Turn TTL on, so that DynamoDB deletes what has expired?", about, yes=yes)
            store.create_table()
            enabled = (there is None or ttl_is_off) and describe(store).ttl == store.table.ttl
        document: dict[str, object] = {
            "command": "create-table",
            "table": store.table.name,
            "created": there is None and not dry_run,
            "ttl_enabled": enabled,
        }
        if dry_run:
            document |= {"would_create": there is None, "would_enable_ttl": there is None or ttl_is_off}
        said = "is there already" if there else "would be made" if dry_run else "is made"
        if there and ttl_is_off:
            said += "; its TTL would be turned on" if dry_run else "; its TTL is turned on now" if enabled else ""
        state.result({**document, "status": "done"}, f"{place(store)} {said}")


def _wait_for(store: MeteredStore) -> Description | None:
    """The table as it is, when it is made to the end; None: there is none."""
    try:
        there = describe(store)
        for _ in range(_LOOKS):
            if there.status != "CREATING":
                break
            store.meter.sleep(0.5)
            there = describe(store)
    except TableNotFoundError:
        return None
    return there


def _may_lose(store: MeteredStore, there: Description) -> bool:
    """Whether it may have records. (With another key it is refused anyway.)"""
    if there.key != f"{store.table.token} (HASH, S)":
        return False
    try:
        return has_items(store)
    except AccessDeniedError:
        return True


@click.command(
    cls=Command,
    short_help="Read the table once, and say how long it took.",
    examples=(
        ("whether it can be read, and how fast it answers", "dynamostore ping --table sessions --region eu-central-1"),
        ("in a script", "dynamostore ping --table sessions --json && ./start"),
    ),
)
@everywhere
@click.pass_obj
def ping(state: State) -> None:
    """Read the table once, and say how long that took; it needs no right but GetItem."""
    with connect(state) as store:
        store.ping()
        began = time.perf_counter()
        # The first one opens the connection.
        store.ping()
        took = (time.perf_counter() - began) * 1000
        document = {"command": "ping", "table": store.table.name, "status": "done", "milliseconds": round(took, 3)}
        state.result(document, f"{place(store)} answers in {took:.1f} ms")


@click.command(
    cls=Command,
    short_help="Say what is wrong with the table, and what to do.",
    examples=(
        ("all that is wrong with a table, and what to do", "dynamostore doctor --table sessions"),
        ("look at every record, not only some", "dynamostore doctor --table sessions --all --segments 4"),
        ("in a script: exit code 1 if there are errors", "dynamostore doctor --table sessions --json"),
    ),
)
@click.option(
    "--sample",
    cls=Option,
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    metavar="N",
    help="So many records are looked at.",
)
@click.option("--all", "everything", is_flag=True, help="All records are looked at.")
@click.option(
    "--role",
    type=click.Choice(get_args(Role)),
    default="web",
    show_default=True,
    help="What these credentials are for: what they may not do of it is an error.",
)
@click.option("--verbose", "-v", is_flag=True, help="Show what is well, too.")
@segments
@everywhere
@click.pass_obj
def doctor(state: State, *, sample: int, everything: bool, role: Role, verbose: bool, segments: int) -> int:
    """Examine the table, its settings and some of its records, and say what to do about what is found.

    Exit code 1 if there is an error among it; warnings and notes are none.
    """
    profile = state.where.get("profile")
    aws = f" --profile {shlex.quote(profile)}" if profile else ""
    with connect(state) as store:
        findings = examine(store, sample=None if everything else sample, segments=segments, role=role)
        count = {level: sum(finding.level == level for finding in findings) for level in _LEVELS}
        shown: list[RenderableType] = []
        for finding in sorted(findings, key=lambda finding: list(_LEVELS).index(finding.level)):
            if finding.level == "ok" and not verbose:
                continue
            shown.append(_finding(state, finding.level, f"{finding.check}: {finding.message}"))
            if finding.advice and finding.level != "ok":
                # In one piece, however long: it is there to be copied.
                advice = spoken(finding.advice, store.options, aws)
                shown.append(Text(printable(" " * _INDENT + advice), style="dim"))
        document = {
            "command": "doctor",
            "table": store.table.name,
            "status": "found" if count["error"] else "done",
            "count": count,
            "findings": [
                {
                    "check": f.check,
                    "level": f.level,
                    "message": f.message,
                    "advice": spoken(f.advice, store.options, aws),
                }
                for f in findings
            ],
        }
        plural = {level: level if level == "ok" or count[level] == 1 else f"{level}s" for level in _LEVELS}
        summary = ", ".join(f"{number} {plural[level]}" for level, number in count.items() if number)
        state.result(document, place(store), *shown, summary)
        return 1 if count["error"] else 0


def _finding(state: State, level: str, message: str) -> RenderableType:
    """What was found: wrapped beside its level on a terminal, in a line elsewhere."""
    style, said = _LEVELS[level], Text(printable(message))
    if not state.out.is_terminal:
        return Text.assemble((f"{level:{_INDENT}}", style), said)
    grid = Grid.grid()
    grid.add_column(no_wrap=True, width=_INDENT)
    grid.add_column(overflow="fold")
    grid.add_row(Text(level, style=style), said)
    return grid


@click.command(
    "policy",
    cls=Command,
    short_help="Print the least IAM policy that a role needs.",
    examples=(
        ("the rights of a web application", "dynamostore policy web --table sessions --account 123456789012"),
        ("those of a nightly purge", "dynamostore policy sweeper --table sessions > sweeper.json"),
    ),
)
@click.argument("role", type=click.Choice(get_args(Role)))
@click.option("--account", default="*", metavar="NUMBER", help="The AWS account; else any.")
@everywhere
@click.pass_obj
def print_policy(state: State, *, role: Role, account: str) -> None:
    """Print the least IAM policy that ROLE needs, as JSON, for the configured region, if any. It makes no call.

    web: the application itself. reader: stats, export and show. sweeper: purge. administrator: everything here.
    """
    try:
        document = policy(role, table=state.table, region=region_of(state) or "*", account=account)
    except ValueError as error:
        raise WrongUsageError(str(error)) from None
    state.write(json.dumps(document, indent=2))


@click.command(
    cls=Command,
    short_help="Print the table for CloudFormation or Terraform.",
    examples=(
        ("for CloudFormation", "dynamostore template cloudformation --table sessions > sessions.yaml"),
        ("for Terraform", "dynamostore template terraform --table sessions > sessions.tf"),
        (
            "for Terraform, a global table with a replica in another Region",
            "dynamostore template terraform --replica eu-west-1",
        ),
    ),
)
@click.argument("tool", type=click.Choice(["cloudformation", "terraform"]))
@click.option(
    "--replica",
    "replicas",
    cls=Option,
    multiple=True,
    metavar="REGION",
    help="Add a replica in another Region; can be repeated. Read docs/guides/global-tables.md first.",
)
@click.option(
    "--multi-region-consistency",
    "consistency",
    cls=Option,
    type=click.Choice(get_args(Consistency)),
    default="EVENTUAL",
    show_default=True,
    help="The consistency between the Regions.",
)
@click.option(
    "--witness", cls=Option, metavar="REGION", help="The Region of the witness, which has no replica; with STRONG only."
)
@everywhere
@click.pass_obj
def template(
    state: State, *, tool: str, replicas: tuple[str, ...], consistency: Consistency, witness: str | None
) -> None:
    """Print the table as a template for TOOL. It makes no call."""
    make = cloudformation if tool == "cloudformation" else terraform
    try:
        text = make(state.table, replicas=replicas, consistency=consistency, witness=witness)
    except ValueError as error:
        raise WrongUsageError(str(error)) from None
    state.write(json.dumps({"command": "template", "tool": tool, "template": text}, indent=2) if state.json else text)


COMMANDS = (create_table, ping, doctor, print_policy, template)
