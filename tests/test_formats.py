"""Items of every earlier format stay readable: sessions that earlier versions wrote are found, changed, renewed and ended.

Each file of ``formats`` holds what one earlier version put into a table: made by running that version, never by hand.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dynamostore.client import Item
from dynamostore.instants import from_ns
from dynamostore.testing import FakeClock
from session import Session, SessionManager

from .backends import TABLE, Backend

FILES = sorted((Path(__file__).parent / "formats").glob("*.json"))
GRACE = timedelta(seconds=60)


@dataclass
class Written:
    """A table as an earlier version left it, read by this one at the time of the last write."""

    tokens: dict[str, str]
    manager: SessionManager
    later: SessionManager

    def read(self, name: str) -> dict[str, object]:
        with self.manager.session(self.tokens[name]) as s:
            return read(s)


def decoded(item: dict[str, dict[str, str]]) -> Item:
    made: dict[str, Any] = {
        name: {kind: base64.b64decode(text) if kind == "B" else text for kind, text in value.items()}
        for name, value in item.items()
    }
    return made


def read(s: Session) -> dict[str, object]:
    return {
        "string": s.get_string("string"),
        "int": s.get_int("int"),
        "bool": s.get_bool("bool"),
        "float": s.get_float("float"),
        "bytes": s.get_bytes("bytes"),
        "datetime": s.get_time("datetime"),
    }


VALUES: dict[str, object] = {
    "string": "Grüße",
    "int": -7,
    "bool": True,
    "float": 1.5,
    "bytes": b"\x00\xff",
    "datetime": datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC),
}


@pytest.fixture(params=FILES, ids=[file.stem for file in FILES])
def written(request: pytest.FixtureRequest, server: Backend) -> Written:
    table = json.loads(request.param.read_text("utf-8"))
    for item in table["items"]:
        server.client.put_item(TableName=TABLE.name, Item=decoded(item))
    last = from_ns(table["written_ns"]) + timedelta(seconds=1)
    then, later = FakeClock(last), FakeClock(last + 2 * GRACE)
    return Written(
        table["tokens"],
        SessionManager(server.store(then), renewal_grace=GRACE, clock=then),
        SessionManager(server.store(later), renewal_grace=GRACE, clock=later),
    )


def test_every_session_is_read(written: Written) -> None:
    live = [name for name in written.tokens if not name.endswith("_from")]
    assert {"new", "replaced", "renewed"} <= set(live)
    assert [written.read(name) for name in live] == [VALUES] * len(live)


def test_the_token_before_a_renewal_leads_nowhere_or_within_the_grace_to_the_new_session(written: Written) -> None:
    with written.manager.session(written.tokens["renewed_from"]) as s:
        assert not s
    if old := written.tokens.get("renewed_with_grace_from"):
        assert written.read("renewed_with_grace_from") == VALUES
        with written.later.session(old) as s:
            assert not s


def test_a_session_is_changed_renewed_and_ended(written: Written) -> None:
    for name in ("new", "replaced", "renewed"):
        with written.manager.session(written.tokens[name]) as s:
            s.put_int("int", 8)
        with written.manager.session(s.token) as s:
            s.renew_token()
        renewed = s.token
        assert renewed != written.tokens[name]
        with written.manager.session(renewed) as s:
            assert read(s) == {**VALUES, "int": 8}
            s.destroy()
        with written.manager.session(renewed) as s:
            assert not s
