"""``manage.py check`` of the session engine: what is wrong with the settings, each with what to write. Nothing is contacted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import override_settings

from dynamostore import MemoryStore, connect
from session import AsyncSessionManager, Cookie, SessionManager
from session.web.django import SessionMiddleware
from session.web.django._checks import check_sessions
from tests.awaited import AwaitedStore
from tests.distribution import ROOT

OURS = "session.web.django.SessionMiddleware"
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"
MANAGER = SessionManager(MemoryStore())
GRACE = SessionManager(MemoryStore(), renewal_grace=timedelta(seconds=5))
NOWHERE = "http://127.0.0.1:9"


class OwnMiddleware(SessionMiddleware):
    pass


def make_without_region() -> SessionManager:
    return SessionManager(connect("sessions"))


def make_badly() -> SessionManager:
    raise ZeroDivisionError("oops")


@pytest.fixture(autouse=True)
def right() -> Iterator[None]:
    with override_settings(SESSION_MANAGER=MANAGER):
        yield


@pytest.fixture
def no_region(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


def ids() -> list[str | None]:
    found = check_sessions()
    assert all(message.hint for message in found)
    return [message.id for message in found]


@pytest.mark.parametrize("middleware", [OURS, f"{__name__}.OwnMiddleware"])
@pytest.mark.parametrize("manager", [MANAGER, GRACE, f"{__name__}.MANAGER"])
def test_right_settings_are_right(middleware: str, manager: object) -> None:
    with override_settings(SESSION_MANAGER=manager, MIDDLEWARE=[middleware]):
        assert ids() == []


def test_another_engine_with_its_middleware_is_no_business_of_ours() -> None:
    with override_settings(
        SESSION_ENGINE="django.contrib.sessions.backends.cache", SESSION_MANAGER=7, MIDDLEWARE=[DJANGOS]
    ):
        assert ids() == []


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"SESSION_MANAGER": "nothing.of.the.kind"}, "dynamostore.E001"),
        ({"SESSION_MANAGER": 7}, "dynamostore.E001"),
        ({"SESSION_MANAGER": AsyncSessionManager(AwaitedStore(MemoryStore()))}, "dynamostore.E001"),
        ({"SESSION_MANAGER": make_badly}, "dynamostore.E001"),
        ({"SESSION_MANAGER": None, "SESSION_TABLE": 7}, "dynamostore.E001"),
        ({"SESSION_MANAGER": None, "SESSION_TABLE": "no table's name"}, "dynamostore.E001"),
        ({"SESSION_MANAGER": None}, "dynamostore.W005"),
        ({"SESSION_MANAGER": make_without_region}, "dynamostore.W005"),
        ({"SESSION_MANAGER": GRACE, "MIDDLEWARE": [DJANGOS]}, "dynamostore.E003"),
        ({"MIDDLEWARE": [OURS, DJANGOS]}, "dynamostore.E004"),
        ({"MIDDLEWARE": [DJANGOS, OURS]}, "dynamostore.E004"),
        ({"SESSION_RERUN": "always"}, "dynamostore.E005"),
        ({"SESSION_CONFLICT_VIEW": "nothing.of.the.kind"}, "dynamostore.E005"),
        ({"SESSION_COOKIE_AGE": "3600"}, "dynamostore.E006"),
        ({"SESSION_COOKIE_AGE": timedelta(hours=1)}, "dynamostore.E006"),
        ({"MIDDLEWARE": [DJANGOS]}, "dynamostore.W001"),
        ({"MIDDLEWARE": []}, "dynamostore.W002"),
        ({"SESSION_ENGINE": "django.contrib.sessions.backends.db"}, "dynamostore.W003"),
        ({"SESSION_SERIALIZER": "mysite.serializers.Pickle"}, "dynamostore.W004"),
        ({"SESSION_MANAGER": SessionManager(MemoryStore(), lifetime=timedelta(days=7))}, "dynamostore.W006"),
        ({"SESSION_MANAGER": SessionManager(MemoryStore(), cookie=Cookie(name="shop"))}, "dynamostore.W006"),
    ],
)
def test_what_is_wrong_is_found(settings: dict[str, object], found: str, no_region: None) -> None:
    with override_settings(**settings):
        assert found in ids()


def test_a_server_that_is_down_is_not_asked() -> None:
    with override_settings(SESSION_MANAGER=SessionManager(connect("sessions", region="x-1", endpoint_url=NOWHERE))):
        assert ids() == []


def test_the_settings_that_are_ignored_are_named() -> None:
    manager = SessionManager(MemoryStore(), lifetime=timedelta(days=7), cookie=Cookie(secure=False))
    with override_settings(SESSION_MANAGER=manager):
        (warning,) = check_sessions()
    assert warning.msg.startswith("the lifetime and cookie of SESSION_MANAGER are ignored")


def test_without_a_region_manage_py_goes_on(no_region: None, capsys: pytest.CaptureFixture[str]) -> None:
    """As in a build or a test run without an AWS configuration."""
    with override_settings(SESSION_MANAGER=None):
        call_command("check", "dynamostore")
    assert "?: (dynamostore.W005) requests that use the session will fail: " in capsys.readouterr().err


PROJECT = """\
from django.conf import settings
from django.core.management import execute_from_command_line

settings.configure(
    SECRET_KEY="for tests only",
    SESSION_ENGINE="session.web.django",
    SESSION_MANAGER="nothing.of.the.kind",
    MIDDLEWARE=["session.web.django.SessionMiddleware"],
    INSTALLED_APPS=["session.web.django", "django.contrib.sessions"],
)
execute_from_command_line(["manage.py", "check"])
"""


def test_the_app_has_manage_py_check_say_it() -> None:
    program = [sys.executable, "-c", PROJECT]
    done = subprocess.run(program, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "(dynamostore.E001) SESSION_MANAGER, 'nothing.of.the.kind', cannot be imported" in done.stderr
    assert "HINT: Set SESSION_MANAGER to " in done.stderr
