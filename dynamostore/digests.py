"""`digest`: how messages and logs name a record, as its token is a secret."""

import hashlib

__all__ = ["digest"]


def digest(token: str) -> str:
    """A short name for a token that can stand in a log: the first 12 hex digits of its SHA-256.

    >>> digest("BKNUwXCyGbC7-lpq2lJs38oTmltJmZuqb3HQRS1neew")
    '457cadca9a78'
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:12]
