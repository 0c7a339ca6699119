"""``python -m tools.release``: check that the tree can be released: values, version, wheel, metadata, and each extra in an empty environment."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import tomllib
import venv
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Final

from dynamostore import __version__
from dynamostore.local import CREDENTIALS, LocalDynamoDB

ROOT: Final = Path(__file__).parents[1]
PLACES: Final = ("repository", "site", "contact")
# What each extra is for: importing it is the least that it must allow.
EXTRAS: Final = {
    "": "dynamostore, session, session.web.wsgi, dynamostore.aio, dynamostore.batch",
    "asgi": "session.web.asgi, greenlet",
    "cli": "dynamostore.cli, click, rich",
    "django": "django, session.web.django",
    "fast": "pybase64",
    "flask": "session.web.flask",
    "local": "dynamostore.local, ministack",
    "testing": "dynamostore.testing, hypothesis, pytest",
}
_EXAMPLE: Final = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_RELEASE: Final = re.compile(r"^## \[(?P<version>[^\]]+)\] - (?P<date>\S+)$", re.MULTILINE)
_RELATIVE: Final = re.compile(
    r"\]\((?!https?://|mailto:|#)[^)]*\)|\b(?:src|href|srcset)=\"(?!https?://|mailto:|#)[^\"]*\""
)


class NotReady(Exception):
    """A reason not to release; its text says what to do."""


def read_pyproject(root: Path = ROOT) -> dict[str, dict[str, dict[str, str]]]:
    """Return the table of pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


def placeholders(values: Mapping[str, str]) -> list[str]:
    """Return the names of the values that the owner has not filled in.

    >>> placeholders({"repository": "https://repository.invalid/x", "site": "https://docs.example.com", "contact": ""})
    ['repository', 'contact']
    """
    return [name for name in PLACES if not values.get(name) or ".invalid" in values[name]]


def check_placeholders() -> str:
    """Raise `NotReady` while repository, site or contact is a placeholder."""
    if missing := placeholders(read_pyproject()["tool"]["dynamostore"]):
        raise NotReady(f"fill in {', '.join(missing)} under [tool.dynamostore] in pyproject.toml")
    return "repository, site and contact are filled in"


def check_tag(tag: str, version: str) -> str:
    """Raise `NotReady` unless the tag that starts the release is the version's."""
    if tag != f"v{version}":
        raise NotReady(f"the tag is {tag}, but the version in dynamostore/_version.py is {version}: tag v{version}")
    return f"the tag is {tag}"


def check_changelog(changelog: str, version: str, today: date) -> str:
    """Raise `NotReady` unless the newest entry of the changelog is this version's, with a date that is not in the future."""
    newest = _RELEASE.search(changelog)
    if newest is None or newest["version"] != version:
        raise NotReady(
            f"CHANGELOG.md: the newest dated entry must be [{version}], the version in dynamostore/_version.py"
        )
    try:
        day = date.fromisoformat(newest["date"])
    except ValueError:
        raise NotReady(f"CHANGELOG.md: {newest['date']!r} is not a date: write YYYY-MM-DD") from None
    if day > today:
        raise NotReady(f"CHANGELOG.md: the entry of {version} is dated {day}, which is in the future")
    head = changelog[: newest.start()]
    if "## [Unreleased]" in head and head.partition("## [Unreleased]")[2].strip():
        raise NotReady(f"CHANGELOG.md: move what is under [Unreleased] into [{version}]")
    return f"CHANGELOG.md has an entry for {version}, dated {day}"


def build(folder: Path) -> tuple[Path, Path]:
    """Build wheel and sdist into *folder*, and return their paths."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    run(sys.executable, "-m", "twine", "check", "--strict", *folder.iterdir())
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def check_files(wheel: Path, sdist: Path) -> str:
    """Raise `NotReady` unless the wheel holds both packages and nothing else, and the sdist all that Git knows."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    known = set(run("git", "ls-files").splitlines())
    wanted = {name for name in known if name.startswith(("dynamostore/", "session/"))}
    if names != wanted:
        raise NotReady(f"the wheel and Git differ: {', '.join(sorted(names ^ wanted)[:10])}")
    with tarfile.open(sdist) as source:
        inside = {name.partition("/")[2] for name in source.getnames()}
    hidden = {name for name in known if any(part.startswith(".") for part in name.split("/"))}
    if missing := known - inside - hidden:
        raise NotReady(f"the sdist lacks {', '.join(sorted(missing)[:10])}")
    return f"the wheel holds {len(names)} files, the sdist {len(inside)}"


