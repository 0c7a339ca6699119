"""The checker of histories: it explains what an order can explain, and nothing else."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from .simulation.history import (
    ABSENT,
    Add,
    Any,
    Append,
    Clear,
    Event,
    Has,
    Keys,
    Level,
    Read,
    Remove,
    TooLarge,
    Transaction,
    Write,
    explain,
)

State: TypeAlias = Mapping[str, object]
LEVELS: tuple[Level, ...] = ("serialize", "merge")


def at_once(name: str, *ops: Event, popped: str = "", result: State | None = None, certain: bool = True) -> Transaction:
    """A transaction that ran at the same time as all others like it."""
    return Transaction(name, 0, 1, ops, certain=certain, result=result, popped=frozenset(popped))


def test_nothing_happened() -> None:
    for level in LEVELS:
        assert explain({"a": 1}, [], {"a": 1}, level) == []
        assert explain({"a": 1}, [], {"a": 2}, level) is None
        assert explain({"a": 1}, [], {}, level) is None
        assert explain({"a": 1}, [], None, level) == []


def test_a_lost_update_is_explained_by_merge_only() -> None:
    both = [at_once("one", Read("n", 1), Write("n", 2)), at_once("two", Read("n", 1), Write("n", 2))]
    assert explain({"n": 1}, both, {"n": 2}, "serialize") is None
    assert explain({"n": 1}, both, {"n": 2}, "merge") == ["one", "two"]


def test_a_decision_on_another_key_is_explained_by_neither() -> None:
    """The takeover: the code was checked for the attacker, and the victim's password is reset."""
    code = at_once("code", Read("reset_user", "attacker"), Write("reset_ok", True))
    begin = at_once("begin", Write("reset_user", "victim"), Write("reset_ok", False))
    start = {"reset_user": "attacker", "reset_ok": False}
    for level in LEVELS:
        assert explain(start, [code, begin], {"reset_user": "victim", "reset_ok": True}, level) is None
        assert explain(start, [code, begin], {"reset_user": "victim", "reset_ok": False}, level) == ["code", "begin"]
        assert explain(start, [begin, code], {"reset_user": "victim", "reset_ok": False}, level) == ["code", "begin"]
        assert explain(start, [code, begin], {"reset_user": "attacker", "reset_ok": True}, level) is None


def test_write_skew_is_explained_by_neither() -> None:
    one = at_once("one", Read("a", 1), Read("b", 1), Write("a", 0))
    two = at_once("two", Read("a", 1), Read("b", 1), Write("b", 0))
    for level in LEVELS:
        assert explain({"a": 1, "b": 1}, [one, two], {"a": 0, "b": 0}, level) is None


def test_a_nonce_is_spent_once() -> None:
    spend = (Read("nonce", "x"), Remove("nonce"))
    for level in LEVELS:
        assert explain({"nonce": "x"}, [at_once("one", *spend), at_once("two", *spend)], {}, level) is None
        late = at_once("late", Read("nonce", ABSENT), Remove("nonce"))
        assert explain({"nonce": "x"}, [late, at_once("first", *spend)], {}, level) == ["first", "late"]


def test_a_read_of_a_popped_key_counts_in_merge() -> None:
    ops = (Read("k", 1), Write("k", 2))
    plain, popped = [[at_once(name, *ops, popped=keys) for name in "ab"] for keys in ("", "k")]
    assert explain({"k": 1}, plain, {"k": 2}, "merge") is not None
    assert explain({"k": 1}, popped, {"k": 2}, "merge") is None


def test_reads_are_one_snapshot() -> None:
    writer = at_once("writer", Write("a", 2), Write("b", 2))
    for level in LEVELS:
        for shown, explained in (((1, 1), True), ((2, 2), True), ((1, 2), False), ((2, 1), False)):
            reader = at_once("reader", Read("a", shown[0]), Read("b", shown[1]))
            found = explain({"a": 1, "b": 1}, [writer, reader], {"a": 2, "b": 2}, level)
            assert (found is not None) == explained


def test_real_time_is_respected() -> None:
    writer = Transaction("writer", 0, 10, (Write("a", 2),))
    for level in LEVELS:
        for begun, old, new in ((0, True, True), (10, True, True), (11, False, True)):
            for value, explained in ((1, old), (2, new)):
                reader = Transaction("reader", begun, begun + 5, (Read("a", value),))
                found = explain({"a": 1}, [writer, reader], {"a": 2}, level)
                assert (found is not None) == explained, (begun, value)


