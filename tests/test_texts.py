"""What others wrote is made fit for a message and a terminal: cut off, and without what turns, hides or acts."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import Table
from dynamostore._texts import MAX_CODE, MAX_QUOTED, escaped, has_userinfo, quoted
from dynamostore.batch._position import Position
from dynamostore.cli._state import printable
from dynamostore.errors import CODES
from dynamostore.plans.faults import explain
from dynamostore.wire.errors import ConnectError, ServiceError

HOSTILE = [
    "\x1b]0;title\x07",
    "\x9b2J",
    "\r",
    "\u202e",
    "\u2066",
    "\u200f",
    "\u061c",
    "\u200b",
    "\ufeff",
    "\u2028",
    "\U000e0041",
    "\ud800",
    "\xad",
]

texts = st.text(st.one_of(st.characters(), st.sampled_from("".join(HOSTILE))), max_size=2000)


def is_fit(text: str) -> bool:
    return all(unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in text)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_acts_upon_a_terminal_is_spelled_out(text: str) -> None:
    assert is_fit(printable(f"a{text}b"))
    assert printable(f"a{text}b").startswith("a")
    assert printable(f"a{text}b").endswith("b")


@given(texts)
def test_what_shows_is_left_as_it_is(text: str) -> None:
    assert is_fit(escaped(text))
    plain = "".join(char for char in text if is_fit(char) and unicodedata.category(char) not in ("Cn", "Co"))
    assert escaped(plain) == plain
    assert printable("a\nb") == "a\nb"
    assert escaped("a\nb") == r"a\x0ab"


@given(texts, texts, st.sampled_from(sorted(CODES)))
def test_messages_quote_a_server_briefly(message: str, code: str, known: str) -> None:
    most = 10 * (MAX_QUOTED + MAX_CODE) + 200
    for name in (code, known):
        error = ServiceError({"Error": {"Code": name, "Message": message}}, "GetItem")
        explained = explain(error, "get_item", "sessions")
        # What they say in full is in the attributes.
        assert error.response["Error"] == {"Code": name, "Message": message}
        for each in (error, explained):
            assert is_fit(str(each))
            assert len(str(each)) < most
    assert is_fit(str(explain(ConnectError(message), "get_item", "sessions")))


@pytest.mark.parametrize("userinfo", ["me:secret@", "secret@", ":secret@", "me:se@secret@"])
@pytest.mark.parametrize("url", ["https://{}example.org", "http://{}[::1]:8000/path?a@b", "ftp://{}example.org/#x"])
def test_no_password_of_a_url_is_quoted(userinfo: str, url: str) -> None:
    text = f"no answer ({url}); {url}"
    assert has_userinfo(url.format(userinfo))
    assert not has_userinfo(url.format(""))
    assert quoted(text.format(userinfo, userinfo)) == text.format("", "")


def test_a_long_text_is_cut_off() -> None:
    assert quoted("x" * MAX_QUOTED) == "x" * MAX_QUOTED
    assert quoted("x" * (MAX_QUOTED + 1)) == "x" * MAX_QUOTED + "…"
    error = ServiceError({"Error": {"Code": "c" * 5000, "Message": "m" * 5000}}, "GetItem")
    assert len(str(error)) < MAX_QUOTED + MAX_CODE + 20


@given(texts, texts, texts)
def test_what_a_resume_token_says_that_it_is_of(table: str, job: str, scope: str) -> None:
    whole = {"dynamostore": 1, "table": table, "job": job, "scope": scope, "after": [None], "done": [False]}
    for found in (whole, {**whole, job: 1}):
        with pytest.raises(ValueError, match="resume token") as caught:
            Position.parse(json.dumps(found), Table(name="sessions"), "purge", "at home")
        assert is_fit(str(caught.value))
        # A character takes ten at most when it is spelled out.
        assert len(str(caught.value)) < 10 * 3 * 200 + 200
