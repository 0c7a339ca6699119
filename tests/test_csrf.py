"""The CSRF token of docs/howto/csrf.md: two first pages of a session that are loaded at once are both good for a form."""

from __future__ import annotations

import re
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, get_args

import pytest

from dynamostore import MemoryStore, Record
from session import OnConflict, Session, SessionManager
from session.web import wsgi

from .distribution import ROOT
from .serving import on_waitress

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PAGE = ROOT / "docs" / "howto" / "csrf.md"


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    """What the page defines in its example."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (block,) = (block for block in blocks if "def csrf_token" in block)
    names: dict[str, Any] = {}
    exec(block.partition("\nwith ")[0], names)  # our own page
    return names


class Together(MemoryStore):
    """A store from which two requests read before either of them writes."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier: threading.Barrier | None = None
        self.local = threading.local()

    def find(self, token: str) -> Record | None:
        record = super().find(token)
        if self.barrier is not None and not hasattr(self.local, "waited"):
            self.local.waited = True
            self.barrier.wait(10)
        return record


def pages(store: Together, page: Callable[[], str]) -> list[str]:
    """What two requests of one browser answer, in threads of their own."""
    store.barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        tokens = [future.result(20) for future in [pool.submit(page) for _ in range(2)]]
    store.barrier = None
    return tokens


@pytest.mark.parametrize("on_conflict", get_args(OnConflict))
def test_two_first_pages_have_tokens_that_are_good(documented: dict[str, Any], on_conflict: OnConflict) -> None:
    store = Together()
    manager = SessionManager(store, on_conflict=on_conflict)
    with manager.session(None) as s:
        s.put_string("lang", "en")

    def page() -> str:
        with manager.session(s.token) as mine:
            mine.peek("lang")
            token: str = documented["csrf_token"](mine)
            assert documented["csrf_token"](mine) == token
        return token

    tokens = pages(store, page)
    assert len(set(tokens)) == 1
    with manager.session(s.token) as after:
        assert all(documented["check_csrf"](after, token) for token in tokens)
        assert not documented["check_csrf"](after, "")


def test_two_first_pages_of_an_app_have_tokens_that_are_good(documented: dict[str, Any]) -> None:
    store = Together()
    manager = SessionManager(store)
    with manager.session(None) as s:
        s.put_string("lang", "en")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        session: Session = environ["session"]
        # A page does more than that with its session.
        session.increment("pages")
        body = f"{session.get_string('lang')} {documented['csrf_token'](session)}"
        start_response("200 OK", [])
        return [body.encode()]

    with on_waitress(wsgi.SessionMiddleware(app, manager)) as url:

        def page() -> str:
            request = urllib.request.Request(url, headers={"Cookie": f"session={s.token}"})
            with urllib.request.urlopen(request, timeout=20) as answer:
                body: bytes = answer.read()
            return body.decode().split(" ")[1]

        tokens = pages(store, page)
    with manager.session(s.token) as after:
        assert all(documented["check_csrf"](after, token) for token in tokens)
        assert after.get_int("pages") == 2
