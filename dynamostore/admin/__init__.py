"""Describe and check a table, print the IAM policies that its clients need, and declare the table as a template.

>>> from dynamostore import Table
>>> from dynamostore.local import LocalDynamoDB
>>> with LocalDynamoDB() as dynamodb:
...     store = dynamodb.connect("scs_session")
...     store.create_table()
...     print(describe(store).ttl)
...     for finding in doctor(store):
...         if finding.level != "ok":
...             print(finding.level, finding.check)
ttl
note deletion-protection
note backups
>>> policy("web", table="scs_session")["Statement"][0]["Action"]
['dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:UpdateItem', 'dynamodb:DeleteItem']
"""

from dynamostore.plans.create_table import create_table

from ._description import Description, Replica
from ._drivers import adescribe, adoctor, describe, doctor
from ._findings import Finding, Level
from ._policies import Role, policy
from ._templates import Consistency, cloudformation, terraform

__all__ = [
    "Consistency",
    "Description",
    "Finding",
    "Level",
    "Replica",
    "Role",
    "adescribe",
    "adoctor",
    "cloudformation",
    "create_table",
    "describe",
    "doctor",
    "policy",
    "terraform",
]
