"""The app of docs/tutorial.md passes the tests that the page shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from .distribution import ROOT, run

PAGE = (ROOT / "docs/tutorial.md").read_text("utf-8")


def test_the_page_is_a_test_module_that_passes(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "test_shop.py").write_text("\n\n".join(blocks), encoding="utf-8")
    said = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py", cwd=tmp_path)
    assert "5 passed" in said
