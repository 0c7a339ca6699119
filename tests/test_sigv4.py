"""Signature Version 4: as botocore's own signer signs, and as AWS's published examples have it; and no secret gets out."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import botocore.auth
import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dynamostore import DynamoStore, StoreError
from dynamostore.wire import AsyncWireClient, Credentials, CredentialsError, WireClient, WireError, types
from dynamostore.wire._access import Fixed
from dynamostore.wire._core import Core, Endpoint
from dynamostore.wire._sigv4 import Scope, canonical_request, hash_hex
from dynamostore.wire.types import GET_ITEM, Operation, Reply

from .fakes import Answer, FakeDynamoDB, Fault, assert_discreet, refusal, success
from .fakes import Reply as FakeReply

OPERATIONS: list[Operation[Reply]] = [one for one in vars(types).values() if isinstance(one, Operation)]


# Two signers


@dataclass(frozen=True)
class Request:
    """A request that is to be signed: *path* and *query* plain, *headers* without those that signing adds."""

    method: str = "GET"
    path: str = "/"
    query: Sequence[tuple[str, str]] = ()
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    host: str = "example.amazonaws.com"


@dataclass(frozen=True)
class By:
    """Who signs, for what, and when."""

    credentials: Credentials
    region: str = "us-east-1"
    service: str = "service"
    date: str = "20150830T123600Z"

    @property
    def scope(self) -> Scope:
        return Scope(self.credentials, self.date[:8], self.region, self.service)


def headers_of(request: Request, by: By) -> list[tuple[str, str]]:
    """All headers that are signed."""
    token = by.credentials.token
    signing = [("X-Amz-Date", by.date), *([("X-Amz-Security-Token", token)] if token else [])]
    return [("Host", request.host), *request.headers, *signing]


def signed_by_us(request: Request, by: By) -> str:
    """The ``Authorization`` header, by the signer under test."""
    return by.scope.signed(
        request.method,
        request.path,
        query=request.query,
        headers=headers_of(request, by),
        payload_hash=hash_hex(request.body),
        amz_date=by.date,
    )


def signed_by_botocore(request: Request, by: By) -> str:
    """The ``Authorization`` header, by botocore's signer."""
    return authorize(for_botocore(request), by)


def for_botocore(request: Request) -> AWSRequest:
    url = f"https://{request.host}{request.path}"
    made = AWSRequest(method=request.method, url=url, data=request.body)
    # Pairs, where its types know a mapping: a name may come twice.
    made.params = list(request.query)  # type: ignore[assignment]
    for name, value in request.headers:
        made.headers[name] = value  # Which adds it.
    return made


def authorize(request: AWSRequest, by: By) -> str:
    """Let botocore sign *request*; it adds host, date and session token by itself."""
    keys = by.credentials
    with botocore_at(datetime.strptime(by.date, "%Y%m%dT%H%M%S%z").replace(tzinfo=None)):
        signer = SigV4Auth(BotocoreCredentials(keys.access_key, keys.secret_key, keys.token), by.service, by.region)
        signer.add_auth(request)
    # Else it has another clock than the one that is set here.
    assert request.headers["X-Amz-Date"] == by.date
    return str(request.headers["Authorization"])


@contextmanager
def botocore_at(now: datetime) -> Iterator[None]:
    """The clock of botocore's signer: a function of its own in newer versions, ``datetime`` in older ones."""
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(botocore.auth, "get_current_datetime"):
            patch.setattr("botocore.auth.get_current_datetime", lambda: now)
        else:
            clock = SimpleNamespace(utcnow=lambda: now, strptime=datetime.strptime)
            patch.setattr("botocore.auth.datetime", SimpleNamespace(datetime=clock))
        yield


# Any request

printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
# Lone surrogates are no text that could be sent.
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# Those that an encoder is most likely to get wrong, often.
awkward = st.text(st.sampled_from("aZ09-_.~%+& =;:@!$'()*,[]{}<>\"\\^`|/?#ü€\U0001f600"), max_size=12)
texts = any_text | awkward
# What a URL's parser takes for its own (or takes out) cannot be told to botocore, which is given a URL.
segments = (texts | st.sampled_from(["", ".", "..", "...", "%2e", "%2F", "a b"])).map(
    lambda text: re.sub(r"[/?#\t\r\n]", "", text)
)
paths = st.lists(segments, max_size=6).map(lambda parts: "/" + "/".join(parts))
queries = st.lists(st.tuples(texts, texts) | st.tuples(st.sampled_from("aAbB"), texts), max_size=5)
# These botocore sets, or never signs.
RESERVED = {
    "authorization", "connection", "date", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization",
    "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "x-amz-content-sha256", "x-amz-date",
    "x-amz-security-token", "x-amzn-trace-id",
}  # fmt: skip
names = st.text("abcxyzABCXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=12).filter(lambda n: n.lower() not in RESERVED)
# Now and then the same name, in another case.
names |= st.sampled_from(["My-Header", "my-header", "MY-HEADER", "Content-Type", "content-type"])
# Botocore also takes off and folds the white space of other scripts, which in a header is a part of the value.
any_value = any_text.map(lambda text: "".join(c for c in text if not c.isspace() or c in " \t\r\n"))
values = st.text(st.sampled_from("aB1 \t\"',=;ü"), max_size=12) | any_value
credentials = st.builds(Credentials, printable, printable, st.none() | printable)
dates = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.strftime("%Y%m%dT%H%M%SZ"))  # noqa: DTZ001
labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20)
signers = st.builds(By, credentials, labels, labels, dates)
requests = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"]),
    path=paths,
    query=queries,
    headers=st.lists(st.tuples(names, values), max_size=5),
    body=st.binary(max_size=200),
    host=st.sampled_from(["example.amazonaws.com", "localhost:8000", "[::1]:4566", "127.0.0.1"]),
)


def ends_in_dots(path: str) -> bool:
    return path.endswith(("/.", "/.."))


@settings(max_examples=500)
@given(requests.filter(lambda request: not ends_in_dots(request.path)), signers)
@example(Request(path="/a//b/../c/./%25/é "), By(Credentials("key", "secret")))
@example(Request(query=[("b", ""), ("a", "2"), ("a", "1"), ("A", "/ +&=~")]), By(Credentials("key", "secret", "token")))
@example(Request(headers=[("X-B", " 1  2 "), ("x-a", ""), ("x-b", "\t3")]), By(Credentials("key", "secret")))
def test_any_request_is_signed_as_botocore_signs_it(request: Request, by: By) -> None:
    asked = for_botocore(request)
    expected = authorize(asked, by)
    signer = SigV4Auth(BotocoreCredentials("key", "secret"), by.service, by.region)
    # First what is signed, which shows where they differ.
    canonical, names = canonical_request(
        request.method, request.path, request.query, headers_of(request, by), hash_hex(request.body)
    )
    del asked.headers["Authorization"]
    assert canonical == signer.canonical_request(asked)
    assert f" SignedHeaders={names}, " in expected
    assert signed_by_us(request, by) == expected


@given(
    st.builds(lambda path, dots: f"{path.rstrip('/')}/{dots}", paths, st.sampled_from([".", ".."])).filter(ends_in_dots)
)
def test_a_path_that_ends_in_dots_ends_with_a_slash(path: str) -> None:
    # As RFC 3986 (5.2.4) has it; it is the one thing that botocore does in another way: it drops that slash.
    dots = Request(path=path)
    assert signed_by_us(dots, BY) == signed_by_botocore(Request(path=path + "/"), BY)


@given(st.permutations([("Host", "h"), ("B", "1"), ("a", "2"), ("X-Amz-Date", "3")]), st.permutations(["1", "2", "2"]))
def test_the_order_of_headers_and_of_the_query_does_not_matter_but_that_of_one_headers_values_does(
    headers: list[tuple[str, str]], values: list[str]
) -> None:
    query = [("q", value) for value in values]
    repeated = [("V", value) for value in values]
    canonical, names = canonical_request("GET", "/", query, headers + repeated, hash_hex(b""))
    assert canonical.splitlines() == [
        "GET", "/", "q=1&q=2&q=2", "a:2", "b:1", "host:h", f"v:{','.join(values)}", "x-amz-date:3", "", names, hash_hex(b""),
    ]  # fmt: skip
    assert names == "a;b;host;v;x-amz-date"


# What AWS has published

KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
BY = By(KEYS)
TEMPORARY = By(
    Credentials(
        KEYS.access_key,
        KEYS.secret_key,
        "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwt"
        "hAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXA"
        "kiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
    )
)
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FORM = "application/x-www-form-urlencoded"
VANILLA_GET = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
VANILLA_POST = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"


