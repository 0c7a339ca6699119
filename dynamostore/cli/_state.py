"""`State`: what a run of the program was told, where it prints, and how it asks."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, Any, TypeAlias

import click
from rich.console import Console, RenderableType
from rich.text import Text

from dynamostore._texts import escaped
from dynamostore.table import Table

__all__ = ["DeclinedError", "Document", "State", "WrongUsageError", "named", "printable"]

Document: TypeAlias = Mapping[str, object]


class WrongUsageError(click.ClickException):
    """What was asked for can't be done so; in a line of its own, without how a command is used."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it."""
        click.echo(f"dynamostore: {printable(self.message)}", file=file, err=True)


class DeclinedError(Exception):
    """The question was answered with no."""


@dataclass
class State:
    """The options of all commands; *where* by name."""

    where: dict[str, str] = field(default_factory=dict, repr=False)
    attributes: dict[str, str] = field(default_factory=dict)
    json: bool = False

    @cached_property
    def out(self) -> Console:
        """For what was asked for."""
        return Console(highlight=False, emoji=False)

    @cached_property
    def err(self) -> Console:
        """For everything else."""
        return Console(stderr=True, highlight=False, emoji=False)

    @property
    def table(self) -> Table:
        """The table that is meant."""
        return named(self.where.get("table"), self.attributes)

    def result(self, document: Document, *lines: RenderableType) -> None:
        """Print what was asked for: as JSON, or as *lines*."""
        if self.json:
            self.write(json.dumps(document, indent=2))
            return
        self._check()
        for line in lines:
            if isinstance(line, str):
                self.out.print(printable(line), markup=False, soft_wrap=True)
            else:
                # A line that a terminal wraps is copied in one piece; one that was wrapped before is not.
                self.out.print(line, soft_wrap=isinstance(line, Text))

    def write(self, text: str) -> None:
        """Print text as it is, on standard output."""
        self._check()
        sys.stdout.write(f"{text.rstrip()}\n")

    def _check(self) -> None:
        """What can't be printed was not done."""
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")

    def say(self, line: str, style: str = "") -> None:
        """A line on standard error."""
        if sys.stderr is not None:
            self.err.print(Text(printable(line), style=style), soft_wrap=True)

    def confirm(self, question: str, about: str, *, yes: bool) -> None:
        """Ask a question *about* a table; go on if the answer is yes; *yes*: it is given already. Without a terminal there is nobody to ask."""
        if yes:
            return
        if sys.stdin is None or not sys.stdin.isatty():
            raise WrongUsageError(
                f"{question} ({about}): there is no terminal to ask on; --yes does it unasked, --dry-run says what would be done"
            )
        self.say(about)
        if not click.confirm(printable(question), err=True):
            raise DeclinedError


def named(name: str | None, attributes: Mapping[str, str], option: str = "--table") -> Table:
    """A table by its names, as they were given."""
    try:
        return Table(**({} if name is None else {"name": name}), **attributes)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=f"'{option}'") from None


def printable(text: str) -> str:
    """*text* with what a terminal would act upon spelled out; it comes from a server, or from whoever wrote a session.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return escaped(text, keep="\n")
