"""The app of docs/tutorial.md passes the tests that the page shows, and its files import nothing in vain."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from .distribution import ROOT, run

PAGE = (ROOT / "docs/tutorial.md").read_text("utf-8")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with shop.py, wsgi.py and test_shop.py, as the page says to save them."""
    *shop, tests = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (wsgi,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(shop) == 4  # "this block and the next three"
    for name, text in [("shop", "\n\n".join(shop)), ("wsgi", wsgi), ("test_shop", tests)]:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    return tmp_path


def test_the_tests_of_the_page_pass(files: Path) -> None:
    said = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py", cwd=files)
    assert "5 passed" in said


def test_the_files_import_nothing_in_vain(files: Path) -> None:
    run(sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F", ".", cwd=files)
