"""A store that is set up wrongly: no table, another table, no region, no credentials, names nobody can use."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from dynamostore import (
    AccessDeniedError,
    DynamoStore,
    Record,
    StoreError,
    Table,
    TableNotFoundError,
    TableSchemaError,
    UnavailableError,
    connect,
)

from .backends import Backend, make_client
from .fakes import OPERATIONS, FakeDynamoDB, assert_discreet, verb

TOKEN = secrets.token_urlsafe(32)
DATA = b"what nobody is to know"
RECORD = Record(TOKEN, DATA, datetime(2200, 1, 1, tzinfo=UTC), 7)
VERBS = list(OPERATIONS)


@pytest.fixture
def table() -> Table:
    """A table of which nobody has heard yet."""
    return Table(name=f"bad-input-{secrets.token_hex(8)}")


def failing(name: str, store: DynamoStore, kind: type[StoreError]) -> StoreError:
    """What the verb *name* raises, which must be *kind*, have a cause and be discreet."""
    with pytest.raises(StoreError) as caught:
        verb(name, store, RECORD, DATA)()
    assert type(caught.value) is kind
    assert caught.value.__cause__ is not None
    assert_discreet(caught.value, TOKEN, DATA)
    return caught.value


# No table


@pytest.mark.parametrize("name", VERBS)
def test_a_table_that_is_missing_is_named_with_what_to_do(server: Backend, table: Table, name: str) -> None:
    error = failing(name, DynamoStore(server.client, table), TableNotFoundError)
    # Where there are no transactions, a renaming begins with the new record.
    operation = "PutItem" if name == "rename" and not server.has_transactions else OPERATIONS[name]
    assert error.operation == operation
    assert error.code == "ResourceNotFoundException"
    meta = server.client.meta
    for part in (table.name, "create_table()", meta.region_name, meta.endpoint_url):
        assert part in str(error)


def test_a_table_that_was_missing_can_be_made_as_the_error_says(server: Backend, table: Table) -> None:
    store = DynamoStore(server.client, table)
    failing("ping", store, TableNotFoundError)
    store.create_table()
    store.ping()


# Another table


Keys = list[tuple[str, Literal["S", "N", "B"], Literal["HASH", "RANGE"]]]
KEYS: dict[str, Keys] = {
    "another name": [("id", "S", "HASH")],
    "a sort key": [("token", "S", "HASH"), ("at", "S", "RANGE")],
    "a number": [("token", "N", "HASH")],
    "binary": [("token", "B", "HASH")],
}


def make_table(server: Backend, name: str, key: Keys) -> None:
    server.client.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": attribute, "AttributeType": kind} for attribute, kind, _ in key],
        KeySchema=[{"AttributeName": attribute, "KeyType": role} for attribute, _, role in key],
        BillingMode="PAY_PER_REQUEST",
    )
    while described(server, name)[0]["TableStatus"] != "ACTIVE":
        pass  # Each look is a call over HTTP: that is wait enough.


def described(server: Backend, name: str) -> tuple[Any, Any]:
    ttl = server.client.describe_time_to_live(TableName=name)["TimeToLiveDescription"] if server.has_ttl else None
    return server.client.describe_table(TableName=name)["Table"], ttl


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("name", ["find", "save", "create", "replace", "touch", "delete", "ping"])
def test_a_table_with_another_key_is_told_by_every_verb(server: Backend, table: Table, name: str, key: Keys) -> None:
    if server.name == "moto" and key[0][0] == "token":
        pytest.skip("moto compares neither the type of a key nor its sort key with the table's")
    make_table(server, table.name, key)
    error = failing(name, DynamoStore(server.client, table), TableSchemaError)
    assert error.operation == OPERATIONS[name]
    assert error.code == "ValidationException"
    assert table.name in str(error)
    assert "key is not the attribute in Table" in str(error)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_table_with_another_key_is_not_touched(server: Backend, table: Table, key: Keys) -> None:
    make_table(server, table.name, key)
    before = described(server, table.name)
    with pytest.raises(TableSchemaError) as caught:
        DynamoStore(server.client, table).create_table()
    assert described(server, table.name) == before
    for part in (table.name, "token (HASH, S)", f"{key[0][0]} (HASH, {key[0][1]})", "Table(token=...)"):
        assert part in str(caught.value)


def test_the_name_that_the_error_asks_for_is_the_cure(server: Backend, table: Table) -> None:
    make_table(server, table.name, KEYS["another name"])
    store = DynamoStore(server.client, Table(name=table.name, token="id"))
    store.create_table()
    store.save(TOKEN, DATA, RECORD.expiry)
    assert store.find(TOKEN)


def test_a_table_whose_ttl_is_on_another_attribute_is_not_touched(server: Backend, table: Table) -> None:
    if not server.has_ttl:
        pytest.skip(f"{server.name} has no UpdateTimeToLive")
    DynamoStore(server.client, Table(name=table.name, ttl="forget_at")).create_table()
    before = described(server, table.name)
    with pytest.raises(TableSchemaError) as caught:
        DynamoStore(server.client, table).create_table()
    assert described(server, table.name) == before
    for part in (table.name, "'forget_at'", "'ttl'", "Table(ttl=...)"):
        assert part in str(caught.value)


# Nobody there


@pytest.fixture
def nobody() -> str:
    """The URL of a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize("name", VERBS)
def test_an_endpoint_where_nobody_listens_is_an_outage(nobody: str, name: str) -> None:
    error = failing(name, DynamoStore(make_client(nobody), Table()), UnavailableError)
    assert error.operation == OPERATIONS[name]
    assert nobody in str(error)


