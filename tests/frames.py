"""Secrets that are planted, and where they must not show: in the frames of an error, in those that are live, in logs and messages."""

from __future__ import annotations

import base64
import dis
import inspect
import json
import logging
import re
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Final

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

__all__ = [
    "COOKIE",
    "DATA",
    "IBAN",
    "KEY",
    "SECRETS",
    "STS",
    "TOKEN",
    "Sent",
    "check_error",
    "check_live_frames",
    "checked_logs",
    "fail_if_noted",
    "holders_in",
    "watched",
]

TOKEN: Final = "TOKENtokenTOKENtokenTOKENtokenTOKENtokenTOK"
OTHER: Final = "OTHERtokenOTHERtokenOTHERtokenOTHERtokenOTH"
IBAN: Final = "DE89370400440532013000"
DATA: Final = b'{"data":{"iban":"DE89370400440532013000"},"deadline":8102534735004839040}'
KEY: Final = "SECRETKEYsecretkeySECRETKEYsecretkey0123"
STS: Final = "STSTOKENststokenSTSTOKENststoken"
COOKIE: Final = "theme=COOKIEofTheApp"

SECRETS: Final = (
    TOKEN,
    OTHER,
    IBAN,
    KEY,
    STS,
    "COOKIEofTheApp",
    # As they go over the wire, wherever they begin.
    *(base64.b64encode(b"x" * skip + IBAN.encode()).decode()[4:24] for skip in range(3)),
)
_IN_TEXT: Final = re.compile("|".join(map(re.escape, SECRETS)))
_IN_BYTES: Final = re.compile(_IN_TEXT.pattern.encode())

# The kit for tests is no part of a program that runs.
_NOT_OURS: Final = ("dynamostore.testing",)
_DEPTH: Final = 6


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in ("dynamostore", "session") and not name.startswith(_NOT_OURS)


def _shows(value: object, depth: int = 0, *, with_repr: bool = True) -> bool:
    """Return True if a tracker that walks plain values, and takes the repr of others, would show a secret."""
    if isinstance(value, str):
        return _IN_TEXT.search(value) is not None
    if isinstance(value, bytes | bytearray | memoryview):
        return _IN_BYTES.search(value) is not None
    if depth < _DEPTH and not hasattr(type(value), "__sentry_repr__"):
        if isinstance(value, Mapping):
            return any(_shows(part, depth + 1, with_repr=with_repr) for pair in list(value.items()) for part in pair)
        if isinstance(value, Sequence | AbstractSet | deque):
            return any(_shows(part, depth + 1, with_repr=with_repr) for part in list(value))
    return with_repr and _IN_TEXT.search(_repr(value)) is not None


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 (anybody's)
        return ""


def _holders(frame: FrameType, *, with_repr: bool = True) -> list[str]:
    where = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}:{frame.f_lineno}"
    return [f"{where} {name}" for name, value in frame.f_locals.items() if _shows(value, with_repr=with_repr)]


# An error


def _chain(error: BaseException) -> Iterator[BaseException]:
    to_do: list[BaseException | None] = [error]
    seen: set[int] = set()
    while to_do:
        each = to_do.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        to_do += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            to_do += each.exceptions


def holders_in(error: BaseException) -> list[str]:
    """Return where in the frames and messages of an *error*, and of all that it was raised from, a secret shows."""
    found: list[str] = []
    for each in _chain(error):
        found += [f"message of {type(each).__name__}" for text in (str(each), repr(each)) if _shows(text)]
        found += [f"note of {type(each).__name__}" for text in getattr(each, "__notes__", ()) if _shows(text)]
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if _is_ours(frame):
                found += _holders(frame)
    return found


def _told_by_capture_locals(error: BaseException) -> list[str]:
    found: list[str] = []
    ours = {
        frame.f_code.co_filename
        for each in _chain(error)
        for frame, _ in traceback.walk_tb(each.__traceback__)
        if _is_ours(frame)
    }
    told: traceback.TracebackException | None = traceback.TracebackException.from_exception(error, capture_locals=True)
    todo = [told]
    while todo:
        told = todo.pop()
        if told is None:
            continue
        todo += [told.__cause__, told.__context__]
        for summary in told.stack:
            if summary.filename in ours:
                found += [
                    f"capture_locals {summary.filename}:{summary.name} {name}"
                    for name, text in (summary.locals or {}).items()
                    if _shows(text)
                ]
    return found


