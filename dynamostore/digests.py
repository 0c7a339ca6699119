"""`digest`: a name for a record in messages and logs, where its token must not appear."""

import hashlib

__all__ = ["digest"]


def digest(token: str) -> str:
    """Return the first 12 hex digits of a token's SHA-256, which are safe to log.

    >>> digest("BKNUwXCyGbC7-lpq2lJs38oTmltJmZuqb3HQRS1neew")
    '457cadca9a78'
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:12]
