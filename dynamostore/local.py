"""`LocalDynamoDB`: a local DynamoDB server for development and tests, in its own process.

The server is ministack (``pip install 'dynamostore[local]'``). It serves real HTTP with strict validation, transactions and the
TTL calls. It keeps data in memory, listens on the loopback interface, and needs no AWS account and no network.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Final, Self

from .aio import AsyncDynamoStore
from .process_bound import ProcessBound
from .store import DynamoStore
from .table import Table
from .wire import AsyncWireClient, Credentials, WireClient

__all__ = ["CREDENTIALS", "LocalDynamoDB"]

CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": "us-east-1",
}
"""The environment variables that a client needs for the local server. The values are placeholders: the server accepts any."""

_KEYS: Final = Credentials("local", "local")

# Ends when its standard input is closed, and therefore when the process that started it ends for any reason.
_PROGRAM = """
import os, runpy, sys, threading
def watch():
    sys.stdin.buffer.read()
    os._exit(0)
threading.Thread(target=watch, daemon=True).start()
sys.argv = ["ministack"]
runpy.run_module("ministack", run_name="__main__")
"""
_START_TIMEOUT = 30.0
_ATTEMPTS = 3
_QUIET = {
    "BIND_HOST": "127.0.0.1",
    "SERVICES": "dynamodb",
    "IOT_MTLS_ENABLED": "0",
    "SFTP_ENABLED": "0",
    "LOG_LEVEL": "WARNING",
    "PYTHONUNBUFFERED": "1",
}


class LocalDynamoDB(ProcessBound, instead="pass its url to other processes"):
    """A local DynamoDB server that runs inside a ``with`` block. *url* is its endpoint.

    With *port* 0, it chooses a free port. Raises `RuntimeError`, which says what to do, if the server is not installed or does not
    start. All its data is lost at the end of the block.

    >>> with LocalDynamoDB() as dynamodb:
    ...     store = dynamodb.connect("sessions")
    ...     store.create_table()
    ...     store.ping()
    """

    def __init__(self, port: int = 0) -> None:
        self._wanted = port
        self._process: subprocess.Popen[bytes] | None = None
        self.port: int = port
        """The port. If it was 0, the ``with`` block sets it to the chosen port."""

    @property
    def url(self) -> str:
        """The endpoint, for ``endpoint_url=``."""
        return f"http://127.0.0.1:{self.port}"

    def connect(self, table: str | Table = "scs_session") -> DynamoStore:
        """Return a store on this server, as `dynamostore.connect` does, but without reading any AWS configuration."""
        client = WireClient("us-east-1", self.url, credentials=_KEYS)
        return DynamoStore(client, Table(name=table) if isinstance(table, str) else table)

    def connect_async(self, table: str | Table = "scs_session") -> AsyncDynamoStore:
        """Return an async store on this server, as `dynamostore.connect_async` does, but without reading any AWS configuration."""
        client = AsyncWireClient("us-east-1", self.url, credentials=_KEYS)
        return AsyncDynamoStore(client, Table(name=table) if isinstance(table, str) else table)

    def __enter__(self) -> Self:
        # Another program may take the free port before the server does. Then try another.
        said = ""
        for _ in range(1 if self._wanted else _ATTEMPTS):
            self.port = _free_port(self._wanted)
            with tempfile.TemporaryFile() as log:
                self._process = subprocess.Popen(  # noqa: S603 (this Python, with a program of ours)
                    [sys.executable, "-c", _PROGRAM],
                    env={**os.environ, **CREDENTIALS, **_QUIET, "GATEWAY_PORT": str(self.port)},
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
                try:
                    if self._answers():
                        return self
                except BaseException:
                    self.__exit__(None, None, None)
                    raise
                self.__exit__(None, None, None)
                log.seek(0)
                said = log.read().decode(errors="replace").strip()
            if "No module named ministack" in said:
                raise RuntimeError("a local DynamoDB needs ministack: pip install 'dynamostore[local]'")
        last = said.splitlines()[-1] if said else "it printed nothing"
        raise RuntimeError(f"the local DynamoDB did not start on port {self.port}: {last}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _answers(self) -> bool:
        """Wait until the server replies, ends, or the time is over. Return True if it replies."""
        assert self._process is not None
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=1)
            try:
                connection.request("GET", "/_ministack/health")
                # If the server has ended, another program on this port replied.
                return connection.getresponse().status == 200 and self._process.poll() is None
            except (OSError, HTTPException):
                time.sleep(0.05)
            finally:
                connection.close()
        return False


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        # As servers do, so that old connections that are still closing do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise RuntimeError(
                f"port {wanted} is in use: choose another port, or 0 for a free one ({error})"
            ) from error
        port: int = probe.getsockname()[1]
        return port
