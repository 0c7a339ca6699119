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

from ._options import Command, Option, global_options
from ._state import State, WrongUsageError

__all__ = ["COMMANDS"]

_HOST = "127.0.0.1"
_KEYS = Credentials(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])


@click.command(
    cls=Command,
    short_help="Run a local DynamoDB.",
    examples=(
        ("run a local DynamoDB with an empty table until Ctrl-C", "dynamostore serve --table sessions"),
        ("listen on a fixed port", "dynamostore serve --port 8000"),
    ),
)
@click.option(
    "--port", cls=Option, type=click.IntRange(0, 65535), default=0, metavar="PORT", help="Port. Default: any free port."
)
@global_options
@click.pass_obj
def serve(state: State, *, port: int) -> int:
    """Run a local DynamoDB server with an empty table until Ctrl-C, and print the environment that connects to it.

    The server listens on this machine only and keeps its data in memory, so all data is lost when it stops. The table is in
    the Region of --region (default: us-east-1); clients must use the same Region. The server deletes expired records. It
    needs pip install 'dynamostore[local]'. The exit code after Ctrl-C is 0.
    """
    if "endpoint_url" in state.where or "profile" in state.where:
        raise WrongUsageError("serve starts its own server; remove --endpoint-url and --profile")
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
                **_proxy_bypass(),
                **CREDENTIALS,
                "AWS_DEFAULT_REGION": region,
            }
            document = {"command": "serve", "endpoint": dynamodb.url, "table": table.name, "environment": environment}
            state.result(
                document,
                f"# Local DynamoDB at {dynamodb.url} with table {table.name!r}. Press Ctrl-C to stop. In another terminal, run:",
                *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
            )
            sys.stdout.flush()
            ended.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


def _proxy_bypass() -> dict[str, str]:
    """Return the variable that keeps boto3 and the AWS CLI from sending requests for this server to a proxy."""
    from urllib.request import getproxies, proxy_bypass  # imported here because it takes long

    if not getproxies().get("http") or proxy_bypass(_HOST):
        return {}
    # If both are set, the lower-case variable wins.
    name = "no_proxy" if os.environ.get("no_proxy") else "NO_PROXY"
    there = [part.strip(" \t") for part in os.environ.get(name, "").split(",")]
    return {name: ",".join([*filter(None, there), _HOST])}


COMMANDS = (serve,)
