"""Region, endpoint, credentials and the rest: what botocore would take, the fast way where the environment says it all.

The other half of each comparison is a real botocore client, whose request is looked at before it would be sent.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import BotoCoreError
from botocore.loaders import create_loader
from botocore.utils import get_environ_proxies
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dynamostore import AccessDeniedError, UnavailableError, connect
from dynamostore.local import LocalDynamoDB
from dynamostore.loopback import is_loopback
from dynamostore.wire import (
    AsyncWireClient,
    Credentials,
    CredentialsError,
    CredentialsUnavailableError,
    ServiceError,
    SettingsError,
    WireClient,
)
from dynamostore.wire._core import Core, Endpoint
from dynamostore.wire._environment import from_environment
from dynamostore.wire._resolve import resolve
from dynamostore.wire._tls import name_in_certificate
from dynamostore.wire.types import GET_ITEM, GetItem

from .fakes import assert_discreet

ITEM: GetItem = {"TableName": "sessions", "Key": {"token": {"S": "abc"}}}
GIVEN = Credentials("GIVEN", "given-secret")


# An environment of its own


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder; ``a.pem`` and ``b.pem`` in it are bundles that are there, whatever they hold."""
    home = tmp_path_factory.mktemp("home")
    (home / ".aws").mkdir()
    for name in ("a.pem", "b.pem"):
        (home / name).touch()
    return home


