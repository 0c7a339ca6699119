"""A Sphinx extension: links to files beside docs/, which work on GitHub, work on the site as well.

``../tests/test_x.py`` leads to a page with that file's source, and ``../CHANGELOG.md`` to the page that includes it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from docutils import nodes
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.highlighting import PygmentsBridge

ROOT: Final = Path(__file__).resolve().parents[2]
INCLUDED: Final = {
    "README.md": "project/readme",
    "CONTRIBUTING.md": "project/contributing",
    "CHANGELOG.md": "project/changelog",
    "SECURITY.md": "project/security-policy",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct",
}
"""Files of the repository's root, and the pages that include them. Links in those pages start from the root."""

SOURCES: Final = "source"


def _sources(env: BuildEnvironment) -> set[str]:
    """Return the files and folders to show, which Sphinx remembers between builds."""
    found: set[str] = vars(env).setdefault("repository_sources", set())
    return found


def _contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """List the decisions below the page that introduces them, which is plain Markdown for GitHub's sake."""
    del app
    if docname == "decisions/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n0*\n```\n"


def _page(env: BuildEnvironment, docname: str, target: str) -> str | None:
    """Return the page of the site that *target* in *docname* leads to; None if it is not ours to resolve."""
    base = ROOT if docname in INCLUDED.values() else (ROOT / "docs" / docname).parent
    path = Path(os.path.normpath(base / target))
    if not path.exists() or not path.is_relative_to(ROOT):
        return None
    relative = path.relative_to(ROOT).as_posix()
    if relative in INCLUDED:
        return INCLUDED[relative]
    if path.suffix == ".md" and path.is_relative_to(ROOT / "docs"):
        name = path.relative_to(ROOT / "docs").as_posix().removesuffix(".md")
        return name if name in env.found_docs else None
    _sources(env).add(relative)
    if path.is_dir():
        _sources(env).update(f"{relative}/{name}" for name in _python(path))
    return f"{SOURCES}/{relative}"


def _link(app: Sphinx, document: nodes.document) -> None:
    env = app.env
    docname = env.current_document.docname
    for node in list(document.findall(addnodes.pending_xref)) + list(document.findall(addnodes.download_reference)):
        if node.get("reftype") != "myst":
            continue
        target, _, anchor = node["reftarget"].partition("#")
        if node.get("refdomain") == "doc":
            # MyST found a page, or takes a file of the repository's root for one.
            page = INCLUDED.get(f"{Path(target).name}.md")
            if page is not None and Path(target).parent == ROOT:
                node["reftarget"] = page
            continue
        page = _page(env, docname, target)
        if page is None:
            continue
        if page.startswith(f"{SOURCES}/"):
            depth = docname.count("/")
            link = nodes.reference("", "", internal=True, refuri=f"{'../' * depth}{page}.html")
            link.extend(child.deepcopy() for child in node.children)
            node.replace_self(link)
        else:
            document_link = addnodes.pending_xref(
                "", refdomain="doc", reftarget=page, reftargetid=anchor or None,
                refdoc=docname, reftype="myst", refexplicit=node.get("refexplicit", True),
            )  # fmt: skip
            document_link.extend(child.deepcopy() for child in node.children)
            node.replace_self(document_link)


def _tracked(folder: Path) -> list[str]:
    """Return the files that Git knows in *folder*, as paths from there."""
    command = ["git", "ls-files", "--", "."]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.splitlines()


def _listing(folder: Path) -> str:
    """Return a list of links to the Python files of *folder*."""
    links = (f'<li><a href="{folder.name}/{name}.html">{name}</a></li>' for name in _python(folder))
    return f"<ul>{''.join(links)}</ul>"


def _python(folder: Path) -> list[str]:
    return [name for name in _tracked(folder) if name.endswith(".py")]


def _pages(app: Sphinx) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield a page for each file and folder that a page of the site links to."""
    bridge = PygmentsBridge("html", app.config.pygments_style or "default")
    for relative in sorted(_sources(app.env)):
        path = ROOT / relative
        if path.is_dir():
            body = _listing(path)
        else:
            text = path.read_text("utf-8")
            try:
                language = get_lexer_for_filename(path.name).aliases[0]
            except ClassNotFound:
                language = "text"
            body = bridge.highlight_block(text, language, linenos=False)
        yield f"{SOURCES}/{relative}", {"title": relative, "body": f"<h1>{relative}</h1>{body}"}, "page.html"


def _merge(app: Sphinx, env: BuildEnvironment, docnames: list[str], other: BuildEnvironment) -> None:
    del app, docnames
    _sources(env).update(_sources(other))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("source-read", _contents)
    # Before Sphinx copies what a page links to.
    app.connect("doctree-read", _link, priority=100)
    app.connect("html-collect-pages", _pages)
    app.connect("env-merge-info", _merge)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
