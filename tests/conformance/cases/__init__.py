"""The cases, by what they are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.conformance.model import Case

from . import batches, limits, protocol, reads, tables, transactions, writes

__all__ = ["GROUPS"]

GROUPS: Final[Mapping[str, tuple[Case, ...]]] = {
    "Reads and scans": reads.CASES,
    "Conditional writes": writes.CASES,
    "Transactions": transactions.CASES,
    "Batches": batches.CASES,
    "Limits": limits.CASES,
    "Tables and TTL": tables.CASES,
    "Protocol": protocol.CASES,
}
