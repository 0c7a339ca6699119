"""Where every choice of a run comes from: a list of small integers, drawn by chance or played again."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random


class Choices:
    """Draws, by chance. *drawn* is all of them so far; they, played again, make the same run.

    The lowest choice is always the plainest (no fault, the first request, no time passes): so to lower the
    numbers of a run is to make it simpler.
    """

    __slots__ = ("_random", "drawn")

    def __init__(self, seed: int, run: int) -> None:
        self._random = Random(seed * 0x9E3779B97F4A7C15 + run).random
        self.drawn: list[int] = []

    def draw(self, below: int) -> int:
        """A number from 0 to *below* - 1."""
        choice = int(self._random() * below)
        self.drawn.append(choice)
        return choice


class Replay(Choices):
    """Draws from a list; when it is at its end, the plainest."""

    __slots__ = ("_left",)

    def __init__(self, choices: Sequence[int]) -> None:
        self._left = iter(choices)
        self.drawn = []

    def draw(self, below: int) -> int:
        choice = min(next(self._left, 0), below - 1)
        self.drawn.append(choice)
        return choice
