"""The contract suite against every store."""

from __future__ import annotations

import pytest

from dynamostore.testing import StoreContract

# What moto does otherwise than DynamoDB.
MOTO = {
    "test_data_is_as_large_as_an_item_may_be_and_no_larger[moto]": "moto counts bytes by their base64",
    "test_of_many_at_once_one_creates_and_one_replaces[moto]": "moto lets two threads pass one condition",
}


class TestContract(StoreContract):
    """``store`` is conftest's: one for each server, and one in memory."""

    @pytest.fixture(autouse=True)
    def _moto_is_another(self, request: pytest.FixtureRequest) -> None:
        if reason := MOTO.get(request.node.name):
            pytest.skip(reason)
