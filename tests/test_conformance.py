"""`tests.conformance`: its cases are complete, its judge says what it should, and ministack is as on record."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from dynamostore.plans import expressions
from dynamostore.wire import types

from .backends import Backends
from .conformance import report
from .conformance.cases import GROUPS
from .conformance.model import KEY, MADE, TABLE, Answer, Case, Expectation, Request, refused, replied
from .conformance.running import Outcome, Verdict, run
from .conformance.sending import SERVERS, Server, local

CASES = [case for cases in GROUPS.values() for case in cases]
AWS = "https://docs.aws.amazon.com/amazondynamodb/latest/"
DYNALITE = "https://github.com/architect/dynalite/blob/master/test/"
OPERATIONS = {operation.name for operation in vars(types).values() if isinstance(operation, types.Operation)}


def all_requests() -> Iterator[Request]:
    for case in CASES:
        yield from (*case.before, *case.requests)


def texts(value: Any) -> Iterator[str]:
    """All strings in a request."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)


class TestCases:
    def test_no_two_have_one_name(self) -> None:
        assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []

    def test_each_says_what_is_sent_and_what_is_documented_and_where(self) -> None:
        for case in CASES:
            assert re.fullmatch("[a-z0-9-]+", case.name), case.name
            assert all((case.what, case.expect.words, case.requests, case.sources)), case.name
            assert all(source.startswith((AWS, DYNALITE)) for source in case.sources), case.name

    def test_each_operation_of_the_client_is_sent(self) -> None:
        assert {request.operation for request in all_requests()} >= OPERATIONS

    def test_a_table_that_a_case_makes_is_named_by_no_other_case(self) -> None:
        users: dict[str, set[str]] = {}
        for case in CASES:
            for request in (*case.before, *case.requests, *case.after):
                for text in texts(request.arguments):
                    users.setdefault(text, set()).add(case.name)
        creations = [request.arguments for request in all_requests() if request.operation == "CreateTable"]
        made = {body["TableName"] for body in creations if isinstance(body, Mapping)} - {TABLE}
        assert {table: users[table] for table in made} == {MADE: {"create-delete"}}

    def test_each_condition_and_update_of_the_plans_is_sent(self) -> None:
        sent = "\n".join(text for request in all_requests() for text in texts(request.arguments))
        ours = {name: text for name in expressions.__all__ if isinstance(text := getattr(expressions, name), str)}
        assert len(ours) > 10
        assert [name for name, text in ours.items() if text not in sent] == []


def answer(status: int, body: Mapping[str, Any]) -> Answer:
    text = json.dumps(body)
    return Answer(status, {}, text.encode(), text)


FAILED = {"__type": "com.amazonaws.dynamodb.v20120810#ValidationException", "message": "Item size is too large"}


class TestJudge:
    @pytest.mark.parametrize(
        ("expected", "holds"),
        [
            (refused("ValidationException"), True),
            (refused("ValidationException", "Item size"), True),
            (refused("ValidationException", "Item type"), False),
            (refused("ResourceNotFoundException"), False),
            (refused("ValidationException", holds=lambda body: "Item" in body), False),
            (replied("done"), False),
            (refused("ValidationException") & replied("done"), False),
        ],
    )
    def test_a_refusal(self, expected: Expectation, holds: bool) -> None:
        assert expected.holds([answer(400, FAILED)]) is holds

    @pytest.mark.parametrize(
        ("expected", "holds"),
        [
            (replied("done"), True),
            (replied("one", lambda body: body["Count"] == 1), True),
            (replied("two", lambda body: body["Count"] == 2), False),
            (refused("ValidationException"), False),
        ],
    )
    def test_a_reply(self, expected: Expectation, holds: bool) -> None:
        assert expected.holds([answer(200, {"Count": 1})]) is holds


class Stub(Server):
    """A server that gives one *answer* to all but what makes the table."""

    def __init__(self, answer: Answer) -> None:
        self.name, self.table, self.arn = "stub", "conformance", ""
        self._answer = answer

    def send(self, request: Request, case: Case | None = None) -> Answer:
        if case is None:
            return answer(200, {"TableDescription": {}, "Table": {"TableStatus": "ACTIVE"}})
        return self._answer


