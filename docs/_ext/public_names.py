"""A Sphinx extension: every public name stands in the reference with a docstring, and `name` in a docstring finds it.

A build warns of a name in the ``__all__`` of a public module that the reference leaves out or that has no docstring.
``make docs`` turns warnings into errors.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Final

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.errors import PycodeError
from sphinx.ext.intersphinx import resolve_reference_detect_inventory
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging
from sphinx.util.inspect import TypeAliasForwardRef
from sphinx.util.nodes import make_refnode

import dynamostore
import session

_log = logging.getLogger(__name__)

# Modules without an underscore that may change with any version: docs/contributing/layers.md.
INTERNAL: Final = frozenset(
    {
        "dynamostore.admin.where",
        "dynamostore.batch.segments",
        "dynamostore.batch.tables",
        "dynamostore.batch.unfinished",
        "dynamostore.documented",
        "dynamostore.misuse",
        "dynamostore.pauses",
        "dynamostore.plans",
        "dynamostore.private_files",
        "dynamostore.process_bound",
        "dynamostore.wire.timeouts",
        "dynamostore.wire.types",
        "dynamostore.workers",
        "session.plans",
        "session.web.django.apps",
    }
)
# A name that several classes have means the method of the first of these that has it.
PREFERRED: Final = (
    "session.Session",
    "session.SessionManager",
    "dynamostore.DynamoStore",
    "dynamostore.Store",
    "dynamostore.batch.Batch",
)
# Names of the standard library that a signature has without their module, as they are imported for type checkers only.
STANDARD: Final = {
    "asyncio.events.AbstractEventLoop": "asyncio.AbstractEventLoop",
    "WSGIApplication": "wsgiref.types.WSGIApplication",
    "WSGIEnvironment": "wsgiref.types.WSGIEnvironment",
    "datetime": "datetime.datetime",
    "timedelta": "datetime.timedelta",
}
# A constructor with one of these is not called by users: they get the object from a manager or a framework.
PRIVATE_TYPES: Final = ("_state.State", "_policy.Policy", "_runs.Runs", "_setup.Setup", "draft.Draft")


def public_modules() -> Iterator[ModuleType]:
    """Yield the public modules of both packages."""
    for package in (dynamostore, session):
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            parts = found.name.split(".")
            above = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
            if not above & INTERNAL and not any(part.startswith("_") for part in parts):
                yield importlib.import_module(found.name)


def _origin(value: object, module: str, name: str) -> str:
    """Return the full name under which a name was defined; the modules that export it share it."""
    if inspect.isclass(value) or inspect.isfunction(value):
        return f"{value.__module__}.{value.__qualname__}"
    return f"{module}.{name}"


def _attribute_docs(module: ModuleType, name: str) -> list[str]:
    """Return the docstring after the assignment of *name*, in the module or in another of the same package."""
    package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
    beside = [f"{package}.{found.name}" for found in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    for candidate in (module.__name__, *beside):
        try:
            docs = ModuleAnalyzer.for_module(candidate).find_attr_docs()
        except PycodeError:
            continue
        if ("", name) in docs:
            return docs["", name]
    return []


def _is_documented(module: ModuleType, name: str) -> bool:
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        # A dataclass without a docstring has its signature for one.
        return value.__doc__ is not None and not value.__doc__.startswith(f"{name}(")
    return bool(_attribute_docs(module, name))


def _check(app: Sphinx, env: BuildEnvironment) -> None:
    del app
    domain = env.domains.python_domain
    documented = set(domain.objects)
    for module in public_modules():
        if not module.__doc__:
            _log.warning("module %s has no docstring", module.__name__)
        for name in module.__all__:
            full = f"{module.__name__}.{name}"
            value = getattr(module, name)
            # An alias of a type is defined once, and exported by its package.
            elsewhere = any(one.endswith(f".{name}") and _same(one, value) for one in documented)
            if full not in documented and _origin(value, module.__name__, name) not in documented and not elsewhere:
                _log.warning("%s is public, but docs/reference/api does not list it", full)
            if not _is_documented(module, name):
                _log.warning("%s is public, but has no docstring", full)


def _same(name: str, value: object) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute, None) is value
    except ModuleNotFoundError:
        return False


def _find(domain: PythonDomain, target: str, module: str | None, class_: str | None) -> str | None:
    """Return the documented name that *target* means in the docstring of a *class_* in a *module*."""
    found = [name for name in domain.objects if name == target or name.endswith(f".{target}")]
    if len(found) < 2:
        return found[0] if found else None
    contexts = [f"{module}.{class_}", module, *PREFERRED, (module or "").partition(".")[0]]
    for context in contexts:
        if f"{context}.{target}" in found:
            return f"{context}.{target}"
    return min(found, key=lambda name: (name.count("."), name))


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Link a name in a docstring to its entry in the reference, in whichever module."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains.python_domain
    target = node["reftarget"].lstrip(".~")
    if target in STANDARD:
        node["reftarget"] = STANDARD[target]
        return resolve_reference_detect_inventory(env, node, content)
    name = _find(domain, target, node.get("py:module"), node.get("py:class"))
    if name is None and "." in target:
        # A signature names the private module. Find the public name.
        name = _find(domain, target.rpartition(".")[2], node.get("py:module"), None)
    if name is None:
        return None
    entry = domain.objects[name]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)


def _docstring(  # noqa: PLR0917 (Sphinx says so)
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Find the docstring of a constant where it is assigned; mark an indented block as a block of code."""
    del app, value, options
    module, _, attribute = name.rpartition(".")
    if what == "data" and not any(lines):
        lines[:] = _attribute_docs(importlib.import_module(module), attribute)
    for number in reversed(range(1, len(lines) - 1)):
        line, before = lines[number + 1], lines[number - 1]
        starts = (
            line.startswith("    ") and not lines[number] and before and not before.startswith((" ", "- ", "* ", ".."))
        )
        if starts and not before.endswith("::"):
            lines[number:number] = ["", "::"]


