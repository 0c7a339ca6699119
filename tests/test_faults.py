"""What the service refuses and what the network does to a call: the right error for each, and no retry of ours."""

from __future__ import annotations

import base64
import errno
import logging
import os
import pickle
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal
from unittest.mock import MagicMock
from zlib import crc32

import pytest

from dynamostore import (
    AccessDeniedError,
    Conflict,
    DynamoStore,
    Record,
    StoreError,
    Table,
    TableNotFoundError,
    ThrottledError,
    ThrottlingReason,
    UnavailableError,
    connect,
    items,
)
from dynamostore.plans.faults import explain

from .fakes import OPERATIONS, Answer, FakeDynamoDB, Fault, Reply, assert_discreet, refusal, success, verb

TOKEN = secrets.token_urlsafe(32)
DATA = b"what nobody is to know"
RECORD = Record(TOKEN, DATA, datetime(2200, 1, 1, tzinfo=UTC), 7)
VERBS = list(OPERATIONS)

CODES: list[tuple[str, int, type[StoreError]]] = [
    ("AccessDeniedException", 400, AccessDeniedError),
    ("ExpiredTokenException", 400, AccessDeniedError),
    ("IncompleteSignature", 403, AccessDeniedError),
    ("IncompleteSignatureException", 400, AccessDeniedError),
    ("InvalidSignatureException", 400, AccessDeniedError),
    ("MissingAuthenticationTokenException", 400, AccessDeniedError),
    ("MissingAuthenticationToken", 403, AccessDeniedError),
    ("OptInRequired", 403, AccessDeniedError),
    ("RequestExpired", 403, AccessDeniedError),
    ("SignatureDoesNotMatch", 403, AccessDeniedError),
    ("UnrecognizedClientException", 400, AccessDeniedError),
    ("LimitExceededException", 400, ThrottledError),
    ("ProvisionedThroughputExceededException", 400, ThrottledError),
    ("RequestLimitExceeded", 400, ThrottledError),
    ("Throttling", 400, ThrottledError),
    ("ThrottlingException", 400, ThrottledError),
    ("InternalServerError", 500, UnavailableError),
    ("InternalFailure", 500, UnavailableError),
    ("ServiceUnavailable", 503, UnavailableError),
    ("SomethingNewException", 500, UnavailableError),
    ("SomethingNewException", 503, UnavailableError),
    ("SomethingNewException", 400, StoreError),
    ("ResourceNotFoundException", 400, TableNotFoundError),
]


@pytest.fixture(scope="module")
def running(credentials: None) -> Iterator[FakeDynamoDB]:
    with FakeDynamoDB() as fake:
        yield fake


@pytest.fixture
def fake(running: FakeDynamoDB) -> FakeDynamoDB:
    running.forget()
    return running


@pytest.fixture(scope="module", params=["wire", "boto3"])
def store(running: FakeDynamoDB, request: pytest.FixtureRequest) -> DynamoStore:
    """A store on either client."""
    return connect(
        Table(name="sessions"),
        via=request.param,
        region="eu-central-1",
        endpoint_url=running.url,
        connect_timeout=2,
        read_timeout=0.2,
        attempts=1,
    )


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def patient(store: DynamoStore, waits: list[float]) -> DynamoStore:
    """The same store, which only makes a note of how long it would wait."""
    return DynamoStore(store.client, store.table, sleep=waits.append)


def failing(name: str, store: DynamoStore, kind: type[StoreError], caplog: pytest.LogCaptureFixture) -> StoreError:
    """What the verb *name* raises: just *kind*, with its cause, and nothing said of the record."""
    caplog.set_level(logging.DEBUG, "dynamostore")
    with pytest.raises(StoreError) as caught:
        verb(name, store, RECORD, DATA)()
    error = caught.value
    assert type(error) is kind
    # A transaction that is refused for no reason that is known may be one that the table does not do: it is tried in two steps.
    in_two = name == "rename" and error.code in ("SomethingNewException", "ValidationException")
    assert error.operation == ("PutItem" if in_two and kind is not UnavailableError else OPERATIONS[name])
    assert error.__cause__ is not None
    assert_discreet(error, TOKEN, DATA, log=caplog.text)
    return error


