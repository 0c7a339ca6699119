"""A session, as a handler types it: the manager, the block, getters and putters, the mapping, its life."""

# mypy: disallow-any-expr

import sys
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Hashable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from typing import assert_never, assert_type

from dynamostore import MemoryStore, Record, Store
from session import Cookie, JSONCodec, JSONInput, JSONValue, Merge, MergeFunction, OnConflict, OnCorrupt, Session, SessionData, SessionManager, Status


# The manager


def keep_ours(base: JSONValue, ours: JSONValue, theirs: JSONValue) -> JSONValue:
    return ours


def managers(store: Store) -> None:
    assert_type(SessionManager(store), SessionManager)
    assert_type(
        SessionManager(
            store=store,
            lifetime=timedelta(days=14),
            idle_timeout=timedelta(minutes=20),
            touch_after=timedelta(minutes=1),
            hash_tokens=False,
            on_conflict="raise",
            mergeable={"cart": "merge", "hits": "add", "seen": "latest", "recent": keep_ours},
            login_keys=("user_id",),
            renewal_grace=timedelta(seconds=5),
            codec=JSONCodec(),
            cookie=Cookie(name="id"),
            clock=time.time_ns,
        ),
        SessionManager,
    )
    SessionManager(store, idle_timeout=None, touch_after=None, renewal_grace=None, codec=None, cookie=None)
    for mode in ("merge", "serialize", "raise", "overwrite", "merge_unchecked", "report"):
        SessionManager(store, on_conflict=mode)
    how: Merge = "merge"
    function: MergeFunction = keep_ours
    SessionManager(store, mergeable={"cart": how, "recent": function})
    assert_type(SessionManager(store).store, Store)
    assert_type(SessionManager(store).cookie, Cookie)


def managers_refused(store: Store, mode: str) -> None:
    SessionManager()  # type: ignore[call-arg]
    SessionManager(store, lifetime=3600)  # type: ignore[arg-type]
    SessionManager(store, lifetime=None)  # type: ignore[arg-type]
    SessionManager(store, timedelta(hours=1))  # type: ignore[call-arg]
    SessionManager(store, lifetim=timedelta(hours=1))  # type: ignore[call-arg]
    SessionManager(store, idle_timeout=20)  # type: ignore[arg-type]
    SessionManager(store, touch_after=60.0)  # type: ignore[arg-type]
    SessionManager(store, hash_tokens="sha256")  # type: ignore[arg-type]
    SessionManager(store, on_conflict="foo")  # type: ignore[arg-type]
    SessionManager(store, on_conflict="Merge")  # type: ignore[arg-type]
    SessionManager(store, on_conflict=mode)  # type: ignore[arg-type]
    SessionManager(store, on_conflict=None)  # type: ignore[arg-type]
    SessionManager(store, renewal_grace=5)  # type: ignore[arg-type]
    SessionManager(store, on_corrupt="ignore")  # type: ignore[arg-type]
    SessionManager(store, on_corrupt=None)  # type: ignore[arg-type]
    SessionManager(store, mergeable={"cart": "sum"})  # type: ignore[dict-item]
    SessionManager(store, mergeable=["cart"])  # type: ignore[arg-type]
    SessionManager(store, login_keys=7)  # type: ignore[arg-type]
    SessionManager(store, codec="json")  # type: ignore[arg-type]
    SessionManager(store, cookie="session")  # type: ignore[arg-type]
    SessionManager(store, clock=time.time)  # type: ignore[arg-type]


def modes(mode: OnConflict) -> str:
    if mode == "merge":
        return "both"
    if mode == "raise":
        return "neither"
    if mode == "overwrite":
        return "the last"
    if mode == "serialize" or mode == "merge_unchecked" or mode == "report":
        return "it depends"
    assert_never(mode)


def corruption(mode: OnCorrupt) -> str:
    if mode == "raise":
        return "an error"
    if mode == "reset":
        return "no session"
    assert_never(mode)


# The block


def blocks(manager: SessionManager, token: str | None) -> None:
    block: AbstractContextManager[Session, bool | None] = manager.session(token)
    with manager.session(token) as s:
        assert_type(s, Session)
    with manager.session(token=token) as s:
        assert_type(s, Session)
    # A block may raise whatever is in it: what comes after it is reached only if it did not.
    assert_type(s.token, str | None)
    assert_type(manager.set_cookie(s), str | None)
    assert_type(manager.set_cookie(session=s), str | None)
    assert_type(manager.headers(s, [("Vary", "Accept")]), list[tuple[str, str]])
    assert_type(manager.token("session=abc"), str | None)
    assert_type(manager.cookie.read("session=abc"), str | None)
    assert_type(manager.cookie.values(None), Iterator[str])
    with manager.session(manager.cookie.read(None)):
        pass


