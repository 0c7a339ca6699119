"""The page "Testing your app" is a test module, and passes: its fixtures and tests are run by pytest, as a reader's are."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from .distribution import ROOT, run

PAGE = ROOT / "docs" / "howto" / "testing.md"


def test_the_page_is_a_test_module_that_passes(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    module = tmp_path / "test_app.py"
    module.write_text("\n\n".join(blocks), "utf-8")
    tests = len(re.findall("^ *def test_", module.read_text("utf-8"), re.MULTILINE))
    assert tests > 10
    # Warnings are errors, but for the one that Starlette's client gives about httpx.
    configuration = tmp_path / "pytest.ini"
    configuration.write_text("[pytest]\nfilterwarnings =\n    error\n    ignore:Using `httpx`\n")
    # From the source tree, which -m puts before what is installed.
    said = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", configuration, module, cwd=ROOT)
    assert f"{tests} passed" in said
