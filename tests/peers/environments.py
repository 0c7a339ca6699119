"""What a suite runs in: the project's sdist, checked and unpacked, and a virtual environment with it and this checkout."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .commands import CommandError, run_command
from .pins import FOLDER, Pin

__all__ = ["Environment", "build_wheel", "prepare"]

_ROOT = FOLDER.parents[1]
_MINUTES = 10
_OURS = "dynamostore"
# What this package needs beside the frameworks.
_EXTRAS = "asgi"


@dataclass(frozen=True)
class Environment:
    """A suite's virtual environment, and the unpacked sdist of its project."""

    python: Path
    source: Path
    version: str


def prepare(name: str, pin: Pin, *, cache: Path, wheel: Path, newest: bool, lock: bool) -> Environment:
    """Return the environment of suite *name*, made or updated in *cache*: all of it pinned, or all the *newest*.

    With *lock*, the versions that were installed are written to locks/. Raises `CommandError` if something cannot be had.
    """
    folder = cache / ("newest" if newest else "pinned") / name
    folder.mkdir(parents=True, exist_ok=True)
    interpreter = _find_python(pin.python)
    locked = FOLDER / "locks" / f"{name}.txt"
    constraints: list[str | Path] = [] if newest or lock or not locked.exists() else ["--constraint", locked]
    python = folder / "env" / "bin" / "python"
    # What is newest today is not what was yesterday.
    stamp = folder / "stamp"
    if newest or lock or not stamp.exists() or stamp.read_text() != _digest(interpreter, pin, locked):
        shutil.rmtree(folder)
        folder.mkdir()
        log = folder / "setup.log"
        run_command([interpreter, "-m", "venv", folder / "env"], seconds=60 * _MINUTES, log=log)
        sdist = _download(python, pin, folder / "sdist", newest=newest, log=log)
        _unpack(sdist, folder / "source")
        _pip(python, "install", *constraints, sdist, f"{_OURS}[{_EXTRAS}] @ {wheel.as_uri()}", *pin.requires, log=log)
        # Its own name, not `tests`, which other projects have, too.
        (_packages(python) / "peers_swap").symlink_to(FOLDER / "swap")
        if lock:
            _write_lock(python, pin, locked)
        stamp.write_text(_digest(interpreter, pin, locked))
    # The checkout may have changed, and its version not.
    _pip(python, "install", "--no-deps", "--force-reinstall", wheel, log=folder / "install.log")
    (source,) = (folder / "source").iterdir()
    return Environment(python, source, source.name.rpartition("-")[2])


def build_wheel(cache: Path) -> Path:
    """Return the wheel of this checkout, built anew: an editable install would bring its `tests` along."""
    folder = cache / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command: list[str | Path] = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, _ROOT]
    run_command(command, seconds=60 * _MINUTES, log=cache / "build.log")
    (wheel,) = folder.glob("*.whl")
    return wheel


def _download(python: Path, pin: Pin, folder: Path, *, newest: bool, log: Path) -> Path:
    """Return the project's sdist, whose hash pip has compared with the pin before it ran anything of it; then so do we."""
    folder.mkdir()
    wanted = folder / "wanted.txt"
    wanted.write_text(
        f"{pin.project}=={pin.series}\n" if newest else f"{pin.project}=={pin.version} --hash=sha256:{pin.sha256}\n"
    )
    only_source = ("--no-deps", "--no-binary", pin.project)
    _pip(python, "download", *only_source, "--dest", folder, "--requirement", wanted, log=log)
    (sdist,) = folder.glob("*.tar.gz")
    if not newest and hashlib.sha256(sdist.read_bytes()).hexdigest() != pin.sha256:
        raise CommandError(f"{sdist.name} has another sha256 than pins.toml: do not use it")
    return sdist


def _unpack(sdist: Path, folder: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")


def _pip(python: Path, *arguments: str | Path, log: Path) -> None:
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    run_command(command, seconds=60 * _MINUTES, log=log)


def _write_lock(python: Path, pin: Pin, path: Path) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "freeze"]
    frozen = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    lines = [line for line in frozen if "==" in line]
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# What {pin.title}'s tests run with, beside {pin.project} itself.\n" + "\n".join(lines) + "\n")


def _packages(python: Path) -> Path:
    command = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip())


def _find_python(oldest: str) -> Path:
    """Return an interpreter that is at least as new as *oldest*: this one if it will do."""
    wanted = tuple(map(int, oldest.split(".")))
    if sys.version_info >= wanted:
        return Path(sys._base_executable) if hasattr(sys, "_base_executable") else Path(sys.executable)
    for candidate in _candidates(wanted):
        program = "import sys; print(sys.executable); sys.exit(sys.version_info < " + repr(wanted) + ")"
        try:
            done = subprocess.run([candidate, "-c", program], capture_output=True, text=True, check=False, timeout=60)
        except OSError:
            continue
        if done.returncode == 0:
            return Path(done.stdout.strip())
    raise CommandError(f"it needs Python {oldest} or newer; put python{oldest} into PATH")


def _candidates(wanted: tuple[int, ...]) -> Iterator[str]:
    minors = [f"{wanted[0]}.{minor}" for minor in range(wanted[1], wanted[1] + 5)]
    yield from (f"python{minor}" for minor in minors)
    # pyenv has versions that it does not put into PATH.
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in minors:
        yield from (str(path / "bin" / "python") for path in sorted(versions.glob(f"{minor}.*")))


def _digest(interpreter: Path, pin: Pin, locked: Path) -> str:
    """A digest of all that an environment is made of."""
    versions = locked.read_text() if locked.exists() else ""
    return hashlib.sha256("\0".join((str(interpreter), repr(pin), versions)).encode()).hexdigest()
