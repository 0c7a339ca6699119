"""A Sphinx extension: writes ``llms.txt``, a list of the pages in the order of the contents, with a sentence on each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_END = re.compile(r"(?<=[a-z0-9)][.!?:])\s+")


def first_sentence(document: nodes.document) -> str:
    """Return the first sentence of a page's prose; "" for a page without prose."""
    for paragraph in document.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section):
            sentence = _END.split(" ".join(paragraph.astext().split()))[0]
            return sentence.rstrip(":") if sentence.endswith(":") else sentence
    return ""


def _contents(env: BuildEnvironment, docname: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the captions of the contents in *docname*, each with its pages and the pages below them."""
    for toctree in env.get_doctree(docname).findall(addnodes.toctree):
        pages = [page for _, page in toctree["entries"] if page in env.found_docs]
        below = [one for page in pages for one in (page, *_below(env, page))]
        yield toctree.get("caption") or "Pages", below


def _below(env: BuildEnvironment, docname: str) -> Iterator[str]:
    for page in env.toctree_includes.get(docname, []):
        yield page
        yield from _below(env, page)


def lines(env: BuildEnvironment, root: str, title: str) -> Iterator[str]:
    """Yield the lines of ``llms.txt``."""
    yield f"# {title}"
    yield ""
    yield f"> {first_sentence(env.get_doctree(root))}"
    for caption, pages in _contents(env, root):
        yield ""
        yield f"## {caption}"
        yield ""
        for page in pages:
            sentence = first_sentence(env.get_doctree(page))
            yield f"- [{env.titles[page].astext()}]({page}.html)" + (f": {sentence}" if sentence else "")


def _write(app: Sphinx, failure: Exception | None) -> None:
    if failure is None and app.builder.format == "html":
        text = "\n".join(lines(app.env, app.config.root_doc, app.config.project))
        Path(app.outdir, "llms.txt").write_text(f"{text}\n", "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
