"""The hammer for some seconds, with fewer processes; and its checker, which must see what it is there to see."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from .hammer.checker import Verdict, check, gather
from .hammer.journal import Event, Journal, read

ROOT = Path(__file__).parent.parent
HOT = {"h0": "hot"}
PUT = Event("start", "1", "put", "h0", "hot")
INCREMENT = Event("start", "2", "increment", "h0", "hot")
CREATE = (Event("start", "3", "create", "c3"), Event("mint", "3", token="old"), Event("ok", "3", token="old"))
RENEW = (Event("start", "4", "renew", "c3", "old"), Event("mint", "4", token="new"))
DESTROY = Event("start", "5", "destroy", "c3", "old")
COLD: Mapping[str, object] = {"id": "c3"}
RENEWED: Mapping[str, object] = {"id": "c3", "i:4": 1, "counter": 1}


def test_nothing_is_lost_by_killing_cutting_and_corrupting() -> None:
    command = [sys.executable, "-m", "tests.hammer", "--seconds", "8", "--processes", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    said = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines())
    assert int(said["acknowledged"]) > 50, done.stdout
    assert int(said["workers killed"]) > 1, done.stdout
    assert int(said["server frozen"]) > 0, done.stdout
    assert int(said["server restarted"]) > 0, done.stdout


def verdict(*events: Event, **found: Mapping[str, object]) -> Verdict:
    return check(gather(events), HOT, {"hot": {"id": "h0"}, **found})


@pytest.mark.parametrize("marked", [True, False])
def test_an_unknown_operation_may_be_there_or_not(marked: bool) -> None:
    data = {"id": "h0"} | ({"i:2": 1, "counter": 1} if marked else {})
    for events in ([INCREMENT], [INCREMENT, Event("fail", "2", error="UnavailableError")]):
        assert not verdict(*events, hot=data).violations


@pytest.mark.parametrize(
    ("events", "found", "said"),
    [
        ([PUT, Event("ok", "1")], {}, "h0: put 1 was acknowledged, and is lost"),
        ([INCREMENT], {"hot": {"id": "h0", "i:2": 1, "counter": 2}}, "counter says 2, and 1 increments"),
        ([], {"hot": {"id": "h0", "p:9": "9"}}, "p:9 is there, and nobody put it"),
        ([], {"other": {"id": "x"}}, "a session that nobody made"),
        ([], {"hot": {"id": "c3"}}, "h0 has the data of 'c3'"),
        (CREATE, {}, "c3 is lost"),
        ([*CREATE, *RENEW], {"old": COLD, "new": RENEWED}, "c3 is there under 2 tokens"),
        ([*CREATE, *RENEW, Event("ok", "4", token="new")], {"old": COLD}, "under a token that was renewed by 4"),
        ([*CREATE, DESTROY, Event("ok", "5")], {"old": COLD}, "under a token that was destroyed by 5"),
        ([PUT, Event("gone", "1")], {}, "told that h0 is gone, and nobody ended it"),
        ([PUT, Event("fail", "1", error="KeyError")], {}, "KeyError"),
        (
            [PUT, Event("ok", "1"), Event("start", "6", "remove", "h0", "hot", "1"), Event("ok", "6")],
            {"hot": {"id": "h0", "p:1": "1", "r:6": 1}},
            "p:1 is still there, removed: True",
        ),
        (
            [Event("start", "7", "append", "h0", "hot", "l"), Event("ok", "7")],
            {"hot": {"id": "h0", "a:7": 1, "l": []}},
            "7 was acknowledged, and is not in its list",
        ),
        (
            [Event("start", "7", "append", "h0", "hot", "l")],
            {"hot": {"id": "h0", "a:7": 1, "l": ["7", "7"]}},
            "7 was appended 2 times",
        ),
        (
            [
                Event("start", "7", "spend", "h0"),
                Event("ok", "7"),
                Event("start", "8", "spend", "h0"),
                Event("ok", "8"),
            ],
            {"hot": {"id": "h0", "s:7": "6", "s:8": "6"}},
            "the nonce 6 was spent 2 times",
        ),
        (
            [Event("start", str(n), "try", "h0") for n in range(6)],
            {"hot": {"id": "h0", "tries": 6, **{f"t:{n}": True for n in range(6)}}},
            "6 tries were allowed of 5",
        ),
        ([], {"hot": {"id": "h0", "reset_user": "victim", "reset_ok": True}}, "the victim's password may be reset"),
        (
            [PUT, Event("fail", "1", error="SessionConflict")],
            {"hot": {"id": "h0", "p:1": "1"}},
            "put 1 was refused, and is there",
        ),
    ],
)
def test_a_violation_is_seen(events: list[Event], found: dict[str, Mapping[str, object]], said: str) -> None:
    violations = verdict(*events, **found).violations
    assert any(said in violation for violation in violations), violations


def test_a_session_that_was_renewed_or_ended_is_gone_for_a_reason() -> None:
    events = [*CREATE, DESTROY, Event("start", "8", "increment", "c3", "old"), Event("gone", "8")]
    assert not verdict(*events).violations
    assert not verdict(*events, old=COLD).violations  # whether it was destroyed is not known


def test_the_journal_gives_back_what_was_written(tmp_path: Path) -> None:
    events = [*CREATE, Event("ok", "4", counts={"calls": 2})]
    journal = Journal(tmp_path / "0.journal")
    for event in events:
        journal.write(event)
    assert list(read(tmp_path)) == events
