"""The sans-I/O core: from arguments to the bytes of a signed request, and from a raw reply to the operation's reply or error.

Bytes in, bytes out: no socket, no clock, no global state. The parts that stay the same from call to call are prepared once:
the head of the request, its canonical form and the day's signing key. ``_sigv4`` implements the signing.
"""

from __future__ import annotations

import re
import socket
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import SplitResult, quote, urlsplit
from zlib import crc32

import msgspec

from ._base64 import LARGE, LARGEST_REPLY, is_fast, with_base64
from ._http import RawReply
from ._refusals import Refusal
from ._sigv4 import Credentials, Scope, canonical_request, hash_hex
from .errors import DamagedReplyError, ServiceError, SettingsError, TransportError
from .types import Operation, Reply, ResponseMetadata

__all__ = ["Core", "Endpoint", "amz_date", "check_arguments", "encode"]

R = TypeVar("R", bound=Reply)

SERVICE = "dynamodb"
CONTENT_TYPE = "application/x-amz-json-1.0"

_NO_ENDPOINT = "endpoint_url=... (or AWS_ENDPOINT_URL) must "

# Characters that a path may contain (RFC 3986, 3.3), and % for those that are already encoded.
_IN_A_PATH = "/%-_.~:@!$&'()*+,;="

# Docker Compose uses service names as host names, and many have an underscore. The scope follows RFC 6874.
_HOST = re.compile(r"((?!-)[A-Za-z0-9_-]{1,63}(?<!-)\.)*(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\.?")
_MAX_HOST = 255
_SCOPE = re.compile(r"[A-Za-z0-9_.~-]+")

