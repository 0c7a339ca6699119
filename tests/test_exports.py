"""What is public: pinned, importable, documented, light to import, and in its layer."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from types import ModuleType

import pytest

import dynamostore
import session

from .distribution import ROOT, run

PACKAGES = (dynamostore, session)

# What a module may import beside the standard library. boto3 is for ``connect(via="boto3")`` alone, and botocore for
# what the environment does not say: who needs neither need not have them.
THIRD_PARTY = {
    "dynamostore._boto3": {"boto3", "botocore"},
    "dynamostore.cli._app": {"click"},
    "dynamostore.cli._bulk": {"click", "rich"},
    "dynamostore.cli._guide": {"click", "rich"},
    "dynamostore.cli._histogram": {"rich"},
    "dynamostore.cli._meter": {"botocore"},
    "dynamostore.cli._options": {"click"},
    "dynamostore.cli._progress": {"rich"},
    "dynamostore.cli._records": {"click"},
    "dynamostore.cli._serve": {"click"},
    "dynamostore.cli._state": {"click", "rich"},
    "dynamostore.cli._table": {"click", "rich"},
    "dynamostore.cli._tokens": {"click"},
    "dynamostore.wire._base64": {"pybase64"},
    "dynamostore.wire._botocore": {"botocore"},
    "dynamostore.wire._chain": {"botocore"},
    "dynamostore.wire._http": {"httptools"},
    "dynamostore.testing._agreement": {"hypothesis"},
    "dynamostore.testing._contract": {"hypothesis", "pytest"},
    "dynamostore.testing._fixtures": {"pytest"},
    "dynamostore.testing._renaming": {"pytest"},
    "session.web.asgi._waiting": {"greenlet"},
    "session.web.django._checks": {"django"},
    "session.web.django._clearing": {"django"},
    "session.web.django._data": {"django"},
    "session.web.django._manager": {"django"},
    "session.web.django._middleware": {"asgiref", "django"},
    "session.web.django._page": {"django"},
    "session.web.django._runs": {"django"},
    "session.web.django._store": {"django"},
    "session.web.django.apps": {"django"},
    "session.web.django": {"django"},
    "session.web.flask._config": {"flask"},
    "session.web.flask._context": {"flask"},
    "session.web.flask._runs": {"flask"},
    "session.web.flask._session": {"flask", "werkzeug"},
    "session.web.flask": {"flask", "werkzeug"},
}
EVERYWHERE = {"msgspec"}
# What is not there at run time.
FOR_TYPES = {"mypy_boto3_dynamodb", "typing_extensions"}


# The names


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_all_is_the_public_names_and_sorted(package: ModuleType) -> None:
    public = [name for name, value in vars(package).items() if not name.startswith("_") and not inspect.ismodule(value)]
    assert package.__all__ == sorted(public)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_star_import_brings_every_name(package: ModuleType) -> None:
    namespace: dict[str, object] = {}
    exec(f"from {package.__name__} import *", namespace)
    assert sorted(namespace.keys() - {"__builtins__"}) == package.__all__


def test_every_public_module_lists_names_that_are_there() -> None:
    for module in public_modules():
        # A package may have no more than its modules.
        assert module.__all__ or hasattr(module, "__path__"), module.__name__
        assert [name for name in module.__all__ if not hasattr(module, name)] == [], module.__name__


def test_no_name_is_in_both_packages() -> None:
    assert set(dynamostore.__all__) & set(session.__all__) == set()


# What an import costs


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_an_import_brings_neither_boto3_nor_what_only_tests_need(package: ModuleType) -> None:
    program = f"import json, sys, {package.__name__}; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.partition(".")[0] for name in json.loads(run(sys.executable, "-c", program, cwd=ROOT))}
    assert package.__name__ in loaded
    foreign = loaded & {"boto3", "botocore", "moto", "mypy_boto3_dynamodb", "pytest", "hypothesis", "ministack"}
    assert foreign == set()


def test_dynamostore_does_without_session() -> None:
    program = "import sys, dynamostore; print('session' in sys.modules)"
    assert run(sys.executable, "-c", program, cwd=ROOT).strip() == "False"


# The documentation


def public_modules() -> Iterator[ModuleType]:
    for package in PACKAGES:
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.rpartition(".")[2].startswith("_"):
                yield importlib.import_module(found.name)


def undocumented(module: ModuleType) -> Iterator[str]:
    if not module.__doc__:
        yield module.__name__
    for name in module.__all__:
        value = getattr(module, name)
        if not inspect.isclass(value) and not inspect.isfunction(value):
            continue
        # A dataclass that has none is given its signature for one.
        if not value.__doc__ or value.__doc__.startswith(f"{name}("):
            yield f"{module.__name__}.{name}"
        for attribute, member in vars(value).items() if inspect.isclass(value) else ():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if inspect.isfunction(function) and not attribute.startswith("_") and not function.__doc__:
                yield f"{module.__name__}.{name}.{attribute}"


def test_all_that_is_public_is_documented() -> None:
    # DynamoDB documents its calls itself; a test, and a rule of a state machine, says it by its name.
    exempt = ("dynamostore.client.DynamoClient.", "dynamostore.client.AsyncDynamoClient.", "dynamostore.testing.Store")
    missing = [name for module in public_modules() for name in undocumented(module) if not name.startswith(exempt)]
    assert missing == []


# The layers, read from the source


@dataclass(frozen=True)
class Import:
    """One imported name: *module* it comes from, *name* (None: the module itself), and whether it is for types."""

    module: str
    name: str | None
    for_types: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package.__name__).rglob("*.py"))
}

# What uses the packages from outside, as anybody may.
EXAMPLES = {f"examples.{path.stem}": path for path in sorted((ROOT / "examples").glob("*.py"))}


@cache
def source(name: str) -> ast.Module:
    path = (MODULES | EXAMPLES)[name]
    return ast.parse(path.read_text("utf-8"), str(path))


@cache
def imports(name: str) -> list[Import]:
    """All that a module imports, wherever in it."""
    package = name if name in MODULES and MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    return list(_imports(source(name), package, for_types=False))


def _imports(node: ast.AST, package: str, *, for_types: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, None, for_types)
    elif isinstance(node, ast.ImportFrom):
        origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        for alias in node.names:
            submodule = f"{origin}.{alias.name}"
            yield Import(submodule, None, for_types) if submodule in MODULES else Import(origin, alias.name, for_types)
    elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        for statement in node.body:
            yield from _imports(statement, package, for_types=True)
        for statement in node.orelse:
            yield from _imports(statement, package, for_types=for_types)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, package, for_types=for_types)


def test_a_module_imports_no_more_than_it_may() -> None:
    everywhere = sys.stdlib_module_names | {package.__name__ for package in PACKAGES} | EVERYWHERE
    for module in MODULES:
        there = everywhere | THIRD_PARTY.get(module, set())
        more = [used for used in imports(module) if used.top not in (there | FOR_TYPES if used.for_types else there)]
        assert more == [], module


def test_imports_point_downwards_only() -> None:
    graph = {
        module: {used.module for used in imports(module) if used.module in MODULES and not used.for_types}
        for module in MODULES
    }
    # Raises CycleError, which names the modules that import each other in a circle.
    TopologicalSorter(graph).prepare()


def test_dynamostore_never_imports_session() -> None:
    for module in MODULES:
        if module.partition(".")[0] == "dynamostore":
            assert [used for used in imports(module) if used.top == "session"] == [], module


def test_the_page_on_the_layers_names_each_module_and_imports_point_down_in_it() -> None:
    rooms = {package.__name__: list(layers(package.__name__)) for package in PACKAGES}
    for module in MODULES:
        package, _, rest = module.partition(".")
        if rest not in {"", "__main__", "plans", "web"}:
            assert room(rest, rooms[package]) is not None, f"docs/contributing/layers.md does not name {module}"
    for module in MODULES:
        package, _, rest = module.partition(".")
        here = room(rest, rooms[package])
        for used in imports(module):
            other, _, part = used.module.partition(".")
            there = room(part, rooms[package]) if other == package else None
            assert here is None or there is None or there >= here, f"{module} imports {used.module}, a layer above it"


def layers(package: str) -> Iterator[list[str]]:
    """The lines of the table of *package* in docs/contributing/layers.md, from the top, each as its modules."""
    text = (ROOT / "docs" / "contributing" / "layers.md").read_text("utf-8")
    table = text.partition(f"## {package}\n")[2].partition("\n## ")[0]
    for line in table.splitlines():
        if line.startswith("| `"):
            yield [name.strip("/").replace("/", ".") for name in re.findall(r"`([\w/]+)`", line.split("|")[1])]


def room(module: str, rooms: list[list[str]]) -> int | None:
    """The number of the line that names *module*, or a package that it is in."""
    for number, names in enumerate(rooms):
        if any(f"{module}.".startswith(f"{name}.") for name in names):
            return number
    return None


def test_a_private_module_is_used_within_its_package_only() -> None:
    """`a.b._c` is for the modules of `a.b`, and of the packages within it."""
    for module in [*MODULES, *EXAMPLES]:
        used = {used.module for used in imports(module)} | {f"{used.module}.{used.name}" for used in imports(module)}
        private = [name for name in used if (outer := owner(name)) and not f"{module}.".startswith(f"{outer}.")]
        assert private == [], module


def owner(name: str) -> str:
    """The package of a private module of ours, or of what is in it; "" if *name* is public, or not ours."""
    parts = name.split(".")
    if parts[0] not in {package.__name__ for package in PACKAGES}:
        return ""
    for at, part in enumerate(parts[1:], 1):
        if part.startswith("_") and not part.endswith("__"):
            return ".".join(parts[:at])
    return ""


def test_no_public_signature_says_any() -> None:
    saying = [
        f"{module}.{function.name}: {ast.unparse(annotation)}"
        for module in MODULES
        if "._" not in module
        for function in ast.walk(source(module))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for annotation in signature(function)
        if re.search(r"\bAny\b", ast.unparse(annotation))
    ]
    assert saying == []


def signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr]:
    arguments = function.args
    everyone = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    of_arguments = [argument.annotation for argument in everyone if argument is not None]
    yield from (annotation for annotation in (*of_arguments, function.returns) if annotation is not None)


def test_the_help_of_connect_opens_with_a_readable_default() -> None:
    for connect in (dynamostore.connect, dynamostore.connect_async):
        assert inspect.signature(connect).parameters["table"].default == dynamostore.Table().name
