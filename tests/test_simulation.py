"""The deterministic simulation, for some seconds of it; and that it would find what it is to find.

``make simulate`` explores much more. A failure prints the shortest run that shows it, and how to replay it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import pytest

from dynamostore import Record, Table
from dynamostore.client import Item
from session import JSONValue, Merge
from session.changes import Changes

from .simulation.__main__ import explain, summary
from .simulation.choices import Replay
from .simulation.drivers import DRIVERS, DriverName
from .simulation.explore import Failure, Report, explore, replay
from .simulation.scheduler import Options

SECONDS = 4.0


def check(report: Report, options: Options = Options()) -> None:  # noqa: B008 (frozen, so one for all is right)
    print(summary(report))
    assert report.failure is None, explain(report.failure, options)


def test_nothing_is_lost_and_nothing_resurrected() -> None:
    report = explore(steps=1_000_000, seconds=SECONDS)
    check(report)
    happened = {"conflicts", "merges", "stale", "atomic steps", "renewals", "destroys", "deaths", "sweeps", "histories"}
    assert happened <= report.counts.keys()
    assert not report.counts["histories that are too large"]
    assert report.counts["retries recognised as success"] > 0


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_nor_on_the_drivers_themselves(driver: DriverName) -> None:
    options = Options(driver=driver)
    check(explore(steps=1_000_000, seed=1, seconds=SECONDS / 2, options=options), options)


def test_a_run_is_the_same_on_every_driver() -> None:
    for run in range(90):
        traces = {str(replay(11, run, Options(driver=driver))[0]) for driver in DRIVERS}
        assert len(traces) == 1


def test_nor_where_a_renewal_takes_two_steps() -> None:
    options = Options(transactions=False)
    report = explore(steps=1_000_000, seed=2, seconds=SECONDS / 4, options=options)
    check(report, options)
    assert report.counts["renewals"] > 0


def test_beside_scs_for_go_less_is_promised_but_that_is_kept() -> None:
    options = Options(scs=True)
    check(explore(steps=1_000_000, seconds=SECONDS / 3, options=options), options)


def test_a_run_has_a_number_and_is_the_same_again() -> None:
    traces = [replay(7, run) for run in range(30)]
    assert all(violation is None for _, violation in traces)
    assert [str(trace) for trace, _ in traces] == [str(replay(7, run)[0]) for run in range(30)]
    assert len({str(trace) for trace, _ in traces}) == 30


@pytest.mark.parametrize(
    ("seed", "run", "options"),
    [
        pytest.param(242, 1071, Options(), id="a save without changes between a lost step and a commit"),
        pytest.param(52, 1167, Options(transactions=False), id="an old read of what a renewal had taken back"),
        pytest.param(62, 2145, Options(scs=True), id="SCS overwrites a write whose reply was lost"),
    ],
)
def test_a_false_alarm_of_before_is_none(seed: int, run: int, options: Options) -> None:
    _, violation = replay(seed, run, options)
    assert violation is None


def found(options: Options = Options()) -> Failure:  # noqa: B008 (frozen, so one for all is right)
    """What the simulation finds; it must find something (with this seed it does soon)."""
    failure = explore(steps=400_000, seed=10, options=options).failure
    assert failure is not None, "nothing was found"
    return failure


# The promises about what is stored; which of them breaks first is chance.
STORED = {"overwritten", "renamed", "acknowledged"}

# Guards turned off, one by one: (what is patched, what with, the promises that break without it).
GUARDS = {
    "a replace does not ask what version is there": (
        "dynamostore.plans.expressions.SAME",
        "attribute_exists(#version)",
        STORED,
    ),
    "an expiry may move backwards": (
        "dynamostore.plans.verbs.NOT_SHORTENED",
        "attribute_exists(#token)",
        {"overwritten"},
    ),
    "only the last version is remembered": ("dynamostore.items.bears", None, STORED),
    "a destroy does not follow a renewal": (
        "dynamostore.plans.verbs.UNMOVED",
        "attribute_not_exists(#owner)",
        {"removed"},
    ),
    "a change that was made on older data is forgotten": ("session.plans.meeting.merged", None, STORED),
    "what was read is not compared": ("session.plans.meeting.stale_keys", None, {"explained", "created"}),
    "a renewal takes back a touch": ("dynamostore.plans.expressions.not_shortened", None, STORED),
}


def last_only(table: Table, item: Item, version: int) -> bool:
    """`items.bears`, as it was before items remembered more than their last version."""
    last = item.get(table.version)
    return last is not None and last.get("N") == str(version)


def only_theirs(
    changes: Changes | None,
    base: Mapping[str, JSONValue],
    theirs: Mapping[str, JSONValue],
    mergeable: Mapping[str, Merge],
) -> dict[str, JSONValue]:
    """`merging.merged`, if it forgot the changes."""
    return dict(theirs)


def nothing_is_stale(*arguments: object, **more: object) -> list[str]:
    """`merging.stale_keys`, if no read counted."""
    return []


def whatever_the_expiry(record: Record, new: Record) -> str:
    """`expressions.not_shortened`, if it asked nothing."""
    return "attribute_exists(#token)"


INSTEAD = {
    "dynamostore.items.bears": last_only,
    "session.plans.meeting.merged": only_theirs,
    "session.plans.meeting.stale_keys": nothing_is_stale,
    "dynamostore.plans.expressions.not_shortened": whatever_the_expiry,
}


@pytest.mark.parametrize("guard", GUARDS)
def test_sabotage_is_found(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, replacement, promises = GUARDS[guard]
    monkeypatch.setattr(target, replacement or INSTEAD[target])
    failure = found()
    assert failure.promise in promises
    # And its number finds it again.
    _, violation = replay(failure.seed, failure.run)
    assert violation is not None
    assert violation.promise == failure.promise


@pytest.mark.parametrize("level", ["merge", "serialize"])
def test_a_run_draws_its_level_or_has_one(level: Literal["merge", "serialize"]) -> None:
    options = Options(level=level)
    check(explore(steps=5_000, seed=4, options=options), options)
    assert f"on_conflict {level}" in str(replay(4, 0, options)[0])


def test_without_the_checks_the_takeover_is_found_and_shrunk() -> None:
    report = explore(steps=20_000, seed=0, options=Options(level="merge_unchecked"))
    failure = report.failure
    assert failure is not None
    assert failure.promise == "explained"
    # Two requests that each decide on a key what becomes of the other's; and no more.
    assert len(failure.trace.splitlines()) <= 30
    assert failure.trace.count("starts on") == 2
    decided = re.findall(r"  r\d+ +(\w+) is .*, so put (\w+)=", failure.trace)
    assert len(decided) == 2
    (read, written), (other_read, other_written) = decided
    assert (read, written) == (other_written, other_read)


def test_overwriting_is_found_too() -> None:
    failure = explore(steps=20_000, seed=0, options=Options(level="overwrite")).failure
    assert failure is not None
    assert failure.promise == "overwritten"


def test_a_create_that_arrives_late_and_twice_is_a_known_limit() -> None:
    failure = found(options=Options(late_creates=True))
    assert failure.promise == "created"


def test_a_failure_is_shrunk_to_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamostore.plans.expressions.SAME", "attribute_exists(#version)")
    failure = found()
    whole, _ = replay(failure.seed, failure.run)
    assert len(failure.trace.splitlines()) <= len(whole.lines)
    # Two requests that read, and then write, one after the other; and no more.
    assert failure.trace.count("starts on") <= 3
    assert failure.trace.count(" update ") + failure.trace.count(" transaction ") <= 3
    assert f"--replay {failure.replay}" in explain(failure, Options())


def test_a_list_of_choices_that_is_at_its_end_goes_on_with_the_plainest() -> None:
    choices = Replay([3, 9])
    assert [choices.draw(5), choices.draw(5), choices.draw(5)] == [3, 4, 0]
