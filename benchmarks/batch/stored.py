"""The tables that jobs are measured on: how many items, in which pages, and under which tokens."""

from __future__ import annotations

from typing import Final

__all__ = ["PAGE", "SIZES", "UNITS_A_KB", "line", "segment", "table_of"]

SIZES: Final = (1_000, 10_000, 100_000)

PAGE: Final = 850
"""How many items of some 1.2 kB DynamoDB has in a page of 1 MB."""

UNITS_A_KB: Final = 1.2
"""An item's size in kB, as DynamoDB counts it, roughly."""


def table_of(records: int) -> str:
    """The name of the table with so many."""
    return f"records-{records}"


def line(number: int) -> str:
    """The token of an item: as long as ours are."""
    return f"{number:043d}"


def segment(records: int, number: int, of: int) -> tuple[int, int]:
    """The first item of a segment, and the first that is not of it any more.

    >>> segment(10, 0, 4), segment(10, 3, 4)
    ((0, 2), (7, 10))
    """
    return records * number // of, records * (number + 1) // of
