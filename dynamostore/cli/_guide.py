"""The command guide: one page about the library, from the wheel."""

from __future__ import annotations

from importlib import resources

import click
from rich.markdown import Markdown

from ._options import Command, global_options
from ._state import State

__all__ = ["COMMANDS"]


@click.command(
    cls=Command,
    short_help="Print the guide: the library on one page.",
    examples=(
        ("read it", "dynamostore guide | less"),
        ("keep it as Markdown", "dynamostore guide > guide.md"),
    ),
)
@global_options
@click.pass_obj
def guide(state: State) -> None:
    """Print the guide: install, sessions, frameworks, errors, settings and commands on one page.

    A terminal shows it formatted; a file or a pipe gets Markdown. The guide is part of the installed package and belongs to its
    version.
    """
    text = resources.files("dynamostore").joinpath("guide.md").read_text("utf-8")
    if state.json:
        state.result({"command": "guide", "guide": text})
    elif state.out.is_terminal:
        state.result({}, Markdown(text))
    else:
        state.write(text)


COMMANDS = (guide,)