def test_what_may_have_happened_explains_both_outcomes() -> None:
    maybe = Transaction("maybe", 5, None, (Read("a", 1), Write("a", 2)), certain=False)
    early, late = (Transaction(name, at, at + 1, (Read("b", 0),)) for name, at in (("early", 0), ("late", 50)))
    for level in LEVELS:
        assert explain({"a": 1, "b": 0}, [maybe, early, late], {"a": 2, "b": 0}, level) is not None
        assert explain({"a": 1, "b": 0}, [maybe, early, late], {"a": 1, "b": 0}, level) == ["early", "late"]
    # It was shown before it began.
    seen = Transaction("seen", 0, 4, (Read("a", 2),))
    assert explain({"a": 1}, [maybe, seen], {"a": 2}, "serialize") is None
    # It happens at most once.
    once = Transaction("once", 0, None, (Add("n", 1),), certain=False)
    assert explain({}, [once], {"n": 2}, "serialize") is None


def test_what_may_have_happened_but_ended_did_not_happen_later() -> None:
    maybe = Transaction("maybe", 0, 3, (Write("a", 2),), certain=False)
    reader = Transaction("reader", 5, 6, (Read("a", 1),))
    assert explain({"a": 1}, [maybe, reader], {"a": 2}, "serialize") is None
    assert explain({"a": 1}, [maybe, reader], {"a": 1}, "serialize") == ["reader"]
    # The reader fits at once, but not before something that did happen.
    other = Transaction("other", 5, 6, (Read("b", ABSENT),))
    assert explain({"a": 1}, [maybe, other], {"a": 2}, "serialize") == ["maybe", "other"]


def test_an_acknowledged_transaction_must_have_happened() -> None:
    assert explain({}, [at_once("sure", Write("a", 1))], {}, "merge") is None
    assert explain({}, [at_once("sure", Write("a", 1), certain=False)], {}, "merge") == []


def test_a_result_that_differs_is_not_explained() -> None:
    one = at_once("one", Write("a", 1), result={"a": 1, "b": 1})
    two = at_once("two", Write("b", 1))
    for level in LEVELS:
        assert explain({}, [one, two], None, level) == ["two", "one"]
        assert explain({}, [one], None, level) is None
        # "two" changes nothing that "one" left.
        assert explain({}, [one, two], {"a": 1, "b": 1}, level) == ["two", "one"]


READS = (
    # What was shown, and True if {"a": 1} shows it.
    (Read("a", 1), True),
    (Read("a", 2), False),
    (Read("a", True), False),
    (Read("a", 1.0), False),
    (Read("a", ABSENT), False),
    (Has("a", present=True), True),
    (Has("a", present=False), False),
    (Keys(frozenset("a")), True),
    (Keys(frozenset()), False),
    (Any(nonempty=True), True),
    (Any(nonempty=False), False),
)


@pytest.mark.parametrize(("read", "fits"), READS)
@pytest.mark.parametrize("change", [Write("a", 9), Clear(), Add("a", 1), Remove("a"), Write("b", 9), Append("b", 9)])
def test_a_read_is_free_only_if_its_key_is_overwritten_later(read: Event, fits: bool, change: Event) -> None:
    # In both, what a transaction read after its own change is its own value.
    after = at_once("t", change, read)
    for level in LEVELS:
        assert (explain({"a": 1}, [at_once("t", read)], {"a": 1}, level) is not None) == fits
        assert (explain({"a": 1}, [at_once("t", read, change)], None, level) is not None) == (
            fits or (level == "merge" and change in (Write("a", 9), Clear()))
        )
    assert explain({"a": 1}, [at_once("t", read, Clear(), Write("b", 1), popped="a")], None, "merge") == (
        ["t"] if fits else None
    )
    assert explain({"a": 1}, [after], None, "merge") == explain({"a": 1}, [after], None, "serialize")


@pytest.mark.parametrize(("read", "fits"), READS)
def test_its_own_value_is_not_free_even_if_it_is_overwritten_once_more(read: Event, fits: bool) -> None:
    again = at_once("t", Write("a", 1), read, Write("a", 9))
    assert (explain({}, [again], None, "merge") is not None) == fits
    for removal in (Remove("a"), Clear()):
        again = at_once("t", removal, read, Write("a", 9))
        emptied = read in (Read("a", ABSENT), Has("a", present=False), Keys(frozenset()), Any(nonempty=False))
        assert (explain({"a": 1}, [again], None, "merge") is not None) == emptied
    # A sum rests on what was there before.
    assert explain({"a": 1}, [at_once("t", Add("a", 5), read, Write("a", 9))], None, "merge") == ["t"]


