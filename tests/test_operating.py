"""The costs in docs/operating.md: the units that a server counts for each kind of request, and the dollars for them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest

from dynamostore import DynamoStore
from dynamostore.testing import FakeClock
from session import SessionManager

from .backends import TABLE, Backends, make_client
from .distribution import ROOT

PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")
ROWS = {
    row: (Decimal(reads), Decimal(writes), Decimal(dollars))
    for row, reads, writes, dollars in re.findall(
        r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE
    )
}
CENT = Decimal("0.01")


class Site:
    """A store on a server that counts units, with a guest's session."""

    def __init__(self, backends: Backends, clock: FakeClock) -> None:
        self.reads = self.writes = Decimal(0)
        client = make_client(backends.server("ministack").url)
        client.meta.events.register("provide-client-params.dynamodb", self._ask)
        client.meta.events.register("after-call.dynamodb", self._count)
        self.clock = clock
        self.store = DynamoStore(client, TABLE, clock=clock)
        self.manager = SessionManager(self.store, idle_timeout=timedelta(hours=1), clock=clock)
        with self.manager.session(None) as s:
            s.put_string("cart", "x" * 700)
        self.token = s.token
        self.reads = self.writes = Decimal(0)

    def _ask(self, params: dict[str, object], **_: object) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"

    def _count(self, model: object, parsed: Mapping[str, object], **_: object) -> None:
        found = parsed.get("ConsumedCapacity")
        for consumed in found if isinstance(found, list) else [found]:
            assert isinstance(consumed, Mapping)
            units = Decimal(str(consumed["CapacityUnits"]))
            if getattr(model, "name", "") == "GetItem":
                self.reads += units
            else:
                self.writes += units

    def ignore(self) -> None:
        with self.manager.session(self.token):
            pass

    def read(self) -> None:
        with self.manager.session(self.token) as s:
            s.get_string("cart")

    def change(self) -> None:
        with self.manager.session(self.token) as s:
            s.put_int("n", 1)

    def touch(self) -> None:
        self.clock.advance(timedelta(minutes=10))
        self.read()

    def begin(self) -> None:
        with self.manager.session(None) as s:
            s.renew_token()
            s.put_int("user_id", 7)

    def log_in(self) -> None:
        with self.manager.session(self.token) as s:
            s.renew_token()
            s.put_int("user_id", 7)

    def log_out(self) -> None:
        with self.manager.session(self.token) as s:
            s.destroy()

    def ping(self) -> None:
        self.store.ping()


KINDS: dict[str, Callable[[Site], None]] = {
    "does not access its session": Site.ignore,
    "reads it": Site.read,
    "changes it": Site.change,
    "reads it, and moves its expiry (a touch)": Site.touch,
    "begins a session, for example at a first login": Site.begin,
    "logs in with an earlier session, and renews its token": Site.log_in,
    "logs out": Site.log_out,
    "calls `store.ping()`": Site.ping,
}


def test_the_page_has_a_row_for_each_kind_of_request() -> None:
    assert ROWS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_request_costs(kind: str, backends: Backends, clock: FakeClock) -> None:
    site = Site(backends, clock)
    KINDS[kind](site)
    reads, writes, dollars = ROWS[kind]
    assert (site.reads, site.writes) == (reads, writes)
    prices = re.findall(r"\$([\d.]+) for a\s+million", PAGE)
    read_price, write_price = map(Decimal, prices)
    assert dollars == (reads * read_price + writes * write_price).quantize(CENT, ROUND_HALF_UP)


def test_the_filter_keeps_all_messages_and_few_tracebacks() -> None:
    code = re.search(r"```python\n(import logging.*?)```", PAGE, re.DOTALL)
    assert code
    names: dict[str, type[logging.Filter]] = {}
    exec(code[1], names)
    few, error = names["FewTracebacks"](), ValueError()
    given = [(ValueError, error, None), (ValueError, error, None), None]
    records = [logging.LogRecord("session.web", logging.ERROR, "", 0, "x", (), info) for info in given]
    assert [few.filter(record) for record in records] == [True] * 3
    assert [bool(record.exc_info) for record in records] == [True, False, False]


def test_the_example_of_a_site_adds_up() -> None:
    rows = re.findall(r"^\| ([\d,]+) \| (.+?) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    read_price, write_price = map(Decimal, re.findall(r"\$([\d.]+) for a\s+million", PAGE))
    total, requests = Decimal(0), 0
    for number, kind, dollars in rows[:-1]:
        reads, writes, _ = ROWS[kind]
        millions = Decimal(number.replace(",", "")) / 1_000_000
        cost = millions * (reads * read_price + writes * write_price)
        assert Decimal(dollars) == cost.quantize(CENT, ROUND_HALF_UP), kind
        total, requests = total + cost, requests + int(number.replace(",", ""))
    number, kind, dollars = rows[-1]
    assert (kind, len(rows)) == ("in all", 5)
    assert (int(number.replace(",", "")), Decimal(dollars)) == (requests, total.quantize(CENT, ROUND_HALF_UP))
