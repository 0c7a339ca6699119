"""What the proxy does to a request or its reply, and how often."""

from __future__ import annotations

import json
import random
import zlib
from typing import Final

__all__ = ["HOLD", "RATES", "choose", "flipped", "refusal"]

HOLD: Final = 1.3
"""How long, in seconds, what is too late is held back: longer than the workers' read time-out."""

RATES: Final = {
    # Nothing is wrong but the time it takes.
    "delayed": 0.06,
    "slow reply": 0.02,
    # The server never sees the request.
    "cut before": 0.015,
    "throttled": 0.01,
    "500 before": 0.005,
    # The server sees it, and the client does not learn what came of it.
    "cut after": 0.03,
    "half a reply": 0.01,
    "reply too late": 0.01,
    "500 after": 0.01,
    "flipped bytes": 0.015,
    "garbage": 0.005,
    "web page": 0.005,
    # The server sees it twice, or when the client has long since given up.
    "sent twice": 0.02,
    "request too late": 0.01,
}
"""The share of requests that each fault hits."""


def choose(dice: random.Random, operation: str, *, late_creates: bool) -> str:
    """The fault for one request, or an empty string for none.

    A create that arrives when its session has been made by a retry, used and destroyed meanwhile, makes it
    again: there is nothing left in the table that it could be compared with. That limit is known, and is left
    out unless *late_creates*.
    """
    fault = dice.choices([*RATES, ""], [*RATES.values(), 1 - sum(RATES.values())])[0]
    if fault == "request too late" and operation == "PutItem" and not late_creates:
        return "cut before"
    return fault


def refusal(status: int, code: str) -> bytes:
    """A reply that says *code*, as DynamoDB would say it."""
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "so says the proxy"}).encode()
    return (
        f"HTTP/1.1 {status} Refused\r\ncontent-type: application/x-amz-json-1.0\r\n"
        f"x-amz-crc32: {zlib.crc32(body)}\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


PAGE: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 38\r\n\r\n<html><body>Please log in</body></html>"
)


def flipped(dice: random.Random, body: bytes) -> bytes:
    """*body* with a few bits turned."""
    corrupt = bytearray(body)
    for _ in range(dice.randint(1, 3)):
        corrupt[dice.randrange(len(corrupt))] ^= 1 << dice.randrange(7)
    # Two turns of one bit would be none.
    return bytes(corrupt) if corrupt != body else body[:-1] + b"\0"
