"""``python -m tools.links FOLDER``: every link in a folder of built HTML leads somewhere, and nothing is loaded from elsewhere.

It reads the pages as a browser gets them, raw HTML included. A relative link must lead to a file of the folder, and an anchor to
an id of its page. An address outside must be well-formed and use https; it is not requested. Scripts, styles, fonts and pictures,
which a browser loads by itself, must be in the folder.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

# The elements and attributes that a browser loads by itself. A link of another relation is only followed by people.
LOADED: Final = {
    ("audio", "src"), ("embed", "src"), ("iframe", "src"), ("image", "href"), ("img", "src"), ("input", "src"), ("object", "data"),
    ("script", "src"), ("source", "src"), ("track", "src"), ("use", "href"), ("video", "poster"), ("video", "src"),
}  # fmt: skip
FETCHED: Final = {
    "dns-prefetch",
    "icon",
    "manifest",
    "modulepreload",
    "preconnect",
    "prefetch",
    "preload",
    "stylesheet",
}
_IN_STYLES: Final = re.compile(r"url\(\s*[\"']?([^\"')]+)|@import\s+[\"']([^\"']+)")
# Plain http is right for servers on the reader's own machine only.
_LOCAL: Final = {"localhost", "127.0.0.1"}


@dataclass(frozen=True)
class Link:
    """An address in a page, and whether a browser loads it by itself."""

    line: int
    address: str
    is_loaded: bool


@dataclass
class Page:
    """The links and the anchors of a page."""

    links: list[Link] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        self.page.anchors.update(values[name] for name in ("id", "name") if values.get(name))
        fetched = tag == "link" and bool(FETCHED & set(values.get("rel", "").split()))
        for name in ("href", "src", "data", "poster", "action", "xlink:href"):
            if name in values:
                self._add(values[name], is_loaded=fetched or (tag, name.removeprefix("xlink:")) in LOADED)
        for part in filter(None, (part.strip() for part in values.get("srcset", "").split(","))):
            self._add(part.split()[0], is_loaded=True)
        self._styles(values.get("style", ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._in_style = False

    def handle_endtag(self, tag: str) -> None:
        self._in_style = self._in_style and tag != "style"

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self._styles(data)

    def _styles(self, text: str) -> None:
        for found in _IN_STYLES.finditer(text):
            self._add(found[1] or found[2], is_loaded=True)

    def _add(self, address: str, *, is_loaded: bool) -> None:
        self.page.links.append(Link(self.getpos()[0], address.strip(), is_loaded))


def read(path: Path) -> Page:
    """Return the links and the anchors of a page or of a style sheet."""
    text = path.read_text("utf-8")
    if path.suffix == ".css":
        text = f"<style>{text}</style>"
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.page


def findings(folder: Path) -> Iterator[str]:
    """Yield a line for each link in *folder* that is dead, malformed, or loaded from elsewhere."""
    folder = folder.resolve()
    pages = {path: read(path) for path in sorted(folder.rglob("*")) if path.suffix in {".html", ".css", ".svg"}}
    for path, page in pages.items():
        for link in page.links:
            if trouble := _trouble(folder, path, link, pages):
                yield f"{path.relative_to(folder)}:{link.line}: {link.address}: {trouble}"


def _trouble(folder: Path, path: Path, link: Link, pages: dict[Path, Page]) -> str | None:
    try:
        url = urlsplit(link.address)
    except ValueError:
        return "not a well-formed address"
    if url.scheme or url.netloc:
        return _outside(url, link)
    name = unquote(url.path)
    # The server's root is the folder.
    target = (folder / name.lstrip("/") if name.startswith("/") else path.parent / name).resolve() if name else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(folder) or not target.is_file():
        return "no such file"
    anchor = unquote(url.fragment)
    if anchor and target.suffix == ".html" and anchor not in pages[target].anchors:
        return "no such anchor"
    return None


def _outside(url: SplitResult, link: Link) -> str | None:
    if url.scheme == "data":
        return None
    if link.is_loaded:
        return "loaded from elsewhere"
    if url.scheme == "mailto":
        return None if "@" in url.path else "not a well-formed address"
    if url.scheme == "http" and url.hostname in _LOCAL:
        return None
    if url.scheme != "https":
        return "not https"
    return None if url.hostname and "." in url.hostname else "not a well-formed address"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is wrong, and return 1 if anything is."""
    parser = argparse.ArgumentParser(prog="python -m tools.links", description="Check the links in built HTML.")
    parser.add_argument("folder", type=Path, help="where the HTML is")
    folder: Path = parser.parse_args(arguments).folder
    if not (folder / "index.html").is_file():
        print(f"{folder} has no index.html: build it first", file=sys.stderr)
        return 1
    wrong = list(findings(folder))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{len(wrong)} links to mend in {folder}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
