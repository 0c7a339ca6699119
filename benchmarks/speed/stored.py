"""What is stored where it is measured: the tables, and in each the one item that is read and replaced."""

from __future__ import annotations

__all__ = [
    "DEADLINE_NS",
    "FIRST_VERSION",
    "RECENT",
    "REGION",
    "SIZES",
    "TOKEN",
    "TTL",
    "payload",
    "stored_token",
    "table_of",
]

# No imports up here, and nothing computed: a cold start that is timed imports this, too.

REGION = "us-east-1"
SIZES = {"1 kB": 1024, "32 kB": 32 * 1024}
"""The sizes of data, in bytes: each has a table."""

TOKEN = "dG9rZW4gb2YgdGhlIG1lYXN1cmVkIHJlY29yZCwgMzI"
"""A token as a session's is, in its length and its alphabet."""
DEADLINE_NS = 4_102_444_800 * 10**9
"""The first second of 2100: an expiry that no run lives to see."""
TTL = DEADLINE_NS // 10**9 + 1
FIRST_VERSION = 1
RECENT = b"01234567" * 8
"""As many versions as a record remembers: what it has after a few writes."""


def table_of(size: int) -> str:
    """The name of the table whose data is of *size* bytes."""
    return f"bench_{size}"


def payload(size: int) -> bytes:
    """A session of exactly *size* bytes, as `session.JSONCodec` writes it: fields, and a cart that fills it up."""
    import json

    data: dict[str, object] = {
        "cart": [],
        "csrf": "p3k9Zr1mXw0aTq7Yc5Vh2Lf8",
        "locale": "en-GB",
        "note": "",
        "roles": ["customer", "reviewer"],
        "since": "2026-01-02T03:04:05.678901Z",
        "user_id": 31415926,
        "visits": 1000000,
    }
    cart: list[object] = []
    data["cart"] = cart

    def text() -> bytes:
        return json.dumps({"data": data, "deadline": DEADLINE_NS}, separators=(",", ":")).encode()

    while size - len(text()) >= 100:
        cart.append({"sku": f"SKU-{len(cart):06}", "name": "An apple a day", "price": 1.25, "count": 3})
    data["note"] = "x" * (size - len(text()))
    return text()


def stored_token(name: str) -> str:
    """A token for whoever is called *name*, so that no two write to one item."""
    import base64
    import hashlib

    return base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).decode().rstrip("=")
