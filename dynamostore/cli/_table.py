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

from ._errors import for_command_line
from ._jobs import has_items
from ._meter import MeteredStore, connect, place, region_of
from ._options import Command, Option, dry_run, global_options, segments, yes
from ._state import State, WrongUsageError, printable

__all__ = ["COMMANDS"]

# Half a second apart, so two minutes, as in the store itself.
_LOOKS = 240
_INDENT = 9
_LEVELS = {"error": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}


@click.command(
    "create-table",
    cls=Command,
    short_help="Create the table if it does not exist.",
    examples=(
        ("create a table with on-demand billing and TTL", "dynamostore create-table --table sessions"),
        ("create it on a local server", "dynamostore create-table --endpoint-url http://127.0.0.1:8000"),
        ("see where it would be created", "dynamostore create-table --table sessions --dry-run"),
    ),
)
@dry_run
@yes
@global_options
@click.pass_obj
def create_table(state: State, *, dry_run: bool, yes: bool) -> None:
    """Create the table with on-demand billing and TTL if it does not exist, and wait until it is active.

    If the table exists, the command changes only one setting: it enables TTL if TTL is disabled. DynamoDB then deletes expired
    records, so the command asks first if the table has records. If the table has a different key, or TTL on another
    attribute, the command changes nothing and fails.
    """
    with connect(state) as store:
        there = _wait_for(store)
        # Leave TTL alone if the server does not support it or does not report it: then the status is UNKNOWN.
        # A global table with strong consistency does not support TTL either.
        has_ttl = there is None or (there.ttl_status != "UNKNOWN" and there.multi_region_consistency != "STRONG")
        ttl_is_off = there is not None and there.ttl is None and has_ttl
        enabled = False
        if not dry_run:
            if there is not None and ttl_is_off and _may_lose(store, there):
                about = f"{place(store)} already contains records, and its TTL is disabled"
                state.confirm("Enable TTL, so that DynamoDB deletes expired records?", about, yes=yes)
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
        said = "already exists" if there else "would be created" if dry_run else "was created"
        if there and ttl_is_off:
            said += "; its TTL would be enabled" if dry_run else "; its TTL is now enabled" if enabled else ""
        state.result({**document, "status": "done"}, f"{place(store)} {said}")


def _wait_for(store: MeteredStore) -> Description | None:
    """Wait while the table is being created, then return its description, or None if it does not exist."""
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
    """Return True if the table may have records that TTL would delete. A table with another key is refused later."""
    if there.key != f"{store.table.token} (HASH, S)":
        return False
    try:
        return has_items(store)
    except AccessDeniedError:
        return True


@click.command(
    cls=Command,
    short_help="Check that the table can be read, and measure how long it takes.",
    examples=(
        ("check the connection and measure the latency", "dynamostore ping --table sessions --region eu-central-1"),
        ("start a program only if the table can be read", "dynamostore ping --table sessions --json && ./start"),
    ),
)
@global_options
@click.pass_obj
def ping(state: State) -> None:
    """Check that the table can be read, and measure how long it takes. The only permission it needs is GetItem."""
    with connect(state) as store:
        # The first call opens the connection, so measure the second.
        store.ping()
        began = time.perf_counter()
        store.ping()
        took = (time.perf_counter() - began) * 1000
        document = {"command": "ping", "table": store.table.name, "status": "done", "milliseconds": round(took, 3)}
        state.result(document, f"{place(store)} answers in {took:.1f} ms")


