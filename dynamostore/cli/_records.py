"""Commands about single records: show, revoke."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta

import click

from dynamostore import items, markers
from dynamostore._texts import escaped
from dynamostore.batch import Batch, Progress, Tally
from dynamostore.client import GetItemReply, Item
from dynamostore.digests import digest
from dynamostore.errors import CorruptRecordError, StoreError, UnavailableError
from dynamostore.instants import from_ns
from dynamostore.steps import Call, Plan, issue

from ._jobs import DONE, FAILED, Job
from ._meter import MeteredStore, connect, place
from ._options import Command, by_digest, dry_run, global_options, raw, reveal, yes
from ._state import State, WrongUsageError
from ._statistics import size
from ._tokens import digests, keys, keys_of

__all__ = ["COMMANDS"]

# Few attempts, because a person waits, and the client itself retries too.
_ATTEMPTS = 3
_SHOWN = 5


@click.command(
    cls=Command,
    short_help="Show the record of a client's token.",
    examples=(
        ("look up a session; type the token at the prompt", "dynamostore show -"),
        ("show its data, with the token from the clipboard", "pbpaste | dynamostore show - --reveal --table sessions"),
        ("look up a record by a digest that doctor names", "dynamostore show --digest 457cadca9a78"),
        ("look up a table key", "dynamostore show --raw BKNUwXCyGbC7-lpq2lJs38oTmltJmZuqb3HQRS1neew"),
    ),
)
@click.argument("token")
@raw
@by_digest
@reveal
@global_options
@click.pass_obj
def show(state: State, *, token: str, raw: bool, by_digest: bool, reveal: bool) -> int:
    """Show the expiry, size and version of the record of a client's TOKEN. Add --reveal to show its data.

    If TOKEN is "-", the command reads it from standard input, or prompts for it without echo. It makes one GetItem call and
    changes nothing; even an expired record stays. With --digest, it reads the table first, which costs as much as stats. The
    exit code is 1 if there is no live record.
    """
    _check(raw=raw, by_digest=by_digest)
    found = digests([token]) if by_digest else keys([token], raw=raw)
    if len(found) > 1:
        raise WrongUsageError("standard input contains several tokens; show takes one")
    with connect(state) as store:
        known = keys_of(store, found)[0] if by_digest else found
        item = _get(store, known[0]) if known else None
        document = _described(store, known[0], item, reveal=reveal) if known else _missing(found[0])
        said = [
            # One line each, even if a name or value contains newlines. Only data may span lines.
            f"{name.replace('_', ' '):8} {value if name == 'data' else escaped(str(value))}"
            for name, value in _lines(document)
        ]
        if item is None and not (raw or by_digest):
            said.append("(looked up the SHA-256 of TOKEN; to look up TOKEN itself, use --raw)")
        state.result({"command": "show", "table": store.table.name, **document}, *said)
        return DONE if document["status"] == "live" else FAILED


def _check(*, raw: bool, by_digest: bool) -> None:
    if raw and by_digest:
        raise WrongUsageError("--raw and --digest contradict each other: use one of them")


def _get(store: MeteredStore, key: str) -> Item | None:
    arguments = {"TableName": store.table.name, "Key": items.key(store.table, key), "ConsistentRead": True}
    call = Call[GetItemReply]("get_item", arguments)

    def plan() -> Plan[Item | None]:
        return (yield from issue(call)).get("Item")

    return store._run(plan())


def _missing(name: object) -> dict[str, object]:
    return {"token": name, "status": "missing"}


def _described(store: MeteredStore, key: str, item: Item | None, *, reveal: bool) -> dict[str, object]:
    document: dict[str, object] = {"token": key if reveal else digest(key)}
    if item is None:
        return _missing(document["token"])
    document["size"] = items.item_size(item)
    try:
        expiry_ns = items.decode_expiry(store.table, item)
        left = timedelta(microseconds=(expiry_ns - time.time_ns()) // 1000)
        document |= {"expires": from_ns(expiry_ns).isoformat(), "seconds_left": round(left.total_seconds(), 3)}
        to = items.moved(store.table, item)
        if to is not None:
            # A marker: the session was renewed, and the marker names the new token.
            kept = markers.is_kept(store.table, item, time.time_ns())
            return {**document, "status": "moved" if kept else "expired", "moved_to": to if reveal else digest(to)}
        record = items.decode(store.table, item, expiry_ns)
    except CorruptRecordError as error:
        return {**document, "status": "corrupt", "reason": error.reason}
    document |= {"status": "live" if left >= timedelta(0) else "expired", "version": record.version}
    document |= {"data_size": len(record.data)}
    if record.beside:
        document["beside"] = sorted(record.beside)
    if reveal:
        try:
            document["data"] = record.data.decode()
        except UnicodeDecodeError:
            document["data_base64"] = base64.b64encode(record.data).decode()
    return document


def _lines(document: dict[str, object]) -> Iterator[tuple[str, object]]:
    yield "token", document["token"]
    yield "status", document["status"]
    for name in ("reason", "moved_to"):
        if name in document:
            yield name.replace("_", " "), document[name]
    if isinstance(left := document.get("seconds_left"), float):
        yield "expires", f"{document['expires']} ({_duration(left)})"
    if isinstance(whole := document.get("size"), int):
        yield "size", size(whole)
    for name in ("version", "beside"):
        if name in document:
            value = document[name]
            yield name, ", ".join(value) if isinstance(value, list) else value
    if "data_base64" in document:
        yield "data", f"base64 {document['data_base64']}"
    elif isinstance(data := document.get("data"), str):
        yield "data", _pretty(data)


def _pretty(data: str) -> str:
    try:
        return json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except ValueError:
        return data


def _duration(seconds: float) -> str:
    """Return a time relative to now, in words.

    >>> _duration(90), _duration(-200_000)
    ('in 0:01:30', '2 days, 7:33:20 ago')
    """
    length = timedelta(seconds=int(abs(seconds)))
    return f"in {length}" if seconds >= 0 else f"{length} ago"


@click.command(
    cls=Command,
    short_help="Delete the records of clients' tokens.",
    examples=(
        ("log a client out; type the token at the prompt", "dynamostore revoke -"),
        ("revoke many tokens, one per line", "dynamostore revoke --table sessions --yes - < stolen.txt"),
        ("see which of them have a record", "dynamostore revoke --table sessions --dry-run - < stolen.txt"),
    ),
)
@click.argument("tokens", metavar="TOKEN...", nargs=-1, required=True)
@raw
@by_digest
@reveal
@dry_run
@yes
@global_options
@click.pass_obj
def revoke(
    state: State, *, tokens: tuple[str, ...], raw: bool, by_digest: bool, reveal: bool, dry_run: bool, yes: bool
) -> int:
    """Delete the records of clients' TOKENs. If a session was renewed in the last 15 minutes, its new record is deleted too.

    If TOKEN is "-", the command reads tokens from standard input, or prompts for one without echo. The exit code is 1 if a
    token has no record; the others are deleted all the same. If DynamoDB becomes unavailable, the command stops and lists
    the tokens that it revoked.
    """
    _check(raw=raw, by_digest=by_digest)
    wanted = digests(tokens) if by_digest else keys(tokens, raw=raw)
    with connect(state) as store:
        wanted, unknown = keys_of(store, wanted) if by_digest else (wanted, [])
        there = _found(store, wanted)
        missing = unknown + [digest(key) if not reveal else key for key in wanted if key not in there]
        shown = [key if reveal else digest(key) for key in wanted if key in there]
        extra: dict[str, object] = {"missing": missing}
        if dry_run:
            document = {"command": "revoke", "table": store.table.name, "status": "dry run", "would_revoke": shown}
            state.result(
                {**document, **extra},
                f"would revoke {len(there):,} of {len(wanted) + len(unknown):,} in {place(store)}",
            )
            _name_missing(state, missing)
            return FAILED if missing else DONE
        if there:
            state.confirm(f"Delete {_records(len(there))}?", place(store), yes=yes)
        done, revoked = Tally(), []
        left = dict.fromkeys(wanted)

        def delete(batch: Batch, resume: str | None) -> Tally:
            del batch, resume
            for number, key in enumerate(wanted, 1):
                try:
                    # Not `delete_many`, because `delete` follows markers.
                    store.delete(key)
                except StoreError as error:
                    over = isinstance(error, UnavailableError)
                    if over and number == 1:
                        raise
                    done.failed[key] = error
                    if over:
                        # Stop: each of the others would time out too.
                        del left[key]
                        return done
                else:
                    done.done += key in there
                    revoked.extend([key] if key in there else [])
                del left[key]
                job.last = Progress(number, done.done, 0.0)
            return done

        job = Job(state, store, "revoke", "revoked", count=lambda _: done.done, total=len(wanted))
        report = job.run(delete)
        if report.status == "done" and left:
            report.status = "incomplete"
        names = {"revoked": revoked, "not tried": list(left)}
        named = {label: [key if reveal else digest(key) for key in keys] for label, keys in names.items()}
        extra |= {"revoked_tokens": named["revoked"], "not_tried": named["not tried"]}
        code = job.tell(report, reveal=reveal, extra=extra)
        if left and report.status != "failed":
            for label, shown_keys in named.items():
                state.say(f"{label}: {_few(shown_keys) or 'none'}")
        _name_missing(state, missing)
        return code or (FAILED if missing else DONE)


def _found(store: MeteredStore, wanted: Iterable[str]) -> set[str]:
    """Return the keys in *wanted* that have an item, or whose lookup failed."""
    found: set[str] = set()
    for outcome in Batch(store, attempts=_ATTEMPTS).find_many(wanted):
        if isinstance(outcome.error, UnavailableError):
            raise outcome.error
        if outcome.record or outcome.error or outcome.renamed:
            found.add(outcome.token)
    return found


def _name_missing(state: State, missing: list[str]) -> None:
    if missing:
        state.say(f"dynamostore: no record found for {_tokens(len(missing))}: {_few(missing)}")


def _few(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN:,} more; --json lists them all" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _records(number: int) -> str:
    return f"{number:,} record{'s' * (number != 1)}"


def _tokens(number: int) -> str:
    return f"{number:,} token{'s' * (number != 1)}"


COMMANDS = (show, revoke)