_encode = msgspec.json.Encoder().encode
_decode_refusal = msgspec.json.Decoder(Refusal).decode


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go: *host* and *port*, over TLS if *secure*, to *path*."""

    host: str
    port: int
    secure: bool
    path: str = "/"

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Return the endpoint that *url* names. Raise `SettingsError` if *url* is not valid.

        >>> Endpoint.parse("https://dynamodb.eu-central-1.amazonaws.com").port
        443
        """
        try:
            # urlsplit silently removes these characters.
            parts: SplitResult | None = urlsplit(url) if not any(c in url for c in "\r\n\t") else None
            port = parts.port if parts else None
        except ValueError:
            parts = port = None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{_NO_ENDPOINT}be a URL such as https://dynamodb.eu-central-1.amazonaws.com")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise SettingsError(f"{_NO_ENDPOINT}not contain a user name, password, query or fragment")
        secure = parts.scheme == "https"
        try:
            host = parts.hostname.encode("idna").decode("ascii") if not parts.hostname.isascii() else parts.hostname
        except UnicodeError:
            raise SettingsError(f"{_NO_ENDPOINT}have a valid host name") from None
        if any(character == " " or not character.isprintable() for character in host + parts.path):
            raise SettingsError(f"{_NO_ENDPOINT}not contain spaces or control characters")
        if ":" in host:
            # An IPv6 scope, as RFC 6874 writes it.
            host = re.sub(r"%25(?=.)", "%", host, count=1)
        if not _is_host(host):
            raise SettingsError(f"{_NO_ENDPOINT}have a valid host name")
        return cls(host, port or (443 if secure else 80), secure, parts.path or "/")

    @property
    def authority(self) -> str:
        """Host and port, as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def host_header(self) -> str:
        """The ``Host`` header, without an IPv6 scope, which only this machine understands.

        >>> Endpoint.parse("http://[fe80::1%25eth0]:8000").host_header
        '[fe80::1]:8000'
        """
        return re.sub(r"%[^]]*", "", self.authority)

    @property
    def url(self) -> str:
        """The endpoint as a URL."""
        path = "" if self.path == "/" else self.path
        return f"{'https' if self.secure else 'http'}://{self.authority}{path}"


def _is_host(host: str) -> bool:
    """Return True if *host* is valid in DNS or ``/etc/hosts``, underscores included, or is an IPv6 address."""
    if ":" not in host:
        return len(host) <= _MAX_HOST and _HOST.fullmatch(host) is not None
    address, marked, scope = host.partition("%")
    if marked and not _SCOPE.fullmatch(scope):
        return False
    try:
        socket.inet_pton(socket.AF_INET6, address)
    except OSError:
        return False
    return True


def check_arguments(operation: Operation[R], arguments: Mapping[str, object]) -> None:
    """Raise `TypeError` if a required argument is missing or *operation* does not take an argument."""
    names = arguments.keys()
    if not operation.required <= names:
        missing = ", ".join(sorted(operation.required - names))
        raise TypeError(f"{operation.name} is missing {missing}")
    if not names <= operation.allowed:
        unknown = ", ".join(sorted(names - operation.allowed))
        raise TypeError(f"{operation.name} does not take {unknown}")


def encode(operation: Operation[R], arguments: Mapping[str, object]) -> bytes:
    """Return the body of a request. Raise `TypeError` or `ValueError` if JSON cannot represent the arguments."""
    if operation.name == "TransactWriteItems" and "ClientRequestToken" not in arguments:
        # With a token, DynamoDB does not execute a retry as a second transaction.
        arguments = {**arguments, "ClientRequestToken": str(uuid.uuid4())}
    try:
        return _encode(
            with_base64(arguments, operation.values) if operation.values is not None and is_fast else arguments
        )
    except UnicodeEncodeError:
        # Do not chain the exception: it contains the text.
        raise ValueError(f"{operation.name}: a string has a lone surrogate, which UTF-8 cannot encode") from None


class _Prepared:
    """The request of one operation with one access key on one day, except its time, signature and body."""

    __slots__ = (
        "after_canonical", "after_date", "after_length", "after_signature", "before_canonical", "before_date", "endpoint", "scope",
    )  # fmt: skip

    def __init__(self, operation: Operation[R], endpoint: Endpoint, scope: Scope, user_agent: str) -> None:
        token = scope.credentials.token
        # Control characters, which no header can contain, mark the parts that each call fills in.
        headers = [
            ("Host", endpoint.host_header),
            ("Content-Type", CONTENT_TYPE),
            ("X-Amz-Date", "\1"),
            ("X-Amz-Target", operation.target),
            *([("X-Amz-Security-Token", token)] if token else []),
        ]
        canonical, names = canonical_request("POST", endpoint.path, (), headers, "\2")
        self.scope = scope
        self.endpoint = endpoint
        self.before_canonical, _, rest = canonical.partition("\1")
        self.after_canonical = rest.removesuffix("\2")
        sent = [
            *headers,
            ("Authorization", scope.authorization(names, "\3")),
            ("Accept-Encoding", "identity"),
            ("User-Agent", user_agent),
            ("Content-Length", "\4"),
        ]
        # Send the path as it was given, and encode only invalid characters. The signed form is encoded once more.
        head = f"POST {quote(endpoint.path, safe=_IN_A_PATH)} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in sent)
        self.before_date, _, rest = head.partition("\1")
        self.after_date, _, rest = rest.partition("\3")
        self.after_signature, _, self.after_length = rest.partition("\4")

    def fits(self, endpoint: Endpoint, credentials: Credentials, date: str) -> bool:
        # Compare by identity: credentials and endpoints stay the same objects until they change.
        scope = self.scope
        return scope.credentials is credentials and self.endpoint is endpoint and date.startswith(scope.date)


class Core:
    """Builds the requests for one region, and interprets their replies."""

    def __init__(self, region: str, user_agent: str) -> None:
        self.region = region
        self._user_agent = user_agent
        self._prepared: dict[str, _Prepared] = {}
        self._latest: tuple[int, str] = (0, "")

    def request(
        self,
        operation: Operation[R],
        body: bytes,
        endpoint: Endpoint,
        credentials: Credentials,
        now: float,
        *,
        unsigned: str = "",
    ) -> bytes:
        """Return the signed request, sent at *now* (Unix seconds). *unsigned* holds header lines that are not signed."""
        second = int(now)
        latest, date = self._latest
        if latest != second:
            date = amz_date(second)
            self._latest = (second, date)
        prepared = self._prepared.get(operation.name)
        if prepared is None or not prepared.fits(endpoint, credentials, date):
            scope = Scope(credentials, date[:8], self.region, SERVICE)
            prepared = self._prepared[operation.name] = _Prepared(operation, endpoint, scope, self._user_agent)
        canonical = f"{prepared.before_canonical}{date}{prepared.after_canonical}{hash_hex(body)}"
        signature = prepared.scope.sign(canonical, date)
        head = (
            f"{prepared.before_date}{date}{prepared.after_date}{signature}{prepared.after_signature}"
            f"{len(body)}{prepared.after_length}{unsigned}\r\n"
        )
        return head.encode("latin-1") + body

    def reply(self, operation: Operation[R], raw: RawReply, retries: int) -> R:
        """Return the operation's reply.

        Raise `ServiceError` if DynamoDB refused the call, and `DamagedReplyError` if the reply is damaged or not DynamoDB's.
        """
        _check_sum(raw)
        if raw.status != 200:
            raise _refusal(operation.name, raw, retries)
        if not raw.headers.get("content-type", "").startswith("application/x-amz-json-1."):
            raise DamagedReplyError(_damaged(raw))
        try:
            large = LARGE <= len(raw.body) <= LARGEST_REPLY
            reply = (operation.decode_large if large else operation.decode)(raw.body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            # Do not chain the exception: it may contain a part of the reply.
            raise DamagedReplyError(_damaged(raw)) from None
        reply["ResponseMetadata"] = _metadata(raw, retries)
        return reply


def amz_date(second: int) -> str:
    """Return the Unix time *second* in the format of the ``X-Amz-Date`` header.

    >>> amz_date(1440938160)
    '20150830T123600Z'
    """
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))


def _metadata(raw: RawReply, retries: int) -> ResponseMetadata:
    return {
        "RequestId": raw.headers.get("x-amzn-requestid", ""),
        "HTTPStatusCode": raw.status,
        "HTTPHeaders": raw.headers,
        "RetryAttempts": retries,
    }


def _check_sum(raw: RawReply) -> None:
    expected = raw.headers.get("x-amz-crc32")
    if expected is not None and expected.strip(" \t") != str(crc32(raw.body)):
        raise DamagedReplyError(f"the reply (status {raw.status}) was damaged in transit: its checksum does not match")


def _damaged(raw: RawReply) -> str:
    return f"the reply (status {raw.status}) was damaged in transit or does not come from DynamoDB"


def _refusal(operation: str, raw: RawReply, retries: int) -> ServiceError | TransportError:
    """Return the error for a reply that is not a success."""
    refusal = None
    with suppress(msgspec.DecodeError, ValueError, RecursionError):
        refusal = _decode_refusal(raw.body)
    if raw.status < 300 or (refusal is None and raw.status < 500):
        # It does not come from DynamoDB: a proxy's log-in page, say, or a firewall's refusal.
        return DamagedReplyError(_damaged(raw))
    refusal = refusal or Refusal()
    kind = refusal.type or refusal.code or raw.headers.get("x-amzn-errortype", "")
    code = kind.rpartition("#")[2].partition(":")[0] or str(raw.status)
    message = (
        refusal.message or refusal.Message or ("" if kind else f"the reply has status {raw.status} and gives no reason")
    )
    response: dict[str, object] = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": _metadata(raw, retries),
    }
    if refusal.Item is not None:
        response["Item"] = refusal.Item
    if refusal.CancellationReasons is not None:
        response["CancellationReasons"] = refusal.CancellationReasons
    if refusal.ThrottlingReasons is not None:
        response["ThrottlingReasons"] = refusal.ThrottlingReasons
    if refusal.throttling_reasons is not None:
        response["throttlingReasons"] = refusal.throttling_reasons
    return ServiceError(response, operation)
