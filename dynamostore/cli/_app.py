"""The program: its commands, its exit codes, and how it reports errors."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator

import click

from dynamostore._version import __version__
from dynamostore.documented import Documented
from dynamostore.errors import StoreError
from dynamostore.hidden import Hidden, clear_frames

from . import _bulk, _guide, _records, _serve, _table
from ._errors import explain, for_command_line
from ._options import Group, global_options
from ._state import DeclinedError, State

__all__ = ["program", "run"]


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 success; 1 failure or problems found; 2 wrong usage; 3 incomplete; 130 Ctrl-C.",
)
@global_options
@click.version_option(__version__, message="dynamostore %(version)s")
def program() -> None:
    """Manage a DynamoDB session table: create and check it, look up records, and run bulk jobs.

    Global options can be given before or after the command. For examples, run: dynamostore COMMAND --help
    """


for command in (*_table.COMMANDS, *_records.COMMANDS, *_bulk.COMMANDS, *_serve.COMMANDS, *_guide.COMMANDS):
    program.add_command(command)


def run(arguments: Hidden[list[str]]) -> int:
    """Run the program and return the exit code."""
    state = State()
    # Escape characters that the terminal's encoding lacks, rather than fail on them.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    with _logging(state):
        code = _run(state, arguments)
        try:
            # Flush here to report a failure ourselves; at exit, Python would print its own message.
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError as error:
            return _closed(error, code)
    return code


def _run(state: State, arguments: Hidden[list[str]]) -> int:
    try:
        result = program.main(arguments.reveal(), prog_name="dynamostore", standalone_mode=False, obj=state)
    except click.ClickException as error:
        if sys.stderr is not None:
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        state.say("dynamostore: interrupted")
        return 128 + signal.SIGINT
    except SystemExit as error:
        if not error.code:
            # Shell completion exits this way.
            return 0
        # click exits this way when standard output is a closed pipe.
        return _closed(BrokenPipeError(), error.code if isinstance(error.code, int) else 1)
    except DeclinedError:
        return _failed(state, "cancelled; nothing was changed", "DeclinedError")
    except BrokenPipeError as error:
        return _closed(error, 1)
    except (StoreError, OSError, ValueError, RuntimeError) as error:
        return _failed(
            state, explain(error), type(error).__name__, error.help_url if isinstance(error, Documented) else None
        )
    except BaseException as error:
        clear_frames(error)
        raise
    return result if isinstance(result, int) else 0


def _failed(state: State, message: str, kind: str, help_url: str | None = None) -> int:
    with contextlib.suppress(OSError):
        if state.json:
            more = {"help": help_url} if help_url else {}
            state.write(json.dumps({"status": "failed", "error": {"type": kind, "message": message, **more}}, indent=2))
    state.say(f"dynamostore: {message}", style="red")
    # Logs stay at one line for each error; with --json, they have the link.
    if help_url and state.err.is_terminal:
        state.say(f"dynamostore: help: {help_url}")
    return 1


def _closed(error: OSError, code: int) -> int:
    """Return the exit code when standard output is closed or cannot be written."""
    if sys.stdout is not None:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError) and sys.stderr is not None:
        sys.stderr.write(f"dynamostore: standard output: {error.strerror or error}\n")
    return code or 1


class _Handler(logging.Handler):
    """Prints each of the store's warnings as one line."""

    def __init__(self, state: State) -> None:
        super().__init__(logging.WARNING)
        self._state = state

    def emit(self, record: logging.LogRecord) -> None:
        self._state.say(f"dynamostore: {for_command_line(record.getMessage())}")


@contextlib.contextmanager
def _logging(state: State) -> Iterator[None]:
    logger, handler = logging.getLogger("dynamostore"), _Handler(state)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
