"""The help and docs/reference/cli.md: every command, as it is; and each example does what it says it does."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dynamostore.batch import Batch
from dynamostore.cli import main
from dynamostore.cli._app import program
from dynamostore.cli._options import Command
from dynamostore.cli._state import State
from dynamostore.local import LocalDynamoDB

from .captures import COMMANDS, PAGE, help_text
from .sample import records

EXAMPLES = [
    (name, line)
    for name, command in program.commands.items()
    if isinstance(command, Command)
    for _, line in command.examples
]
# The lines of a shell around the command: where it begins, and where its arguments end.
_COMMAND = re.compile(r"(?:^|\| )dynamostore ([^<>|&]*)(?:< (\S+))?")


def arguments(line: str) -> tuple[list[str], str | None]:
    """Those of the command in *line*, and the file of its standard input."""
    found = _COMMAND.search(line)
    assert found, line
    return shlex.split(found[1]), found[2]


def test_every_command_has_examples_that_fit_on_a_line() -> None:
    assert {name for name, _ in EXAMPLES} == set(program.commands)
    assert max(len(line) for _, line in EXAMPLES) <= 77


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_an_example_is_one_of_its_command_and_parses(
    name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sessions.jsonl.gz").touch()
    first, *rest = arguments(line)[0]
    assert first == name
    with program.make_context("dynamostore", [first], obj=State(), resilient_parsing=True) as parent:
        program.commands[first].make_context(first, rest, parent=parent)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_has_the_help_as_it_is(command: str) -> None:
    mark = f"<!-- help: {command} -->" if command else "<!-- help: -->"
    found = re.search(rf"{re.escape(mark)}\n\n```text\n(.*?)\n```\n", PAGE.read_text("utf-8"), re.DOTALL)
    assert found, f"python -m tests.cli.captures --help-only puts the help of {command!r} into {PAGE}"
    assert found[1] == help_text(command), "python -m tests.cli.captures --help-only writes it again"


def test_the_page_has_a_section_for_every_command_and_no_other() -> None:
    assert re.findall(r"^### (\S+)$", PAGE.read_text("utf-8"), re.MULTILINE) == list(program.commands)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_of_the_help_is_too_long(command: str, columns: int) -> None:
    assert max(map(len, help_text(command, columns).splitlines())) <= columns


def test_every_option_has_help() -> None:
    for name, command in program.commands.items():
        options = [param for param in command.params if isinstance(param, click.Option)]
        assert [option.name for option in options if not option.help] == [], name


@pytest.fixture(scope="module")
def here(credentials: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory, and a server, with all that the examples name."""
    directory = tmp_path_factory.mktemp("examples")
    with LocalDynamoDB() as dynamodb, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
        patch.chdir(directory)
        for name in ("sessions", "scs_session", "sessions-new", "new"):
            with dynamodb.connect(name) as store:
                store.create_table()
                Batch(store).save_many(records(20))
        assert main(["export", "--table", "sessions", "ready.gz"]) == 0
        (directory / "stolen.txt").write_text("token 1\ntoken 2\n")
        yield directory


@pytest.mark.parametrize(
    ("name", "line"),
    [
        pytest.param(name, line, id=line)
        for name, line in EXAMPLES
        # Of these, one has nobody there, one is in another region, and the rest has a test of its own.
        if name != "serve" and "127.0.0.1" not in line and "region" not in line and "revoke -" not in line
    ],
)
def test_an_example_runs(
    here: Path, name: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, standard_input = arguments(line)
    typed = (here / standard_input).read_text() if standard_input else "token 1\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    for file in ("sessions.jsonl.gz", "backup.jsonl.gz"):
        (here / file).unlink(missing_ok=True)
    if name == "load":
        (here / "sessions.jsonl.gz").write_bytes((here / "ready.gz").read_bytes())
    asks = name in ("purge", "load", "copy", "revoke") and not {"--yes", "--dry-run"} & set(words)
    code = main([*words, "--yes"] if asks else words)
    # Whether those tokens are there is not what this is about.
    assert code in ((0, 1) if name in ("show", "revoke") else (0,)), capsys.readouterr().err
    assert "Traceback" not in capsys.readouterr().err