class Creating(Stub):
    """A server that refuses to delete a table the first *refusals* times, and counts the deletions."""

    def __init__(self, refusals: int) -> None:
        super().__init__(answer(200, {}))
        self.refusals = refusals
        self.asked: Counter[str] = Counter()
        self.deleted: list[str] = []

    def send(self, request: Request, case: Case | None = None) -> Answer:
        if request.operation != "DeleteTable" or isinstance(request.arguments, bytes):
            return super().send(request, case)
        table = self.named(request.arguments["TableName"])
        self.asked[table] += 1
        if self.asked[table] <= self.refusals:
            return answer(400, {"__type": "a#ResourceInUseException", "message": "Table is being created"})
        self.deleted.append(table)
        return answer(200, {})


(CREATE_DELETE,) = (case for case in CASES if case.name == "create-delete")


class TestTidying:
    def test_each_table_is_deleted_though_it_is_refused_at_first(self) -> None:
        server = Creating(refusals=2)
        run(server, [CREATE_DELETE])
        assert sorted(server.deleted) == ["conformance", "conformance.made"]

    def test_a_table_that_cannot_be_deleted_is_named(self) -> None:
        with pytest.warns(RuntimeWarning) as warned:
            run(Creating(refusals=99), [CREATE_DELETE], patience=0)
        told = [str(warning.message) for warning in warned]
        assert [re.findall(r"the table (\S+) could not be deleted.* being created", text) for text in told] == [
            ["conformance"],
            ["conformance.made"],
        ]

    def test_the_tables_are_deleted_if_the_run_fails(self) -> None:
        class Failing(Creating):
            def send(self, request: Request, case: Case | None = None) -> Answer:
                if case is not None:
                    raise TimeoutError
                return super().send(request, case)

        server = Failing(refusals=1)
        with pytest.raises(TimeoutError):
            run(server, [CREATE_DELETE])
        assert sorted(server.deleted) == ["conformance", "conformance.made"]


class TestRun:
    @pytest.mark.parametrize(
        ("said", "verdict"),
        [
            (answer(200, {"Item": {"token": {"S": KEY}}}), Verdict.SAME),
            (answer(200, {}), Verdict.DIFFERS),
            (answer(400, {**FAILED, "__type": "a#UnknownOperationException"}), Verdict.LACKS),
            (answer(501, {}), Verdict.LACKS),
            (Answer(0, {}, b"", ""), Verdict.DIFFERS),
            (Answer(500, {}, b"<html>", "<html>"), Verdict.DIFFERS),
        ],
    )
    def test_an_answer_leads_to_a_verdict(self, said: Answer, verdict: Verdict) -> None:
        expected = replied("the item", lambda body: body["Item"]["token"] == {"S": KEY})
        case = Case("a", "what", (AWS,), (Request("GetItem", {"TableName": TABLE}),), expected)
        (outcome,) = run(Stub(said), [case])
        assert outcome.verdict is verdict
        assert bool(outcome.answered) is (verdict is Verdict.DIFFERS)

    def test_what_changes_is_news(self) -> None:
        (case, *_) = CASES
        record = {"moto": {case.name: Verdict.SAME.value}}
        assert list(report.news("moto", [Outcome(case, Verdict.SAME)], record)) == []
        (line,) = report.news("moto", [Outcome(case, Verdict.DIFFERS, "200 {}")], record)
        assert line == f"moto: `{case.name}` is on record as yes, and is **no** now. 200 {{}}"


class TestRecord:
    def test_the_page_has_the_cases_as_they_are(self) -> None:
        record = report.read_page()
        assert report.render_cases(record) in report.PAGE.read_text("utf-8")
        assert {server: set(verdicts) for server, verdicts in record.items()} == {
            server: {case.name for case in CASES} for server in SERVERS
        }
        assert {verdict for verdicts in record.values() for verdict in verdicts.values()} <= {v.value for v in Verdict}

    def test_ministack_is_as_on_record(self, backends: Backends) -> None:
        installed = report.version_of("ministack")
        if f"| ministack | {installed} |" not in report.PAGE.read_text("utf-8"):
            pytest.skip(f"ministack {installed} is not on record: make conformance UPDATE=1")
        url = backends.server("ministack").url
        assert url is not None
        # It takes a second to send so much.
        cases = [case for case in CASES if case.name != "too-much"]
        with local("ministack", url) as server:
            assert list(report.news("ministack", run(server, cases), report.read_page())) == []
