"""A store, as who uses `dynamostore` alone types it: Table, Record, every verb, connect."""

# mypy: disallow-any-expr

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import assert_type

from dynamostore import DynamoStore, MemoryStore, Record, Store, Table, connect
from dynamostore.client import AttributeValue, DynamoClient
from dynamostore.local import CREDENTIALS, LocalDynamoDB

later = datetime.now(UTC) + timedelta(hours=1)


# Table


def tables() -> None:
    table = Table(
        name="sessions", token="id", data="d", expiry="e", ttl="t", version="v", recent="r", moved="m", owner="o"
    )
    assert_type(Table(), Table)
    assert_type(table.name, str)
    assert_type(table.token, str)
    assert_type(table.data, str)
    assert_type(table.expiry, str)
    assert_type(table.ttl, str)
    assert_type(table.version, str)
    assert_type(table.recent, str)
    assert_type(table.moved, str)
    assert_type(table.owner, str)
    assert_type(table.attributes, tuple[str, ...])
    assert_type(table.own, tuple[str, ...])


def tables_refused(table: Table) -> None:
    Table(nme="sessions")  # type: ignore[call-arg]
    Table("sessions")  # type: ignore[call-arg]
    Table(name=b"sessions")  # type: ignore[arg-type]
    Table(ttl=None)  # type: ignore[arg-type]
    table.name = "sessions"  # type: ignore[misc]
    table.region = "eu-central-1"  # type: ignore[attr-defined]


# Record


def records(record: Record) -> None:
    assert_type(Record("token", b"data", later, 7), Record)
    assert_type(
        Record(token="token", data=b"data", expiry=later, version=7, expiry_ns=1, beside={}, recent=b""), Record
    )
    assert_type(Record.at("token", b"data", 1, 7), Record)
    assert_type(Record.at("token", b"data", 1, 7, beside=None, recent=b""), Record)
    assert_type(record.token, str)
    assert_type(record.data, bytes)
    assert_type(record.expiry, datetime)
    assert_type(record.version, int)
    assert_type(record.expiry_ns, int)
    assert_type(record.beside, Mapping[str, AttributeValue])
    assert_type(record.recent, bytes)
    # A value: it can be compared, and be a key.
    assert_type(record == record, bool)
    assert_type({record: 1}, dict[Record, int])
    match record:
        case Record(token, data, expiry, version):
            assert_type((token, data, expiry, version), tuple[str, bytes, datetime, int])


def records_refused(record: Record) -> None:
    Record("token", "data", later, 7)  # type: ignore[arg-type]
    Record("token", b"data", 1893456000, 7)  # type: ignore[arg-type]
    Record("token", b"data", later, "7")  # type: ignore[arg-type]
    Record("token", b"data", later)  # type: ignore[call-arg]
    Record("token", b"data", later, 7, 1)  # type: ignore[call-arg]
    Record("token", b"data", later, verison=7)  # type: ignore[call-arg]
    Record.at("token", b"data", later, 7)  # type: ignore[arg-type]
    Record.at("token", b"data", 1, 7, {})  # type: ignore[call-arg]
    record.token = "another"  # type: ignore[misc]
    record.data = b"new"  # type: ignore[misc]
    record.expiry = later  # type: ignore[misc]
    record.version = 8  # type: ignore[misc]
    record.expiry_ns = 1  # type: ignore[misc]
    record.beside["owner"] = {"S": "ada"}  # type: ignore[index]
    record.beside = {}  # type: ignore[misc]
    record.payload  # type: ignore[attr-defined]


# The verbs; each of the three by its own type, for what it promises itself


def verbs(store: Store, record: Record) -> None:
    assert_type(store.find("token"), Record | None)
    assert_type(store.save("token", b"data", later), Record)
    assert_type(store.create("token", b"data", later), Record)
    assert_type(store.replace(record, b"data", later), Record)
    assert_type(store.touch(record, later), Record)
    assert_type(store.rename(record, "another", b"data", later), Record)
    nothing: None
    nothing = store.remove(record)  # type: ignore[func-returns-value]
    nothing = store.delete("token")  # type: ignore[func-returns-value]
    nothing = store.ping()  # type: ignore[func-returns-value]