def reached(manager: SessionManager) -> str:
    # A block that swallows no exception leaves nothing after it to return.
    with manager.session(None) as s:
        return s.get_string("message")


def blocks_refused(manager: SessionManager, s: Session) -> None:
    manager.session()  # type: ignore[call-arg]
    manager.session(b"token")  # type: ignore[arg-type]
    manager.session(7)  # type: ignore[arg-type]
    manager.session(tokn=None)  # type: ignore[call-arg]
    manager.session(None).put_string("message", "Hello")  # type: ignore[attr-defined]
    without_with: Session = manager.session(None)  # type: ignore[assignment]
    manager.set_cookie("token")  # type: ignore[arg-type]
    manager.set_cookie(None)  # type: ignore[arg-type]
    manager.set_cookie()  # type: ignore[call-arg]
    manager.set_cookie(s).lower()  # type: ignore[union-attr]
    with s:  # type: ignore[attr-defined]
        pass


# Without a block


def blockless(manager: SessionManager, token: str | None) -> None:
    s = manager.load(token)
    assert_type(s, Session)
    manager.commit(s)
    manager.discard(s)
    assert_type(manager.load(token=None), Session)
    manager.commit(session=s)
    manager.discard(session=s)


def take_turns(s: Session) -> None:
    s.put_string("player", "O" if s.get_string("player") == "X" else "X")


def updates(manager: SessionManager, token: str | None) -> None:
    assert_type(manager.update(token, take_turns), Session)
    assert_type(manager.update(token, take_turns, attempts=3), Session)
    # What it returns is of no account.
    assert_type(manager.update(token=None, change=lambda s: s.increment("n")), Session)
    assert_type(manager.update(token, Session.clear).token, str | None)


def blockless_refused(manager: SessionManager, s: Session) -> None:
    manager.load()  # type: ignore[call-arg]
    manager.load(b"token")  # type: ignore[arg-type]
    manager.commit()  # type: ignore[call-arg]
    manager.commit("token")  # type: ignore[arg-type]
    manager.commit(manager.session(None))  # type: ignore[arg-type]
    manager.discard(None)  # type: ignore[arg-type]
    manager.update(take_turns)  # type: ignore[call-arg, arg-type]
    manager.update(None)  # type: ignore[call-arg]
    manager.update(None, "player")  # type: ignore[arg-type]
    manager.update(None, take_turns(s))  # type: ignore[func-returns-value, arg-type]
    manager.update(None, lambda: None)  # type: ignore[misc, arg-type]
    manager.update(None, lambda s: s.get_integer("n"))  # type: ignore[attr-defined, misc]
    manager.update(None, take_turns, 3)  # type: ignore[call-arg]
    manager.update(None, take_turns, attempts="3")  # type: ignore[arg-type]
    committed = manager.commit(s)  # type: ignore[func-returns-value]


# The getters


def getters(s: Session) -> None:
    assert_type(s.get_string("k"), str)
    assert_type(s.get_int("k"), int)
    assert_type(s.get_float("k"), float)
    assert_type(s.get_bool("k"), bool)
    assert_type(s.get_bytes("k"), bytes)
    assert_type(s.get_time("k"), datetime | None)
    assert_type(s.get_string(key="k"), str)


def getters_with_a_default(s: Session, now: datetime) -> None:
    assert_type(s.get_string("k", default=None), str | None)
    assert_type(s.get_int("k", default=None), int | None)
    assert_type(s.get_float("k", default=None), float | None)
    assert_type(s.get_bool("k", default=None), bool | None)
    assert_type(s.get_bytes("k", default=None), bytes | None)
    assert_type(s.get_time("k", default=None), datetime | None)
    # A default of the same type leaves the type as it is, and takes the None from a time's.
    assert_type(s.get_string("k", default="nobody"), str)
    assert_type(s.get_int("k", default=-1), int)
    assert_type(s.get_float("k", default=1.5), float)
    assert_type(s.get_bool("k", default=True), bool)
    assert_type(s.get_bytes("k", default=b"?"), bytes)
    assert_type(s.get_time("k", default=now), datetime)
    # Any other one is a part of it.
    assert_type(s.get_int("k", default="none"), int | str)
    assert_type(s.get_time("k", default=0), datetime | int)
    # By its place, too.
    assert_type(s.get_int("k", None), int | None)


