"""Django's test runner, which also records each outcome."""

from __future__ import annotations

import unittest
from types import TracebackType
from typing import Any, TypeAlias

from django.test.runner import DiscoverRunner

from .recording import record

__all__ = ["Runner"]

Failure: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class _Result(unittest.TextTestResult):
    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        record(test.id(), "passed")

    def addFailure(self, test: unittest.TestCase, err: Failure) -> None:
        super().addFailure(test, err)
        record(test.id(), "failed", _detail(err))

    def addError(self, test: unittest.TestCase, err: Failure) -> None:
        super().addError(test, err)
        record(test.id(), "failed", _detail(err))

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Failure | None) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            record(test.id(), "failed", _detail(err))

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        record(test.id(), "failed", "unexpected success")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        record(test.id(), "skipped")

    def addExpectedFailure(self, test: unittest.TestCase, err: Failure) -> None:
        super().addExpectedFailure(test, err)
        record(test.id(), "skipped")


def _detail(err: Failure) -> str:
    # From another process the error comes in a wrapper of Django's.
    return f"{type(err[1]).__name__}: {err[1]}".partition("\n")[0]


class Runner(DiscoverRunner):
    """Django's runner of tests, with results that are recorded."""

    def get_resultclass(self) -> Any:
        return _Result
