"""Run the tests on each Python that is here, print which ran and which were missing, and fail if fewer than MIN ran."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from . import pythons

ROOT = Path(__file__).parents[1]
NOX = ROOT / ".nox"
COUNTS = NOX / "counts"
REPORT = NOX / "report.json"
# The whole suite without the tests that start a browser, another project's tests or a type checker: they do not depend on the Python.
FULL = ("--ignore=tests/test_browser.py", "--ignore=tests/test_typing.py", "--ignore=tests/peers")


def counts(session: str) -> str:
    """Return how many tests *session* ran: ``"812 passed, 3 skipped"``."""
    try:
        suites = ET.parse(COUNTS / f"{session}.xml").getroot().iter("testsuite")  # pytest's own file
    except (OSError, ET.ParseError):
        return ""
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    parts = {"passed": total - failed - skipped, "failed": failed, "skipped": skipped}
    return ", ".join(f"{number} {word}" for word, number in parts.items() if number)


def summary(results: dict[str, str], sessions: Sequence[str]) -> str:
    """Return a line for each of *sessions*; nox lists nothing for a session that it did not begin."""
    words = {"success": "ran", "skipped": "missing", "failed": "FAILED"}
    lines = []
    for name in sessions:
        result = words.get(results.get(name, ""), "did not run")
        lines.append(f"{name:<14}{result:<12}{counts(name) if result in ('ran', 'FAILED') else ''}".rstrip())
    return "\n".join(lines)


def others() -> Sequence[str]:
    """Return the newest version with an interpreter on this machine, except the version that runs this program."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    newest_first = [version for version in reversed(pythons.versions()) if version != here]
    return [version for version in newest_first if pythons.find(version)][:1]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.matrix", description=__doc__)
    parser.add_argument("--min", type=int, default=1, metavar="N", help="fail if fewer Pythons ran (default: 1)")
    parser.add_argument("--full", action="store_true", help="run the whole suite, not the quick tests")
    parser.add_argument("--bounds", action="store_true", help="run with the lowest and the newest dependencies")
    parser.add_argument(
        "--other", action="store_true", help="run one Python: the newest on this machine, except the current one"
    )
    options = parser.parse_args(arguments)
    versions = others() if options.other else pythons.versions()
    sessions = [f"tests-{version}" for version in versions]
    if options.bounds:
        newest = next((version for version in reversed(versions) if pythons.find(version)), versions[-1])
        sessions = [f"lowest-{versions[0]}", f"newest-{newest}"]
    if not sessions:
        print("no other Python is here: the tests ran on this one only")
        return 0
    shutil.rmtree(COUNTS, ignore_errors=True)
    REPORT.unlink(missing_ok=True)
    nox = [sys.executable, "-m", "nox", "--report", str(REPORT), "--session", *sessions, "--"]
    status = subprocess.run([*nox, *(FULL if options.full else ())], cwd=ROOT, check=False).returncode
    done = json.loads(REPORT.read_text("utf-8"))["sessions"] if REPORT.exists() else []
    results = {name: entry["result"] for entry in done for name in entry["signatures"]}
    print(summary(results, sessions))
    ran = sum(results.get(name) == "success" for name in sessions)
    if ran < options.min:
        print(f"{ran} of {len(sessions)} ran; at least {options.min} must. `python -m tools.debian 3.14` brings one")
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
