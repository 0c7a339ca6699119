"""The result of a run as a table."""

from __future__ import annotations

from collections import Counter

from .checker import Operation
from .run import Result

__all__ = ["table"]

MOST = 20
REASONS = {
    "no answer": "no answer",
    "damaged": "damaged replies",
    "others wrote": "lost reply, and too many writes since",
    "so says the proxy": "500s",
}


def table(result: Result) -> str:
    """All that is worth knowing about a run, the verdict last."""
    settings, verdict = result.settings, result.verdict
    operations = list(result.operations.values())
    outcomes = Counter(o.outcome for o in operations)
    counts: Counter[str] = sum((Counter(o.end.counts) for o in operations if o.end), Counter())
    merged = sum(1 for o in operations if o.outcome == "acknowledged" and o.end and o.end.counts.get("conflicts"))
    hot = Counter(
        o.start.session for o in operations if o.start.session.startswith("h") and o.outcome == "acknowledged"
    )
    rows: list[tuple[str, object]] = [
        ("processes x threads", f"{settings.processes} x {settings.threads}, {result.seconds:.0f} s"),
        ("operations", len(operations)),
        *((f"  {kind}", number) for kind, number in Counter(o.start.kind for o in operations).most_common()),
        ("acknowledged", outcomes["acknowledged"]),
        ("session gone meanwhile", outcomes["gone"]),
        ("unknown", outcomes["unknown"]),
        *((f"  {error}", number) for error, number in _failures(result).most_common()),
        ("  of all these, applied", sum(verdict.applied.values())),
        *((f"    {error}", number) for error, number in verdict.applied.most_common()),
        ("calls", counts["calls"]),
        ("  retried by the client", counts["retries"]),
        ("  refused by a condition", counts["refusals"]),
        ("  of these, known to be its own write", counts["refusals"] - counts["conflicts"]),
        ("conflicts", counts["conflicts"]),
        ("  acknowledged after merging", merged),
        (
            "faults in requests",
            f"{sum(result.faults.values()) - result.faults.get('requests', 0)} in {result.faults['requests']}",
        ),
        *((f"  {kind}", number) for kind, number in sorted(result.faults.items()) if kind != "requests"),
        *result.done.items(),
        ("hot sessions", f"{len(hot)}, with up to {max(hot.values(), default=0)} acknowledged changes each"),
        ("sessions in the table", verdict.live),
        ("lost changes", verdict.lost),
        ("violations", len(verdict.violations)),
    ]
    width = max(len(name) for name, _ in rows) + 2
    lines = [f"{name:<{width}}{value}" for name, value in rows]
    lines += [f"VIOLATION {violation}" for violation in verdict.violations[:MOST]]
    if len(verdict.violations) > MOST:
        lines.append(f"… and {len(verdict.violations) - MOST} more")
    return "\n".join(lines)


def _failures(result: Result) -> Counter[str]:
    return Counter(_why(o) for o in result.operations.values() if o.outcome == "unknown")


def _why(operation: Operation) -> str:
    """Why an operation is unknown; for a store that was unavailable, in what way."""
    end = operation.end
    if end is None:
        return "killed"
    reason = next((name for words, name in REASONS.items() if words in end.text), "")
    return f"{end.error} ({reason})" if reason else end.error
