"""`Finding`, and the catalogue of all findings of `doctor`, with their texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["CATALOGUE", "Finding", "Kind", "Level"]

Level: TypeAlias = Literal["ok", "note", "warning", "error"]
"""The severity.

*ok*: as it should be. *note*: worth knowing. *warning*: it costs money or will cause trouble. *error*: something does not work.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a *check*: a *message*, and *advice* on what to do, which is "" if there is nothing to do.

    Messages contain no token and no data. They name records by `digest <dynamostore.digests.digest>`.
    """

    check: str
    level: Level
    message: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """A finding with placeholders in braces."""

    check: str
    level: Level
    message: str
    advice: str = ""

    def __call__(self, **values: object) -> Finding:
        """Return the finding with the placeholders filled in."""
        check, message, advice = (text.format_map(values) for text in (self.check, self.message, self.advice))
        return Finding(check, self.level, message, advice)


CATALOGUE: Final[list[Kind]] = []
"""All kinds of findings, in the order of the checks."""


def _kind(check: str, level: Level, message: str, advice: str = "") -> Kind:
    kind = Kind(check, level, message, advice)
    CATALOGUE.append(kind)
    return kind


# {table}, {specification} and {at} are quoted for a shell. {at} holds the options that locate the table.

UNREACHABLE = _kind(
    "server",
    "error",
    "{reason}",
    "check the region, the endpoint and the network, then run doctor again; the remaining checks were skipped",
)
REFUSED = _kind(
    "credentials",
    "error",
    "{reason}",
    "check whose credentials these are (aws sts get-caller-identity), whether they have expired, and whether the clock is right",
)

TABLE_OK = _kind("table", "ok", "table {name} is {status}")
TABLE_MISSING = _kind(
    "table",
    "error",
    "{reason}",
    "create it with store.create_table(), or check the region, the account and the table's name",
)
TABLE_WAITING = _kind(
    "table",
    "warning",
    "table {name} is {status}",
    "wait until it is ACTIVE; store.create_table() returns when the table can be used",
)
TABLE_UNUSABLE = _kind(
    "table",
    "error",
    "table {name} is {status} and cannot be used",
    "check its state: aws dynamodb describe-table --table-name {table}{at}",
)

KEY_OK = _kind("key-schema", "ok", "the table key is {key}")
KEY_OTHER = _kind(
    "key-schema",
    "error",
    "the table key is {key}; the store needs {wanted}, so permissions and records were not checked",
    "use another table, or name its key attribute in Table(token=...); the key of an existing table cannot be changed",
)

# {where} names Regions and their statuses.
REPLICAS_EVENTUAL = _kind(
    "replicas",
    "warning",
    "a global table with multi-Region eventual consistency (also in {where}): session guarantees hold within one Region; between "
    "Regions, the last write wins, so a touch in one Region can undo a logout in another",
    "send all requests of a user to one Region; see docs/guides/global-tables.md",
)
REPLICAS_STRONG = _kind(
    "replicas",
    "ok",
    "a global table with multi-Region strong consistency (also in {where}): session guarantees hold in all its Regions, except "
    "that a renewal takes two steps",
)
REPLICA_BUSY = _kind(
    "replica:{region}",
    "warning",
    "the {what} in {region} is {status}",
    "wait until it is ACTIVE, then run doctor again",
)
REPLICA_CUT_OFF = _kind(
    "replica:{region}",
    "error",
    "the {what} in {region} is {status}: nothing is replicated to or from it",
    "repair it soon: otherwise DynamoDB ends its replication permanently, after 20 hours or a few days; to see its state: "
    "aws dynamodb describe-table --table-name {table}{at}",
)

TTL_OK = _kind("ttl", "ok", "TTL is on, for attribute {attribute}")
TTL_OFF = _kind(
    "ttl",
    "warning",
    "TTL is {status}: expired records stay and cost money",
    "turn it on with store.create_table(), or: "
    "aws dynamodb update-time-to-live --table-name {table} --time-to-live-specification {specification}{at}",
)
TTL_OTHER = _kind(
    "ttl",
    "error",
    "TTL is on for attribute {attribute}, not {wanted}: DynamoDB does not delete records when they expire",
    "name that attribute in Table(ttl=...); or turn TTL off, wait up to an hour, and turn it on again with store.create_table(); "
    "to turn it off: aws dynamodb update-time-to-live --table-name {table} --time-to-live-specification {specification}{at}",
)
TTL_NONE = _kind(
    "ttl",
    "note",
    "this server does not support TTL",
    "purge expired records regularly: Batch(store).purge_expired()",
)

TTL_STRONG = _kind(
    "ttl",
    "note",
    "a global table with multi-Region strong consistency does not support TTL: expired records stay and cost money until you "
    "purge them",
    "purge expired records every day: Batch(store).purge_expired()",
)

CLOCK_OK = _kind("clock", "ok", "this clock agrees with the server's")
CLOCK_NONE = _kind(
    "clock",
    "note",
    "the server does not report its time, so the clock was not checked",
    "check that NTP sets the clock: chronyc tracking",
)
CLOCK_OFF = _kind(
    "clock",
    "warning",
    "this clock is {seconds} s {way} the server's: records expire {seconds} s {when} than they should",
    "set the clock with NTP; to check it: chronyc tracking",
)
CLOCK_WRONG = _kind(
    "clock",
    "error",
    "this clock is {seconds} s {way} the server's: DynamoDB refuses requests that are signed more than 5 minutes early or late",
    "set the clock with NTP; to check it: chronyc tracking",
)

BILLING_ON_DEMAND = _kind("billing", "ok", "billing is on demand")
BILLING_PROVISIONED = _kind(
    "billing",
    "note",
    "billing is by provisioned capacity: {reads} read units and {writes} write units per second; DynamoDB throttles requests "
    "beyond that",
    "unless the load is steady and predictable, switch to on-demand billing: "
    "aws dynamodb update-table --table-name {table} --billing-mode PAY_PER_REQUEST{at}",
)

BACKUPS_ON = _kind("backups", "ok", "point-in-time recovery is on")
BACKUPS_OFF = _kind(
    "backups",
    "note",
    "point-in-time recovery is off: records that are deleted by mistake cannot be restored",
    "if losing a record costs users more than a new login, turn it on: "
    "aws dynamodb update-continuous-backups --table-name {table} "
    "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true{at}",
)
BACKUPS_UNKNOWN = _kind(
    "backups",
    "note",
    "could not find out whether point-in-time recovery is on: {reason}",
    "ask DynamoDB with the AWS CLI: aws dynamodb describe-continuous-backups --table-name {table}{at}",
)

PROTECTION_ON = _kind("deletion-protection", "ok", "deletion protection is on")
PROTECTION_OFF = _kind(
    "deletion-protection",
    "note",
    "deletion protection is off",
    "turn it on: aws dynamodb update-table --table-name {table} --deletion-protection-enabled{at}",
)

ALLOWED = _kind("permission:dynamodb:{operation}", "ok", "{operation} is allowed")
DENIED = _kind(
    "permission:dynamodb:{operation}",
    "error",
    "{operation} is denied, but the role {role} needs it (roles that need it: {roles})",
    'allow dynamodb:{operation} on the table; policy("{role}") of dynamostore.admin gives the minimal policy',
)
DENIED_TO_OTHERS = _kind(
    "permission:dynamodb:{operation}",
    "note",
    "{operation} is denied; the role {role} does not need it (roles that need it: {roles})",
    "nothing to do, unless you need it: then allow dynamodb:{operation} on the table",
)
UNTRIED = _kind("permission:dynamodb:{operation}", "warning", "{reason}", "run doctor again later")
NOT_THERE = _kind(
    "permission:dynamodb:{operation}",
    "note",
    "{whose} does not support {operation} (roles that need it: {roles})",
    "nothing to do, unless you need it: then use a client and a server that support it",
)

TRANSACTIONS_OK = _kind("transactions", "ok", "transactions are allowed")
TRANSACTIONS_DENIED = _kind(
    "transactions",
    "error",
    "writes are allowed, but transactions are denied: tokens cannot be renewed",
    "look for a policy that denies transactions, perhaps with the condition key dynamodb:EnclosingOperation",
)
TRANSACTIONS_NONE = _kind(
    "transactions",
    "note",
    "this server does not support transactions: renaming a record takes two steps",
    "nothing to do in development; DynamoDB supports transactions",
)
TRANSACTIONS_STRONG = _kind(
    "transactions",
    "note",
    "a global table with multi-Region strong consistency does not support transactions: a renewal takes two steps, and for a "
    "moment both tokens work",
    "nothing to do; if a renewal stops between the two steps, a record that no client can reach stays until it expires and you "
    "purge it",
)
TRANSACTIONS_UNTRIED = _kind("transactions", "warning", "{reason}", "run doctor again later")

RECORDS_OK = _kind("records", "ok", "examined {seen} items: {live} live records, {expired} expired, {markers} markers")
RECORDS_UNREAD = _kind(
    "records",
    "warning",
    "only {seen} of the records to examine could be read: {reason}",
    "run doctor again later",
)
RECORDS_SKIPPED = _kind(
    "records", "note", "no records were examined: {reason}", "use a client and a role that can read all records"
)

_ITEMS = "{count} of {seen} items"
_EXAMPLES = "({examples})"
CORRUPT = _kind(
    "records:corrupt",
    "error",
    f"{_ITEMS} are not valid records, so requests with their tokens fail {_EXAMPLES}",
    "find out what else writes to this table; then delete these items by the digests above "
    "(dynamostore revoke --digest DIGEST), or have their writer correct them",
)
TOO_BIG = _kind(
    "records:too-big",
    "warning",
    f"{_ITEMS} are larger than 80 % of DynamoDB's limit of 400 KB {_EXAMPLES}",
    "store less in a session: keep large data elsewhere, and only its key in the session; or compress it",
)
LARGE = _kind(
    "records:large",
    "note",
    f"{_ITEMS} are larger than 4 KB, so each read costs more than one unit {_EXAMPLES}",
    "store less in a session, or compress it",
)
NO_TTL = _kind(
    "records:no-ttl",
    "warning",
    f"{_ITEMS} have no TTL in attribute {{attribute}}, so DynamoDB never deletes them {_EXAMPLES}",
    "write them with a store that has the same Table(ttl=...); to delete those that have expired: Batch(store).purge_expired()",
)
MILLISECONDS = _kind(
    "records:ttl-milliseconds",
    "warning",
    f"{_ITEMS} have a TTL that is not in seconds (milliseconds?), so DynamoDB never deletes them {_EXAMPLES}",
    "change their writer to store seconds; to delete those that have expired: Batch(store).purge_expired()",
)
TOO_EARLY = _kind(
    "records:ttl-early",
    "error",
    f"{_ITEMS} have a TTL before their expiry, so DynamoDB deletes them while they are live {_EXAMPLES}",
    "change their writer to store the second after the expiry, as SCS and dynamostore do",
)
TOO_LATE = _kind(
    "records:ttl-late",
    "warning",
    f"{_ITEMS} have a TTL too long after their expiry, so DynamoDB deletes them later than necessary {_EXAMPLES}",
    "change their writer to store the second after the expiry, as SCS and dynamostore do",
)
BY_SCS = _kind(
    "records:scs",
    "note",
    f"{_ITEMS} were written by SCS for Go, without a version {_EXAMPLES}",
    "nothing to do; until dynamostore writes such a record, it compares data and expiry to detect conflicts",
)
UNSWEPT = _kind(
    "records:unswept",
    "warning",
    f"{_ITEMS} expired more than 48 hours ago and are not deleted yet {_EXAMPLES}",
    "{cause}; to delete them: Batch(store).purge_expired()",
)
