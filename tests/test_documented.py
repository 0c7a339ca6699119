"""The link from an error to the page that explains it: `help_url`, and the last line of a traceback."""

from __future__ import annotations

import json
import pickle
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

import dynamostore
import dynamostore.batch
import dynamostore.wire
import session
from dynamostore import Conflict, StoreError, ThrottledError, documented
from dynamostore.cli import main
from dynamostore.documented import Documented, site
from dynamostore.plans.faults import Contended
from session import SessionTypeError

from .distribution import ROOT

PAGE = ROOT / "docs" / "reference" / "errors.md"


@pytest.fixture(autouse=True)
def looked_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have errors look for the site, which they do not in other tests."""
    monkeypatch.setattr(documented, "site", site)
    site.cache_clear()
    yield
    site.cache_clear()


def distribute(directory: Path, monkeypatch: pytest.MonkeyPatch, *urls: str) -> None:
    """Have an installed distribution with these lines in its metadata be found first."""
    there = directory / "dynamostore-0.dist-info"
    there.mkdir()
    lines = ["Metadata-Version: 2.4", "Name: dynamostore", "Version: 0", *(f"Project-URL: {url}" for url in urls)]
    (there / "METADATA").write_text("\n".join([*lines, "", ""]), "utf-8")
    monkeypatch.syspath_prepend(directory)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribute(
        tmp_path,
        monkeypatch,
        "Source, https://code.example.org/dynamostore",
        "Documentation, https://docs.example.org/dynamostore/",
    )


def test_every_error_knows_its_heading(published: None) -> None:
    assert Conflict().help_url == "https://docs.example.org/dynamostore/reference/errors.html#conflict"
    assert (
        SessionTypeError("why").help_url
        == "https://docs.example.org/dynamostore/reference/errors.html#sessiontypeerror"
    )


def test_an_error_of_an_app_or_of_a_private_class_has_the_heading_of_its_base(published: None) -> None:
    class AppError(ThrottledError):
        pass

    for error in (AppError(), Contended()):
        assert (error.help_url or "").endswith("#throttlederror")


@pytest.mark.parametrize(
    "urls", [[], ["Documentation, https://site.invalid/dynamostore"], ["Source, https://code.example.org"]]
)
def test_without_a_published_site_there_is_no_link(
    urls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribute(tmp_path, monkeypatch, *urls)
    error = StoreError("why")
    assert error.help_url is None
    assert traceback.format_exception(error) == ["dynamostore.errors.StoreError: why\n"]
    assert not hasattr(error, "__notes__")
    error.add_note("a note")
    assert error.__notes__ == ["a note"]


def test_a_traceback_ends_with_the_link_and_the_message_is_as_it_was(published: None) -> None:
    error = StoreError("why")
    link = f"Help: {error.help_url}"
    # Until a traceback is printed, nothing is kept in it.
    assert "__notes__" not in vars(error)
    assert traceback.format_exception(error) == ["dynamostore.errors.StoreError: why\n", f"{link}\n"]
    assert str(error) == "why"
    error.add_note("a note")
    assert error.__notes__ == [link, "a note"]
    assert pickle.loads(pickle.dumps(error)).__notes__ == error.__notes__
    assert traceback.format_exception(StoreError("other"))[-1] == f"{link}\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_the_command_line_says_where_to_read_on(
    terminal: bool, published: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # rich takes standard error for a terminal, or not.
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
    assert main(["ping", "--table", "sessions", "--region", "eu-west-1", "--json"]) == 1
    out, err = capsys.readouterr()
    url = "https://docs.example.org/dynamostore/reference/errors.html#"
    assert (f"dynamostore: help: {url}" in err) is terminal
    assert json.loads(out)["error"]["help"].startswith(url)


# The page


def public_errors() -> set[type[BaseException]]:
    return {
        each
        for package in (dynamostore, dynamostore.batch, dynamostore.wire, session)
        for name in package.__all__
        if isinstance(each := getattr(package, name), type) and issubclass(each, BaseException)
    }


def test_each_public_error_has_a_heading_and_a_link(published: None) -> None:
    headings = re.findall(r"^###? (\w*(?:Error|Conflict))$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(error.__name__ for error in public_errors())
    for error in public_errors():
        assert issubclass(error, Documented)


def test_the_page_names_the_attributes_of_each_error() -> None:
    text = PAGE.read_text("utf-8")
    for error in public_errors():
        section = re.search(rf"^###? {error.__name__}$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
        assert section is not None
        for name in vars(made(error)).keys() - vars(made(base_of(error))).keys():
            assert f"`{name}`" in section[1], (error, name)


def base_of(error: type[BaseException]) -> type[BaseException]:
    """The next public class above *error*."""
    return next(base for base in error.__mro__[1:] if base in public_errors() or base is Exception)


def made(error: type[BaseException]) -> BaseException:
    return error({}, "") if error is dynamostore.wire.ServiceError else error()
