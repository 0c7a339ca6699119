"""The handlers of docs/guides/security-decisions.md, taken out of the page: the right ways hold when requests meet, the wrong ways do not.

Two requests are run in every order of their calls (`explore`), and many in threads, on a store in memory and on a server.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from dynamostore import MemoryStore
from session import JSONValue, OnConflict, SessionManager

from .backends import Backends
from .meeting import ATTACKER, CONFLICT, PASSWORDS, VICTIM, App, Handler, MeetingStore, Request, World, explore

Page: TypeAlias = dict[str, Any]
Crowd: TypeAlias = Callable[[dict[str, JSONValue], Request], World]

PAGE = Path(__file__).parent.parent / "docs" / "guides" / "security-decisions.md"
THREADS = 8
ROUNDS = 3

CHECKED: list[OnConflict] = ["merge", "serialize", "raise"]
UNCHECKED: list[OnConflict] = ["merge_unchecked", "report"]

every_level = pytest.mark.parametrize("level", [*CHECKED, *UNCHECKED])


@pytest.fixture(scope="module")
def page(on_a_local_dynamodb: None) -> Page:
    """The names that the page defines."""
    text = PAGE.read_text(encoding="utf-8")
    names: Page = {"__name__": __name__}
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        # A traceback names the line of the page.
        lines_before = "\n" * text[: block.start(1)].count("\n")
        exec(compile(lines_before + block[1], PAGE, "exec"), names)
    return names


@pytest.fixture(params=["memory", "ministack"])
def crowd(request: pytest.FixtureRequest, backends: Backends) -> Callable[[dict[str, JSONValue], Request], World]:
    """Run one request in many threads, all of which have read the session before one of them stores something."""
    store = backends.store(request.param, time.time_ns)

    def run(data: dict[str, JSONValue], ask: Request) -> World:
        world = World(store, MeetingStore(store, THREADS), "merge", data)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(ask, [world] * THREADS))
        return world

    return run


def transfer(handler: Handler, sent: str = "x") -> Request:
    return lambda world: world.answer(handler, world, sent)


@every_level
def test_a_nonce_is_spent_once(page: Page, level: OnConflict) -> None:
    request = transfer(page["confirm_transfer"])
    for world in explore(level, {"nonce": "x"}, request, request):
        assert world.transfers == 1
        assert sorted(world.statuses) == [200, 403]
        assert "nonce" not in world.data()


def test_a_nonce_is_spent_once_in_a_crowd(page: Page, crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        world = crowd({"nonce": "x"}, transfer(page["confirm_transfer"]))
        assert world.transfers == 1
        assert world.statuses.count(200) == 1


@pytest.mark.parametrize("level", CHECKED)
def test_the_wrong_way_spends_it_twice(page: Page, level: OnConflict) -> None:
    request = transfer(page["confirm_transfer_wrong"])
    worlds = list(explore(level, {"nonce": "x"}, request, request))
    assert any(world.transfers == 2 and CONFLICT in world.statuses for world in worlds)


def test_an_empty_nonce_is_never_right(page: Page) -> None:
    for name, status in (("confirm_transfer", 403), ("confirm_transfer_wrong", 200)):
        (world,) = explore("merge", {}, transfer(page[name], ""))
        assert world.statuses == [status]


def guess(handler: Handler, sent: str = "000000") -> Request:
    return lambda world: world.answer(handler, sent)


def checked(world: World) -> int:
    """The codes that were checked."""
    return world.statuses.count(200) + world.statuses.count(403)


@every_level
def test_a_limit_is_never_exceeded(page: Page, level: OnConflict) -> None:
    for right in ("000000", "123456"):
        wrong_guess, last = guess(page["check_code"]), guess(page["check_code"], right)
        for world in explore(level, {"code": "123456", "tries": 4}, wrong_guess, last):
            assert checked(world) == 1
            assert world.statuses.count(429) == 1
            assert world.data()["tries"] == 5
            assert world.data().get("code_ok") == (True if 200 in world.statuses else None)


def test_a_limit_is_never_exceeded_in_a_crowd(page: Page, crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        world = crowd({"code": "123456"}, guess(page["check_code"]))
        assert checked(world) == 5
        assert world.statuses.count(429) == THREADS - 5


def test_the_wrong_way_checks_more_codes(page: Page, crowd: Crowd) -> None:
    world = crowd({"code": "123456"}, guess(page["check_code_wrong"]))
    assert checked(world) == THREADS
    assert world.data()["tries"] == 1


@every_level
@pytest.mark.parametrize("log_in", ["log_in", "log_in_wrong"])
def test_a_step_up_is_not_carried_over_to_another_user(page: Page, level: OnConflict, log_in: str) -> None:
    deleted = set()
    for world in explore(
        level,
        {"user_id": ATTACKER},
        lambda world: world.answer(page["confirm_password"], world, "a"),
        lambda world: world.answer(page[log_in], VICTIM),
    ):
        world.afterwards(page["delete_account"], world)
        assert VICTIM not in world.deleted
        deleted |= set(world.deleted)
    # Else nothing was tested.
    assert deleted == {ATTACKER}


def test_the_wrong_way_carries_it_over(page: Page) -> None:
    worlds = list(
        explore(
            "merge",
            {"user_id": ATTACKER},
            lambda world: world.answer(page["confirm_password_wrong"], world, "a"),
            lambda world: world.answer(page["log_in_wrong"], VICTIM),
        )
    )
    for world in worlds:
        world.afterwards(page["delete_account_wrong"], world)
    assert any(VICTIM in world.deleted for world in worlds)


def test_a_step_up_ends(page: Page) -> None:
    over = page["StepUp"](ATTACKER, datetime.now(UTC) - timedelta(seconds=1))
    with SessionManager(MemoryStore()).session(None) as s:
        s.put_int("user_id", ATTACKER)
        s.put_object("step_up", over)
        assert page["delete_account"](s, None) == 401


def takeovers(page: Page, level: OnConflict, suffix: str) -> tuple[int, int]:
    """Return how often the attacker's own password and the victim's were set, by an attacker who has his own code only."""
    app = App()
    with SessionManager(MemoryStore()).session(None) as s:
        page[f"begin_reset{suffix}"](s, app, ATTACKER)

    def reset(world: World) -> None:
        world.answer(page[f"check_reset_code{suffix}"], app.mailed[ATTACKER])
        world.answer(page[f"finish_reset{suffix}"], world, "pwned")

    own = victims = 0
    for world in explore(
        level, dict(s), reset, lambda world: world.answer(page[f"begin_reset{suffix}"], world, VICTIM)
    ):
        world.afterwards(page[f"finish_reset{suffix}"], world, "pwned")
        own += world.passwords[ATTACKER] == "pwned"
        victims += world.passwords[VICTIM] == "pwned"
    return own, victims


@every_level
def test_no_takeover(page: Page, level: OnConflict) -> None:
    own, victims = takeovers(page, level, "")
    assert victims == 0
    # In some order his own reset goes through; else nothing was tested.
    assert own


@pytest.mark.parametrize("level", CHECKED)
def test_the_levels_that_check_refuse_the_wrong_way(page: Page, level: OnConflict) -> None:
    assert takeovers(page, level, "_wrong")[1] == 0


@pytest.mark.parametrize("level", UNCHECKED)
def test_the_wrong_way_is_a_takeover_where_nothing_is_checked(page: Page, level: OnConflict) -> None:
    assert takeovers(page, level, "_wrong")[1] > 0


def begun_reset() -> dict[str, JSONValue]:
    return {"reset": {"user_id": VICTIM, "code": "123456", "tries": 0, "proved": False}}


def test_the_tries_of_a_reset_are_counted_in_a_crowd(page: Page, crowd: Crowd) -> None:
    world = crowd(begun_reset(), guess(page["check_reset_code"]))
    assert checked(world) == 5
    assert world.statuses.count(429) == THREADS - 5


def test_a_reset_is_finished_once_in_a_crowd(page: Page, crowd: Crowd) -> None:
    proved: JSONValue = {"user_id": VICTIM, "code": "123456", "tries": 1, "proved": True}
    world = crowd({"reset": proved}, lambda world: world.answer(page["finish_reset"], world, "new"))
    assert sorted(world.statuses) == [200, *[403] * (THREADS - 1)]
    assert world.passwords == {**PASSWORDS, VICTIM: "new"}


def come_back(handler: Handler) -> Request:
    return lambda world: world.answer(handler, world, "p1")


PAID: dict[str, JSONValue] = {"user_id": ATTACKER, "payment:p1": 500, "payment:p2": 900}


@every_level
def test_a_payment_is_credited_once(page: Page, level: OnConflict) -> None:
    request = come_back(page["payment_return"])
    for world in explore(level, PAID, request, request):
        assert world.credits == [("p1", ATTACKER, 500)]
        assert world.statuses == [200, 200]
        assert "payment:p2" in world.data()


def test_a_payment_is_credited_once_in_a_crowd(page: Page, crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        assert crowd(PAID, come_back(page["payment_return"])).credits == [("p1", ATTACKER, 500)]


def test_the_wrong_way_credits_it_twice(page: Page) -> None:
    request = come_back(page["payment_return_wrong"])
    worlds = list(explore("merge", PAID, request, request))
    assert any(len(world.credits) == 2 and CONFLICT in world.statuses for world in worlds)


def test_a_payment_is_credited_to_the_user_whose_session_has_it(page: Page) -> None:
    for world in explore(
        "merge",
        PAID,
        come_back(page["payment_return"]),
        lambda world: world.answer(page["log_in"], VICTIM),
    ):
        assert world.credits in ([], [("p1", ATTACKER, 500)])


def test_two_payments_that_begin_at_once_are_both_kept(page: Page) -> None:
    requests: list[Request] = [
        lambda world, name=name: world.answer(page["begin_payment"], name, 1)  # type: ignore[misc]  # a lambda with a default
        for name in ("p3", "p4")
    ]
    for world in explore("merge", PAID, *requests):
        assert {"payment:p3", "payment:p4"} <= world.data().keys()


def test_the_ledger_takes_a_payment_once(page: Page) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(page["CREDITS"])
        for _ in range(2):
            page["credit"](db, "p1", ATTACKER, 500)
        assert db.execute("select * from credits").fetchall() == [("p1", ATTACKER, 500)]


def test_a_planted_cookie_is_not_ours_and_a_logout_ends_all(page: Page) -> None:
    site: SessionManager = page["site"]
    tokens = []
    for user in ("mallory", "ada"):
        with site.session(None) as s:
            s.put_string("user", user)
        tokens.append(s.token)
    attackers, ours = tokens
    for header in (f"\xa0__Host-session={attackers}", f"a=b; \x85__Host-session={attackers}"):
        assert page["token_wrong"](header) == attackers
        assert page["token"](header) is None
    both = f"__Host-session={'A' * 43}; __Host-session={ours}; __Host-session={attackers}"
    for user, do in (("ada", page["log_out"]), ("", lambda _: None)):
        with site.session(page["token"](both)) as s:
            assert s.get_string("user") == user
            do(s)


def orders(crowd: Crowd, handler: Handler, path: Path) -> tuple[World, int]:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("create table orders (cart text)")

    def order(world: World) -> None:
        with closing(sqlite3.connect(path, timeout=60)) as db:
            world.answer(handler, db)

    world = crowd({"cart": ["apple"]}, order)
    with closing(sqlite3.connect(path)) as db:
        return world, db.execute("select count(*) from orders").fetchone()[0]


def test_a_stale_order_is_rolled_back(page: Page, crowd: Crowd, tmp_path: Path) -> None:
    world, placed = orders(crowd, page["place_order"], tmp_path / "orders.db")
    assert placed == 1
    assert sorted(world.statuses) == [303, *[CONFLICT] * (THREADS - 1)]
    assert "cart" not in world.data()


def test_the_wrong_way_keeps_the_orders_of_requests_that_were_refused(page: Page, crowd: Crowd, tmp_path: Path) -> None:
    world, placed = orders(crowd, page["place_order_wrong"], tmp_path / "orders.db")
    assert placed == THREADS
    assert world.statuses.count(CONFLICT) == THREADS - 1