@pytest.mark.parametrize(("code", "status", "kind"), CODES, ids=[f"{code}-{status}" for code, status, _ in CODES])
@pytest.mark.parametrize("name", ["find", "save"])
def test_a_refusal_is_told_by_its_code(
    fake: FakeDynamoDB,
    store: DynamoStore,
    caplog: pytest.LogCaptureFixture,
    name: str,
    code: str,
    status: int,
    kind: type[StoreError],
) -> None:
    fake.answer(refusal(code, "because of that", status))
    error = failing(name, store, kind, caplog)
    assert error.code == code
    for part in ("because of that", code, "'sessions'", "eu-central-1", fake.url):
        assert part in str(error)
    assert fake.operations == [OPERATIONS[name]]


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDeniedException", AccessDeniedError),
        ("ThrottlingException", ThrottledError),
        ("InternalServerError", UnavailableError),
        ("SomethingNewException", StoreError),
    ],
)
def test_every_verb_tells_refusals_apart(
    fake: FakeDynamoDB,
    store: DynamoStore,
    caplog: pytest.LogCaptureFixture,
    name: str,
    code: str,
    kind: type[StoreError],
) -> None:
    fake.answer(refusal(code))
    assert failing(name, store, kind, caplog).code == code


NO_ANSWER: dict[str, Answer] = {
    "closed after the request": Fault.CLOSED,
    "reset after the request": Fault.RESET,
    "half a reply": Fault.HALF,
    "silence": Fault.SILENCE,
    "a proxy's 502": Reply(502, b"<html>Bad Gateway</html>"),
    "a proxy's 503": Reply(503, b""),
}


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize("answer", NO_ANSWER.values(), ids=NO_ANSWER)
def test_a_call_that_gets_no_answer_is_an_outage(
    fake: FakeDynamoDB, store: DynamoStore, caplog: pytest.LogCaptureFixture, name: str, answer: Answer
) -> None:
    fake.answer(answer)
    error = failing(name, store, UnavailableError, caplog)
    assert fake.url in str(error)
    # What is not known to have failed is sent once; it is for the SDK's settings to say otherwise.
    assert fake.operations == [OPERATIONS[name]]


NOT_DYNAMODBS = {
    "a page": Reply(200, b"<html>Please sign in to the hotel's network</html>"),
    "nothing": Reply(200, b""),
    "half of it": Reply(200, b'{"Item": {"token": {"S": "'),
    "a list": Reply(200, b"[]"),
    "null": Reply(200, b"null"),
    "a string": Reply(200, b'"ok"'),
    "not UTF-8": Reply(200, b"\xff\xfe"),
    "another checksum": Reply(200, b"{}", {"x-amz-crc32": str(crc32(b"{} "))}),
    "no checksum": Reply(200, b"{}", {"x-amz-crc32": "none"}),
    "a page of status 301": Reply(301, b"<html>over there</html>", {"Location": "http://127.0.0.1:1/"}),
    "a page of status 400": Reply(400, b"<html>go away</html>"),
    "a page of status 403": Reply(403, b"<html>go away</html>"),
    "a page of status 404": Reply(404, b"<html>no such page</html>"),
}


@pytest.mark.parametrize("name", ["find", "save", "rename"])
@pytest.mark.parametrize("answer", NOT_DYNAMODBS.values(), ids=NOT_DYNAMODBS)
def test_an_answer_that_is_not_dynamodbs_is_an_outage_and_not_a_logout(
    fake: FakeDynamoDB, store: DynamoStore, caplog: pytest.LogCaptureFixture, name: str, answer: Answer
) -> None:
    fake.answer(answer)
    failing(name, store, UnavailableError, caplog)


@pytest.mark.parametrize("status", [301, 400, 403, 404, 413])
def test_a_refusal_without_a_code_is_a_store_error(
    fake: FakeDynamoDB, store: DynamoStore, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    fake.answer(Reply(status, b'{"message": "go away"}'))
    assert failing("find", store, StoreError, caplog).code == str(status)


@pytest.mark.parametrize(
    ("number", "name", "kind"),
    [
        (errno.ENOENT, "token", AccessDeniedError),
        (errno.EACCES, "token", AccessDeniedError),
        (errno.EISDIR, "token", AccessDeniedError),
        (errno.ENOTDIR, "token", AccessDeniedError),
        # It passes, or is the network's.
        (errno.EMFILE, "token", UnavailableError),
        (errno.ENOENT, None, UnavailableError),
        (errno.ECONNREFUSED, None, UnavailableError),
    ],
)
def test_a_file_that_is_not_there_is_no_outage(number: int, name: str | None, kind: type[StoreError]) -> None:
    raised = OSError(number, os.strerror(number), name)
    explained = explain(raised, "get_item", "sessions")
    assert type(explained) is kind
    assert explained.__cause__ is raised
    assert os.strerror(number) in str(explained)
    assert (name or "") in str(explained)


def test_an_error_of_somebody_elses_making_comes_through_as_it_is(store: DynamoStore) -> None:
    # A proxy of a client with none of the methods is a mistake in the program, and no outage.
    broken = DynamoStore(MagicMock(spec=[]), store.table)
    with pytest.raises(AttributeError, match="get_item"):
        broken.find(TOKEN)


# Transactions


def cancelled(*codes: str) -> Reply:
    reasons = [{"Code": code, "Message": f"because of {code}"} if code != "None" else {"Code": code} for code in codes]
    text = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(codes)}]"
    return refusal("TransactionCanceledException", text, CancellationReasons=reasons)


