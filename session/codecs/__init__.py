"""How a session's data becomes the bytes of its record: the protocol `Codec`, and `JSONCodec`, as SCS for Go has it."""

from .codec import Codec
from .json import JSONCodec

__all__ = ["Codec", "JSONCodec"]
