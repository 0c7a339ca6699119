"""The table as a template for CloudFormation or Terraform, with deletion protection, in one Region or several."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, get_args

from dynamostore.table import Table

__all__ = ["Consistency", "cloudformation", "terraform"]

Consistency: TypeAlias = Literal["EVENTUAL", "STRONG"]
"""The consistency between the Regions of a global table: DynamoDB's names for MREC and MRSC."""

# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dynamodb-table.html
_CLOUDFORMATION = """\
AWSTemplateFormatVersion: "2010-09-09"
Description: The DynamoDB table of dynamostore
Resources:
  Table:
    Type: AWS::DynamoDB::{kind}
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
{properties}\
Outputs:
  TableArn:
    Description: For the IAM policies of the table's clients
    Value: !GetAtt Table.Arn
"""

_TTL = """\
      TimeToLiveSpecification:
        AttributeName: {ttl}
        Enabled: true
"""

_PROTECTED = """\
      PointInTimeRecoverySpecification:
        PointInTimeRecoveryEnabled: true
      DeletionProtectionEnabled: true
"""

# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dynamodb-globaltable.html: the Region of the
# stack is one of the replicas. With eventual consistency, a stream is required.
_STREAM = """\
      StreamSpecification:
        StreamViewType: NEW_AND_OLD_IMAGES
"""

_REPLICA = """\
        - Region: {region}
          PointInTimeRecoverySpecification:
            PointInTimeRecoveryEnabled: true
          DeletionProtectionEnabled: true
"""

_TERRAFORM = """\
resource "aws_dynamodb_table" "dynamostore" {{
  name                        = {name}
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = {token}
  deletion_protection_enabled = true
{stream}
  attribute {{
    name = {token}
    type = "S"
  }}
{ttl}
  point_in_time_recovery {{
    enabled = true
  }}
{replicas}}}

output "table_arn" {{
  description = "For the IAM policies of the table's clients"
  value       = aws_dynamodb_table.dynamostore.arn
}}
"""

_TERRAFORM_TTL = """
  ttl {{
    attribute_name = {ttl}
    enabled        = true
  }}
"""

# https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/dynamodb_table#global-tables
_TERRAFORM_STREAM = """\
  stream_enabled              = true
  stream_view_type            = "NEW_AND_OLD_IMAGES"
"""

_TERRAFORM_REPLICA = """
  replica {{
    region_name                 = {region}
    consistency_mode            = "{consistency}"
    point_in_time_recovery      = true
    deletion_protection_enabled = true
  }}
"""

_TERRAFORM_WITNESS = """
  global_table_witness {{
    region_name = {region}
  }}
"""

_REGION: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
_STRONG_REGIONS: Final = 3


def cloudformation(
    table: Table, *, replicas: Sequence[str] = (), consistency: Consistency = "EVENTUAL", witness: str | None = None
) -> str:
    """Return a CloudFormation template (YAML) that declares *table*. Its output is the table's ARN.

    The table has the key, the TTL and the on-demand billing that ``create_table`` sets. Point-in-time recovery and deletion
    protection are on, and the table stays when the stack is deleted. It is encrypted with DynamoDB's own key, the default.

    *replicas* are Regions other than the stack's own. With replicas, the table is a global table with this *consistency*. A
    global table with strong consistency has three Regions, one of which can be a *witness*, and no TTL. Raises `ValueError` if a
    global table cannot have these Regions.

    >>> print(cloudformation(Table(name="sessions", token="id")))  # doctest: +ELLIPSIS
    AWSTemplateFormatVersion: "2010-09-09"
    ...
          TableName: "sessions"
          BillingMode: PAY_PER_REQUEST
    ...
    """
    name, token, ttl = _names(table)
    strong = _is_strong(replicas, consistency, witness)
    properties = "" if strong else _TTL.format(ttl=ttl)
    if replicas:
        properties += f"      MultiRegionConsistency: {consistency}\n" + ("" if strong else _STREAM)
        regions = ["!Ref AWS::Region", *map(_quoted, replicas)]
        properties += "      Replicas:\n" + "".join(_REPLICA.format(region=region) for region in regions)
    else:
        properties += _PROTECTED
    if witness is not None:
        properties += f"      GlobalTableWitnesses:\n        - Region: {_quoted(witness)}\n"
    kind = "GlobalTable" if replicas else "Table"
    return _CLOUDFORMATION.format(kind=kind, name=name, token=token, properties=properties)


def terraform(
    table: Table, *, replicas: Sequence[str] = (), consistency: Consistency = "EVENTUAL", witness: str | None = None
) -> str:
    """Return a Terraform configuration (HCL) that declares *table*, with the settings of `cloudformation`. Its output is the ARN.

    *replicas* are Regions other than the provider's. A *witness* needs version 6.22 of the AWS provider.
    """
    # "${" and "%{" would start a Terraform template.
    name, token, ttl = (text.replace("${", "$${").replace("%{", "%%{") for text in _names(table))
    strong = _is_strong(replicas, consistency, witness)
    blocks = [_TERRAFORM_REPLICA.format(region=_quoted(region), consistency=consistency) for region in replicas]
    if witness is not None:
        blocks.append(_TERRAFORM_WITNESS.format(region=_quoted(witness)))
    return _TERRAFORM.format(
        name=name,
        token=token,
        ttl="" if strong else _TERRAFORM_TTL.format(ttl=ttl),
        stream=_TERRAFORM_STREAM if replicas else "",
        replicas="".join(blocks),
    )


def _is_strong(replicas: Sequence[str], consistency: Consistency, witness: str | None) -> bool:
    """Return True for strong consistency. Raise `ValueError` if a global table cannot have these settings."""
    if consistency not in get_args(Consistency):
        raise ValueError(f'consistency must be "EVENTUAL" or "STRONG", not {consistency!r}')
    if isinstance(replicas, str):
        raise TypeError("replicas must be a sequence of Regions, not a str")
    regions = [*replicas, *([] if witness is None else [witness])]
    for region in regions:
        if not _REGION.fullmatch(region):
            raise ValueError(f'a replica must be a Region, such as "eu-central-1", not {region!r}')
    if len(set(regions)) < len(regions):
        raise ValueError(
            f"a global table has at most one replica, or the witness, in each Region; you named {', '.join(regions)}"
        )
    strong = consistency == "STRONG"
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_HowItWorks.html#V2globaltables_HowItWorks.consistency-modes
    if strong and not (replicas and len(regions) == _STRONG_REGIONS - 1):
        raise ValueError(
            "a global table with strong consistency has exactly three Regions: name two replicas besides its own Region, or one "
            f"replica and a witness, not {len(replicas)} and {'a' if witness else 'no'} witness"
        )
    if witness is not None and not strong:
        raise ValueError("only a global table with strong consistency can have a witness")
    return strong


def _names(table: Table) -> tuple[str, str, str]:
    return _quoted(table.name.rpartition(":table/")[2]), _quoted(table.token), _quoted(table.ttl)


def _quoted(text: str) -> str:
    r"""Return *text* as a string literal that is valid in YAML and in HCL.

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
