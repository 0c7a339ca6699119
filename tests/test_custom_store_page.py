"""The store on the page "Write a store" keeps the contract: its tests run here, as in a reader's test module."""

from __future__ import annotations

import re

from hypothesis import Phase, settings

from dynamostore.testing import StoreAgreement

from .distribution import ROOT

PAGE = ROOT / "docs" / "howto" / "custom-store.md"

_blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
# Not the block that writes a file: the page's own test runs it.
_page: dict[str, object] = {"__name__": __name__}
exec(compile("\n".join(block for block in _blocks if "sessions.db" not in block), str(PAGE), "exec"), _page)

TestSQLiteStore = _page["TestSQLiteStore"]
_agreement = _page["Agreement"]
assert isinstance(_agreement, type)
assert issubclass(_agreement, StoreAgreement)
TestAgreement = _agreement.TestCase
TestAgreement.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, phases=[Phase.generate])
