"""A plugin for pytest that records each outcome."""

from __future__ import annotations

import pytest

from .recording import record

__all__ = ["pytest_collectreport", "pytest_runtest_logreport"]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record the call of each test, and what failed or was skipped around it."""
    if report.when == "call" or report.outcome != "passed":
        record(report.nodeid, report.outcome, _detail(report) if report.failed else "")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Record a module that cannot be imported as a test that failed."""
    if report.failed:
        record(report.nodeid, "failed", _last_line(report.longreprtext))


def _detail(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return _last_line(report.longreprtext) if crash is None else str(crash.message).partition("\n")[0]


def _last_line(text: str) -> str:
    return text.rstrip("\n").rpartition("\n")[2]
