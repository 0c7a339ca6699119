"""The versions of Python that this project supports: the classifiers of pyproject.toml, from which all other lists derive.

python -m tools.pythons           the versions, and the interpreters of this machine
python -m tools.pythons --json    the versions as a JSON list, for a workflow's matrix
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLASSIFIER = "Programming Language :: Python :: 3."


def versions() -> tuple[str, ...]:
    """Return the supported versions, oldest first: ``("3.11", ...)``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    minors = [int(line.removeprefix(CLASSIFIER)) for line in project["classifiers"] if line.startswith(CLASSIFIER)]
    return tuple(f"3.{minor}" for minor in sorted(minors))


def find(version: str) -> Path | None:
    """Return the path of an interpreter of *version*, or None if this machine does not have it."""
    return next((path for candidate in _candidates(version) if (path := _interpreter(candidate, version))), None)


def _candidates(version: str) -> Iterator[Path]:
    """On the PATH; of pyenv, whose shims work only for the versions that are switched on; unpacked by tools/debian.py."""
    name = f"python{version}"
    on_path = shutil.which(name)
    if on_path is not None:
        yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted((pyenv / "versions").glob(f"{version}.*/bin/{name}"), reverse=True)
    yield ROOT / ".pythons" / version / "usr/bin" / name


def _interpreter(path: Path, version: str) -> Path | None:
    """Return the interpreter that *path* starts, if it is of *version*: a shim may start none, or another."""
    program = "import sys; print(*sys.version_info[:2], sep='.'); print(sys.executable)"
    try:
        done = subprocess.run([path, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found, _, executable = done.stdout.strip().partition("\n")
    return Path(executable) if done.returncode == 0 and found == version else None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.pythons", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the versions as a JSON list")
    options = parser.parse_args(arguments)
    if options.json:
        print(json.dumps(versions()))
    else:
        for version in versions():
            print(version, find(version) or "missing")
    return 0


if __name__ == "__main__":
    sys.exit(main())
