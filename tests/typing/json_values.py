"""Values of a session as apps have them: lists of one type, rows, unions; and what is no JSON."""

from collections.abc import Sequence

from session import JSONInput, Session


def use(
    s: Session, names: list[str], words: Sequence[str], counts: dict[str, int], rows: list[tuple[int, str]], v: JSONInput
) -> None:
    s["k"] = names
    s["k"] = words
    s["k"] = counts
    s["k"] = rows
    s["k"] = v
    s["k"] = (1, [], {})
    s.update(counts, k=names)
    s.setdefault("k", rows)
    s |= counts
    s["k"] = b"data"  # type: ignore[assignment]
