"""What is printed of a run, and docs/reference/conformance.md, which keeps the results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.backends import DYNALITE

from .cases import GROUPS
from .model import Case
from .running import Outcome, Verdict
from .sending import SERVERS

__all__ = ["PAGE", "news", "read_page", "render", "render_cases", "version_of", "write_page"]

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "conformance.md"
_CASE: Final = re.compile(r"\| `([a-z0-9-]+)` \|")
_NONE: Final = "?"

Record = Mapping[str, Mapping[str, str]]
"""What is in the table of a server's cases: by server, then by case."""


def version_of(server: str) -> str:
    """The version of *server* that is installed here."""
    if server == "dynalite":
        described: object = json.loads((DYNALITE.parent / "package.json").read_text("utf-8"))["version"]
        return str(described)
    return version(server) if server in SERVERS else ""


def render(server: str, outcomes: Sequence[Outcome]) -> str:
    """Return what is printed of a server: the count, and each case that it answers in another way."""
    same = sum(outcome.verdict is Verdict.SAME for outcome in outcomes)
    lines = [f"\n{server} {version_of(server)}: {same} of {len(outcomes)} as documented".replace(" :", ":")]
    lacking = [outcome.case.name for outcome in outcomes if outcome.verdict is Verdict.LACKS]
    if lacking:
        lines.append(f"  lacks the operation: {', '.join(lacking)}")
    for outcome in outcomes:
        if outcome.verdict is Verdict.DIFFERS:
            case = outcome.case
            lines += [
                f"  {case.name}: {case.what}",
                f"    documented: {case.expect.words}",
                f"    answered:   {outcome.answered}",
            ]
    return "\n".join(lines)


def news(server: str, outcomes: Iterable[Outcome], record: Record) -> Iterator[str]:
    """Yield what is not as on record, as lines."""
    known = record.get(server, {})
    for outcome in outcomes:
        name, now = outcome.case.name, outcome.verdict.value
        if known.get(name) != now:
            yield f"{server}: `{name}` is on record as {known.get(name, 'nothing')}, and is {now} now. {outcome.answered}"


def read_page() -> Record:
    """Return the record that the page keeps."""
    page = PAGE.read_text("utf-8")
    servers: list[str] = []
    record: dict[str, dict[str, str]] = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| case |"):
            servers = cells[3:]
        elif found := _CASE.match(line):
            for server, verdict in zip(servers, cells[3:], strict=True):
                record.setdefault(server, {})[found[1]] = verdict
    return record


def write_page(results: Mapping[str, Sequence[Outcome]]) -> None:
    """Bring the page up to date. What a server that was not run did last stays as it is."""
    page = PAGE.read_text("utf-8")
    old = read_page()
    new = {server: {outcome.case.name: outcome.verdict.value for outcome in results[server]} for server in results}
    page = _put_between(page, "cases", render_cases({**old, **new}))
    head, *rows = (line for line in _between(page, "servers").splitlines() if line.startswith("| "))
    kept = {row.split(" | ")[0].removeprefix("| "): row for row in rows}
    summary = [kept.get(server) if server not in results else _row(server, results[server]) for server in SERVERS]
    table = "\n".join([head, "|---" * (head.count("|") - 1) + "|", *(row for row in summary if row)])
    page = _put_between(page, "servers", table)
    for server, outcomes in results.items():
        page = _put_between(page, server, "\n".join(_differences(outcomes)) or "Nothing.")
    PAGE.write_text(page, "utf-8")


def render_cases(record: Record) -> str:
    """Return the cases with their sources, and what is on *record* of each server, as Markdown tables by group."""
    parts: list[str] = []
    for group, cases in GROUPS.items():
        head = f"| case | what we send | what is documented | {' | '.join(SERVERS)} |"
        parts += [f"### {group}", "", head, "|---" * (head.count("|") - 1) + "|"]
        parts += [_case(case, [record.get(server, {}).get(case.name, _NONE) for server in SERVERS]) for case in cases]
        parts.append("")
    return "\n".join(parts).rstrip()


def _case(case: Case, verdicts: Iterable[str]) -> str:
    sources = ", ".join(f"[{_title(url)}]({url})" for url in case.sources)
    return f"| `{case.name}` | {_cell(case.what)} | {_cell(case.expect.words)} ({sources}) | {' | '.join(verdicts)} |"


def _row(server: str, outcomes: Sequence[Outcome]) -> str:
    counts = [sum(outcome.verdict is verdict for outcome in outcomes) for verdict in Verdict]
    return f"| {server} | {version_of(server)} | {' | '.join(map(str, counts))} | {datetime.now(UTC):%Y-%m-%d} |"


def _differences(outcomes: Iterable[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        if outcome.verdict is Verdict.DIFFERS:
            answered = outcome.answered.replace("`", "'")
            yield f"- `{outcome.case.name}`: `{answered}`"


def _title(url: str) -> str:
    """The name of a page of documentation."""
    name = url.rpartition("/")[2].removesuffix(".html")
    return f"dynalite's {name}" if name.endswith(".js") else name.removeprefix("API_")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _between(page: str, name: str) -> str:
    """The text of a page between the markers *name*."""
    return page.split(f"<!-- {name} -->")[1]


def _put_between(page: str, name: str, text: str) -> str:
    mark = f"<!-- {name} -->"
    before, _, after = page.split(mark)
    return f"{before}{mark}\n\n{text}\n\n{mark}{after}"