def pops(s: Session, now: datetime) -> None:
    assert_type(s.pop_string("k"), str)
    assert_type(s.pop_int("k"), int)
    assert_type(s.pop_float("k"), float)
    assert_type(s.pop_bool("k"), bool)
    assert_type(s.pop_bytes("k"), bytes)
    assert_type(s.pop_time("k"), datetime | None)
    assert_type(s.pop_string("k", default=None), str | None)
    assert_type(s.pop_int("k", default=None), int | None)
    assert_type(s.pop_float("k", default=None), float | None)
    assert_type(s.pop_bool("k", default=None), bool | None)
    assert_type(s.pop_bytes("k", default=None), bytes | None)
    assert_type(s.pop_time("k", default=None), datetime | None)
    assert_type(s.pop_string("k", default="nobody"), str)
    assert_type(s.pop_int("k", default=-1), int)
    assert_type(s.pop_float("k", default=1.5), float)
    assert_type(s.pop_bool("k", default=True), bool)
    assert_type(s.pop_bytes("k", default=b"?"), bytes)
    assert_type(s.pop_time("k", default=now), datetime)


def getters_refused(s: Session) -> None:
    text: str = s.get_int("k")  # type: ignore[assignment]
    number: int = s.get_string("k")  # type: ignore[assignment]
    whole: int = s.get_float("k")  # type: ignore[assignment]
    flag: bool = s.get_int("k")  # type: ignore[assignment]
    data: bytes = s.get_string("k")  # type: ignore[assignment]
    when: datetime = s.get_time("k")  # type: ignore[assignment]
    perhaps: int = s.get_int("k", default=None)  # type: ignore[arg-type]
    popped: str = s.pop_int("k")  # type: ignore[assignment]
    s.get_time("k").year  # type: ignore[union-attr]
    s.pop_time("k").year  # type: ignore[union-attr]
    s.get_int("k", default=None) + 1  # type: ignore[operator]
    s.get_int("k") + s.get_string("k")  # type: ignore[operator]
    s.get_int()  # type: ignore[call-overload]
    s.get_int(7)  # type: ignore[call-overload]
    s.get_int(None)  # type: ignore[call-overload]
    s.get_int("k", defualt=None)  # type: ignore[call-overload]
    s.get_int("k", 0, 1)  # type: ignore[call-overload]
    s.get_str("k")  # type: ignore[attr-defined]
    s.get_datetime("k")  # type: ignore[attr-defined]
    s.pop_str("k")  # type: ignore[attr-defined]


# The putters


def putters(s: Session) -> None:
    s.put_string("k", "text")
    s.put_int("k", 1)
    s.put_float("k", 1.5)
    s.put_float("k", 1)
    s.put_bool("k", True)
    s.put_bytes("k", b"data")
    s.put_time("k", datetime.now(UTC))
    s.put_string(key="k", value="text")
    s.remove("k")
    s.clear()
    s.increment("k")
    s.increment("k", 2)
    s.increment("k", by=-1)


def putters_refused(s: Session, perhaps: str | None) -> None:
    s.put_string("k", 1)  # type: ignore[arg-type]
    s.put_string("k", b"text")  # type: ignore[arg-type]
    s.put_string("k", None)  # type: ignore[arg-type]
    s.put_string("k", perhaps)  # type: ignore[arg-type]
    s.put_int("k", "1")  # type: ignore[arg-type]
    s.put_int("k", 1.0)  # type: ignore[arg-type]
    s.put_int("k", None)  # type: ignore[arg-type]
    s.put_float("k", "1.5")  # type: ignore[arg-type]
    s.put_bool("k", 1)  # type: ignore[arg-type]
    s.put_bool("k", "yes")  # type: ignore[arg-type]
    s.put_bytes("k", "data")  # type: ignore[arg-type]
    s.put_bytes("k", [1, 2])  # type: ignore[arg-type]
    s.put_time("k", "2030-01-01T00:00:00Z")  # type: ignore[arg-type]
    s.put_time("k", date(2030, 1, 1))  # type: ignore[arg-type]
    s.put_time("k", time.time())  # type: ignore[arg-type]
    s.put_time("k", timedelta(hours=1))  # type: ignore[arg-type]
    s.put_int(1, "k")  # type: ignore[arg-type]
    s.put_int("k")  # type: ignore[call-arg]
    s.put_int("k", valeu=1)  # type: ignore[call-arg]
    s.put_int("k", 1, ttl=60)  # type: ignore[call-arg]
    s.put_str("k", "text")  # type: ignore[attr-defined]
    s.put("k", "text")  # type: ignore[attr-defined]
    s.increment("k", 0.5)  # type: ignore[arg-type]
    n: int = s.increment("k")  # type: ignore[func-returns-value, assignment]
    s.increment("k", "1")  # type: ignore[arg-type]
    s.increment(1)  # type: ignore[arg-type]
    s.remove(1)  # type: ignore[arg-type]
    s.remove("k", None)  # type: ignore[call-arg]
    s.clear("k")  # type: ignore[call-arg]
    if s.put_int("k", 1):  # type: ignore[func-returns-value]
        pass


