"""No repr shows a token, a payload or a secret: a class that holds one writes its own, or leaves the field out."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import msgspec
import pytest

import dynamostore
import session
from dynamostore import MemoryStore, Record, Table
from dynamostore.batch._lines import Line
from dynamostore.batch._plans import Page
from dynamostore.batch._position import Position
from dynamostore.batch._results import Outcome, Tally
from dynamostore.cli._jobs import Report
from dynamostore.hidden import Hidden
from dynamostore.memory import _Marker
from dynamostore.steps import Call
from dynamostore.wire import Credentials
from dynamostore.wire._http import RawReply
from dynamostore.wire._refusals import Refusal
from dynamostore.wire._sigv4 import Scope
from session import SessionManager
from session._state import State
from session.changes import Changes
from session.codecs.json import _Payload
from session.draft import Draft
from session.merging import Snapshot

from . import django_site  # noqa: F401 (importing it sets Django up)
from .frames import DATA, IBAN, KEY, STS, TOKEN

# The kinds of fields that may hold a secret, by their annotations.
_MAY_HOLD = re.compile(
    r"\b(str|bytes|object|Any|dict|Mapping|list|Sequence|tuple|frozenset|set|Item|Settings|JSONValue)\b"
)

# Those that hold none, and are shown.
_NAMES_OF_TABLES = {"name", "token", "data", "expiry", "ttl", "version", "recent", "moved", "owner"}
ALLOWED = {
    # Names, regions, places, and what the program says itself.
    "dynamostore.table.Table": _NAMES_OF_TABLES,
    "dynamostore.errors.ThrottlingReason": {"reason", "resource"},  # the table's ARN
    "dynamostore.steps.Call": set(),
    "dynamostore.misuse._Words": {"store", "connect", "client", "other"},
    "dynamostore.admin._checkup.Checkup": {"findings", "_allowed", "_denied"},
    "dynamostore.admin._description.Description": {
        *("name", "arn", "status", "billing", "key", "ttl", "ttl_status", "region", "endpoint"),
        *("replicas", "multi_region_consistency", "witness"),
    },
    "dynamostore.admin._description.Replica": {"region", "status"},
    "dynamostore.admin._findings.Finding": {"check", "message", "advice"},
    "dynamostore.admin._findings.Kind": {"check", "message", "advice"},
    "dynamostore.admin._records.Records": {"examples"},  # digests
    "dynamostore.admin.where.Where": {"region", "endpoint", "can"},
    "dynamostore.batch._base.Job": {"name", "scope"},
    "dynamostore.batch._files.Exported": {"table", "sha256"},
    "dynamostore.batch._lines.End": {"sha256"},
    "dynamostore.batch._lines.Head": {"table", "attributes"},
    "dynamostore.batch._plans.Request": {"projection", "where", "values"},
    "dynamostore.batch._position.Position": {"table", "job", "scope", "done"},
    "dynamostore.cli._jobs.Job": {"name", "verb", "opening"},
    "dynamostore.cli._jobs.Report": {"status"},
    "dynamostore.cli._state.State": {"where", "attributes"},
    "dynamostore.cli._statistics.Statistics": {"expiry", "sizes", "largest_digest"},
    "dynamostore.wire._accounts.NoEndpoint": {"host", "path", "reason"},
    "dynamostore.wire._core.Endpoint": {"host", "path"},
    "dynamostore.wire._settings.Settings": {"region", "ca_bundle", "account_suffix"},
    "dynamostore.wire._setup.Meta": {"region_name", "endpoint_url"},
    "dynamostore.wire._sigv4.Scope": {"date", "region", "service"},
    # Keys of sessions: messages name them, too.
    "session._policy.Policy": {"login_keys", "manager"},
    "session._state.State": {"outdated", "tried"},
    "session.changes.Reads": {"values", "presence", "unlisted", "emptiness", "taken"},
    "session.cookies.Cookie": {"name", "path", "domain"},
    "session.merging.Rules": {"mergeable", "checked", "unchecked"},
    "session.plans.meeting.Writing": {"settings", "outdated"},
    "session.web._slots.Slot": {"keys"},
    "session.web.asgi._exchange.Settings": {"key", "sleep"},
    "session.web.asgi._waiting._WaitRequest": {"coroutine"},
    "session.web.django._manager.Site": {"setting", "table"},
    "session.web.flask._runs.Settings": {"cookie", "sleep"},
    "session.web.wsgi._exchange.Settings": {"keys", "sleep"},
}


def classes() -> Iterator[type]:
    found: set[type] = set()
    for package in (dynamostore, session):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.startswith("dynamostore.testing") or module.name.endswith("__main__"):
                continue
            for value in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(value) and value.__module__.partition(".")[0] in ("dynamostore", "session"):
                    found.add(value)
    yield from sorted(found, key=lambda each: (each.__module__, each.__qualname__))


def shown(kind: type) -> dict[str, str]:
    """The fields that a repr which nobody wrote shows, with their annotations."""
    written = vars(kind).get("__repr__")
    code = getattr(written, "__code__", None)
    if code is not None and code.co_filename == inspect.getsourcefile(kind):
        return {}
    if dataclasses.is_dataclass(kind):
        return {each.name: str(each.type) for each in dataclasses.fields(kind) if each.repr}
    if issubclass(kind, msgspec.Struct) or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        return {name: str(annotation) for name, annotation in kind.__annotations__.items()}
    return {}


def test_reprs_that_nobody_wrote_show_nothing_that_may_be_secret() -> None:
    found = {
        f"{kind.__module__}.{kind.__qualname__}": suspicious
        for kind in classes()
        if (suspicious := {name for name, annotation in shown(kind).items() if _MAY_HOLD.search(annotation)})
    }
    assert {
        name: fields - ALLOWED.get(name, set()) for name, fields in found.items() if fields - ALLOWED.get(name, set())
    } == {}


def state() -> State:
    manager = SessionManager(MemoryStore(), hash_tokens=False)
    made = manager.load(TOKEN)._state
    made.draft, made.coming, made.record = Draft({"iban": IBAN}), TOKEN, MemoryStore().save(TOKEN, DATA, SOON)
    return made


SOON = Record.at(TOKEN, DATA, 8_000_000_000_000_000_000, 1).expiry

HOLDERS = [
    Call("get_item", {"Key": {"token": {"S": TOKEN}}}),
    Changes(put={"iban": IBAN}, incremented={"n": 1}),
    RawReply(200, {"set-cookie": TOKEN}, DATA, reusable=True),
    Position.start(Table(), "scan", 1, "here"),
    Page(0, [{"data": {"B": DATA}}], 1, 1, TOKEN),
    Line(TOKEN, text=IBAN),
    Refusal(Item={"a": {"S": TOKEN}}, message=TOKEN),
    Report("done", 0, 0, 0.0, 0.0, resume=TOKEN, failed={TOKEN: ValueError()}),
    Record(TOKEN, DATA, SOON, 1, beside={"a": {"S": IBAN}}),
    Outcome(TOKEN),
    Tally(failed={TOKEN: ValueError()}),
    Hidden(TOKEN),
    Credentials("AKIAEXAMPLE", KEY, STS),
    Scope(Credentials("AKIAEXAMPLE", KEY, STS), "20300101", "us-east-1", "dynamodb"),
    _Payload({"iban": IBAN}, 1),
    _Marker(TOKEN, 1, 1),
    Snapshot({"iban": IBAN}, 1, {"a": IBAN}),
    Draft({"iban": IBAN}),
    state(),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_no_repr_shows_what_is_held(holder: object) -> None:
    if isinstance(holder, Position):
        holder.advance(0, TOKEN)
    for secret in (TOKEN, IBAN, KEY, STS):
        assert secret not in repr(holder)
        assert secret not in str(holder)


def test_a_session_in_a_frame_is_not_read() -> None:
    """sentry-sdk goes over mappings; but it asks their class for a repr of its own first."""
    made = SessionManager(MemoryStore()).load(None)
    assert type(made).__sentry_repr__(made) == repr(made)
    assert not made._state.looked
