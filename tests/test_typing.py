"""What type checkers tell the packages' users: tests/typing, checked against the installed wheel as strictly as it goes."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

import dynamostore
import session
from tools import pythons

from .distribution import ROOT, Environment, attempt, built, install

TYPING = ROOT / "tests" / "typing"
# The oldest Python that is supported and the newest: typeshed tells them apart.
VERSIONS = (pythons.versions()[0], pythons.versions()[-1])
# What the files in tests/typing import; pytest and hypothesis with what their own types stand on.
IMPORTED = (
    "anyio",
    "attrs",
    "blinker",
    "boto3",
    "botocore",
    "click",
    "flask",
    "httptools",
    "itsdangerous",
    "jinja2",
    "markupsafe",
    "msgspec",
    "pytest",
    "hypothesis",
    "iniconfig",
    "pluggy",
    "sortedcontainers",
    "starlette",
    "werkzeug",
)
# For tests/typing/with_stubs.
DJANGO = ("asgiref", "django", "django-stubs", "django-stubs-ext", "sqlparse")


def stubs() -> list[str]:
    """The distributions that give boto3 its types."""
    names = {distribution.name for distribution in metadata.distributions()}
    return sorted(name for name in names if re.match(r"(boto3-stubs|botocore-stubs|mypy-boto3-|types-)", name))


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Environment]:
    """Two users: one has boto3-stubs, the other's boto3 has no types at all."""
    wheel, directory = built(tmp_path_factory).wheel, tmp_path_factory.mktemp("environments")
    return {
        "with_stubs": install(wheel, directory / "with_stubs", [*IMPORTED, *DJANGO, *stubs()]),
        "without_stubs": install(wheel, directory / "without_stubs", IMPORTED),
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy_cache")


def mypy(environment: Environment, cache: Path, cwd: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """mypy --strict, with no configuration and as *environment* has it.

    *cwd* must be outside of the source tree: mypy looks for modules there, and above a file that is to be
    checked, before it looks at what is installed.
    """
    assert not cwd.is_relative_to(ROOT)
    # A cache for each environment: what one has, another has not.
    cache_dir = cache / environment.directory.name
    return attempt(
        *(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-color-output"),
        *("--python-executable", environment.python, "--cache-dir", cache_dir),
        *arguments,
        cwd=cwd,
    )


# Each version, with and without: what is true of one pair is true of the other two.
@pytest.mark.parametrize(("version", "boto3"), [*zip(VERSIONS, ["with_stubs", "without_stubs"], strict=True)])
def test_users_of_the_wheel_are_told_the_truth(
    boto3: str, version: str, environments: dict[str, Environment], cache: Path, tmp_path: Path
) -> None:
    # A copy, so that mypy finds nothing of ours but what is installed; called in what it says as the original.
    copy = Path("tests/typing")
    shutil.copytree(TYPING, tmp_path / copy, ignore=shutil.ignore_patterns("__pycache__", "conftest.py"))
    files = [path.relative_to(tmp_path) for path in (tmp_path / copy).glob("*.py")]
    done = mypy(environments[boto3], cache, tmp_path, "-v", "--python-version", version, *files, copy / boto3)
    assert done.returncode == 0, done.stdout
    # Its log, on stderr, names the files that it read.
    for package in ("dynamostore", "session"):
        assert str(environments[boto3].packages / package / "__init__.py") in done.stderr
        assert str(ROOT / package) not in done.stderr


@dataclass(frozen=True)
class Finding:
    """What a checker says of a line in tests/typing."""

    file: str
    line: int
    rule: str


def pyright(environment: Environment, files: Path) -> Iterator[Finding]:
    settings = json.loads((files / "pyrightconfig.json").read_text("utf-8"))
    (files / "pyrightconfig.json").write_text(json.dumps({**settings, "include": ["."]}), "utf-8")
    python = ("--pythonpath", environment.python)
    # boto3-stubs alone would take it ten seconds.
    (files / "with_stubs" / "clients.py").unlink()
    done = attempt(sys.executable, "-m", "pyright", "--outputjson", *python, "--project", files, cwd=files)
    for error in json.loads(done.stdout)["generalDiagnostics"]:
        if error["severity"] == "error":
            file = Path(error["file"]).relative_to(files.resolve()).as_posix()
            yield Finding(file, error["range"]["start"]["line"] + 1, error["rule"])


def ty(environment: Environment, files: Path) -> Iterator[Finding]:
    there = ("--python", environment.directory, "--config-file", files / "ty.toml")
    done = attempt(sys.executable, "-m", "ty", "check", *there, "--output-format", "concise", ".", cwd=files)
    for file, line, rule in re.findall(r"^(\S+?):(\d+):\d+: error\[([\w-]+)\]", done.stdout, re.MULTILINE):
        yield Finding(Path(file).as_posix(), int(line), rule)


def pyrefly(environment: Environment, files: Path) -> Iterator[Finding]:
    there = ("--config", files / "pyrefly.toml", "--python-interpreter-path", environment.python)
    done = attempt(sys.executable, "-m", "pyrefly", "check", *there, "--output-format", "json", ".", cwd=files)
    for error in json.loads(done.stdout)["errors"]:
        if error["severity"] == "error":
            yield Finding(Path(error["path"]).as_posix(), error["line"], error["name"])


CHECKERS = {"pyright": pyright, "ty": ty, "pyrefly": pyrefly}
FINDINGS = tomllib.loads((TYPING / "findings.toml").read_text("utf-8"))


def statements(source: str) -> dict[int, int]:
    """The first line of the statement that each line is part of; of a block, only its head is one."""
    firsts: dict[int, int] = {}
    for node in sorted(
        (one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.stmt)), key=lambda one: one.lineno
    ):
        body = getattr(node, "body", None)
        end = body[0].lineno - 1 if body else node.end_lineno or node.lineno
        firsts.update(dict.fromkeys(range(node.lineno, end + 1), node.lineno))
    return firsts


@pytest.mark.parametrize("checker", CHECKERS)
def test_other_checkers_find_what_mypy_finds_but_for_what_is_listed(
    checker: str, environments: dict[str, Environment], tmp_path: Path
) -> None:
    pytest.importorskip(checker, reason=f"{checker} is not installed")
    files = tmp_path / "files"
    shutil.copytree(TYPING, files, ignore=shutil.ignore_patterns("__pycache__", "conftest.py", "without_stubs"))
    marked: set[tuple[str, int]] = set()
    firsts: dict[str, dict[int, int]] = {}
    lines: dict[str, list[str]] = {}
    for path in files.rglob("*.py"):
        source, name = path.read_text("utf-8"), path.relative_to(files).as_posix()
        firsts[name], lines[name] = statements(source), source.splitlines()
        ignored = (number for number, line in enumerate(lines[name], 1) if "# type: ignore[" in line)
        marked |= {(name, firsts[name].get(number, number)) for number in ignored}
        # Not to be told what to ignore, it has to find each mistake itself.
        path.write_text(re.sub(r"# type: ignore\[.*", "#", source), "utf-8")
    found = {
        (one.file, firsts[one.file].get(one.line, one.line)): one.rule
        for one in CHECKERS[checker](environments["with_stubs"], files)
    }
    marked = {(name, line) for name, line in marked if (files / name).exists()}

    def spoken(place: tuple[str, int]) -> str:
        return lines[place[0]][place[1] - 1].partition("# type:")[0].strip()

    expected = FINDINGS[checker]
    refused = {(rule, spoken(place)) for place, rule in found.items() if place not in marked}
    assert refused == {(one["rule"], line) for one in expected["refuses"] for line in one["lines"]}
    missed = {spoken(place) for place in marked - found.keys()}
    assert missed == {line for one in expected["misses"] for line in one["lines"]}
    # Most of what is wrong is found: it did run.
    assert len(marked) > 400


def test_the_typing_page_lists_what_other_checkers_find() -> None:
    page = (ROOT / "docs/reference/typing.md").read_text("utf-8")
    rows = [
        f"| {checker} | {verb} | {one['reason']} |"
        for checker, kinds in FINDINGS.items()
        for verb in ("refuses", "misses")
        for one in kinds[verb]
    ]
    assert [row for row in page.splitlines() if row.startswith(tuple(f"| {checker} |" for checker in CHECKERS))] == rows


MISUSES = {
    "an argument of another type": ('store.save("token", "data", now)', "arg-type"),
    "a result of another type": ('data: str = store.save("token", b"data", now).data', "assignment"),
    "a None that was forgotten": ('store.find("token").data', "union-attr"),
    "a name that is not there": ("store.finde", "attr-defined"),
    "a wrong assertion": ('assert_type(s.get_int("n"), str)', "assert-type"),
    "an error that is none any more": ('s.get_int("n")  # type: ignore[call-overload]', "unused-ignore"),
    "a client that is none": ("DynamoStore(object())", "arg-type"),
}


@pytest.mark.parametrize("boto3", ["with_stubs", "without_stubs"])
def test_mypy_would_report_a_mistake(
    boto3: str, environments: dict[str, Environment], cache: Path, tmp_path: Path
) -> None:
    preamble = """
from datetime import datetime
from typing import assert_type
from dynamostore import DynamoStore, Store
from session import Session
def mistaken(store: Store, s: Session, now: datetime) -> None:
""".lstrip()
    lines = [f"    {line}\n" for line, _ in MISUSES.values()]
    (tmp_path / "mistaken.py").write_text(preamble + "".join(lines), "utf-8")
    said = mypy(environments[boto3], cache, tmp_path, "mistaken.py").stdout
    found = re.findall(r"^mistaken\.py:(\d+): error: .*\[([a-z-]+)\]$", said, re.MULTILINE)
    first = preamble.count("\n") + 1
    assert found == [(str(first + n), code) for n, (_, code) in enumerate(MISUSES.values())], said


def test_there_are_no_types_without_py_typed(environments: dict[str, Environment], cache: Path, tmp_path: Path) -> None:
    shutil.copytree(environments["without_stubs"].directory, tmp_path / "bare", symlinks=True)
    bare = Environment(tmp_path / "bare")
    for package in ("dynamostore", "session"):
        (bare.packages / package / "py.typed").unlink()
    (tmp_path / "user.py").write_text("import dynamostore\nimport session\n", "utf-8")
    done = mypy(bare, cache, tmp_path, "user.py")
    assert re.findall(r"error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE) == ["import-untyped"] * 2


# What tests/typing has to speak of


def members(value: object) -> Iterator[str]:
    """The public attributes of a class of ours: methods, properties, fields, and what it sets on itself."""
    for kind in inspect.getmro(value) if inspect.isclass(value) else ():
        if kind.__module__.startswith(("dynamostore", "session")):
            there = [*vars(kind), *inspect.get_annotations(kind)]
            there += re.findall(r"^ +self\.(\w+)(?:: .+)? = ", inspect.getsource(kind), re.MULTILINE)
            yield from (name for name in there if not name.startswith("_"))


@pytest.mark.parametrize("package", [dynamostore, session], ids=lambda package: package.__name__)
def test_nothing_public_is_left_out(package: ModuleType) -> None:
    lines = [line for path in TYPING.rglob("*.py") for line in path.read_text("utf-8").splitlines()]
    # What is said there to be wrong says nothing of what is right.
    spoken = set(re.findall(r"\w+", "\n".join(line for line in lines if "type: ignore" not in line)))
    missing = [name for name in package.__all__ if name not in spoken]
    for name in package.__all__:
        missing += [f"{name}.{member}" for member in members(getattr(package, name)) if member not in spoken]
    assert missing == []
