"""The simulation's model of DynamoDB against real servers: the same calls, the same answers, the same items in the end."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamostore.client import Item
from dynamostore.plans import expressions

from .backends import TABLE, Backend, Backends
from .simulation.expressions import Malformed, canonical_number, condition
from .simulation.model import NS, Server, ServerError

Arguments: TypeAlias = dict[str, Any]

# Each server's known laxities, by name; what they are about, it is not asked.
LAX: Mapping[str, frozenset[str]] = {
    "moto": frozenset(
        (
            "repeats",  # a ClientRequestToken is no repeat to it (DESIGN, section 8)
            "numbers",  # it gives 1.0 and 1e2 back as they were put
            "syntax",  # what it cannot parse is a ValueError of its own; parentheses around parentheses are fine
            "placeholders",  # unused ones are fine, undefined ones a KeyError of its own
            "keys",  # of the wrong type, or empty
            "types",  # a comparison of two types by order is a TypeError of its own
        )
    ),
    "ministack": frozenset(("numbers",)),
}

KEYS = ("k1", "k2", "k3")
ODD_NUMBERS = ("1.0", "1e2", "-0", "007")

# What the attributes hold, mostly, and what the plans compare them with.
KINDS = dict.fromkeys(("expiry", "ttl", "version", "now", "read", "was", "until", "until_ttl"), "N")
KINDS |= {"data": "B", "recent": "B", "held": "B", "moved": "S"}

CONTENT: Mapping[str, st.SearchStrategy[Any]] = {
    "N": st.sampled_from(("1", "2", "10", "-3")),
    "B": st.sampled_from((b"", b"a", b"ab", b"\xff")),
    "S": st.sampled_from(("", "a", "ab", "é")),
}
keys = st.sampled_from(KEYS)
names = st.sampled_from(("data", "expiry", "ttl", "version", "recent", "moved"))


@st.composite
def values(draw: st.DrawFn, name: str) -> Mapping[str, object]:
    """The value of an attribute or a placeholder of that name: of its own type, mostly."""
    kind = KINDS[name] if draw(st.integers(0, 5)) else draw(st.sampled_from("NBS"))
    return {kind: draw(CONTENT[kind])}


# The conditions that the plans use, as they stand there, and others in the same language.
PLANNED = (
    expressions.NOT_TAKEN,
    expressions.LIVE,
    expressions.NOT_SHORTENED,
    expressions.AS_READ,
    expressions.SAME,
    expressions.SAME_BY_SCS,
    expressions.UNMOVED,
    f"attribute_exists(#data) AND {expressions.LIVE} AND {expressions.NOT_SHORTENED}",
    f"{expressions.LIVE} AND ({expressions.NOT_SHORTENED} OR {expressions.AS_READ}) AND {expressions.SAME}",
    f"{expressions.LIVE} AND ({expressions.NOT_SHORTENED} OR ({expressions.AS_READ} AND {expressions.SAME_BY_SCS}))",
)
UPDATES = (
    expressions.REPLACE,
    expressions.REPLACE_SCS,
    expressions.MOVE,
    expressions.TOUCH,
    "REMOVE #data, #version",
    "SET #version = :was",
)

# Not = and <> of two attributes: what they are when neither is there, the documentation does not say; no plan asks.
comparisons = st.one_of(
    st.builds(
        "#{} {} :{}".format, names, st.sampled_from(("=", "<", "<=", ">", ">=", "<>")), st.sampled_from(sorted(KINDS))
    ),
    st.builds("#version {} #{}".format, st.sampled_from(("<", "<=", ">", ">=")), st.sampled_from(("ttl", "expiry"))),
)
leaves = st.one_of(
    comparisons,
    st.builds("attribute_exists({})".format, names.map("#{}".format)),
    st.builds("attribute_not_exists({})".format, names.map("#{}".format)),
)
generic = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("{} AND {}".format, inner, inner),
        st.builds("{} OR {}".format, inner, inner),
        # DynamoDB refuses parentheses around parentheses.
        st.builds("({})".format, inner.filter(lambda text: not text.startswith("("))),
    ),
    max_leaves=4,
)
conditions = st.one_of(st.sampled_from(PLANNED), generic)


@st.composite
def arguments(draw: st.DrawFn, update: str = "", *, optional: bool = True) -> Arguments:
    """A condition, with the names and the values that it and the update use: all of them, mostly, and no others."""
    text = None if optional and draw(st.integers(0, 3)) == 0 else draw(conditions)
    used_names, used_values = expressions.words(f"{text or ''} {update}")
    arguments: Arguments = {} if text is None else {"ConditionExpression": text}
    if update:
        arguments["UpdateExpression"] = update
    given_names = {f"#{name}": name for name in sorted(used_names)}
    given_values = {value: draw(values(value[1:])) for value in sorted(used_values)}
    wrong = draw(st.integers(0, 19))
    if wrong == 0 and (given_names or given_values):
        given_names["#unused"] = "unused"
    elif wrong == 1 and (given_names or given_values):
        given_values[":unused"] = {"N": "1"}
    elif wrong == 2 and given_names:
        given_names.pop(next(iter(given_names)))
    elif wrong == 3 and given_values:
        given_values.pop(next(iter(given_values)))
    if given_names:
        arguments["ExpressionAttributeNames"] = given_names
    if given_values:
        arguments["ExpressionAttributeValues"] = given_values
    if text is not None and draw(st.booleans()):
        arguments["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return arguments


@st.composite
def item(draw: st.DrawFn, key: str) -> Arguments:
    """An item that could be ours, or almost."""
    there = draw(st.lists(names, max_size=4, unique=True))
    return {"token": {"S": key}, **{name: draw(values(name)) for name in there}}


@st.composite
def writes(draw: st.DrawFn, key: st.SearchStrategy[str] = keys) -> tuple[str, Arguments]:
    """A write as in a transaction: its kind, and its arguments."""
    kind, at = draw(st.sampled_from(("Put", "Put", "Update", "Delete"))), draw(key)
    if kind == "Put":
        return kind, {"Item": draw(item(at)), **draw(arguments())}
    if kind == "Update":
        return kind, {"Key": {"token": {"S": at}}, **draw(arguments(draw(st.sampled_from(UPDATES))))}
    return kind, {"Key": {"token": {"S": at}}, **draw(arguments())}


@dataclass
class Asked:
    """One call; *needs* names what a server must not be lax in to be asked it, and what its arguments say is added."""

    operation: str
    arguments: Arguments
    needs: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        writes = [part for write in self.arguments.get("TransactItems", ()) for part in write.values()] or [
            self.arguments
        ]
        self.needs = self.needs.union(*map(needs, writes))


def needs(arguments: Arguments) -> set[str]:
    """What a server must be strict in to answer this as DynamoDB does."""
    found = set()
    text = f"{arguments.get('ConditionExpression', '')} {arguments.get('UpdateExpression', '')}"
    used_names, used_values = expressions.words(text)
    given_values = arguments.get("ExpressionAttributeValues", {})
    if {f"#{name}" for name in used_names} != set(arguments.get("ExpressionAttributeNames", ())):
        found.add("placeholders")
    if set(used_values) != set(given_values):
        found.add("placeholders")
    # It depends on what is there whether a comparison is one of two types; so wherever there may be two.
    if any(KINDS[name] not in value for name, value in arguments.get("Item", {}).items() if name in KINDS):
        found.add("types")
    if any(KINDS.get(name[1:], "N") not in value for name, value in given_values.items()):
        found.add("types")
    for name, value in re.findall(r"#(\w+) [<>]=? [#:](\w+)", text):
        if KINDS.get(name) != KINDS.get(value) or f"#{value}" in text:
            found.add("types")
    if "token" in arguments.get("Key", {}) and not arguments["Key"]["token"].get("S"):
        found.add("keys")
    return found


@st.composite
def calls(draw: st.DrawFn) -> Asked:
    match draw(st.sampled_from(("get", "write", "write", "write", "write", "transact", "repeat", "malformed"))):
        case "get":
            key = {"token": {"S": draw(keys)}}
            return Asked("get_item", {"Key": key, "ConsistentRead": draw(st.booleans())})
        case "write":
            kind, arguments = draw(writes())
            if kind == "Delete" and draw(st.booleans()):
                arguments["ReturnValues"] = "ALL_OLD"
            return Asked(f"{kind.lower()}_item", arguments)
        case "transact" | "repeat" as which:
            count = draw(st.integers(1, 3))
            # Two writes on one item are refused as a whole.
            ats = draw(st.lists(keys, min_size=count, max_size=count, unique=draw(st.integers(0, 9)) > 0))
            parts = [draw(writes(st.just(at))) for at in ats]
            arguments = {"TransactItems": [{kind: part} for kind, part in parts]}
            if which == "repeat":
                # One of two tokens: used again, for the same or for something else.
                return Asked(
                    "transact_write_items",
                    {**arguments, "ClientRequestToken": draw(st.sampled_from("AB"))},
                    frozenset(("repeats",)),
                )
            return Asked("transact_write_items", arguments)
    return draw(malformed())


@st.composite
def malformed(draw: st.DrawFn) -> Asked:
    """A call that is to be refused, whatever stands there; and numbers that are spelled strangely."""
    put: Arguments = {"token": {"S": draw(keys)}}
    match draw(st.integers(0, 7)):
        case 0:
            return Asked(
                "put_item", {"Item": {**put, "n": {"N": draw(st.sampled_from(("", "x", "1 2", "NaN", "0x1")))}}}
            )
        case 1:
            return Asked("put_item", {"Item": {"data": {"B": b""}}})
        case 2:
            return Asked("get_item", {"Key": {"token": {"N": "1"}}, "ConsistentRead": True})
        case 3:
            return Asked("delete_item", {"Key": {"token": {"S": ""}}})
        case 4:
            change = {"UpdateExpression": "SET #token = :v", "ExpressionAttributeNames": {"#token": "token"}}
            return Asked("update_item", {"Key": put, **change, "ExpressionAttributeValues": {":v": {"S": "other"}}})
        case 5:
            text = draw(
                st.sampled_from(
                    ("#a =", "AND #a = :v", "(#a = :v", "attribute_exists(:v) AND #a = :v", "#a == :v", "((#a = :v))")
                )
            )
            with_names = {"ExpressionAttributeNames": {"#a": "a"}, "ExpressionAttributeValues": {":v": {"N": "1"}}}
            return Asked("delete_item", {"Key": put, "ConditionExpression": text, **with_names}, frozenset(("syntax",)))
        case 6:
            return Asked("get_item", {"TableName": "no_such_table", "Key": put, "ConsistentRead": True})
    return Asked(
        "put_item", {"Item": {**put, "expiry": {"N": draw(st.sampled_from(ODD_NUMBERS))}}}, frozenset(("numbers",))
    )


def ask(target: object, asked: Asked) -> tuple[str, object]:
    """The answer to a call, as far as it is the service's: a code, and the items that it came with."""
    try:
        reply = getattr(target, asked.operation)(**asked.arguments)
    except Exception as error:
        response = getattr(error, "response", None)
        if not isinstance(response, Mapping):
            raise
        reasons = [(reason["Code"], reason.get("Item")) for reason in response.get("CancellationReasons", ())]
        return response["Error"]["Code"], reasons or response.get("Item")
    return "ok", reply.get("Item") or reply.get("Attributes")


