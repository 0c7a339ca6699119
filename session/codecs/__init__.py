"""Convert session data to bytes and back: the protocol `Codec`, and `JSONCodec`, which SCS for Go can read."""

from .codec import Codec
from .json import JSONCodec

__all__ = ["Codec", "JSONCodec"]
