"""Print the results of a run, and fill docs/background/peers.md with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from .judging import Verdict
from .pins import FOLDER
from .reasons import Reason

__all__ = ["PAGE", "Report", "render", "render_reasons", "render_table", "write_page"]

PAGE: Final = FOLDER.parents[1] / "docs" / "background" / "peers.md"


@dataclass(frozen=True)
class Report:
    """One suite's run. *problem* says why it did not finish, if it did not."""

    name: str
    title: str
    version: str
    seconds: float
    verdict: Verdict
    problem: str | None = None

    @property
    def holds(self) -> bool:
        """True if the suite ran to its end and failed as recorded."""
        return self.problem is None and self.verdict.holds

    @property
    def summary(self) -> str:
        """A line with the counts and any problem."""
        counts = f"{self.verdict.passed:,} of {self.verdict.run:,} passed"
        news = "" if self.holds else ", NOT as recorded" if self.problem is None else f": {self.problem}"
        return f"{self.title} ({self.version}): {counts} in {self.seconds:.0f} s{news}"


def render(reports: list[Report]) -> str:
    """Return the text to print: the table, the reasons that applied, and the differences from the record."""
    titles = {report.name: report.title for report in reports}
    applied: dict[str, Reason] = {}
    for report in reports:
        for test, reason in report.verdict.explained.items():
            applied.setdefault(reason.why, Reason(reason.why, {})).tests.setdefault(report.name, []).append(test)
    return "\n".join(["", render_table(reports), "", render_reasons(titles, applied.values()), *_news(reports)])


def render_table(reports: Iterable[Report]) -> str:
    """Return a Markdown table of the suites."""
    head = "| suite | version | run | passed | failed, with a reason | failed, without | skipped |"
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *map(_row, reports)])


def _row(report: Report) -> str:
    verdict = report.verdict
    counts = (verdict.run, verdict.passed, len(verdict.explained), len(verdict.unexplained), verdict.skipped)
    return f"| {report.title} | {report.version} | {' | '.join(f'{count:,}' for count in counts)} |"


def render_reasons(titles: Mapping[str, str], reasons: Iterable[Reason]) -> str:
    """Return each reason as a Markdown list item, with the tests that it explains. *titles* maps suites to their titles."""
    lines: list[str] = []
    for reason in reasons:
        lines.append(f"- {reason.why}")
        suites: dict[str, list[str]] = {}
        for suite, tests in reason.tests.items():
            # Name a test with parameters once.
            names = dict.fromkeys(_name(test) for test in tests)
            suites.setdefault(", ".join(f"`{name}`" for name in names), []).append(titles[suite])
        for named, where in suites.items():
            lines += ["", f"  {'; '.join(where)}: {named}"]
        lines.append("")
    return "\n".join(lines).rstrip()


def write_page(reports: list[Report], titles: Mapping[str, str], reasons: Iterable[Reason]) -> None:
    """Fill docs/background/peers.md between its markers. A run of some suites replaces only their rows."""
    page = PAGE.read_text("utf-8")
    head, *rows = (line for line in _between(page, "table").splitlines() if line.startswith("| "))
    new = {
        report.title: f"{_row(report)} {datetime.now(UTC):%Y-%m-%d} |" for report in reports if report.problem is None
    }
    kept = {row.split(" | ")[0].removeprefix("| "): row for row in rows}
    ordered = [row for title in titles.values() if (row := (kept | new).get(title))]
    table = "\n".join([head, "|---" * (head.count("|") - 1) + "|", *ordered])
    page = _put_between(page, "table", table)
    PAGE.write_text(_put_between(page, "reasons", render_reasons(titles, reasons)), "utf-8")


def _between(page: str, name: str) -> str:
    """Return the text of a page between the markers *name*."""
    return page.split(f"<!-- {name} -->")[1]


def _put_between(page: str, name: str, text: str) -> str:
    mark = f"<!-- {name} -->"
    before, _, after = page.split(mark)
    return f"{before}{mark}\n\n{text}\n\n{mark}{after}"


def _name(test: str) -> str:
    """Return the name of a test, without its module, class and parameters."""
    return test.partition("[")[0].replace("::", ".").rpartition(".")[2]


def _news(reports: Iterable[Report]) -> Iterator[str]:
    for report in reports:
        verdict = report.verdict
        if report.problem is not None:
            yield f"\n{report.title} DID NOT RUN TO ITS END: {report.problem}"
        for test, detail in sorted(verdict.unexplained.items()):
            yield f"\n{report.title} FAILED, AND NO REASON IS ON RECORD: {test}\n    {detail}"
        for test in sorted(verdict.outdated):
            yield f"\n{report.title} PASSES, BUT A REASON TO FAIL IS ON RECORD: {test}"
        if report.problem is None:
            for test in sorted(verdict.missing):
                yield f"\n{report.title} DID NOT RUN, BUT A REASON TO FAIL IS ON RECORD: {test}"
