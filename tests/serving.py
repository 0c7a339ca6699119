"""Apps under real servers, over sockets: in a process of their own, or in a thread beside the test."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from waitress import create_server

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

__all__ = ["EXAMPLES", "on_uvicorn", "on_waitress", "serving"]

EXAMPLES = Path(__file__).parent.parent / "examples"
BIN = Path(sys.executable).parent


@contextmanager
def serving(*command: str, **environ: str) -> Iterator[str]:
    """A server in a process of its own; ``{listen}`` and ``{port}`` in *command* are where it is to listen. Yields its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    listen = f"127.0.0.1:{port}"
    said = [part.format(listen=listen, port=port) for part in command]
    process = subprocess.Popen(said, env={**os.environ, **environ, "LISTEN": listen}, stderr=subprocess.PIPE, text=True)
    try:
        _until(lambda: _answers(port) or process.poll() is not None)
        if process.poll() is not None:
            assert process.stderr is not None
            raise AssertionError(f"the server ended at once: {process.stderr.read()}")
        yield f"http://{listen}"
    finally:
        process.terminate()
        process.communicate(timeout=20)


@contextmanager
def on_waitress(app: WSGIApplication) -> Iterator[str]:
    """*app* under waitress, in a thread; yields its URL."""
    channels: dict[int, Any] = {}
    server = create_server(app, listen="127.0.0.1:0", threads=4, map=channels)
    thread = threading.Thread(target=server.run)

    def stop() -> None:
        server.close()
        for channel in list(channels.values()):
            with suppress(OSError):
                channel.close()

    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        # In its own thread, which may be waiting for what is closed.
        with suppress(OSError):
            # Woken by something else, it may have stopped before it is woken by this.
            server.trigger.pull_trigger(stop)
        thread.join()
        server.task_dispatcher.shutdown()


@contextmanager
def on_uvicorn(app: Callable[..., Any], **settings: Any) -> Iterator[str]:
    """*app* under uvicorn, in a thread with an event loop of its own; yields its URL."""
    # Only where it is named does asyncio turn Nagle's algorithm off.
    sock = socket.socket(proto=socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="websockets-sansio", **settings)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([sock])))
    thread.start()
    try:
        _until(lambda: server.started)
        yield f"{'https' if config.is_ssl else 'http'}://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        sock.close()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError("it did not start in time")
        time.sleep(0.01)


def environment(url: str, table: str) -> Mapping[str, str]:
    """What an example takes from the environment."""
    return {"AWS_ENDPOINT_URL_DYNAMODB": url, "SESSION_TABLE": table}