@contextmanager
def only(environ: Mapping[str, str], home: Path) -> Iterator[None]:
    """An environment with *environ* and nothing else that botocore would read."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith("AWS_") or name.upper().endswith(("_PROXY", "_CA_BUNDLE")):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        # It would read its descriptions of all services anew for each client.
        patch.setattr("botocore.session.create_loader", lambda _: LOADER)
        for name, value in environ.items():
            patch.setenv(name, value)
        yield


LOADER = create_loader(None)


@pytest.fixture
def bare(home: Path) -> Iterator[pytest.MonkeyPatch]:
    """An environment with nothing in it, to be filled."""
    # Undone from the inside out, which pytest's own would not be.
    with only({}, home), pytest.MonkeyPatch.context() as patch:
        yield patch


# Two ways to find out


@dataclass(frozen=True)
class Setting:
    """All that a client may be told, and by which way."""

    environ: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None
    credentials: Credentials | None = None
    ca_bundle: str | None = None

    @contextmanager
    def applied(self, home: Path) -> Iterator[Setting]:
        """With the files written and the environment set; paths are in *home* then."""
        for name, text in self.files.items():
            (home / ".aws" / name).write_text(text.replace("~", str(home)))
        environ = {name: value.replace("~", str(home)) for name, value in self.environ.items()}
        try:
            with only(environ, home):
                yield replace(self, ca_bundle=self.ca_bundle and self.ca_bundle.replace("~", str(home)))
        finally:
            for name in self.files:
                (home / ".aws" / name).unlink()


@dataclass(frozen=True)
class Found:
    """Where a call goes, how it is signed (which says by whom, for which region, with which token), and what else is set."""

    endpoint: Endpoint
    authorization: str
    token: str | None
    ca_bundle: str | None
    attempts: int


class Stop(Exception):
    """Instead of sending a request."""


def by_botocore(setting: Setting) -> tuple[Found, AWSPreparedRequest] | None:
    """What a botocore client would do with a GetItem; None if it refuses to."""
    sent: list[AWSPreparedRequest] = []

    def keep(request: AWSPreparedRequest, **_: object) -> None:
        sent.append(request)
        raise Stop

    try:
        session = botocore.session.Session(profile=setting.profile)
        # AWS_REGION is not botocore's; here it is what is left where botocore finds none.
        region = setting.region or session.get_config_variable("region") or os.environ.get("AWS_REGION")
        if not region:
            # It would sign for a region without a name, if it had an endpoint.
            return None
        keys = setting.credentials
        client: Any = session.create_client(
            "dynamodb",
            region_name=region,
            endpoint_url=setting.endpoint_url,
            verify=setting.ca_bundle,
            aws_access_key_id=keys.access_key if keys else None,
            aws_secret_access_key=keys.secret_key if keys else None,
            aws_session_token=keys.token if keys else None,
            aws_account_id=keys.account_id if keys else None,
        )
        client.meta.events.register_first("before-send.dynamodb", keep)
        with suppress(Stop):
            client.get_item(**ITEM)
    except (BotoCoreError, ValueError, RuntimeError):
        return None
    (request,) = sent
    verify = client._endpoint.http_session._verify
    found = Found(
        Endpoint.parse(request.url),
        text(request.headers["Authorization"]),
        text(request.headers["X-Amz-Security-Token"]) if "X-Amz-Security-Token" in request.headers else None,
        None if verify is True else verify,
        client.meta.config.retries.get("total_max_attempts", 4),
    )
    return found, request


def text(header: object) -> str:
    return header.decode() if isinstance(header, bytes) else str(header)


def by_us(setting: Setting, like: AWSPreparedRequest | None) -> Found | None:
    """What a wire client would do with the same body at the same time; None if it refuses to."""
    try:
        resolved = resolve(
            setting.region,
            setting.endpoint_url,
            profile=setting.profile,
            credentials=setting.credentials,
            ca_bundle=setting.ca_bundle,
        )
        credentials, endpoint = resolved.access.fetch(10)
        assert endpoint.host_header
    except (SettingsError, CredentialsError):
        return None
    date, body = (text(like.headers["X-Amz-Date"]), like.body) if like else ("20150830T123600Z", b"")
    assert isinstance(body, bytes)
    now = datetime.strptime(date, "%Y%m%dT%H%M%S%z").timestamp()
    raw = Core(resolved.region, "test").request(GET_ITEM, body, endpoint, credentials, now)
    headers = dict(line.split(": ", 1) for line in raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:])
    return Found(
        endpoint,
        headers["Authorization"],
        headers.get("X-Amz-Security-Token"),
        resolved.ca_bundle,
        resolved.attempts,
    )


def compare(setting: Setting, home: Path) -> Found | None:
    """What both find; None if both refuse."""
    with setting.applied(home) as applied:
        expected = by_botocore(applied)
        found = by_us(applied, expected and expected[1])
    assert found == (expected and expected[0])
    return found


# Any setting


def mostly(*good: str, bad: str, empty: bool = False) -> st.SearchStrategy[str]:
    """One of *good*, now and then *bad* or, if it may be, empty: one refusal too many, and nothing else is compared."""
    return st.sampled_from([*good * (12 // len(good) + 1), bad, *([""] if empty else [])])


regions = partial(
    mostly,
    "us-east-1",
    "eu-central-1",
    "ap-southeast-5",
    "mx-central-1",
    "us-gov-west-1",
    "cn-north-1",
    "us-iso-east-1",
    "us-isob-east-1",
    "eusc-de-east-1",
    "nowhere",
    "local",
    "fips-us-east-1",
    "us-gov-west-1-fips",
    bad="not a region",
)
urls = partial(
    mostly,
    "http://localhost:8000",
    "http://127.0.0.1",
    "https://[::1]:4566/",
    "https://proxy.example/prefix",
    "https://dynamodb.eu-central-1.amazonaws.com",
    "https://dynamodb.eu-central-1.amazonaws.com:443/",
    bad="no url",
)
booleans = partial(mostly, "true", "TRUE", "false", "1", bad="maybe")
modes = partial(mostly, "preferred", "disabled", "required", bad="sometimes")
accounts = partial(mostly, "123456789012", "000000000001", bad="no-account")
# "adaptive" is refused by design; there is a test of its own.
retry_modes = partial(mostly, "legacy", "standard", bad="often")
attempts = partial(mostly, "1", "2", "7", "0", bad="many")
bundles = st.sampled_from(["~/a.pem", "~/b.pem"])

VARIABLES = {
    "AWS_ACCESS_KEY_ID": mostly("ENVKEY", bad=""),
    "AWS_SECRET_ACCESS_KEY": mostly("env-secret", bad=""),
    "AWS_SESSION_TOKEN": mostly("env-session", bad=""),
    "AWS_SECURITY_TOKEN": mostly("env-security", bad=""),
    "AWS_DEFAULT_REGION": regions(empty=True),
    "AWS_REGION": regions(),
    "AWS_ENDPOINT_URL": urls(empty=True),
    "AWS_ENDPOINT_URL_DYNAMODB": urls(empty=True),
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": booleans(empty=True),
    "AWS_USE_FIPS_ENDPOINT": booleans(empty=True),
    "AWS_USE_DUALSTACK_ENDPOINT": booleans(empty=True),
    "AWS_ACCOUNT_ID": accounts(empty=True),
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": modes(empty=True),
    "AWS_MAX_ATTEMPTS": attempts(empty=True),
    "AWS_RETRY_MODE": retry_modes(empty=True),
    "AWS_CA_BUNDLE": mostly("~/a.pem", "~/b.pem", bad=""),
    "AWS_PROFILE": mostly("default", "work", bad="missing", empty=True),
    "AWS_DEFAULT_PROFILE": mostly("default", "work", bad="missing", empty=True),
    "AWS_CREDENTIAL_EXPIRATION": mostly("2100-01-01T00:00:00Z", bad="2015-08-30T12:36:00Z"),
}
OPTIONS = {
    "region": regions(),
    "endpoint_url": urls(),
    "services": mostly("ours", bad="missing"),
    "aws_access_key_id": st.just("FILEKEY"),
    "aws_secret_access_key": st.just("file-secret"),
    "aws_session_token": st.just("file-token"),
    "aws_account_id": accounts(),
    "ca_bundle": bundles,
    "max_attempts": attempts(),
    "retry_mode": retry_modes(),
    "use_fips_endpoint": booleans(),
    "use_dualstack_endpoint": booleans(),
    "ignore_configured_endpoint_urls": booleans(),
    "account_id_endpoint_mode": modes(),
}


def some_of(
    values: Mapping[str, st.SearchStrategy[str]], always: Mapping[str, str]
) -> st.SearchStrategy[Mapping[str, str]]:
    """A few of many, and mostly what it takes to be complete."""
    few = st.lists(st.sampled_from(sorted(values)), max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: values[name] for name in names})
    )
    return st.builds(lambda base, more: {**base, **more}, st.sampled_from([always, always, {}]), few)


def ini(sections: Mapping[str, Mapping[str, str]]) -> str:
    """A configuration file."""
    lines = []
    for name, options in sections.items():
        lines += [f"[{name}]", *(f"{option} = {value}" for option, value in options.items())]
    return "\n".join(lines)


PAIR = {"AWS_ACCESS_KEY_ID": "ENVKEY", "AWS_SECRET_ACCESS_KEY": "env-secret"}
FILE_PAIR = {"aws_access_key_id": "FILEKEY", "aws_secret_access_key": "file-secret"}
environs = some_of(VARIABLES, {**PAIR, "AWS_DEFAULT_REGION": "eu-central-1"})
profiles = some_of(OPTIONS, {**FILE_PAIR, "region": "us-east-2"})
configs = st.builds(
    lambda default, work, url: ini(
        {"default": default, "profile work": work, "services ours": {"dynamodb": f"\n  endpoint_url = {url}"}}
    ),
    profiles,
    profiles,
    urls(),
)
key_files = st.fixed_dictionaries({"work": profiles}, optional={"default": profiles}).map(ini)
no_files: st.SearchStrategy[Mapping[str, str]] = st.just({})
files = st.fixed_dictionaries({"config": configs}, optional={"credentials": key_files})
any_settings = st.builds(
    Setting,
    environ=environs,
    files=no_files | files,
    region=st.none() | regions(),
    endpoint_url=st.none() | st.none() | urls(),
    profile=st.sampled_from([None, None, None, "work"]),
    credentials=st.sampled_from(
        [
            None,
            None,
            GIVEN,
            Credentials("GIVEN", "given-secret", "given-token"),
            Credentials("GIVEN", "given-secret", "given-token", "123456789012"),
        ]
    ),
    ca_bundle=st.none() | bundles,
)
CONFIGURED = {
    "config": "[default]\nregion = us-gov-west-1\n[profile work]\nregion = cn-north-1\nservices = ours\n"
    "[services ours]\ndynamodb =\n  endpoint_url = https://proxy.example/work\n",
    "credentials": "[work]\naws_access_key_id = FILEKEY\naws_secret_access_key = file-secret\n",
}


# Hosts that people have, and such as nobody can have; of some botocore says that there cannot be any.
HOSTS = [
    "dynamodb_local",
    "_dynamodb",
    "a_b.example",
    "dynamodb-local",
    "dynamodb.",
    "DynamoDB",
    "d\u00fcnamo.example",
    "-dynamodb",
    "dynamodb-",
    "a..b",
    ".",
    "a" * 63,
    "a" * 64,
    ".".join(["a" * 50] * 6),
    "127.0.0.1",
    "[::1]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[v1.a]",
    "[::1::]",
    "dynamodb.us-east-1.api.aws",
    "search-dynamodb.us-east-1.api.aws",
    "dynamodb.eu-central-1.api.aws",
    "123456789012.ddb.us-east-1.api.aws",
    "dynamodb.us-east-1.amazonaws.com",
    "dynamodb-fips.us-east-1.amazonaws.com",
    "user:password@localhost",
]
own_urls = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https", "http", "https", "ftp"]),
    st.sampled_from(HOSTS),
    st.sampled_from(["", "", ":8000", ":443", ":0", ":65536"]),
    st.sampled_from(["", "/", "/a/b", "/a b", "/%20", "?q", "#f"]),
)


@given(
    st.sampled_from(["argument", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"]),
    own_urls | urls(empty=True),
    st.none() | regions(),
    # The file that says nothing says that there is a default profile.
    some_of(
        {name: values for name, values in VARIABLES.items() if "PROFILE" not in name},
        {**PAIR, "AWS_DEFAULT_REGION": "eu-central-1"},
    ),
)
@settings(max_examples=30)
def test_a_configuration_file_that_says_nothing_changes_nothing(
    home: Path, way: str, url: str, region: str | None, environ: Mapping[str, str]
) -> None:
    setting = Setting({**PAIR, **environ}, region=region)
    if way == "argument":
        setting = replace(setting, endpoint_url=url)
    else:
        setting = replace(setting, environ={**setting.environ, way: url})
    with setting.applied(home) as applied:
        alone = by_us(applied, None)
    with replace(setting, files={"config": "[default]\n"}).applied(home) as applied:
        assert by_us(applied, None) == alone


# Pieces of hosts, good and bad; ssl raises a ValueError for a name with an empty label, for one.
PIECES = [
    "a",
    "a" * 40,
    "1",
    "0x7f",
    ".",
    "..",
    "-",
    "_",
    "*",
    "%",
    "%25",
    ":",
    "::1",
    "xn--",
    "\u00fc",
    "\u3002",
    "\u0661",
    "\xad",
]


@given(st.sampled_from(HOSTS) | st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join))
@example("a..b")
@settings(max_examples=300)
def test_a_host_that_tls_and_the_resolver_refuse_is_refused_when_the_client_is_made(host: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for written in (host, f"[{host}]"):
        try:
            endpoint = Endpoint.parse(f"https://{written}")
        except SettingsError:
            continue
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name_in_certificate(endpoint.host))
        assert ":" in endpoint.host or endpoint.host.encode("idna")
        assert endpoint.host_header.encode("latin-1")


# Botocore sends an IPv6 scope in the Host header; RFC 6874 keeps it on this machine.
@pytest.mark.parametrize("host", [host for host in HOSTS if host.isascii() and not {"_", "@", "%"} & {*host}])
def test_a_host_without_an_underscore_is_one_if_botocore_says_so(home: Path, host: str) -> None:
    compare(Setting(FAST, endpoint_url=f"http://{host}:8000"), home)


@pytest.mark.parametrize("way", ["argument", "environment", "file", "services"])
@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://dynamodb_local:8000", "dynamodb_local"),
        ("http://_dynamodb_:8000/prefix", "_dynamodb_"),
        ("http://d\u00fcnamo.example:8000", "xn--dnamo-kva.example"),
    ],
)
def test_a_host_with_an_underscore_is_a_host(home: Path, way: str, url: str, host: str) -> None:
    setting = Setting(FAST)
    match way:
        case "argument":
            setting = replace(setting, endpoint_url=url)
        case "environment":
            setting = replace(setting, environ={**FAST, "AWS_ENDPOINT_URL": url})
        case "file":
            setting = replace(setting, files={"config": f"[default]\nendpoint_url = {url}"})
        case _:
            config = f"[default]\nservices = ours\n[services ours]\ndynamodb =\n  endpoint_url = {url}\n"
            setting = replace(setting, files={"config": config})
    for more in ({}, {"AWS_MAX_ATTEMPTS": "4"}):
        with replace(setting, environ={**setting.environ, **more}).applied(home) as applied:
            found = by_us(applied, None)
        assert found is not None
        assert found.endpoint == replace(
            Endpoint.parse("http://a:8000" + ("/prefix" if "prefix" in url else "")), host=host
        )


@pytest.mark.parametrize("files", [{}, {"config": "[default]\n"}], ids=["fast", "asked"])
@pytest.mark.parametrize("search", ["", "search-"])
def test_a_dual_stack_endpoint_is_asked_for_by_its_setting(home: Path, files: dict[str, str], search: str) -> None:
    setting = Setting(FAST, files, endpoint_url=f"https://{search}dynamodb.eu-central-1.api.aws")
    with setting.applied(home) as applied, pytest.raises(SettingsError, match="dual-stack"):
        resolve(applied.region, applied.endpoint_url)
    assert compare(setting, home) is None
    assert compare(replace(setting, region="us-east-1"), home) is not None


@given(any_settings)
@example(Setting({**PAIR, "AWS_DEFAULT_REGION": "eu-central-1"}))
@example(Setting({**PAIR, "AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCOUNT_ID": "123456789012"}))
@example(Setting({**PAIR, "AWS_DEFAULT_REGION": "eu-central-1", "AWS_USE_FIPS_ENDPOINT": "true"}))
@example(Setting({**PAIR, "AWS_PROFILE": "work"}, CONFIGURED))
@example(Setting(PAIR, CONFIGURED, profile="work"))
@example(Setting(PAIR, CONFIGURED, credentials=GIVEN))
@example(Setting(PAIR, region="us-iso-east-1"))
def test_any_setting_means_what_it_means_to_botocore_or_both_refuse_it(home: Path, setting: Setting) -> None:
    compare(setting, home)


# They are not what they are called. A FIPS region leads to an endpoint of its own, and is signed for without its FIPS;
# "local" is signed for as us-east-1. (DynamoDB Local keeps the tables of each region that is signed for apart.)
@pytest.mark.parametrize("region", ["local", "fips-us-east-1", "us-east-1-fips"])
@pytest.mark.parametrize("endpoint_url", [None, "http://localhost:8000"])
@pytest.mark.parametrize("way", ["argument", "environment", "file"])
def test_a_region_of_botocores_own_making_means_what_it_means_to_botocore(
    home: Path, region: str, endpoint_url: str | None, way: str
) -> None:
    setting = Setting(PAIR, endpoint_url=endpoint_url)
    match way:
        case "argument":
            setting = replace(setting, region=region)
        case "environment":
            setting = replace(setting, environ={**PAIR, "AWS_DEFAULT_REGION": region})
        case _:
            setting = replace(setting, files={"config": f"[default]\nregion = {region}"})
    assert compare(setting, home) is not None


# Whether or not something else is set that only botocore can tell the meaning of.
@pytest.mark.parametrize(
    "name",
    [
        "AWS_ACCOUNT_ID_ENDPOINT_MODE",
        "AWS_MAX_ATTEMPTS",
        "AWS_RETRY_MODE",
        "AWS_CA_BUNDLE",
        "AWS_PROFILE",
    ],
)
@pytest.mark.parametrize("more", [{}, {"AWS_USE_FIPS_ENDPOINT": "true"}], ids=["fast", "asked"])
def test_an_empty_variable_is_refused_where_botocore_refuses_it(home: Path, name: str, more: dict[str, str]) -> None:
    environ = {**PAIR, "AWS_DEFAULT_REGION": "eu-central-1", name: "", **more}
    assert compare(Setting(environ), home) is None


@pytest.mark.parametrize("more", [{}, {"AWS_MAX_ATTEMPTS": "4"}], ids=["fast", "asked"])
def test_an_argument_is_asked_before_an_empty_variable(home: Path, more: dict[str, str]) -> None:
    environ = {**PAIR, "AWS_DEFAULT_REGION": "eu-central-1", "AWS_CA_BUNDLE": "", **more}
    found = compare(Setting(environ, ca_bundle="~/a.pem"), home)
    assert found is not None
    assert found.ca_bundle == str(home / "a.pem")


FAST = {**PAIR, "AWS_DEFAULT_REGION": "eu-central-1"}
URL = "https://proxy.example/prefix"
BY_ITSELF = {
    "the older token": Setting({**FAST, "AWS_SECURITY_TOKEN": "one"}),
    "both tokens": Setting({**FAST, "AWS_SECURITY_TOKEN": "one", "AWS_SESSION_TOKEN": "other"}),
    "keys that have expired": Setting({**FAST, "AWS_CREDENTIAL_EXPIRATION": "2015-08-30T12:36:00Z"}),
    "an endpoint": Setting({**FAST, "AWS_ENDPOINT_URL": URL}),
    "an endpoint for DynamoDB": Setting(
        {**FAST, "AWS_ENDPOINT_URL_DYNAMODB": URL, "AWS_ENDPOINT_URL": "https://other.example"}
    ),
    "an endpoint that does not count": Setting(
        {**FAST, "AWS_ENDPOINT_URL": URL, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_SESSION_TOKEN": "one"}
    ),
    "IPv6": Setting({**FAST, "AWS_USE_DUALSTACK_ENDPOINT": "true"}),
    "FIPS": Setting({**FAST, "AWS_USE_FIPS_ENDPOINT": "true"}),
    "an account": Setting({**FAST, "AWS_ACCOUNT_ID": "123456789012"}),
    "an account that is given": Setting(FAST, credentials=replace(GIVEN, account_id="123456789012")),
    "no account": Setting({**FAST, "AWS_ACCOUNT_ID_ENDPOINT_MODE": "required"}),
    "attempts": Setting({**FAST, "AWS_MAX_ATTEMPTS": "7"}),
    "a retry mode that there is not": Setting({**FAST, "AWS_RETRY_MODE": "often"}),
    "a bundle": Setting({**FAST, "AWS_CA_BUNDLE": "~/a.pem"}),
    "a bundle that is given": Setting({**FAST, "AWS_CA_BUNDLE": "~/a.pem"}, ca_bundle="~/b.pem"),
    "AWS_REGION": Setting({**PAIR, "AWS_REGION": "us-east-1"}),
    "AWS_REGION and more": Setting({**PAIR, "AWS_REGION": "us-east-1", "AWS_USE_FIPS_ENDPOINT": "true"}),
    "a profile": Setting({**FAST, "AWS_PROFILE": "work"}, CONFIGURED),
    "a default profile": Setting({**FAST, "AWS_DEFAULT_PROFILE": "work"}, CONFIGURED),
    "a profile that there is not": Setting({**FAST, "AWS_PROFILE": "work"}),
}


@pytest.mark.parametrize("setting", BY_ITSELF.values(), ids=BY_ITSELF)
def test_each_setting_by_itself_changes_what_it_changes_for_botocore(home: Path, setting: Setting) -> None:
    found = compare(setting, home)
    # At another time it is another signature.
    plain = compare(Setting(FAST), home)
    assert plain is not None
    assert found is None or replace(found, authorization=who(found)) != replace(plain, authorization=who(plain))


def who(found: Found) -> str:
    """Whose signature it is, and for which region."""
    key, _, region = found.authorization.split("/")[:3]
    return key + region


def test_aws_region_is_used_where_botocore_finds_no_region_and_only_there(home: Path) -> None:
    lambda_like = {**PAIR, "AWS_REGION": "eu-west-1"}
    with only(lambda_like, home):
        assert resolve(None, None).region == "eu-west-1"
        assert botocore.session.Session().get_config_variable("region") is None
    for setting in (
        Setting({**lambda_like, "AWS_DEFAULT_REGION": "eu-central-1"}),
        Setting(lambda_like, region="eu-central-1"),
        Setting(lambda_like, {"config": "[default]\nregion = eu-central-1"}),
    ):
        with setting.applied(home):
            assert resolve(setting.region, None).region == "eu-central-1"
        assert compare(setting, home) is not None


# The fast way

LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "a-function",
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "ASIALAMBDA",
    "AWS_SECRET_ACCESS_KEY": "lambda-secret",
    "AWS_SESSION_TOKEN": "lambda-token",
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"AWS_DEFAULT_REGION": "il-central-1"},
        {"AWS_ENDPOINT_URL": "http://localhost:8000"},
        {"AWS_ENDPOINT_URL_DYNAMODB": "http://localhost:8000", "AWS_ENDPOINT_URL": "https://elsewhere.example"},
        {"AWS_CA_BUNDLE": "~/a.pem"},
        {"AWS_CONFIG_FILE": "~/.aws/nothing", "AWS_SHARED_CREDENTIALS_FILE": ""},
    ],
)
def test_an_environment_like_lambdas_is_read_without_botocore_and_means_the_same(
    home: Path, more: dict[str, str]
) -> None:
    setting = Setting({**LAMBDA, **more})
    with setting.applied(home):
        assert from_environment(None, None, None, None, os.environ) is not None
    assert compare(setting, home) is not None


@pytest.mark.parametrize(
    "setting",
    [
        Setting({**LAMBDA, "AWS_DEFAULT_REGION": "cn-north-1"}),
        Setting({**LAMBDA, "AWS_PROFILE": "work"}, CONFIGURED),
        Setting({**LAMBDA, "AWS_USE_FIPS_ENDPOINT": "true"}),
        Setting({**LAMBDA, "AWS_ACCOUNT_ID": "123456789012"}),
        Setting({**LAMBDA, "AWS_MAX_ATTEMPTS": "2"}),
        Setting(LAMBDA, {"config": ""}),
        Setting(LAMBDA, {"credentials": ""}),
        Setting({"AWS_DEFAULT_REGION": "eu-central-1"}),
        Setting(PAIR),
    ],
    ids=str,
)
def test_what_takes_more_than_the_environment_is_botocores_to_say(home: Path, setting: Setting) -> None:
    with setting.applied(home):
        assert from_environment(None, None, None, None, os.environ) is None


PROGRAM = """
import sys
from dynamostore.wire import WireClient
elsewhere = WireClient(endpoint_url="https://dynamodb.eu-central-1.amazonaws.com")
with WireClient() as client:
    item = client.get_item(TableName="sessions", Key={"token": {"S": "abc"}})["Item"]
