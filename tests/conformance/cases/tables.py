"""The table: made, described, its TTL, its backups, deleted."""

from __future__ import annotations

from typing import Any

from tests.conformance.model import ARN, MADE, NEW, Case, Expectation, Request, refused, replied

from .parts import API, GUIDE, call

__all__ = ["CASES"]

CREATE, DESCRIBE, DELETE = API.format("CreateTable"), API.format("DescribeTable"), API.format("DeleteTable")
TTL, TTL_STATE = API.format("UpdateTimeToLive"), API.format("DescribeTimeToLive")
BACKUPS = API.format("DescribeContinuousBackups")
MISSING = "ResourceNotFoundException"
_KEY = {
    "AttributeDefinitions": [{"AttributeName": "token", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "token", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}


def ttl(attribute: str) -> Request:
    return call("UpdateTimeToLive", TimeToLiveSpecification={"Enabled": True, "AttributeName": attribute})


def as_made(body: Any) -> bool:
    table = body["Table"]
    same = all(table[name] == _KEY[name] for name in ("AttributeDefinitions", "KeySchema"))
    return same and table["TableStatus"] == "ACTIVE" and table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


CASES = (
    Case(
        "describe",
        "DescribeTable",
        (DESCRIBE,),
        (call("DescribeTable"),),
        replied("the key, attributes, status and billing mode of the table", as_made),
    ),
    Case(
        "describe-arn",
        "DescribeTable, for the table's ARN",
        (DESCRIBE, API.format("TableDescription")),
        (call("DescribeTable"),),
        replied("a `TableArn`", lambda body: body["Table"]["TableArn"] == ARN),
    ),
    Case(
        "by-arn",
        "GetItem with the table's ARN in place of its name",
        (API.format("GetItem"),),
        (Request("GetItem", {"TableName": ARN, "Key": {"token": {"S": "none"}}}),),
        replied("the same reply as with the name"),
    ),
    Case(
        "describe-missing",
        "DescribeTable of a table that does not exist",
        (DESCRIBE,),
        (Request("DescribeTable", {"TableName": NEW}),),
        refused(MISSING),
    ),
    Case(
        "create-again",
        "CreateTable of a table that exists",
        (CREATE,),
        (call("CreateTable", **_KEY),),
        refused("ResourceInUseException"),
    ),
    Case(
        "ttl-off",
        "DescribeTimeToLive of a new table",
        (TTL_STATE,),
        (call("DescribeTimeToLive"),),
        replied("`DISABLED`", lambda body: body["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED"),
    ),
    Case(
        "ttl-on",
        "UpdateTimeToLive, and DescribeTimeToLive",
        (TTL, TTL_STATE),
        (ttl("ttl"), call("DescribeTimeToLive")),
        replied(
            "the requested specification", lambda body: body["TimeToLiveSpecification"]["AttributeName"] == "ttl", at=0
        )
        & replied(
            "`ENABLING` or `ENABLED`, and on which attribute",
            lambda body: (
                body["TimeToLiveDescription"]["TimeToLiveStatus"] in ("ENABLING", "ENABLED")
                and body["TimeToLiveDescription"]["AttributeName"] == "ttl"
            ),
        ),
    ),
    Case(
        "ttl-twice",
        "UpdateTimeToLive a second time",
        (TTL, GUIDE.format("TTL")),
        (ttl("ttl"),),
        refused("ValidationException"),
    ),
    Case(
        "ttl-other",
        "UpdateTimeToLive on another attribute while TTL is on",
        (TTL, GUIDE.format("TTL")),
        (ttl("expiry"), call("DescribeTimeToLive")),
        refused("ValidationException", at=0)
        & replied("TTL unchanged", lambda body: body["TimeToLiveDescription"]["AttributeName"] == "ttl"),
    ),
    Case(
        "ttl-missing",
        "UpdateTimeToLive and DescribeTimeToLive of a table that does not exist",
        (TTL, TTL_STATE),
        (
            Request(
                "UpdateTimeToLive",
                {"TableName": NEW, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"}},
            ),
            Request("DescribeTimeToLive", {"TableName": NEW}),
        ),
        refused(MISSING, at=0) & refused(MISSING),
    ),
    Case(
        "backups",
        "DescribeContinuousBackups",
        (BACKUPS,),
        (call("DescribeContinuousBackups"),),
        replied(
            "the status of point-in-time recovery",
            lambda body: (
                body["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
                in ("ENABLED", "DISABLED")
            ),
        ),
    ),
    Case(
        "backups-missing",
        "DescribeContinuousBackups of a table that does not exist",
        (BACKUPS,),
        (Request("DescribeContinuousBackups", {"TableName": NEW}),),
        refused("TableNotFoundException"),
    ),
    Case(
        "delete-missing-table",
        "DeleteTable of a table that does not exist",
        (DELETE,),
        (Request("DeleteTable", {"TableName": NEW}),),
        refused(MISSING),
    ),
    Case(
        "create-delete",
        "CreateTable, then DeleteTable as soon as possible",
        (CREATE, DELETE),
        (Request("CreateTable", {"TableName": MADE, **_KEY}), Request("DeleteTable", {"TableName": MADE})),
        replied(
            "`CREATING` or `ACTIVE`",
            lambda body: body["TableDescription"]["TableStatus"] in ("CREATING", "ACTIVE"),
            at=0,
        )
        & Expectation(
            "`DELETING`, or `ResourceInUseException` while the table is being created",
            lambda answers: (
                answers[1].code == "ResourceInUseException"
                or answers[1].body["TableDescription"]["TableStatus"] == "DELETING"
            ),
        ),
    ),
)