class Client:
    """The model with the methods of a client."""

    def __init__(self) -> None:
        self.server = Server(time.time_ns)

    def __getattr__(self, operation: str) -> object:
        return lambda **arguments: self.server.call(operation, arguments)


def complete(asked: Asked, table: str, run: str) -> Asked:
    """The call with its table, its keys those of this run alone, and so its request token."""

    def at(key: Arguments) -> Arguments:
        token = key.get("token", {})
        return {**key, "token": {"S": f"{run}-{token['S']}"}} if token.get("S") else key

    def part(arguments: Arguments) -> Arguments:
        named = {"TableName": table, **arguments}
        return {**named, **{name: at(arguments[name]) for name in ("Key", "Item") if name in arguments}}

    arguments = asked.arguments
    if asked.operation == "transact_write_items":
        parts = [{kind: part(each) for kind, each in write.items()} for write in arguments["TransactItems"]]
        token = arguments.get("ClientRequestToken")
        arguments = {"TransactItems": parts, **({"ClientRequestToken": f"{run}-{token}"} if token else {})}
    else:
        arguments = part(arguments)
    return Asked(asked.operation, arguments, asked.needs)


@pytest.fixture(params=sorted(LAX))
def strict(request: pytest.FixtureRequest, backends: Backends) -> Backend:
    """The servers that have all the calls."""
    return backends.server(request.param)


