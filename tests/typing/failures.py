"""What is caught, and what it says about itself."""

# mypy: disallow-any-expr

from collections.abc import Mapping
from typing import assert_type

from dynamostore import AccessDeniedError, Conflict, CorruptRecordError, ItemTooLargeError, Record, Store, StoreError, TableNotFoundError, TableSchemaError, ThrottledError, ThrottlingReason, UnavailableError
from dynamostore.digests import digest
from dynamostore.errors import CODES
from session import CorruptSessionError, JSONValue, Session, SessionClosedError, SessionConflict, SessionError, SessionStateError, SessionTypeError


def of_a_store(store: Store) -> None:
    try:
        store.ping()
    except Conflict as error:
        assert_type(error, Conflict)
        assert_type(error.current, Record | None)
        assert_type(error.renamed, bool)
        assert_type(error.help_url, str | None)
        error.current.data  # type: ignore[union-attr]
        error.curent  # type: ignore[attr-defined]
    except ItemTooLargeError as error:
        assert_type(error.size, int)
        assert_type(error.limit, int)
        assert_type(error.largest, tuple[tuple[str, int], ...])
        for key, size in error.largest:
            assert_type((key, size), tuple[str, int])
        error.largest.append(("key", 1))  # type: ignore[attr-defined]
    except CorruptRecordError as error:
        assert_type(error.digest, str)
        assert_type(error.reason, str)
    except (ThrottledError, UnavailableError) as error:
        assert_type(error.version, int)
        if isinstance(error, ThrottledError):
            assert_type(error.throttling_reasons, tuple[ThrottlingReason, ...])
            assert_type(error.throttling_reasons[0].reason, str)
            assert_type(error.throttling_reasons[0].resource, str)
        assert_type(error.operation, str | None)
        error.current  # type: ignore[union-attr]
    except (TableNotFoundError, TableSchemaError, AccessDeniedError) as error:
        assert_type(error.operation, str | None)
        assert_type(error.code, str | None)
        error.operation.lower()  # type: ignore[union-attr]
        error.current  # type: ignore[union-attr]
    except StoreError as error:
        assert_type(error.operation, str | None)
        assert_type(error.code, str | None)
        error.current  # type: ignore[attr-defined]


def of_a_session(s: Session) -> None:
    try:
        s.save()
    except SessionTypeError as error:
        assert_type(error.key, str)
        assert_type(error.wanted, str)
        assert_type(error.found, str)
        as_type_error: TypeError = error
    except SessionStateError as error:
        as_session_error: SessionError = error
    except SessionConflict as error:
        assert_type(error.keys, tuple[str, ...])
        assert_type(error.ended, bool)
        assert_type(error.help_url, str | None)
        assert_type(error.ours, dict[str, JSONValue])
        assert_type(error.theirs, dict[str, JSONValue])
        error.current  # type: ignore[attr-defined]
    except CorruptSessionError as error:
        assert_type(error.digest, str)
        assert_type(error.reason, str)
    except SessionClosedError as error:
        error.key  # type: ignore[attr-defined]
    except SessionError as error:
        error.key  # type: ignore[attr-defined]


def trees() -> None:
    of_stores: list[type[StoreError]] = [
        AccessDeniedError,
        Conflict,
        CorruptRecordError,
        ItemTooLargeError,
        TableNotFoundError,
        TableSchemaError,
        ThrottledError,
        UnavailableError,
    ]
    of_sessions: list[type[SessionError]] = [
        CorruptSessionError,
        SessionClosedError,
        SessionConflict,
        SessionTypeError,
    ]
    an_exception: type[Exception] = StoreError
    another_exception: type[Exception] = SessionError
    # An outage is not a logout: neither tree is a part of the other.
    store_error: StoreError = SessionError()  # type: ignore[assignment]
    session_error: SessionError = StoreError()  # type: ignore[assignment]
    conflict: Conflict = SessionConflict()  # type: ignore[assignment]


def of_ones_own(record: Record) -> None:
    """Whoever writes a store raises them, too."""
    StoreError("no", operation="GetItem", code="ThrottlingException")
    Conflict("no", current=record, operation="PutItem", code=None)
    ItemTooLargeError("no", size=2, limit=1, largest=[("key", 1)], operation=None, code=None)
    CorruptRecordError("no", digest=digest("token"), reason="no data")
    SessionTypeError("no", key="key", wanted="int", found="str")
    SessionConflict("no", ours={"a": 1}, theirs={"a": [2]})
    CorruptSessionError("no", digest="457cadca9a78", reason="no JSON")
    SessionClosedError("no")
    Conflict("no", record)  # type: ignore[call-arg]
    Conflict("no", curent=record)  # type: ignore[call-arg]
    Conflict("no", current="token")  # type: ignore[arg-type]
    StoreError("no", operation=7)  # type: ignore[arg-type]
    ItemTooLargeError("no", size="2")  # type: ignore[arg-type]
    ItemTooLargeError("no", largest=["key"])  # type: ignore[list-item]
    ThrottledError("no", retry_after=1)  # type: ignore[call-arg]
    SessionTypeError("no", wanted=int)  # type: ignore[arg-type]
    SessionConflict("no", ours={"a": b"bytes"})  # type: ignore[dict-item]


def names() -> None:
    assert_type(digest("token"), str)
    assert_type(CODES, Mapping[str, type[StoreError]])
    CODES["MyException"] = StoreError  # type: ignore[index]
    digest(b"token")  # type: ignore[arg-type]
