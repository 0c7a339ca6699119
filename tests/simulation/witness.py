"""The history of each session in one run: its transactions, as they were applied; and if an order explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .history import Event, Level, TooLarge, Transaction, explain
from .intent import Commit, Data, describe_events

__all__ = ["History", "Witness"]


@dataclass(slots=True)
class History:
    """The transactions of one session. *order*: the names of those that wrote, in the order in which they were applied."""

    transactions: list[Transaction] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def add(self, transaction: Transaction, *, wrote: bool) -> None:
        self.transactions.append(transaction)
        if wrote:
            self.order.append(transaction.name)

    def unexplained(self, final: Data, level: Level) -> str:
        """Return what no order explains; empty if one does. Raise `TooLarge` if it was not found out."""
        if explain({}, self.transactions, final, level, order=self.order) is not None:
            return ""
        lines = (f"    {each.name}: {_told(each.ops)}" for each in self.transactions)
        return "no order of these explains what each was shown:\n" + "\n".join(lines)


def _told(ops: Sequence[Event]) -> str:
    return describe_events([*ops], reads=True)


class Witness:
    """Makes the transactions of commits, on a clock of its own that tells before from after."""

    def __init__(self) -> None:
        self.now = 0
        # By the commit itself: its id may be another's, once it is gone.
        self._places: dict[Commit, tuple[History, int]] = {}

    def tick(self) -> int:
        self.now += 1
        return self.now

    def wrote(self, history: History, commit: Commit, ops: Sequence[Event], result: Data) -> None:
        """*commit* was applied: so it happened, though perhaps nobody is told."""
        name = f"{commit.request}.{commit.number}"
        if commit.applied > 1:
            name += f".{commit.applied}"
        self._places[commit] = history, len(history.transactions)
        popped = self._popped(commit)
        # What is checked has the order in which it was applied. Without the checks any order will do.
        left = result if commit.promises.checks else None
        history.add(Transaction(name, commit.begun, None, tuple(ops), result=left, popped=popped), wrote=True)
        commit.applied_at = self.tick()

    def ended(self, commit: Commit) -> None:
        """*commit* was acknowledged."""
        if commit in self._places:
            history, at = self._places[commit]
            history.transactions[at] = replace(history.transactions[at], ended=self.tick())

    def read(
        self, history: History, commit: Commit, ops: Sequence[Event], *, begun: int, result: Data | None = None
    ) -> None:
        """*commit* ended well and wrote nothing, or something elsewhere."""
        name = f"{commit.request}.{commit.number}"
        popped = self._popped(commit)
        result = result if commit.promises.checks else None
        transaction = Transaction(name, begun, self.tick(), tuple(ops), result=result, popped=popped)
        history.add(transaction, wrote=False)

    @staticmethod
    def _popped(commit: Commit) -> frozenset[str]:
        outer = commit.outer_notes.popped if commit.outer_notes is not None else set()
        return frozenset(commit.notes.popped | outer)


__all__ += ["TooLarge"]
