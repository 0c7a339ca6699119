"""Objects in a session: a type in, a value of that very type out."""

# mypy: disallow-any-expr

from datetime import datetime
from typing import assert_type
from uuid import UUID

from models import Address, Cart, Point, Preferences, User

from session import JSONValue, Session


def objects(s: Session) -> None:
    assert_type(s.get_object("k", User), User | None)
    assert_type(s.get_object("k", Preferences), Preferences | None)
    assert_type(s.get_object("k", Address), Address | None)
    assert_type(s.get_object("k", Cart), Cart | None)
    assert_type(s.get_object("k", Point), Point | None)
    assert_type(s.get_object(key="k", type=User), User | None)


def objects_in_containers(s: Session) -> None:
    assert_type(s.get_object("k", list[User]), list[User] | None)
    assert_type(s.get_object("k", list[Preferences]), list[Preferences] | None)
    assert_type(s.get_object("k", dict[str, Address]), dict[str, Address] | None)
    assert_type(s.get_object("k", dict[int, list[Cart]]), dict[int, list[Cart]] | None)
    assert_type(s.get_object("k", tuple[User, ...]), tuple[User, ...] | None)
    assert_type(s.get_object("k", set[int]), set[int] | None)
    assert_type(s.get_object("k", frozenset[str]), frozenset[str] | None)
    assert_type(s.get_object("k", list[User | None]), list[User | None] | None)
    assert_type(s.get_object("k", UUID), UUID | None)
    assert_type(s.get_object("k", datetime), datetime | None)


def objects_with_a_default(s: Session, user: User, preferences: Preferences) -> None:
    assert_type(s.get_object("k", User, default=None), User | None)
    assert_type(s.get_object("k", User, default=user), User)
    assert_type(s.get_object("k", User, User("nobody")), User)
    assert_type(s.get_object("k", Preferences, default=preferences), Preferences)
    assert_type(s.get_object("k", Preferences, default=Preferences(theme="dark")), Preferences)
    assert_type(s.get_object("k", Address, default=Address("nowhere")), Address)
    assert_type(s.get_object("k", Cart, default=Cart([])), Cart)
    assert_type(s.get_object("k", list[User], default=None), list[User] | None)
    assert_type(s.get_object("k", list[User], default=[user]), list[User])
    assert_type(s.get_object("k", User, default="nobody"), User | str)
    # An empty list has no type of its own: it is one of users.
    users = s.get_object("k", list[User], default=[])
    assert_type(users, list[User])
    users.append(user)
    by_name = s.get_object("k", dict[str, User], default={})
    assert_type(by_name, dict[str, User])
    by_name["ada"] = user
    assert_type(s.get_object("k", set[int], default=set()), set[int])
    assert_type(s.get_object("k", list[User], default="nobody"), list[User] | str)
    assert_type(s.get_object("k", list[User], default=["nobody"]), list[User] | list[str])


def pops(s: Session, user: User) -> None:
    assert_type(s.pop_object("k", User), User | None)
    assert_type(s.pop_object("k", Preferences), Preferences | None)
    assert_type(s.pop_object("k", Address), Address | None)
    assert_type(s.pop_object("k", Cart), Cart | None)
    assert_type(s.pop_object("k", list[User]), list[User] | None)
    assert_type(s.pop_object("k", User, default=None), User | None)
    assert_type(s.pop_object("k", User, default=user), User)
    assert_type(s.pop_object("k", list[User], default=[]), list[User])
    assert_type(s.pop_object("k", User, default=0), User | int)


def puts(s: Session, user: User, preferences: Preferences) -> None:
    s.put_object("k", user)
    s.put_object("k", preferences)
    s.put_object("k", Address("somewhere"))
    s.put_object("k", Cart([], owner=user))
    s.put_object("k", [user])
    s.put_object("k", {"ada": user})
    s.put_object("k", ("x", 1))
    s.put_object(key="k", value=user)


def narrowed(s: Session) -> str:
    user = s.get_object("k", User)
    if user is None:
        return "nobody"
    assert_type(user.tags, list[str])
    return user.name


def refused(s: Session, user: User) -> None:
    s.get_object("k")  # type: ignore[call-overload]
    s.get_object(User, "k")  # type: ignore[call-overload]
    s.get_object("k", "User")  # type: ignore[call-overload]
    s.get_object("k", user)  # type: ignore[call-overload]
    s.get_object("k", None)  # type: ignore[call-overload]
    s.get_object("k", kind=User)  # type: ignore[call-overload]
    s.get_object("k", User, defualt=None)  # type: ignore[call-overload]
    s.pop_object("k")  # type: ignore[call-overload]
    s.pop_object("k", user)  # type: ignore[call-overload]
    s.put_object("k")  # type: ignore[call-arg]
    s.put_object(user, "k")  # type: ignore[arg-type]
    s.put_object("k", User, user)  # type: ignore[call-arg]
    s.get_object("k", User).name  # type: ignore[union-attr]
    s.get_object("k", User, default=user).nmae  # type: ignore[attr-defined]
    found: User = s.get_object("k", User)  # type: ignore[assignment]
    cart: Cart | None = s.get_object("k", User)  # type: ignore[assignment]
    users: list[User] = s.get_object("k", list[User])  # type: ignore[assignment]
    carts: list[Cart] = s.get_object("k", list[User], default=[])  # type: ignore[arg-type]
    # An object goes by put_object: a mapping of JSON values has no room for it.
    s["k"] = user  # type: ignore[assignment]
    s["k"] = [user]  # type: ignore[assignment]
    json: JSONValue = user  # type: ignore[assignment]
