"""Coverage-guided fuzzing of the reply parser, and of what its replies mean: ``python -m tests.fuzz --seconds 60``.

An input is how a connection's bytes are split into segments, and the bytes: its first byte says how many sizes follow, of a
byte each, and the rest is received in segments of these sizes, in turn. What was found worth keeping is kept from run to run
(``--corpus``). What breaks an invariant ends the run, and is kept, too: ``--input`` tries it again.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

MISSING = "the fuzzer needs atheris: pip install atheris (Linux and macOS, CPython 3.11 to 3.14)"
WORDS = (
    *("HTTP/1.1 200 OK\\x0d\\x0a", "HTTP/1.0 ", "HTTP/1.1 100 Continue\\x0d\\x0a\\x0d\\x0a", "\\x0d\\x0a", "\\x0d\\x0a\\x0d\\x0a"),
    *("Content-Length: ", "Transfer-Encoding: chunked", "Connection: close", "Connection: keep-alive", "Keep-Alive: timeout="),
    *("Content-Type: application/x-amz-json-1.0", "x-amz-crc32: ", "x-amz-retry-after: ", "Date: ", "x-amzn-ErrorType: "),
    *("0\\x0d\\x0a\\x0d\\x0a", "Upgrade: h2c", '{\\"__type\\":\\"', '{\\"Item\\":{', '{\\"S\\":\\"\\"}', '{\\"B\\":\\"\\"}', '{\\"N\\":\\"1\\"}'),
    *("ThrottlingException", "InvalidSignatureException", "ConditionalCheckFailedException", "TransactionCanceledException"),
    *("CancellationReasons", "Message", "message", "GMT", "-0000", "204", "304", "429", "500", "503"),
)  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--seconds", type=int, default=60, help="how long (%(default)s)")
    arguments.add_argument(
        "--corpus", type=Path, default=Path(tempfile.gettempdir()) / "dynamostore-fuzz", help="a folder (%(default)s)"
    )
    arguments.add_argument("--seed", type=int, default=0, help="another is another run (0: a new one each time)")
    arguments.add_argument("--input", type=Path, help="try just this")
    options = arguments.parse_args()
    try:
        import atheris  # not in the dev dependencies: just this command needs it
    except ImportError:
        sys.exit(MISSING)

    # Only what is imported here is watched: each branch of it that is taken for the first time makes an input worth keeping.
    with atheris.instrument_imports(include=["dynamostore.wire", "dynamostore.plans.faults"]):
        from tests.fuzz.invariants import check, seeds, small_limits

    def test(data: bytes) -> None:
        sizes = data[1 : 1 + data[0] % 8] if data else b""
        check(data[1 + len(sizes) :], [1 + size for size in sizes] or [len(data) + 1])

    found, begin, words = (options.corpus / name for name in ("found", "seeds", "words"))
    found.mkdir(parents=True, exist_ok=True)
    begin.mkdir(exist_ok=True)
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    for number, seed in enumerate(seeds()):
        (begin / f"{number}").write_bytes(b"\0" + seed)
        (begin / f"{number}-split").write_bytes(b"\3\7\0\40" + seed)
    flags = [
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed}",
        f"-dict={words}",
        f"-artifact_prefix={options.corpus}/",
        "-max_len=3000",
        "-timeout=5",
    ]
    inputs = [options.input] if options.input else [found, begin]
    # What a call says of the clock is no news here.
    logging.disable()
    with small_limits():
        atheris.Setup([sys.argv[0], *flags, *map(str, inputs)], test)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