def test_keys_count_as_far_as_they_were_not_overwritten() -> None:
    def shown(*keys: str) -> list[str] | None:
        return explain({"a": 1, "b": 1}, [at_once("t", Keys(frozenset(keys)), Write("a", 2))], None, "merge")

    assert shown("a", "b") == shown("b") == ["t"]
    assert shown("a") is None
    assert shown("a", "b", "c") is None


def test_emptiness_counts_as_far_as_it_was_not_overwritten() -> None:
    def shown(nonempty: bool, initial: State, level: Level = "merge") -> list[str] | None:
        return explain(initial, [at_once("t", Any(nonempty), Write("a", 2))], None, level)

    assert shown(True, {}) == shown(False, {}) == shown(False, {"a": 1}) == ["t"]
    assert shown(False, {"b": 1}) is None
    assert shown(True, {}, "serialize") is None


def test_sums_and_appends_merge() -> None:
    visits = [at_once(f"visit {n}", Add("n", 1), Append("log", "seen")) for n in range(3)]
    for level in LEVELS:
        assert explain({"n": 1}, visits, {"n": 4, "log": ["seen"] * 3}, level) is not None
        assert explain({"n": 1}, visits, {"n": 3, "log": ["seen"] * 3}, level) is None
        assert explain({"n": 1}, visits, {"n": 4, "log": ["seen"] * 2}, level) is None
        # What it reads after it added is its own sum, on what was there.
        reader = at_once("reader", Add("n", 10), Read("n", 12))
        assert explain({"n": 1}, [reader, *visits], None, level) == ["visit 0", "reader", "visit 1", "visit 2"]
    assert explain({"n": "text"}, [at_once("t", Add("n", 1))], None, "merge") is None
    assert explain({"n": True}, [at_once("t", Add("n", 1))], None, "merge") is None
    assert explain({"n": "text"}, [at_once("t", Append("n", 1))], None, "merge") is None
    assert explain({"n": {}}, [at_once("t", Append("n", 1))], {"n": [1]}, "merge") is None
    assert explain({"n": 1}, [at_once("t", Add("n", 0.5))], {"n": 1.5}, "merge") == ["t"]


def test_the_order_of_appends_is_found() -> None:
    names = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    found = explain({}, [at_once(str(n), Append("log", n)) for n in range(10)], {"log": names}, "merge", budget=100)
    assert found == [*map(str, names)]


def test_a_known_order_needs_no_search() -> None:
    order = [*map(str, (3, 1, 4, 0, 5, 9, 2, 6, 8, 7))]
    writers = [at_once(str(n), Append("log", n)) for n in range(10)]
    reader = at_once("reader", Read("log", [int(name) for name in order]), Write("seen", True))
    history = [reader, *writers, at_once("nothing", Read("log", ABSENT))]
    assert explain({}, history, None, "merge", order=order, budget=50) == ["nothing", *order, "reader"]
    with pytest.raises(TooLarge):
        explain({}, history, None, "merge", budget=10_000)


def test_a_wrong_order_costs_no_explanation() -> None:
    two = [at_once("one", Write("a", 1)), at_once("two", Write("a", 2))]
    assert explain({}, two, {"a": 1}, "serialize", order=["one", "two"]) == ["two", "one"]
    assert explain({}, two, {"a": 3}, "serialize", order=["one", "two"]) is None
    # A write that the order omits may have happened nevertheless.
    maybe = at_once("maybe", Write("b", 1), certain=False)
    assert explain({}, [*two, maybe], {"a": 1, "b": 1}, "serialize", order=["two", "one"]) is not None


def test_names_are_checked() -> None:
    one = at_once("one")
    with pytest.raises(ValueError, match="same name"):
        explain({}, [one, one], {}, "merge")
    for order in (["one", "one"], ["other"]):
        with pytest.raises(ValueError, match="order names a transaction twice, or one that is not in the history"):
            explain({}, [one], {}, "merge", order=order)


def test_a_search_that_is_too_large_says_so() -> None:
    never = at_once("never", Read("a", "never"))
    writers = [at_once(str(n), Write(str(n), n)) for n in range(10)]
    with pytest.raises(TooLarge, match="1000 runs"):
        explain({}, [never, *writers], None, "serialize", budget=1000)
    # Ten are within the budget that is given by default.
    assert explain({}, [never, *writers], None, "serialize") is None


