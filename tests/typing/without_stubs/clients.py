"""boto3 without its stubs: its client is Any and is taken for a good one; from there on nothing is Any."""

# mypy: disallow-any-expr

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import assert_type

import boto3  # type: ignore[import-untyped]

from dynamostore import Conflict, DynamoStore, Record, Store, Table, connect
from dynamostore.client import AttributeValue, DynamoClient
from session import JSONValue, Session, SessionManager

later = datetime.now(UTC) + timedelta(hours=1)

# The Any ends here: the argument is one, the store made of it is not.
store = DynamoStore(boto3.client("dynamodb"), Table(name="sessions"))  # type: ignore[misc]


def exactly_typed(record: Record) -> None:
    assert_type(store, DynamoStore)
    assert_type(store.client, DynamoClient)
    assert_type(store.find("token"), Record | None)
    assert_type(store.save("token", b"data", later), Record)
    assert_type(store.create("token", b"data", later), Record)
    assert_type(store.replace(record, b"data", later), Record)
    assert_type(store.touch(record, later), Record)
    assert_type(store.rename(record, "another", b"data", later), Record)
    assert_type(record.data, bytes)
    assert_type(record.expiry, datetime)
    assert_type(record.beside, Mapping[str, AttributeValue])
    assert_type(connect("sessions", region="eu-central-1"), DynamoStore)
    as_store: Store = store


def sessions_exactly_typed() -> None:
    manager = SessionManager(store)
    assert_type(manager, SessionManager)
    assert_type(manager.store, Store)
    with manager.session(None) as s:
        assert_type(s, Session)
        assert_type(s["k"], JSONValue)
        assert_type(s.get_int("n"), int)
        assert_type(s.get_int("n", default=None), int | None)
        assert_type(s.get_object("k", list[str]), list[str] | None)
    assert_type(s.token, str | None)
    assert_type(manager.set_cookie(s), str | None)


def errors_exactly_typed() -> None:
    try:
        store.ping()
    except Conflict as conflict:
        assert_type(conflict.current, Record | None)


def refused(record: Record) -> None:
    store.save("token", "data", later)  # type: ignore[arg-type]
    store.save("token", b"data", 3600)  # type: ignore[arg-type]
    store.find("token").data  # type: ignore[union-attr]
    store.client.scan(TableName="sessions")  # type: ignore[attr-defined]
    record.data = b"new"  # type: ignore[misc]
    DynamoStore(object())  # type: ignore[arg-type]
    DynamoStore(boto3.client("dynamodb"), "sessions")  # type: ignore[arg-type, misc]
    DynamoStore(boto3.client("dynamodb"), tabel=Table())  # type: ignore[call-arg, misc]