def check_metadata(wheel: Path) -> str:
    """Raise `NotReady` if the metadata lacks a URL, or the description has a link that PyPI cannot resolve."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        about = metadata.PathDistribution(zipfile.Path(archive, name.removesuffix("METADATA"))).metadata
    if link := _RELATIVE.search(about["Description"]):
        raise NotReady(f"the description has a relative link, which is dead on PyPI: {link[0]}")
    missing = {"Documentation", "Source", "Changelog", "Issues"} - {
        url.partition(",")[0] for url in about.get_all("Project-URL", [])
    }
    if missing:
        raise NotReady(f"the metadata lacks the URLs {', '.join(sorted(missing))}")
    if extras := set(about.get_all("Provides-Extra", [])) ^ (EXTRAS.keys() - {""}):
        raise NotReady(f"tools/release.py and pyproject.toml differ in their extras: {', '.join(sorted(extras))}")
    return "the metadata has every URL, and no link that is dead on PyPI"


def example(readme: str) -> str:
    """Return the first Python block of the README."""
    found = _EXAMPLE.search(readme)
    if found is None:
        raise NotReady("README.md has no ```python block")
    return found[1]


def check_extra(extra: str, wheel: Path, folder: Path, endpoint: str) -> str:
    """Install the wheel with *extra* into an empty environment in *folder*, and run the README's example there."""
    venv.create(folder, with_pip=False)
    python = Path(sysconfig.get_path("scripts", "venv", {"base": str(folder), "platbase": str(folder)})) / "python"
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", wanted)
    run(*pip, "check")
    settings = {"AWS_ENDPOINT_URL_DYNAMODB": endpoint, **CREDENTIALS}
    imported = "import django.conf; django.conf.settings.configure()\n" if extra == "django" else ""
    run(python, "-c", f"{imported}import {EXTRAS[extra]}", cwd=folder, **settings)
    run(python, "-c", example((ROOT / "README.md").read_text("utf-8")), cwd=folder, **settings)
    if extra == "cli":
        run(python.with_name("dynamostore"), "--version", cwd=folder, **settings)
    count = len([*metadata.distributions(path=[sysconfig.get_path("purelib", "venv", {"base": str(folder)})])])
    return f"{f'dynamostore[{extra}]' if extra else 'dynamostore'} works, {count} distributions in all"


def run(*command: str | Path, cwd: Path = ROOT, **settings: str) -> str:
    """Run a command that must succeed, away from this source tree's own packages, and return its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AWS_", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=cwd, env={**kept, **settings}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotReady(f"{' '.join(map(str, command))[:200]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def checks(extras: Sequence[str]) -> Iterator[str]:
    """Run the checks that need no owner, one after the other; each yields a line about its result."""
    yield check_changelog((ROOT / "CHANGELOG.md").read_text("utf-8"), __version__, date.today())  # noqa: DTZ011
    with tempfile.TemporaryDirectory() as made, LocalDynamoDB() as dynamodb:
        wheel, sdist = build(Path(made, "dist"))
        yield f"built {wheel.name} and {sdist.name}; twine accepts both"
        yield check_files(wheel, sdist)
        yield check_metadata(wheel)
        for extra in extras:
            yield check_extra(extra, wheel, Path(made, extra or "bare"), dynamodb.url)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the result of each check; return 1 at the first that fails."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description="Check that the tree can be released.")
    parser.add_argument("--rehearse", action="store_true", help="allow placeholders: check everything else")
    parser.add_argument("--tag", help="the tag that is released: it must be the version, with a v before it")
    parser.add_argument("--extra", action="append", help="check this extra only; can be repeated (default: all)")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        if not options.rehearse:
            print("ok", check_placeholders())
        if options.tag:
            print("ok", check_tag(options.tag, __version__))
        for line in checks(options.extra or list(EXTRAS)):
            print("ok", line, flush=True)
    except NotReady as reason:
        print(f"not ready: {reason}", file=sys.stderr)
        return 1
    print(f"{'Rehearsed' if options.rehearse else 'Ready'} in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