def test_the_model_answers_as_servers_do(strict: Backend) -> None:
    @settings(max_examples=90)
    @given(st.lists(calls(), min_size=1, max_size=12))
    def agree(schedule: list[Asked]) -> None:
        model, run = Client(), secrets.token_hex(8)
        for asked in schedule:
            if asked.needs & LAX[strict.name]:
                continue
            call = complete(asked, TABLE.name, run)
            assert ask(model, call) == ask(strict.client, call), call
        for key in KEYS:
            asked = complete(Asked("get_item", {"Key": {"token": {"S": key}}, "ConsistentRead": True}), TABLE.name, run)
            assert ask(model, asked) == ask(strict.client, asked)

    agree()


# What the model says beyond what those servers do.


class Table:
    """A model whose time a test sets."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * NS
        self.server = Server(lambda: self.now_ns)

    def put(self, key: str, **attributes: Mapping[str, object]) -> None:
        self.server.call("put_item", {"TableName": "scs_session", "Item": {"token": {"S": key}, **attributes}})

    def transaction(self, key: str, token: str = "token") -> Arguments:
        put = {"TableName": "scs_session", "Item": {"token": {"S": key}, "n": {"N": "1"}}}
        return {"TransactItems": [{"Put": put}], "ClientRequestToken": token}


def code(error: pytest.ExceptionInfo[ServerError]) -> str:
    return error.value.code


def test_a_transaction_is_known_again_for_ten_minutes() -> None:
    table = Table()
    table.server.call("transact_write_items", table.transaction("a"))
    table.server.sweep("a")
    table.now_ns += 599 * NS
    table.server.call("transact_write_items", table.transaction("a"))
    assert not table.server.items
    with pytest.raises(ServerError) as caught:
        table.server.call("transact_write_items", table.transaction("b"))
    assert code(caught) == "IdempotentParameterMismatchException"
    table.now_ns += 2 * NS
    table.server.call("transact_write_items", table.transaction("a"))
    assert set(table.server.items) == {"a"}


def test_a_transaction_under_way_holds_its_items() -> None:
    table = Table()
    table.put("a")
    begun = table.server.begin(table.transaction("a"))
    assert begun is not None
    with pytest.raises(ServerError) as caught:
        table.put("a")
    assert code(caught) == "TransactionConflictException"
    with pytest.raises(ServerError) as caught:
        table.server.begin(table.transaction("a", "another"))
    assert caught.value.response["CancellationReasons"][0]["Code"] == "TransactionConflict"
    with pytest.raises(ServerError) as caught:
        table.server.begin(table.transaction("a"))
    assert code(caught) == "TransactionInProgressException"
    read: Item = table.server.get_item({"TableName": "scs_session", "Key": {"token": {"S": "a"}}})["Item"]
    assert "n" not in read
    table.server.finish(begun)
    table.put("a")


def test_a_read_that_need_not_be_consistent_may_show_what_was_there_a_moment_ago() -> None:
    table = Table()
    table.server.remember_versions = True
    table.put("a", n={"N": "1"})
    table.put("a", n={"N": "2"})
    get = {"TableName": "scs_session", "Key": {"token": {"S": "a"}}}
    assert table.server.get_item(get, stale=1)["Item"]["n"] == {"N": "1"}
    assert table.server.get_item(get, stale=2) == {}
    assert table.server.get_item({**get, "ConsistentRead": True}, stale=2)["Item"]["n"] == {"N": "2"}
    table.now_ns += 2 * NS
    assert table.server.get_item(get, stale=2)["Item"]["n"] == {"N": "2"}


def test_only_what_is_past_its_ttl_may_be_swept() -> None:
    table = Table()
    table.put("a", ttl={"N": "1000"})
    table.put("b", ttl={"S": "999"})
    table.put("c")
    assert table.server.sweepable() == []
    table.now_ns += NS
    assert table.server.sweepable() == ["a"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [("1.0", "1"), ("1e2", "100"), ("-0", "0"), ("007", "7"), ("0.50", "0.5"), ("-1.50e1", "-15"), ("+3", "3")],
)
def test_numbers_are_given_back_plain(text: str, plain: str) -> None:
    assert canonical_number(text) == plain


@pytest.mark.parametrize("text", ["", "x", "NaN", "1" * 39, "1e126", "1e-131"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        canonical_number(text)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("#n = :one", True),
        ("#missing = :one", False),
        ("#missing < :one", False),
        ("NOT #missing < :one", True),
        ("#missing <> :one", True),
        ("#n < :text", False),
        ("#n > :text", False),
        ("#n <> :text", True),
        ("#n = :one OR #n = :one AND #missing = :one", True),
        ("(#n = :one OR #n = :one) AND #missing = :one", False),
        ("attribute_exists(#n) and not attribute_exists(#missing)", True),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    found = condition(text)
    there = {"n": {"N": "1"}}
    names = {"#n": "n", "#missing": "missing"}
    assert found.holds(there, names, {":one": {"N": "1.0"}, ":text": {"S": "1"}}) is holds
