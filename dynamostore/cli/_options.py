"""Options that many commands have, and `Command`, whose help ends with examples."""

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
    "dry_run",
    "everywhere",
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
    """A file; it must be there, or, if it is *new*, its directory must."""

    def __init__(self, *, new: bool = False) -> None:
        super().__init__(path_type=Path, exists=not new, dir_okay=False)
        self._new = new

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As of any path; what is wrong with it is said in a line."""
        try:
            path = Path(os.fsdecode(super().convert(value, param, ctx)))
        except click.BadParameter as error:
            raise WrongUsageError(error.message) from None
        if self._new and not path.parent.is_dir():
            raise WrongUsageError(f"{path}: there is no directory {str(path.parent)!r}")
        return path


FILE = File()
NEW_FILE = File(new=True)


class Option(click.Option):
    """An option whose help leaves the range out: its text says what makes sense."""

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        """All but the range."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


class Where(click.Option):
    """An option that says which table, and where: it may stand before the command, too; the one after it counts."""


class Command(click.Command):
    """A command; its *examples* are pairs of what one does, and how it is typed."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its own first, then those of all commands."""
        _sections(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, as they are: a command that is wrapped can't be copied."""
        del ctx
        with formatter.section("Examples"):
            for number, (what, line) in enumerate(self.examples):
                formatter.write("\n" if number else "")
                formatter.write(f"  # {what}\n  {line}\n")


class Group(click.Group):
    """The program."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Commands first."""
        self.format_commands(ctx, formatter)
        _sections(self, ctx, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added, which is the one to read them in."""
        del ctx
        return list(self.commands)


def _sections(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    for title, wanted in (("Options", False), ("Options of all commands", True)):
        records = [
            param.get_help_record(ctx) for param in command.get_params(ctx) if isinstance(param, Where) is wanted
        ]
        if rows := [record for record in records if record is not None]:
            with formatter.section(title):
                formatter.write_dl(rows)


def _note(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Keep an option of all commands with the others."""
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
    """``token=id`` and the like, as a dict."""
    names: dict[str, str] = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals or ours not in ATTRIBUTES:
            known = ", ".join(ATTRIBUTES)
            raise click.BadParameter(f"{pair!r} is not NAME=NAME, the first one of {known}", param_hint=f"'{option}'")
        names[ours] = theirs
    return names


def _everywhere(*names: str, help: str, **more: Any) -> Decorator[F]:
    return click.option(*names, cls=Where, expose_value=False, callback=_note, help=help, **more)


def everywhere(function: F) -> F:
    """The options of all commands."""
    options: tuple[Decorator[F], ...] = (
        _everywhere("--table", metavar="NAME", help="The table, by name or ARN; else scs_session."),
        _everywhere("--region", metavar="REGION", help="The AWS region; else as the AWS CLI finds it."),
        _everywhere("--profile", metavar="NAME", help="A profile of the AWS configuration files."),
        _everywhere("--endpoint-url", metavar="URL", help="Another server than AWS's."),
        _everywhere(
            "--attribute",
            metavar="NAME=NAME",
            multiple=True,
            help="What an attribute is called in the table: token=id; many times.",
        ),
        _everywhere("--via", type=click.Choice(["wire", "boto3"]), help="The client; boto3 for an HTTP proxy."),
        _everywhere("--json", is_flag=True, help="One JSON document on standard output, nothing else there."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def rate(function: F) -> F:
    """How fast."""
    option: Decorator[F] = click.option(
        "--rate",
        cls=Option,
        type=click.FloatRange(min=0, min_open=True),
        metavar="UNITS",
        help="At most so many capacity units a second; else as fast as it goes.",
    )
    return option(function)


def segments(function: F) -> F:
    """How many at once."""
    option: Decorator[F] = click.option(
        "--segments",
        cls=Option,
        type=click.IntRange(1, MAX_SEGMENTS),
        default=1,
        show_default=True,
        metavar="N",
        help="So many parts of the table at once, each in a thread.",
    )
    return option(function)


def pace(function: F) -> F:
    """How fast, and how many at once."""
    return segments(rate(function))


resume_file: Decorator[Callable[..., object]] = click.option(
    "--resume-file",
    type=NEW_FILE,
    metavar="FILE",
    help="Where it goes on if FILE is there, and what it leaves if it is ended early. It holds keys of the table.",
)
dry_run: Decorator[Callable[..., object]] = click.option(
    "--dry-run", is_flag=True, help="Change nothing; say what would be done."
)
yes: Decorator[Callable[..., object]] = click.option("--yes", "-y", is_flag=True, help="Don't ask.")
reveal: Decorator[Callable[..., object]] = click.option(
    "--reveal", is_flag=True, help="Show keys and data, not only digests."
)
raw: Decorator[Callable[..., object]] = click.option(
    "--raw", is_flag=True, help="TOKEN is the table's key as it is, not a client's token to be hashed."
)
