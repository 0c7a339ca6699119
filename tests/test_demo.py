"""The demo and the example app, as they are run from the command line."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path

import httpx
import pytest

DEMO = [sys.executable, str(Path(__file__).parent.parent / "examples" / "demo.py")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_demo_shows_the_wire_and_the_item_and_survives_a_restart() -> None:
    done = subprocess.run(DEMO, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said = done.stdout
    (token,) = set(re.findall(r"< Set-Cookie: session=([\w-]{43});", said))
    assert said.count(f"> Cookie: session={token}") == 3
    assert said.count("< Hello world!\n") == 2
    for attribute in (
        r"token +S  '[\w-]{43}'",
        r"data +B  b'\{\"data\":\{\"message\":\"Hello world!\"\},\"deadline\":\d{19}\}'",
        r"expiry +N  '\d{19}'",
        r"ttl +N  '\d{10}'",
        r"version +N  '\d{1,19}'",
    ):
        assert re.search(attribute, said), attribute
    assert token not in said.split("The table has 1 item")[1].split("> GET")[0]


def test_serve_leaves_it_running_until_it_is_interrupted() -> None:
    port = free_port()
    curl = f"    curl -i -b jar -c jar http://127.0.0.1:{port}/"
    with subprocess.Popen([*DEMO, "--serve", "--port", str(port)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            # It says what to try once the app answers.
            said = list(takewhile(lambda line: line != f"{curl}logout\n", process.stdout))
            assert said[-2:] == [f"{curl}put\n", f"{curl}get\n"]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                assert client.get("/put").text == ""
                assert client.get("/get").text == "Hello world!"
                assert client.get("/logout").headers["Set-Cookie"].startswith("session=; ")
                assert client.get("/get").text == ""
                assert client.get("/elsewhere").status_code == 404
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                # A shell starts what it runs in the background with SIGINT ignored.
                process.terminate()
                raise
    assert process.returncode == 0


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [*DEMO, "--serve", "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == f"demo: port {port} is taken: free it, or choose another (make serve PORT=4001)\n"


@pytest.mark.parametrize("answer", ["--port nothing", "--port 99999", "--unknown"])
def test_a_wrong_argument_is_explained(answer: str) -> None:
    done = subprocess.run([*DEMO, *answer.split()], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: demo.py")
    assert "Traceback" not in done.stderr


def test_a_local_dynamodb_ends_with_the_process_that_started_it_however_that_ends() -> None:
    program = "from dynamostore.local import *; d = LocalDynamoDB().__enter__(); print(d.port, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)):
            process.kill()
    deadline = time.monotonic() + 10
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)
