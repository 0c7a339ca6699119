"""Wheel and sdist: they build, hold what they should and no more, say the right things, and work."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import dynamostore

from .distribution import ROOT, Distribution, build, built, install, run

INFO = f"dynamostore-{dynamostore.__version__}.dist-info"


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    return built(tmp_path_factory)


@pytest.fixture(scope="module")
def about(distribution: Distribution) -> metadata.Distribution:
    """What the wheel says about itself."""
    return metadata.PathDistribution(zipfile.Path(distribution.wheel) / INFO)


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_two_packages_whole(distribution: Distribution) -> None:
    assert {name for name in contents(distribution.wheel) if not name.startswith(f"{INFO}/")} == {
        path.relative_to(ROOT).as_posix()
        for package in ("dynamostore", "session")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_wheel_holds_nothing_else(distribution: Distribution) -> None:
    names = list(contents(distribution.wheel))
    assert {name.split("/")[0] for name in names} == {"dynamostore", "session", INFO}
    assert not [name for name in names if "test_" in name or name.endswith((".pyc", ".so", ".ini", ".toml"))]


def test_both_packages_say_that_they_are_typed(distribution: Distribution) -> None:
    assert {"dynamostore/py.typed", "session/py.typed"} <= contents(distribution.wheel).keys()


def test_the_licence_comes_with_it(distribution: Distribution, about: metadata.Distribution) -> None:
    licence = (ROOT / "LICENSE").read_bytes()
    assert contents(distribution.wheel)[f"{INFO}/licenses/LICENSE"] == licence
    assert about.metadata["License-Expression"] == "MIT"
    assert about.metadata.get_all("License-File") == ["LICENSE"]


def test_the_wheel_says_what_it_is(about: metadata.Distribution) -> None:
    assert (about.name, about.version) == ("dynamostore", dynamostore.__version__)
    assert about.metadata["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in about.metadata.get_all("Classifier", [])
    assert about.metadata["Description-Content-Type"] == "text/markdown"
    title = (ROOT / "README.md").read_text("utf-8").partition("\n")[0]
    assert about.metadata["Description"].startswith(f"{title}\n")


def test_it_needs_boto3_httptools_and_msgspec_and_no_more(about: metadata.Distribution) -> None:
    needed = [requirement for requirement in about.requires or () if "extra ==" not in requirement]
    assert sorted(re.split(r"[^A-Za-z0-9._-]", requirement)[0] for requirement in needed) == [
        "boto3",
        "httptools",
        "msgspec",
    ]


def test_what_is_extra_is_asked_for_by_name(about: metadata.Distribution) -> None:
    assert set(about.metadata.get_all("Provides-Extra", [])) == {
        "asgi",
        "cli",
        "django",
        "fast",
        "flask",
        "local",
        "testing",
    }


def test_the_index_would_take_both(distribution: Distribution) -> None:
    said = run(sys.executable, "-m", "twine", "check", "--strict", distribution.wheel, distribution.sdist, cwd=ROOT)
    assert said.count("PASSED") == 2


def test_the_sdist_holds_what_it_takes_to_test_it(distribution: Distribution) -> None:
    with tarfile.open(distribution.sdist) as archive:
        paths = [Path(name) for name in archive.getnames()]
    top = f"dynamostore-{dynamostore.__version__}"
    assert {path.parts[0] for path in paths} == {top}
    names = {path.relative_to(top).as_posix() for path in paths}
    assert {"LICENSE", "Makefile", "README.md", "conftest.py", "mypy.ini", "pyproject.toml"} <= names
    assert {"tests/conftest.py", "tests/typing/stores.py", "tests/servers/package.json"} <= names
    # Nothing that was made here, and nothing of whoever made it.
    made = {"node_modules", "__pycache__", "dist", "build"}
    hidden = {name for name in names if any(part.startswith(".") or part in made for part in name.split("/"))}
    assert hidden <= {".gitignore"}


def test_the_sdist_makes_the_same_wheel(distribution: Distribution, tmp_path: Path) -> None:
    with tarfile.open(distribution.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build(source, tmp_path / "dist", "--wheel")
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.name == distribution.wheel.name
    assert contents(wheel) == contents(distribution.wheel)


def test_the_wheel_works_beside_nothing_but_msgspec(distribution: Distribution, tmp_path: Path) -> None:
    # boto3 is what `connect` needs; who brings a client of another kind has no use for it.
    environment = install(distribution.wheel, tmp_path / "env", ["msgspec"])
    program = """
import dynamostore, session
manager = session.SessionManager(dynamostore.MemoryStore())
with manager.session(None) as s:
    s.put_string("message", "Hello world!")
with manager.session(s.token) as s:
    print(s.get_string("message"))
print(dynamostore.__file__, session.__file__, sep="\\n")
"""
    said, *files = run(environment.python, "-c", program, cwd=tmp_path).splitlines()
    assert said == "Hello world!"
    assert [Path(file).parents[1].resolve() for file in files] == [environment.packages.resolve()] * 2
