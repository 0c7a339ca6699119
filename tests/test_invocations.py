"""``amz-sdk-invocation-id`` and ``amz-sdk-request``: what tells the attempts at one call from other calls."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from dynamostore.wire._invocations import Invocations

from .faulty import KINDS, Driver, Fault, FaultyDynamoDB, Line, Request, honestly, refusal


@pytest.fixture(params=KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with Driver(request.param) as driver:
        yield driver


def test_the_attempts_at_a_call_bear_its_id_and_their_number_as_the_sdks_send_them(driver: Driver) -> None:
    seen: list[Request] = []

    def watched(fault: Fault) -> Fault:
        async def watch(line: Line) -> None:
            seen.append(await line.read())
            await fault(line)

        return watch

    async def outage(line: Line) -> None:
        await line.send(refusal(500, "InternalServerError"))

    async def hang_up(line: Line) -> None:
        line.reset()

    with FaultyDynamoDB() as server:
        client = driver.client(server.url, attempts=4)
        server.script(watched(outage), watched(hang_up))
        server.always = watched(honestly)
        for token in ("a", "b"):
            client.get_item(TableName="scs_session", Key={"token": {"S": token}})
        client.close()
    ids = [request.header("amz-sdk-invocation-id") for request in seen]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    for one in ids:
        assert str(UUID(one)) == one
    attempts = [request.header("amz-sdk-request") for request in seen]
    assert attempts == [f"attempt={n}; max=4" for n in (1, 2, 3, 1)]
    # Unsigned, as botocore sends them: what is on the way may take them out.
    for request in seen:
        assert re.findall("SignedHeaders=([^,]*)", request.header("authorization")) == [
            "content-type;host;x-amz-date;x-amz-target"
        ]


def id_in(lines: str) -> str:
    found = re.match("amz-sdk-invocation-id: (.{36})\r\n", lines)
    assert found
    return found[1]


def test_no_two_calls_have_the_same_id_in_whatever_thread_and_second() -> None:
    clients = [Invocations(3), Invocations(3)]

    def some(number: int) -> list[str]:
        return [id_in(client.begin(1_000 + n // 100 % 3)) for n in range(2_000) for client in clients]

    with ThreadPoolExecutor(4) as pool:
        ids = [one for some_ids in pool.map(some, range(4)) for one in some_ids]
    assert len(set(ids)) == len(ids) == 16_000
    for one in ids[::500]:
        assert UUID(one).version == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_ids_of_its_own() -> None:
    invocations = Invocations(3)
    before = id_in(invocations.begin(1_000))
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, id_in(invocations.begin(1_000)).encode())
        os._exit(0)
    os.close(writer)
    theirs = os.read(reader, 100).decode()
    os.close(reader)
    os.waitpid(child, 0)
    ours = id_in(invocations.begin(1_000))
    assert before[:24] == ours[:24] != theirs[:24]
    assert len(theirs) == 36