print(item["token"]["S"], *sorted(sys.modules))
"""


def test_in_an_environment_like_lambdas_a_call_is_made_and_nothing_slow_is_imported(
    home: Path, service: Service
) -> None:
    environ = {**LAMBDA, "AWS_ENDPOINT_URL_DYNAMODB": service.url, "HOME": str(home)}
    environ |= {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.stderr == ""
    item, *modules = ran.stdout.split()
    assert item == "abc"
    assert service.signed_by == [("ASIALAMBDA", "lambda-token")]
    assert {"boto3", "botocore", "urllib.request", "asyncio", "ssl", "http.client"} & set(modules) == set()
    assert "dynamostore.wire._environment" in modules


def test_without_botocore_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)  # an import raises ModuleNotFoundError
    monkeypatch.delitem(sys.modules, "botocore.session", raising=False)
    monkeypatch.delitem(sys.modules, "dynamostore.wire._botocore", raising=False)
    no_files = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    assert resolve(None, None, environ=LAMBDA | no_files).region == LAMBDA["AWS_REGION"]
    for environ in (LAMBDA | no_files | {"AWS_PROFILE": "ours"}, no_files | {"AWS_REGION": "eu-central-1"}):
        with pytest.raises(
            SettingsError, match=r"not installed: install boto3\. Without it, set AWS_REGION, .*AWS_ACCESS_KEY"
        ):
            resolve(None, None, environ=environ)


# Credentials that are renewed


def credentials_as_json(**changed: object) -> str:
    """What a provider says; good for an hour, or *changed*, where None leaves a part out."""
    until = datetime.now(UTC) + timedelta(hours=1)
    parts = {
        "Version": 1,
        "AccessKeyId": "KEY",
        "SecretAccessKey": "hush-hush",
        "SessionToken": "token",
        "Token": "token",
        "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **changed,
    }
    return json.dumps({name: part for name, part in parts.items() if part is not None})


class Service:
    """DynamoDB, and one who gives out credentials, on a port of the loopback interface.

    *lifetimes*: for how many seconds the first, second, … credentials are good; the last one's goes for all that follow.
    None is a failure, and a text is what is said instead. *given* counts them. *asked* is called each time before they are given out. *signed_by* is the key and
    the session token of each call. *expired*: keys that DynamoDB refuses.
    """

    def __init__(self) -> None:
        self.lifetimes: list[float | str | None] = [3600]
        self.given = 0
        self.asked: Callable[[], object] = lambda: None
        self.signed_by: list[tuple[str, str | None]] = []
        self.expired: set[str] = set()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), partial(_Handler, self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def port(self) -> int:
        return self._server.server_port

    def credentials(self) -> str | None:
        """The next ones, as a process and as a container's agent write them."""
        with self._lock:
            self.given += 1
            number = self.given
        self.asked()
        lifetime = self.lifetimes[min(number, len(self.lifetimes)) - 1]
        if lifetime is None or isinstance(lifetime, str):
            return lifetime
        until = datetime.now(UTC) + timedelta(seconds=lifetime)
        return credentials_as_json(
            AccessKeyId=f"KEY{number}",
            SecretAccessKey=f"secret{number}",
            SessionToken=f"token{number}",
            Token=f"token{number}",
            Expiration=until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, service: Service, *arguments: Any) -> None:
        self._service = service
        super().__init__(*arguments)

    def do_GET(self) -> None:
        credentials = self._service.credentials()
        self._reply(500 if credentials is None else 200, credentials or "")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        self._service.signed_by.append((key, self.headers["X-Amz-Security-Token"]))
        if key in self._service.expired:
            self._reply(400, json.dumps({"__type": "com.amazon.coral.service#ExpiredTokenException"}))
            return
        self._reply(200, json.dumps({"Item": asked["Key"]}))

    def _reply(self, status: int, body: str) -> None:
        encoded = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        yield service


