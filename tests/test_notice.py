"""The browser-like load of ``make bench-notice``, in short: it finds the takeover where nothing is checked."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys

import pytest

from benchmarks.notice.clock import VirtualLoop, in_strand, wait_here
from benchmarks.notice.judging import DEPENDS, DISPLAY, FALSE, judge
from benchmarks.notice.shelf import Shelf
from benchmarks.notice.traces import Answer, Effect, Refusal, Run
from session.changes import Changes
from session.merging import Data

from .mutants import ROOT


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.notice", "--hooks", "none", "--at-once", "1", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_merge_refuses_what_merge_unchecked_lets_through() -> None:
    said = run("--requests", "4500", "--frameworks", "flask", "--levels", "merge", "merge_unchecked", "overwrite")
    takeovers = dict(re.findall(r"^\| `(\w+)` \| no hook \| \d+: (\d+) \|", said, re.MULTILINE))
    assert takeovers["merge"] == "0"
    assert int(takeovers["merge_unchecked"]) > 0
    lost = {
        level: int(of)
        for level, of in re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+) of [\d,]+ \| \d+, \d+ \|", said, re.MULTILINE)
    }
    assert lost["overwrite"] > lost["merge"]
    assert said.endswith("Goals of `merge`: all met\n")


def test_a_seed_makes_a_run_repeatable() -> None:
    one, two = (run("--requests", "600", "--frameworks", "starlette", "--levels", "merge", "--seed", "5") for _ in "12")
    # The first lines say how long it took.
    assert one.partition("\n\n")[2] == two.partition("\n\n")[2]


def made(
    changes: Changes | None,
    base: Data,
    *,
    body: str = "",
    status: int = 303,
    effects: tuple[Effect, ...] = (),
) -> Run:
    return Run(answer=Answer(status, {"body": body}), effects=list(effects), changes=changes, base=base)


FIRST = made(Changes(put={"n": 1}), {"n": 0}, effects=(("paid", "7"),))


@pytest.mark.parametrize(
    ("run", "again", "verdict"),
    [
        (FIRST, made(Changes(put={"n": 1}), {"n": 5}, effects=(("paid", "7"),)), FALSE),
        (FIRST, made(Changes(put={"n": 1}), {"n": 5}, effects=(("paid", "7"),), body="other"), DISPLAY),
        (FIRST, made(Changes(put={"n": 6}), {"n": 5}, effects=(("paid", "7"),)), DEPENDS),
        (FIRST, made(Changes(put={"n": 1}), {"n": 5}), DEPENDS),
        (FIRST, made(Changes(put={"n": 1}), {"n": 5}, effects=(("paid", "7"),), status=403), DEPENDS),
        (FIRST, made(None, {"n": 5}, effects=(("paid", "7"),)), DEPENDS),
        # What is added to a list that is merged is the same, whatever is in it already.
        (
            made(Changes(put={"wishlist": ["a"]}), {}),
            made(Changes(put={"wishlist": ["b", "a"]}), {"wishlist": ["b"]}),
            FALSE,
        ),
        (
            made(Changes(put={"wishlist": ["a"]}), {}),
            made(Changes(put={"wishlist": ["a"]}), {"wishlist": ["b"]}),
            DEPENDS,
        ),
        (
            made(Changes(put={"_messages": '["old", "new"]'}), {"_messages": '["old"]'}),
            made(Changes(put={"_messages": '["new"]'}), {}),
            FALSE,
        ),
        (
            made(Changes(removed=frozenset(["_flashes"])), {"_flashes": [["message", "hello"]]}),
            made(None, {}),
            DEPENDS,
        ),
    ],
)
def test_a_refusal_is_judged_by_what_the_request_would_do_now(run: Run, again: Run, verdict: str) -> None:
    assert judge(Refusal(run, Shelf(lambda: 0), ()), again) == verdict


def test_synchronous_code_waits_in_virtual_time_while_others_go_on() -> None:
    said: list[str] = []

    def work(name: str, seconds: float) -> str:
        said.append(f"{name} begins")
        wait_here(seconds)
        said.append(f"{name} ends")
        return name

    async def main() -> list[str]:
        return [*await asyncio.gather(in_strand(lambda: work("slow", 7200)), in_strand(lambda: work("fast", 3600)))]

    loop = VirtualLoop()
    try:
        assert loop.run_until_complete(main()) == ["slow", "fast"]
        assert loop.time() == pytest.approx(7200)
    finally:
        loop.close()
    assert said == ["slow begins", "fast begins", "fast ends", "slow ends"]
