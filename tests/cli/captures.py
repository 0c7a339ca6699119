"""``python -m tests.cli.captures``: the help texts into docs/reference/cli.md, and what commands look like in a terminal (with tmux)."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dynamostore import DynamoStore
from dynamostore.batch import Batch
from dynamostore.cli import main
from dynamostore.cli._app import program
from dynamostore.local import CREDENTIALS, LocalDynamoDB

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "cli.md"
CAPTURES = ROOT / "docs" / "captures"
COMMANDS = ("", *program.commands)
_BLOCK = "<!-- {kind}: {name} -->\n\n```text\n{text}\n```\n"


def help_text(command: str, columns: int = 80) -> str:
    """What ``dynamostore COMMAND --help`` prints in a terminal of so many columns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(columns)
    try:
        with redirect_stdout(io.StringIO()) as said:
            assert main([*command.split(), "--help"]) == 0
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return said.getvalue().rstrip()


def with_block(page: str, kind: str, name: str, text: str) -> str:
    """*page* with a block of text after its mark, in the place of what was there."""
    mark = re.escape(f"<!-- {kind}: {name} -->" if name else f"<!-- {kind}: -->")
    block = _BLOCK.format(kind=kind, name=name, text=text).replace(": -->", ":-->").replace(":-->", ": -->")
    block = block.replace(":  -->", ": -->")
    new, count = re.subn(rf"{mark}\n(\n```text\n.*?\n```\n)?", lambda _: block, page, count=1, flags=re.DOTALL)
    assert count == 1, f"{PAGE} has no place for {kind} {name!r}"
    return new


class Screen:
    """A shell in tmux."""

    def __init__(self, columns: int, lines: int, environment: dict[str, str]) -> None:
        self._columns = columns
        # A server for each: one that is ending takes no new session.
        self._server = ("tmux", "-L", f"dynamostore-{os.getpid()}-{columns}", "-f", os.devnull)
        shell = ["env", *(f"{name}={value}" for name, value in environment.items()), "PS1=$ ", "bash", "--norc"]
        self._tmux("new-session", "-d", "-s", "s", "-x", str(columns), "-y", str(lines), *shell)
        self.type(f'dynamostore() {{ {sys.executable} -m dynamostore "$@"; }}; clear', seconds=1)

    def type(self, line: str, *, enter: bool = True, seconds: float = 0) -> None:
        self._tmux("send-keys", "-t", "s", line, *(["Enter"] if enter else []))
        time.sleep(seconds)

    def wait_for(self, condition: Callable[[str], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition(self.plain()):
            assert time.monotonic() < deadline, self.plain()
            time.sleep(0.05)

    def plain(self) -> str:
        return "\n".join(line.rstrip() for line in self._tmux("capture-pane", "-t", "s", "-p").rstrip().splitlines())

    def save(self, name: str, title: str) -> None:
        """As text, and as a picture with its colours."""
        CAPTURES.mkdir(exist_ok=True)
        (CAPTURES / f"{name}.txt").write_text(f"{self.plain()}\n", "utf-8")
        console = Console(record=True, width=self._columns, file=io.StringIO(), force_terminal=True)
        console.print(Text.from_ansi(self._tmux("capture-pane", "-t", "s", "-p", "-e").rstrip()))
        svg = console.export_svg(title=title, unique_id=name)
        # No fonts from elsewhere.
        svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
        (CAPTURES / f"{name}.svg").write_text(svg, "utf-8")

    def close(self) -> None:
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        return subprocess.run([*self._server, *arguments], capture_output=True, text=True, check=True).stdout


def record() -> None:
    """All captures, of a table that was made up."""
    from .sample import records

    with LocalDynamoDB() as dynamodb, tempfile.TemporaryDirectory() as directory:
        store = dynamodb.connect("sessions")
        store.client.create_table(
            TableName="sessions",
            AttributeDefinitions=[{"AttributeName": "token", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "token", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        Batch(store).save_many(records(12_000))
        environment = {**CREDENTIALS, "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url, "PYTHONPATH": str(ROOT)}
        environment |= {"TERM": "screen-256color", "HOME": directory}
        for columns in (80, 120):
            screen = Screen(columns, 36, environment)
            try:
                _record(screen, "" if columns == 80 else f"-{columns}", store, Path(directory))
            finally:
                screen.close()


def _record(screen: Screen, suffix: str, store: DynamoStore, directory: Path) -> None:
    def ready(said: str) -> bool:
        return said.endswith("\n$")

    for command in ("stats", "doctor"):
        screen.type("clear", seconds=0.5)
        screen.type(f"dynamostore {command} --table sessions")
        time.sleep(1)
        screen.wait_for(ready)
        screen.save(f"{command}{suffix}", f"dynamostore {command}")
    resume = directory / "purge.resume"
    screen.type(f"cd {directory}; clear", seconds=0.5)
    screen.type("dynamostore purge --table sessions --rate 2000 --resume-file purge.resume")
    screen.wait_for(lambda said: "[y/N]" in said)
    screen.type("y")
    screen.wait_for(lambda _: resume.exists())
    time.sleep(0.5)
    screen.save(f"purge-under-way{suffix}", "dynamostore purge")
    screen.type("C-c", enter=False, seconds=1)
    screen.type("echo $?", seconds=0.3)
    screen.type("dynamostore purge --table sessions --rate 2000 --resume-file purge.resume -y", seconds=1.2)
    screen.wait_for(lambda said: "deleted ·" in said.splitlines()[-1])
    screen.save(f"purge{suffix}", "dynamostore purge")
    screen.wait_for(ready)
    from .sample import records

    Batch(store).save_many(records(12_000))


def write() -> None:
    """The page, with all that is generated in it."""
    page = PAGE.read_text("utf-8")
    for command in COMMANDS:
        page = with_block(page, "help", command, help_text(command))
    for name in ("purge-under-way", "purge", "stats", "doctor"):
        page = with_block(
            page, "capture", name, (CAPTURES / f"{name}.txt").read_text("utf-8").rstrip().removesuffix("\n$")
        )
    page = re.sub(r"recorded on [0-9-]+", f"recorded on {datetime.now(UTC):%Y-%m-%d}", page)
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    if "--help-only" not in sys.argv:
        record()
    write()
