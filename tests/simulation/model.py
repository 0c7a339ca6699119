"""A model of DynamoDB: one table, the calls that are used, and what its documentation promises of them.

A call is applied in one instant, except a transaction that was begun and not yet finished: until it is, it holds
its items, and other writes on them are refused. ``tests/test_model.py`` holds it against real servers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .expressions import Condition, Item, Malformed, Update, Value, canonical_number, condition, update

NS: Final = 1_000_000_000
REMEMBERED_NS: Final = 600 * NS
"""How long a ClientRequestToken is known again."""

MAX_ITEM: Final = 400 * 1024
MAX_KEY: Final = 2048
_NOTHING: Final[Mapping[str, Any]] = {}


class ServerError(Exception):
    """What the server answers instead of a reply, in the shape of botocore's ``ClientError``."""

    def __init__(self, code: str, message: str, *, status: int = 400, more: Mapping[str, object] = _NOTHING) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.response: dict[str, Any] = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
            **more,
        }


class Write:
    """One write, checked and ready: *condition* decides on the old item, *result* makes the new one."""

    __slots__ = ("all_old", "arguments", "condition", "item", "key", "names", "update", "values")

    def __init__(
        self,
        key: str,
        condition: Condition | None,
        arguments: Mapping[str, Any],
        *,
        item: Item | None = None,
        update: Update | None = None,
    ) -> None:
        self.key = key
        self.condition = condition
        self.names: Mapping[str, str] = arguments.get("ExpressionAttributeNames", _NOTHING)
        self.values = _plain(arguments.get("ExpressionAttributeValues", _NOTHING))
        self.all_old = arguments.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        self.item = item
        self.update = update

    def allowed(self, old: Item | None) -> bool:
        return self.condition is None or self.condition.holds(old or _NOTHING, self.names, self.values)

    def result(self, old: Item | None, key_name: str) -> Item | None:
        if self.update is None:
            return self.item
        # On a key that is not there an update makes a new item, with nothing but the key and what is set.
        new: dict[str, Value] = dict(old) if old is not None else {key_name: {"S": self.key}}
        for path, operand in self.update.sets:
            value = operand(old or _NOTHING, self.names, self.values)
            if value is None:
                raise _invalid("The provided expression refers to an attribute that does not exist in the item")
            new[self.names.get(path, path)] = value
        for path in self.update.removes:
            new.pop(self.names.get(path, path), None)
        return new

    def refusal(self, old: Item | None) -> dict[str, object]:
        return {"Item": old} if self.all_old and old is not None else {}


class Transaction:
    """A transaction that has been begun: its items are held until it is finished."""

    __slots__ = ("items", "token", "writes")

    def __init__(self, items: Sequence[object], token: str | None, writes: Sequence[Write]) -> None:
        self.items = items
        self.token = token
        self.writes = writes


