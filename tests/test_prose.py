"""The checker of prose finds what it should, where people read it, and leaves code and tables alone."""

from __future__ import annotations

import pytest

from tools import prose

PHRASES = prose.load_phrases()
LONG = " ".join(["word"] * (prose.SENTENCE + 1)) + "."


def found(name: str, text: str) -> list[tuple[int, str]]:
    read = prose.markdown if name.endswith(".md") else prose.python
    return [(row.line, row.message) for row in prose.findings(read(name, text), PHRASES)]


@pytest.mark.parametrize(
    "text", ["There is a page, and whoever reads it.", "One that lives long sees it.", "A token is none."]
)
def test_a_phrase_is_found_in_a_page_a_docstring_a_comment_and_a_message(text: str) -> None:
    for name, source in [
        ("a.md", f"# Title\n\n{text}\n"),
        ("a.md", f"# {text}\n"),
        ("a.md", f"- {text}\n"),
        ("a.py", f'"""{text}"""\n'),
        ("a.py", f'def f() -> None:\n    """A title.\n\n    {text}\n    """\n'),
        ("a.py", f"x = 1  # {text}\n"),
        ("a.py", f'raise ValueError("{text}")\n'),
    ]:
        assert found(name, source), source


def test_code_tables_and_doctests_are_left_alone() -> None:
    assert not found(
        "a.md", f"```python\n# {LONG} whoever\n```\n\n| a | b |\n|---|---|\n| whoever | {LONG} |\n\nSee `whoever`.\n"
    )
    assert not found("a.py", f'"""A title.\n\n>>> print("whoever {LONG}")\nwhoever {LONG}\n"""\n')


def test_a_sentence_has_a_limit_and_ends_where_a_reader_ends_it() -> None:
    assert found("a.md", LONG)
    assert found("a.py", "# " + "\n# ".join(LONG.split()))
    half = " ".join(["word"] * (prose.SENTENCE - 1))
    assert not found("a.md", f"{half}. {half.title()}? *{half.title()}.* {half.title()}: {half}.")
    assert found("a.md", f"{half}, e.g. {half}")


def test_a_finding_names_the_line_and_says_what_to_write() -> None:
    assert found("a.md", "Good.\n\nWhoever comes.\n") == [(3, '"Whoever": name the actor: "a caller that ..."')]


def test_a_long_page_and_a_long_whole_are_found() -> None:
    assert not list(prose.long_pages({"docs/a.md": prose.PAGE, "CHANGELOG.md": prose.PAGES + 1}))
    assert len(list(prose.long_pages({"docs/a.md": prose.PAGE + 1}))) == 1
    assert len(list(prose.long_pages({f"docs/{n}.md": prose.PAGE for n in range(prose.PAGES // prose.PAGE + 1)}))) == 1