def test_a_table_cannot_be_made_where_nobody_listens(nobody: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        DynamoStore(make_client(nobody), Table()).create_table()
    assert caught.value.operation == "DescribeTable"


def test_a_region_that_does_not_exist_is_an_outage_that_names_it() -> None:
    # In a process of its own: here moto may be answering for all of AWS.
    program = """
from dynamostore import UnavailableError, connect
try:
    connect(region="mars-1", attempts=1).ping()
except UnavailableError as error:
    print(error)
"""
    # The resolver is asked once, and not for long.
    env = {**os.environ, "RES_OPTIONS": "timeout:1 attempts:1", "NO_PROXY": "*"}
    ran = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "mars-1" in ran.stdout


# Settings


@pytest.fixture
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine on which nobody has said anything about AWS."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


@pytest.mark.usefixtures("nothing_configured")
class TestNothingConfigured:
    @pytest.mark.parametrize("via", ["wire", "boto3"])
    def test_no_region_is_a_mistake_that_says_what_to_give(self, via: Literal["wire", "boto3"]) -> None:
        with pytest.raises(ValueError, match=r"region.*region=\.\.\.") as caught:
            connect(via=via)
        assert caught.value.__cause__ is not None

    def test_no_region_is_a_mistake_with_an_endpoint_too(self, nobody: str) -> None:
        with pytest.raises(ValueError, match=r"region=\.\.\."):
            connect(endpoint_url=nobody)

    @pytest.mark.parametrize("via", ["wire", "boto3"])
    def test_a_profile_that_is_not_there_is_a_mistake_that_names_it(self, via: Literal["wire", "boto3"]) -> None:
        with pytest.raises(ValueError, match=r"nobodys-profile.*profile=\.\.\."):
            connect(profile="nobodys-profile", region="eu-central-1", via=via)

    def test_no_credentials_are_access_denied_before_anything_is_sent(self) -> None:
        with FakeDynamoDB() as fake:
            store = connect(region="eu-central-1", endpoint_url=fake.url, attempts=1)
            for name in VERBS:
                error = failing(name, store, AccessDeniedError)
                assert error.operation == OPERATIONS[name]
                assert "credentials" in str(error)
            assert fake.requests == []

    @pytest.mark.parametrize("via", ["wire", "boto3"])
    def test_half_the_credentials_are_named_by_the_half_that_is_missing(
        self, nothing_configured: pytest.MonkeyPatch, nobody: str, via: Literal["wire", "boto3"]
    ) -> None:
        nothing_configured.setenv("AWS_ACCESS_KEY_ID", "half")
        with pytest.raises(AccessDeniedError, match="AWS_SECRET_ACCESS_KEY"):
            connect(region="eu-central-1", endpoint_url=nobody, attempts=1, via=via).ping()


@pytest.mark.parametrize("region", ["not a region", "", "eu central", "eu-central-1/x"])
def test_a_region_that_cannot_be_one_is_a_mistake(region: str) -> None:
    with pytest.raises(ValueError, match=r"region=\.\.\."):
        connect(region=region)


@pytest.mark.parametrize(
    "url", ["nonsense", "localhost:8000", "http://", "http://lo cal", "http://x\r\nHost: y", "http://x:99999"]
)
def test_an_endpoint_that_cannot_be_one_is_a_mistake(url: str) -> None:
    with pytest.raises(ValueError, match=r"endpoint_url=\.\.\."):
        connect(region="eu-central-1", endpoint_url=url)


@pytest.mark.parametrize(
    "setting", [{"threads": 0}, {"attempts": 0}, {"connect_timeout": 0}, {"read_timeout": -1.0}], ids=str
)
def test_a_setting_that_makes_no_sense_is_a_mistake(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(ValueError, match=rf"^{name} must be (at least 1|more than 0 seconds), not {setting[name]}$"):
        connect(region="eu-central-1", **setting)


@pytest.mark.parametrize("name", ["", "ab", "x" * 256, "two words", "naïve", "table\n", "arn:aws:dynamodb:table/abc"])
def test_a_table_name_that_dynamodb_refuses_is_a_mistake(name: str) -> None:
    with pytest.raises(ValueError, match="table name"):
        connect(name, region="eu-central-1")


@pytest.mark.parametrize("attribute", ["token", "data", "expiry", "ttl", "version", "owner"])
@pytest.mark.parametrize("name", ["", "x" * 256, "é" * 128], ids=["empty", "long", "wide"])
def test_an_attribute_name_that_dynamodb_refuses_is_a_mistake(attribute: str, name: str) -> None:
    names: dict[str, Any] = {attribute: name}
    with pytest.raises(ValueError, match="attribute name"):
        Table(**names)


def test_an_attribute_name_that_utf8_cannot_say_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="attribute name"):
        Table(data="\ud800")


def test_two_attributes_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="'payload' is used twice"):
        Table(token="payload", data="payload")


@pytest.mark.parametrize("bad", [None, 7, b"sessions", ["sessions"]], ids=repr)
def test_a_table_is_named_by_a_string(bad: Any) -> None:
    with pytest.raises(TypeError, match="must be a str"):
        Table(name=bad)
    with pytest.raises(TypeError, match=r"Table\(name=\.\.\.\)"):
        connect(bad, region="eu-central-1")
    with pytest.raises(TypeError, match=r"Table\(name=\.\.\.\)"):
        DynamoStore(make_client("http://127.0.0.1:1"), bad)
