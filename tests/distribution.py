"""The distribution as its users get it: wheel and sdist, built once a test run, installed beside nothing of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Distribution:
    wheel: Path
    sdist: Path


def built(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """Wheel and sdist of the source tree; whichever test asks first has them built."""
    return _built(tmp_path_factory.getbasetemp() / "dist")


@cache
def _built(outdir: Path) -> Distribution:
    build(ROOT, outdir, "--wheel", "--sdist")
    (wheel,) = outdir.glob("*.whl")
    (sdist,) = outdir.glob("*.tar.gz")
    return Distribution(wheel, sdist)


def build(source: Path, outdir: Path, *kinds: str) -> None:
    """Build *source* with the backend that is installed here: nothing is downloaded."""
    run(sys.executable, "-m", "build", *kinds, "--no-isolation", "--outdir", outdir, source, cwd=ROOT)


@dataclass(frozen=True)
class Environment:
    """A virtual environment of a user's, with the wheel, what else was asked for, and nothing more."""

    directory: Path

    @property
    def python(self) -> Path:
        return self._path("scripts") / "python"

    @property
    def packages(self) -> Path:
        """Where the wheel is installed."""
        return self._path("purelib")

    def _path(self, name: str) -> Path:
        return Path(sysconfig.get_path(name, "venv", {"base": str(self.directory), "platbase": str(self.directory)}))


def install(wheel: Path, directory: Path, beside: Iterable[str] = ()) -> Environment:
    """Make an environment in *directory*: the wheel, installed, and the distributions *beside* it, linked."""
    environment = Environment(directory)
    venv.create(directory, symlinks=True, with_pip=False)
    for name in beside:
        for entry in _entries(metadata.distribution(name)):
            (environment.packages / entry.name).symlink_to(entry)
    # By the pip of this Python: to put one into each environment takes seconds.
    quiet = ("--quiet", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-index", "--no-compile")
    target = ("--target", environment.packages)
    run(sys.executable, "-m", "pip", "install", *quiet, *offline, *target, wheel, cwd=directory)
    return environment


def _entries(distribution: metadata.Distribution) -> set[Path]:
    """The packages and modules of a distribution that is installed here."""
    tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
    return {Path(str(distribution.locate_file(top))) for top in tops}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that has to succeed, and return what it said."""
    done = attempt(*command, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def attempt(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in *cwd*, with nothing in its environment that leads Python or mypy to the source tree."""
    leading = ("PYTHON", "MYPY", "PIP_", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(leading)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
