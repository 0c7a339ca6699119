"""The command line's files, and what it prints into a pipe: a wrong file is wrong usage, and a command that it suggests can be copied."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

import dynamostore
from dynamostore.batch import Batch
from dynamostore.cli._app import program
from dynamostore.cli._options import File
from dynamostore.digests import digest

from .backends import Backends
from .faulty import FaultyDynamoDB, Line, refusal
from .test_cli import Run, process, run
from .test_hostile_files import made

__all__ = ["run"]

NAME = "a-table-whose-name-is-too-long-for-eighty-columns-" + "x" * 60

# Every parameter of every command that is a file.
FILES = [
    (name, param)
    for name, command in program.commands.items()
    for param in command.params
    if isinstance(param.type, File | click.File | click.Path)
]


@pytest.fixture(scope="module")
def url(credentials: None, backends: Backends) -> Iterator[str]:
    url = backends.server("ministack").url or ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
        patch.delenv("COLUMNS", raising=False)
        yield url


def with_file(name: str, param: click.Parameter, file: Path, whole: Path) -> list[str]:
    """The command with *file* for that parameter, and something that is right for all others that it must have."""
    words = [name]
    if isinstance(param, click.Option):
        words += [param.opts[0], str(file)]
    for other in program.commands[name].params:
        if isinstance(other, click.Argument):
            words.append(str(file) if other is param else str(whole) if isinstance(other.type, File) else "a_table")
    return words


def test_the_files_are_known() -> None:
    assert sorted((name, param.name) for name, param in FILES) == [
        ("copy", "resume_file"),
        ("export", "file"),
        ("load", "file"),
        ("load", "resume_file"),
        ("purge", "resume_file"),
    ]
    # So that what is wrong with it is said in the same way.
    assert all(isinstance(param.type, File) for _, param in FILES)


@pytest.mark.parametrize(("name", "param"), FILES, ids=[f"{name} {param.name}" for name, param in FILES])
def test_a_file_that_is_missing_is_wrong_usage(
    name: str, param: click.Parameter, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody is asked.
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    whole = tmp_path / "whole.jsonl"
    whole.write_text("")
    for file in (tmp_path / "no" / "where", tmp_path):
        said = run(*with_file(name, param, file, whole))
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said.err
        assert said.err.startswith("dynamostore: ")
        assert str(file) in said.err
    assert sorted(tmp_path.iterdir()) == [whole]


@pytest.fixture(scope="module")
def table(url: str) -> str:
    with dynamostore.connect("records") as store:
        store.create_table()
        Batch(store).save_many((f"token-{n}", b"data", datetime(2200, 1, 1, tzinfo=UTC)) for n in range(3))
    return "records"


def test_an_export_does_not_go_on_with_what_is_not_ones_own(table: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "x.jsonl.partial").symlink_to(tmp_path / "victim")
    (tmp_path / "x.jsonl.resume").write_text("{}")
    said = run("export", str(tmp_path / "x.jsonl"), "--table", table)
    assert said.code == 1
    assert "x.jsonl.partial: is a symbolic link or not a regular file, so it is not used: delete it" in said.err
    assert "going on" not in said.err
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_resume_file_that_is_a_link_is_not_used(table: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    for name in ("a.resume", "a.resume.new"):
        (tmp_path / name).symlink_to(tmp_path / "victim")
        said = run("purge", "--yes", "--table", table, "--resume-file", str(tmp_path / "a.resume"))
        assert (said.code, said.out) == (1, "")
        assert f"{tmp_path / name}: is a symbolic link" in said.err
        assert "delete it, or choose another path" in said.err
        assert (tmp_path / "victim").read_text() == "precious"
        (tmp_path / name).unlink()


def test_lines_that_no_record_is_in_are_told_by_digest_and_number(table: str, run: Run, tmp_path: Path) -> None:
    lines = [b'{"token":"odd","item":{"token":{"S":"odd"}}}\n', b'{"token":"a","text":"x","expiry":1}\n']
    said = run("load", str(made(tmp_path / "x.jsonl", *lines)), "--table", table, "--yes", "--expired")
    assert said.code == 3
    assert f"{digest('odd')}: line 2: its item is not a record: expiry is missing" in said.err
    wrong = made(tmp_path / "y.jsonl", lines[1], b'{"token":"a","text":"x","expiry":1,"version":-7}\n')
    said = run("load", str(wrong), "--table", table, "--yes")
    assert (said.code, said.out) == (1, "")
    assert f"{wrong}, line 3: this is not a record: version is not between 1 and 2^63 - 1" in said.err


# What is suggested

SUGGESTING = [
    "ping",
    "doctor",
    "show --raw token",
    "revoke --yes --raw token",
    "stats",
    "purge --yes",
    "export {tmp}/x.jsonl",
    "load --yes {tmp}/whole.jsonl",
    "copy --yes another",
]


def piped(run: Run, line: str, tmp_path: Path) -> list[str]:
    whole = made(tmp_path / "whole.jsonl")
    said = run(*line.format(tmp=tmp_path, whole=whole).split(), "--table", NAME, "--region", "eu-west-1")
    return [*said.out.splitlines(), *said.err.splitlines()]


@pytest.mark.parametrize("line", SUGGESTING)
def test_a_suggested_command_is_in_one_line(url: str, run: Run, tmp_path: Path, line: str) -> None:
    wanted = f"dynamostore create-table --table {NAME} --region eu-west-1 --endpoint-url {url}"
    (said,) = [said for said in piped(run, line, tmp_path) if wanted in said]
    assert re.match("$|[,;] ", said.partition(wanted)[2])


@pytest.mark.parametrize("line", SUGGESTING)
def test_what_is_suggested_where_access_is_denied_is_in_one_line(
    credentials: None, run: Run, tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def denied(line: Line) -> None:
        await line.read()
        await line.send(refusal(400, "AccessDeniedException"))

    with FaultyDynamoDB() as server:
        server.always = denied
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.url)
        monkeypatch.delenv("COLUMNS", raising=False)
        said = piped(run, line, tmp_path)
    if line == "doctor":
        where = f" --table {NAME} --region eu-west-1 --endpoint-url {server.url}"
        assert any(re.search(rf"dynamostore policy web{where}( |$)", one) for one in said), said
    else:
        assert any("dynamostore policy prints the rights that a role needs" in one for one in said), said


def test_all_that_doctor_advises_into_a_pipe_can_be_run_as_it_is(url: str) -> None:
    with dynamostore.connect(NAME, endpoint_url=url) as store:
        store.client.create_table(
            TableName=NAME,
            AttributeDefinitions=[{"AttributeName": "token", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "token", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    said = process("doctor", "--table", NAME, "-v", environment={"COLUMNS": ""})
    commands = re.findall(r"\b(?:aws dynamodb|dynamostore) [a-z-]+ .*?--endpoint-url [^\s,;]+", said.out)
    assert len(commands) >= 4
    for command in commands:
        words = shlex.split(command)
        assert NAME in words, command
        assert words[-1] == url, command
    # Nothing is padded to a width, either.
    assert [line for line in said.out.splitlines() if line != line.rstrip()] == []