class Server:
    """The table. *clock* is the server's, in Unix nanoseconds; *changes* is a journal for whoever watches."""

    def __init__(self, clock: Callable[[], int], *, table: str = "scs_session", key_name: str = "token") -> None:
        self.clock = clock
        self.table = table
        self.key_name = key_name
        self.items: dict[str, Item] = {}
        self.known: Mapping[str, Item] = self.items
        """Those that somebody can come upon."""
        self.taken_back: list[Item] = []
        """What stood under a key for a moment, by no commit. A read that is not consistent may still show it."""
        self.changes: list[tuple[str, Item | None, Item | None]] = []
        self.versions: dict[str, list[tuple[int, Item | None]]] = {}
        """For reads that need not be consistent: what stood under a key until when."""
        self.remember_versions = False
        self.repeats = 0
        self._held: dict[str, Transaction] = {}
        self._done: dict[str, tuple[int, Sequence[object]]] = {}

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Apply one call, whole; `ServerError` is the other answer."""
        match operation:
            case "get_item":
                return self.get_item(arguments)
            case "put_item" | "update_item" | "delete_item":
                return self.write(operation, arguments)
            case "transact_write_items":
                transaction = self.begin(arguments)
                return {} if transaction is None else self.finish(transaction)
            case _:
                raise ServerError("UnknownOperationException", f"no {operation} in the model")

    # Reading

    def get_item(self, arguments: Mapping[str, Any], *, stale: int = 0) -> dict[str, Any]:
        """*stale*: how many versions back a read that need not be consistent looks, as far as there are any."""
        key = self._key(arguments, {"ConsistentRead"})
        item = self.items.get(key)
        if stale and not arguments.get("ConsistentRead"):
            recent = [old for until, old in self.versions.get(key, ()) if self.clock() - until < NS]
            if recent:
                item = recent[-min(stale, len(recent))]
        return {} if item is None else {"Item": item}

    # Writing

    def write(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        write = self._prepare(operation, arguments)
        if self._held and write.key in self._held:
            raise ServerError("TransactionConflictException", "Transaction is ongoing for the item")
        old = self.items.get(write.key)
        if not write.allowed(old):
            raise ServerError(
                "ConditionalCheckFailedException", "The conditional request failed", more=write.refusal(old)
            )
        self._store(write.key, old, self._result(write, old))
        if arguments.get("ReturnValues") == "ALL_OLD" and old is not None:
            return {"Attributes": old}
        return {}

    def begin(self, arguments: Mapping[str, Any]) -> Transaction | None:
        """Check a transaction and hold its items; None if it was done already, by the same token."""
        token = arguments.get("ClientRequestToken")
        items = arguments.get("TransactItems", ())
        if not 1 <= len(items) <= 100:
            raise _invalid("Member must have length between 1 and 100")
        writes = [self._part(item) for item in items]
        if len({write.key for write in writes}) < len(writes):
            raise _invalid("Transaction request cannot include multiple operations on one item")
        if token is not None:
            if not 1 <= len(token) <= 36:
                raise _invalid("clientRequestToken: Member must have length less than or equal to 36")
            when, known = self._done.get(token, (0, ()))
            if known and self.clock() - when < REMEMBERED_NS:
                if known is not items and known != items:
                    raise ServerError("IdempotentParameterMismatchException", "another request had this token")
                self.repeats += 1
                return None
            if any(held.token == token for held in self._held.values()):
                raise ServerError("TransactionInProgressException", "the transaction of this token is under way")
        if self._held and any(write.key in self._held for write in writes):
            raise _cancelled(
                {"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}
                if write.key in self._held
                else {"Code": "None"}
                for write in writes
            )
        transaction = Transaction(items, token, writes)
        for write in writes:
            self._held[write.key] = transaction
        return transaction

    def finish(self, transaction: Transaction) -> dict[str, Any]:
        """Apply a transaction, all of it or nothing, and let its items go."""
        for write in transaction.writes:
            del self._held[write.key]
        reasons: list[dict[str, object]] = []
        results: list[Item | None] = []
        for write in transaction.writes:
            old = self.items.get(write.key)
            if not write.allowed(old):
                what = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
                reasons.append({**what, **write.refusal(old)})
                continue
            try:
                results.append(self._result(write, old))
                reasons.append({"Code": "None"})
            except ServerError as error:
                reasons.append({"Code": "ValidationError", "Message": str(error)})
        if len(results) < len(transaction.writes):
            raise _cancelled(reasons)
        for write, result in zip(transaction.writes, results, strict=True):
            self._store(write.key, self.items.get(write.key), result)
        if transaction.token is not None:
            self._done[transaction.token] = (self.clock(), transaction.items)
        return {}

    def sweepable(self, attribute: str = "ttl") -> list[str]:
        """The keys of the items that the service's TTL may delete now, or later, or much later."""
        now = self.clock() // NS
        return [
            key
            for key, item in self.items.items()
            if key not in self._held and (at := item.get(attribute)) and "N" in at and int(at["N"]) < now
        ]

    def sweep(self, key: str) -> None:
        self._store(key, self.items[key], None)

    # Parts

    def _store(self, key: str, old: Item | None, new: Item | None) -> None:
        if old is None and new is None:
            return
        self.changes.append((key, old, new))
        if self.remember_versions:
            self.versions.setdefault(key, []).append((self.clock(), old))
        if new is None:
            del self.items[key]
        else:
            self.items[key] = new

    def _result(self, write: Write, old: Item | None) -> Item | None:
        new = write.result(old, self.key_name)
        if new is not None and _size(new) > MAX_ITEM:
            raise _invalid("Item size to update has exceeded the maximum allowed size" if write.update else _TOO_LARGE)
        return new

    def _part(self, part: Mapping[str, Any]) -> Write:
        [(kind, arguments)] = part.items()
        return self._prepare({"Put": "put_item", "Update": "update_item", "Delete": "delete_item"}[kind], arguments)

    def _prepare(self, operation: str, arguments: Mapping[str, Any]) -> Write:
        try:
            if operation == "put_item":
                item = _plain(arguments["Item"])
                if self.key_name not in item:
                    raise _invalid("One or more parameter values were invalid: Missing the key token in the item")
                key = self._key(arguments, _WRITE | {"Item"}, {self.key_name: item[self.key_name]})
                return Write(key, _condition(arguments, None), arguments, item=item)
            if operation == "delete_item":
                key = self._key(arguments, _WRITE | {"Key"})
                return Write(key, _condition(arguments, None), arguments)
            key = self._key(arguments, _WRITE | {"Key", "UpdateExpression"})
            # Without an expression an update does nothing but make sure that the item is there.
            text = arguments.get("UpdateExpression")
            change = Update() if text is None else update(text)
            write = Write(key, _condition(arguments, None if text is None else change), arguments, update=change)
            self._check_paths(write)
            return write
        except Malformed as error:
            raise _invalid(str(error)) from None

    def _check_paths(self, write: Write) -> None:
        assert write.update is not None
        paths = [
            write.names.get(path, path) for path in (*(path for path, _ in write.update.sets), *write.update.removes)
        ]
        if len(set(paths)) < len(paths):
            raise Malformed("Invalid UpdateExpression: Two document paths overlap with each other")
        if self.key_name in paths:
            raise Malformed(f"Cannot update attribute {self.key_name}. This attribute is part of the key")

    def _key(self, arguments: Mapping[str, Any], known: set[str], key: Item | None = None) -> str:
        if arguments.get("TableName") != self.table:
            raise ServerError("ResourceNotFoundException", "Requested resource not found")
        unknown = arguments.keys() - known - _COMMON
        if unknown:
            raise NotImplementedError(f"the model knows no {', '.join(sorted(unknown))}")
        given: Item = arguments["Key"] if key is None else key
        if given.keys() != {self.key_name} or given[self.key_name].keys() != {"S"}:
            raise _invalid("The provided key element does not match the schema")
        value = given[self.key_name]["S"]
        if not value:
            raise _invalid("The AttributeValue for a key attribute cannot contain an empty string value. Key: token")
        if len(value) * 4 > MAX_KEY and len(value.encode()) > MAX_KEY:
            raise _invalid("Size of hashkey has exceeded the maximum size limit of2048 bytes")
        return str(value)


