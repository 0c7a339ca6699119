"""The number of segments in which a table is scanned in parallel."""

from typing import Final

__all__ = ["MAX_SEGMENTS", "check_segments"]

MAX_SEGMENTS: Final = 256
"""The most segments. DynamoDB allows a million, but at most 32 run at a time, and each holds a page or two in memory."""


def check_segments(segments: int) -> None:
    """Raise `ValueError` if the number of segments is out of range."""
    if not 1 <= segments <= MAX_SEGMENTS:
        raise ValueError(f"segments must be from 1 to {MAX_SEGMENTS:,}")
