"""How long the wire clients wait, in seconds, unless they are told otherwise."""

from typing import Final

__all__ = ["CALL_TIMEOUT", "CONNECT_TIMEOUT", "FOREVER", "KEEP_IDLE", "READ_TIMEOUT"]

CONNECT_TIMEOUT: Final = 1.0
READ_TIMEOUT: Final = 2.0
CALL_TIMEOUT: Final = 10.0
"""For a call with all its retries."""
KEEP_IDLE: Final = 20.0
"""After this long without a call, a connection is opened anew."""

FOREVER: Final = 86_400.0
"""The longest time-out: a day. More is not always a number that the system takes."""
