"""Types of all kinds that objects.py keeps in a session."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, NotRequired, TypedDict

import attrs
import msgspec


@dataclass
class User:
    name: str
    born: datetime | None = None
    tags: list[str] = field(default_factory=list)


class Preferences(TypedDict):
    theme: str
    size: NotRequired[int]


@attrs.frozen
class Address:
    street: str
    lines: list[str] = attrs.field(factory=list)


class Cart(msgspec.Struct):
    items: list[str]
    owner: User | None = None


class Point(NamedTuple):
    x: int
    y: int
