"""`JSONCodec`: session data in the JSON format of SCS for Go."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn

import msgspec

from dynamostore.hidden import clears_frames
from dynamostore.instants import INT64_MAX, INT64_MIN
from session.errors import CorruptSessionError
from session.types import JSONValue

__all__ = ["JSONCodec"]


class _Payload(msgspec.Struct):
    data: dict[str, object]
    deadline: int

    def __repr__(self) -> str:
        return "<_Payload>"


@clears_frames("encode", "decode")
class JSONCodec:
    """Encodes session data as ``{"data":{…},"deadline":<Unix ns>}``, the format of SCS for Go v0 and v1.

    >>> codec = JSONCodec()
    >>> codec.encode({"message": "Hello world!"}, 8102534735004839040)
    b'{"data":{"message":"Hello world!"},"deadline":8102534735004839040}'
    >>> codec.decode(b'{"data":{"n":1},"deadline":2}')
    ({'n': 1}, 2)
    >>> codec.decode(b'null')
    Traceback (most recent call last):
    session.errors.CorruptSessionError: Expected `object`, got `null`
    """

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(_Payload)

    def encode(self, data: Mapping[str, JSONValue], deadline_ns: int) -> bytes:
        """Return *data* and *deadline_ns* as JSON in UTF-8."""
        return self._encoder.encode({"data": data, "deadline": deadline_ns})

    def decode(self, payload: bytes) -> tuple[dict[str, JSONValue], int]:
        """Return the data and the deadline of *payload*. Raise `CorruptSessionError` if it cannot be decoded.

        If a key occurs twice, the last value counts, as in Go.
        """
        found: _Payload | None = None
        cause: Exception | None = None
        try:
            found = self._decoder.decode(payload)
            if b"-0" in payload and _MINUS_ZERO.search(payload):
                found = _decode_minus_zero(payload)
            reason = "" if INT64_MIN <= found.deadline <= INT64_MAX else "deadline is outside signed 64 bits"
        except RecursionError:
            reason = "nested too deeply"
        except UnicodeDecodeError:
            # Do not chain the exception: it contains the payload.
            reason = "not UTF-8"
        except msgspec.DecodeError as error:
            # Its message names the expected type and the position, never a value.
            reason, cause = str(error), error
        except ValueError:
            reason = "a number is too long"
        if found is None or reason:
            raise CorruptSessionError(reason=reason) from cause
        data: dict[str, JSONValue] = found.data  # type: ignore[assignment]  # a decoder returns only JSON values
        return data, found.deadline


# SCS for Go writes the float -0 as `-0`. Decoders read it as the int 0, which would lose the sign. The pattern may also match
# inside a string; the slow decoder then gives the same result as the fast one.
_MINUS_ZERO = re.compile(rb"[:,\[]\s*-0\s*[,\]}]")


def _decode_minus_zero(payload: bytes) -> _Payload:
    decoder = json.JSONDecoder(parse_int=_parse_int, parse_constant=_refuse)
    found = decoder.decode(payload.decode())
    return _Payload(data=found["data"], deadline=int(found["deadline"]))


def _parse_int(literal: str) -> int | float:
    return -0.0 if literal == "-0" else int(literal)


def _refuse(literal: str) -> NoReturn:
    raise CorruptSessionError(reason=f"{literal} is not JSON")
