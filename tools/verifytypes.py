"""Check that the public names of both packages have complete types: ``make verifytypes``.

pyright judges each name as a user's checker does, which infers nothing inside an installed package. Needs no network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("dynamostore", "session")


def verify(package: str) -> dict[str, Any]:
    """Return pyright's report on *package*, as JSON."""
    # With --verifytypes, pyright asks the first "python" of the path where packages are, whatever else it is told.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    command = [sys.executable, "-m", "pyright", "--outputjson", "--ignoreexternal", "--verifytypes", package]
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if not done.stdout.lstrip().startswith("{"):
        raise SystemExit(f"pyright did not run: {done.stdout}{done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout)["typeCompleteness"]
    return report


def findings(report: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return pyright's errors by file, each as "line: name: message".

    >>> place = {"file": "/a/b.py", "range": {"start": {"line": 4}}}
    >>> symbol = {"name": "b.c", "diagnostics": [{"severity": "error", "message": "No type", **place}]}
    >>> findings({"symbols": [symbol]})
    {'/a/b.py': ['5: b.c: No type']}
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for symbol in report["symbols"]:
        for one in symbol["diagnostics"]:
            if one["severity"] == "error":
                line = one["range"]["start"]["line"] + 1 if "range" in one else 0
                message = one["message"].partition("\n")[0]
                found[one.get("file", "")].append(f"{line}: {symbol['name']}: {message}")
    return dict(found)


def main() -> int:
    """Print the score of each package, and the names that lack one by file; return 1 unless both are complete."""
    complete = True
    for package in PACKAGES:
        report = verify(package)
        score = float(report["completenessScore"])
        print(
            f"{package}: {score:.1%} of {sum(report['exportedSymbolCounts'].values()):,} public names have complete types"
        )
        for file, messages in sorted(findings(report).items()):
            print(f"  {Path(file).relative_to(ROOT) if file else package}")
            print("".join(f"    {message}\n" for message in messages), end="")
        complete &= score == 1
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
