"""The checks before a release: placeholders, the changelog, links that PyPI can resolve, and the workflows' own rules."""

from __future__ import annotations

import re
from datetime import date

import pytest

import dynamostore
from hatch_build import absolute, urls
from tools import release

from .distribution import ROOT

TODAY = date(2026, 11, 25)
ENTRY = (
    "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-11-24\n\n### Added\n\n- A thing.\n\n## [1.1.0] - 2026-11-01\n"
)


def test_a_release_waits_for_the_owner_to_fill_in_the_placeholders() -> None:
    filled = {"repository": "https://git.example/x", "site": "https://x.example", "contact": "x@x.example"}
    assert release.placeholders(filled) == []
    for name in release.PLACES:
        assert release.placeholders({**filled, name: "https://owner.invalid"}) == [name]
        assert release.placeholders({key: value for key, value in filled.items() if key != name}) == [name]


def test_the_values_stand_in_pyproject_and_nowhere_else() -> None:
    values = release.read_pyproject()["tool"]["dynamostore"]
    assert set(values) == set(release.PLACES)
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.yml")]:
        text = path.read_text("utf-8")
        assert not [value for value in values.values() if value in text], path


def test_the_changelog_has_a_dated_entry_for_the_version() -> None:
    assert "1.2.0" in release.check_changelog(ENTRY, "1.2.0", TODAY)
    release.check_changelog((ROOT / "CHANGELOG.md").read_text("utf-8"), dynamostore.__version__, date.max)


@pytest.mark.parametrize(
    ("changelog", "version", "said"),
    [
        (ENTRY, "1.3.0", "must be [1.3.0]"),
        (ENTRY.replace("2026-11-24", "soon"), "1.2.0", "write YYYY-MM-DD"),
        (ENTRY.replace("2026-11-24", "2026-12-01"), "1.2.0", "in the future"),
        (ENTRY.replace("[Unreleased]\n", "[Unreleased]\n\n- Another.\n"), "1.2.0", "move what is under"),
        ("# Changelog\n", "1.2.0", "must be [1.2.0]"),
    ],
)
def test_a_changelog_that_is_behind_stops_the_release(changelog: str, version: str, said: str) -> None:
    with pytest.raises(release.NotReady, match=re.escape(said)):
        release.check_changelog(changelog, version, TODAY)


def test_every_link_of_the_readme_is_absolute_on_pypi() -> None:
    shown = absolute((ROOT / "README.md").read_text("utf-8"), "https://git.example/x", "v1")
    links = re.findall(r'\]\(([^)]*)\)|\b(?:src|href|srcset)="([^"]*)"', shown)
    assert links
    assert all((inline or attribute).startswith(("https://", "#")) for inline, attribute in links)
    assert all(url.startswith("https://") for url in urls("https://git.example/x", "https://x.example").values())


def test_the_example_of_the_readme_is_found() -> None:
    assert "SessionManager" in release.example((ROOT / "README.md").read_text("utf-8"))