def verbs_by_keyword(store: Store, record: Record) -> None:
    assert_type(store.find(token="token"), Record | None)
    assert_type(store.save(token="token", data=b"data", expiry=later), Record)
    assert_type(store.create(token="token", data=b"data", expiry=later), Record)
    assert_type(store.replace(record=record, data=b"data", expiry=later), Record)
    assert_type(store.touch(record=record, expiry=later), Record)
    assert_type(store.rename(record=record, token="another", data=b"data", expiry=later), Record)
    assert_type(store.rename(record, "another", b"data", later, grace=timedelta(seconds=5)), Record)
    store.remove(record=record)
    store.delete(token="token")


def verbs_of_dynamo(store: DynamoStore, record: Record) -> None:
    assert_type(store.find("token"), Record | None)
    assert_type(store.save("token", b"data", later), Record)
    assert_type(store.create("token", b"data", later), Record)
    assert_type(store.replace(record, b"data", later), Record)
    assert_type(store.touch(record, later), Record)
    assert_type(store.rename(record, "another", b"data", later), Record)
    assert_type(store.rename(record, "another", b"data", later, grace=timedelta(seconds=5)), Record)
    store.remove(record)
    store.delete("token")
    store.ping()
    store.create_table()
    store.create_table(timeout=timedelta(seconds=30))
    assert_type(store.table, Table)
    assert_type(store.client, DynamoClient)


def verbs_of_memory(store: MemoryStore, record: Record) -> None:
    assert_type(store.find("token"), Record | None)
    assert_type(store.save("token", b"data", later), Record)
    assert_type(store.create("token", b"data", later), Record)
    assert_type(store.replace(record, b"data", later), Record)
    assert_type(store.touch(record, later), Record)
    assert_type(store.rename(record, "another", b"data", later), Record)
    assert_type(store.rename(record, "another", b"data", later, grace=timedelta(seconds=5)), Record)
    store.remove(record)
    store.delete("token")
    store.ping()


def verbs_refused(store: Store, record: Record) -> None:
    # Data is bytes: whoever has text or an object says how it becomes some.
    store.save("token", "data", later)  # type: ignore[arg-type]
    store.save("token", {"user": 7}, later)  # type: ignore[arg-type]
    store.save("token", bytearray(b"data"), later)  # type: ignore[arg-type]
    store.save("token", None, later)  # type: ignore[arg-type]
    store.create("token", "data", later)  # type: ignore[arg-type]
    store.replace(record, "data", later)  # type: ignore[arg-type]
    store.rename(record, "another", "data", later)  # type: ignore[arg-type]
    # An expiry is an instant: no length of time, no number, no text, no day.
    store.save("token", b"data", timedelta(hours=1))  # type: ignore[arg-type]
    store.save("token", b"data", 3600)  # type: ignore[arg-type]
    store.save("token", b"data", time.time())  # type: ignore[arg-type]
    store.save("token", b"data", "2030-01-01T00:00:00Z")  # type: ignore[arg-type]
    store.save("token", b"data", date(2030, 1, 1))  # type: ignore[arg-type]
    store.touch(record, None)  # type: ignore[arg-type]
    # A token is a str.
    store.find(b"token")  # type: ignore[arg-type]
    store.find(None)  # type: ignore[arg-type]
    store.find(7)  # type: ignore[arg-type]
    store.delete(record)  # type: ignore[arg-type]
    store.remove("token")  # type: ignore[arg-type]
    store.remove(store.find("token"))  # type: ignore[arg-type]
    # What was read is handed back whole, so that it can be told whether it is still the same.
    store.replace("token", b"data", later)  # type: ignore[arg-type]
    store.touch("token", later)  # type: ignore[arg-type]
    store.rename("token", "another", b"data", later)  # type: ignore[arg-type]
    store.rename(record, "another", b"data", later, grace=5)  # type: ignore[arg-type]
    store.rename(record, "another", b"data", later, grace=None)  # type: ignore[arg-type]
    store.rename(record, "another", b"data", later, timedelta(seconds=5))  # type: ignore[call-arg]
    store.replace(store.find("token"), b"data", later)  # type: ignore[arg-type]
    store.touch(store.find("token"), later)  # type: ignore[arg-type]
    # Arguments in another order, one too few, one too many, one misspelt.
    store.save(b"data", "token", later)  # type: ignore[arg-type]
    store.touch(later, record)  # type: ignore[arg-type]
    store.save("token", b"data")  # type: ignore[call-arg]
    store.find()  # type: ignore[call-arg]
    store.find("token", None)  # type: ignore[call-arg]
    store.save("token", b"data", expires=later)  # type: ignore[call-arg]
    store.save("token", b"data", later, ttl=3600)  # type: ignore[call-arg]
    # Verbs there are none of.
    store.get("token")  # type: ignore[attr-defined]
    store.create_table()  # type: ignore[attr-defined]