# Without a library it starts in a moment.
PROCESS = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
    s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(s.makefile("rb").read().partition(b"\\r\\n\\r\\n")[2].decode())
"""


@pytest.fixture(params=["a process", "a container"])
def provided(
    request: pytest.FixtureRequest, bare: pytest.MonkeyPatch, tmp_path: Path, service: Service
) -> Iterator[Service]:
    """The service, whose credentials are given out in one way or the other."""
    bare.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    # As it tries three times.
    bare.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    if request.param == "a container":
        bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}/credentials")
    else:
        program = tmp_path / "process.py"
        program.write_text(PROCESS)
        config = tmp_path / "config"
        config.write_text(f"[default]\ncredential_process = {sys.executable} -I -S {program} {service.port}\n")
        bare.setenv("AWS_CONFIG_FILE", str(config))
    yield service
    # Each key with its own token, always.
    assert all(token == key.replace("KEY", "token") for key, token in service.signed_by)


@pytest.fixture(params=["sync", "async"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "async")


@contextmanager
def calling(url: str, asynchronous: bool, call_timeout: float = 10) -> Iterator[Callable[[], object]]:
    """A client, of one kind or the other, that makes a call."""
    if asynchronous:
        with asyncio.Runner() as runner:
            client = AsyncWireClient(endpoint_url=url, call_timeout=call_timeout)
            try:
                yield lambda: runner.run(client.get_item(**ITEM))
            finally:
                runner.run(client.close())
    else:
        with WireClient(endpoint_url=url, call_timeout=call_timeout) as client_:
            yield lambda: client_.get_item(**ITEM)


@pytest.fixture
def at_once(bare: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again without a pause."""
    bare.setattr("dynamostore.wire._fetching.LOOK_EVERY", 0)
    bare.setattr("dynamostore.wire._fetching.RENEW_EVERY", 0)


