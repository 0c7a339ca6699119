"""Headers, cookies and numbers of a protocol are ASCII: white space, digits and case of other scripts mean nothing in them."""

from __future__ import annotations

import ast
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynamostore import CorruptRecordError, MemoryStore, Table, items, markers
from dynamostore.admin._records import _seconds
from dynamostore.client import Item
from dynamostore.wire._core import _check_sum
from dynamostore.wire._http import RawReply
from dynamostore.wire._retries import _date, _retry_after
from dynamostore.wire._sigv4 import canonical_request, hash_hex
from dynamostore.wire._sockets import server_keeps
from dynamostore.wire.errors import DamagedReplyError, ServiceError
from session import Cookie, SessionManager
from session._headers import add_session, lowered

from .distribution import ROOT

NAME = "__Host-session"
TOKEN = "A" * 43
COOKIE = Cookie(name=NAME)

EVERYTHING = [chr(code) for code in range(sys.maxunicode + 1)]
# \x0b, \x0c, \x1c to \x1f, \x85, \xa0 and so on: what `str.strip` takes off, beside what a header may have there.
SPACES = [character for character in EVERYTHING if character.isspace() and character not in " \t"]
# What looks like nothing, and is no white space: a zero-width space, a byte order mark, a soft hyphen, a NUL.
UNSEEN = ["\u200b", "\ufeff", "\xad", "\0", "\x7f"]
DIGITS = [character for character in EVERYTHING if character.isdigit() and not character.isascii()]
# What becomes another letter of ASCII, or two, by `str.lower`, `str.upper` or `str.casefold`.
CASES = [
    character
    for character in EVERYTHING
    if not character.isascii()
    and any(c.isascii() for c in character.lower() + character.upper() + character.casefold())
]

spaces = st.sampled_from(SPACES + UNSEEN)
digits = st.sampled_from(DIGITS)
blanks = st.text(st.sampled_from(" \t"), max_size=3)
odd = st.text(st.sampled_from([*SPACES, *UNSEEN, " ", "\t"]), min_size=1, max_size=4).filter(
    lambda text: text.strip(" \t")
)


# Cookies


@given(odd, st.sampled_from(["before", "after", "both"]))
@example("\xa0", "before")
@example("\u2000", "before")
@example("\x85", "after")
def test_a_name_in_odd_white_space_is_another_name(space: str, where: str) -> None:
    before, after = space if where != "after" else "", space if where != "before" else ""
    header = f"{before}{NAME}{after}={TOKEN}"
    assert COOKIE.read(header) is None
    assert list(COOKIE.values(f"a=b; {header}; {NAME}=ours")) == ["ours"]
    assert SessionManager(MemoryStore(), cookie=COOKIE).token(header) is None


@given(blanks, blanks, blanks, blanks)
def test_spaces_and_tabs_are_not_a_part_of_name_and_value(a: str, b: str, c: str, d: str) -> None:
    assert COOKIE.read(f"a=b;{a}{NAME}{b}={c}{TOKEN}{d}") == TOKEN


@given(odd | digits | st.sampled_from(CASES), st.integers(0, 43))
def test_a_value_with_anything_odd_in_it_is_no_token(character: str, at: int) -> None:
    manager = SessionManager(MemoryStore(), cookie=COOKIE)
    for value in (TOKEN[:at] + character + TOKEN[at:], TOKEN[:at] + character + TOKEN[at + len(character) :]):
        if value.strip(" \t") == TOKEN:
            continue
        assert COOKIE.read(f"{NAME}={value}") == value.strip(" \t")
        with manager.session(manager.token(f"{NAME}={value}")) as s:
            assert s.token is None


@given(st.sampled_from(CASES) | st.sampled_from("_-hostHOST"), st.integers(0, len(NAME) - 1))
@example("\N{KELVIN SIGN}", 3)
@example("h", 2)
def test_a_name_is_compared_exactly(character: str, at: int) -> None:
    name = NAME[:at] + character + NAME[at + 1 :]
    assert (COOKIE.read(f"{name}={TOKEN}") == TOKEN) == (name == NAME)


