"""`JSONValue`: what a session can hold."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["JSONValue"]

JSONValue: TypeAlias = bool | int | float | str | list["JSONValue"] | dict[str, "JSONValue"] | None
"""What JSON can say, and so what a session can hold."""