def _signature(  # noqa: PLR0917 (Sphinx says so)
    app: Sphinx, what: str, name: str, value: object, options: object, signature: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """Make a signature readable.

    Leave it out for a class that users do not construct. Write defaults that a factory makes as ``...``, and a constant that is a
    number as that number.
    """
    del app, name, options
    if what == "class" and signature and any(private in signature for private in PRIVATE_TYPES):
        return "", None
    if not signature:
        return None
    constants = vars(sys.modules.get(getattr(value, "__module__", ""), object))

    def number(found: re.Match[str]) -> str:
        constant = constants.get(found[0])
        return repr(constant) if isinstance(constant, int | float) else found[0]

    return re.sub(r"(?<== )[A-Z][A-Z_]+\b", number, signature.replace("<factory>", "...")), returned


def _bases(app: Sphinx, name: str, value: object, options: object, bases: list[type]) -> None:
    """List the public bases of a private base in its place."""
    del app, name, value, options
    while any(base.__name__.startswith("_") for base in bases):
        bases[:] = [one for base in bases for one in (base.__bases__ if base.__name__.startswith("_") else (base,))]


def _name_alias(self: TypeAliasForwardRef, name: str) -> None:
    """Give an alias of `autodoc_type_aliases` the attributes from which Sphinx takes the name of a type.

    Sphinx knows an alias only where it is a whole annotation, and not within ``JSONInput | None``.
    """
    module, _, attribute = name.rpartition(".")
    vars(self).update(name=name, __module__=module, __name__=attribute, __qualname__=attribute)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    TypeAliasForwardRef.__init__ = _name_alias  # type: ignore[method-assign]  # Sphinx has no setting for it
    app.connect("env-check-consistency", _check)
    app.connect("autodoc-process-bases", _bases)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    app.connect("missing-reference", _resolve, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
