"""`judge`: was a refusal needed? The request's handler is run again on what was stored at that moment, and compared."""

from __future__ import annotations

import json
from collections import Counter

from session.merging import Data

from .handlers import MERGEABLE
from .traces import Refusal, Run

__all__ = ["DEPENDS", "DISPLAY", "FALSE", "judge"]

DEPENDS = "outcome depends"
DISPLAY = "display only"
FALSE = "false alarm"

_LISTS = frozenset((*MERGEABLE, "_flashes", "_messages"))


def judge(refusal: Refusal, replayed: Run) -> str:
    """Return what the order of the two requests changes: the outcome, only what is shown, or nothing."""
    run = refusal.run
    status = run.answer.status if run.answer else 0
    if (
        replayed.answer is None
        or replayed.answer.status != status
        or replayed.effects != run.effects
        or _doings(run, run.base) != _doings(replayed, replayed.base)
    ):
        return DEPENDS
    assert run.answer is not None
    return DISPLAY if replayed.answer.body != run.answer.body else FALSE


def _doings(run: Run, base: Data) -> tuple[object, ...]:
    """Return what a run does to its session: what it adds to lists that are merged and drops from them, and what it puts.

    A new token is no difference: a login gets one, on the session that is there or on none.
    """
    changes = run.changes
    if changes is None:
        return ({}, frozenset(), {}, False, run.destroying)
    put: dict[str, object] = dict(changes.put)
    removed = set(changes.removed)
    for key in _LISTS & (put.keys() | removed):
        before, after = _elements(base, key), _elements(changes.put, key)
        put[key] = (after - before, before - after)
        removed.discard(key)
    return (put, frozenset(removed), dict(changes.incremented), changes.cleared, run.destroying)


def _elements(data: Data, key: str) -> Counter[str]:
    value = data.get(key, [])
    if isinstance(value, str):
        value = json.loads(value)
    assert isinstance(value, list)
    return Counter(json.dumps(element) for element in value)
