"""What is measured against: the stub server, and ministack; each with or without TLS, each in a process of its own."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from dynamostore import DynamoStore, Record, Table, items
from dynamostore.local import CREDENTIALS

from .bench import ROOT, Bench, BenchError
from .peers import PEERS
from .stored import DEADLINE_NS, FIRST_VERSION, RECENT, REGION, SIZES, payload, stored_token, table_of

__all__ = ["Certificate", "Server", "Stats", "get", "make_certificate", "ministack", "stub"]

_START_TIMEOUT = 30.0

# As in dynamostore.local: ends when its standard input does, and so when the process that started it does.
_PROGRAM = """
import os, runpy, sys, threading
def watch():
    sys.stdin.buffer.read()
    os._exit(0)
threading.Thread(target=watch, daemon=True).start()
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for the loopback interface, its key, and the bundle that a client has to trust."""

    chain: Path
    key: Path
    ca: Path


class Stats(msgspec.Struct, frozen=True):
    """What the stub server was asked so far, and what processor time that took it."""

    connections: int
    requests: int
    cpu: float


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers; *name* is what tables call it, and *counts*, whether it keeps statistics."""

    name: str
    url: str
    ca: Path | None
    counts: bool

    def stats(self) -> Stats | None:
        """The statistics, of the stub server."""
        if not self.counts:
            return None
        return msgspec.json.decode(get(self, "/stats"), type=Stats)


def make_certificate(bench: Bench) -> Certificate:
    """A new certificate, which is gone when the bench is."""
    bench.run("-m", "benchmarks.speed.children.certificate", str(bench.home))
    return Certificate(bench.home / "server.pem", bench.home / "server.key", bench.home / "ca.pem")


@contextmanager
def stub(
    bench: Bench,
    certificate: Certificate | None,
    *,
    apart: bool = False,
    module: str = "benchmarks.speed.children.stub",
) -> Iterator[Server]:
    """The stub server, with TLS if it has a certificate; *apart*: not `together`, which its name is to say."""
    files = [str(certificate.chain), str(certificate.key)] if certificate else []
    name = "the stub server on any processor" if apart else "the stub server"
    # Handed down: a port that was only looked up would be anybody's until the server has started.
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        server = _server(name, listening.getsockname()[1], certificate, counts=True)
        command = [str(bench.python), "-c", _PROGRAM, module, str(listening.fileno()), *files]
        with _running(server, "/stats", command, bench.environment(None), [listening.fileno()]):
            listening.close()
            yield server


@contextmanager
def ministack(certificate: Certificate | None, names: Sequence[str], *, apart: bool = False) -> Iterator[Server]:
    """ministack, in this interpreter's environment, with a table for each size and in it an item for each peer.

    *apart* as in `stub`.
    """
    port = _free_port()
    settings = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SERVICES": "dynamodb",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
    }
    if certificate:
        settings |= {
            "USE_SSL": "1",
            "MINISTACK_SSL_CERT": str(certificate.chain),
            "MINISTACK_SSL_KEY": str(certificate.key),
        }
    server = _server("ministack on any processor" if apart else "ministack", port, certificate, counts=False)
    command = [sys.executable, "-c", _PROGRAM, "ministack"]
    with _running(server, "/_ministack/health", command, {**os.environ, **CREDENTIALS, **settings}):
        _fill(server, names)
        yield server


def _server(name: str, port: int, certificate: Certificate | None, *, counts: bool) -> Server:
    if certificate is None:
        return Server(f"{name}, no TLS", f"http://127.0.0.1:{port}", None, counts)
    return Server(f"{name}, TLS", f"https://127.0.0.1:{port}", certificate.ca, counts)


def _fill(server: Server, names: Sequence[str]) -> None:
    import boto3

    client = boto3.client(
        "dynamodb",
        region_name=REGION,
        endpoint_url=server.url,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        verify=None if server.ca is None else str(server.ca),
    )
    for size in SIZES.values():
        table = Table(name=table_of(size))
        DynamoStore(client, table).create_table()
        for name in (name for name in names if PEERS[name].signs):
            record = Record.at(stored_token(name), payload(size), DEADLINE_NS, FIRST_VERSION, recent=RECENT)
            client.put_item(TableName=table.name, Item=items.encode(table, record))


@contextmanager
def _running(
    server: Server, path: str, command: Sequence[str], environment: Mapping[str, str], files: Sequence[int] = ()
) -> Iterator[None]:
    """A server's program for the length of the block, from when it answers at *path*; it inherits *files*."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment),
            pass_fds=files,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + _START_TIMEOUT
            while not _answers(server, path) or process.poll() is not None:
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    said = log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
                    raise BenchError(f"{server.name} did not start: {said[-1]}")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(server: Server, path: str) -> bool:
    try:
        return bool(get(server, path))
    except (OSError, http.client.HTTPException):
        return False


def get(server: Server, path: str) -> bytes:
    """What the server says to a GET; b"" if it is another program that answers."""
    where = urlsplit(server.url)
    assert where.hostname is not None
    if server.ca is None:
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=5)
    else:
        context = ssl.create_default_context(cafile=str(server.ca))
        connection = http.client.HTTPSConnection(where.hostname, where.port, timeout=5, context=context)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.read() if response.status == 200 else b""
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
