"""`tests.peers`: the pins and the record make sense, and the judge says what it should. Nothing is downloaded."""

from __future__ import annotations

import fcntl
import sys
import time
from pathlib import Path
from typing import TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .peers import report
from .peers.commands import CommandError, run_command
from .peers.judging import Outcome, judge, read_outcomes
from .peers.pins import FOLDER, Pin, read_pins
from .peers.reasons import Reason, read_reasons, update_reasons, write_reasons
from .peers.suites import SUITES, read_titles

PASSED, FAILED, SKIPPED = Outcome("passed"), Outcome("failed", "it broke"), Outcome("skipped")


def try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class TestPins:
    def test_each_suite_has_one_and_each_one_a_suite(self) -> None:
        assert read_pins().keys() == {suite.pin for suite in SUITES.values()}

    @pytest.mark.parametrize("name", sorted({suite.pin for suite in SUITES.values()}))
    def test_what_its_tests_need_is_pinned(self, name: str) -> None:
        lines = (FOLDER / "locks" / f"{name}.txt").read_text().splitlines()
        assert all("==" in line for line in lines if not line.startswith("#"))

    @pytest.mark.parametrize(
        "change",
        [
            {"sha256": "0" * 63},
            {"sha256": "G" * 64},
            {"sha256": ""},
            {"version": "latest"},
            {"version": "6.0.1"},
            {"series": "5.2"},
            {"series": ""},
            {"python": "three"},
            {"minutes": 0},
            {"minutes": 600},
        ],
    )
    def test_an_entry_that_makes_no_sense_is_refused(self, change: dict[str, str]) -> None:
        good = {"version": "5.2.1", "series": "5.2.*", "sha256": "0" * 64, "python": "3.11", "minutes": 1.0}
        Pin(title="x", project="x", requires=[], **good)  # type: ignore[arg-type]  # a dict of several types
        with pytest.raises(ValueError, match="x: "):
            Pin(title="x", project="x", requires=[], **good | change)  # type: ignore[arg-type]  # the same


class TestRecord:
    def test_the_record_can_be_read_and_each_reason_is_given(self) -> None:
        for reason in read_reasons():
            assert reason.why.strip()
            assert reason.tests.keys() <= SUITES.keys()
            assert all(reason.tests.values())

    def test_the_page_has_each_reason(self) -> None:
        page = report.PAGE.read_text("utf-8")
        assert report.render_reasons(read_titles(read_pins()), read_reasons()) in page

    def test_the_page_has_each_suite_at_the_pinned_version(self) -> None:
        page = report.PAGE.read_text("utf-8")
        pins = read_pins()
        for name, title in read_titles(pins).items():
            assert f"\n| {title} | {pins[SUITES[name].pin].version} | " in page

    def test_two_reasons_for_one_test_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "reasons.toml"
        write_reasons([Reason("a", {"flask": ["t"]}), Reason("b", {"flask": ["t"]})], path)
        with pytest.raises(ValueError, match="t has two reasons in flask"):
            read_reasons(path)

    @given(
        st.lists(
            st.builds(
                Reason,
                st.text(st.characters(exclude_categories=["Cs"])),
                st.dictionaries(st.sampled_from(list(SUITES)), st.just([]), min_size=1, max_size=3),
            )
        )
    )
    def test_what_is_written_is_read_again(
        self, tmp_path_factory: pytest.TempPathFactory, reasons: list[Reason]
    ) -> None:
        # Each test once in a suite.
        named = [
            Reason(reason.why, {suite: [f"{number} [\x7f\"é']"] for suite in reason.tests})
            for number, reason in enumerate(reasons)
        ]
        path = tmp_path_factory.getbasetemp() / "reasons.toml"
        write_reasons(named, path)
        assert read_reasons(path) == named


class TestJudge:
    def test_a_failure_with_a_reason_holds(self) -> None:
        reason = Reason("so", {"flask": ["b"]})
        verdict = judge("flask", {"a": PASSED, "b": FAILED, "c": SKIPPED}, [reason])
        assert verdict.holds
        assert (verdict.run, verdict.passed, verdict.failed, verdict.skipped) == (2, 1, 1, 1)
        assert verdict.explained == {"b": reason}

    @pytest.mark.parametrize(
        "reasons",
        [[], [Reason("so", {"starlette": ["b"]})], [Reason("so", {"flask": ["B"]})], [Reason(" ", {"flask": ["b"]})]],
    )
    def test_a_failure_without_one_does_not(self, reasons: list[Reason]) -> None:
        verdict = judge("flask", {"a": PASSED, "b": FAILED}, reasons)
        assert not verdict.holds
        assert verdict.unexplained == {"b": "it broke"}

    def test_a_reason_whose_test_passes_does_not(self) -> None:
        verdict = judge("flask", {"a": PASSED}, [Reason("so", {"flask": ["a"]})])
        assert not verdict.holds
        assert verdict.outdated == ["a"]

    @pytest.mark.parametrize("outcomes", [{"a": PASSED}, {"a": PASSED, "b": SKIPPED}])
    def test_a_reason_whose_test_did_not_run_does_not(self, outcomes: dict[str, Outcome]) -> None:
        verdict = judge("flask", outcomes, [Reason("so", {"flask": ["b"]})])
        assert not verdict.holds
        assert verdict.missing == ["b"]

    @pytest.mark.parametrize("outcomes", [{}, {"a": SKIPPED}])
    def test_nothing_run_does_not(self, outcomes: dict[str, Outcome]) -> None:
        assert not judge("flask", outcomes, []).holds

    @given(
        st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([PASSED, FAILED, SKIPPED])),
        st.sets(st.sampled_from("abcdef")),
    )
    def test_after_an_update_it_holds_once_the_reasons_are_written(
        self, outcomes: dict[str, Outcome], recorded: set[str]
    ) -> None:
        reasons = [Reason("so", {"flask": sorted(recorded), "starlette": ["a"]})] if recorded else []
        verdict = judge("flask", outcomes, reasons)
        updated = update_reasons(
            reasons, "flask", outdated=[*verdict.outdated, *verdict.missing], unexplained=verdict.unexplained
        )
        # What has no reason yet fails until it has one; the update says the same again.
        again = judge("flask", outcomes, updated)
        assert again.unexplained == verdict.unexplained
        assert not again.outdated
        assert not again.missing
        assert update_reasons(updated, "flask", outdated=[], unexplained=again.unexplained) == updated
        written = [Reason(reason.why or "because", reason.tests) for reason in updated]
        assert judge("flask", outcomes, written).holds is bool(verdict.run)
        # The record of another suite is left alone.
        assert judge("starlette", {"a": FAILED}, written).holds is bool(recorded)


