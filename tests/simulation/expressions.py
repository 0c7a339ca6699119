"""DynamoDB's expressions, as its documentation has them: the part of the language that is used, and a little more.

Conditions: AND, OR, NOT, parentheses, attribute_exists, attribute_not_exists, = <> < <= > >=. Updates: SET and
REMOVE. An expression is parsed once, into closures: a simulation evaluates the same dozen a million times.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, TypeAlias

Value: TypeAlias = Mapping[str, Any]
Item: TypeAlias = Mapping[str, Value]
Names: TypeAlias = Mapping[str, str]
Values: TypeAlias = Mapping[str, Value]
Predicate: TypeAlias = Callable[[Item, Names, Values], bool]
Operand: TypeAlias = Callable[[Item, Names, Values], Value | None]

# Those of the reserved words that somebody might write in a condition here; the whole list has 573.
RESERVED = frozenset(
    ("data", "date", "item", "key", "name", "owner", "size", "status", "time", "token", "ttl", "value")
)

_TOKEN = re.compile(r"\s*(<=|>=|<>|[=<>(),]|[#:]?[A-Za-z0-9_]+)")
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ORDERED = ("S", "N", "B")


class Malformed(Exception):
    """An expression that DynamoDB would refuse; a ValidationException."""


@dataclass
class Condition:
    """A condition, and the placeholders in it. *ordered*: the values that < <= > >= compare with."""

    holds: Predicate
    names: set[str]
    values: set[str]
    ordered: dict[str, str]


@dataclass
class Update:
    """An update: what it sets and what it removes, each a path and (to set) an operand."""

    sets: list[tuple[str, Operand]] = field(default_factory=list)
    removes: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    values: set[str] = field(default_factory=set)


@lru_cache(maxsize=4096)
def condition(text: str) -> Condition:
    """The condition that *text* says; `Malformed` if it says none."""
    parser = _Parser(text)
    holds = parser.disjunction()
    parser.end()
    return Condition(holds, parser.names, parser.values, parser.ordered)


@lru_cache(maxsize=4096)
def update(text: str) -> Update:
    """The update that *text* says; `Malformed` if it says none."""
    parser = _Parser(text)
    found = Update(names=parser.names, values=parser.values)
    seen: set[str] = set()
    while parser.next is not None:
        clause = (parser.take() or "").upper()
        if clause in seen or clause not in ("SET", "REMOVE"):
            raise Malformed(f"Invalid UpdateExpression: Syntax error; token: {clause!r}")
        seen.add(clause)
        while True:
            path = parser.path()
            if clause == "REMOVE":
                found.removes.append(path)
            else:
                parser.expect("=")
                found.sets.append((path, parser.operand()[0]))
            if parser.next != ",":
                break
            parser.take()
    if not seen:
        raise Malformed("Invalid UpdateExpression: The expression can not be empty;")
    return found


class _Parser:
    """Recursive descent; the loosest operator is OR, then AND, then NOT."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise Malformed(f"Syntax error; token: {text[at:].strip()[:1]!r}")
            self.tokens.append(match[1])
            at = match.end()
        self.at = 0
        self.names: set[str] = set()
        self.values: set[str] = set()
        self.ordered: dict[str, str] = {}
        self._group = (0, 0)

    @property
    def next(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self) -> str | None:
        token = self.next
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.take() != token:
            raise Malformed(f"Syntax error; expected {token!r}")

    def end(self) -> None:
        if self.next is not None:
            raise Malformed(f"Syntax error; token: {self.next!r}")

    def disjunction(self) -> Predicate:
        left = self.conjunction()
        while self._word("OR"):
            left = _either(left, self.conjunction())
        return left

    def conjunction(self) -> Predicate:
        left = self.negation()
        while self._word("AND"):
            left = _both(left, self.negation())
        return left

    def negation(self) -> Predicate:
        if self._word("NOT"):
            inner = self.negation()
            return lambda item, names, values: not inner(item, names, values)
        return self.primary()

    def primary(self) -> Predicate:
        if self.next == "(":
            opened = self.at
            self.take()
            inner = self.disjunction()
            if self._group == (opened + 1, self.at):
                raise Malformed("The expression has redundant parentheses;")
            self.expect(")")
            self._group = (opened, self.at)
            return inner
        if self.next in ("attribute_exists", "attribute_not_exists"):
            there = self.take() == "attribute_exists"
            self.expect("(")
            path = self.path()
            self.expect(")")
            return lambda item, names, values: (names.get(path, path) in item) is there
        left, left_name = self.operand()
        comparison = self.take() or ""
        if comparison not in _COMPARISONS:
            raise Malformed(f"Syntax error; token: {comparison!r}")
        right, right_name = self.operand()
        if comparison not in ("=", "<>"):
            self.ordered |= {name: comparison for name in (left_name, right_name) if name.startswith(":")}
        return _comparison(comparison, left, right)

    def operand(self) -> tuple[Operand, str]:
        """What gives a value, and its name or placeholder."""
        if (self.next or "").startswith(":"):
            value = self.take() or ""
            self.values.add(value)
            return lambda item, names, values: values[value], value
        path = self.path()
        return lambda item, names, values: item.get(names.get(path, path)), path

    def path(self) -> str:
        token = self.take() or ""
        if not token or not (token[0] in "#_" or token[0].isalpha()):
            raise Malformed(f"Syntax error; token: {token!r}")
        if token[0] == "#":
            self.names.add(token)
        elif token.lower() in RESERVED:
            raise Malformed(f"Attribute name is a reserved keyword; reserved keyword: {token}")
        return token

    def _word(self, word: str) -> bool:
        if (self.next or "").upper() != word:
            return False
        self.at += 1
        return True