@pytest.mark.parametrize(
    ("codes", "kind", "code", "calls"),
    [
        (("ThrottlingError", "None"), ThrottledError, "ThrottlingError", 3),
        (("None", "ProvisionedThroughputExceeded"), ThrottledError, "ProvisionedThroughputExceeded", 3),
        (("RequestLimitExceeded", "None"), ThrottledError, "RequestLimitExceeded", 3),
        (("TransactionConflict", "ThrottlingError"), ThrottledError, "ThrottlingError", 3),
        (("TransactionConflict", "None"), ThrottledError, "TransactionConflict", 5),
        (("None", "ReplicatedWriteConflict"), ThrottledError, "ReplicatedWriteConflict", 5),
        (("None", "AccessDenied"), AccessDeniedError, "AccessDenied", 1),
        (("ResourceNotFound", "None"), TableNotFoundError, "ResourceNotFound", 1),
        (("InternalServerError", "None"), UnavailableError, "InternalServerError", 1),
        (("ItemCollectionSizeLimitExceeded", "None"), StoreError, "ItemCollectionSizeLimitExceeded", 1),
        (("ValidationError", "None"), StoreError, "ValidationError", 1),
        (("None", "ValidationError"), StoreError, "ValidationError", 1),
        (("None", "SomethingNew"), StoreError, "TransactionCanceledException", 1),
        ((), StoreError, "TransactionCanceledException", 1),
    ],
)
def test_a_cancelled_transaction_is_told_by_its_reasons(
    fake: FakeDynamoDB,
    patient: DynamoStore,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    codes: tuple[str, ...],
    kind: type[StoreError],
    code: str,
    calls: int,
) -> None:
    fake.answer(cancelled(*codes))
    assert failing("rename", patient, kind, caplog).code == code
    assert len(fake.requests) == calls
    assert len(waits) == calls - 1


@pytest.mark.parametrize(
    "codes",
    [
        ("None", "ThrottlingError"),
        ("ProvisionedThroughputExceeded", "None"),
        ("RequestLimitExceeded", "None"),
        ("None", "TransactionConflict"),
        ("None", "ReplicatedWriteConflict"),
        ("ThrottlingError", "TransactionConflict"),
    ],
)
def test_a_transaction_that_may_succeed_is_made_again(
    fake: FakeDynamoDB, patient: DynamoStore, waits: list[float], codes: tuple[str, ...]
) -> None:
    fake.answer(cancelled(*codes), cancelled(*codes), success())
    renamed = patient.rename(RECORD, TOKEN + "2", b"new", RECORD.expiry)
    assert renamed.token == TOKEN + "2"
    assert len({request["ClientRequestToken"] for _, request in fake.requests}) == 1
    # A table that is throttled is left alone for longer than one where another write is in the way.
    throttled = not {"TransactionConflict", "ReplicatedWriteConflict"} & set(codes) or "ThrottlingError" in codes
    assert len(waits) == 2
    assert all(
        0 <= seconds <= longest for seconds, longest in zip(waits, (1, 2) if throttled else (0.02, 0.04), strict=True)
    )


def test_an_item_that_a_transaction_would_duplicate_is_a_conflict(fake: FakeDynamoDB, patient: DynamoStore) -> None:
    there = {
        **items.encode(patient.table, Record(TOKEN + "2", DATA, RECORD.expiry, 8)),
        "data": {"B": base64.b64encode(DATA).decode()},
    }
    fake.answer(cancelled("DuplicateItem", "None"), to="TransactWriteItems")
    fake.answer(success(Item=there), to="GetItem")
    with pytest.raises(Conflict) as caught:
        patient.rename(RECORD, TOKEN + "2", b"new", RECORD.expiry)
    assert caught.value.current is not None
    assert caught.value.current.data == DATA


def test_a_parameter_mismatch_is_not_tried_again(
    fake: FakeDynamoDB, patient: DynamoStore, caplog: pytest.LogCaptureFixture
) -> None:
    fake.answer(refusal("IdempotentParameterMismatchException"))
    failing("rename", patient, StoreError, caplog)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("name", ["replace", "save", "delete"])
@pytest.mark.parametrize("code", ["TransactionConflictException", "ReplicatedWriteConflictException"])
def test_a_write_that_another_is_in_the_way_of_is_made_again(
    fake: FakeDynamoDB, patient: DynamoStore, name: str, code: str
) -> None:
    fake.answer(refusal(code), success())
    verb(name, patient, RECORD, DATA)()
    assert 2 <= len(fake.requests) <= 3


