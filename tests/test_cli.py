"""The command line: what it prints, what it changes, how it ends; on a real server, in this process and in others."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import msgspec
import pytest

import dynamostore
from dynamostore import DynamoStore, MemoryStore, Table, items
from dynamostore.batch import Batch, verify
from dynamostore.cli import main
from dynamostore.client import AttributeValue
from dynamostore.digests import digest
from dynamostore.local import LocalDynamoDB
from session import SessionManager

from .cli.terminal import COMMAND, Terminal
from .distribution import ROOT

NEVER = datetime(2200, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
BIG = b"\x00" * 60_000  # 17 of them are a page


def hashed(token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def url(credentials: None) -> Iterator[str]:
    with LocalDynamoDB() as dynamodb, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
        patch.setenv("COLUMNS", "80")
        yield dynamodb.url


@pytest.fixture
def table(url: str) -> str:
    """A table of its own, without TTL: this server sweeps by itself."""
    name = f"t{time.time_ns()}"
    make(name)
    return name


def make(name: str) -> DynamoStore:
    store = dynamostore.connect(name)
    store.client.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "token", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "token", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return store


@pytest.fixture
def store(table: str) -> Iterator[DynamoStore]:
    with dynamostore.connect(table) as store:
        yield store


def fill(store: DynamoStore, live: int, expired: int = 0, data: bytes = b"data") -> None:
    entries = [(hashed(f"live {n}"), data, NEVER) for n in range(live)]
    entries += [(hashed(f"expired {n}"), data, LONG_AGO) for n in range(expired)]
    tally = Batch(store).save_many(entries)
    assert tally.done == live + expired


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command, in this process."""

    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Ran(code, said.out, said.err)

    return run


def process(*arguments: str | Path, environment: dict[str, str] | None = None, stdin: str = "") -> Ran:
    """The command, in a process of its own; a name without a value is taken out of the environment."""
    whole = {**os.environ, **(environment or {})}
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env={name: value for name, value in whole.items() if value},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def document_in(terminal: Terminal) -> dict[str, Any]:
    """The JSON among what else it printed."""
    said = terminal.plain
    document: dict[str, Any] = json.loads(said[said.index("{\n") : said.rindex("}") + 1])
    return document


# The table


def test_create_table_makes_it_once_and_says_which(url: str, run: Run) -> None:
    name = f"made{time.time_ns()}"
    dry = run("create-table", "--table", name, "--dry-run", "--json")
    assert (dry.code, dry.document["would_create"]) == (0, True)
    assert run("ping", "--table", name).code == 1
    assert run("create-table", "--table", name).out == f"table '{name}' in us-east-1 ({url}) was created\n"
    assert run("--table", name, "create-table", "--json").document["created"] is False
    assert re.fullmatch(
        rf"table '{name}' in us-east-1 \({url}\) answers in [0-9.]+ ms\n", run("ping", "--table", name).out
    )


def test_create_table_turns_ttl_on_where_there_are_records_only_if_it_may(store: DynamoStore, run: Run) -> None:
    where = ("--table", store.table.name)

    def ttl() -> str:
        reply = store.client.describe_time_to_live(TableName=store.table.name)
        return reply["TimeToLiveDescription"]["TimeToLiveStatus"]

    fill(store, 1)
    dry = run("create-table", *where, "--dry-run", "--json").document
    assert (dry["would_create"], dry["would_enable_ttl"], dry["ttl_enabled"]) == (False, True, False)
    assert "its TTL would be enabled" in run("create-table", *where, "--dry-run").out
    asked = run("create-table", *where)
    assert (asked.code, "--yes" in asked.err, ttl()) == (2, True, "DISABLED")
    with Terminal("create-table", *where) as terminal:
        terminal.wait_for("[y/N]: ")
        terminal.type("n\n")
        assert terminal.end() == 1
    assert ttl() == "DISABLED"
    done = run("create-table", *where, "--yes", "--json").document
    assert (done["created"], done["ttl_enabled"], ttl()) == (False, True, "ENABLED")
    again = run("create-table", *where, "--json").document
    assert (again["created"], again["ttl_enabled"]) == (False, False)
    assert run("create-table", *where, "--dry-run", "--json").document["would_enable_ttl"] is False


def test_create_table_asks_nothing_where_there_is_nothing_to_lose(store: DynamoStore, run: Run) -> None:
    done = run("create-table", "--table", store.table.name)
    assert (done.code, done.out.endswith("already exists; its TTL is now enabled\n")) == (0, True)


def test_an_option_after_the_command_counts_more_than_one_before_it(table: str, run: Run) -> None:
    assert run("--table", "elsewhere", "ping", "--table", table).code == 0
    assert run("--table", table, "ping", "--table", "elsewhere").code == 1


def test_boto3_does_it_too(store: DynamoStore, run: Run) -> None:
    fill(store, 2, 3)
    purged = run("purge", "--yes", "--json", "--via", "boto3", "--table", store.table.name)
    assert (purged.code, purged.document["deleted"]) == (0, 3)


def test_attributes_may_have_other_names(url: str, run: Run) -> None:
    name = f"renamed{time.time_ns()}"
    names = ("--attribute", "token=id", "--attribute", "ttl=gone")
    assert run("create-table", "--table", name, *names).code == 0
    with dynamostore.connect(Table(name=name, token="id", ttl="gone")) as store:
        store.save("key", b"", NEVER)
    assert run("show", "--raw", "key", "--table", name, *names).code == 0
    refused = run("show", "--raw", "key", "--table", name)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "--attribute token=..." in refused.err
    assert run("ping", "--attribute", "key=id").code == 2


