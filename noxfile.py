"""The tests on each Python, and with the oldest and the newest dependencies: `make matrix` and `make bounds` run this.

Each session has an environment of its own, made by uv from what is on this machine: no interpreter is downloaded.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

from tools import pythons

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
# Nor is this machine's own configuration of uv read, which may name another index.
os.environ["UV_NO_CONFIG"] = "1"

VERSIONS = pythons.versions()
OLDEST = VERSIONS[0]

# The tests that are likely to fail on another Python: types that are read at run time, doctests, event loops, threads, forks,
# sockets, TLS, and the adapters. In one process, they take 65 to 90 s of CPU.
QUICK = (
    "dynamostore",
    "session",
    "README.md",
    "tests/test_contract.py",
    "tests/test_items.py",
    "tests/test_scs_items.py",
    "tests/test_async_session.py",
    "tests/test_conflicts.py",
    "tests/test_adapters.py",
    "tests/test_wire_parser.py",
    "tests/test_wire_faults.py",
    "tests/test_wire_fork.py",
    "tests/test_wire_tls.py",
    "tests/test_process_bound.py",
    "tests/test_trio.py",
    "tests/test_reprs.py",
    "tests/test_error_copies.py",
    "tests/test_wrong_types.py",
    "tests/test_cli.py::test_create_table_makes_it_once_and_says_which",
    "tests/test_cli.py::test_export_load_and_copy_carry_live_records_over",
    "tests/test_cli.py::test_the_script_is_the_same_program",
)
# Tests in these files that take half of their time: many examples or faults of one kind. `make matrix FULL=1` runs them.
SLOW = (
    "tests/test_items.py::test_any_item_whatever_is_a_record_or_corrupt",
    "tests/test_wire_faults.py::test_a_fault_that_passes_is_made_good_by_a_retry",
    "tests/test_wire_faults.py::test_a_fault_that_stays_is_the_error_that_it_is",
    "tests/test_wire_faults.py::test_a_write_that_was_done_is_no_conflict_though_its_reply_was_lost",
    "tests/test_wire_faults.py::test_retries_are_made_when_the_standard_mode_makes_them",
    "tests/test_wire_parser.py::test_a_body_is_too_long_from_the_same_byte_on_however_it_comes",
    "tests/test_wire_tls.py::test_a_handshake_that_is_cut_anywhere_is_no_connection",
    "tests/test_wire_tls.py::test_a_reply_that_is_cut_anywhere_is_none",
)

# The tests that are likely to fail with another version of a dependency: each framework, and the command line.
BESIDE = tuple(f"tests/test_{name}.py" for name in ("flask", "starlette", "django", "cli", "bad_settings"))

# All but "local": ministack pins a botocore of its own, so its lowest version does not fit the lowest boto3.
EXTRAS = ("asgi", "cli", "django", "fast", "flask", "testing")


def put_on_path() -> None:
    """Have nox find the interpreters that are not on the PATH: their folders hold other programs, so by links."""
    folder = Path(".nox", "interpreters").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    path = [str(folder)]
    for version in VERSIONS:
        link = folder / f"python{version}"
        found = pythons.find(version)
        if link.is_symlink() and link.readlink() == found:
            continue
        link.unlink(missing_ok=True)
        if found is not None and found.is_relative_to(pythons.ROOT):
            # One that tools/debian.py unpacked finds its library from where it lies, not from a link to it.
            path.append(str(found.parent))
        elif found is not None:
            link.symlink_to(found)
    os.environ["PATH"] = os.pathsep.join([*path, os.environ["PATH"]])


put_on_path()


def pytest(session: nox.Session, *quick: str) -> None:
    """Run the tests named after ``--``, or *quick*. Count them in a file that tools/matrix.py reads."""
    chosen = session.posargs or (*quick, *(f"--deselect={test}" for test in SLOW))
    workers = ("-n", os.environ.get("WORKERS", "2"), "--dist", "loadfile")
    counts = f"--junitxml=.nox/counts/{session.name}.xml"
    session.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers, counts, *chosen)


@nox.session(python=VERSIONS)
def tests(session: nox.Session) -> None:
    """Run the tests on this Python, with the locked dependencies."""
    here = {"UV_PROJECT_ENVIRONMENT": session.virtualenv.location, "UV_PYTHON": str(session.python)}
    try:
        session.run_install("uv", "sync", "--locked", "--quiet", "--no-default-groups", "--group=test", env=here)
    except CommandFailed:
        # Only a mirror may be in reach, which pip is configured for: as the Makefile does for .venv.
        session.log("the locked versions cannot be installed; taking what pip finds")
        pip = (sys.executable, "-m", "pip", "--python", session.virtualenv.location, "install", "--quiet")
        session.run_install(*pip, "--editable=.", "--group=test", external=True)
    pytest(session, *QUICK)


@nox.session(python=[OLDEST])
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that the wheel declares."""
    resolve = ("uv", "pip", "compile", "--quiet", "--resolution=lowest-direct", f"--python-version={session.python}")
    beside, lowest, local = (Path(session.create_tmp(), name) for name in ("beside.txt", "lowest.txt", "local.txt"))
    # The first aiobotocore for the lowest boto3. It decides the version of botocore.
    beside.write_text("aiobotocore>=2.21\n", encoding="utf-8")
    extras = [f"--extra={extra}" for extra in EXTRAS]
    session.run_install(*resolve, *extras, "pyproject.toml", str(beside), f"--output-file={lowest}")
    session.run_install(*resolve, "--no-deps", "--extra=local", "pyproject.toml", f"--output-file={local}")
    # Overrides, as moto and ministack want a newer botocore.
    session.install("--editable=.", "--group=test", f"--override={lowest}", f"--override={local}")
    pytest(session, *QUICK, *BESIDE)


@nox.session(python=VERSIONS)
def newest(session: nox.Session) -> None:
    """Run the tests with the newest versions that the dependencies allow one another."""
    session.install("--upgrade", "--editable=.", "--group=test")
    pytest(session, *QUICK, *BESIDE)
