"""`Finding`, and the catalogue of all that `doctor` may find, in its own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["CATALOGUE", "Finding", "Kind", "Level"]

Level: TypeAlias = Literal["ok", "note", "warning", "error"]
"""How bad it is: as it should be; worth knowing; it costs something or will; something does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a *check* found, in a *message*, and what to do about it: *advice*, "" where there is nothing to do.

    No message holds a token or data: records are named by `digest <dynamostore.digests.digest>`.
    """

    check: str
    level: Level
    message: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """A finding with gaps, in braces."""

    check: str
    level: Level
    message: str
    advice: str = ""

    def __call__(self, **values: object) -> Finding:
        """The finding, with the gaps filled in."""
        check, message, advice = (text.format_map(values) for text in (self.check, self.message, self.advice))
        return Finding(check, self.level, message, advice)


CATALOGUE: Final[list[Kind]] = []
"""All kinds of findings, in the order of the checks."""


def _kind(check: str, level: Level, message: str, advice: str = "") -> Kind:
    kind = Kind(check, level, message, advice)
    CATALOGUE.append(kind)
    return kind


# {table} and {specification} are quoted for a shell, and so is {at}: options that say where the table is.

UNREACHABLE = _kind(
    "server",
    "error",
    "{reason}",
    "look at the region, the endpoint and the network; what was not checked yet was not checked",
)
REFUSED = _kind(
    "credentials",
    "error",
    "{reason}",
    "see whose credentials these are (aws sts get-caller-identity), whether they have expired, and whether the clock is right",
)

TABLE_OK = _kind("table", "ok", "table {name} is {status}")
TABLE_MISSING = _kind(
    "table",
    "error",
    "{reason}",
    "make it with store.create_table(); or the region, the account or the name is another",
)
TABLE_WAITING = _kind(
    "table", "warning", "table {name} is {status}", "wait: store.create_table() returns when it can be used"
)
TABLE_UNUSABLE = _kind(
    "table",
    "error",
    "table {name} is {status}, and cannot be used",
    "see what has become of it: aws dynamodb describe-table --table-name {table}{at}",
)

KEY_OK = _kind("key-schema", "ok", "the key is {key}")
KEY_OTHER = _kind(
    "key-schema",
    "error",
    "the key is {key}, not {wanted}; permissions and records were not checked",
    "a key cannot be changed: name another table, or the attribute in Table(token=...)",
)

# {where} names Regions and their statuses.
REPLICAS_EVENTUAL = _kind(
    "replicas",
    "warning",
    "a global table with multi-Region eventual consistency (also in {where}): a session's promises hold within one Region; between "
    "two, the last write wins, so a touch in one can undo a logout in the other",
    "send all requests of a user to one Region; see docs/guides/global-tables.md",
)
REPLICAS_STRONG = _kind(
    "replicas",
    "ok",
    "a global table with multi-Region strong consistency (also in {where}): a session's promises hold in all its Regions, except "
    "that a renewal takes two steps",
)
REPLICA_BUSY = _kind(
    "replica:{region}", "warning", "the {what} in {region} is {status}", "wait until it is ACTIVE, and look again"
)
REPLICA_CUT_OFF = _kind(
    "replica:{region}",
    "error",
    "the {what} in {region} is {status}: nothing is replicated to it or from it",
    "repair it soon, or DynamoDB ends its replication for good (after 20 hours or a few days); its state: aws dynamodb describe-table --table-name {table}{at}",
)

TTL_OK = _kind("ttl", "ok", "TTL is on, by attribute {attribute}")
TTL_OFF = _kind(
    "ttl",
    "warning",
    "TTL is {status}: expired records stay, and cost",
    "turn it on with store.create_table(), or: "
    "aws dynamodb update-time-to-live --table-name {table} --time-to-live-specification {specification}{at}",
)
TTL_OTHER = _kind(
    "ttl",
    "error",
    "TTL is on, but by attribute {attribute}, not {wanted}: records are not swept when they expire",
    "name it in Table(ttl=...); or turn it off (it takes an hour), and on again with store.create_table(): "
    "aws dynamodb update-time-to-live --table-name {table} --time-to-live-specification {specification}{at}",
)
TTL_NONE = _kind(
    "ttl", "note", "this server has no TTL", "purge expired records yourself: Batch(store).purge_expired()"
)

TTL_STRONG = _kind(
    "ttl",
    "note",
    "a global table with multi-Region strong consistency has no TTL: expired records stay and cost money until you purge them",
    "purge expired records every day: Batch(store).purge_expired()",
)

CLOCK_OK = _kind("clock", "ok", "this clock and the server's agree")
CLOCK_NONE = _kind(
    "clock",
    "note",
    "the server does not say what time it is",
    "see that the clock is set by NTP (chronyc tracking says)",
)
CLOCK_OFF = _kind(
    "clock",
    "warning",
    "this clock is {seconds} s {way} the server's: records expire so much {when} than they should",
    "set the clock by NTP (chronyc tracking says how it is doing)",
)
CLOCK_WRONG = _kind(
    "clock",
    "error",
    "this clock is {seconds} s {way} the server's: DynamoDB refuses requests that are signed more than 5 minutes off",
    "set the clock by NTP (chronyc tracking says how it is doing)",
)

BILLING_ON_DEMAND = _kind("billing", "ok", "paid by the request (on demand)")
BILLING_PROVISIONED = _kind(
    "billing",
    "note",
    "paid by provisioned capacity: {reads} reads and {writes} writes a second; what is more is throttled",
    "unless the load is even and known, pay by the request: "
    "aws dynamodb update-table --table-name {table} --billing-mode PAY_PER_REQUEST{at}",
)

BACKUPS_ON = _kind("backups", "ok", "point-in-time recovery is on")
BACKUPS_OFF = _kind(
    "backups",
    "note",
    "point-in-time recovery is off: what a mistake deletes is gone",
    "if records are worth more than a new login: aws dynamodb update-continuous-backups --table-name {table} "
    "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true{at}",
)
BACKUPS_UNKNOWN = _kind(
    "backups",
    "note",
    "whether point-in-time recovery is on is not known: {reason}",
    "ask DynamoDB itself: aws dynamodb describe-continuous-backups --table-name {table}{at}",
)

PROTECTION_ON = _kind("deletion-protection", "ok", "the table is protected from deletion")
PROTECTION_OFF = _kind(
    "deletion-protection",
    "note",
    "the table is not protected from deletion",
    "aws dynamodb update-table --table-name {table} --deletion-protection-enabled{at}",
)

ALLOWED = _kind("permission:dynamodb:{operation}", "ok", "{operation} is allowed")
DENIED = _kind(
    "permission:dynamodb:{operation}",
    "error",
    "{operation} is denied, and the role {role} needs it (needed by: {roles})",
    'allow dynamodb:{operation} on the table; policy("{role}") of dynamostore.admin is the least that will do',
)
DENIED_TO_OTHERS = _kind(
    "permission:dynamodb:{operation}",
    "note",
    "{operation} is denied; the role {role} does not need it (needed by: {roles})",
    "to do with these credentials what {roles} may do, allow dynamodb:{operation} on the table; else leave it",
)
UNTRIED = _kind("permission:dynamodb:{operation}", "warning", "{reason}", "look again later")
NOT_THERE = _kind(
    "permission:dynamodb:{operation}",
    "note",
    "{whose} has no {operation} (needed by: {roles})",
    "nothing, unless you need it: then use a client or a server that has it",
)

TRANSACTIONS_OK = _kind("transactions", "ok", "transactions are allowed")
TRANSACTIONS_DENIED = _kind(
    "transactions",
    "error",
    "writes are allowed, but not in a transaction: no token can be renewed",
    "look for a policy that denies them, perhaps by the condition key dynamodb:EnclosingOperation",
)
TRANSACTIONS_NONE = _kind(
    "transactions",
    "note",
    "this server has no transactions: renaming a record takes two steps",
    "nothing, in development; DynamoDB has them",
)
TRANSACTIONS_STRONG = _kind(
    "transactions",
    "note",
    "a global table with multi-Region strong consistency has no transactions: a renewal takes two steps, and for a moment both "
    "tokens work",
    "nothing: a renewal that stops between them leaves a record that no client can reach, until it expires and you purge it",
)
TRANSACTIONS_UNTRIED = _kind("transactions", "warning", "{reason}", "look again later")

RECORDS_OK = _kind("records", "ok", "looked at {seen} items: {live} live records, {expired} expired, {markers} markers")
RECORDS_UNREAD = _kind(
    "records",
    "warning",
    "not all of the records could be read, only {seen}: {reason}",
    "look again later",
)
RECORDS_SKIPPED = _kind("records", "note", "no record was looked at: {reason}", "look with a client that may Scan")

_SOME = "{count} of {seen} items ({examples})"
CORRUPT = _kind(
    "records:corrupt",
    "error",
    f"no records, and an error for whoever has their tokens: {_SOME}",
    "find out what else writes to this table; then delete them (store.delete(token)), or have them mended by who wrote them",
)
TOO_BIG = _kind(
    "records:too-big",
    "warning",
    f"more than 80 % of the 400 KB that an item may have: {_SOME}",
    "keep less in a session: what is large belongs elsewhere, under a key that the session holds; or compress it",
)
LARGE = _kind(
    "records:large",
    "note",
    f"more than 4 KB, so that each read costs more than one unit: {_SOME}",
    "keep less in a session, or compress it",
)
NO_TTL = _kind(
    "records:no-ttl",
    "warning",
    f"no TTL (attribute {{attribute}}), so that they are never swept: {_SOME}",
    "have them written by a store with the same Table(ttl=...); Batch(store).purge_expired() deletes those that have expired",
)
MILLISECONDS = _kind(
    "records:ttl-milliseconds",
    "warning",
    f"a TTL that is no number of seconds (milliseconds?), so that they are never swept: {_SOME}",
    "have their writer store seconds; Batch(store).purge_expired() deletes those that have expired",
)
TOO_EARLY = _kind(
    "records:ttl-early",
    "error",
    f"a TTL before the expiry, so that they are swept while they live: {_SOME}",
    "have their writer store the second after the expiry, as SCS and dynamostore do",
)
TOO_LATE = _kind(
    "records:ttl-late",
    "warning",
    f"a TTL after the expiry, so that they are swept later than they could be: {_SOME}",
    "have their writer store the second after the expiry, as SCS and dynamostore do",
)
BY_SCS = _kind(
    "records:scs",
    "note",
    f"written by SCS for Go, without a version: {_SOME}",
    "nothing: they are guarded by their data and expiry, until dynamostore writes them",
)
UNSWEPT = _kind(
    "records:unswept",
    "warning",
    f"expired more than 48 hours ago, and still there: {_SOME}",
    "{cause}; Batch(store).purge_expired() deletes them",
)
