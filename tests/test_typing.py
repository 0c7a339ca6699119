"""What mypy tells the packages' users: tests/typing, checked against the installed wheel as strictly as it goes."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
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


def stubs() -> list[str]:
    """The distributions that give boto3 its types."""
    names = {distribution.name for distribution in metadata.distributions()}
    return sorted(name for name in names if re.match(r"(boto3-stubs|botocore-stubs|mypy-boto3-|types-)", name))


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Environment]:
    """Two users: one has boto3-stubs, the other's boto3 has no types at all."""
    wheel, directory = built(tmp_path_factory).wheel, tmp_path_factory.mktemp("environments")
    return {
        "with_stubs": install(wheel, directory / "with_stubs", [*IMPORTED, *stubs()]),
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


def test_pyright_agrees(environments: dict[str, Environment], tmp_path: Path) -> None:
    # Of what the two checkers have differed in.
    pytest.importorskip("pyright", reason="pyright is not installed")
    shutil.copytree(TYPING, tmp_path, ignore=shutil.ignore_patterns("__pycache__", "conftest.py"), dirs_exist_ok=True)
    (tmp_path / "pyright_user.py").write_text(PYRIGHT_USER, "utf-8")
    files = ["objects.py", "pyright_user.py"]
    config = {
        "include": files,
        "extraPaths": [str(environments["without_stubs"].packages)],
        "enableTypeIgnoreComments": True,
        "reportMissingModuleSource": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config), "utf-8")
    done = attempt(sys.executable, "-m", "pyright", "--outputjson", "--project", tmp_path, cwd=tmp_path)
    errors = [
        (Path(error["file"]).name, error["range"]["start"]["line"], error["rule"])
        for error in json.loads(done.stdout)["generalDiagnostics"]
        if error["severity"] == "error"
    ]
    mistake = PYRIGHT_USER.splitlines().index("    s['k'] = b'data'")
    assert errors == [("pyright_user.py", mistake, "reportArgumentType")], done.stdout


PYRIGHT_USER = """
from collections.abc import Sequence
from session import JSONInput, Session
def use(
    s: Session, names: list[str], words: Sequence[str], counts: dict[str, int], rows: list[tuple[int, str]], v: JSONInput
) -> None:
    s['k'] = names
    s['k'] = words
    s['k'] = counts
    s['k'] = rows
    s['k'] = v
    s['k'] = (1, [], {})
    s.update(counts, k=names)
    s.setdefault('k', rows)
    s |= counts
    s['k'] = b'data'
"""


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