@click.command(
    cls=Command,
    short_help="Find problems with the table, and show how to fix them.",
    examples=(
        ("check a table", "dynamostore doctor --table sessions"),
        ("check every record, not only a sample", "dynamostore doctor --table sessions --all --segments 4"),
        ("check in a script; the exit code is 1 if there are errors", "dynamostore doctor --table sessions --json"),
    ),
)
@click.option(
    "--sample",
    cls=Option,
    type=click.IntRange(min=0),
    default=1000,
    metavar="N",
    help="Number of records to check. Default: 1000.",
)
@click.option("--all", "everything", is_flag=True, help="Check all records.")
@click.option(
    "--role",
    type=click.Choice(get_args(Role)),
    default="web",
    help="Role whose permissions these credentials must have. Default: web.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@click.option("--verbose", "-v", is_flag=True, help="Show the checks that passed, too.")
@segments
@global_options
@click.pass_obj
def doctor(
    state: State, *, sample: int, everything: bool, role: Role, strict: bool, verbose: bool, segments: int
) -> int:
    """Check the table, its settings, your permissions and a sample of its records. Show how to fix each problem.

    The exit code is 1 if a finding is an error or, with --strict, a warning. Notes do not change it.
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
            message = for_command_line(finding.message, store.options, aws)
            shown.append(_finding(state, finding.level, f"{finding.check}: {message}"))
            if finding.advice and finding.level != "ok":
                # Do not wrap the advice, so that it can be copied.
                advice = for_command_line(finding.advice, store.options, aws)
                shown.append(Text(printable(" " * _INDENT + advice), style="dim"))
        failed = count["error"] > 0 or (strict and count["warning"] > 0)
        document = {
            "command": "doctor",
            "table": store.table.name,
            "status": "found" if failed else "done",
            "count": count,
            "findings": [
                {
                    "check": f.check,
                    "level": f.level,
                    "message": for_command_line(f.message, store.options, aws),
                    "advice": for_command_line(f.advice, store.options, aws),
                }
                for f in findings
            ],
        }
        plural = {level: level if level == "ok" or count[level] == 1 else f"{level}s" for level in _LEVELS}
        summary = ", ".join(f"{number} {plural[level]}" for level, number in count.items() if number)
        state.result(document, place(store), *shown, summary)
        return 1 if failed else 0


def _finding(state: State, level: str, message: str) -> RenderableType:
    """Return a finding: its level, then its message, wrapped in its own column on a terminal and unwrapped elsewhere."""
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
    short_help="Print the smallest IAM policy that a role needs.",
    examples=(
        ("print the policy of a web application", "dynamostore policy web --table sessions --account 123456789012"),
        ("save the policy of a nightly purge", "dynamostore policy sweeper --table sessions > sweeper.json"),
    ),
)
@click.argument("role", type=click.Choice(get_args(Role)))
@click.option("--account", default="*", metavar="NUMBER", help="AWS account number. Default: any account.")
@global_options
@click.pass_obj
def print_policy(state: State, *, role: Role, account: str) -> None:
    """Print the smallest IAM policy that ROLE needs, as JSON. The command makes no call.

    Roles: web for the application; reader for stats, export and show; sweeper for purge; administrator for all commands.
    The policy covers the configured Region, or all Regions if none is configured.
    """
    try:
        document = policy(role, table=state.table, region=region_of(state) or "*", account=account)
    except ValueError as error:
        raise WrongUsageError(str(error)) from None
    state.write(json.dumps(document, indent=2))


@click.command(
    cls=Command,
    short_help="Print a CloudFormation or Terraform template of the table.",
    examples=(
        ("save a CloudFormation template", "dynamostore template cloudformation --table sessions > sessions.yaml"),
        ("save a Terraform template", "dynamostore template terraform --table sessions > sessions.tf"),
        (
            "print a global table with a replica in another Region, for Terraform",
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
    help="Region of a replica. Repeatable. Read docs/guides/global-tables.md first. Default: no replica.",
)
@click.option(
    "--multi-region-consistency",
    "consistency",
    cls=Option,
    type=click.Choice(get_args(Consistency)),
    default="EVENTUAL",
    help="Consistency between the Regions. Default: EVENTUAL.",
)
@click.option(
    "--witness", cls=Option, metavar="REGION", help="Region of the witness, which has no replica. Requires STRONG."
)
@global_options
@click.pass_obj
def template(
    state: State, *, tool: str, replicas: tuple[str, ...], consistency: Consistency, witness: str | None
) -> None:
    """Print a CloudFormation or Terraform template of the table. The command makes no call."""
    make = cloudformation if tool == "cloudformation" else terraform
    try:
        text = make(state.table, replicas=replicas, consistency=consistency, witness=witness)
    except ValueError as error:
        raise WrongUsageError(str(error)) from None
    state.write(json.dumps({"command": "template", "tool": tool, "template": text}, indent=2) if state.json else text)


COMMANDS = (create_table, ping, doctor, print_policy, template)
