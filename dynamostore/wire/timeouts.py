"""The default timeouts of the wire clients, in seconds."""

from typing import Final

__all__ = ["CALL_TIMEOUT", "CONNECT_TIMEOUT", "FOREVER", "KEEP_IDLE", "READ_TIMEOUT"]

CONNECT_TIMEOUT: Final = 1.0
READ_TIMEOUT: Final = 2.0
CALL_TIMEOUT: Final = 10.0
"""For a whole call, retries included."""
KEEP_IDLE: Final = 20.0
"""How long a connection stays open without a call."""

FOREVER: Final = 86_400.0
"""The longest timeout, a day. Some systems do not accept larger numbers."""
