"""What is around a request: headers, checksums, and what is no request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from zlib import crc32

from tests.conformance.model import NEW, Answer, Case, Expectation, Request, refused

from .parts import ERRORS, GUIDE, TEXTS, get, item, key, put

__all__ = ["CASES"]

WIRE = GUIDE.format("Programming.LowLevelAPI")
_MISSING = Request("GetItem", {"TableName": NEW, "Key": key()})
MB = 1024 * 1024


def has_checksum(answers: Sequence[Answer]) -> bool:
    return all(answer.headers["x-amz-crc32"] == str(crc32(answer.raw)) for answer in answers)


def has_date(answers: Sequence[Answer]) -> bool:
    return all(abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()) < 300 for answer in answers)


def has_id(answers: Sequence[Answer]) -> bool:
    return all(answer.headers["x-amzn-requestid"] for answer in answers)


def is_amz_json(answers: Sequence[Answer]) -> bool:
    return all(answer.headers["content-type"].startswith("application/x-amz-json-1.0") for answer in answers)


def has_qualified_type(answers: Sequence[Answer]) -> bool:
    return bool(str(answers[-1].body["__type"]).endswith("#ResourceNotFoundException"))


def too_large(answers: Sequence[Answer]) -> bool:
    return answers[-1].status in (400, 413)


CASES = (
    Case(
        "unknown-operation",
        "An operation that does not exist",
        (TEXTS.format("connection"),),
        (Request("GuessItem", {}),),
        refused("UnknownOperationException"),
        needs_operation=False,
    ),
    Case(
        "no-json",
        "A body that is not JSON",
        (TEXTS.format("connection"),),
        (Request("GetItem", b'{"TableName": '),),
        refused("SerializationException"),
    ),
    Case(
        "other-json",
        "A body with a number in place of a string",
        (TEXTS.format("getItem"),),
        (Request("GetItem", {"TableName": 5, "Key": key()}),),
        refused("SerializationException"),
    ),
    Case(
        "no-arguments",
        "GetItem without its arguments",
        (ERRORS,),
        (Request("GetItem", {}),),
        refused("ValidationException"),
    ),
    Case(
        "too-much",
        "A body of 17 MB; the limit is 16 MB",
        (TEXTS.format("connection"),),
        (put({**key(), "data": {"S": "x" * (17 * MB)}}),),
        Expectation("status 400 or 413", too_large),
    ),
    Case(
        "checksum",
        "GetItem from a table, and from a table that does not exist",
        (WIRE,),
        (get(), _MISSING),
        Expectation("`x-amz-crc32`, the CRC-32 of the body", has_checksum),
        before=(put(item()),),
    ),
    Case(
        "date",
        "The same",
        (WIRE,),
        (get(), _MISSING),
        Expectation("a `Date` within five minutes of our clock", has_date),
    ),
    Case("request-id", "The same", (WIRE,), (get(), _MISSING), Expectation("`x-amzn-RequestId`", has_id)),
    Case(
        "content-type",
        "The same",
        (WIRE,),
        (get(), _MISSING),
        Expectation("`Content-Type: application/x-amz-json-1.0`", is_amz_json),
    ),
    Case(
        "error-type",
        "GetItem from a table that does not exist",
        (ERRORS,),
        (_MISSING,),
        Expectation("a `__type` that ends with `#` and the error's name", has_qualified_type),
    ),
)