class TestOutcomes:
    def test_of_several_outcomes_of_one_test_the_worst_counts(self, tmp_path: Path) -> None:
        path = tmp_path / "outcomes.jsonl"
        lines = [("a", "passed"), ("a", "failed"), ("b", "failed"), ("b", "passed"), ("c", "skipped"), ("c", "passed")]
        path.write_text("".join(f'{{"test":"{test}","outcome":"{outcome}"}}\n' for test, outcome in lines))
        found = {test: outcome.result for test, outcome in read_outcomes(path).items()}
        assert found == {"a": "failed", "b": "failed", "c": "passed"}

    def test_half_a_line_at_the_end_is_left_out(self, tmp_path: Path) -> None:
        path = tmp_path / "outcomes.jsonl"
        path.write_text('{"test":"a","outcome":"passed"}\n{"test":"b","outc')
        assert read_outcomes(path) == {"a": PASSED}

    def test_a_suite_that_wrote_nothing_has_none(self, tmp_path: Path) -> None:
        assert read_outcomes(tmp_path / "outcomes.jsonl") == {}


class TestCommands:
    def test_a_command_is_stopped_with_all_that_it_has_started_at_its_limit(self, tmp_path: Path) -> None:
        lock = tmp_path / "lock"
        child = (
            f"import fcntl, time; file = open({str(lock)!r}, 'w'); fcntl.flock(file, fcntl.LOCK_EX); time.sleep(600)"
        )
        program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
        assert run_command([sys.executable, "-c", program], seconds=1, must_succeed=False) is None
        with lock.open("w") as file:
            # The child's lock ends with it; it was told to end, and may take a moment.
            deadline = time.monotonic() + 10
            while not try_lock(file) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert try_lock(file)

    def test_one_that_fails_says_what_it_said(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match=r"ended with status 3\nno such thing"):
            run_command(
                [sys.executable, "-c", "print('no such thing'); raise SystemExit(3)"], seconds=30, log=tmp_path / "log"
            )


class TestReport:
    @pytest.mark.parametrize(
        ("outcomes", "reasons", "said"),
        [
            ({"t": FAILED}, [], "FAILED, AND NO REASON IS ON RECORD: t\n    it broke"),
            ({"t": PASSED}, [Reason("so", {"flask": ["t"]})], "PASSES, BUT A REASON TO FAIL IS ON RECORD: t"),
            ({"u": PASSED}, [Reason("so", {"flask": ["t"]})], "DID NOT RUN, BUT A REASON TO FAIL IS ON RECORD: t"),
            ({"t": FAILED}, [Reason("so", {"flask": ["t"]})], "- so\n\n  Flask: `t`"),
        ],
    )
    def test_it_says_what_is_not_as_recorded(
        self, outcomes: dict[str, Outcome], reasons: list[Reason], said: str
    ) -> None:
        verdict = judge("flask", outcomes, reasons)
        assert said in report.render([report.Report("flask", "Flask", "3.1.3", 1.0, verdict)])

    def test_a_suite_that_was_stopped_does_not_hold(self) -> None:
        verdict = judge("flask", {"t": PASSED}, [])
        stopped = report.Report("flask", "Flask", "3.1.3", 1.0, verdict, "it was stopped after 5 minutes")
        assert not stopped.holds
        assert "DID NOT RUN TO ITS END: it was stopped" in report.render([stopped])

    def test_the_page_keeps_the_rows_of_suites_that_were_not_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = tmp_path / "peers.md"
        head = "| suite | version | run | passed | failed, with a reason | failed, without | skipped | date |"
        old = "| Django 6 | 6.0.1 | 9 | 8 | 1 | 0 | 0 | 2025-01-01 |"
        page.write_text(f"a\n<!-- table -->\n{head}\n{old}\n<!-- table -->\nb\n<!-- reasons -->\n<!-- reasons -->\nc\n")
        monkeypatch.setattr(report, "PAGE", page)
        titles = {"flask": "Flask", "django-6": "Django 6"}
        verdict = judge("flask", {"t": PASSED}, [])
        runs = [
            report.Report("flask", "Flask", "3.1.3", 1.0, verdict),
            report.Report("django-6", "Django 6", "6.1.3", 1.0, verdict, "it was stopped"),
        ]
        report.write_page(runs, titles, [Reason("so", {"flask": ["f.py::t[1]", "f.py::t[2]"], "django-6": ["m.C.t"]})])
        lines = page.read_text().splitlines()
        flask = next(line for line in lines if line.startswith("| Flask | 3.1.3 | 1 | 1 | 0 | 0 | 0 | "))
        assert lines.index(flask) + 1 == lines.index(old)
        assert lines[lines.index("- so") :][:3] == ["- so", "", "  Flask; Django 6: `t`"]