# A decision on what is stored now


def spend(s: SessionData) -> bool:
    return s.pop_string("nonce") != ""


def steps(s: Session) -> None:
    assert_type(s.atomic(spend), bool)
    assert_type(s.atomic(lambda stored: stored.get_int("n")), int)
    assert_type(s.atomic(lambda stored: stored.pop_string("nonce", default=None)), str | None)
    s.atomic(SessionData.clear)
    assert_type(s.peek("k"), JSONValue)
    assert_type(s.peek("k", default="text"), JSONValue)
    data: SessionData = s


async def wait(s: SessionData) -> bool:
    return True


def takes_a_session(s: Session) -> None:
    s.save()


def steps_refused(s: Session) -> None:
    s.atomic()  # type: ignore[call-arg]
    s.atomic(7)  # type: ignore[arg-type]
    s.atomic(takes_a_session)  # type: ignore[arg-type]
    s.atomic(wait)  # type: ignore[unused-coroutine]
    s.atomic(lambda: True)  # type: ignore[arg-type, misc]
    s.atomic(lambda stored: stored.save())  # type: ignore[attr-defined, misc]
    s.atomic(spend).upper()  # type: ignore[attr-defined]
    s.peek(7)  # type: ignore[arg-type]


# The mapping


def mapping(s: Session) -> None:
    as_mapping: MutableMapping[str, JSONValue] = s
    readable: Mapping[str, JSONValue] = s
    assert_type(s["k"], JSONValue)
    assert_type(s.get("k"), JSONValue | None)
    assert_type(s.get("k", "text"), JSONValue | str)
    assert_type(s.pop("k"), JSONValue)
    assert_type(s.setdefault("k", 0), JSONValue)
    assert_type(s.popitem(), tuple[str, JSONValue])
    assert_type("k" in s, bool)
    assert_type(len(s), int)
    assert_type(iter(s), Iterator[str])
    assert_type(list(s), list[str])
    assert_type(list(s.keys()), list[str])
    assert_type(dict(s), dict[str, JSONValue])
    for key, value in s.items():
        assert_type(key, str)
        assert_type(value, JSONValue)
    for value in s.values():
        assert_type(value, JSONValue)
    del s["k"]
    s.update({"a": 1, "b": [2]}, c=None)


def mapping_of_json(s: Session) -> None:
    s["k"] = None
    s["k"] = True
    s["k"] = 1
    s["k"] = 1.5
    s["k"] = "text"
    s["k"] = []
    s["k"] = {}
    s["k"] = ["apple", 1, None, [True], {"deep": [1.5]}]
    s["k"] = {"a": 1, "b": {"c": ["d"]}}
    s["k"] = [[], {}, [{}]]
    value = s["cart"]
    if isinstance(value, list):
        assert_type(value, list[JSONValue])
        value.append("pear")
        value.append(b"pear")  # type: ignore[arg-type]
    elif isinstance(value, dict):
        assert_type(value, dict[str, JSONValue])
        value["fruit"] = ["pear"]
        value["fruit"] = {"pear"}  # type: ignore[assignment]
    elif isinstance(value, str):
        assert_type(value, str)


