"""In how many parts a table is read at once."""

from typing import Final

__all__ = ["MAX_SEGMENTS", "check_segments"]

MAX_SEGMENTS: Final = 256
"""DynamoDB takes a million; 32 are read at the same time, and each holds a page or two."""


def check_segments(segments: int) -> None:
    """`ValueError` for what is no number of segments."""
    if not 1 <= segments <= MAX_SEGMENTS:
        raise ValueError(f"segments must be from 1 to {MAX_SEGMENTS:,}")
