"""Merge the values of one key that two requests changed at once: ``mergeable={"cart": "merge", "hits": "add"}``.

*ours* is the value of the slower request, *theirs* the value that the faster request stored, and *base* the value
that the slower request read. Pure: no I/O, no clock.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from enum import Enum
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, TypeAlias, TypeGuard, TypeVar, get_args

import msgspec

from . import values
from .errors import SessionTypeError
from .types import JSONValue

__all__ = ["Merge", "MergeFunction", "merge_json_list"]

T = TypeVar("T")

MergeFunction: TypeAlias = Callable[[JSONValue, JSONValue, JSONValue], JSONValue]
"""A function of base, ours and theirs that returns the merged value.

None stands for a missing key, both as an argument and as the result.
"""

_Kind: TypeAlias = Literal["merge", "add", "latest"]

Merge: TypeAlias = _Kind | MergeFunction
"""How to merge the values of a key:

- "merge": keep both sides' changes to a list or dict;
- "add": add up both sides' changes to a number;
- "latest": keep the greater number, time or string;
- a function: keep what it returns.
"""

_KINDS = get_args(_Kind)


class Absent(Enum):
    """The value of a missing key, as opposed to null."""

    ABSENT = "absent"


# An exact comparison: 1, 1.0 and True have different encodings, and so do two dicts in different orders.
_encoder = msgspec.json.Encoder()
# A comparison that ignores the order of dicts, for data that another program wrote: SCS for Go sorts the keys of a dict.
_sorting = msgspec.json.Encoder(order="deterministic")


def check_mergeable(mergeable: Mapping[str, Merge]) -> Mapping[str, Merge]:
    """Return a read-only copy of *mergeable*. Raise `TypeError` or `ValueError` for an invalid key or kind.

    >>> check_mergeable({"cart": "merge", "hits": "sum"})
    Traceback (most recent call last):
    ValueError: mergeable['hits'] is 'sum'; choose "merge", "add", "latest" or a function of base, ours and theirs
    """
    if not isinstance(mergeable, Mapping):
        raise TypeError(
            f"mergeable must be a mapping of keys, not {type(mergeable).__name__}: "
            'name a kind for each key, as in {"cart": "merge"}'
        )
    for key, how in mergeable.items():
        values.checked_key(key)
        _check_kind(f"mergeable[{key!r}]", how)
    return MappingProxyType(dict(mergeable))


def _check_kind(name: str, how: object) -> None:
    choice = 'choose "merge", "add", "latest" or a function of base, ours and theirs'
    if isinstance(how, str):
        if how not in _KINDS:
            raise ValueError(f"{name} is {how!r}; {choice}")
        return
    if not callable(how):
        raise TypeError(f"{name} is of type {type(how).__name__}; {choice}")
    if inspect.iscoroutinefunction(how) or inspect.iscoroutinefunction(type(how).__call__):
        raise TypeError(f"{name} must be a plain function, not a coroutine function; merging does not await")
    try:
        signature = inspect.signature(how)
    except (TypeError, ValueError):
        # Some functions written in C have no signature.
        return
    try:
        signature.bind(None, None, None)
    except TypeError:
        raise TypeError(f"{name} must accept three positional arguments: base, ours and theirs") from None


def merge_values(
    key: str, how: Merge, base: JSONValue | Absent, ours: JSONValue | Absent, theirs: JSONValue | Absent
) -> JSONValue | Absent:
    """Return the merged value of *ours* and *theirs*, or `Absent.ABSENT` if the key is to be removed.

    If only one side changed the value, return that side's value, whatever *how* is. The result may share parts with *ours*
    and *theirs*; the arguments are not modified.

    Raises `SessionTypeError` if "add" meets a value that is not a number, or if a function's result is not a JSON value.
    Raises `ValueError` if a sum exceeds signed 64 bits or the range of floats. Exceptions of a function propagate.

    >>> merge_values("cart", "merge", ["apple"], ["apple", "plum"], ["pear"])
    ['pear', 'plum']
    >>> merge_values("user", "merge", {"n": 1, "old": 1}, {"n": 2, "old": 1}, {"n": 1, "lang": "en"})
    {'n': 2, 'lang': 'en'}
    >>> merge_values("hits", "add", 10, 11, 15)
    16
    >>> merge_values("seen", "latest", Absent.ABSENT, "2030-01-01T12:00:00Z", "2030-01-01T12:30:00+01:00")
    '2030-01-01T12:00:00Z'
    >>> merge_values("tags", lambda base, ours, theirs: sorted({*ours, *theirs})[:3], [], ["a", "d"], ["c", "b"])
    ['a', 'b', 'c']
    """
    if _is_same(ours, base):
        return theirs
    if _is_same(theirs, base):
        return ours
    if how == "merge":
        return _merge(base, ours, theirs)
    if how == "add":
        return _add(key, base, ours, theirs)
    if how == "latest":
        return _latest(key, ours, theirs)
    # Pass copies: a function may change its arguments, and the merge may run again.
    result: object = how(*(None if side is Absent.ABSENT else copy.deepcopy(side) for side in (base, ours, theirs)))
    return Absent.ABSENT if result is None else values.native(key, result)


def merge_json_list(base: JSONValue, ours: JSONValue, theirs: JSONValue) -> JSONValue:
    """Merge lists that are stored as JSON in a string, such as Django's ``_messages``. A `MergeFunction`.

    A value that is not such a string counts as an empty list. Return None if the merged list is empty.

    >>> merge_json_list('["old"]', '["old", "ours"]', '["theirs"]')
    '["theirs","ours"]'
    """
    merged = _merge_lists(_json_list(base), _json_list(ours), _json_list(theirs), same=_json_encode, alike=_json_encode)
    return json.dumps(merged, separators=(",", ":")) if merged else None


def _json_encode(value: JSONValue) -> str:
    # Unlike msgspec, json can write the NaN and the lone surrogates that it reads.
    return json.dumps(value, sort_keys=True)


def _json_list(text: JSONValue) -> list[JSONValue]:
    """Return the list that *text* encodes, or an empty list if it does not encode one."""
    if not isinstance(text, str):
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def _encode(value: JSONValue | Absent) -> bytes | None:
    return None if value is Absent.ABSENT else _encoder.encode(value)


def _is_same(one: JSONValue | Absent, other: JSONValue | Absent) -> bool:
    return one is other or _encode(one) == _encode(other)


def _merge(base: JSONValue | Absent, ours: JSONValue | Absent, theirs: JSONValue | Absent) -> JSONValue | Absent:
    """Merge lists and dicts at every depth. If both sides changed any other value, *ours* wins, as the later one."""
    if _is_same(ours, base):
        return theirs
    if _is_same(theirs, base):
        return ours
    merged: JSONValue
    if (lists := _all_of(list, base, ours, theirs)) is not None:
        merged = _merge_lists(*lists, same=_encoder.encode, alike=_sorting.encode)
    elif (dicts := _all_of(dict, base, ours, theirs)) is not None:
        merged = _merge_dicts(*dicts)
    else:
        return ours
    # If one side removed the key and the merge is empty, the key stays removed.
    return merged if merged or Absent.ABSENT not in (ours, theirs) else Absent.ABSENT


def _all_of(type_: type[T], *sides: JSONValue | Absent) -> tuple[T, T, T] | None:
    """Return the three *sides* if all have type *type_*, else None. An absent side counts as empty."""
    found = [type_() if side is Absent.ABSENT else side for side in sides]
    base, ours, theirs = (side if isinstance(side, type_) else None for side in found)
    return None if base is None or ours is None or theirs is None else (base, ours, theirs)


def _merge_dicts(
    base: Mapping[str, JSONValue], ours: Mapping[str, JSONValue], theirs: Mapping[str, JSONValue]
) -> dict[str, JSONValue]:
    merged: dict[str, JSONValue] = {}
    # Keep the order of theirs and append the keys that ours added. If ours changed the order, use the order of ours.
    kept = [name for name in ours if name in base]
    reordered = kept != [name for name in base if name in ours]
    for name in {**ours, **theirs} if reordered else {**theirs, **ours}:
        value = _merge(*(side.get(name, Absent.ABSENT) for side in (base, ours, theirs)))
        if value is not Absent.ABSENT:
            merged[name] = value
    return merged


def _merge_lists(
    base: Sequence[JSONValue],
    ours: Sequence[JSONValue],
    theirs: Sequence[JSONValue],
    same: Callable[[JSONValue], Hashable],
    alike: Callable[[JSONValue], Hashable],
) -> list[JSONValue]:
    """Return *theirs* without the elements that ours removed, followed by the elements that ours added.

    *same* encodes elements for an exact comparison; *alike* ignores the order of dicts. Of several equal elements, the first
    ones are removed and the last ones are added.
    """
    before, left = Counter(map(same, base)), Counter(map(same, ours))
    removed = Counter[Hashable]()
    for element in base:
        encoded = same(element)
        if left[encoded] > 0:
            left[encoded] -= 1
        else:
            removed[alike(element)] += 1
    return [*_without(theirs, removed, alike), *_without(ours, before, same)]


def _without(
    elements: Sequence[JSONValue], dropped: Counter[Hashable], same: Callable[[JSONValue], Hashable]
) -> list[JSONValue]:
    left = dropped.copy()
    kept = []
    for element in elements:
        encoded = same(element)
        if left[encoded] > 0:
            left[encoded] -= 1
        else:
            kept.append(element)
    return kept


def _add(
    key: str, base: JSONValue | Absent, ours: JSONValue | Absent, theirs: JSONValue | Absent
) -> JSONValue | Absent:
    if ours is theirs is Absent.ABSENT:
        return Absent.ABSENT
    numbers = [_number(key, side) for side in (base, ours, theirs)]
    # With fractions, ints beyond 2**53 stay exact beside floats, and a sum of floats is rounded only once.
    before, mine, others = map(Fraction, numbers)
    total = others + (mine - before)
    if total == 0 and Absent.ABSENT in (ours, theirs):
        return Absent.ABSENT
    if all(isinstance(number, int) for number in numbers):
        return values.from_int(key, int(total))
    try:
        return float(total)
    except OverflowError:
        raise ValueError(f"session key {key!r}: the sum does not fit into a float; add smaller numbers") from None


def _number(key: str, value: JSONValue | Absent) -> int | float:
    if value is Absent.ABSENT:
        return 0
    if not _is_number(value):
        raise SessionTypeError(key=key, wanted='a number (the key is mergeable by "add")', found=values.kind(value))
    return values.to_int(key, value) if isinstance(value, int) else values.from_float(key, value)


def _is_number(value: JSONValue | Absent) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _latest(key: str, ours: JSONValue | Absent, theirs: JSONValue | Absent) -> JSONValue | Absent:
    """Return the greater value; *ours* if they are equal or cannot be compared."""
    if ours is Absent.ABSENT:
        return theirs
    if _is_number(ours) and _is_number(theirs):
        return max(ours, theirs)
    if isinstance(ours, str) and isinstance(theirs, str):
        try:
            is_later = values.to_time(key, theirs) > values.to_time(key, ours)
        except SessionTypeError:
            is_later = theirs > ours
        return theirs if is_later else ours
    return ours
