"""Options that several commands share, and `Command`, whose help ends with examples."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import click
from click.types import OptionHelpExtra

from dynamostore.batch.segments import MAX_SEGMENTS
from dynamostore.table import Table

from ._state import State, WrongUsageError

__all__ = [
    "FILE",
    "NEW_FILE",
    "Command",
    "Group",
    "Option",
    "attributes",
    "by_digest",
    "dry_run",
    "global_options",
    "pace",
    "rate",
    "raw",
    "resume_file",
    "reveal",
    "segments",
    "yes",
]

F = TypeVar("F", bound=Callable[..., object])
Decorator: TypeAlias = Callable[[F], F]

ATTRIBUTES = tuple(field.name for field in fields(Table) if field.name != "name")


class File(click.Path):
    """The path of a file that exists or, if *new*, whose directory exists."""

    def __init__(self, *, new: bool = False) -> None:
        super().__init__(path_type=Path, exists=not new, dir_okay=False)
        self._new = new

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path. Raise `WrongUsageError`, whose message is one line, if it is not usable."""
        try:
            path = Path(os.fsdecode(super().convert(value, param, ctx)))
        except click.BadParameter as error:
            raise WrongUsageError(error.message) from None
        if self._new and not path.parent.is_dir():
            raise WrongUsageError(f"{path}: the directory {str(path.parent)!r} does not exist; create it first")
        return path


FILE = File()
NEW_FILE = File(new=True)


class Option(click.Option):
    """An option whose help omits the range of values."""

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        """Return the extra help, without the range."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


class Where(click.Option):
    """A global option: accepted before and after the command. The one after the command wins."""


class Command(click.Command):
    """A command. Its *examples* are pairs of a description and a command line."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then the global ones."""
        _sections(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples without wrapping them, so that they can be copied."""
        del ctx
        with formatter.section("Examples"):
            for number, (description, line) in enumerate(self.examples):
                formatter.write("\n" if number else "")
                formatter.write(f"  # {description}\n  {line}\n")


class Group(click.Group):
    """The program, whose help lists the commands before the options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        _sections(self, ctx, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they were added, not sorted by name."""
        del ctx
        return list(self.commands)


def _sections(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    for title, wanted in (("Options", False), ("Global options", True)):
        records = [
            param.get_help_record(ctx)
            for param in command.get_params(ctx)
            if isinstance(param, click.Option) and isinstance(param, Where) is wanted
        ]
        if rows := [record for record in records if record is not None]:
            with formatter.section(title):
                formatter.write_dl(rows)


def _note(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Store a global option in the state."""
    state = ctx.find_object(State)
    if state is None or not value:
        return
    if isinstance(value, tuple):
        state.attributes.update(attributes(value, "--attribute"))
    elif param.name == "json":
        state.json = True
    else:
        assert param.name is not None
        state.where[param.name] = str(value)


def attributes(pairs: Iterable[str], option: str) -> dict[str, str]:
    """Return *pairs* such as ``token=id`` as a dict. Raise `click.BadParameter` for any other form or name."""
    names: dict[str, str] = {}
    for pair in pairs:
        role, equals, name = pair.partition("=")
        if not equals or role not in ATTRIBUTES:
            known = ", ".join(ATTRIBUTES)
            raise click.BadParameter(
                f"{pair!r} is not of the form ROLE=NAME, where ROLE is one of {known}", param_hint=f"'{option}'"
            )
        names[role] = name
    return names


def _global_option(*names: str, help: str, **more: Any) -> Decorator[F]:
    return click.option(*names, cls=Where, expose_value=False, callback=_note, help=help, **more)


def global_options(function: F) -> F:
    """Add the global options to a command."""
    options: tuple[Decorator[F], ...] = (
        _global_option("--table", metavar="NAME", help="Table name or ARN. Default: scs_session."),
        _global_option("--region", metavar="REGION", help="AWS Region. Default: as in the AWS CLI."),
        _global_option("--profile", metavar="NAME", help="AWS profile. Default: as in the AWS CLI."),
        _global_option("--endpoint-url", metavar="URL", help="DynamoDB endpoint. Default: as in the AWS CLI."),
        _global_option(
            "--attribute",
            metavar="ROLE=NAME",
            multiple=True,
            help="Name of an attribute in the table, such as token=id. Repeatable.",
        ),
        _global_option(
            "--via",
            type=click.Choice(["wire", "boto3"]),
            help="DynamoDB client; boto3 supports HTTP proxies. Default: wire.",
        ),
        _global_option("--json", is_flag=True, help="Print one JSON document instead of text."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def rate(function: F) -> F:
    """Add ``--rate``."""
    option: Decorator[F] = click.option(
        "--rate",
        cls=Option,
        type=click.FloatRange(min=0, min_open=True),
        metavar="UNITS",
        help="Maximum capacity units per second. Default: unlimited.",
    )
    return option(function)


def segments(function: F) -> F:
    """Add ``--segments``."""
    option: Decorator[F] = click.option(
        "--segments",
        cls=Option,
        type=click.IntRange(1, MAX_SEGMENTS),
        default=1,
        metavar="N",
        help="Segments to scan in parallel, one thread each. Default: 1.",
    )
    return option(function)


def pace(function: F) -> F:
    """Add ``--segments`` and ``--rate``."""
    return segments(rate(function))


resume_file: Decorator[Callable[..., object]] = click.option(
    "--resume-file",
    type=NEW_FILE,
    metavar="FILE",
    help="Save progress in FILE, and resume from it if it exists. FILE contains table keys. Default: not saved.",
)
dry_run: Decorator[Callable[..., object]] = click.option(
    "--dry-run", is_flag=True, help="Show what would be done, and change nothing."
)
yes: Decorator[Callable[..., object]] = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
reveal: Decorator[Callable[..., object]] = click.option(
    "--reveal", is_flag=True, help="Show table keys and data instead of digests."
)
raw: Decorator[Callable[..., object]] = click.option(
    "--raw", is_flag=True, help="Use TOKEN as the table key, without hashing it."
)
by_digest: Decorator[Callable[..., object]] = click.option(
    "--digest",
    "by_digest",
    is_flag=True,
    help="TOKEN is a digest from a log or doctor. Scans the table for its record.",
)
