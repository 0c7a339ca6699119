# atheris' own types end at its native module; this is what the fuzzer uses of it.
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

def instrument_imports(
    include: Collection[str] | None = ..., exclude: Collection[str] | None = ...
) -> AbstractContextManager[None]: ...
def Setup(args: list[str], test_one_input: Callable[[bytes], None]) -> list[str]: ...  # noqa: N802
def Fuzz() -> None: ...  # noqa: N802