def run_naively(transaction: Transaction, before: State, level: Level) -> dict[str, object] | None:
    """The state after *transaction*, or None if it would have been shown something else."""
    state = copy.deepcopy(dict(before))
    ops = transaction.ops
    for i, op in enumerate(ops):

        def is_free(key: str, i: int = i) -> bool:
            if level == "serialize" or key in transaction.popped:
                return False
            if any(each == Clear() or (isinstance(each, Write | Remove) and each.key == key) for each in ops[:i]):
                return False
            return any(each == Clear() or (isinstance(each, Write) and each.key == key) for each in ops[i:])

        match op:
            case Read(key, value):
                fits = is_free(key) or same(state.get(key, ABSENT), value)
            case Has(key, present):
                fits = is_free(key) or (key in state) is present
            case Keys(keys):
                fits = {k for k in keys if not is_free(k)} == {k for k in state if not is_free(k)}
            case Any(nonempty):
                possible = [key for key in "abc" if is_free(key)]
                rest = [key for key in state if not is_free(key)]
                sizes = {bool(rest), bool(rest) or bool(possible)}
                fits = nonempty in sizes
            case _:
                fits = apply_naively(op, state)
        if not fits:
            return None
    if transaction.result is not None and not same(state, transaction.result):
        return None
    return state


def apply_naively(op: Event, state: dict[str, object]) -> bool:
    match op:
        case Write(key, value):
            state[key] = copy.deepcopy(value)
        case Remove(key):
            state.pop(key, None)
        case Clear():
            state.clear()
        case Add(key, by):
            number = state.get(key, 0)
            if not isinstance(number, int | float) or isinstance(number, bool):
                return False
            state[key] = number + by
        case Append(key, value):
            elements = state.setdefault(key, [])
            if not isinstance(elements, list):
                return False
            elements.append(value)
    return True


def same(one: object, other: object) -> bool:
    return repr(sorted(one.items()) if isinstance(one, dict) else one) == repr(
        sorted(other.items()) if isinstance(other, dict) else other
    )


@dataclasses.dataclass
class History:
    initial: State
    transactions: list[Transaction]
    final: State | None
    order: list[str]

    def explain(self, level: Level, order: Sequence[str] | None = None) -> list[str] | None:
        return explain(self.initial, self.transactions, self.final, level, order=order)

    def is_explained_by(self, order: Sequence[Transaction], level: Level) -> bool:
        for earlier, later in itertools.combinations(order, 2):
            if later.ended is not None and later.ended < earlier.begun:
                return False
        if any(t.certain and t not in order for t in self.transactions):
            return False
        state = self.initial
        for transaction in order:
            after = run_naively(transaction, state, level)
            if after is None:
                return False
            state = after
        return self.final is None or same(state, self.final)

    def explain_naively(self, level: Level) -> bool:
        return any(self.is_explained_by(order, level) for order in self._orders())

    def _orders(self) -> Iterator[tuple[Transaction, ...]]:
        for length in range(len(self.transactions) + 1):
            yield from itertools.permutations(self.transactions, length)


keys = st.sampled_from("abc")
values = st.sampled_from((0, 1, True, "x")) | st.lists(st.sampled_from((0, 1)), max_size=2)
shown = st.just(ABSENT) | values
changes = st.one_of(
    st.builds(Write, keys, values),
    st.builds(Remove, keys),
    st.builds(Add, keys, st.integers(-1, 2)),
    st.builds(Append, keys, st.sampled_from((0, 1))),
    st.builds(Clear),
)
reads = st.one_of(
    st.builds(Read, keys, shown),
    st.builds(Read, keys, shown),
    st.builds(Has, keys, st.booleans()),
    st.builds(Keys, st.frozensets(keys)),
    st.builds(Any, st.booleans()),
)
programs = st.lists(reads | changes, max_size=5)
states = st.dictionaries(keys, values, max_size=3)


def execute(program: Sequence[Event], state: dict[str, object]) -> tuple[Event, ...]:
    """Run *program* in *state*. Return its events with what it was really shown, without changes that cannot be made."""
    ops: list[Event] = []
    for op in program:
        match op:
            case Read(key):
                ops.append(Read(key, copy.deepcopy(state.get(key, ABSENT))))
            case Has(key):
                ops.append(Has(key, key in state))
            case Keys():
                ops.append(Keys(frozenset(state)))
            case Any():
                ops.append(Any(bool(state)))
            case _:
                if apply_naively(op, state):
                    ops.append(op)
    return tuple(ops)


