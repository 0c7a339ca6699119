"""A client that counts its calls and what they consume."""

from __future__ import annotations

import math
import threading

from dynamostore.client import Item
from dynamostore.items import item_size

__all__ = ["Meter"]


class Meter:
    """A low-level client in front of another, for any number of threads.

    What a call consumes the server says (``ReturnConsumedCapacity``). Of a refused write it says nothing, though
    DynamoDB charges for it by the size of the item that was there: that comes back with the refusal, and is
    computed by the documented rule.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """

    def __init__(self, client: object) -> None:
        self._client = client
        self._lock = threading.Lock()
        self.calls = 0
        self.read = 0.0
        self.write = 0.0

    def __getattr__(self, name: str) -> object:
        method = getattr(self._client, name)

        def call(**arguments: object) -> object:
            try:
                reply = method(**arguments, ReturnConsumedCapacity="TOTAL")
            except Exception as error:
                self._count(name, _refused((getattr(error, "response", None) or {}).get("Item", {})))
                raise
            self._count(name, reply["ConsumedCapacity"]["CapacityUnits"])
            return reply

        return call

    def _count(self, name: str, units: float) -> None:
        with self._lock:
            self.calls += 1
            if name == "get_item":
                self.read += units
            else:
                self.write += units


def _refused(item: Item) -> float:
    """The write units of a refused write: a unit for each KB of the item that was there, and at least one."""
    return max(1, math.ceil(item_size(item) / 1024))
