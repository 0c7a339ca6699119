"""What holds for all tests: no AWS account, and the documents are tests, too.

Every Python block of the README, of docs/ and of dynamostore/guide.md is run, in order, with a namespace for each document, on a local DynamoDB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from dynamostore import documented
from dynamostore.local import CREDENTIALS, LocalDynamoDB

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/**/*.md", "docs/*.md", "dynamostore/*.md"],
    fixtures=["on_a_local_dynamodb"],
).pytest()


def no_site() -> None:
    """Return None, as for a distribution that names no site."""


@pytest.fixture(scope="session", autouse=True)
def without_links() -> Iterator[None]:
    """Errors without a link, whether or not the installed distribution names a site; tests/test_documented.py has it look."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documented, "site", no_site)
        yield


@pytest.fixture(scope="session", autouse=True)
def credentials() -> Iterator[None]:
    """Made-up credentials, and nothing of the developer's own AWS configuration (but for another endpoint), nor of a proxy."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            # The servers of the tests are on this machine, which a proxy cannot reach. Not every client knows that.
            if name.upper().endswith("_PROXY"):
                patch.delenv(name)
        if "DYNAMOSTORE_TEST_ENDPOINT" in os.environ:
            yield
            return
        for name in list(os.environ):
            if name.startswith("AWS_"):
                patch.delenv(name)
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


@pytest.fixture(scope="session")
def dynamodb_of_the_pages(credentials: None) -> Iterator[str]:  # noqa: ARG001
    """One server for all pages: starting one for each would take longer than running their examples."""
    with LocalDynamoDB() as dynamodb:
        yield dynamodb.url


@pytest.fixture(scope="module")
def on_a_local_dynamodb(dynamodb_of_the_pages: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty DynamoDB that every client uses unless it gets another endpoint, and an empty folder to work in."""
    httpx.post(f"{dynamodb_of_the_pages}/_ministack/reset").raise_for_status()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_of_the_pages)
        patch.chdir(tmp_path_factory.mktemp("document"))
        yield