def test_doctor_fails_for_errors_only(store: DynamoStore, run: Run) -> None:
    fill(store, 3)
    well = run("doctor", "--table", store.table.name)
    assert well.code == 0
    assert "store." not in well.out
    store.client.put_item(TableName=store.table.name, Item={"token": {"S": "secret token"}, "expiry": {"S": "?"}})
    ill = run("doctor", "--table", store.table.name, "--json")
    assert ill.code == 1
    assert ill.document["status"] == "found"
    assert "records:corrupt" in ill.out
    assert "secret token" not in ill.out + run("doctor", "--table", store.table.name, "--all", "-v").out


def test_doctor_that_is_strict_fails_for_warnings_too(store: DynamoStore, run: Run) -> None:
    store.save("old", b"", LONG_AGO)
    where = ("--table", store.table.name)
    assert (run("doctor", *where).code, run("doctor", *where, "--strict").code) == (0, 1)
    strict = run("doctor", *where, "--strict", "--json").document
    assert (strict["status"], strict["count"]["error"]) == ("found", 0)
    # Without records, TTL that is off is the only warning.
    store.delete("old")
    assert strict["count"]["warning"] == 1 + run("doctor", *where, "--json").document["count"]["warning"] == 2


def test_a_corrupt_record_is_found_and_deleted_by_the_digest_that_doctor_names(store: DynamoStore, run: Run) -> None:
    fill(store, 3)
    where = ("--table", store.table.name)
    store.client.put_item(TableName=store.table.name, Item={"token": {"S": "bad"}, "expiry": {"S": "?"}})
    name = digest("bad")
    assert name in run("doctor", *where).out
    shown = run("show", *where, "--digest", name, "--json")
    assert (shown.code, shown.document["status"], shown.document["token"]) == (1, "corrupt", name)
    assert run("show", *where, "--digest", digest(hashed("live 1"))).code == 0
    nobody = run("show", *where, "--digest", "0" * 12, "--json")
    assert (nobody.code, nobody.document["status"]) == (1, "missing")
    dry = run("revoke", *where, "--digest", name, "0" * 12, "--dry-run", "--json")
    assert (dry.code, dry.document["would_revoke"], dry.document["missing"]) == (1, [name], ["0" * 12])
    done = run("revoke", *where, "--digest", name, "--yes", "--json")
    assert (done.code, done.document["revoked_tokens"]) == (0, [name])
    assert run("doctor", *where).code == 0
    assert Batch(store).count().live == 3
    assert run("show", *where, "--digest", "bad").code == 2
    assert run("revoke", *where, "--digest", "--raw", name).code == 2