def call_until(call: Callable[[], object], came: Callable[[], bool]) -> None:
    """Call, while credentials are renewed behind our back, until that has *come* to something."""
    until = time.monotonic() + 10
    while not came():
        assert time.monotonic() < until
        call()


@pytest.mark.usefixtures("at_once")
def test_credentials_that_are_about_to_expire_are_used_while_they_are_renewed(
    provided: Service, asynchronous: bool
) -> None:
    provided.lifetimes = [300, 300, 300, 300, 3600]
    with calling(provided.url, asynchronous) as call:
        assert provided.given == 0  # They are looked for when they are needed.
        call_until(call, lambda: provided.signed_by[-1:] == [("KEY5", "token5")])
        for _ in range(3):
            call()
    keys = [key for key, _ in provided.signed_by]
    assert keys == sorted(keys)
    # (Botocore renews what it has just been given, if that is about to expire.)
    assert keys[0] == "KEY2"
    assert provided.given == 5


@pytest.mark.usefixtures("at_once")
def test_credentials_that_cannot_be_renewed_yet_are_used_while_they_are_good(
    provided: Service, asynchronous: bool
) -> None:
    # Botocore begins a quarter of an hour before they expire, and insists on it in the last ten minutes.
    for lifetime in (720, 300):
        provided.given = 0
        provided.signed_by.clear()
        provided.lifetimes = [lifetime, lifetime, None]
        with calling(provided.url, asynchronous) as call:
            call_until(call, lambda: provided.given > 3)
            assert {key for key, _ in provided.signed_by} <= {"KEY1", "KEY2"}
            provided.lifetimes = [3600]
            call_until(call, lambda: provided.signed_by[-1][0] not in {"KEY1", "KEY2"})


