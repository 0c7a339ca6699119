"""The metadata that depends on where the project lives: its URLs, its contact, and the README's links as PyPI shows them.

The values stand once, in pyproject.toml under ``[tool.dynamostore]``.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

# A link or picture in Markdown, or in an HTML attribute, that is not a URL and not an anchor of the page itself.
_LINK = re.compile(r"(?P<before>!?\[[^\]]*\]\(|\b(?:src|href|srcset)=\")(?!https?://|mailto:|#)(?P<path>[^)\"\s]+)")
_PICTURES = (".png", ".svg", ".jpg", ".gif", ".webp")


class Placement(MetadataHookInterface):
    """Fill in the fields that pyproject.toml declares as dynamic."""

    def update(self, metadata: dict[str, object]) -> None:
        """Set *readme*, *urls* and *authors*."""
        root = Path(self.root)
        place = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["dynamostore"]
        found = re.search(r'^__version__ = "(.+)"', (root / "dynamostore/_version.py").read_text("utf-8"), re.MULTILINE)
        tag = f"v{found[1]}" if found else "HEAD"
        text = (root / "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, place["repository"], tag)}
        metadata["urls"] = urls(place["repository"], place["site"])
        metadata["authors"] = [{"name": "The dynamostore authors", "email": place["contact"]}]


def absolute(text: str, repository: str, tag: str) -> str:
    """Return the Markdown *text* with each relative link made absolute: PyPI has no files beside the README.

    >>> absolute("[a](docs/a.md#b) ![p](p.png) [c](#c)", "https://repository.invalid/x", "v1")
    '[a](https://repository.invalid/x/blob/v1/docs/a.md#b) ![p](https://repository.invalid/x/raw/v1/p.png) [c](#c)'
    """

    def replaced(link: re.Match[str]) -> str:
        kind = "raw" if link["path"].partition("#")[0].endswith(_PICTURES) else "blob"
        return f"{link['before']}{repository}/{kind}/{tag}/{link['path']}"

    return _LINK.sub(replaced, text)


def urls(repository: str, site: str) -> dict[str, str]:
    """Return the project URLs that PyPI shows."""
    return {
        "Documentation": site,
        "Source": repository,
        "Changelog": f"{repository}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{repository}/issues",
        "Security": f"{repository}/security/policy",
    }
