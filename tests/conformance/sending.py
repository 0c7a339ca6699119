"""The servers, and a client that sends anything and reports everything: no retries, no parsing, no opinion."""

from __future__ import annotations

import http.client
import json
import logging
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Self
from urllib.parse import urlsplit

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials

from dynamostore.local import LocalDynamoDB
from tests import backends

from .model import ARN, KEY, MADE, NEW, TABLE, Answer, Case, Request

__all__ = ["SERVERS", "Server", "local", "running"]

SERVERS: Final = ("ministack", "moto", "dynalite")
"""The servers whose results are on record."""
_TIMEOUT = 30.0
_REGION: Final = "us-east-1"
_KEYS: Final = ReadOnlyCredentials("conformance", "conformance", None)


class Server:
    """A server at *url*, and a table on it by the name *table*; *arn* is its ARN, once it is known."""

    def __init__(self, name: str, url: str, table: str, region: str, keys: ReadOnlyCredentials) -> None:
        self.name = name
        self.table = table
        self.arn = ""
        self._url = url
        self._region = region
        self._keys = keys.access_key or "", keys.secret_key or "", keys.token
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT)

    def send(self, request: Request, case: Case | None = None) -> Answer:
        """Send *request*, its placeholders filled in; the answer has them again."""
        key = f"conformance:{case.name}" if case else "conformance"
        places = {**self._tables, ARN: self.arn or ARN, KEY: key}
        arguments = request.arguments
        body = arguments if isinstance(arguments, bytes) else json.dumps(_filled(arguments, places)).encode()
        status, headers, raw = self._exchange(request.operation, body)
        text = raw.decode("utf-8", "replace")
        # The longer first: one is the beginning of another.
        for place, value in sorted(places.items(), key=lambda pair: -len(pair[1])):
            text = text.replace(value, place)
        return Answer(status, headers, raw, text)

    def named(self, table: str) -> str:
        """The name that the placeholder *table* stands for on this server."""
        return self._tables[table]

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _tables(self) -> Mapping[str, str]:
        return {TABLE: self.table, NEW: f"{self.table}.new", MADE: f"{self.table}.made"}

    def _exchange(self, operation: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
        request = AWSRequest("POST", self._url.rstrip("/") + "/", headers, body)
        SigV4Auth(Credentials(*self._keys), "dynamodb", self._region).add_auth(request)
        sent = {**dict(request.headers.items()), "Accept-Encoding": "identity"}
        for last in (False, True):
            try:
                self._connection.request("POST", "/", body, sent)
                reply = self._connection.getresponse()
                return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
            except (ConnectionError, http.client.HTTPException):
                # A connection that the server has closed since; or one that it closes before it has read all.
                self._connection.close()
                if last:
                    return 0, {}, b""
        raise AssertionError("it is sent twice at most")


def _filled(value: Any, places: Mapping[str, str]) -> Any:
    """*value* with its placeholders filled in."""
    if isinstance(value, str):
        for place, text in places.items():
            value = value.replace(place, text)
        return value
    if isinstance(value, Mapping):
        return {_filled(name, places): _filled(part, places) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(part, places) for part in value]
    return value


def local(name: str, url: str) -> Server:
    """A server on this machine, which takes any credentials."""
    return Server(name, url, "conformance", _REGION, _KEYS)


@contextmanager
def running(name: str) -> Iterator[Server]:
    """The server *name*, started here, or "endpoint", which DYNAMOSTORE_TEST_ENDPOINT names."""
    with ExitStack() as stack:
        match name:
            case "ministack":
                server = local(name, stack.enter_context(LocalDynamoDB()).url)
            case "moto":
                server = local(name, stack.enter_context(_moto()))
            case "dynalite":
                server = local(name, stack.enter_context(backends.dynalite()))
            case _:
                url = os.environ["DYNAMOSTORE_TEST_ENDPOINT"]
                session = botocore.session.Session()
                found = session.get_credentials()
                server = Server(
                    name,
                    url,
                    f"conformance-{uuid.uuid4().hex[:12]}",
                    session.get_config_variable("region") or _REGION,
                    found.get_frozen_credentials() if found is not None else _KEYS,
                )
        yield stack.enter_context(server)


@contextmanager
def _moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # it brings Flask along

    # What it does not know it logs with a traceback; here it is among the results.
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