def test_credentials_stay_in_use_while_their_renewal_hangs(provided: Service, asynchronous: bool) -> None:
    answer = threading.Event()
    provided.lifetimes = [300]
    with calling(provided.url, asynchronous) as call:
        call()
        provided.asked = lambda: answer.wait(10)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("LOOK_EVERY", "RENEW_EVERY"):
                patch.setattr(f"dynamostore.wire._fetching.{name}", 0)
            began = time.monotonic()
            for _ in range(5):
                call()
            assert time.monotonic() - began < 5
        answer.set()
    assert {key for key, _ in provided.signed_by} == {"KEY2"}


@pytest.mark.usefixtures("at_once")
def test_credentials_that_cannot_be_renewed_at_all_are_not_used_and_that_can_be_over(
    provided: Service, asynchronous: bool
) -> None:
    provided.lifetimes = [None]
    # An agent that answers with a 500 is out of order; a process that says nothing says that there are none.
    failure = CredentialsUnavailableError if "AWS_CONFIG_FILE" not in os.environ else CredentialsError
    with calling(provided.url, asynchronous) as call:
        with pytest.raises(failure, match="AWS credentials"):
            call()
        assert provided.signed_by == []
        provided.lifetimes = [3600]
        call()
        provided.given = 0
        call()
        assert provided.given == 0
    assert len(provided.signed_by) == 2


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("attempts", [4, 2])
def test_credentials_that_dynamodb_refuses_as_expired_are_fetched_anew_and_the_call_made_again(
    provided: Service, asynchronous: bool, bare: pytest.MonkeyPatch, attempts: int
) -> None:
    bare.setenv("AWS_MAX_ATTEMPTS", str(attempts))
    with calling(provided.url, asynchronous) as call:
        call()
        # For botocore they are good for another hour.
        provided.expired = {"KEY1"}
        call()
        call()
    assert [key for key, _ in provided.signed_by] == ["KEY1", "KEY1", "KEY2", "KEY2"]
    assert provided.given == 2


def test_credentials_that_are_refused_again_are_an_error_and_not_fetched_for_each_call(
    provided: Service, asynchronous: bool
) -> None:
    provided.expired = {f"KEY{number}" for number in range(9)}
    with calling(provided.url, asynchronous) as call:
        for _ in range(3):
            with pytest.raises(ServiceError, match="ExpiredTokenException"):
                call()
    # They had just been fetched.
    assert provided.given == 1
    assert len(provided.signed_by) == 3
    with connect(endpoint_url=provided.url) as store, pytest.raises(AccessDeniedError, match="ExpiredTokenException"):
        store.find("token")


@pytest.mark.usefixtures("at_once")
def test_a_file_is_read_again_when_what_stood_in_it_has_expired(
    bare: pytest.MonkeyPatch, tmp_path: Path, service: Service, asynchronous: bool
) -> None:
    def write(number: int) -> None:
        file.write_text(
            f"[default]\naws_access_key_id = KEY{number}\naws_secret_access_key = x\naws_session_token = token{number}\n"
        )

    file = tmp_path / "credentials"
    bare.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    bare.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    write(1)
    with calling(service.url, asynchronous) as call:
        call()
        service.expired = {"KEY1"}
        with pytest.raises(ServiceError, match="ExpiredTokenException"):
            call()
        write(2)
        call()
    assert service.signed_by[-1] == ("KEY2", "token2")


NONSENSE = {
    "nothing": "",
    "a page": "<html>go away</html>",
    "null": "null",
    "a list": "[]",
    "a number": "3",
    "an object of nothing": "{}",
    "no key": credentials_as_json(AccessKeyId=None),
    "no secret": credentials_as_json(SecretAccessKey=None),
    "an empty key": credentials_as_json(AccessKeyId=""),
    "an empty secret": credentials_as_json(SecretAccessKey=""),
    "a number for a key": credentials_as_json(AccessKeyId=5),
    "a list for a secret": credentials_as_json(SecretAccessKey=["hush-hush"]),
    "a number for a token": credentials_as_json(Token=5, SessionToken=5),
    "a key with a line's end": credentials_as_json(AccessKeyId="KEY\r\nX: y"),
    "a date that is none": credentials_as_json(Expiration="tomorrow"),
    "a number for a date": credentials_as_json(Expiration=[1]),
    "long expired": credentials_as_json(Expiration="2015-08-30T12:36:00Z"),
}


# It must not come out as a TypeError of botocore's, which no store would take for a denial of access.
@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE)
def test_a_provider_that_says_nonsense_is_as_good_as_none(provided: Service, said: str) -> None:
    provided.lifetimes = [said]
    with WireClient(endpoint_url=provided.url) as client, pytest.raises(CredentialsError) as caught:
        client.get_item(**ITEM)
    assert_discreet(caught.value, "hush-hush")
    assert provided.signed_by == []


def test_threads_that_begin_together_have_one_set_of_credentials(provided: Service) -> None:
    threads = 8
    together = threading.Barrier(threads)
    with WireClient(endpoint_url=provided.url) as client, ThreadPoolExecutor(threads) as pool:

        def call() -> None:
            together.wait()
            for _ in range(5):
                client.get_item(**ITEM)

        for future in [pool.submit(call) for _ in range(threads)]:
            future.result()
    assert len(provided.signed_by) == threads * 5
    # Botocore's own session would ask once for each thread; and who gives them out refuses those that ask too often.
    assert provided.given == 1


def test_a_slow_provider_does_not_keep_the_event_loop_from_its_work(provided: Service) -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        asked, answer = asyncio.Event(), threading.Event()

        def ask() -> None:
            loop.call_soon_threadsafe(asked.set)
            # It gives up, so that a loop that stands still is a failure, and no hanging test.
            assert answer.wait(10)

        provided.asked = ask
        turns = 0
        async with AsyncWireClient(endpoint_url=provided.url) as client:
            call = asyncio.create_task(client.get_item(**ITEM))
            async with asyncio.timeout(10):
                await asked.wait()
            for _ in range(100):
                await asyncio.sleep(0)
                turns += not call.done()
            answer.set()
            await call
        return turns

    assert asyncio.run(main()) == 100
    assert len(provided.signed_by) == 1


def test_a_call_does_not_wait_for_a_slow_provider_any_longer_than_its_time(
    provided: Service, asynchronous: bool
) -> None:
    answer = threading.Event()
    provided.asked = lambda: answer.wait(10)
    with calling(provided.url, asynchronous, call_timeout=0.1) as call:
        try:
            with pytest.raises(CredentialsUnavailableError, match=r"no credentials were found within 0\.\d+ s"):
                call()
        finally:
            answer.set()
    assert provided.signed_by == []