@st.composite
def honest(draw: st.DrawFn, most: int) -> History:
    """A history of programs that ran one after the other, in intervals that include the moments when they ran."""
    initial = draw(states)
    state: dict[str, object] = copy.deepcopy(initial)
    transactions, order = [], []
    for moment in range(draw(st.integers(1, most))):
        certain, happened = draw(st.sampled_from(((True, True), (True, True), (False, True), (False, False))))
        ops = execute(draw(programs), state if happened else copy.deepcopy(state))
        begun, ended = 10 * moment - draw(st.integers(0, 25)), 10 * moment + draw(st.integers(0, 25))
        name = f"t{moment}"
        result = copy.deepcopy(state) if happened and draw(st.booleans()) else None
        popped = draw(st.frozensets(keys, max_size=1))
        unseen = not certain and draw(st.booleans())
        transactions.append(Transaction(name, begun, None if unseen else ended, ops, certain, result, popped))
        if happened:
            order.append(name)
    return History(initial, draw(st.permutations(transactions)), state if draw(st.booleans()) else None, order)


@given(honest(most=8), st.sampled_from(LEVELS), st.booleans())
def test_what_ran_in_an_order_is_explained(history: History, level: Level, hinted: bool) -> None:
    found = history.explain(level, history.order if hinted else None)
    assert found is not None
    by_name = {transaction.name: transaction for transaction in history.transactions}
    assert history.is_explained_by([by_name[name] for name in found], level)


@given(honest(most=8), st.data())
def test_a_value_that_nobody_wrote_is_never_explained(history: History, data: st.DataObject) -> None:
    places = [
        (t, i)
        for t, transaction in enumerate(history.transactions)
        for i, op in enumerate(transaction.ops)
        if transaction.certain and isinstance(op, Read)
    ]
    if not places:
        return
    t, i = data.draw(st.sampled_from(places))
    ops = [*history.transactions[t].ops]
    read = ops[i]
    assert isinstance(read, Read)
    ops[i] = Read(read.key, "nobody wrote this")
    history.transactions[t] = dataclasses.replace(history.transactions[t], ops=tuple(ops))
    assert history.explain("serialize") is None
    assert history.explain("serialize", history.order) is None


@st.composite
def doubtful(draw: st.DrawFn, most: int) -> History:
    """An honest history in which a few things are then changed."""
    history = draw(honest(most))
    for _ in range(draw(st.integers(0, 3))):
        t = draw(st.integers(0, len(history.transactions) - 1))
        transaction = history.transactions[t]
        ops = [*transaction.ops]
        match draw(st.sampled_from(("op", "more", "begun", "ended", "certain", "result", "popped", "final"))):
            case "op" if ops:
                i = draw(st.integers(0, len(ops) - 1))
                match ops[i]:
                    case Read(key):
                        ops[i] = Read(key, draw(shown))
                    case Write(key):
                        ops[i] = Write(key, draw(values))
                    case _:
                        ops[i] = draw(reads | changes)
            case "more":
                ops.insert(draw(st.integers(0, len(ops))), draw(reads | changes))
            case "begun":
                transaction = dataclasses.replace(transaction, begun=transaction.begun - draw(st.integers(1, 30)))
            case "ended" if transaction.ended is not None:
                transaction = dataclasses.replace(transaction, ended=transaction.ended + draw(st.integers(1, 30)))
            case "certain":
                transaction = dataclasses.replace(transaction, certain=not transaction.certain)
            case "result":
                transaction = dataclasses.replace(transaction, result=None)
            case "popped":
                transaction = dataclasses.replace(transaction, popped=frozenset())
            case "final":
                history.final = draw(states)
        history.transactions[t] = dataclasses.replace(transaction, ops=tuple(ops))
    return history


@settings(max_examples=400)
@given(doubtful(most=4), st.sampled_from(LEVELS), st.booleans())
def test_an_order_is_found_if_there_is_one(history: History, level: Level, hinted: bool) -> None:
    found = history.explain(level, history.order if hinted else None)
    event(f"{level}: {'not ' if found is None else ''}explained")
    if found is None:
        assert not history.explain_naively(level)
    else:
        by_name = {transaction.name: transaction for transaction in history.transactions}
        assert history.is_explained_by([by_name[name] for name in found], level)


@given(doubtful(most=7))
def test_what_is_serializable_is_mergeable(history: History) -> None:
    if history.explain("serialize") is not None:
        assert history.explain("merge") is not None
