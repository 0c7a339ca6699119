"""`State`: the global options of a run, its output, and its questions."""

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
    """Wrong usage, reported as one line, without click's usage text."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message to standard error."""
        click.echo(f"dynamostore: {printable(self.message)}", file=file, err=True)


class DeclinedError(Exception):
    """The user answered no."""


@dataclass
class State:
    """The global options. *where* maps the names of those that locate the table to their values."""

    where: dict[str, str] = field(default_factory=dict, repr=False)
    attributes: dict[str, str] = field(default_factory=dict)
    json: bool = False

    @cached_property
    def out(self) -> Console:
        """The console for results: standard output."""
        return Console(highlight=False, emoji=False)

    @cached_property
    def err(self) -> Console:
        """The console for questions, progress and messages: standard error."""
        return Console(stderr=True, highlight=False, emoji=False)

    @property
    def table(self) -> Table:
        """The table that the options name."""
        return named(self.where.get("table"), self.attributes)

    def result(self, document: Document, *lines: RenderableType) -> None:
        """Print the result: *document* with ``--json``, else *lines*."""
        if self.json:
            self.write(json.dumps(document, indent=2))
            return
        self._check()
        for line in lines:
            if isinstance(line, str):
                self.out.print(printable(line), markup=False, soft_wrap=True)
            else:
                # Leave wrapping to the terminal, so that a long command can be copied in one piece.
                self.out.print(line, soft_wrap=isinstance(line, Text))

    def write(self, text: str) -> None:
        """Print *text* unchanged to standard output."""
        self._check()
        sys.stdout.write(f"{text.rstrip()}\n")

    def _check(self) -> None:
        """Raise `OSError` if standard output is closed: a result that cannot be printed is a failure."""
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")

    def say(self, line: str, style: str = "") -> None:
        """Print a line to standard error."""
        if sys.stderr is not None:
            self.err.print(Text(printable(line), style=style), soft_wrap=True)

    def confirm(self, question: str, about: str, *, yes: bool) -> None:
        """Print *about*, ask *question*, and return if the answer is yes. With *yes*, do not ask.

        Raise `DeclinedError` if the answer is no, and `WrongUsageError` if there is no terminal to ask on.
        """
        if yes:
            return
        if sys.stdin is None or not sys.stdin.isatty():
            raise WrongUsageError(
                f"{question} ({about}): no terminal to ask on; use --yes to confirm, or --dry-run to see what would be done"
            )
        self.say(about)
        if not click.confirm(printable(question), err=True):
            raise DeclinedError


def named(name: str | None, attributes: Mapping[str, str], option: str = "--table") -> Table:
    """Return the table with this name and these attribute names. Raise `click.BadParameter` if one is not valid."""
    try:
        return Table(**({} if name is None else {"name": name}), **attributes)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=f"'{option}'") from None


def printable(text: str) -> str:
    """Return *text* with control characters escaped, because it may come from a server or from a session's data.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return escaped(text, keep="\n")