# Without credentials


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "no AWS credentials were found"),
        ({"AWS_ACCESS_KEY_ID": "HALFAKEY"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "HALFAKEY", "AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_SECRET_ACCESS_KEY": "half-a-key"}, "no AWS credentials were found"),
    ],
)
def test_no_credentials_and_half_of_a_pair_are_told_with_the_first_call_and_mean_access_denied(
    bare: pytest.MonkeyPatch, service: Service, asynchronous: bool, environ: dict[str, str], says: str
) -> None:
    for name, value in {"AWS_DEFAULT_REGION": "eu-central-1", **environ}.items():
        bare.setenv(name, value)
    with calling(service.url, asynchronous) as call, pytest.raises(CredentialsError, match=says) as caught:
        call()
    assert "half-a-key" not in str(caught.value)
    assert service.signed_by == []
    with connect(endpoint_url=service.url) as store, pytest.raises(AccessDeniedError, match=says) as denied:
        store.find("token")
    assert isinstance(denied.value.__cause__, CredentialsError)


# What is refused, and the way out

Client = type[WireClient] | type[AsyncWireClient]
both = pytest.mark.parametrize("client", [WireClient, AsyncWireClient])
KEYS = Credentials("key", "secret")


@both
@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("http://dynamodb.example", "HTTP_PROXY"),
        ("http://dynamodb.example:8000", "http_proxy"),
        ("https://dynamodb.example", "HTTPS_PROXY"),
        (None, "https_proxy"),
    ],
)
def test_an_http_proxy_is_refused_with_the_way_out_unless_it_is_not_for_this_host(
    bare: pytest.MonkeyPatch, client: Client, url: str | None, variable: str
) -> None:
    bare.setenv(variable, "http://proxy.example:3128")
    host = "dynamodb.example" if url else "dynamodb.eu-central-1.amazonaws.com"
    with pytest.raises(SettingsError, match=variable.upper()) as caught:
        client("eu-central-1", url, credentials=KEYS)
    assert f"name {host} in NO_PROXY" in str(caught.value)
    assert "boto3.client('dynamodb')" in str(caught.value)
    assert "connect(via='boto3')" in str(caught.value)
    for passes in (host, "*", "elsewhere, ." + host.partition(".")[2]):
        bare.setenv("NO_PROXY", passes)
        assert client("eu-central-1", url, credentials=KEYS).meta.endpoint_url == (url or f"https://{host}")
    bare.setenv("NO_PROXY", "elsewhere.example")
    with pytest.raises(SettingsError):
        client("eu-central-1", url, credentials=KEYS)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "dynamodb.localhost",
        "127.0.0.1",
        "127.8.9.10",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_not_for_this_machine(bare: pytest.MonkeyPatch, host: str, scheme: str) -> None:
    bare.setenv("HTTP_PROXY", "http://proxy.example:3128")
    bare.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert resolve("eu-central-1", f"{scheme}://{host}:8000", credentials=KEYS).endpoint.port == 8000


@pytest.mark.parametrize(
    "host", ["localhost.example", "notlocalhost", "128.0.0.1", "127.0.0.1.example", "1270.0.1", "[::2]", "[fe80::1]"]
)
def test_a_proxy_is_for_what_only_looks_like_this_machine(bare: pytest.MonkeyPatch, host: str) -> None:
    bare.setenv("HTTP_PROXY", "http://proxy.example:3128")
    with pytest.raises(SettingsError, match="an HTTP proxy is configured"):
        resolve("eu-central-1", f"http://{host}:8000", credentials=KEYS)


@given(st.ip_addresses() | st.ip_addresses(network="127.0.0.0/8") | st.ip_addresses(network="::ffff:127.0.0.0/104"))
def test_an_address_is_of_this_machine_as_the_library_has_it(address: IPv4Address | IPv6Address) -> None:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    assert is_loopback(str(address)) == (mapped or address).is_loopback


def test_boto3_goes_straight_to_this_machine_and_through_the_proxy_to_others(
    bare: pytest.MonkeyPatch, service: Service
) -> None:
    # A port where nobody listens.
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            bare.setenv(name, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        for name, value in FAST.items():
            bare.setenv(name, value)
        with connect(endpoint_url=service.url, via="boto3") as store:
            assert store.client.get_item(TableName="sessions", Key=ITEM["Key"])["Item"] == ITEM["Key"]
        bare.setenv("AWS_ENDPOINT_URL", f"http://localhost:{service.port}")
        with connect(via="boto3") as store:
            assert store.client.get_item(TableName="sessions", Key=ITEM["Key"])["Item"] == ITEM["Key"]
        elsewhere = connect(endpoint_url="http://dynamodb.example", via="boto3", attempts=1)
        with elsewhere as store, pytest.raises(UnavailableError, match="proxy"):
            store.find("a-token-that-is-not-there")


def test_a_local_dynamodb_is_not_behind_a_proxy(bare: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        bare.setenv(name, "http://127.0.0.1:9")
    with LocalDynamoDB() as dynamodb, dynamodb.connect("sessions") as store:
        store.create_table()
        assert store.find("a-token-that-is-not-there") is None


def test_the_host_of_an_account_is_asked_about_the_proxy_too(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    bare.setenv("NO_PROXY", "dynamodb.eu-central-1.amazonaws.com")
    keys = replace(KEYS, account_id="123456789012")
    refused = pytest.raises(SettingsError, match=r"name 123456789012\.ddb\.eu-central-1\.amazonaws\.com in NO_PROXY")
    with refused, WireClient("eu-central-1", credentials=keys) as client:
        client.get_item(**ITEM)


def test_what_a_credential_process_complains_of_is_not_repeated(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\ncredential_process = sh -c 'echo AKIASECRET >&2; exit 1'\n")
    bare.setenv("AWS_CONFIG_FILE", str(config))
    with WireClient("eu-central-1") as client, pytest.raises(CredentialsError) as caught:
        client.get_item(**ITEM)
    assert "AKIASECRET" not in str(caught.value)


proxies = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "Https_Proxy"],
            st.sampled_from(["http://proxy:3128", "proxy", ""]),
        ),
        **dict.fromkeys(
            ["NO_PROXY", "no_proxy"],
            st.sampled_from(
                ["localhost", "dynamodb.example", ".example", "example, 127.0.0.1", "*", "::1", "", "a:8000"]
            ),
        ),
    },
)
proxied = ["http://localhost:8000", "http://127.0.0.1", "https://dynamodb.example", "https://a:8000", "http://[::1]:1"]


@given(proxies, st.sampled_from(proxied))
def test_a_proxy_is_refused_where_botocore_would_go_through_it(home: Path, environ: dict[str, str], url: str) -> None:
    with only({**PAIR, **environ}, home):
        through = get_environ_proxies(url).get(url.partition(":")[0])
        # What is on this machine botocore would send there as well, where it cannot be found.
        if through and not is_loopback(Endpoint.parse(url).host):
            with pytest.raises(SettingsError, match="an HTTP proxy is configured"):
                resolve("eu-central-1", url)
        else:
            resolve("eu-central-1", url)