def mine(*values: str) -> list[tuple[str, str]]:
    return [("My-Header1", value) for value in values]


# The signatures of AWS's Signature Version 4 test suite, by the suite's names.
SUITE: dict[str, tuple[Request, str]] = {
    "get-vanilla": (Request(), VANILLA_GET),
    "get-vanilla-query": (Request(), VANILLA_GET),
    "get-vanilla-empty-query-key": (
        Request(query=[("Param1", "value1")]),
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    "get-vanilla-query-order-key": (
        Request(query=[("Param1", "value2"), ("Param1", "Value1")]),
        "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
    ),
    "get-vanilla-query-order-key-case": (
        Request(query=[("Param2", "value2"), ("Param1", "value1")]),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-vanilla-query-order-value": (
        Request(query=[("Param1", "value2"), ("Param1", "value1")]),
        "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
    ),
    "get-vanilla-query-order-encoded": (
        Request(query=[("Param-3", "Value3"), ("Param", "Value2"), ("ሴ", "Value1")]),
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    "get-vanilla-query-unreserved": (
        Request(query=[(UNRESERVED, UNRESERVED)]),
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    "get-vanilla-utf8-query": (
        Request(query=[("ሴ", "bar")]),
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    "get-header-key-duplicate": (
        Request(headers=mine("value2", "value2", "value1")),
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    "get-header-value-multiline": (
        Request(headers=mine("value1\n  value2\n     value3")),
        "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
    ),
    "get-header-value-order": (
        Request(headers=mine("value4", "value1", "value3", "value2")),
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
    ),
    "get-header-value-trim": (
        Request(headers=[*mine(" value1"), ("My-Header2", ' "a   b   c"')]),
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "get-unreserved": (
        Request(path="/" + UNRESERVED),
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    "get-utf8": (Request(path="/ሴ"), "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    "normalize-path/get-relative": (Request(path="/example/.."), VANILLA_GET),
    "normalize-path/get-relative-relative": (Request(path="/example1/example2/../.."), VANILLA_GET),
    "normalize-path/get-slash": (Request(path="//"), VANILLA_GET),
    "normalize-path/get-slash-dot-slash": (Request(path="/./"), VANILLA_GET),
    "normalize-path/get-slash-pointless-dot": (
        Request(path="/./example"),
        "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
    ),
    "normalize-path/get-slashes": (
        Request(path="//example//"),
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    "normalize-path/get-space": (
        Request(path="/example space/"),
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    "normalize-path/get-special-character": (
        Request(path="/example/$delete"),
        "a853c9b21b528b19643d00910d35b83a10c366a10833ceefb45edd6c80e40f27",
    ),
    "post-vanilla": (Request("POST"), VANILLA_POST),
    "post-header-key-case": (Request("POST"), VANILLA_POST),
    "post-sts-header-after": (Request("POST"), VANILLA_POST),
    "post-header-key-sort": (
        Request("POST", headers=mine("value1")),
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-header-value-case": (
        Request("POST", headers=mine("VALUE1")),
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    ),
    "post-vanilla-query": (
        Request("POST", query=[("Param1", "value1")]),
        "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    "post-vanilla-empty-query-value": (
        Request("POST", query=[("Param1", "value1")]),
        "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    "post-vanilla-query-nonunreserved": (
        Request("POST", query=[("@#$%^", ""), ("+", '/,?><`";:\\|][{}')]),
        "66c82657c86e26fb25238d0e69f011edc4c6df5ae71119d7cb98ed9b87393c1e",
    ),
    "post-vanilla-query-space": (
        Request("POST", query=[("p", "")]),
        "e71688addb58a26418614085fb730ba3faa623b461c17f48f2fbdb9361b94a9b",
    ),
    "post-x-www-form-urlencoded": (
        Request("POST", headers=[("Content-Type", FORM)], body=b"Param1=value1"),
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    "post-x-www-form-urlencoded-parameters": (
        Request("POST", headers=[("Content-Type", f"{FORM}; charset=utf8")], body=b"Param1=value1"),
        "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
    ),
}


@pytest.mark.parametrize(("request_", "signature"), SUITE.values(), ids=SUITE)
@pytest.mark.parametrize("sign", [signed_by_us, signed_by_botocore])
def test_the_published_signatures_come_out(
    request_: Request, signature: str, sign: Callable[[Request, By], str]
) -> None:
    # By botocore, too: whoever copied a request or a signature wrongly would blame the signer.
    signed = sign(request_, BY)
    assert signed.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ")
    assert signed.endswith(f", Signature={signature}")


@pytest.mark.parametrize("sign", [signed_by_us, signed_by_botocore])
def test_the_published_signature_with_a_session_token_comes_out(sign: Callable[[Request, By], str]) -> None:
    assert sign(Request("POST"), TEMPORARY) == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date;x-amz-security-token, "
        "Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
    )


@pytest.mark.parametrize("sign", [signed_by_us, signed_by_botocore])
def test_the_documentations_example_comes_out(sign: Callable[[Request, By], str]) -> None:
    list_users = Request(
        query=[("Action", "ListUsers"), ("Version", "2010-05-08")],
        headers=[("content-type", f"{FORM}; charset=utf-8")],
        host="iam.amazonaws.com",
    )
    assert sign(list_users, By(KEYS, service="iam")) == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


@pytest.mark.parametrize(
    ("date", "key"),
    [
        ("20150830", "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"),
        ("20120215", "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"),
    ],
)
def test_the_documentations_signing_keys_come_out(date: str, key: str) -> None:
    assert Scope(KEYS, date, "us-east-1", "iam")._key.hex() == key


def test_no_other_scope_has_the_same_key() -> None:
    scopes = [
        Scope(KEYS, "20150830", "us-east-1", "iam"),
        Scope(KEYS, "20150831", "us-east-1", "iam"),
        Scope(KEYS, "20150830", "us-east-2", "iam"),
        Scope(KEYS, "20150830", "us-east-1", "dynamodb"),
        Scope(Credentials(KEYS.access_key, KEYS.secret_key[:-1]), "20150830", "us-east-1", "iam"),
    ]
    assert len({scope.signature("the same") for scope in scopes}) == len(scopes)


# What is sent


@dataclass(frozen=True)
class Sent:
    """A request as it went over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Sent:
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        method, target, version = first.split(" ")
        assert version == "HTTP/1.1"
        headers = [line.split(": ", 1) for line in lines]
        assert len({name.lower() for name, _ in headers}) == len(headers)
        return cls(method, target, {name.lower(): value for name, value in headers}, body)

    def authorization(self, by: By, endpoint: Endpoint) -> str:
        """What botocore would have put there: host, date and token are what it knows itself."""
        url = f"{'https' if endpoint.secure else 'http'}://{endpoint.authority}{self.target}"
        request = AWSRequest(method=self.method, url=url, data=self.body)
        for name in ("content-type", "x-amz-target"):
            request.headers[name] = self.headers[name]
        return authorize(request, by)


def amz(now: float) -> str:
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y%m%dT%H%M%SZ")


ENDPOINTS = [
    Endpoint.parse(url)
    for url in (
        "https://dynamodb.eu-central-1.amazonaws.com",
        "https://123456789012.ddb.eu-central-1.amazonaws.com",
        "http://localhost:8000",
        "http://127.0.0.1",
        "https://[::1]:4566/dynamodb/",
        "https://proxy.example/one//two/./three/../four",
    )
]
CREDENTIALS = [
    Credentials("AKID1", "secret1"),
    Credentials("AKID1", "secret2"),
    Credentials("AKID2", "secret2", "token"),
    Credentials("AKID2", "secret2", "another=token/+"),
]
MIDNIGHT = 1_448_236_800
moments = st.integers(MIDNIGHT - 2, MIDNIGHT + 2) | st.integers(0, 4_000_000_000)
calls = st.tuples(
    st.sampled_from(OPERATIONS),
    st.sampled_from(CREDENTIALS),
    st.sampled_from(ENDPOINTS),
    st.floats(0, 0.999).flatmap(lambda part: moments.map(lambda second: second + part)),
    st.binary(max_size=60),
)


@given(st.lists(calls, min_size=1, max_size=8))
def test_whatever_was_sent_before_a_request_carries_the_signature_that_botocore_computes_for_it(
    calls: list[tuple[Operation[Reply], Credentials, Endpoint, float, bytes]],
) -> None:
    # One core prepares much of a request once; nothing of that may outlive its day, its keys or its endpoint.
    core = Core("eu-central-1", "test")
    for operation, keys, endpoint, now, body in calls:
        sent = Sent.parse(core.request(operation, body, endpoint, keys, now))
        by = By(keys, "eu-central-1", "dynamodb", amz(now))
        assert sent.headers["authorization"] == sent.authorization(by, endpoint)
        assert sent.headers["x-amz-date"] == by.date
        assert sent.headers.get("x-amz-security-token") == keys.token
        assert sent.headers["host"] == endpoint.authority
        assert sent.headers["x-amz-target"] == f"DynamoDB_20120810.{operation.name}"
        assert sent.headers["content-type"] == "application/x-amz-json-1.0"
        assert sent.headers["content-length"] == str(len(sent.body))
        assert sent.body == body


def test_every_operation_is_signed_with_and_without_a_token_across_a_midnight() -> None:
    assert len(OPERATIONS) == 14
    core = Core("eu-central-1", "test")
    for now in (MIDNIGHT - 1, MIDNIGHT - 0.001, MIDNIGHT, MIDNIGHT + 0.5, MIDNIGHT - 1):
        for keys in CREDENTIALS:
            for operation in OPERATIONS:
                sent = Sent.parse(core.request(operation, b"{}", ENDPOINTS[0], keys, now))
                by = By(keys, "eu-central-1", "dynamodb", amz(now))
                assert sent.headers["authorization"] == sent.authorization(by, ENDPOINTS[0])
    assert amz(MIDNIGHT - 0.001)[:8] != amz(MIDNIGHT)[:8]


class Stop(Exception):
    """Instead of sending a request."""


def sent_by_botocore(endpoint_url: str) -> AWSPreparedRequest:
    """A request of botocore's, as it would go to an endpoint: now, by `KEYS`."""
    kept: list[AWSPreparedRequest] = []

    def keep(request: AWSPreparedRequest, **_: object) -> None:
        kept.append(request)
        raise Stop

    client = botocore.session.Session().create_client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=endpoint_url,
        aws_access_key_id=KEYS.access_key,
        aws_secret_access_key=KEYS.secret_key,
    )
    client.meta.events.register_first("before-send.dynamodb", keep)
    with pytest.raises(Stop), botocore_at(datetime(2015, 8, 30, 12, 36)):  # noqa: DTZ001
        client.get_item(TableName="sessions", Key={"token": {"S": "abc"}})  # type: ignore[attr-defined]
    return kept[0]


# What is in it that is encoded already is sent as it is, and signed encoded once more.
@pytest.mark.parametrize(
    "path",
    ["", "/", "/prefix", "/prefix/", "/a//b/./c/../d", "/ü", "/~tilde", "/$a;b,c", "/a%20b", "/a%2Fb", "/%C3%BC"],
)
def test_an_endpoints_path_is_sent_and_signed_as_botocore_does(path: str) -> None:
    url = f"https://proxy.example{path}"
    expected = sent_by_botocore(url)
    assert isinstance(expected.body, bytes)
    core = Core("us-east-1", "test")
    sent = Sent.parse(core.request(GET_ITEM, expected.body, Endpoint.parse(url), KEYS, 1_440_938_160))
    # In whichever spelling: botocore leaves it to urllib3 what is encoded at last.
    assert unquote(sent.target) == unquote(urlsplit(expected.url).path)
    signature = re.compile(r"Signature=(\w+)")
    assert signature.findall(sent.headers["authorization"]) == signature.findall(str(expected.headers["Authorization"]))


# Secrets

SECRET = "the-secret-part-of-the-key"
TOKEN = "the-session-token"
SECRETS = Credentials("AKIDSHOWN", SECRET, TOKEN)
SIGNING_KEY = By(SECRETS, "eu-central-1", "dynamodb").scope._key


def test_no_repr_shows_a_secret() -> None:
    scope = Scope(SECRETS, "20150830", "eu-central-1", "dynamodb")
    access = Fixed(SECRETS, ENDPOINTS[0])
    core = Core("eu-central-1", "test")
    core.request(GET_ITEM, b"{}", ENDPOINTS[0], SECRETS, MIDNIGHT)
    client = WireClient("eu-central-1", credentials=SECRETS)
    async_client = AsyncWireClient("eu-central-1", credentials=SECRETS)
    shown: list[object] = [
        SECRETS,
        scope,
        access,
        core,
        client,
        client.meta,
        client._setup,
        async_client,
        async_client._setup,
        DynamoStore(client),
    ]
    for one in shown:
        for text in (repr(one), str(one), f"{one}"):
            assert SECRET not in text
            assert TOKEN not in text
            assert scope._key.hex() not in text
            assert repr(scope._key) not in text
    assert repr(SECRETS) == "Credentials(...)"
    client.close()


@pytest.fixture(scope="module")
def running(credentials: None) -> Iterator[FakeDynamoDB]:
    with FakeDynamoDB() as fake:
        yield fake


@pytest.fixture
def fake(running: FakeDynamoDB) -> FakeDynamoDB:
    running.forget()
    return running


ANSWERS: dict[str, Answer] = {
    "a success": success(),
    "a refusal": refusal("UnrecognizedClientException", "The security token included in the request is invalid."),
    "a wrong signature": refusal("InvalidSignatureException", "The request signature we calculated does not match"),
    "throttling": refusal("ThrottlingException"),
    "a page": FakeReply(403, b"<html>go away</html>"),
    "a failure": FakeReply(500, b""),
    "a closed connection": Fault.CLOSED,
    "a reset connection": Fault.RESET,
    "half a reply": Fault.HALF,
    "silence": Fault.SILENCE,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_neither_a_log_nor_an_exception_shows_a_secret(
    fake: FakeDynamoDB, caplog: pytest.LogCaptureFixture, asynchronous: bool, answer: Answer
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.answer(answer)

    def call() -> None:
        with WireClient(
            "eu-central-1", fake.url, credentials=SECRETS, attempts=2, read_timeout=0.1, call_timeout=0.5
        ) as client:
            client.get_item(TableName="sessions", Key={"token": {"S": "abc"}})

    async def acall() -> None:
        async with AsyncWireClient(
            "eu-central-1", fake.url, credentials=SECRETS, attempts=2, read_timeout=0.1, call_timeout=0.5
        ) as client:
            await client.get_item(TableName="sessions", Key={"token": {"S": "abc"}})

    error: Exception | None = None
    try:
        asyncio.run(acall()) if asynchronous else call()
    except WireError as caught:
        error = caught
    assert (error is None) == (answer is ANSWERS["a success"])
    key = By(SECRETS, "eu-central-1", "dynamodb", amz(datetime.now(UTC).timestamp())).scope._key
    assert_discreet(error or Exception(), SECRET, TOKEN, key, key.hex(), log=caplog.text)


def test_a_retry_is_logged_so_that_the_test_above_has_something_to_read(
    fake: FakeDynamoDB, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.answer(refusal("InternalServerError", status=500), success())
    with WireClient("eu-central-1", fake.url, credentials=SECRETS) as client:
        client.get_item(TableName="sessions", Key={"token": {"S": "abc"}})
    assert "GetItem: InternalServerError; attempt 2" in caplog.text


# What cannot stand in a header is no credential, and is not repeated.
unusable = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10).filter(
    lambda text: re.search(r"[^\x21-\x7e]", text) is not None
)


@given(unusable, st.sampled_from(range(4)))
def test_what_could_break_out_of_a_header_is_refused_without_being_shown(text: str, place: int) -> None:
    text = f"SECRET{text}SECRET"
    parts = ["key", "secret", "token", "account"]
    parts[place] = text
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        Credentials(*parts)
    assert_discreet(caught.value, "SECRET")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("through_botocore", [False, True])
def test_an_unusable_key_in_the_environment_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, through_botocore: bool
) -> None:
    caplog.set_level(logging.DEBUG, "dynamostore")
    monkeypatch.setenv(name, "SECRET\r\nHost: elsewhere")
    if through_botocore:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with pytest.raises(CredentialsError, match="printable ASCII") as caught:
        WireClient("eu-central-1", "http://127.0.0.1:1").get_item(TableName="t", Key={"token": {"S": "abc"}})
    assert_discreet(caught.value, "SECRET", log=caplog.text)


def test_a_wrong_type_is_refused_without_being_shown() -> None:
    with pytest.raises(TypeError, match="must be str, not bytes") as caught:
        Credentials("key", b"SECRET")  # type: ignore[arg-type]  # that is the point
    assert_discreet(caught.value, "SECRET")


def test_a_store_that_is_refused_shows_no_secret(fake: FakeDynamoDB, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    fake.answer(refusal("InvalidSignatureException"))
    with WireClient("eu-central-1", fake.url, credentials=SECRETS) as client, pytest.raises(StoreError) as caught:
        DynamoStore(client).find("token")
    assert_discreet(caught.value, SECRET, TOKEN, log=caplog.text)
