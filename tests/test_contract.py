"""The contract suite against every store."""

from __future__ import annotations

import pytest

from dynamostore.testing import StoreContract


class TestContract(StoreContract):
    """``store`` is conftest's: one for each server, and one in memory."""

    @pytest.fixture(autouse=True)
    def _moto_counts_otherwise(self, request: pytest.FixtureRequest) -> None:
        if request.node.name == "test_data_is_as_large_as_an_item_may_be_and_no_larger[moto]":
            pytest.skip("moto counts bytes by their base64")
