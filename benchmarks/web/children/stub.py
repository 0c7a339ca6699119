"""The server that counts: `benchmarks.speed`'s stub, but it keeps what is written, and tells which calls there were.

``python -m benchmarks.web.children.stub SOCKET``. It knows the calls and the expressions that the apps use, and checks no
conditions: there is one request at a time. ``GET /calls`` tells how many of each there were.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.speed.children import stub

Item = dict[str, dict[str, Any]]
Arguments = dict[str, Any]

_SET = re.compile(r"SET (.+?)(?: REMOVE (.+))?")
_NAME = re.compile(rb"dynamodb_20120810\.([a-z]+)")

calls: Counter[str] = Counter()
tables: dict[str, dict[str, Item]] = defaultdict(dict)
keys: dict[str, str] = {}
"""The name of each table's key."""


def _token(key: Item) -> str:
    (value,) = key.values()
    text: str = value["S"]
    return text


def _create_table(arguments: Arguments) -> Arguments:
    name = arguments["TableName"]
    keys[name] = arguments["KeySchema"][0]["AttributeName"]
    return {"TableDescription": _table(name)}


def _describe_table(arguments: Arguments) -> Arguments:
    return {"Table": _table(arguments["TableName"])}


def _table(name: str) -> Arguments:
    return {
        "TableName": name,
        "TableStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": keys[name], "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": keys[name], "AttributeType": "S"}],
    }


def _get_item(arguments: Arguments) -> Arguments:
    item = tables[arguments["TableName"]].get(_token(arguments["Key"]))
    return {} if item is None else {"Item": item}


def _put_item(arguments: Arguments) -> Arguments:
    name, item = arguments["TableName"], arguments["Item"]
    tables[name][item[keys[name]]["S"]] = item
    return {}


def _update_item(arguments: Arguments) -> Arguments:
    parsed = _SET.fullmatch(arguments["UpdateExpression"])
    if parsed is None:
        raise ValueError(f"the stub server does not know {arguments['UpdateExpression']!r}")
    names, values = arguments.get("ExpressionAttributeNames", {}), arguments["ExpressionAttributeValues"]
    key = arguments["Key"]
    item = tables[arguments["TableName"]].setdefault(_token(key), dict(key))
    for assignment in parsed[1].split(","):
        name, value = assignment.split("=")
        item[names.get(name.strip(), name.strip())] = values[value.strip()]
    for name in parsed[2].split(",") if parsed[2] else ():
        item.pop(names.get(name.strip(), name.strip()), None)
    return {}


def _delete_item(arguments: Arguments) -> Arguments:
    tables[arguments["TableName"]].pop(_token(arguments["Key"]), None)
    return {}


def _transact_write_items(arguments: Arguments) -> Arguments:
    write = {"Put": _put_item, "Update": _update_item, "Delete": _delete_item}
    for action in arguments["TransactItems"]:
        ((kind, its_arguments),) = action.items()
        write[kind](its_arguments)
    return {}


def _update_time_to_live(arguments: Arguments) -> Arguments:
    return {"TimeToLiveSpecification": arguments["TimeToLiveSpecification"]}


def _describe_time_to_live(_: Arguments) -> Arguments:
    return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}


_CALLS: dict[str, Callable[[Arguments], Arguments]] = {
    "CreateTable": _create_table,
    "DeleteItem": _delete_item,
    "DescribeTable": _describe_table,
    "DescribeTimeToLive": _describe_time_to_live,
    "GetItem": _get_item,
    "PutItem": _put_item,
    "TransactWriteItems": _transact_write_items,
    "UpdateItem": _update_item,
    "UpdateTimeToLive": _update_time_to_live,
}
_NAMES = {name.lower().encode(): name for name in _CALLS}


class _Connection(stub._Connection):
    def _reply(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"get /stats "):
            return super()._reply(head, body)
        if head.startswith(b"get /calls "):
            return stub._http(msgspec.json.encode(calls))
        found = _NAME.search(head)
        name = _NAMES.get(found[1], "") if found else ""
        calls[name or f"another: {found and found[1]!r}"] += 1
        try:
            return stub._http(msgspec.json.encode(_CALLS[name](msgspec.json.decode(body))))
        except Exception as error:  # noqa: BLE001 (the app is told, and its check fails)
            kind = "ResourceNotFoundException" if isinstance(error, KeyError) else "ValidationException"
            reply = {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": f"{name}: {error!r}"}
            return stub._http(msgspec.json.encode(reply)).replace(b"200 OK", b"400 Bad Request", 1)


async def _serve(listening: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, sock=listening, backlog=1024)
    await server.serve_forever()


def main() -> None:
    import uvloop

    uvloop.run(_serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
