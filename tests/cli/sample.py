"""Made-up sessions, the same in every run but for the time."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta


def hashed(token: str) -> str:
    """The key in the table of a client's token."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


def records(number: int) -> Iterator[tuple[str, bytes, datetime]]:
    """So many records, for `Batch.save_many`; of token 0, token 1, ..."""
    chance, now = random.Random(1), datetime.now(UTC)
    for n in range(number):
        hours = timedelta(hours=chance.lognormvariate(2.5, 1.6))
        expiry = now + hours if chance.random() < 0.62 else now - hours / 2
        data = {"data": {"user_id": n, "cart": "x" * int(chance.lognormvariate(5, 1.3))}, "deadline": 1}
        yield hashed(f"token {n}"), json.dumps(data).encode(), expiry