def mapping_of_variables(
    s: Session,
    names: list[str],
    pair: tuple[int, str],
    words: Sequence[str],
    counts: dict[str, int],
    rows: dict[str, list[tuple[str, ...]]],
    ordered: OrderedDict[str, list[int]],
    counter: defaultdict[str, int],
    numbers: deque[float],
    json: JSONValue,
    given: JSONInput,
) -> None:
    s["k"] = names
    s["k"] = pair
    s["k"] = words
    s["k"] = counts
    s["k"] = rows
    s["k"] = ordered
    s["k"] = counter
    s["k"] = numbers
    s["k"] = json
    s["k"] = given
    s["k"] = (1, "x", (2,))
    s["k"] = range(3)
    s.update({"k": names}, k=pair)
    s.update([("k", names)])
    s.update(counts)
    s.update(rows)
    s |= counts
    s |= [("k", names)]
    assert_type(s.setdefault("k", names), JSONValue)
    assert_type(s.setdefault("k"), JSONValue)
    assert_type(s.copy(), dict[str, JSONValue])
    assert_type(s | counts, dict[str, JSONValue | int])
    assert_type(list(reversed(s)), list[str])


def mapping_of_variables_refused(
    s: Session, blobs: list[bytes], view: memoryview, array: bytearray, anything: list[object], numbered: dict[int, str]
) -> None:
    s["k"] = blobs  # type: ignore[assignment]
    if sys.version_info < (3, 14):
        # It has all methods of a sequence since then; the session refuses it at run time.
        s["k"] = view  # type: ignore[assignment]
    s["k"] = array  # type: ignore[assignment]
    s["k"] = anything  # type: ignore[assignment]
    s["k"] = numbered  # type: ignore[assignment]
    s["k"] = (b"data",)  # type: ignore[assignment]
    s["k"] = {"a": [object()]}  # type: ignore[dict-item]
    s["k"] = numbered.keys()  # type: ignore[assignment]
    s.setdefault("k", blobs)  # type: ignore[arg-type]
    s.update(k=blobs)  # type: ignore[arg-type]
    s |= numbered  # type: ignore[arg-type]
    names: list[str] = s.copy()  # type: ignore[assignment]


def mapping_refused(s: Session) -> None:
    # What JSON has no word for goes by put_bytes, put_time and put_object.
    s["k"] = b"data"  # type: ignore[assignment]
    s["k"] = datetime.now(UTC)  # type: ignore[assignment]
    s["k"] = {"a", "b"}  # type: ignore[assignment]
    s["k"] = 1j  # type: ignore[assignment]
    s["k"] = object()  # type: ignore[assignment]
    s["k"] = [object()]  # type: ignore[assignment]
    s["k"] = {"a": b"data"}  # type: ignore[dict-item]
    s["k"] = {1: "a"}  # type: ignore[dict-item]
    s[1] = "text"  # type: ignore[index]
    s.update({"k": b"data"})  # type: ignore[arg-type]
    s.setdefault("k", b"data")  # type: ignore[arg-type]
    # What is there may be anything that JSON is.
    text: str = s["k"]  # type: ignore[assignment]
    number: int = s["k"]  # type: ignore[assignment]
    perhaps: str | None = s.get("k")  # type: ignore[assignment]
    s["k"].append("pear")  # type: ignore[union-attr]
    s["k"]["a"]  # type: ignore[index, call-overload]
    s["k"] + 1  # type: ignore[operator]
    s[1]  # type: ignore[index]
    del s[1]  # type: ignore[arg-type]
    s.message  # type: ignore[attr-defined]
    s.message = "Hello"  # type: ignore[attr-defined]
    # As every mutable mapping, it is nobody's key.
    key: Hashable = s  # type: ignore[assignment]


# Its life


def life(s: Session) -> None:
    assert_type(s.token, str | None)
    assert_type(s.deadline, datetime)
    assert_type(s.expiry, datetime | None)
    assert_type(s.status, Status)
    assert_type(s.remembered, bool | None)
    assert_type(s.idle_timeout, timedelta | None)
    s.renew_token()
    s.renew_token(grace=True, deadline="keep")
    assert_type(s.attempt, int)
    s.forbid_rerun()
    s.remember()
    s.remember(remember=False)
    s.set_deadline(datetime.now(UTC))
    s.set_idle_timeout(timedelta(days=30))
    s.set_idle_timeout(None)
    assert_type(s.merge_session("token"), bool)
    assert_type(s.merge_session(None), bool)
    s.save()
    s.destroy()


