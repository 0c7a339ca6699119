"""The tables: what came of the requests of each level and hook, and if the goals are met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from .judging import DEPENDS, DISPLAY, FALSE
from .world import Cell

__all__ = ["Figures", "goals", "show"]

Figures: TypeAlias = Mapping[Cell, Counter[str]]
Row: TypeAlias = tuple[Sequence[str], Counter[str]]

HOOK_NAMES = {
    "none": "no hook",
    "last_activity": "`last_activity` read and put each time",
    "throttled": "`last_activity`, put once a minute",
    "dict": "`dict(session)` each time",
}

_NEVER = (
    "takeovers",
    "paid, atomic, twice",
    "paid, save() in the transaction, twice",
    "messages lost",
    "messages shown twice",
    "messages of refused requests",
)
_FALSE_ALARMS = 1.0
"""The goal for "merge": so many false alarms in 100,000 requests, and fewer."""


_MOST_REFUSED = 8
"""So many kinds of refused requests are shown for each hook."""


def show(figures: Figures) -> Iterator[str]:
    """Yield the lines of all tables."""
    by_level = list(_grouped(figures, lambda cell: (f"`{cell.level}`", HOOK_NAMES[cell.hook])))
    yield "Run again and refused, in 100,000 requests:"
    yield ""
    yield from _table(("level", "hook", "requests", *_REFUSALS), _rows(by_level, _refusals))
    yield ""
    yield "What went wrong:"
    yield ""
    yield from _table(("level", "hook", *_DAMAGES), _rows(by_level, _damages))
    merge = {cell: counts for cell, counts in figures.items() if cell.level == "merge"}
    if not merge:
        return
    for title, name in (
        ("By framework", lambda cell: (cell.framework.capitalize(),)),
        ("By processes", lambda cell: (str(cell.processes),)),
    ):
        yield ""
        yield f"{title}, with `merge`:"
        yield ""
        rows = list(_grouped(merge, name))
        yield from _table((title.split()[-1], "requests", *_REFUSALS), _rows(rows, _refusals))
    together = sum(merge.values(), Counter[str]())
    yield ""
    yield "By tabs, with `merge`: 409s in 100,000 requests:"
    yield ""
    by_tabs = [[each, _per(together, f"409, {each} tabs", f"requests, {each} tabs")] for each in ("1", "3")]
    yield from _table(("tabs", "409"), by_tabs)
    yield ""
    yield "Logins that met another request, with `merge`:"
    yield ""
    by_hook = list(_grouped(merge, lambda cell: (HOOK_NAMES[cell.hook],)))
    yield from _table(("hook", *_LOGINS), _rows(by_hook, _logins))
    yield ""
    yield "What `merge` refused most, with the keys that had changed:"
    yield ""
    yield from _table(("hook", "request, keys", "verdict", "409s"), _refused(by_hook))


def goals(figures: Figures) -> list[str]:
    """Return what "merge" misses of its goals."""
    missed = []
    for (hook,), counts in _grouped(
        {c: n for c, n in figures.items() if c.level == "merge"}, lambda cell: (cell.hook,)
    ):
        missed += [f"{hook}: {what}: {counts[what]}" for what in _NEVER if counts[what]]
        false = _false_alarms(counts)
        if hook != "dict" and false * 100_000 > _FALSE_ALARMS * counts["requests"]:
            missed.append(f"{hook}: {false} false alarms in {counts['requests']:,} requests")
    return missed


def _grouped(figures: Figures, name: Callable[[Cell], Sequence[str]]) -> Iterator[tuple[Sequence[str], Counter[str]]]:
    groups: dict[tuple[str, ...], Counter[str]] = {}
    for cell, counts in figures.items():
        groups.setdefault(tuple(name(cell)), Counter()).update(counts)
    yield from groups.items()


_REFUSALS = ("run again", f"run again: {FALSE}", "409", f"409: {DEPENDS}", f"409: {DISPLAY}", f"409: {FALSE}")


def _refusals(counts: Counter[str]) -> list[str]:
    refused = [_per(counts, f"409, {verdict}") for verdict in (DEPENDS, DISPLAY, FALSE)]
    return [
        f"{counts['requests']:,}",
        _per(counts, "run again"),
        _per(counts, f"run again, {FALSE}"),
        _per(counts, "409"),
        *refused,
    ]


_DAMAGES = (
    "attacks: takeovers",
    "nonce twice: `atomic`",
    "nonce twice: `save()` in the transaction",
    "nonce twice: acted before the commit",
    "cart: lost updates",
    "mergeable list, increments: lost",
    "messages: lost, shown twice",
)


def _damages(counts: Counter[str]) -> list[str]:
    return [
        f"{counts['attacks']:,}: {counts['takeovers']:,}",
        *(_of(counts, f"paid, {way}, twice", f"paid, {way}") for way in ("atomic", "save() in the transaction")),
        _of(counts, "paid, before the commit, twice", "paid, before the commit"),
        _of(counts, "lost: cart", "acknowledged"),
        f"{counts['lost: wishlist']:,}, {counts['lost: likes']:,}",
        f"{counts['messages']:,}: {counts['messages lost']:,}, {counts['messages shown twice']:,}",
    ]


_LOGINS = (
    "buttons acknowledged",
    "dropped, as the session was renewed meanwhile",
    "left in the session of the other click",
    "logins lost",
)


def _logins(counts: Counter[str]) -> list[str]:
    return [f"{counts[name]:,}" for name in ("acknowledged", "dropped at a login", "left behind", "logins lost")]


def _refused(by_hook: Iterable[Row]) -> Iterator[list[str]]:
    for names, counts in by_hook:
        found = [(name, number) for name, number in counts.most_common() if name.startswith("409, ") and ": " in name]
        for name, number in found[:_MOST_REFUSED]:
            verdict, _, request = name.removeprefix("409, ").partition(": ")
            yield [*names, request, verdict, f"{number:,}"]


def _false_alarms(counts: Counter[str]) -> int:
    return counts[f"409, {FALSE}"]


def _per(counts: Counter[str], what: str, of: str = "requests") -> str:
    return f"{counts[what] * 100_000 / max(counts[of], 1):,.1f}"


def _of(counts: Counter[str], what: str, of: str) -> str:
    return f"{counts[what]:,} of {counts[of]:,}"


def _rows(rows: Iterable[Row], cells: Callable[[Counter[str]], list[str]]) -> Iterator[list[str]]:
    for names, counts in rows:
        yield [*names, *cells(counts)]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
