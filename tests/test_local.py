"""`LocalDynamoDB`: what it says when it cannot start."""

from __future__ import annotations

import socket

import pytest

from dynamostore import local
from dynamostore.local import LocalDynamoDB


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"port {port} is in use: choose another"), LocalDynamoDB(port):
            pass


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('No module named ministack')", r"pip install 'dynamostore\[local\]'"),
        ("import sys; sys.exit('first\\nits last line')", r"did not start on port \d+: its last line"),
        ("", r"did not start on port \d+: "),
    ],
)
def test_a_server_that_ends_at_once_is_told_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    monkeypatch.setattr(local, "_PROGRAM", program)
    with pytest.raises(RuntimeError, match=said), LocalDynamoDB():
        pass