@pytest.mark.parametrize(
    "header",
    [
        f"={NAME}={TOKEN}",  # a cookie without a name, whose value looks like one of ours
        f"{NAME}",
        f"{NAME} {TOKEN}",
        f"a=b,{NAME}={TOKEN}",  # a browser sends commas within a value
        f"$Version=1,{NAME}={TOKEN}",  # as cookies were written before RFC 6265
        f'a="b; {NAME.upper()}={TOKEN}"',
        f"__host-session={TOKEN}",
        f"x{NAME}={TOKEN}",
        f"{NAME}x={TOKEN}",
        f"{NAME}\xa0={TOKEN}",
        f'"{NAME}"={TOKEN}',
        f"%5F%5FHost-session={TOKEN}",
    ],
)
def test_what_only_looks_like_our_cookie_is_not(header: str) -> None:
    assert COOKIE.read(header) is None


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (f'"{TOKEN}"', TOKEN),
        (f'""{TOKEN}""', f'"{TOKEN}"'),
        (f'"{TOKEN}', f'"{TOKEN}'),
        ('"', '"'),
        ('""', ""),
        ("", ""),
    ],
)
def test_a_value_may_stand_in_one_pair_of_quotes(value: str, read: str) -> None:
    assert COOKIE.read(f"{NAME}={value}") == read


@given(
    st.text(max_size=60) | st.lists(st.sampled_from([NAME, "=", ";", " ", "\t", '"', "\xa0", TOKEN, ","])).map("".join)
)
def test_no_header_is_too_strange(header: str) -> None:
    for value in COOKIE.values(header):
        assert value in header
        assert ";" not in value


# Headers of a response


@given(odd, st.sampled_from(CASES))
def test_what_only_looks_like_an_item_of_a_header_is_not_enough(space: str, character: str) -> None:
    for vary in (f"{space}Cookie", f"Cookie{space}", "Cookie".replace("k", character)):
        (name, value), *_ = add_session([("Vary", vary)], None, looked=True)
        assert (name, value) == ("Vary", f"{vary}, Cookie")
    assert add_session([("Vary", " \tCOOKIE ")], None, looked=True) == [("Vary", " \tCOOKIE ")]


@given(st.text())
def test_only_ascii_has_a_lower_case(text: str) -> None:
    assert lowered(text).encode("utf-8", "surrogatepass") == text.encode("utf-8", "surrogatepass").lower()


# Replies


def reply(**headers: str) -> RawReply:
    return RawReply(200, {name.replace("_", "-"): value for name, value in headers.items()}, b"{}", reusable=True)


@given(odd, digits)
def test_a_reply_s_headers_have_no_other_white_space_and_digits(space: str, digit: str) -> None:
    for part in (
        f"timeout{space}=5",
        f"timeout={space}5",
        f"timeout={digit}",
        f"timeout=5{digit}",
        f"{space}timeout=5",
    ):
        assert server_keeps(part) == float("inf")
    assert server_keeps("max=7,\ttimeout = 5 ") == 4
    for value in (f"5{digit}", digit, f"{space}5", "5_0", "+5"):
        response: dict[str, object] = {"ResponseMetadata": {"HTTPHeaders": {"x-amz-retry-after": value}}}
        assert _retry_after(ServiceError(response, "GetItem")) is None
    checksum = str(crc32(b"{}"))
    _check_sum(reply(x_amz_crc32=f" {checksum}\t"))
    for wrong in (f"{space}{checksum}", checksum + space, checksum[:-1] + digit):
        with pytest.raises(DamagedReplyError):
            _check_sum(reply(x_amz_crc32=wrong))


@given(st.sampled_from([character for character in SPACES if not character.isascii()]) | digits)
def test_a_date_has_none_either(character: str) -> None:
    right = "Wed, 25 Nov 2026 09:40:43 GMT"
    assert _date(reply(date=right)) is not None
    for at in (5, 7, 11, 13, 18):
        assert _date(reply(date=right[:at] + character + right[at + 1 :])) is None


@given(spaces.filter(lambda character: character not in "\r\n"), st.sampled_from(CASES))
def test_a_header_is_signed_with_what_is_in_it(space: str, character: str) -> None:
    canonical, names = canonical_request("GET", "/", [], [(f"X-{character}", f" {space}a  {space}\tb ")], hash_hex(b""))
    assert names == f"x-{character}"
    assert f"\n{names}:{space}a {space} b\n" in canonical


# Numbers of an item

