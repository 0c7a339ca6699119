"""Where a call goes whose table is named by an ARN: as DynamoDB's endpoint rules have it, which botocore evaluates."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import BotoCoreError
from botocore.loaders import create_loader
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamostore import DynamoStore, Table
from dynamostore.steps import Call
from dynamostore.wire import Credentials, SettingsError, WireClient, types
from dynamostore.wire._core import Endpoint
from dynamostore.wire._setup import Setup

CALLER, OWNER, OTHER = "111111111111", "222222222222", "333333333333"
KEY = {"token": {"S": "abc"}}


def arn(account: str = OWNER, region: str = "us-east-1", service: str = "dynamodb", table: str = "sessions") -> str:
    return f"arn:aws:{service}:{region}:{account}:table/{table}"


@pytest.fixture(scope="module", autouse=True)
def nothing_configured(credentials: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """No region, no endpoint, no file but for an empty one, with which botocore is asked."""
    del credentials
    empty = tmp_path_factory.mktemp("aws") / "config"
    empty.touch()
    loader = create_loader(None)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        # It would read its descriptions of all services anew for each client.
        patch.setattr("botocore.session.create_loader", lambda _: loader)
        patch.setenv("EMPTY", str(empty))
        yield patch


def requests_about(table: str) -> dict[types.Operation[Any], dict[str, Any]]:
    """A request of each operation that names a table, complete as far as the endpoint depends on it."""
    named = {"TableName": table}
    put = {"Put": {**named, "Item": KEY}}
    ttl = {"AttributeName": "ttl", "Enabled": True}
    return {
        types.GET_ITEM: {**named, "Key": KEY},
        types.PUT_ITEM: {**named, "Item": KEY},
        types.UPDATE_ITEM: {**named, "Key": KEY},
        types.DELETE_ITEM: {**named, "Key": KEY},
        types.TRANSACT_WRITE_ITEMS: {"TransactItems": [put, {"Delete": {"TableName": arn(OTHER), "Key": KEY}}]},
        types.BATCH_GET_ITEM: {"RequestItems": {table: {"Keys": [KEY]}, arn(OTHER): {"Keys": [KEY]}}},
        types.BATCH_WRITE_ITEM: {"RequestItems": {table: [{"PutRequest": {"Item": KEY}}]}},
        types.SCAN: named,
        types.CREATE_TABLE: {
            **named,
            "KeySchema": [{"AttributeName": "token", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "token", "AttributeType": "S"}],
        },
        types.DELETE_TABLE: named,
        types.DESCRIBE_TABLE: named,
        types.DESCRIBE_TIME_TO_LIVE: named,
        types.DESCRIBE_CONTINUOUS_BACKUPS: named,
        types.UPDATE_TIME_TO_LIVE: {**named, "TimeToLiveSpecification": ttl},
    }


OPERATIONS = list(requests_about(arn()))


class Stop(Exception):
    """Instead of sending a request."""


def by_botocore(region: str, credentials: Credentials, operation: str, arguments: Mapping[str, Any]) -> Endpoint | None:
    """Where botocore would send a request; None if it refuses to."""
    sent: list[AWSPreparedRequest] = []

    def keep(request: AWSPreparedRequest, **_: object) -> None:
        sent.append(request)
        raise Stop

    client: Any = botocore.session.Session().create_client(
        "dynamodb",
        region_name=region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_account_id=credentials.account_id,
    )
    client.meta.events.register_first("before-send.dynamodb", keep)
    try:
        client._make_api_call(operation, arguments)
    except Stop:
        return Endpoint.parse(sent[0].url)
    except BotoCoreError:
        return None
    raise AssertionError("a request was sent")


def by_us(
    region: str, credentials: Credentials, operation: types.Operation[Any], arguments: Mapping[str, Any]
) -> Endpoint | None:
    """Where a wire client would send it; None if it refuses to."""
    seconds: dict[str, Any] = dict.fromkeys(("connect_timeout", "read_timeout", "call_timeout", "keep_idle"), 1.0)
    given: dict[str, Any] = {"profile": None, "credentials": credentials, "ca_bundle": None, "attempts": None}
    try:
        setup = Setup(region, None, clock=lambda: 0.0, **given, **seconds)
        # A copy: it clears what it is given.
        call = setup.call(operation, {**arguments})
        step = next(call)
        if isinstance(step, Call) and step.operation == "fetch":
            step = call.send(setup.access.fetch(1.0))
    except SettingsError:
        return None
    assert isinstance(step, Call)
    endpoint = step.arguments["endpoint"]
    assert isinstance(endpoint, Endpoint)
    return endpoint


# Of the vectors that AWS publishes with the rules: FIPS, dual-stack, the caller's account, the mode, the table, the host.
VECTORS: list[tuple[bool, bool, str | None, str, str, str]] = [
    (False, False, CALLER, "preferred", "sessions", "111111111111.ddb.us-east-1.amazonaws.com"),
    (False, False, CALLER, "preferred", arn(), "222222222222.ddb.us-east-1.amazonaws.com"),
    (False, False, CALLER, "preferred", arn(region="us-west-2"), "111111111111.ddb.us-east-1.amazonaws.com"),
    (False, False, CALLER, "preferred", arn(service="s3"), "111111111111.ddb.us-east-1.amazonaws.com"),
    (False, False, CALLER, "required", arn(), "222222222222.ddb.us-east-1.amazonaws.com"),
    (False, False, None, "required", arn(), "222222222222.ddb.us-east-1.amazonaws.com"),
    (False, False, CALLER, "disabled", arn(), "dynamodb.us-east-1.amazonaws.com"),
    (False, False, None, "preferred", arn(), "222222222222.ddb.us-east-1.amazonaws.com"),
    (False, False, None, "preferred", arn(region="us-west-2"), "dynamodb.us-east-1.amazonaws.com"),
    (False, False, None, "preferred", arn(service="s3"), "dynamodb.us-east-1.amazonaws.com"),
    (False, False, None, "preferred", "sessions", "dynamodb.us-east-1.amazonaws.com"),
    (False, False, None, "disabled", arn(), "dynamodb.us-east-1.amazonaws.com"),
    (False, True, CALLER, "preferred", "sessions", "111111111111.ddb.us-east-1.api.aws"),
    (False, True, None, "preferred", arn(), "222222222222.ddb.us-east-1.api.aws"),
    (True, False, None, "preferred", arn(), "dynamodb-fips.us-east-1.amazonaws.com"),
    (True, True, None, "preferred", arn(), "dynamodb-fips.us-east-1.api.aws"),
]


@pytest.mark.parametrize(("fips", "dual", "account", "mode", "table", "host"), VECTORS)
@pytest.mark.parametrize("operation", [types.GET_ITEM, types.BATCH_WRITE_ITEM], ids=lambda operation: operation.name)
def test_the_published_vectors(
    monkeypatch: pytest.MonkeyPatch,
    operation: types.Operation[Any],
    fips: bool,
    dual: bool,
    account: str | None,
    mode: str,
    table: str,
    host: str,
) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", str(fips).lower())
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", str(dual).lower())
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", mode)
    found = by_us("us-east-1", Credentials("key", "secret", None, account), operation, requests_about(table)[operation])
    assert found == Endpoint(host, 443, secure=True)


# The settings on which it depends.
environs = st.fixed_dictionaries(
    {},
    optional={
        "AWS_CONFIG_FILE": st.just("$EMPTY"),
        "AWS_USE_FIPS_ENDPOINT": st.sampled_from(["true", "false"]),
        "AWS_USE_DUALSTACK_ENDPOINT": st.sampled_from(["true", "false"]),
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": st.sampled_from(["preferred", "disabled", "required"]),
        "AWS_ENDPOINT_URL_DYNAMODB": st.just("https://dynamodb.example"),
    },
)
tables = st.sampled_from(
    [
        "sessions",
        arn(),
        arn(),
        arn(CALLER),
        arn(region="us-west-2"),
        arn(service="s3"),
        arn("a-b"),
        arn("a_b"),
        arn("a" * 64),
    ]
)


@given(
    environs,
    st.sampled_from(["us-east-1", "us-east-1", "us-west-2", "cn-north-1", "us-gov-west-1", "local", "fips-us-east-1"]),
    st.sampled_from([None, CALLER]),
    tables,
    st.sampled_from(OPERATIONS),
)
@settings(max_examples=25)
def test_each_call_goes_where_botocore_would_send_it(
    environ: Mapping[str, str], region: str, account: str | None, table: str, operation: types.Operation[Any]
) -> None:
    credentials, arguments = Credentials("key", "secret", None, account), requests_about(table)[operation]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, os.path.expandvars(value))
        found = by_us(region, credentials, operation, arguments)
        assert found == by_botocore(region, credentials, operation.name, arguments)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_each_operation_goes_to_the_account_that_owns_its_table(operation: types.Operation[Any]) -> None:
    credentials, arguments = Credentials("key", "secret"), requests_about(arn())[operation]
    found = by_us("us-east-1", credentials, operation, arguments)
    assert found == by_botocore("us-east-1", credentials, operation.name, arguments)
    assert found is not None
    assert found.host == "222222222222.ddb.us-east-1.amazonaws.com"


# Not shaped as the type has it: that is for the service to refuse.
@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        (types.BATCH_GET_ITEM, {"RequestItems": {}}),
        (types.BATCH_GET_ITEM, {"RequestItems": []}),
        (types.TRANSACT_WRITE_ITEMS, {"TransactItems": []}),
        (types.TRANSACT_WRITE_ITEMS, {"TransactItems": [None, {"Put": None}, {"Put": {}}]}),
        (types.GET_ITEM, {"TableName": None, "Key": KEY}),
        (types.GET_ITEM, {"TableName": "arn:", "Key": KEY}),
        (types.GET_ITEM, {"TableName": "arn::dynamodb:us-east-1:1:table/a", "Key": KEY}),
        (types.GET_ITEM, {"TableName": "arn:aws:dynamodb:us-east-1:1\n:table/a", "Key": KEY}),
    ],
)
def test_what_names_no_table_goes_to_the_callers_endpoint(
    operation: types.Operation[Any], arguments: Mapping[str, Any]
) -> None:
    found = by_us("us-east-1", Credentials("key", "secret"), operation, arguments)
    assert found is not None
    assert found.host == "dynamodb.us-east-1.amazonaws.com"


def test_the_host_of_the_owner_is_asked_about_the_proxy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "dynamodb.us-east-1.amazonaws.com")
    with WireClient("us-east-1", credentials=Credentials("key", "secret")) as client:
        store = DynamoStore(client, Table(name=arn()))
        with pytest.raises(SettingsError, match=r"name 222222222222\.ddb\.us-east-1\.amazonaws\.com in NO_PROXY"):
            store.find("token")


def test_credentials_without_an_account_reach_only_tables_of_others_where_one_is_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "required")
    with WireClient("us-east-1", credentials=Credentials("key", "secret")) as client:
        for _ in range(2):
            with pytest.raises(SettingsError, match=r"no endpoint: .*AccountID.*set AWS_ACCOUNT_ID"):
                DynamoStore(client, Table(name="sessions")).find("token")
