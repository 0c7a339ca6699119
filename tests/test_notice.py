"""The browser-like load of ``make bench-notice``, in short: it finds the takeover where nothing is checked."""

from __future__ import annotations

import re
import subprocess
import sys

from .mutants import ROOT


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.notice", "--hooks", "none", "--at-once", "1", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_merge_refuses_what_merge_unchecked_lets_through() -> None:
    said = run("--requests", "8000", "--frameworks", "flask", "--levels", "merge", "merge_unchecked", "overwrite")
    takeovers = dict(re.findall(r"^\| `(\w+)` \| no hook \| \d+: (\d+) \|", said, re.MULTILINE))
    assert takeovers["merge"] == "0"
    assert int(takeovers["merge_unchecked"]) > 0
    lost = {
        level: int(of)
        for level, of in re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+) of [\d,]+ \| \d+, \d+ \|", said, re.MULTILINE)
    }
    assert lost["overwrite"] > lost["merge"]
    assert said.endswith("Goals of `merge`: all met\n")
