"""``python -m tools.inventory``: writes docs/inventories/python.inv, the names of Python that the API reference links to.

Sphinx would download a list of all names of docs.python.org. This one is made without a network: it holds the few names
below. Their kind comes from the running Python, and their address from the rule that docs.python.org follows: the page is the
module's, the anchor the full name. Built-in names stand on a few pages of their own. The format is version 1, plain text.

If a build reports "reference target not found" for a name of the standard library, add it here and run the command again.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
INVENTORY: Final = ROOT / "docs" / "inventories" / "python.inv"
NAMES: Final = (
    "asyncio.AbstractEventLoop",
    "collections.abc.AsyncGenerator",
    "collections.abc.AsyncIterable",
    "collections.abc.AsyncIterator",
    "collections.abc.Awaitable",
    "collections.abc.Callable",
    "collections.abc.Coroutine",
    "collections.abc.Generator",
    "collections.abc.Iterable",
    "collections.abc.Iterator",
    "collections.abc.Mapping",
    "collections.abc.MutableMapping",
    "collections.abc.Sequence",
    "contextlib.AbstractAsyncContextManager",
    "contextlib.AbstractContextManager",
    "dataclasses.dataclass",
    "datetime.datetime",
    "datetime.timedelta",
    "decimal.Decimal",
    "io.BytesIO",
    "pathlib.Path",
    "threading.Thread",
    "types.TracebackType",
    "typing.Any",
    "typing.Final",
    "typing.Generic",
    "typing.Literal",
    "typing.NamedTuple",
    "typing.Never",
    "typing.Protocol",
    "typing.Self",
    "typing.TypedDict",
    "wsgiref.types.WSGIApplication",
    "wsgiref.types.WSGIEnvironment",
)
# The built-in types that library/functions.rst documents itself; it leaves the others to library/stdtypes.rst.
_FUNCTIONS: Final = ("bool", "complex", "float", "int", "object", "property", "slice", "type")
_TYPES: Final = ("bytearray", "bytes", "dict", "frozenset", "list", "memoryview", "range", "set", "str", "tuple")


def entry(name: str) -> str:
    """Return the line of a name in a module."""
    module, _, attribute = name.rpartition(".")
    value: object = getattr(importlib.import_module(module), attribute)
    kind = "function" if inspect.isfunction(value) else "class"
    # asyncio has a page for each of its subjects; wsgiref has one for all its modules.
    page = {"asyncio": "asyncio-eventloop", "wsgiref.types": "wsgiref"}.get(module, module)
    return f"{name} {kind} library/{page}.html"


def lines() -> list[str]:
    """Return the lines of the inventory. Version 1 adds the anchors itself."""
    exceptions = sorted(
        name
        for name, value in vars(builtins).items()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__name__ == name
    )
    return [
        "# Sphinx inventory version 1",
        "# Project: Python",
        "# Version: 3",
        "None data library/constants.html",
        *(f"{name} class library/functions.html" for name in _FUNCTIONS),
        *(f"{name} class library/stdtypes.html" for name in _TYPES),
        *(f"{name} exception library/exceptions.html" for name in exceptions),
        *map(entry, NAMES),
    ]


def main() -> None:
    """Write the inventory."""
    INVENTORY.parent.mkdir(exist_ok=True)
    INVENTORY.write_text("\n".join(lines()) + "\n", "utf-8")


if __name__ == "__main__":
    main()
