"""The shop: what its routes do, said once for all frameworks. A handler is a generator that yields where it has to wait."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from session.data import SessionData
from session.mergeable import Merge
from session.types import JSONValue

from .traces import Answer, Effect, Trace

__all__ = [
    "HANDLERS",
    "LOGIN_KEYS",
    "MERGEABLE",
    "Atomic",
    "Data",
    "Handler",
    "Save",
    "Step",
    "Visit",
    "Work",
    "code_of",
]

LOGIN_KEYS = frozenset(("user",))
"""What the shop tells the manager of its logins."""
MERGEABLE: dict[str, Merge] = {"wishlist": "merge"}
"""What the shop tells the manager of its keys."""


@dataclass(frozen=True, slots=True)
class Work:
    """The handler asks a database, or renders a page: for a time between these, in seconds."""

    shortest: float
    longest: float


@dataclass(frozen=True, slots=True)
class Save:
    """``session.save()`` as the last line of a transaction with *effect* in it: a conflict rolls that back."""

    answer: Answer
    effect: Effect


@dataclass(frozen=True, slots=True)
class Atomic:
    """``session.atomic(change)``."""

    change: Callable[[SessionData], bool]


Step: TypeAlias = Work | Save | Atomic
Handling: TypeAlias = Generator[Step, bool, Answer]


class Data(Protocol):
    """What the shop asks of a session; it is the same in all frameworks."""

    def get_string(self, key: str) -> str: ...
    def put_string(self, key: str, value: str) -> None: ...
    def pop_string(self, key: str) -> str: ...
    def get_bool(self, key: str) -> bool: ...
    def put_bool(self, key: str, value: bool) -> None: ...
    def get_int(self, key: str) -> int: ...
    def put_int(self, key: str, value: int) -> None: ...
    def get_float(self, key: str) -> float: ...
    def put_float(self, key: str, value: float) -> None: ...
    def get(self, key: str, default: JSONValue) -> JSONValue: ...
    def increment(self, key: str, by: int = 1) -> None: ...
    def items(self) -> Iterable[tuple[str, JSONValue]]: ...
    def __contains__(self, key: object) -> bool: ...
    def __setitem__(self, key: str, value: JSONValue) -> None: ...


class Visit(Protocol):
    """One request, as its framework has it."""

    @property
    def session(self) -> Data: ...
    @property
    def query(self) -> Mapping[str, str]: ...
    @property
    def trace(self) -> Trace: ...
    def flash(self, message: str) -> None:
        """Have the next page show *message*; nothing where the framework has no messages."""

    def messages(self) -> list[str]:
        """Return the messages that are to be shown, each once."""

    def renew(self) -> None:
        """Give the session a new token, as a login does."""

    def end(self) -> None:
        """End the session, as a logout does."""


Handler: TypeAlias = Callable[[Visit], Handling]


def code_of(user: str) -> str:
    """Return the code that is mailed to *user*."""
    return f"code of {user}"


def _list(session: Data, key: str) -> list[JSONValue]:
    found = session.get(key, [])
    assert isinstance(found, list)
    return found


def _see_other(**body: JSONValue) -> Answer:
    return Answer(303, body)


# Pages, and parts of pages


def home(visit: Visit) -> Handling:
    """Show the page: who is logged in, how much is in the cart, and the messages."""
    session = visit.session
    if "visitor" not in session:
        session.put_string("visitor", visit.trace.name)
    user, cart = session.get_string("user"), len(_list(session, "cart"))
    yield Work(0.0, 0.08)
    shown: list[JSONValue] = [*visit.messages()]
    return Answer(200, {"user": user, "cart": cart, "messages": shown})


def part(visit: Visit) -> Handling:
    """Show a part of the page. Two of six change something, and one never looks at the session."""
    number = visit.query["n"]
    if number == "0":
        yield Work(0.0, 0.15)
        return Answer(200)
    session = visit.session
    body: dict[str, JSONValue] = {"user": session.get_string("user")}
    if number == "1":
        body["cart"] = len(_list(session, "cart"))
    elif number == "2":
        body["wishlist"] = len(_list(session, "wishlist"))
    elif number == "3":
        body["likes"] = session.get_int("likes")
    yield Work(0.0, 0.15)
    if number == "4":
        session.put_float("seen_offers", visit.trace.now)
    elif number == "5":
        session.put_string("panel", visit.trace.name)
    return Answer(200, body)


# Buttons


def cart(visit: Visit) -> Handling:
    """Add to the cart: read, modify, write."""
    return _add(visit, "cart")


def wishlist(visit: Visit) -> Handling:
    """Add to the wishlist, which is declared mergeable."""
    return _add(visit, "wishlist")


def _add(visit: Visit, key: str) -> Handling:
    session = visit.session
    user, there = session.get_string("user"), _list(session, key)
    yield Work(0.0, 0.15)
    session[key] = [*there, visit.query["item"]]
    visit.flash(f"{visit.trace.name} added")
    return _see_other(user=user)


def like(visit: Visit) -> Handling:
    """Count one more, by `increment`."""
    user = visit.session.get_string("user")
    yield Work(0.0, 0.15)
    visit.session.increment("likes")
    return _see_other(user=user)


def wizard(visit: Visit) -> Handling:
    """Show the step of an order in several steps."""
    step = visit.session.get_int("step")
    yield Work(0.0, 0.08)
    return Answer(200, {"step": step})


def next_step(visit: Visit) -> Handling:
    """Go on to the next step, unless the form was of another one."""
    session = visit.session
    step = session.get_int("step")
    yield Work(0.0, 0.15)
    if str(step) == visit.query["step"]:
        session.put_int("step", step + 1)
        session.put_string(f"answer_{step % 3}", visit.trace.name)
    return _see_other()


# A nonce, spent in three ways


def form(visit: Visit) -> Handling:
    """Show a form with a nonce in it, by which it can be sent once."""
    visit.session.put_string("nonce", visit.trace.name)
    yield Work(0.0, 0.08)
    return Answer(200, {"nonce": visit.trace.name})


def pay(visit: Visit) -> Handling:
    """Pop the nonce and pay, in a database transaction whose last line is ``session.save()``."""
    nonce = visit.session.pop_string("nonce")
    yield Work(0.0, 0.15)
    if nonce != visit.query["nonce"]:
        return Answer(403)
    yield Save(_see_other(), ("paid, save() in the transaction", nonce))
    visit.flash(f"{visit.trace.name} paid")
    return _see_other()


def pay_atomic(visit: Visit) -> Handling:
    """Spend the nonce by ``session.atomic``, then pay."""
    asked = visit.query["nonce"]
    spent = yield Atomic(lambda stored: stored.pop_string("nonce") == asked)
    if not spent:
        return Answer(403)
    visit.trace.do(("paid, atomic", asked))
    yield Work(0.0, 0.15)
    return _see_other()


def pay_at_once(visit: Visit) -> Handling:
    """Pop the nonce and pay at once, in nobody's transaction: the session is committed later."""
    nonce = visit.session.pop_string("nonce")
    yield Work(0.0, 0.15)
    if nonce != visit.query["nonce"]:
        return Answer(403)
    visit.trace.do(("paid, before the commit", nonce))
    return _see_other()


