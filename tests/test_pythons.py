"""The versions of Python and of the dependencies: one list, on which everything agrees, and a lock for everybody."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tools import debian, matrix, pythons

from .distribution import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
VERSIONS = pythons.versions()


def test_the_versions_leave_no_gap_and_begin_where_the_wheel_does() -> None:
    minors = [int(version.removeprefix("3.")) for version in VERSIONS]
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert PROJECT["project"]["requires-python"] == f">={VERSIONS[0]}"


def test_the_checkers_check_for_the_oldest() -> None:
    mypy = ConfigParser()
    mypy.read(ROOT / "mypy.ini")
    assert mypy["mypy"]["python_version"] == VERSIONS[0]
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{VERSIONS[0].replace('.', '')}"


def test_a_workflow_is_told_the_versions_as_json() -> None:
    said = subprocess.run([sys.executable, "-m", "tools.pythons", "--json"], cwd=ROOT, check=True, capture_output=True)
    assert tuple(json.loads(said.stdout)) == VERSIONS


def test_an_interpreter_of_another_version_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(pythons, "ROOT", tmp_path)
    for name in (here, "3.999"):
        (tmp_path / f"python{name}").symlink_to(sys.executable)
    assert pythons.find(here) is not None
    assert pythons.find("3.999") is None


def test_the_matrix_says_what_ran_and_what_was_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "COUNTS", tmp_path)
    (tmp_path / "tests-3.11.xml").write_text('<testsuites><testsuite tests="9" failures="2" skipped="1"/></testsuites>')
    said = matrix.summary({"tests-3.11": "failed", "tests-3.12": "skipped"}, ["tests-3.11", "tests-3.12", "tests-3.13"])
    assert [line.split(maxsplit=1) for line in said.splitlines()] == [
        ["tests-3.11", "FAILED      6 passed, 2 failed, 1 skipped"],
        ["tests-3.12", "missing"],
        ["tests-3.13", "did not run"],
    ]


def test_where_there_is_no_other_python_none_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    monkeypatch.setattr(pythons, "find", lambda version: Path(sys.executable) if version == here else None)
    assert matrix.main(["--other"]) == 0
    assert "no other Python is here" in capsys.readouterr().out


# The lock: what it names is installed on every machine, so it may name the public index only.


def hosts(lock: str) -> set[str]:
    """Return the origins of all URLs in *lock*, and every path to a file or a repository as it stands."""
    found = {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in re.findall(r'"([a-z+]+:[^"]*)"', lock)}
    return found | set(re.findall(r"\b(?:path|directory|git) = \"[^\"]*\"", lock))


PUBLIC = {"https://pypi.org", "https://files.pythonhosted.org"}


def test_the_lock_names_the_public_index_and_nothing_else() -> None:
    assert hosts((ROOT / "uv.lock").read_text("utf-8")) == PUBLIC


@pytest.mark.parametrize(
    "line",
    [
        'source = { registry = "https://mirror.example/simple" }',
        'sdist = { url = "file:///opt/wheels/x.tar.gz" }',
        'source = { registry = "file:///opt/simple" }',
        'source = { git = "ssh://git@host/x" }',
        'source = { path = "../x.whl" }',
        'sdist = { url = "http://files.pythonhosted.org/x" }',
        'sdist = { url = "https://user:secret@pypi.org/x" }',
    ],
)
def test_another_source_in_the_lock_is_noticed(line: str) -> None:
    assert hosts(line) - PUBLIC


def test_the_lock_has_a_checksum_for_each_file() -> None:
    files = re.findall(r'\{ url = "[^"]*"(.*?) \}', (ROOT / "uv.lock").read_text("utf-8"))
    assert files
    assert all(re.search(r'hash = "sha256:[0-9a-f]{64}"', file) for file in files)


def test_the_lock_fits_the_groups_and_the_extras() -> None:
    # `make lock-check` says whether the versions fit, too; this needs no uv.
    lock = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
    (ours,) = [package for package in lock["package"] if package["name"] == "dynamostore"]
    assert lock["requires-python"] == PROJECT["project"]["requires-python"]
    assert set(ours["optional-dependencies"]) == set(PROJECT["project"]["optional-dependencies"])
    assert set(ours["metadata"]["requires-dev"]) == set(PROJECT["dependency-groups"])


# Interpreters from Debian.

INDEX = """\
Package: python3.99
Pre-Depends: libc6 (>= 2.38)
Depends: libpython3.99-stdlib (= 3.99.0-1), media-types | mime-support
Filename: pool/python3.99.deb
SHA256: 00

Package: libpython3.99-stdlib
Depends: libc6:any, python3.99
Filename: pool/stdlib.deb
SHA256: 11

Package: libc6
Filename: pool/libc6.deb
SHA256: 22
"""


def test_a_python_is_unpacked_with_all_that_it_depends_on() -> None:
    found = debian.needed(debian.parsed(INDEX), "python3.99")
    assert {package.path for package in found} == {"pool/python3.99.deb", "pool/stdlib.deb", "pool/libc6.deb"}
    with pytest.raises(debian.Failure, match="has no python3\\.98"):
        debian.needed(debian.parsed(INDEX), "python3.98")


def test_what_does_not_have_its_checksum_is_not_unpacked() -> None:
    release = f"SHA256:\n {'0' * 64}  123 main/Packages.xz\n"
    with pytest.raises(debian.Failure, match="does not have the checksum"):
        debian.checked(b"other", debian.stated(release, "main/Packages.xz"), "Packages.xz")
    with pytest.raises(debian.Failure, match="states no SHA-256"):
        debian.stated(release, "main/Packages")