def test_advice_is_for_the_table_that_was_examined(
    url: str, store: DynamoStore, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[profile o'ps]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    store.save("old", b"", LONG_AGO)
    store.client.put_item(TableName=store.table.name, Item={"token": {"S": "bad"}})
    # Only options say where it is: nothing of that is in the environment.
    monkeypatch.delenv("AWS_ENDPOINT_URL_DYNAMODB")
    (tmp_path / "credentials").write_text("[o'ps]\naws_access_key_id = test\naws_secret_access_key = test\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    name, at = store.table.name, f"--region us-east-1 --endpoint-url {url} --profile"
    given = ("--table", name, *at.split(), "o'ps")
    found = {finding["check"]: finding for finding in run("doctor", *given, "--json").document["findings"]}
    profile = shlex.quote("o'ps")
    ours = f"--table {name} {at} {profile}"
    assert f"dynamostore create-table {ours}, or: aws " in found["ttl"]["advice"]
    assert found["records:unswept"]["advice"].endswith(f"dynamostore purge {ours}")
    assert f"(dynamostore revoke {ours} --digest DIGEST)" in found["records:corrupt"]["advice"]
    command = found["ttl"]["advice"].partition("or: ")[2]
    assert command.startswith(f"aws --profile {profile} dynamodb update-time-to-live --table-name {name} ")
    assert command.endswith(f"--region us-east-1 --endpoint-url {url}")
    assert "update-time-to-live" in run("doctor", *given).out
    # It can be typed.
    typed = shlex.split(found["ttl"]["advice"].partition("dynamostore ")[2].partition(", or:")[0])
    assert run(*typed, "--dry-run", "--json").document["would_enable_ttl"] is True


def test_advice_names_the_one_of_two_tables_that_is_missing(store: DynamoStore, url: str, run: Run) -> None:
    ran = run("copy", "nobodys", "--table", store.table.name, "--to-attribute", "token=id")
    make_it = f"dynamostore create-table --table nobodys --attribute token=id --region us-east-1 --endpoint-url {url}\n"
    assert (ran.code, ran.err.endswith(make_it)) == (1, True), ran.err


def test_policies_are_for_the_region_that_the_other_commands_take(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def arn(*arguments: str) -> str:
        (statement,) = run("policy", "web", *arguments).document["Statement"]
        return str(statement["Resource"])

    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert arn() == "arn:aws:dynamodb:*:*:table/scs_session"
    monkeypatch.setenv("AWS_REGION", "cn-north-1")
    assert arn() == "arn:aws-cn:dynamodb:cn-north-1:*:table/scs_session"
    (tmp_path / "config").write_text("[default]\nregion = us-iso-east-1\n[profile gov]\nregion = us-gov-west-1\n")
    assert arn() == "arn:aws-iso:dynamodb:us-iso-east-1:*:table/scs_session"
    assert arn("--profile", "gov") == "arn:aws-us-gov:dynamodb:us-gov-west-1:*:table/scs_session"
    assert arn("--region", "*") == "arn:aws:dynamodb:*:*:table/scs_session"
    assert run("policy", "web", "--profile", "nobodys").code == 2


def test_policies_and_templates_ask_nobody(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    policy = run("policy", "sweeper", "--table", "sessions", "--region", "eu-central-1", "--account", "123456789012")
    (resource,) = {statement["Resource"] for statement in policy.document["Statement"]}
    assert resource == "arn:aws:dynamodb:eu-central-1:123456789012:table/sessions"
    assert run("policy", "web", "--account", "12").code == 2
    terraform = run("template", "terraform", "--table", "sessions")
    assert terraform.out.startswith('resource "aws_dynamodb_table"')
    assert run("template", "terraform", "--table", "sessions", "--json").document["template"] == terraform.out
    assert "AWS::DynamoDB::Table" in run("template", "cloudformation").out


# Single records


def test_show_finds_a_session_by_the_clients_token_and_hides_what_it_holds(
    store: DynamoStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionManager(store).session(None) as s:
        s.put_string("name", "Ada \x1b[2J")
    assert s.token is not None
    # A token may begin with a "-".
    shown = run("show", "--table", store.table.name, "--", s.token)
    assert shown.code == 0
    assert digest(hashed(s.token)) in shown.out
    assert s.token not in shown.out
    assert hashed(s.token) not in shown.out
    assert "Ada" not in shown.out
    # Off the command line; and what a terminal would obey is spelled out.
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{s.token}\n"))
    revealed = run("show", "-", "--reveal", "--table", store.table.name)
    assert hashed(s.token) in revealed.out
    assert "Ada \\u001b[2J" in revealed.out
    document = run("show", "--raw", hashed(s.token), "--reveal", "--json", "--table", store.table.name).document
    assert json.loads(str(document["data"]))["data"] == {"name": "Ada \x1b[2J"}


def test_show_of_what_is_no_live_record_says_what_it_is_and_changes_nothing(store: DynamoStore, run: Run) -> None:
    fill(store, 0, 1)
    store.client.put_item(TableName=store.table.name, Item={"token": {"S": "bad"}, "expiry": {"S": "?"}})
    first = store.save("first", b"", NEVER)
    second = store.rename(first, "second", b"", NEVER, grace=timedelta(hours=1))
    third = store.rename(store.replace(second, b"", NEVER), "third", b"", NEVER)
    long_ago = DynamoStore(store.client, store.table, clock=lambda: time.time_ns() - 3600 * 10**9)
    long_ago.rename(third, "fourth", b"", NEVER)
    binary = store.save("binary", b"\xff", NEVER)

    def status(token: str, *more: str) -> tuple[int, object]:
        shown = run("show", token, "--table", store.table.name, "--json", *more)
        return shown.code, shown.document["status"]

    assert status("expired 0") == (1, "expired")
    assert status("expired 0") == (1, "expired")
    assert status("nobody's") == (1, "missing")
    assert status("bad", "--raw") == (1, "corrupt")
    assert status("first", "--raw") == (1, "moved")
    assert status("second", "--raw") == (1, "moved")
    assert status("third", "--raw") == (1, "expired")
    assert status("fourth", "--raw") == (0, "live")
    shown = run("show", "--raw", binary.token, "--reveal", "--table", store.table.name)
    assert "base64 /w==" in shown.out
    store.save("hostile", b"\x1b[2J\xc2\x9b2J", NEVER)
    assert r"\x1b[2J\x9b2J" in run("show", "--raw", "hostile", "--reveal", "--table", store.table.name).out
    # An attribute of somebody else's forges no line, and hides nothing.
    name = "a\nstatus   live\u202e\U000e0041"
    item: dict[str, AttributeValue] = {**items.encode(store.table, binary), "token": {"S": "beside"}, name: {"S": "x"}}
    store.client.put_item(TableName=store.table.name, Item=item)
    hostile = run("show", "--raw", "beside", "--table", store.table.name).out
    assert r"a\x0astatus   live\u202e\U000e0041" in hostile
    assert "to look up TOKEN itself, use --raw" in run("show", "nobody's", "--table", store.table.name).out


def test_revoke_deletes_what_a_renewal_led_to_and_says_what_was_not_there(
    store: DynamoStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.save("first", b"", NEVER)
    store.rename(first, "second", b"", NEVER, grace=timedelta(hours=1))
    fill(store, 3)
    where = ("--table", store.table.name)
    asked = run("revoke", *where, "live 0")
    assert (asked.code, store.find(hashed("live 0")) is None) == (2, False)
    assert "--yes" in asked.err
    monkeypatch.setattr("sys.stdin", io.StringIO("live 0\n\nlive 1\nlive 0\nnobody's\n"))
    dry = run("revoke", *where, "--dry-run", "--json", "-")
    assert dry.code == 1
    assert dry.document["would_revoke"] == [digest(hashed("live 0")), digest(hashed("live 1"))]
    assert dry.document["missing"] == [digest(hashed("nobody's"))]
    assert store.find(hashed("live 0")) is not None
    done = run("revoke", *where, "--yes", "live 0", "live 1", "nobody's", "--json")
    assert (done.code, done.document["revoked"]) == (1, 2)
    assert [store.find(hashed(f"live {n}")) is None for n in range(3)] == [True, True, False]
    assert run("revoke", *where, "--yes", "--raw", "first").code == 0
    assert store.find("second") is None
    # Without a grace the old token is not found, but it still ends the session.
    store.rename(store.save("third", b"", NEVER), "fourth", b"", NEVER)
    done = run("revoke", *where, "--yes", "--raw", "third", "--json")
    assert (done.code, done.document["revoked"], done.document["missing"]) == (0, 1, [])
    assert store.find("fourth") is None


def test_revoke_stops_when_the_server_goes_away_and_says_what_was_done(
    credentials: None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynamostore.cli._meter.ATTEMPTS", 1)
    tokens = [f"live {n}" for n in range(3000)]
    dynamodb = LocalDynamoDB().__enter__()
    with dynamodb.connect("sessions") as store:
        store.create_table()
        fill(store, len(tokens))

        def end() -> None:
            while store.find(hashed("live 20")) is not None:
                time.sleep(0.01)
            dynamodb.__exit__(None, None, None)

        ender = threading.Thread(target=end)
        ender.start()
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(tokens)))
        ran = run("revoke", "--yes", "-", "--json", "--table", "sessions", "--endpoint-url", dynamodb.url)
        ender.join()
    document = ran.document
    assert (ran.code, document["status"], len(document["failed"])) == (3, "incomplete", 1)
    assert document["revoked"] == len(document["revoked_tokens"]) > 20
    (failed,) = document["failed"]
    digests = [digest(hashed(token)) for token in tokens]
    assert [*document["revoked_tokens"], failed["token"], *document["not_tried"]] == digests
    assert f"revoked: {digests[0]}, {digests[1]}, " in ran.err
    assert f"not tried: {document['not_tried'][0]}, " in ran.err
    # Never there: one is tried, not each of them; and nothing is asked.
    ran = run("revoke", *tokens[:20], "--json", "--table", "sessions", "--endpoint-url", dynamodb.url)
    assert (ran.code, ran.document["status"], ran.err.count("\n")) == (1, "failed", 1)


# All records


def test_stats_count_by_expiry_and_size(store: DynamoStore, run: Run) -> None:
    fill(store, 5, 3)
    fill(store, 1, data=BIG)
    store.save("soon", b"", datetime.now(UTC) + timedelta(hours=2))
    store.client.put_item(TableName=store.table.name, Item={"token": {"S": "bad"}})
    document = run("stats", "--table", store.table.name, "--json", "--segments", "2").document
    assert [document[name] for name in ("items", "live", "expired", "corrupt", "moved")] == [10, 6, 3, 1, 0]
    long_ago = DynamoStore(store.client, store.table, clock=lambda: time.time_ns() - 3600 * 10**9)
    ended = long_ago.rename(long_ago.save("ended", b"", NEVER), "renamed", b"", NEVER)
    store.rename(ended, "renamed again", b"", NEVER)
    document = run("stats", "--table", store.table.name, "--json").document
    assert [document[name] for name in ("items", "live", "expired", "corrupt", "moved")] == [13, 7, 4, 1, 1]
    assert "7 live, 4 expired, 1 renewed (markers), 1 corrupt" in run("stats", "--table", store.table.name).out
    for token in ("ended", "renamed", "renamed again"):
        store.client.delete_item(TableName=store.table.name, Key={"token": {"S": token}})
    document = run("stats", "--table", store.table.name, "--json", "--segments", "2").document

    def counts(name: str) -> dict[str, int]:
        return {entry["name"]: entry["count"] for entry in document[name] if entry["count"]}

    assert counts("by_expiry") == {"over 2 days ago": 3, "in 1 to 24 hours": 1, "in over 30 days": 5}
    assert counts("by_size") == {"under 256 B": 9, "16 to 64 KB": 1}
    assert run("stats", "--table", store.table.name, "--json", "--limit", "4").document["items"] == 4
    shown = run("stats", "--table", store.table.name)
    assert "6 live, 3 expired, 1 corrupt" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    assert re.search(r"over 2 days ago +3 +33%  █+", shown.out)


def test_purge_deletes_what_has_expired_and_a_dry_run_does_not(store: DynamoStore, run: Run) -> None:
    fill(store, 20, 10)
    where = ("--table", store.table.name)
    assert run("purge", *where, "--dry-run").out.startswith("would delete 10 expired records of 30")
    assert run("purge", *where).code == 2
    assert Batch(store).count().expired == 10
    done = run("purge", *where, "--yes", "--json", "--segments", "3")
    assert (done.code, done.document["status"], done.document["deleted"]) == (0, "done", 10)
    assert (done.err, Batch(store).count()) == ("", dynamostore.batch.Counts(20, 0))


def test_export_load_and_copy_carry_live_records_over(store: DynamoStore, run: Run, tmp_path: Path) -> None:
    fill(store, 30, 10)
    file, name = tmp_path / "records.jsonl.gz", store.table.name
    assert run("export", file, "--table", name, "--dry-run").out.startswith("would write 30 records")
    assert run("export", file, "--table", name).out.startswith("30 written")
    assert (file.stat().st_mode & 0o777, verify(file).records) == (0o600, 30)
    again = run("export", file, "--table", name)
    assert (again.code, "--overwrite" in again.err) == (2, True)
    assert run("export", file, "--table", name, "--overwrite", "--expired", "--json").document["written"] == 40

    with make(f"{name}-loaded") as loaded, make(f"{name}-copied") as copied:
        assert "40 records" in run("load", file, "--table", loaded.table.name, "--dry-run").out
        # Into an empty table nothing is asked.
        done = run("load", file, "--table", loaded.table.name, "--json").document
        assert (done["put"], done["skipped"]) == (30, 10)
        full = run("load", file, "--table", loaded.table.name)
        assert (full.code, full.err.count("\n"), "--yes" in full.err) == (2, 1, True)
        dry = run("copy", copied.table.name, "--table", name, "--dry-run", "--expired", "--json")
        assert (dry.document["would_copy"], Batch(copied).count().live) == (40, 0)
        assert run("copy", copied.table.name, "--table", name, "--segments", "2").out.startswith(
            "30 copied, 10 skipped"
        )
        assert run("copy", copied.table.name, "--table", name).code == 2
        assert run("copy", copied.table.name, "--table", name, "--yes").code == 0
        records = {record.token: record for record in Batch(store).scan()}
        assert records == {record.token: record for record in Batch(loaded).scan()}
        assert records == {record.token: record for record in Batch(copied).scan()}


def test_a_table_is_not_copied_to_itself_by_whatever_name(store: DynamoStore, url: str, run: Run) -> None:
    fill(store, 1)
    name = store.table.name
    arn = store.client.describe_table(TableName=name)["Table"]["TableArn"]
    other = url.replace("127.0.0.1", "localhost")
    assert other != url
    for same in ((name,), (arn,), (name, "--to-endpoint-url", other), (name, "--yes"), (name, "--dry-run")):
        refused = run("copy", *same, "--table", name)
        assert (refused.code, "the same table" in refused.err) == (2, True), (same, refused)


def test_some_that_failed_are_told_by_digest_and_make_it_incomplete(
    store: DynamoStore, run: Run, tmp_path: Path, url: str
) -> None:
    fill(store, 2)
    store.client.put_item(
        TableName=store.table.name,
        Item={"token": {"S": "odd"}, "data": {"B": b""}, "expiry": {"N": "9" * 18}, "id": {"S": "taken"}},
    )
    to = Table(name=f"{store.table.name}-to", token="id")
    with dynamostore.connect(to) as other:
        other.create_table()
        names = ("--to-attribute", "token=id")
        done = run("copy", to.name, "--table", store.table.name, "--expired", *names, "--json")
        assert (done.code, done.document["status"], done.document["copied"]) == (3, "incomplete", 2)
        (failed,) = done.document["failed"]
        assert failed["token"] == digest("odd")
        again = run("copy", to.name, "--table", store.table.name, "--expired", *names, "--yes")
        assert (again.code, "1 failed" in again.out, digest("odd") in again.err) == (3, True, True)


# Wrong tables, files, settings: a line that says what to do


@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        ("ping --table nobodys", 1, "dynamostore create-table"),
        ("purge --table nobodys --yes", 1, "dynamostore create-table"),
        ("stats --endpoint-url http://127.0.0.1:1", 1, "--endpoint-url"),
        ("ping --region not/a/region", 2, "--region"),
        ("ping --profile nobodys", 2, "--profile"),
        ("ping --endpoint-url gopher://x", 2, "--endpoint-url"),
        ("load nobodys.jsonl", 2, "'nobodys.jsonl' does not exist"),
        ("load {tmp}/damaged.gz", 1, "damaged"),
        ("load {tmp}/empty", 1, "empty"),
        ("load {tmp}/other", 1, "not a complete export"),
        ("export {tmp}/nowhere/file --table {table}", 2, "does not exist; create it first"),
        ("purge --yes --resume-file {tmp}/nowhere/file --table {table}", 2, "does not exist; create it first"),
        ("purge --yes --resume-file {tmp}/other --table {table}", 1, "not a resume token"),
        ("purge --yes --resume-file {tmp}/empty --table {table}", 1, "to start over, delete it"),
        ("revoke --yes --raw {long} --table {table}", 2, "2048 bytes"),
    ],
)
def test_what_goes_wrong_is_a_line_that_says_what_to_do(
    table: str, run: Run, tmp_path: Path, arguments: str, code: int, advice: str
) -> None:
    (tmp_path / "damaged.gz").write_bytes(b"\x1f\x8b\x08\x00")
    (tmp_path / "empty").touch()
    (tmp_path / "other").write_text("something else\n")
    filled = [part.format(tmp=tmp_path, table=table, long="x" * 2049) for part in arguments.split()]
    ran = run(*filled)
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1), ran.err
    assert ran.err.startswith("dynamostore: ")
    assert advice in ran.err
    if code == 1:
        document = run(*filled, "--json").document
        assert document["status"] == "failed"
        assert advice in str(document["error"])


def test_without_credentials_it_says_so(url: str) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    ran = process("ping", environment=nobody)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "no AWS credentials were found" in ran.err


def test_without_a_region_it_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    ran = run("ping")
    assert (ran.code, ran.err) == (
        2,
        "dynamostore: no region is configured: use --region, or set AWS_DEFAULT_REGION\n",
    )


@pytest.mark.parametrize(
    ("arguments", "target"),
    [("stats", ">&-"), ("stats", ">/dev/full"), ("stats", "| true"), ("policy web", "| true"), ("ping --json", ">&-")],
)
def test_a_closed_or_full_standard_output_is_no_traceback(table: str, arguments: str, target: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    line = f"set -o pipefail; {sys.executable} -m dynamostore --table {table} {arguments} {target}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert done.stderr.count("\n") <= 1
    # Into a pipe it may have been faster than its reader's end.
    assert done.returncode == 1 or (target == "| true" and done.returncode == 0)


def test_an_encoding_that_lacks_something_has_it_spelled_out(store: DynamoStore) -> None:
    fill(store, 1, data="Ä \u20ac".encode())
    where = ("--table", store.table.name)
    shown = process("show", "live 0", "--reveal", *where, environment={"PYTHONIOENCODING": "ascii"})
    assert (shown.code, shown.out.splitlines()[-1]) == (0, "data     \\xc4 \\u20ac")
    assert "####" in process("stats", *where, environment={"PYTHONIOENCODING": "ascii"}).out


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    for package in (Path(msgspec.__file__).parent, ROOT / "dynamostore"):
        (tmp_path / package.name).symlink_to(package)
    # No site-packages, and so neither click nor rich.
    done = subprocess.run(
        [sys.executable, "-S", "-m", "dynamostore", "ping"],
        env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "dynamostore: the command line needs an extra: pip install 'dynamostore[cli]'\n"


def test_the_script_is_the_same_program() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert EntryPoint("dynamostore", scripts["dynamostore"], "console_scripts").load() is main
    assert process("--version").out == f"dynamostore {dynamostore.__version__}\n"


def test_a_shell_can_complete_it() -> None:
    asked = {"_DYNAMOSTORE_COMPLETE": "bash_complete", "COMP_WORDS": "dynamostore template c", "COMP_CWORD": "2"}
    assert process(environment=asked).out == "plain,cloudformation\n"
    script = process(environment={"_DYNAMOSTORE_COMPLETE": "bash_source"})
    assert (script.code, "complete -o nosort -F" in script.out) == (0, True)


def test_keys_are_those_of_sessions(run: Run) -> None:
    memory = MemoryStore()
    with SessionManager(memory).session(None) as s:
        s.put_int("n", 1)
    assert s.token is not None
    assert memory.find(hashed(s.token)) is not None


# In a terminal


def test_in_a_terminal_it_asks_and_no_is_no(store: DynamoStore) -> None:
    fill(store, 0, 3)
    with Terminal("purge", "--table", store.table.name) as terminal:
        terminal.wait_for("[y/N]: ")
        terminal.type("n\n")
        assert terminal.end() == 1
    assert "cancelled; nothing was changed" in terminal.plain
    assert Batch(store).count().expired == 3
    with Terminal("purge", "--table", store.table.name) as terminal:
        terminal.wait_for("[y/N]: ")
        terminal.type("y\n")
        assert terminal.end() == 0
    assert "3 deleted" in terminal.plain
    assert Batch(store).count().expired == 0


def test_a_token_is_typed_unseen(store: DynamoStore) -> None:
    fill(store, 1)
    with Terminal("revoke", "--table", store.table.name, "-") as terminal:
        terminal.wait_for("Token: ")
        terminal.type("live 0\n")
        terminal.wait_for("Delete 1 record?")
        terminal.type("y\n")
        assert terminal.end() == 0
    assert "live 0" not in terminal.plain
    assert store.find(hashed("live 0")) is None


@pytest.mark.parametrize("segments", ["1", "3"])
def test_ctrl_c_ends_a_purge_between_two_calls_and_it_goes_on_from_there(
    store: DynamoStore, tmp_path: Path, run: Run, segments: str
) -> None:
    fill(store, 20, 100, BIG)
    file = tmp_path / "resume"
    arguments = ("purge", "--table", store.table.name, "--yes", "--resume-file", file, "--segments", segments)
    with Terminal(*map(str, arguments), "--rate", "2500") as terminal:
        terminal.wait_for(file.exists)
        terminal.type("\x03")
        assert terminal.end() == 130
    found = re.search(r"stopped: (\d+) deleted", terminal.plain)
    assert found, terminal.plain
    assert "to resume, run the same command again" in terminal.plain
    assert " deleted · " in terminal.plain
    deleted = int(found[1])
    assert 0 < deleted < 100
    # It is true.
    assert Batch(store).count().expired == 100 - deleted
    assert file.stat().st_mode & 0o777 == 0o600
    for key in json.loads(file.read_text())["after"]:
        assert not isinstance(key, str) or key not in terminal.plain
    # Ended again, before anything is through, it is still there.
    position = file.read_text()
    with Terminal(*map(str, arguments), "--rate", "1") as terminal:
        terminal.wait_for(" read")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert file.read_text() == position
    assert "to resume, run the same command again" in terminal.plain
    deleted = 100 - Batch(store).count().expired
    done = run(*arguments, "--json").document
    assert (done["status"], done["deleted"], file.exists()) == ("done", 100 - deleted, False)
    # It did not read again what it had read, but for the pages it was at.
    assert done["seen"] < 120 - deleted + 20
    assert Batch(store).count() == dynamostore.batch.Counts(20, 0)


def test_ctrl_c_leaves_an_export_that_goes_on(store: DynamoStore, tmp_path: Path, run: Run) -> None:
    fill(store, 100, 0, BIG)
    file = tmp_path / "records.jsonl"
    with Terminal("export", str(file), "--table", store.table.name, "--rate", "500") as terminal:
        terminal.wait_for((tmp_path / "records.jsonl.resume").exists)
        terminal.type("\x03")
        assert terminal.end() == 130
    assert "to resume, run the same command again" in terminal.plain
    assert not file.exists()
    refused = run("export", file, "--table", store.table.name, "--json", "--expired")
    assert (refused.document["status"], refused.document["continued"]) == ("failed", False)
    assert "going on" not in refused.err
    ran = run("export", file, "--table", store.table.name, "--json")
    done = ran.document
    assert (done["written"], verify(file).records, done["continued"]) == (100, 100, True)
    today = datetime.now(UTC)
    assert ran.err.startswith(f"resuming {file}.partial, started {today:%Y-}")
    again = run("export", file, "--table", store.table.name, "--json", "--overwrite")
    assert (again.document["continued"], again.err) == (False, "")


@pytest.mark.parametrize("command", ["copy", "export"])
def test_a_dry_run_that_is_ended_says_of_nothing_that_it_was_done(
    store: DynamoStore, tmp_path: Path, command: str
) -> None:
    fill(store, 100, 0, BIG)
    with make(f"{store.table.name}-to") as to:
        what = to.table.name if command == "copy" else str(tmp_path / "file")
        # Of a count this server makes one page: the other segments wait for theirs.
        where = ("--table", store.table.name, "--dry-run", "--segments", "4", "--rate", "0.1")

        def ended(*more: str) -> Terminal:
            with Terminal(command, what, *where, *more) as terminal:
                terminal.wait_for(lambda: re.search(r"[1-9]\d* read", terminal.plain) is not None)
                terminal.type("\x03")
                assert terminal.end() == 130
            assert not re.search(r"[1-9]\d* (copied|written)", terminal.plain)
            return terminal

        assert "stopped: 0 " in ended().plain
        document = document_in(ended("--json"))
    verb = "copied" if command == "copy" else "written"
    assert (document["status"], document[verb], document["seen"] > 0) == ("interrupted", 0, True)
    assert [document[name] for name in (f"would_{command if command == 'copy' else 'write'}", "live", "expired")] == [
        None
    ] * 3


def test_sigterm_ends_it_as_ctrl_c_does(store: DynamoStore, tmp_path: Path) -> None:
    fill(store, 0, 60, BIG)
    file = tmp_path / "resume"
    command = [*COMMAND, "purge", "--table", store.table.name, "--yes", "--json", "--rate", "2500"]
    with subprocess.Popen([*command, "--resume-file", str(file)], stdout=subprocess.PIPE, text=True) as running:
        while not file.exists():
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=20)
    document = json.loads(out)
    assert (running.returncode, document["status"]) == (143, "interrupted")
    assert document["deleted"] == 60 - Batch(store).count().expired
    # It names keys of the table, which are clients' tokens where these are not hashed.
    assert (document["resume"], document["resume_file"]) == (None, str(file))
    position = json.loads(file.read_text())
    again = ("purge", "--table", store.table.name, "--yes", "--json", "--rate", "1", "--resume-file", str(file))
    with Terminal(*again, "--reveal") as terminal:
        terminal.wait_for(" read")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert json.loads(str(document_in(terminal)["resume"])) == position


def test_json_on_a_terminal_has_no_key_but_a_hint(store: DynamoStore) -> None:
    fill(store, 0, 60, BIG)
    with Terminal("purge", "--table", store.table.name, "--yes", "--json", "--rate", "2500") as terminal:
        terminal.wait_for(lambda: re.search(r"[2-5]\d deleted", terminal.plain) is not None)
        terminal.type("\x03")
        assert terminal.end() == 130
    document = document_in(terminal)
    assert (document["resume"], document["resume_file"]) == (None, None)
    assert "Use --resume-file FILE to be able to resume" in terminal.plain
    assert "after" not in terminal.plain


def test_without_a_terminal_progress_is_silent_and_no_key_is_printed(store: DynamoStore) -> None:
    fill(store, 0, 60, BIG)
    command = [*COMMAND, "purge", "--table", store.table.name, "--yes", "--rate", "2500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        while Batch(store).count().expired > 30:
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert re.fullmatch(r"stopped: \d+ deleted \([0-9.,]+ capacity units, [0-9.]+ s\)\n", out)
    assert (
        err == "it is safe to run the same command again; it starts over. Use --resume-file FILE to be able to resume\n"
    )


def test_a_server_that_goes_away_leaves_it_incomplete(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is tried again and again; here with no pause to speak of.
    monkeypatch.setattr("dynamostore.batch._calls._LONGEST_PAUSE", 0.001)
    monkeypatch.setattr("dynamostore.cli._meter.ATTEMPTS", 1)
    notes = tmp_path / "records.resume"
    dynamodb = LocalDynamoDB().__enter__()

    def end() -> None:
        while not notes.exists():
            time.sleep(0.01)
        dynamodb.__exit__(None, None, None)

    ender = threading.Thread(target=end)
    ender.start()
    with dynamodb.connect("sessions") as store:
        store.create_table()
        fill(store, 100, 0, BIG)
    ran = run("export", tmp_path / "records", "--table", "sessions", "--endpoint-url", dynamodb.url, "--rate", "1")
    ender.join()
    assert ran.code == 3
    assert re.match(r"incomplete: \d+ written", ran.out)
    assert "to resume, run the same command again" in ran.err
    assert notes.exists()
    # A server that was never there is a failure at once.
    ran = run("purge", "--yes", "--endpoint-url", dynamodb.url, "--json", "--resume-file", tmp_path / "resume")
    assert (ran.code, ran.document["status"], (tmp_path / "resume").exists()) == (1, "failed", False)


@pytest.mark.parametrize("columns", [80, 120])
def test_in_a_terminal_nothing_is_too_wide_and_no_color_means_none(store: DynamoStore, url: str, columns: int) -> None:
    fill(store, 5, 3)
    for arguments in (("stats",), ("doctor", "-v")):
        where = ("--table", store.table.name)
        with Terminal(*arguments, *where, columns=columns, environment={"NO_COLOR": "1"}) as terminal:
            assert terminal.end() in (0, 1)
        # A command that is there to be copied is wrapped by nobody but the terminal.
        assert max(len(line) for line in terminal.lines if "--table" not in line) <= columns
        if "doctor" in arguments:
            command = f"dynamostore create-table --table {store.table.name} --region us-east-1 --endpoint-url {url},"
            assert command in "\n".join(terminal.lines)
        # Bold and dim are no colours.
        assert not re.search(r"\x1b\[[0-9;]*(3[0-9]|4[0-9]|9[0-7])m", terminal.said)
    with Terminal("stats", "--table", store.table.name, columns=columns) as terminal:
        assert terminal.end() == 0
    assert "\x1b[32m" in terminal.said


def test_serve_says_how_to_reach_it_and_ends_with_ctrl_c(credentials: None) -> None:
    with Terminal("serve", "--table", "sessions") as terminal:
        terminal.wait_for("export AWS_DEFAULT_REGION=")
        environment = dict(re.findall(r"export (\w+)=(\S+)", terminal.plain))
        assert "NO_PROXY" not in environment
        assert process("ping", "--table", "sessions", environment=environment).code == 0
        terminal.type("\x03")
        assert terminal.end() == 0
    assert process("ping", "--table", "sessions", environment=environment).code == 1


def test_serve_is_in_the_region_that_is_asked_for_and_takes_no_other_server(credentials: None, run: Run) -> None:
    # Which others would go through, to a server on this machine.
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "a.example, .b.example"}
    with Terminal("serve", "--table", "sessions", "--region", "eu-central-1", environment=proxy) as terminal:
        terminal.wait_for("export AWS_DEFAULT_REGION=eu-central-1")
        environment = dict(re.findall(r"export (\w+)=(\S+)", terminal.plain))
        assert environment["NO_PROXY"] == "a.example,.b.example,127.0.0.1"
        assert process("ping", "--table", "sessions", environment=environment).code == 0
        terminal.type("\x03")
        assert terminal.end() == 0
    refused = run("serve", "--endpoint-url", "http://127.0.0.1:1")
    assert (refused.code, refused.out) == (2, "")
    assert "remove --endpoint-url and --profile" in refused.err


def test_stats_of_what_cannot_be_read_are_no_numbers(run: Run) -> None:
    said = run("stats", "--table", "nowhere-at-all", "--json")
    assert said.code == 1
    assert "live" not in said.document
    assert "live" not in run("stats", "--table", "nowhere-at-all").out


def test_a_cookie_is_no_token(store: DynamoStore, run: Run) -> None:
    said = run("show", "session=abc", "--table", store.table.name)
    assert said.code == 2
    assert "the cookie's value without its name" in said.err


def test_a_resume_file_of_another_job_is_named_with_the_way_out(store: DynamoStore, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "other.resume"
    for text in ("nonsense", '{"dynamostore":1}'):
        file.write_text(text)
        said = run("purge", "--table", store.table.name, "--yes", "--resume-file", str(file))
        assert said.code == 1
        assert f"{file}: not a resume token" in said.err
        assert "to start over, delete the file" in said.err
        assert file.read_text() == text


def test_a_file_that_was_cut_off_is_said_to_be(store: DynamoStore, run: Run, tmp_path: Path) -> None:
    fill(store, 20)
    file = tmp_path / "x.jsonl"
    assert run("export", str(file), "--table", store.table.name).code == 0
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:10]))
    said = run("load", str(file), "--table", store.table.name, "--yes")
    assert said.code == 1
    assert "was cut off" in said.err
    # And an export that is refused does not claim to go on.
    assert run("export", str(tmp_path / "y.jsonl"), "--table", "nowhere-at-all").code == 1


# guide


def test_guide_is_markdown_in_a_file_and_formatted_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "dynamostore" / "guide.md").read_text("utf-8")
    assert main(["guide"]) == 0
    assert capsys.readouterr().out == text
    assert main(["guide", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"command": "guide", "guide": text}
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["guide"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b[" in shown
    assert "```" not in shown
