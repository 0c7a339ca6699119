"""The command serve: a local DynamoDB."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

import click

from dynamostore.local import CREDENTIALS, LocalDynamoDB

from ._options import Command, Option, everywhere
from ._state import State

__all__ = ["COMMANDS"]


@click.command(
    cls=Command,
    short_help="Run a local DynamoDB.",
    examples=(
        ("a DynamoDB of your own, with an empty table, until Ctrl-C", "dynamostore serve --table sessions"),
        ("on a port of your choice", "dynamostore serve --port 8000"),
    ),
)
@click.option(
    "--port", cls=Option, type=click.IntRange(0, 65535), default=0, metavar="PORT", help="Its port; else a free one."
)
@everywhere
@click.pass_obj
def serve(state: State, *, port: int) -> int:
    """Run a local DynamoDB with the table in it, until Ctrl-C, and say how to reach it.

    It is on this machine only, and in memory: all is gone when it ends. It needs dynamostore[local]. Exit code 0 after Ctrl-C.
    """
    table = state.table
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        ended.set()

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with LocalDynamoDB(port) as dynamodb, dynamodb.connect(table) as store:
            store.create_table()
            environment = {"AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url, **CREDENTIALS}
            document = {"command": "serve", "endpoint": dynamodb.url, "table": table.name, "environment": environment}
            state.result(
                document,
                f"# A local DynamoDB on {dynamodb.url}, with table {table.name!r}; Ctrl-C ends it. In another terminal:",
                *(f"export {name}={value}" for name, value in environment.items()),
            )
            sys.stdout.flush()
            ended.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


COMMANDS = (serve,)