def everywhere(manager: SessionManager, memory: MemoryStore, records: list[Record]) -> None:
    assert_type(manager.iterate(Session.destroy), int)
    assert_type(manager.iterate(lambda s: s.increment("k"), records=memory.records(), attempts=3), int)
    assert_type(manager.iterate(life, records=records), int)
    assert_type(memory.records(), Iterator[Record])


def everywhere_refused(manager: SessionManager, s: Session) -> None:
    manager.iterate(7)  # type: ignore[arg-type]
    manager.iterate(life, records=["token"])  # type: ignore[list-item]
    manager.iterate(life, limit=3)  # type: ignore[call-arg]
    s.merge_session(s)  # type: ignore[arg-type]


def life_refused(s: Session) -> None:
    s.token.encode()  # type: ignore[union-attr]
    s.expiry.isoformat()  # type: ignore[union-attr]
    token: str = s.token  # type: ignore[assignment]
    s.token()  # type: ignore[misc, operator]
    s.renew_token("token")  # type: ignore[call-arg, arg-type]
    s.renew_token(deadline="old")  # type: ignore[arg-type]
    s.attempt = 2  # type: ignore[misc]
    s.renew()  # type: ignore[attr-defined]
    s.remember(14)  # type: ignore[arg-type]
    s.set_deadline(14)  # type: ignore[arg-type]
    s.set_idle_timeout(3600)  # type: ignore[arg-type]
    s.idle_timeout = None  # type: ignore[misc]
    s.remembered = True  # type: ignore[misc]
    s.commit()  # type: ignore[attr-defined]
    s.save(force=True)  # type: ignore[call-arg]
    renewed = s.renew_token()  # type: ignore[func-returns-value]
    if s.status == "destroyed":  # type: ignore[comparison-overlap]
        pass
    if s.status is Status.DELETED:  # type: ignore[attr-defined, misc]
        pass
    Session()  # type: ignore[call-arg]
    Session("token")  # type: ignore[call-arg, arg-type]
    Session(MemoryStore(), "token")  # type: ignore[call-arg, arg-type]
    s.token = "token"  # type: ignore[misc]
    s.deadline = datetime.now(UTC)  # type: ignore[misc]
    s.expiry = None  # type: ignore[misc]
    s.status = Status.DESTROYED  # type: ignore[misc]


def statuses(s: Session) -> str:
    match s.status:
        case Status.UNMODIFIED:
            return "as it was"
        case Status.MODIFIED:
            return "changed"
        case Status.DESTROYED:
            return "gone"
        case status:
            assert_never(status)


# The cookie


def cookies(expiry: datetime) -> None:
    cookie = Cookie(
        name="__Host-session",
        path="/",
        domain=None,
        secure=True,
        http_only=True,
        same_site="Strict",
        persist=False,
        partitioned=True,
    )
    assert_type(cookie.name, str)
    assert_type(cookie.path, str)
    assert_type(cookie.domain, str | None)
    assert_type(cookie.secure, bool)
    assert_type(cookie.http_only, bool)
    assert_type(cookie.persist, bool)
    assert_type(cookie.partitioned, bool)
    assert_type(cookie.read("session=abc"), str | None)
    assert_type(cookie.read(None), str | None)
    assert_type(cookie.set("abc", expiry, time.time_ns()), str)
    assert_type(cookie.clear(), str)
    assert_type({cookie: 1}, dict[Cookie, int])


def cookies_refused(cookie: Cookie, expiry: datetime) -> None:
    Cookie("session")  # type: ignore[call-arg]
    Cookie(nme="session")  # type: ignore[call-arg]
    Cookie(httponly=True)  # type: ignore[call-arg]
    Cookie(same_site="lax")  # type: ignore[arg-type]
    Cookie(same_site=None)  # type: ignore[arg-type]
    Cookie(secure="yes")  # type: ignore[arg-type]
    Cookie(max_age=3600)  # type: ignore[call-arg]
    cookie.name = "id"  # type: ignore[misc]
    cookie.secure = False  # type: ignore[misc]
    cookie.read({"Cookie": "session=abc"})  # type: ignore[arg-type]
    cookie.read(b"session=abc")  # type: ignore[arg-type]
    cookie.read("session=abc").lower()  # type: ignore[union-attr]
    cookie.set(None, expiry, 0)  # type: ignore[arg-type]
    cookie.set("abc", 3600, 0)  # type: ignore[arg-type]
    cookie.set("abc", expiry, time.time())  # type: ignore[arg-type]