@both
@pytest.mark.parametrize("way", ["environment", "file"])
def test_the_adaptive_retry_mode_is_refused_with_the_way_out(
    bare: pytest.MonkeyPatch, tmp_path: Path, client: Client, way: str
) -> None:
    if way == "environment":
        bare.setenv("AWS_RETRY_MODE", "adaptive")
    else:
        config = tmp_path / "config"
        config.write_text("[default]\nretry_mode = adaptive\n")
        bare.setenv("AWS_CONFIG_FILE", str(config))
    with pytest.raises(SettingsError, match=r"adaptive.*boto3\.client"):
        client("eu-central-1", credentials=KEYS)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no region": ({"region": None}, r"pass region=\.\.\., or set AWS_DEFAULT_REGION"),
    "an empty region": ({"region": ""}, r"check region=\.\.\. \(or AWS_DEFAULT_REGION\)"),
    "a region with a blank": ({"region": "eu central"}, "region="),
    "a region that would end a header": ({"region": "eu\r\nX: y"}, "region="),
    "a region with a line's end": ({"region": "eu-central-1\n"}, "region="),
    "a region that is a host": ({"region": "evil.example/"}, "region="),
    "a long region": ({"region": "e" * 64}, "region="),
    "a region that is not ASCII": ({"region": "eü-central-1"}, "region="),
    "an empty URL": ({"endpoint_url": ""}, r"endpoint_url=.*AWS_ENDPOINT_URL"),
    "no scheme": ({"endpoint_url": "localhost:8000"}, "endpoint_url="),
    "another scheme": ({"endpoint_url": "ftp://localhost"}, "endpoint_url="),
    "no host": ({"endpoint_url": "http://"}, "endpoint_url="),
    "a blank host": ({"endpoint_url": "http://a b"}, "endpoint_url="),
    "a user": ({"endpoint_url": "http://user:password@localhost"}, "must not contain a user name"),
    "a query": ({"endpoint_url": "http://localhost?q"}, "query"),
    "a fragment": ({"endpoint_url": "http://localhost#f"}, "fragment"),
    "a port too high": ({"endpoint_url": "http://localhost:65536"}, "endpoint_url="),
    "no port": ({"endpoint_url": "http://localhost:x"}, "endpoint_url="),
    "half an IPv6 address": ({"endpoint_url": "http://[::1"}, "endpoint_url="),
    "a tab, which a parser would leave out": ({"endpoint_url": "http://local\thost"}, "endpoint_url="),
    "a line's end, which it would leave out": ({"endpoint_url": "http://localhost/a\nb"}, "endpoint_url="),
    "a URL that would end a header": ({"endpoint_url": "http://localhost\r\nX: y"}, "endpoint_url="),
    "no such bundle": ({"ca_bundle": "/no/such/bundle.pem"}, r"ca_bundle \(or AWS_CA_BUNDLE\) '/no/such/bundle.pem'"),
    "no such profile": ({"profile": "nobody"}, r"nobody.*profile=\.\.\. or AWS_PROFILE"),
    "no attempts": ({"attempts": 0}, "attempts must be more than 0, not 0"),
    "less than none": ({"attempts": -1}, "attempts"),
    "no time to connect": ({"connect_timeout": 0}, "connect_timeout"),
    "no time to read": ({"read_timeout": -0.1}, "read_timeout"),
    "no time to call": ({"call_timeout": 0.0}, "call_timeout"),
    "no number": ({"read_timeout": math.nan}, "read_timeout"),
    "no time to keep": ({"keep_idle": 0}, "keep_idle"),
}


@both
@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD)
def test_what_makes_no_sense_is_refused_at_once_and_says_where_to_look(
    bare: pytest.MonkeyPatch, client: Client, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        client(**{"region": "eu-central-1", "credentials": KEYS, **arguments})
    assert isinstance(caught.value, ValueError)
    assert "password" not in str(caught.value).replace("user name, password", "")


@both
@pytest.mark.parametrize("name", ["attempts", "connect_timeout", "read_timeout", "call_timeout", "keep_idle"])
@pytest.mark.parametrize("value", ["1", b"1", timedelta(seconds=1), [1]])
def test_what_is_no_number_is_a_type_error(client: Client, name: str, value: object) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(TypeError, match=f"{name} must be a number"):
        client("eu-central-1", credentials=KEYS, **arguments)


def test_a_connection_limit_is_checked_too() -> None:
    with pytest.raises(SettingsError, match="max_connections"):
        AsyncWireClient("eu-central-1", credentials=KEYS, max_connections=0)


@pytest.mark.parametrize(
    "endless", [["call_timeout"], ["keep_idle"], ["connect_timeout", "read_timeout", "call_timeout"]], ids=str
)
@pytest.mark.parametrize("kind", ["sync", "asyncio", "uvloop"])
def test_a_time_without_end_is_a_time(
    service: Service, bare: pytest.MonkeyPatch, kind: str, endless: list[str]
) -> None:
    arguments: dict[str, Any] = dict.fromkeys(endless, math.inf)

    async def main() -> None:
        async with AsyncWireClient("eu-central-1", service.url, credentials=KEYS, **arguments) as client:
            await client.get_item(**ITEM)

    match kind:
        case "sync":
            with WireClient("eu-central-1", service.url, credentials=KEYS, **arguments) as client:
                client.get_item(**ITEM)
        case "asyncio":
            asyncio.run(main())
        case _:
            pytest.importorskip("uvloop").run(main())
    assert len(service.signed_by) == 1


# Lone surrogates, too: environment variables may have them.
any_url = st.text(max_size=30) | st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP"]),
    st.text(max_size=15) | st.sampled_from(["localhost", "[::1]", "a.example", "EXAMPLE", "ä.example", "127.0.0.1"]),
    st.sampled_from(["", ":80", ":443", ":8000", ":0"]),
    st.text(max_size=15).map(lambda text: "/" + text),
)


@settings(max_examples=500)
@given(any_url)
@example("http://localhost/\r\nX: y")
@example("http://localhost/\x00")
@example("http://localhost/\u2028")
@example("http://\udc80.example")
@example("http://localhost/\udc80")
@example("http://xn--\x7f")
def test_any_endpoint_is_refused_or_can_be_asked(url: str) -> None:
    try:
        endpoint = Endpoint.parse(url)
    except SettingsError:
        return
    assert Endpoint.parse(endpoint.url) == endpoint
    raw = Core("eu-central-1", "test").request(GET_ITEM, b"{}", endpoint, KEYS, 0)
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    assert body == b"{}"
    assert [line.partition(":")[0] for line in lines] == HEADERS
    assert len(first.split()) == 3
    assert all(character.isprintable() for line in (first, *lines) for character in line)


HEADERS = [
    "Host",
    "Content-Type",
    "X-Amz-Date",
    "X-Amz-Target",
    "Authorization",
    "Accept-Encoding",
    "User-Agent",
    "Content-Length",
]


def test_who_waits_longer_for_a_reply_may_have_it(bare: pytest.MonkeyPatch) -> None:
    for read_timeout, expected in ((2.0, 10.0), (30.0, 93.0)):
        store = connect("sessions", region="eu-central-1", read_timeout=read_timeout)
        assert isinstance(store.client, WireClient)
        assert store.client._setup.caller._limits.call_timeout == expected
        store.close()
