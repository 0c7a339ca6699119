"""``tools/links.py``: what it refuses in built HTML."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.links import findings, main

PAGE = '<html><head><link rel="stylesheet" href="s.css"></head><body><h1 id="top">T</h1>{}</body></html>'


def site(folder: Path, body: str, style: str = "") -> Path:
    (folder / "sub").mkdir()
    (folder / "index.html").write_text(PAGE.format(body), "utf-8")
    (folder / "sub" / "page.html").write_text('<a href="../index.html#top">up</a><p id="here"></p>', "utf-8")
    (folder / "s.css").write_text(style, "utf-8")
    (folder / "a b.png").touch()
    return folder


@pytest.mark.parametrize(
    ("body", "trouble"),
    [
        ('<a href="gone.html">x</a>', "gone.html: no such file"),
        ('<a href="../outside.html">x</a>', "../outside.html: no such file"),
        ('<a href="sub/page.html#gone">x</a>', "sub/page.html#gone: no such anchor"),
        ('<a href="#gone">x</a>', "#gone: no such anchor"),
        ('<img src="gone.png">', "gone.png: no such file"),
        ('<img srcset="a%20b.png 1x, gone.png 2x">', "gone.png: no such file"),
        ('<a href="http://example.com/">x</a>', "http://example.com/: not https"),
        ('<a href="https://nowhere">x</a>', "https://nowhere: not a well-formed address"),
        ('<a href="https://[::1/">x</a>', "https://[::1/: not a well-formed address"),
        ('<script src="https://example.com/x.js"></script>', "https://example.com/x.js: loaded from elsewhere"),
        ('<img src="//example.com/x.png"/>', "//example.com/x.png: loaded from elsewhere"),
        ('<link rel="preconnect" href="https://example.com">', "https://example.com: loaded from elsewhere"),
        ("<style>@import 'https://example.com/x.css';</style>", "https://example.com/x.css: loaded from elsewhere"),
        ('<p style="background: url(gone.png)">x</p>', "gone.png: no such file"),
    ],
)
def test_a_link_that_leads_nowhere_or_outside_is_found(tmp_path: Path, body: str, trouble: str) -> None:
    assert list(findings(site(tmp_path, body))) == [f"index.html:1: {trouble}"]


def test_a_style_sheet_is_read(tmp_path: Path) -> None:
    found = findings(site(tmp_path, "", "@font-face { src: url('https://example.com/f.woff2') }"))
    assert list(found) == ["s.css:1: https://example.com/f.woff2: loaded from elsewhere"]


def test_links_that_lead_somewhere_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = (
        '<a href="sub/page.html#here">x</a> <a href="#top">x</a> <a href="/sub/page.html">x</a> <img src="a%20b.png">'
        '<a href="https://example.com/x#y">x</a> <a href="http://127.0.0.1:8000">x</a> <a href="mailto:a@example.com">x</a>'
        '<img src="data:image/png;base64,AA==">'
    )
    assert main([str(site(tmp_path, body))]) == 0
    assert "0 links to mend" in capsys.readouterr().err


def test_a_folder_with_nothing_in_it_is_an_error(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1