# A password reset in three steps: anybody may name anybody


def reset_begin(visit: Visit) -> Handling:
    """Mail a code to the user who is named."""
    visit.session.put_string("reset_user", visit.query["user"])
    visit.session.put_bool("reset_ok", False)
    yield Work(0.0, 0.15)
    return _see_other()


def reset_code(visit: Visit) -> Handling:
    """Compare the code with the one that was mailed."""
    user = visit.session.get_string("reset_user")
    yield Work(0.0, 0.15)
    if visit.query["code"] != code_of(user):
        return Answer(403)
    visit.session.put_bool("reset_ok", True)
    return _see_other()


def reset_password(visit: Visit) -> Handling:
    """Set the user's password, if the code was right."""
    session = visit.session
    yield Work(0.0, 0.02)
    if not session.get_bool("reset_ok"):
        return Answer(403)
    user = session.get_string("reset_user")
    session.put_bool("reset_ok", False)
    visit.trace.do(("password", user))
    return _see_other()


# Logging in and out


def login(visit: Visit) -> Handling:
    """Log in: a new token, and the user in the session."""
    user = visit.query["user"]
    yield Work(0.03, 0.15)
    visit.renew()
    visit.session.put_string("user", user)
    return _see_other()


def logout(visit: Visit) -> Handling:
    """Log out."""
    yield Work(0.0, 0.02)
    visit.end()
    return _see_other()


HANDLERS: Mapping[str, Handler] = {
    "home": home,
    "part": part,
    "cart": cart,
    "wishlist": wishlist,
    "like": like,
    "wizard": wizard,
    "next": next_step,
    "form": form,
    "pay": pay,
    "pay-atomic": pay_atomic,
    "pay-at-once": pay_at_once,
    "reset-begin": reset_begin,
    "reset-code": reset_code,
    "reset-password": reset_password,
    "login": login,
    "logout": logout,
}