numbers = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**30), max_value=10**30).map(str)
odd_numbers = st.sampled_from(
    [
        "",
        " 1",
        "1 ",
        "1_0",
        "_1",
        "0x10",
        "1e",
        "e5",
        ".",
        "1e9999",
        "NaN",
        "Infinity",
        "-",
        "--1",
        "1\n",
        "\xa01",
        "1\x1f",
    ]
) | st.builds("{}{}".format, st.sampled_from(["", "1", "-"]), digits)


@given(odd_numbers)
def test_what_dynamodb_would_not_say_is_no_number(text: str) -> None:
    assert items.parse_number(text) is None
    item: Item = {
        "token": {"S": "a"},
        "data": {"B": b""},
        "expiry": {"N": text},
        "ttl": {"N": text},
        "version": {"N": "1"},
    }
    with pytest.raises(CorruptRecordError):
        items.decode(Table(), item)
    # A marker whose ttl is no number has none.
    assert not markers.is_kept(Table(), {**item, "moved": {"S": "b"}}, 2**62)
    assert _seconds({"N": text}) is None


@given(numbers)
def test_what_dynamodb_says_is_one(text: str) -> None:
    number = items.parse_number(text)
    assert number is not None
    assert str(number) == text
    assert _seconds({"N": text}) == int(number)


# The whole kind, in the source

READ_PROTOCOL_TEXT = ("session/cookies.py", "session/_headers.py", "session/web", "dynamostore/wire")

# Without an argument, they take what Unicode calls white space.
BARE = {"strip", "lstrip", "rstrip", "split", "rsplit"}
NEVER = {
    "isdecimal",
    "isdigit",
    "isnumeric",
    "isspace",
    "isalnum",
    "isalpha",
    "lower",
    "upper",
    "casefold",
    "title",
    "capitalize",
}
NEVER |= {"swapcase", "splitlines"}

ALLOWED = {
    # A setting of the app.
    "session/web/flask/_config.py": ["value.title"],
    # Bytes have only ASCII's case.
    "session/web/asgi/_exchange.py": ["name.encode('latin-1').lower"],
    "dynamostore/wire/_http.py": ["name.lower"],
    # As urllib, which is asked next, reads the names of the environment's variables; and "http" or "https".
    "dynamostore/wire/_settings.py": ["name.lower", "scheme.upper"],
}


def sources() -> Iterator[Path]:
    for name in READ_PROTOCOL_TEXT:
        path = ROOT / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def unicode_calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            bare = node.func.attr in BARE and not node.args and not node.keywords
            if bare or node.func.attr in NEVER:
                yield ast.unparse(node.func)
            if ast.unparse(node.func.value) == "re" and node.args and _has_unicode_classes(node):
                yield ast.unparse(node)


def _has_unicode_classes(call: ast.Call) -> bool:
    r"""Return True if a pattern on str has \d, \s, \w or \b, or ignores case, and not as ASCII has them."""
    pattern, *flags = [ast.unparse(argument) for argument in [*call.args, *(word.value for word in call.keywords)]]
    unicode = any(name in pattern for name in ("\\d", "\\s", "\\w", "\\b", "\\D", "\\S", "\\W", "\\B", "(?i"))
    ignoring = any("IGNORECASE" in flag or "re.I" in flag for flag in flags)
    return (unicode or ignoring) and not pattern.startswith("b") and not any("ASCII" in flag for flag in flags)


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_that_reads_protocol_text_asks_unicode(path: Path) -> None:
    allowed = ALLOWED.get(path.relative_to(ROOT).as_posix(), [])
    assert sorted(unicode_calls(ast.parse(path.read_text("utf-8")))) == sorted(allowed)


def test_the_search_finds_the_kind() -> None:
    found = unicode_calls(
        ast.parse(
            r"""a.strip(); b.split(" "); c.lower(); re.compile(r"\d+"); re.match("[a-z]", x, re.I); re.match(rb"\d", x)"""
        )
    )
    assert sorted(found) == ["a.strip", "c.lower", "re.compile('\\\\d+')", "re.match('[a-z]', x, re.I)"]


def test_the_odd_characters_are_those() -> None:
    assert {"\x1c", "\x1f", "\x85", "\xa0", "\u2000", "\u3000"} <= set(SPACES)
    assert {unicodedata.name(character) for character in CASES} >= {"KELVIN SIGN", "LATIN SMALL LETTER LONG S"}
