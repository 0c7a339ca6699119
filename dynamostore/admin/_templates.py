"""The table as a template, for CloudFormation or Terraform: as ``create_table`` makes it, and protected."""

from __future__ import annotations

from dynamostore.table import Table

__all__ = ["cloudformation", "terraform"]

_CLOUDFORMATION = """\
AWSTemplateFormatVersion: "2010-09-09"
Description: A table of records for dynamostore
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      TableName: {name}
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions:
        - AttributeName: {token}
          AttributeType: S
      KeySchema:
        - AttributeName: {token}
          KeyType: HASH
      TimeToLiveSpecification:
        AttributeName: {ttl}
        Enabled: true
      PointInTimeRecoverySpecification:
        PointInTimeRecoveryEnabled: true
      DeletionProtectionEnabled: true
Outputs:
  TableArn:
    Description: For the policies of its clients
    Value: !GetAtt Table.Arn
"""

_TERRAFORM = """\
resource "aws_dynamodb_table" "dynamostore" {{
  name                        = {name}
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = {token}
  deletion_protection_enabled = true

  attribute {{
    name = {token}
    type = "S"
  }}

  ttl {{
    attribute_name = {ttl}
    enabled        = true
  }}

  point_in_time_recovery {{
    enabled = true
  }}
}}

output "table_arn" {{
  description = "For the policies of its clients"
  value       = aws_dynamodb_table.dynamostore.arn
}}
"""


def cloudformation(table: Table) -> str:
    """A CloudFormation template (YAML) with *table*, and its ARN as output.

    On demand, with its key and TTL, as ``create_table`` makes it; point-in-time recovery and deletion protection are on, and it
    is kept when the stack is deleted. It is encrypted with DynamoDB's own key, as any table is that says nothing of it.

    >>> print(cloudformation(Table(name="sessions", token="id")))  # doctest: +ELLIPSIS
    AWSTemplateFormatVersion: "2010-09-09"
    ...
          TableName: "sessions"
          BillingMode: PAY_PER_REQUEST
    ...
    """
    name, token, ttl = _names(table)
    return _CLOUDFORMATION.format(name=name, token=token, ttl=ttl)


def terraform(table: Table) -> str:
    """A Terraform configuration (HCL) with *table*, and its ARN as output: the table of `cloudformation`."""
    # "${" and "%{" would begin a template.
    name, token, ttl = (text.replace("${", "$${").replace("%{", "%%{") for text in _names(table))
    return _TERRAFORM.format(name=name, token=token, ttl=ttl)


def _names(table: Table) -> tuple[str, str, str]:
    return _quoted(table.name.rpartition(":table/")[2]), _quoted(table.token), _quoted(table.ttl)


def _quoted(text: str) -> str:
    r"""A string as YAML and HCL both write it.

    >>> print(_quoted('a "b"\n'))
    "a \"b\"\u000a"
    """
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