def results_refused(store: Store) -> None:
    # None is an answer, and has to be dealt with.
    store.find("token").data  # type: ignore[union-attr]
    found: Record = store.find("token")  # type: ignore[assignment]
    data: str = store.save("token", b"data", later).data  # type: ignore[assignment]
    version: str = store.save("token", b"data", later).version  # type: ignore[assignment]
    expiry: float = store.save("token", b"data", later).expiry  # type: ignore[assignment]
    if store.delete("token"):  # type: ignore[func-returns-value]
        pass


def results_narrowed(store: Store) -> bytes:
    if (record := store.find("token")) is None:
        return b""
    assert_type(record, Record)
    return record.data


# Making a store


def stores(client: DynamoClient) -> None:
    assert_type(DynamoStore(client), DynamoStore)
    assert_type(DynamoStore(client, Table(name="sessions")), DynamoStore)
    assert_type(
        DynamoStore(
            client=client,
            table=Table(),
            consistent_read=False,
            evict_expired=False,
            clock=time.time_ns,
            sleep=lambda seconds: None,
        ),
        DynamoStore,
    )
    assert_type(MemoryStore(), MemoryStore)
    assert_type(MemoryStore(clock=lambda: 0), MemoryStore)


def stores_refused(client: DynamoClient) -> None:
    DynamoStore()  # type: ignore[call-arg]
    DynamoStore(client, "sessions")  # type: ignore[arg-type]
    DynamoStore(client, None)  # type: ignore[arg-type]
    DynamoStore(client, tabel=Table())  # type: ignore[call-arg]
    DynamoStore(client, Table(), True)  # type: ignore[call-arg]
    DynamoStore(client, consistent_read="no")  # type: ignore[arg-type]
    # Nanoseconds as an int: a clock of float seconds would be wrong by nine digits.
    DynamoStore(client, clock=time.time)  # type: ignore[arg-type]
    DynamoStore(client, clock=datetime.now)  # type: ignore[arg-type]
    DynamoStore(client, clock=time.time_ns())  # type: ignore[arg-type]
    DynamoStore(client, sleep=0.1)  # type: ignore[arg-type]
    DynamoStore(client).create_table(timeout=30)  # type: ignore[arg-type]
    DynamoStore(client).create_table(timedelta(seconds=30))  # type: ignore[call-arg]
    MemoryStore(time.time_ns)  # type: ignore[call-arg]
    MemoryStore(clock=time.time)  # type: ignore[arg-type]
    MemoryStore().create_table()  # type: ignore[attr-defined]
    Store()  # type: ignore[misc]


def connections() -> None:
    assert_type(connect(), DynamoStore)
    assert_type(connect("sessions"), DynamoStore)
    assert_type(connect(table=Table(name="sessions")), DynamoStore)
    assert_type(
        connect(
            "sessions",
            region="eu-central-1",
            endpoint_url=None,
            profile=None,
            threads=32,
            connect_timeout=0.5,
            read_timeout=1,
            attempts=2,
            consistent_read=False,
            evict_expired=True,
            clock=time.time_ns,
        ),
        DynamoStore,
    )


def connections_refused() -> None:
    connect(7)  # type: ignore[arg-type]
    connect("sessions", "eu-central-1")  # type: ignore[call-arg]
    connect("sessions", regoin="eu-central-1")  # type: ignore[call-arg]
    connect("sessions", region=["eu-central-1"])  # type: ignore[arg-type]
    connect("sessions", threads="32")  # type: ignore[arg-type]
    connect("sessions", attempts=2.5)  # type: ignore[arg-type]
    connect("sessions", read_timeout=timedelta(seconds=1))  # type: ignore[arg-type]
    connect("sessions", clock=time.time)  # type: ignore[arg-type]


def local() -> None:
    with LocalDynamoDB() as dynamodb:
        assert_type(dynamodb, LocalDynamoDB)
        assert_type(dynamodb.url, str)
        assert_type(dynamodb.port, int)
    environment: Mapping[str, str] = CREDENTIALS
    LocalDynamoDB(port="8000")  # type: ignore[arg-type]
    LocalDynamoDB().url = "http://localhost"  # type: ignore[misc]
