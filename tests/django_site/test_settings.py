"""The settings of the session engine for Django, right and wrong."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from dynamostore import MemoryStore
from session import AsyncSessionManager, SessionManager
from session.web.django import SessionStore, get_manager
from tests.awaited import AwaitedStore
from tests.backends import Backends
from tests.distribution import ROOT

MANAGER = SessionManager(MemoryStore())
WRONG = object()
made: list[SessionManager] = []


def make() -> SessionManager:
    made.append(SessionManager(MemoryStore()))
    return made[-1]


def make_something_else() -> object:
    return WRONG


@pytest.mark.parametrize("setting", [MANAGER, f"{__name__}.MANAGER"])
def test_the_manager_is_the_settings(setting: object) -> None:
    with override_settings(SESSION_MANAGER=setting):
        assert get_manager() is MANAGER


@pytest.mark.parametrize("setting", [make, f"{__name__}.make"])
def test_a_function_that_makes_the_manager_is_asked_once_by_all_threads(setting: object) -> None:
    made.clear()
    got: list[SessionManager] = []
    together = threading.Barrier(4)

    def get() -> None:
        together.wait()
        got.append(get_manager())

    with override_settings(SESSION_MANAGER=setting):
        threads = [threading.Thread(target=get) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == made * 4


def test_without_a_manager_the_table_is_connected_to(backends: Backends, monkeypatch: pytest.MonkeyPatch) -> None:
    url = backends.server("ministack").url
    assert url is not None
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
    with override_settings(SESSION_TABLE="scs_session"):
        session = SessionStore()
        session["a"] = 1
        session.save()
        assert SessionStore(session.session_key)["a"] == 1
        assert get_manager() is get_manager()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("nothing.of.the.kind", "'nothing.of.the.kind', cannot be imported"),
        ("nothing", "dotted path"),
        (f"{__name__}.MISSING", "cannot be imported"),
        (f"{__name__}.WRONG", ", not object$"),
        (f"{__name__}.make_something_else", ", not object$"),
        (7, ", not int$"),
        (MemoryStore(), ", not MemoryStore$"),
        (AsyncSessionManager(AwaitedStore(MemoryStore())), ", not AsyncSessionManager$"),
    ],
)
def test_a_wrong_manager_is_improperly_configured(setting: object, says: str) -> None:
    with override_settings(SESSION_MANAGER=setting), pytest.raises(ImproperlyConfigured, match=says):
        SessionStore()


@pytest.mark.parametrize("table", [7, "", "no table's name"])
def test_a_wrong_table_is_improperly_configured(table: object) -> None:
    with override_settings(SESSION_TABLE=table), pytest.raises(ImproperlyConfigured, match="SESSION_TABLE"):
        SessionStore()


def test_importing_it_needs_no_settings() -> None:
    program = "import session.web.django, django.conf; assert not django.conf.settings.configured"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
