"""Signature Version 4: as botocore's own signer signs, and as AWS's published examples have it; and no secret gets out."""

from __future__ import annotations

import asyncio
import hmac
import logging
import pickle
import re
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from unittest.mock import patch

import botocore.auth
import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dynamostore import DynamoStore, StoreError
from dynamostore.wire import AsyncWireClient, Credentials, CredentialsError, WireClient, types
from dynamostore.wire._access import Fixed
from dynamostore.wire._core import Core, Endpoint
from dynamostore.wire._resolve import resolve
from dynamostore.wire._sigv4 import Scope, canonical_request, hash_hex
from dynamostore.wire.types import Operation, Reply

from .fakes import Answer, FakeDynamoDB, Fault, assert_discreet, refusal, success
from .fakes import Reply as FakeReply

OPERATIONS: list[Operation[Reply]] = [one for one in vars(types).values() if isinstance(one, Operation)]


@dataclass(frozen=True)
class Request:
    """A request before it is signed; *path* and *query* are plain, and *headers* is what there is beside the usual."""

    method: str = "GET"
    path: str = "/"
    query: Sequence[tuple[str, str]] = ()
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    host: str = "example.amazonaws.com"


@dataclass(frozen=True)
class By:
    """Who signs, when, and for what."""

    credentials: Credentials
    region: str = "us-east-1"
    service: str = "service"
    date: str = "20150830T123600Z"


def ours(request: Request, by: By) -> str:
    """The ``Authorization`` header by our signer."""
    scope = Scope(by.credentials, by.date[:8], by.region, by.service)
    return scope.signed(
        request.method,
        request.path,
        query=request.query,
        headers=_headers(request, by),
        payload_hash=hash_hex(request.body),
        amz_date=by.date,
    )


def _headers(request: Request, by: By) -> list[tuple[str, str]]:
    token = by.credentials.token
    return [
        ("Host", request.host),
        *request.headers,
        ("X-Amz-Date", by.date),
        *([("X-Amz-Security-Token", token)] if token else []),
    ]


def botocores(request: Request, by: By) -> str:
    """The ``Authorization`` header by botocore's signer."""
    asked = AWSRequest(
        method=request.method,
        url=f"https://{request.host}{request.path}",
        data=request.body,
        params=list(request.query),
    )
    for name, value in request.headers:
        asked.headers[name] = value  # which adds one
    return signed_by_botocore(asked, by)


def signed_by_botocore(request: AWSRequest, by: By) -> str:
    """Sign by botocore, which adds the headers for host, date and session token; returns ``Authorization``."""
    keys = by.credentials
    signer = SigV4Auth(BotocoreCredentials(keys.access_key, keys.secret_key, keys.token), by.service, by.region)
    now = datetime.strptime(by.date, "%Y%m%dT%H%M%SZ")  # noqa: DTZ007 (botocore's are naive)
    with at(now):
        signer.add_auth(request)
    # Else it did not take the time that it was given.
    assert request.headers["X-Amz-Date"] == by.date
    return str(request.headers["Authorization"])


def at(now: datetime) -> patch.object:  # type: ignore[name-defined]  # typeshed has no name for it
    """Botocore's signer, at a time; it asks in another way since 1.40."""
    if hasattr(botocore.auth, "get_current_datetime"):
        return patch.object(botocore.auth, "get_current_datetime", lambda: now)

    class Clock(datetime):
        @classmethod
        def utcnow(cls) -> datetime:  # type: ignore[override]  # a naive one, and no Clock
            return now

    clock = type("datetime", (), {"datetime": Clock})
    return patch.object(botocore.auth, "datetime", clock)
