"""``python -m tools.prose``: plain English in what people read: phrases to avoid, long sentences, long pages.

It reads prose only: paragraphs, list items and headings of Markdown pages; docstrings and comments of Python files;
and, for the phrases, the texts that Python files hold as well (messages, help). Code blocks, doctests and tables are left out.
``tools/phrases.toml`` lists the phrases, each with the reason and a better wording.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

ROOT: Final = Path(__file__).parents[1]
PHRASES: Final = ROOT / "tools" / "phrases.toml"
# The longest sentence, in words; the longest page, and all pages together, in words of prose.
SENTENCE: Final = 25
PAGE: Final = 1_500
PAGES: Final = 35_250
# Records of the past: their words are not counted, and a page of them may be long.
UNCOUNTED: Final = ("CHANGELOG.md", "docs/decisions/")
_MARKDOWN: Final = MarkdownIt("commonmark").enable("table")
# Where a sentence ends: a full stop, question or exclamation mark, then a space and what can begin a sentence.
_END: Final = re.compile(r"(?<=[.!?])[\"')\]*_]*\s+(?=[\"'(\[*_`A-Z0-9<])|[:;]\s+(?=\S)")
_NOT_ENDS: Final = re.compile(r"\b(e\.g|i\.e|etc|vs|cf|No|St|Mr|Dr|approx)\.$")
_DIRECTIVES: Final = re.compile(r"noqa|type:|pragma:|mypy:|ruff:|pyright:|skip:|fmt:|!")


@dataclass(frozen=True)
class Phrase:
    """A pattern that prose must not contain."""

    pattern: re.Pattern[str]
    better: str


@dataclass(frozen=True)
class Passage:
    """A paragraph, list item, heading, docstring paragraph, comment or text, and where it begins."""

    path: str
    line: int
    text: str
    is_prose: bool = True


@dataclass(frozen=True)
class Finding:
    """Something to reword, and where."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def load_phrases(path: Path = PHRASES) -> list[Phrase]:
    """Return the phrases that *path* lists."""
    table = tomllib.loads(path.read_text("utf-8"))
    return [Phrase(re.compile(row["pattern"], re.IGNORECASE), row["better"]) for row in table["phrase"]]


def markdown(path: str, text: str) -> Iterator[Passage]:
    """Yield the prose of a Markdown page; tables, code and HTML are left out."""
    in_table = False
    for token in _MARKDOWN.parse(text):
        if token.type in {"table_open", "table_close"}:
            in_table = token.type == "table_open"
        elif token.type == "inline" and not in_table:
            spoken = "".join(
                "Code" if child.type == "code_inline" else " " if "break" in child.type else child.content
                for child in token.children or ()
                if child.type != "image"
            )
            if not spoken.startswith(":::"):
                yield Passage(path, (token.map or [0])[0] + 1, spoken)


def python(path: str, source: str) -> Iterator[Passage]:
    """Yield the docstrings, comments and other texts of a Python file."""
    tree = ast.parse(source)
    docstrings: set[int] = set()
    for node in ast.walk(tree):
        body: Sequence[ast.AST] = getattr(node, "body", ()) if not isinstance(node, ast.Lambda | ast.IfExp) else ()
        for part in body if isinstance(body, list) else ():
            # Attributes are documented by a text on its own, too.
            if (
                isinstance(part, ast.Expr)
                and isinstance(part.value, ast.Constant)
                and isinstance(part.value.value, str)
            ):
                docstrings.add(id(part.value))
                yield from _docstring(path, part.value.lineno, part.value.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield Passage(path, node.lineno, node.value, is_prose=False)
    yield from _comments(path, source)


def _docstring(path: str, line: int, text: str) -> Iterator[Passage]:
    first, block = line, list[str]()
    code = table = False
    for number, row in enumerate([*text.split("\n"), ""], start=line):
        stripped = row.strip(" ")
        code = stripped.startswith((">>>", "...")) or (code and bool(stripped))
        table = stripped.startswith(("|", "====", "- - "))
        if stripped and not code and not table:
            if not block:
                first = number
            block.append(stripped)
        elif block:
            yield Passage(path, first, " ".join(block))
            block = []


def _comments(path: str, source: str) -> Iterator[Passage]:
    first, last, block = 0, 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        text = token.string.lstrip("#").strip(" ")
        alone = not token.line[: token.start[1]].strip(" \t")
        if block and not (alone and token.start[0] == last + 1):
            yield Passage(path, first, " ".join(block))
            block = []
        if text and not _DIRECTIVES.match(text):
            first = first if block else token.start[0]
            block.append(text)
            last = token.start[0]
    if block:
        yield Passage(path, first, " ".join(block))


def passages(path: Path) -> list[Passage]:
    """Return what people read of the file *path*: Markdown, Python, or the comments of another."""
    name, text = path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
    if path.suffix == ".md":
        return list(markdown(name, text))
    return list(python(name, text))


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of *text*. A colon or a semicolon ends one as well."""
    start = 0
    for end in _END.finditer(text):
        if not _NOT_ENDS.search(text[start : end.start()]):
            yield text[start : end.start()]
            start = end.end()
    yield text[start:]


def findings(found: Iterable[Passage], phrases: Sequence[Phrase]) -> Iterator[Finding]:
    """Yield the phrases to avoid and the sentences that are too long."""
    for passage in found:
        for phrase in phrases:
            for match in phrase.pattern.finditer(passage.text):
                yield Finding(passage.path, passage.line, f'"{match[0]}": {phrase.better}')
        for sentence in sentences(passage.text) if passage.is_prose else ():
            count = len(sentence.split())
            if count > SENTENCE:
                yield Finding(passage.path, passage.line, f"{count} words in a sentence: {sentence[:60]}...")


def lengths(found: Iterable[Passage]) -> dict[str, int]:
    """Return the words of prose of each page."""
    words: dict[str, int] = {}
    for passage in found:
        if passage.path.endswith(".md"):
            words[passage.path] = words.get(passage.path, 0) + len(passage.text.split())
    return words


def long_pages(words: dict[str, int]) -> Iterator[Finding]:
    """Yield the pages that are too long, and the whole if it is."""
    counted = {path: count for path, count in words.items() if not path.startswith(UNCOUNTED)}
    for path, count in counted.items():
        if count > PAGE:
            yield Finding(path, 1, f"{count} words of prose: split or cut a page over {PAGE}")
    if sum(counted.values()) > PAGES:
        yield Finding("docs", 1, f"{sum(counted.values())} words of prose in all pages: at most {PAGES}")


def tracked() -> list[Path]:
    """Return the files that Git knows and that people read."""
    names = ["*.md", "dynamostore/*.py", "session/*.py", "examples/*.py", "tools/*.py", "docs/*.py"]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *names],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).exists()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings, and return 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m tools.prose", description="Find what is not plain English.")
    parser.add_argument("paths", nargs="*", type=Path, help="files or folders (default: all that people read)")
    parser.add_argument("--words", action="store_true", help="print the words of prose of each page, and end")
    options = parser.parse_args(arguments)
    under = [path.resolve() for path in options.paths]
    files = [file for file in tracked() if not under or any(file.is_relative_to(path) for path in under)]
    found = [passage for file in files for passage in passages(file)]
    words = lengths(found)
    if options.words:
        print(*(f"{count:6} {path}" for path, count in sorted(words.items(), key=lambda row: row[1])), sep="\n")
        print(f"{sum(count for path, count in words.items() if not path.startswith(UNCOUNTED)):6} in all that count")
        return 0
    wrong = [*findings(found, load_phrases()), *long_pages(words)]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{len(wrong)} to reword in {len(files)} files", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
