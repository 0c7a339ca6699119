"""The command line rewords the library's messages: each rewording applies, and no Python is left."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dynamostore
from dynamostore.cli._errors import API, for_command_line

LIBRARY = Path(dynamostore.__file__).parent
# The modules whose messages the command line can print.
SHOWN = ("admin", "batch", "plans", "wire", "_boto3.py", "_sources.py", "private_files.py")
PYTHON = re.compile(
    r"(?<!--attribute )\b\w+=\.\.\.|\b(store|batch)\.\w+\(|\b\w+\(\)|\b(Batch|DynamoStore|Table|connect|policy)\(|=True\b"
)
# Errors of programs that use the library: no command can cause them.
PROGRAMMING = ("find() returned a record", "use replace()", "make one in each process")


def messages(path: Path) -> Iterator[str]:
    """Yield the strings in a module, without docstrings. The gaps of f-strings become {}."""
    tree = ast.parse(path.read_text("utf-8"))
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            inside.add(node.value)  # a docstring
        elif isinstance(node, ast.JoinedStr):
            inside.update(node.values)
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.value


def shown() -> Iterator[str]:
    for name in SHOWN:
        path = LIBRARY / name
        for module in sorted(path.rglob("*.py")) if path.is_dir() else (path,):
            yield from messages(module)


SHOWN_MESSAGES = tuple(shown())


@pytest.mark.parametrize("call", [call for call, _ in API])
def test_each_text_that_is_replaced_occurs_in_the_library(call: str) -> None:
    assert any(call in message for message in SHOWN_MESSAGES)


def test_no_message_keeps_python() -> None:
    kept = {
        message: reworded
        for message in SHOWN_MESSAGES
        if " " in message
        and PYTHON.search(reworded := for_command_line(message))
        and not any(part in message for part in PROGRAMMING)
    }
    assert kept == {}
