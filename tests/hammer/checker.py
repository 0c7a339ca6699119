"""What the journals and the table say together: pure, so that it can be tested by itself.

An operation is *acknowledged* (it must be there), *unknown* (it raised, or its process was killed: it may be
there, once) or has found its session *gone*. Each leaves a marker in the same commit as its change, so which
unknown ones were applied is known exactly, and a counter must equal the number of its markers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .journal import Event

__all__ = ["Operation", "Verdict", "check", "gather"]

MARKERS = {
    "put": "p",
    "increment": "i",
    "renew": "i",
    "remove": "r",
    "append": "a",
    "nonce": "n",
    "spend": "s",
    "try": "t",
    "reset": "b",
    "code": "k",
}
LIMIT = 5
# What a store or a session says when the network or another request was in the way; anything else misleads.
HONEST = ("UnavailableError", "ThrottledError", "SessionConflict")


@dataclass(slots=True)
class Operation:
    """One operation, as its journal has it."""

    start: Event
    end: Event | None = None
    minted: list[str] = field(default_factory=list)
    explained: bool = True
    """Whether something before it (a renewal, an end) can have taken its session away."""

    @property
    def outcome(self) -> str:
        return {"ok": "acknowledged", "gone": "gone"}.get(self.end.what if self.end else "", "unknown")


@dataclass(slots=True)
class Verdict:
    """What was found; good if *violations* is empty."""

    violations: list[str] = field(default_factory=list)
    lost: int = 0
    applied: Counter[str] = field(default_factory=Counter)
    """The operations that were not acknowledged and were applied all the same, by what they said."""
    live: int = 0


def gather(events: Iterable[Event]) -> dict[str, Operation]:
    """The operations in the order in which they began."""
    operations: dict[str, Operation] = {}
    ending: set[str] = set()
    for event in events:
        if event.what == "start":
            operations[event.op] = Operation(event)
            if event.kind in ("renew", "destroy"):
                ending.add(event.session)
        elif event.what == "mint":
            operations[event.op].minted.append(event.token)
        else:
            operations[event.op].end = event
            operations[event.op].explained = event.what != "gone" or operations[event.op].start.session in ending
    return operations


def check(
    operations: Mapping[str, Operation], hot: Mapping[str, str], found: Mapping[str, Mapping[str, object]]
) -> Verdict:
    """Compare the *operations* with what was *found*, token → data; *hot* are the sessions that were there first."""
    verdict = Verdict()
    of_session: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in operations.values():
        of_session[operation.start.session].append(operation)
        _check_answer(operation, verdict)
    names = {name: [token] for name, token in hot.items()}
    for name, its in of_session.items():
        names.setdefault(name, []).extend(token for operation in its for token in operation.minted)
    known = {token for tokens in names.values() for token in tokens}
    verdict.violations += [f"a session that nobody made: {data}" for token, data in found.items() if token not in known]
    for name, tokens in names.items():
        _check_session(name, of_session[name], {token: found[token] for token in tokens if token in found}, verdict)
    verdict.live = len(found)
    return verdict


def _check_answer(operation: Operation, verdict: Verdict) -> None:
    """What the caller was told must make sense, whatever came of it."""
    start, end = operation.start, operation.end
    if end is not None and end.what == "fail" and end.error not in HONEST:
        verdict.violations.append(f"{start.kind} {start.op} of {start.session}: {end.error}: {end.text}")
    if not operation.explained:
        verdict.violations.append(f"{start.kind} {start.op}: told that {start.session} is gone, and nobody ended it")


def _check_session(name: str, its: list[Operation], live: Mapping[str, Mapping[str, object]], verdict: Verdict) -> None:
    """One session under all its tokens."""
    violations = verdict.violations
    created = name.startswith("h") or any(o.start.kind == "create" and o.outcome == "acknowledged" for o in its)
    ends = [o for o in its if o.start.kind == "destroy"]
    if len(live) > 1:
        violations.append(f"{name} is there under {len(live)} tokens at once")
    if not live and created and not ends:
        violations.append(f"{name} is lost: it is under none of its tokens")
        verdict.lost += 1
    for o in its:
        if o.outcome != "acknowledged" or o.start.token not in live:
            continue
        if o.start.kind == "destroy":
            violations.append(f"{name} is there, under a token that was destroyed by {o.start.op}")
        if o.start.kind == "renew":
            violations.append(f"{name} is there, under a token that was renewed by {o.start.op}")
    for data in live.values():
        _check_data(name, its, data, verdict)


def _check_data(name: str, its: list[Operation], data: Mapping[str, object], verdict: Verdict) -> None:
    """The data of a session that is there."""
    violations = verdict.violations
    if data.get("id") != name:
        violations.append(f"{name} has the data of {data.get('id')!r}")
    markers = {key for key in data if key[1:2] == ":" and key[0] in MARKERS.values()}
    if data.get("counter", 0) != (counted := sum(key.startswith("i:") for key in markers)):
        violations.append(f"{name}: the counter says {data.get('counter')}, and {counted} increments were stored")
    removals = {o.start.key: o for o in its if o.start.kind == "remove"}
    for o in its:
        if (letter := MARKERS.get(o.start.kind)) is None:
            continue
        marker = f"{letter}:{o.start.op}"
        there = marker in markers
        markers.discard(marker)
        removal = removals.get(o.start.op) if o.start.kind == "put" else None
        if removal is not None:
            removed = f"r:{removal.start.op}" in data
            if there == removed:
                violations.append(f"{name}: {marker} is {'still' if there else 'not'} there, removed: {removed}")
            continue
        if there and o.end is not None and o.end.error == "SessionConflict":
            violations.append(f"{name}: {o.start.kind} {o.start.op} was refused, and is there")
        if there and o.outcome != "acknowledged":
            verdict.applied[o.end.error or o.end.what if o.end else "killed"] += 1
        if not there and o.outcome == "acknowledged":
            violations.append(f"{name}: {o.start.kind} {o.start.op} was acknowledged, and is lost")
            verdict.lost += 1
        if o.start.kind == "append":
            _check_list(name, o, data.get(o.start.key), verdict)
    violations += [f"{name}: {marker} is there, and nobody put it" for marker in markers]
    violations += [f"{name}: {what}" for what in _decisions(data)]


def _decisions(data: Mapping[str, object]) -> Iterator[str]:
    """What a check and an act have come to that they must not."""
    spent = Counter(str(value) for key, value in data.items() if key.startswith("s:"))
    yield from (f"the nonce {nonce} was spent {times} times" for nonce, times in spent.items() if times > 1)
    allowed = sum(value is True for key, value in data.items() if key.startswith("t:"))
    counted = data.get("tries", 0)
    if allowed != counted or allowed > LIMIT:
        yield f"{allowed} tries were allowed of {LIMIT}, and {counted} counted"
    if data.get("reset_user") == "victim" and data.get("reset_ok") is True:
        yield "the victim's password may be reset"


def _check_list(name: str, append: Operation, listed: object, verdict: Verdict) -> None:
    times = listed.count(append.start.op) if isinstance(listed, list) else 0
    if times > 1:
        verdict.violations.append(f"{name}: {append.start.op} was appended {times} times")
    if not times and append.outcome == "acknowledged":
        verdict.violations.append(f"{name}: {append.start.op} was acknowledged, and is not in its list")
        verdict.lost += 1
