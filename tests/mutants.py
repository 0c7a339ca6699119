"""Each guard turned off in turn, in a copy: the tests or the simulation must notice. ``make mutants``.

Prints a Markdown table of what caught which, and exits with 1 if something went unnoticed.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLANS, EXPRESSIONS, MARKERS, CHECKS, ITEMS, LIFECYCLE, CHANGES = (
    "dynamostore/_plans.py",
    "dynamostore/_expressions.py",
    "dynamostore/_markers.py",
    "dynamostore/_checks.py",
    "dynamostore/items.py",
    "session/_lifecycle.py",
    "session/changes.py",
)
TESTS = [
    "tests/test_contract.py",
    "tests/test_scs_items.py",
    "tests/test_retries.py",
    "tests/test_conflicts.py",
    "tests/test_renewal_grace.py",
    "tests/test_markers.py",
    "tests/test_deadline.py",
]
SIMULATION = ["-m", "tests.simulation", "--steps", "400000", "--seed"]


@dataclass(frozen=True)
class Mutant:
    """A guard, and the edit that turns it off: *old* becomes *new*, once, in *file*."""

    guard: str
    file: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "create: only if the token is free",
        EXPRESSIONS,
        'NOT_TAKEN = "attribute_not_exists(#token) OR #expiry < :now"',
        'NOT_TAKEN = "attribute_not_exists(#token) OR #expiry < :now OR attribute_exists(#token)"',
    ),
    Mutant(
        "writes: only on what has not expired",
        EXPRESSIONS,
        'LIVE = "#expiry >= :now"',
        'LIVE = "(#expiry >= :now OR #expiry < :now)"',
    ),
    Mutant(
        "touch, replace, rename: not before the expiry that others gave it",
        EXPRESSIONS,
        'NOT_SHORTENED = "#expiry <= :expiry"',
        'NOT_SHORTENED = "(#expiry <= :expiry OR attribute_exists(#expiry))"',
    ),
    Mutant(
        "replace, rename: only on the version that was read",
        EXPRESSIONS,
        'SAME = "#version = :was"',
        'SAME = "(#version = :was OR attribute_exists(#version))"',
    ),
    Mutant(
        "SCS's items: only without a version",
        EXPRESSIONS,
        "attribute_not_exists(#version) AND #expiry = :read AND #data = :held",
        "#expiry = :read AND #data = :held",
    ),
    Mutant(
        "SCS's items: only with the expiry that was read",
        EXPRESSIONS,
        "attribute_not_exists(#version) AND #expiry = :read AND #data = :held",
        "attribute_not_exists(#version) AND #data = :held",
    ),
    Mutant(
        "SCS's items: only with the data that was read",
        EXPRESSIONS,
        "attribute_not_exists(#version) AND #expiry = :read AND #data = :held",
        "attribute_not_exists(#version) AND #expiry = :read",
    ),
    Mutant("touch: only a record with data", PLANS, '"attribute_exists(#data) AND {LIVE}', '"{LIVE}'),
    Mutant(
        "touch: never an upsert",
        PLANS,
        'f"attribute_exists(#data) AND {LIVE} AND {shortened}"',
        'f"attribute_not_exists(#token) OR {LIVE} AND {shortened}"',
    ),
    Mutant("touch: not on what it was renamed to", PLANS, " or winner.token != record.token", ""),
    Mutant(
        "evict: only what is as it was read",
        EXPRESSIONS,
        'AS_READ = "#expiry = :read"',
        'AS_READ = "#expiry <> :read OR #expiry = :read"',
    ),
    Mutant(
        "delete: what an old token leads to, too",
        PLANS,
        "                chain.append(token)\n                there = self._lead(",
        "                chain.append(token)\n                there = None and self._lead(",
    ),
    Mutant(
        "delete: follows a marker past its expiry",
        PLANS,
        "if item is not None and self._is_renamed(item) else None",
        "if item is not None and self._is_renamed(item) and items.decode_expiry(self.table, item) >= self.clock() else None",
    ),
    Mutant(
        "delete: not what a marker led to, once it has ended",
        PLANS,
        "if item is not None and self._is_renamed(item) else None",
        "if item is not None else None",
    ),
    Mutant(
        "find: follows a marker only before its expiry",
        PLANS,
        "            if expiry_ns < now_ns:\n",
        "            if expiry_ns < now_ns and not _markers.is_kept(self.table, item, now_ns):\n",
    ),
    Mutant("find: follows two markers, and no more", MARKERS, "MAX_HOPS: Final = 2\n", "MAX_HOPS: Final = 3\n"),
    Mutant(
        "find: does not evict a marker before its ttl",
        PLANS,
        "if evict and not _markers.is_kept(self.table, item, now_ns):",
        "if evict:",
    ),
    Mutant(
        "find: evicts a marker that has ended",
        PLANS,
        "if evict and not _markers.is_kept(self.table, item, now_ns):",
        "if evict and not _markers.is_marker(self.table, item):",
    ),
    Mutant(
        "rename: without a grace the marker has expired by every clock",
        MARKERS,
        "if grace else now_ns - _MARKER_NS",
        "if grace else now_ns - 1",
    ),
    Mutant(
        "rename: a marker stays for fifteen minutes",
        MARKERS,
        "return expiry_ns, items.ttl(min(max(expiry_ns, now_ns + _MARKER_NS), INT64_MAX))",
        "return expiry_ns, items.ttl(expiry_ns)",
    ),
    Mutant(
        "rename: a conflict says that the record was renamed",
        PLANS,
        "return conflict(token, current, renamed=self._is_renamed(item))",
        "return conflict(token, current)",
    ),
    Mutant(
        "remove: only what is as it was read",
        PLANS,
        "self._where(_unchanged(check_record(record)), _was(record))",
        'self._where("attribute_exists(#token)", {})',
    ),
    Mutant(
        "remove: what is gone when it is sent again was removed",
        PLANS,
        "if item is not None or not failure.retried:",
        "if True:",
    ),
    Mutant(
        "remove: what is gone when it is sent once is a conflict",
        PLANS,
        "if item is not None or not failure.retried:",
        "if item is not None:",
    ),
    Mutant("an open outcome is told with its version", PLANS, "        error.version = new.version\n", ""),
    Mutant(
        "rename: removes only the record that was read",
        PLANS,
        '        condition = f"{LIVE} AND {_not_shortened(record, new)} AND {_unchanged(record)}"\n        return condition,',
        '        condition = f"attribute_not_exists(#token) OR {LIVE} AND {_not_shortened(record, new)}"\n        return condition,',
    ),
    Mutant(
        "rename: one transaction",
        PLANS,
        "            yield from self._patiently(transaction)\n",
        "            raise Unsupported\n",
    ),
    Mutant(
        "rename: what is left behind remembers",
        EXPRESSIONS,
        ":version, #recent = :recent REMOVE #data",
        ":version REMOVE #data, #recent",
    ),
    Mutant(
        "the winner is read consistently, and alive",
        PLANS,
        "current = yield from self._record(token, item, evict=False)",
        "current = (yield from ()) or (items.decode(self.table, item) if item else None)",
    ),
    Mutant(
        "a version is random, not a counter", CHECKS, "items.new_version(),", "int.from_bytes(recent[:8], 'big') + 1,"
    ),
    Mutant(
        "a retry is known by its version",
        ITEMS,
        '    if _content(item, table.version, "N") == str(version):\n        return True',
        '    return False\n    if _content(item, table.version, "N") == str(version):\n        return True',
    ),
    Mutant("a retry is known though others wrote meanwhile", ITEMS, "RECENT = 8\n", "RECENT = 0\n"),
    Mutant(
        "a retry that cannot be known is no conflict",
        PLANS,
        "if (failure.retried or (failure.retried is None and version)) and items.forgot(",
        "if False and items.forgot(",
    ),
    Mutant(
        "expiry is checked on read", PLANS, "            if expiry_ns < now_ns:\n", "            if expiry_ns < 0:\n"
    ),
    Mutant(
        "session: written where it was read",
        LIFECYCLE,
        'state.record = yield from issue(_write("replace", record=before, ',
        'state.record = yield from issue(Call("save", dict(token=policy.key(state.token or ""), **_content(state, policy)))) if True else (_write("replace", record=before, ',
    ),
    Mutant(
        "session: one that is gone stays gone",
        LIFECYCLE,
        "                _lost(state, policy)\n                return\n",
        "                state.record = None\n                yield from _store_new(state, policy)\n                return\n",
    ),
    Mutant(
        "session: changes are made again on the winner's data",
        LIFECYCLE,
        "            state.draft.rebase(dict(theirs), meant)\n",
        "            pass\n",
    ),
    Mutant(
        "session: all that was meant is made again",
        LIFECYCLE,
        "meant = meant or state.draft.changes()",
        "meant = state.draft.changes()",
    ),
    Mutant(
        "session: an expiry that others promised is kept",
        LIFECYCLE,
        "expiry_ns = max(expiry_ns, min(state.record.expiry_ns, state.deadline_ns))",
        "pass",
    ),
    Mutant(
        "session: what is stored is settled",
        LIFECYCLE,
        "    state.kept = remembered(state.draft.data)\n    state.draft.settle()\n",
        "    state.kept = remembered(state.draft.data)\n",
    ),
    Mutant(
        "session: what came to nothing is settled",
        LIFECYCLE,
        "                state.draft.settle()\n            return\n",
        "            return\n",
    ),
    Mutant(
        "session: an unknown token is not adopted",
        LIFECYCLE,
        '    token = state.coming or new_token()\n    state.record = yield from issue(_write("create"',
        '    token = state.presented or new_token()\n    state.record = yield from issue(_write("create"',
    ),
    Mutant(
        "session: a deadline that was set stands on the winner's data, too",
        LIFECYCLE,
        "    if not (state.renewing or state.rescheduled):\n        state.deadline_ns = deadline_ns\n",
        "    if not state.renewing:\n        state.deadline_ns = deadline_ns\n",
    ),
    Mutant(
        "session: a deadline alone is a change",
        LIFECYCLE,
        "            elif state.rescheduled or state.draft.changes():\n",
        "            elif state.draft.changes():\n",
    ),
    Mutant(
        "increments add up",
        CHANGES,
        "        for key, by in self.incremented.items():\n            result[key] = _add(key, result.get(key, 0), by)\n",
        "        for key, by in self.incremented.items():\n            result[key] = _add(key, 0, by)\n",
    ),
    Mutant(
        "a change within a list counts",
        CHANGES,
        "            self._keep(key)\n            self._lent.add(key)\n",
        "            self._lent.add(key)\n",
    ),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only the guards whose names contain this")
    options = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.guard]
    unnoticed = 0
    print("| guard turned off | caught by |\n|---|---|", flush=True)
    started = time.monotonic()
    for mutant in chosen:
        caught = try_out(mutant)
        unnoticed += not caught
        print(f"| {mutant.guard} | {'; '.join(caught) or '**nothing**'} |", flush=True)
    print(f"\n{len(chosen)} guards, {unnoticed} unnoticed, {time.monotonic() - started:.0f} s")
    return 1 if unnoticed else 0


def try_out(mutant: Mutant) -> list[str]:
    """What notices the mutant, in a copy of the project."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "node_modules", "dist", "__pycache__"))
        file = copy / mutant.file
        text = file.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            raise SystemExit(
                f"mutants: {mutant.guard}: {mutant.file} has {mutant.old!r} {text.count(mutant.old)} times, not once"
            )
        file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        return [*by_tests(copy), *by_simulation(copy)]


def by_tests(copy: Path) -> list[str]:
    """The first test that fails, by its name."""
    done = run(copy, ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "not dynalite", *TESTS])
    failed = re.findall(r"^(?:FAILED|ERROR) tests/(\S+)", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1) and not failed:
        raise SystemExit(f"mutants: pytest did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return [f"`{failed[0].split('[')[0]}`"] if failed else []


def by_simulation(copy: Path) -> list[str]:
    """The invariant that the simulation finds broken."""
    for seed in ("0", "1"):
        done = run(copy, [*SIMULATION, seed])
        if done.returncode:
            broken = re.search(r"^Broken: (.+?)(?: in run|$)", done.stdout, re.MULTILINE)
            return [f"simulation: {broken[1][:100] if broken else 'it did not run'}"]
    return []


def run(copy: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin", "HOME": str(copy)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