class Sent(Transport):
    """What sentry-sdk would send, with its defaults (but for the lines of the sources, which take long to read)."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        self.client = sentry_sdk.Client(
            dsn="http://public@127.0.0.1:1/1", transport=self, default_integrations=False, include_source_context=False
        )

    def capture_envelope(self, envelope: Envelope) -> None:
        self.events += [item.payload.json for item in envelope.items if item.headers.get("type") == "event"]  # type: ignore[misc]  # as it is in an event

    def holders_in(self, error: BaseException) -> list[str]:
        """Return the variables of our frames, as they are sent, in which a secret shows."""
        frames = error.__traceback__
        # Those of the tests are large.
        while frames is not None and not _is_ours(frames.tb_frame):
            frames = frames.tb_next
        told = (type(error), error, frames)
        event, hint = sentry_sdk.utils.event_from_exception(told, client_options=self.client.options)
        self.client.capture_event(event, hint=hint)
        found: list[str] = []
        for exception in self.events.pop()["exception"]["values"]:
            if _shows(exception.get("value") or ""):
                found.append(f"sentry: value of {exception['type']}")
            for frame in (exception.get("stacktrace") or {}).get("frames", ()):
                module = str(frame.get("module"))
                if module.partition(".")[0] in ("dynamostore", "session") and not module.startswith(_NOT_OURS):
                    found += [
                        f"sentry: {module}.{frame['function']} {name}"
                        for name, value in (frame.get("vars") or {}).items()
                        if _shows(json.dumps(value))
                    ]
        return found


_seen: set[tuple[CodeType, frozenset[str]]] = set()


def check_error(error: BaseException, sent: Sent) -> None:
    """Fail if a secret shows in *error*."""
    found = holders_in(error)
    # What sentry-sdk and the standard library make of it is less than was searched just now, and takes long: once for each frame, and what is in it.
    frames = {
        (frame.f_code, frozenset(frame.f_locals))
        for each in _chain(error)
        for frame, _ in traceback.walk_tb(each.__traceback__)
        if _is_ours(frame)
    }
    if not frames <= _seen:
        _seen.update(frames)
        found += _told_by_capture_locals(error) + sent.holders_in(error)
    _fail(found)


def _fail(found: list[str]) -> None:
    if found:
        raise AssertionError("a secret shows:\n" + "\n".join(dict.fromkeys(found)))


# What is live


_live: list[str] = []


def check_live_frames() -> None:
    """Note if one of our frames, which wait for the caller of this, shows a secret, or the error that is just handled.

    For code of an app's, and for stores.
    """
    error = sys.exception()
    if error is not None:
        _live.extend(holders_in(error))
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if _is_ours(frame):
            _live.extend(_holders(frame))
        frame = frame.f_back


def fail_if_noted() -> None:
    """Fail if `check_live_frames` has noted anything. Not there: what the app raises is the library's to handle."""
    found = list(_live)
    _live.clear()
    _fail(found)


class _Checking(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if _shows(record.getMessage()):
            self.found.append(f"log: {record.msg}")
        if record.exc_info and record.exc_info[1] is not None:
            self.found += holders_in(record.exc_info[1])
        if (error := sys.exception()) is not None:
            self.found += holders_in(error)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            # A message may be sent with the frames that are live.
            if _is_ours(frame):
                self.found += _holders(frame)
            frame = frame.f_back


@contextmanager
def checked_logs(*others: str) -> Iterator[None]:
    """Check all that is logged meanwhile, by *others* too, and the frames that are live then, and the error that is handled."""
    handler = _Checking()
    loggers = [logging.getLogger(name) for name in ("dynamostore", "session", *others)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
    _fail(handler.found)


# What may wait

_CAN_WAIT: Final = (
    inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR
)


_RETURN: Final = dis.opmap["RETURN_VALUE"]


class _Tracer:
    """Looks at our generators and coroutines when they begin to wait, since an error may come to them there, and when one passes."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._codes: dict[CodeType, bool] = {}

    def __call__(self, frame: FrameType, event: str, argument: object) -> _Tracer | None:
        code = frame.f_code
        matters = self._codes.get(code)
        if matters is None:
            matters = self._codes[code] = (
                bool(code.co_flags & _CAN_WAIT) and _is_ours(frame) and code.co_name != "<genexpr>"
            )
        if not matters:
            return None
        frame.f_trace_lines = False
        waits = event == "return" and frame.f_code.co_code[frame.f_lasti] != _RETURN
        if waits or event == "exception":
            self.found.update(_holders(frame))
        return self


@contextmanager
def watched() -> Iterator[None]:
    """Fail if one of our generators or coroutines holds a secret in clear while it waits."""
    tracer = _Tracer()
    before = sys.gettrace()
    threading.settrace(tracer)
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(before)
    _fail(sorted(tracer.found))