@pytest.mark.parametrize("via", ["wire", "boto3"])
def test_what_the_client_has_made_again_the_store_does_not(
    fake: FakeDynamoDB, waits: list[float], via: Literal["wire", "boto3"]
) -> None:
    fake.answer(refusal("ReplicatedWriteConflictException"))
    store = connect(Table(name="sessions"), via=via, region="eu-central-1", endpoint_url=fake.url, attempts=2)
    with pytest.raises(ThrottledError) as caught:
        DynamoStore(store.client, store.table, sleep=waits.append).save(TOKEN, DATA, RECORD.expiry)
    assert caught.value.code == "ReplicatedWriteConflictException"
    assert (len(fake.requests), waits) == (2, [])


# Why it was throttled

REASONS: Any = [
    {"reason": "TableWriteKeyRangeThroughputExceeded", "resource": "arn:aws:dynamodb:eu-central-1:1:table/sessions"},
    {
        "reason": "IndexWriteProvisionedThroughputExceeded",
        "resource": "arn:aws:dynamodb:eu-central-1:1:table/sessions/index/i",
    },
]


@pytest.mark.parametrize("name", ["find", "save", "rename"])
@pytest.mark.parametrize(
    ("code", "spelled"),
    [
        ("ProvisionedThroughputExceededException", "ThrottlingReasons"),
        ("RequestLimitExceeded", "ThrottlingReasons"),
        ("ThrottlingException", "throttlingReasons"),
    ],
)
def test_throttling_says_which_limit_of_which_table_or_index(
    fake: FakeDynamoDB, store: DynamoStore, caplog: pytest.LogCaptureFixture, name: str, code: str, spelled: str
) -> None:
    said: dict[str, Any] = {spelled: REASONS}
    fake.answer(refusal(code, **said))
    error = failing(name, store, ThrottledError, caplog)
    assert isinstance(error, ThrottledError)
    assert error.throttling_reasons == tuple(ThrottlingReason(**reason) for reason in REASONS)
    assert pickle.loads(pickle.dumps(error)).throttling_reasons == error.throttling_reasons


@pytest.mark.parametrize("reasons", [None, [], "x", 7, {"reason": "x"}, [None], ["x"]], ids=repr)
def test_throttling_without_reasons_is_throttling(
    fake: FakeDynamoDB, store: DynamoStore, caplog: pytest.LogCaptureFixture, reasons: object
) -> None:
    if not hasattr(store.client, "checks_replies"):
        pytest.skip("botocore takes what its model says, and nothing else")
    fake.answer(refusal("ThrottlingException", throttlingReasons=reasons))
    error = failing("find", store, ThrottledError, caplog)
    assert isinstance(error, ThrottledError)
    assert error.throttling_reasons == ()


@pytest.mark.parametrize("reasons", [[{}], [{"reason": None}], [{"reason": ""}]], ids=repr)
def test_a_reason_that_says_nothing_is_empty(fake: FakeDynamoDB, store: DynamoStore, reasons: object) -> None:
    fake.answer(refusal("ThrottlingException", throttlingReasons=reasons))
    with pytest.raises(ThrottledError) as caught:
        store.find(TOKEN)
    assert caught.value.throttling_reasons == (ThrottlingReason("", ""),)


def test_a_transaction_in_the_way_is_waited_for(fake: FakeDynamoDB, patient: DynamoStore, waits: list[float]) -> None:
    in_the_way = cancelled("None", "TransactionConflict")
    fake.answer(in_the_way, in_the_way, success())
    renamed = patient.rename(RECORD, TOKEN + "2", b"new", RECORD.expiry)
    assert renamed.token == TOKEN + "2"
    assert len(waits) == 2
    sent = {request["ClientRequestToken"] for _, request in fake.requests}
    assert len(sent) == 1


@pytest.mark.parametrize("name", ["rename", "replace", "save", "delete"])
def test_a_transaction_that_stays_in_the_way_is_throttling(
    fake: FakeDynamoDB, patient: DynamoStore, waits: list[float], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    fake.answer(refusal("TransactionConflictException"))
    fake.answer(cancelled("TransactionConflict", "None"), to="TransactWriteItems")
    caplog.set_level(logging.DEBUG, "dynamostore")
    with pytest.raises(ThrottledError) as caught:
        verb(name, patient, RECORD, DATA)()
    assert caught.value.operation == OPERATIONS[name]
    assert caught.value.code in ("TransactionConflict", "TransactionConflictException")
    assert 1 <= len(waits) == len(fake.requests) - 1
    assert_discreet(caught.value, TOKEN, DATA, log=caplog.text)