_COMMON: Final = {"TableName", "Key", "ReturnConsumedCapacity"}
_WRITE: Final = {
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValues",
    "ReturnValuesOnConditionCheckFailure",
}
_TOO_LARGE: Final = "Item size has exceeded the maximum allowed size"
_KINDS: Final[Mapping[str, type]] = {
    "S": str,
    "N": str,
    "B": bytes,
    "BOOL": bool,
    "NULL": bool,
    "L": list,
    "M": dict,
    "SS": list,
    "NS": list,
    "BS": list,
}


def _condition(arguments: Mapping[str, Any], change: Update | None) -> Condition | None:
    """The condition, once it and the update are known to use all the names and values, and no others."""
    text = arguments.get("ConditionExpression")
    found = None if text is None else condition(text)
    names = arguments.get("ExpressionAttributeNames")
    values = arguments.get("ExpressionAttributeValues")
    if found is None and change is None:
        if names is not None or values is not None:
            raise Malformed("ExpressionAttributeNames can only be specified when using expressions")
        return None
    if found is None or change is None:
        used = found or change
        assert used is not None
        used_names, used_values = used.names, used.values
    else:
        used_names, used_values = found.names | change.names, found.values | change.values
    _same("ExpressionAttributeNames", names, used_names)
    _same("ExpressionAttributeValues", values, used_values)
    if values is not None:
        for name, value in values.items():
            if found is not None and name in found.ordered and not value.keys() <= {"S", "N", "B"}:
                raise Malformed(f"Incorrect operand type for operator or function; operator: {found.ordered[name]}")
    return found


def _same(what: str, given: Mapping[str, object] | None, used: set[str]) -> None:
    if given is None:
        if used:
            raise Malformed(f"an {what[:-1]} used in expression is not defined: {sorted(used)}")
        return
    if given.keys() != used:
        if not given:
            raise Malformed(f"{what} must not be empty")
        if used - given.keys():
            raise Malformed(f"an {what[:-1]} used in expression is not defined: {sorted(used - given.keys())}")
        raise Malformed(f"Value provided in {what} unused in expressions: {sorted(given.keys() - used)}")


def canonical(value: Value) -> Value:
    """An attribute value as it is stored: the same, if it is plain; `Malformed` if it is none."""
    if len(value) != 1:
        raise Malformed("Supplied AttributeValue must contain exactly one of the supported datatypes")
    [(kind, content)] = value.items()
    if kind not in _KINDS or not isinstance(content, _KINDS[kind]):
        raise Malformed("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    if kind == "N":
        plain = canonical_number(str(content))
        return value if plain == content else {"N": plain}
    return value


def _plain(values: Mapping[str, Value]) -> Mapping[str, Value]:
    """The attributes of an item, or the values of an expression, as they are stored."""
    return {name: canonical(value) for name, value in values.items()}


def _size(item: Item) -> int:
    """About the size of an item: exact for names, S and B, which is what can get large."""
    size = 0
    for name, value in item.items():
        for content in value.values():
            size += len(name) + (len(content) if isinstance(content, str | bytes) else 1)
    return size


def _invalid(message: str) -> ServerError:
    return ServerError("ValidationException", message)


def _cancelled(reasons: Any) -> ServerError:
    found = list(reasons)
    codes = ", ".join(str(reason["Code"]) for reason in found)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    return ServerError("TransactionCanceledException", message, more={"CancellationReasons": found})
