"""The command serve: a local DynamoDB."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from types import FrameType

import click

from dynamostore import DynamoStore
from dynamostore.local import CREDENTIALS, LocalDynamoDB
from dynamostore.wire import Credentials, WireClient

from ._options import Command, Option, everywhere
from ._state import State, WrongUsageError

__all__ = ["COMMANDS"]

_HOST = "127.0.0.1"
_KEYS = Credentials(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])


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

    It is on this machine only, and in memory: all is gone when it ends. A table is in one region (--region, else us-east-1), and is
    found by who names the same; what has expired it sweeps by itself. It needs dynamostore[local]. Exit code 0 after Ctrl-C.
    """
    if "endpoint_url" in state.where or "profile" in state.where:
        raise WrongUsageError("serve is a server of its own: it takes neither --endpoint-url nor --profile")
    table, region = state.table, state.where.get("region", CREDENTIALS["AWS_DEFAULT_REGION"])
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        ended.set()

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with LocalDynamoDB(port) as dynamodb:
            with DynamoStore(WireClient(region, dynamodb.url, credentials=_KEYS), table) as store:
                store.create_table()
            environment = {
                "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
                **_past_the_proxy(),
                **CREDENTIALS,
                "AWS_DEFAULT_REGION": region,
            }
            document = {"command": "serve", "endpoint": dynamodb.url, "table": table.name, "environment": environment}
            state.result(
                document,
                f"# A local DynamoDB on {dynamodb.url}, with table {table.name!r}; Ctrl-C ends it. In another terminal:",
                *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
            )
            sys.stdout.flush()
            ended.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


def _past_the_proxy() -> dict[str, str]:
    """Return the variable that keeps other clients (boto3, the AWS CLI) from sending what is for this server to a proxy."""
    from urllib.request import getproxies, proxy_bypass  # takes long to import

    if not getproxies().get("http") or proxy_bypass(_HOST):
        return {}
    # Where both are set, that one counts.
    name = "no_proxy" if os.environ.get("no_proxy") else "NO_PROXY"
    there = [part.strip(" \t") for part in os.environ.get(name, "").split(",")]
    return {name: ",".join([*filter(None, there), _HOST])}


COMMANDS = (serve,)