def _either(left: Predicate, right: Predicate) -> Predicate:
    return lambda item, names, values: left(item, names, values) or right(item, names, values)


def _both(left: Predicate, right: Predicate) -> Predicate:
    return lambda item, names, values: left(item, names, values) and right(item, names, values)


def _comparison(comparison: str, left: Operand, right: Operand) -> Predicate:
    compare = _COMPARISONS[comparison]
    ordered = comparison not in ("=", "<>")

    def holds(item: Item, names: Names, values: Values) -> bool:
        one, other = left(item, names, values), right(item, names, values)
        if one is None or other is None:
            # A comparison with what is not there is false; only "is not equal" is true.
            return compare is operator.ne
        [(kind, mine)] = one.items()
        [(other_kind, its)] = other.items()
        if kind != other_kind or (ordered and kind not in _ORDERED):
            return compare is operator.ne
        if kind == "N":
            return compare(to_number(mine), to_number(its))
        return compare(mine, its)

    return holds


def to_number(text: str) -> int | Decimal:
    """The number that an N says; `Malformed` if it says none."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise Malformed(f"The parameter cannot be converted to a numeric value: {text}")
    return number


def canonical_number(text: str) -> str:
    """An N as DynamoDB gives it back: plain digits, no zeros that say nothing; at most 38 that do."""
    if _PLAIN.fullmatch(text):
        return text
    if not _NUMBER.fullmatch(text):
        raise Malformed(f"The parameter cannot be converted to a numeric value: {text}")
    number = Decimal(text)
    significant = "".join(map(str, number.as_tuple().digits)).strip("0")
    if len(significant) > 38:
        raise Malformed("Attempting to store more than 38 significant digits in a Number")
    if number and number.adjusted() > 125:
        raise Malformed("Number overflow. Attempting to store a number with magnitude larger than supported range")
    if number and number.adjusted() < -130:
        raise Malformed("Number underflow. Attempting to store a number with magnitude smaller than supported range")
    if not number:
        return "0"
    plain = f"{number:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain.lstrip("+")


_PLAIN = re.compile(r"0|-?[1-9][0-9]{0,37}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
