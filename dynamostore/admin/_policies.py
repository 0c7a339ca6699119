"""`policy`: the minimal IAM policy of each role, and the operations that each role needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

from dynamostore.table import Table

__all__ = ["ALLOWED", "ROLES", "Role", "policy", "roles_with"]

Role: TypeAlias = Literal["web", "reader", "sweeper", "administrator"]
"""The role of a client.

*web*: all methods of a store that sessions use. *reader*: jobs that only read, and `describe`. *sweeper*: only
``purge_expired``. *administrator*: ``create_table``, `describe`, `doctor`, and all jobs.
"""

ROLES: Final[tuple[Role, ...]] = get_args(Role)

ALLOWED: Final[Mapping[Role, tuple[str, ...]]] = {
    # DynamoDB authorizes a transaction by the actions it contains.
    "web": ("GetItem", "PutItem", "UpdateItem", "DeleteItem"),
    "reader": ("GetItem", "BatchGetItem", "Scan", "DescribeTable"),
    "sweeper": ("Scan", "DeleteItem"),
    "administrator": (
        *("GetItem", "PutItem", "UpdateItem", "DeleteItem", "BatchGetItem", "BatchWriteItem", "Scan"),
        *("CreateTable", "DescribeTable", "DescribeTimeToLive", "UpdateTimeToLive", "DescribeContinuousBackups"),
    ),
}
"""The operations that each role needs."""

# The partition in the ARNs of a Region: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
_PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
    "eusc-": "aws-eusc",
}


def policy(
    role: Role, *, table: str | Table = "scs_session", region: str = "*", account: str = "*"
) -> dict[str, object]:
    """Return an IAM policy that allows a role exactly the operations it needs, on one table.

    *table* is the table's name or ARN, or a `Table` if its attributes have other names. *region* and *account* (12 digits) can be
    "*" for any. ``json.dumps`` turns the result into a policy document. Raises `ValueError` if an argument is not valid.

    The policy of the *sweeper* lists the attributes that it may use, so it can neither read nor compare the payload.

    >>> policy("reader", region="eu-central-1", account="123456789012")["Statement"]
    ... # doctest: +NORMALIZE_WHITESPACE
    [{'Effect': 'Allow', 'Action': ['dynamodb:GetItem', 'dynamodb:BatchGetItem', 'dynamodb:Scan', 'dynamodb:DescribeTable'],
      'Resource': 'arn:aws:dynamodb:eu-central-1:123456789012:table/scs_session'}]
    """
    if role not in ROLES:
        raise ValueError(f"role must be one of {', '.join(ROLES)}, not {role!r}")
    if not re.fullmatch(r"\*|[a-z0-9-]+", region):
        raise ValueError(f'region must be a Region such as "eu-central-1", or "*", not {region!r}')
    if not re.fullmatch(r"\*|[0-9]{12}", account):
        raise ValueError(f'account must be 12 digits or "*", not {account!r}')
    table = Table(name=table) if isinstance(table, str) else table
    resource = _resource(table.name, region, account)
    if role == "sweeper":
        statements = [_restricted(operation, resource, table) for operation in ALLOWED[role]]
    else:
        statements = [_allow(ALLOWED[role], resource)]
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(operations: tuple[str, ...], resource: str) -> dict[str, object]:
    return {
        "Effect": "Allow",
        "Action": [f"dynamodb:{operation}" for operation in operations],
        "Resource": resource,
    }


def _restricted(operation: str, resource: str, table: Table) -> dict[str, object]:
    """Return the statement that allows an operation of `purge_expired` on the attributes it uses, and no others.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    """
    attributes = [_literal(name) for name in (table.token, table.expiry, table.ttl, table.moved)]
    returned = {
        # Without a projection, a Scan returns all attributes, whichever attributes the request names.
        "Scan": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"},
        "DeleteItem": {"dynamodb:ReturnValues": "NONE"},
    }
    condition = {
        "ForAllValues:StringEquals": {"dynamodb:Attributes": attributes},
        # ForAllValues is true for a request that names no attributes, so require that it names some.
        "Null": {"dynamodb:Attributes": "false"},
        "StringEquals": returned[operation],
    }
    return {**_allow((operation,), resource), "Condition": condition}


def _literal(name: str) -> str:
    """Return an attribute's name as a value of a condition."""
    if not all("\x20" <= character <= "\xff" for character in name):
        raise ValueError(
            f"table attribute {name!r} cannot be in an IAM policy: use only characters from U+0020 to U+00FF"
        )
    # "${" would start a policy variable.
    return name.replace("${", "${$}{")


def roles_with(operation: str) -> tuple[Role, ...]:
    """Return the roles that need an operation.

    >>> roles_with("BatchGetItem")
    ('reader', 'administrator')
    """
    return tuple(role for role in ROLES if operation in ALLOWED[role])


def _resource(table: str, region: str, account: str) -> str:
    if table.startswith("arn:"):
        return table
    partition = next((name for start, name in _PARTITIONS.items() if region.startswith(start)), "aws")
    return f"arn:{partition}:dynamodb:{region}:{account}:table/{table}"
