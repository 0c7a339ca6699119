"""The README begins with the two commands, no link is dead, and every function of SCS for Go has its line."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FROM_SCS = (ROOT / "docs/background/from-scs.md").read_text(encoding="utf-8")

TYPES = ("String", "Bool", "Int", "Int64", "Float", "Time", "Bytes", "Object")
# The exported names of SCS for Go v0.1.1, engine/dynamostore and session, and of v1.4.1 where they differ.
SCS = [
    *("New", "NewWithOption", "DynamoStore.DB", "Find", "Save", "Delete", "Ping"),
    *("TableName", "TokenName", "DataName", "ExpiryName", "TTLName"),
    *("session.Engine", "session.Manage", "Option", "Middleware", "ContextName", "CookieName"),
    *("Domain", "ErrorFunc", "HttpOnly", "IdleTimeout", "Lifetime", "Path", "Persist", "Secure"),
    *("ErrTypeAssertionFailed", "ErrAlreadyWritten", "Keys", "Exists", "Remove", "Clear"),
    *("RegenerateToken", "Renew", "Destroy", "NewMockRequest"),
    *(f"{verb}{kind}" for kind in TYPES for verb in ("Get", "Put", "Pop")),
    *("NewManager", "NewCookieManager", "Manager.Name", "Manager.SameSite", "Manager.Load", "LoadFromContext"),
    *("Manager.AddToContext", "Manager.Use", "Manager.Multi", "Session.Token", "Session.Touch", "RenewToken"),
]


@pytest.mark.parametrize("name", SCS)
def test_every_function_of_scs_has_its_line(name: str) -> None:
    rows = [line.split("|")[1] for line in FROM_SCS.splitlines() if line.startswith("| ")]
    words = {word.strip("`.,[]()") for row in rows for word in row.replace("(", " ").split()}
    assert any(name == word or word.endswith(f".{name}") for word in words)


def test_the_two_commands_come_first() -> None:
    first = README.split("\n## ")[0]
    assert "make demo" in first
    assert "make test" in first


def test_the_files_that_it_links_to_are_there() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md"]
    for document in documents:
        for part in document.read_text(encoding="utf-8").split("](")[1:]:
            link = part.split(")")[0].split("#")[0]
            assert link.startswith("https://") or not link or (document.parent / link).exists(), (document.name, link)


def test_it_fits_on_a_screen() -> None:
    assert len(README.splitlines()) <= 90
