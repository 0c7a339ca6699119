"""Sessions in a real browser, with real cookies: what a user sees of a login, a logout, an outage, and another site's tricks."""

from __future__ import annotations

import itertools
import string
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, expect, sync_playwright

from dynamostore import AsyncDynamoStore
from dynamostore.testing import FakeClock
from dynamostore.wire import AsyncWireClient
from session import AsyncSessionManager, Cookie, SessionManager
from session.web.asgi import Receive, Scope, Send

from .backends import TABLE, Backends, async_wire_client
from .browser import chromium
from .browser.line import Line
from .browser.shop import Shop, echo, page
from .browser.sites import Sites
from .browser.tab import Tab
from .serving import on_uvicorn, on_waitress

SameSite: TypeAlias = Literal["Lax", "Strict", "None"]
Settings: TypeAlias = dict[str, object]

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    chromium.executable()
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def sites(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with Sites(backends.loop, tmp_path_factory.mktemp("sites")) as sites:
        yield sites


@pytest.fixture(scope="module")
def browser(playwright: Playwright, sites: Sites) -> Iterator[Browser]:
    browser = chromium.launch(playwright, sites.key)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def client(backends: Backends) -> Iterator[AsyncWireClient]:
    with connected(backends, backends.server("ministack").url) as client:
        yield client


@contextmanager
def connected(backends: Backends, url: str | None) -> Iterator[AsyncWireClient]:
    """A client of the server at *url*, on the loop that the sites are on."""
    client = async_wire_client(url)
    backends.loop.run(client.__aenter__())
    try:
        yield client
    finally:
        backends.loop.run(client.__aexit__(None, None, None))


@pytest.fixture
def store(client: AsyncWireClient, clock: FakeClock) -> AsyncDynamoStore:
    return AsyncDynamoStore(client, TABLE, clock=clock)


@pytest.fixture
def manager(store: AsyncDynamoStore, clock: FakeClock) -> AsyncSessionManager:
    return AsyncSessionManager(store, clock=clock)


@pytest.fixture(scope="module")
def window(browser: Browser) -> BrowserContext:
    """One for all tests: a new page is a new process, and a test's start takes longer than the test."""
    return person(browser)


def person(browser: Browser) -> BrowserContext:
    """Somebody else's browser, with a tab: it has no cookies of others'."""
    context = browser.new_context()
    context.set_default_timeout(chromium.PATIENCE_MS)
    context.new_page()
    return context


@pytest.fixture
def context(window: BrowserContext) -> Iterator[BrowserContext]:
    """A browser that has no cookies yet."""
    # What the last page still had under way (its icon, say) brings no cookie any more.
    window.pages[0].goto("about:blank")
    window.clear_cookies()
    yield window
    for other in window.pages[1:]:
        other.close()


@pytest.fixture
def tab(context: BrowserContext, sites: Sites) -> Tab:
    """A tab on shop.test."""
    return Tab(context.pages[0], sites.url("shop.test"))


def cookies(context: BrowserContext, url: str) -> dict[str, str]:
    """What the browser would send to *url*."""
    return {cookie["name"]: cookie["value"] for cookie in context.cookies(url)}


def expires(context: BrowserContext) -> float:
    """When the browser will drop its one cookie, in Unix seconds; -1: when it is closed."""
    (cookie,) = context.cookies()
    return cookie["expires"]


# The life of a session


@pytest.fixture(params=["asgi", "wsgi"])
def shop(
    request: pytest.FixtureRequest, sites: Sites, manager: AsyncSessionManager, backends: Backends, clock: FakeClock
) -> Iterator[str]:
    """The URL of a shop, over TLS under uvicorn, or plainly under waitress."""
    if request.param == "asgi":
        sites["shop.test"] = Shop().asgi(manager)
        yield sites.url("shop.test")
    else:
        plain = SessionManager(backends.server("ministack").store(clock), clock=clock, cookie=Cookie(secure=False))
        with on_waitress(Shop().wsgi(plain)) as url:
            yield url.replace("127.0.0.1", "localhost")


def test_a_login_gives_a_new_token_that_scripts_do_not_see_and_a_logout_ends_it(
    shop: str, context: BrowserContext, browser: Browser
) -> None:
    thief = Tab(person(browser).pages[0], shop)
    tab = Tab(context.pages[0], shop)
    tab.open()
    assert context.cookies() == []  # nothing to remember yet
    tab.add("apple")
    (guest,) = context.cookies()

    tab.log_in()
    assert (tab.user, tab.cart) == ("ann", "apple")
    (cookie,) = context.cookies()
    assert cookie["value"] != guest["value"]
    assert (cookie["name"], cookie["path"]) == ("session", "/")
    assert (
        cookie["domain"] == shop.split("/")[2].split(":", maxsplit=1)[0]
    )  # this host alone: a domain's begins with a dot
    assert cookie["secure"] is shop.startswith("https")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert abs(cookie["expires"] - time.time() - DAY.total_seconds()) < 60
    assert tab.page.evaluate("document.cookie") == ""

    assert _with_token(thief, guest["value"]) == ("guest", "")
    assert _with_token(thief, cookie["value"]) == ("ann", "apple")
    tab.open()
    tab.log_out()
    assert (tab.user, tab.cart) == ("guest", "")
    assert context.cookies() == []
    assert _with_token(thief, cookie["value"]) == ("guest", "")


def _with_token(thief: Tab, token: str) -> tuple[str, str]:
    """What somebody sees who has got hold of a token."""
    thief.page.context.add_cookies([{"name": "session", "value": token, "url": thief.url}])
    thief.open()
    return thief.user, thief.cart


def test_a_logout_while_another_tab_submits_stands(
    sites: Sites, manager: AsyncSessionManager, context: BrowserContext, tab: Tab, backends: Backends
) -> None:
    shop = Shop()
    sites["shop.test"] = shop.asgi(manager)
    tab.log_in()
    token = cookies(context, tab.url)["session"]
    other = Tab(context.new_page(), tab.url)
    other.open()
    with other.page.expect_navigation():
        other.begin_adding("pear")
        shop.held.wait_for(1)
        tab.log_out()
        shop.held.release()
    assert (other.user, other.cart) == ("guest", "")
    tab.open()
    assert (tab.user, tab.cart) == ("guest", "")
    assert context.cookies() == []
    assert backends.loop.run(manager.store.find(manager._policy.key(token))) is None


def test_what_two_tabs_submit_at_once_is_both_kept(
    sites: Sites, manager: AsyncSessionManager, context: BrowserContext, tab: Tab
) -> None:
    shop = Shop()
    sites["shop.test"] = shop.asgi(manager)
    tab.log_in()
    other = Tab(context.new_page(), tab.url)
    other.open()
    with other.page.expect_navigation(), tab.page.expect_navigation():
        tab.begin_adding("apple")
        other.begin_adding("pear")
        shop.held.wait_for(2)
        shop.held.release()
    tab.open()
    assert (tab.user, tab.cart) == ("ann", "apple, pear")


def test_a_session_lives_while_it_is_used_whatever_the_browser_thinks_the_time_is(
    sites: Sites, client: AsyncWireClient, context: BrowserContext, tab: Tab
) -> None:
    # By the browser's clock, all that the server says is long over.
    clock = FakeClock(datetime(2001, 9, 9, tzinfo=UTC))
    store = AsyncDynamoStore(client, TABLE, clock=clock)
    sites["shop.test"] = Shop().asgi(AsyncSessionManager(store, idle_timeout=20 * MINUTE, clock=clock))
    tab.log_in()
    token, until = cookies(context, tab.url)["session"], expires(context)
    for _ in range(3):
        assert abs(until - time.time() - 20 * 60) < 60
        clock.advance(15 * MINUTE)
        tab.open()
        assert tab.user == "ann"
        assert cookies(context, tab.url)["session"] == token
        assert expires(context) > until
        until = expires(context)
    clock.advance(21 * MINUTE)
    tab.open()
    assert tab.user == "guest"


def test_a_browser_drops_the_cookie_when_the_session_expires(
    sites: Sites, store: AsyncDynamoStore, clock: FakeClock, context: BrowserContext, tab: Tab
) -> None:
    # The server's clock stands still, and so the session does not expire there.
    sites["shop.test"] = Shop().asgi(AsyncSessionManager(store, lifetime=timedelta(seconds=1), clock=clock))
    begun = time.time()
    tab.log_in()
    while context.cookies():
        assert time.time() < begun + 10
    assert time.time() > begun + 0.9
    tab.open()
    assert tab.user == "guest"


def test_a_browser_keeps_a_cookie_for_400_days_at_most(
    sites: Sites, store: AsyncDynamoStore, clock: FakeClock, context: BrowserContext, tab: Tab
) -> None:
    sites["shop.test"] = Shop().asgi(AsyncSessionManager(store, lifetime=500 * DAY, clock=clock))
    tab.log_in()
    assert abs(expires(context) - time.time() - (400 * DAY).total_seconds()) < 60


def test_what_outlives_the_browser_is_what_was_asked_for(
    sites: Sites,
    store: AsyncDynamoStore,
    clock: FakeClock,
    playwright: Playwright,
    tmp_path: Path,
) -> None:
    cases = {
        "a.shop.test": (True, "", True),
        "b.shop.test": (False, "", False),
        "c.shop.test": (False, "yes", True),
        "d.shop.test": (True, "no", False),
    }
    for host, (persist, _, _) in cases.items():
        sites[host] = Shop().asgi(AsyncSessionManager(store, clock=clock, cookie=Cookie(persist=persist)))
    context = chromium.launch_with_profile(playwright, sites.key, str(tmp_path))
    (page,) = context.pages
    for host, (_, remember, _) in cases.items():
        tab = Tab(page, sites.url(host))
        tab.log_in(remember)
        assert tab.user == "ann"
        tab.open("/visit")  # a change does not undo what was said at login
    context.close()
    context = chromium.launch_with_profile(playwright, sites.key, str(tmp_path))
    (page,) = context.pages
    for host, (persist, remember, stays) in cases.items():
        tab = Tab(page, sites.url(host))
        tab.open()
        assert tab.user == ("ann" if stays else "guest"), f"persist={persist}, remember={remember!r}"
    context.close()


# What the browser keeps of a page


def test_the_back_button_shows_no_page_of_a_user_who_has_logged_out(
    sites: Sites, manager: AsyncSessionManager, tab: Tab
) -> None:
    sites["shop.test"] = Shop().asgi(manager)
    assert _seen_by_going_back(tab) == "guest"


def test_the_back_button_shows_the_page_as_it_was_if_that_did_not_forbid_it(
    sites: Sites, manager: AsyncSessionManager, tab: Tab
) -> None:
    # Vary: Cookie does not help: it is the page, as it was left, that is shown, and not its reply.
    sites["shop.test"] = Shop(cache_control=None).asgi(manager)
    # A browser that is short of time or memory may let go of it.
    assert any(_seen_by_going_back(tab) == "ann" for _ in range(3))


def _seen_by_going_back(tab: Tab) -> str:
    """The user's name on a page from before the logout."""
    tab.log_in()
    tab.open("/account")
    assert tab.user == "ann"
    tab.log_out()
    assert tab.user == "guest"
    tab.page.go_back(wait_until="commit")  # nothing is loaded where the page was kept
    assert tab.page.url.endswith("/account")
    return tab.user


# Outages


def test_an_outage_is_no_logout(
    sites: Sites, backends: Backends, clock: FakeClock, context: BrowserContext, tab: Tab
) -> None:
    url = backends.server("ministack").url
    assert url is not None
    with Line(backends.loop, int(url.rpartition(":")[2])) as line, connected(backends, line.url) as client:
        store = AsyncDynamoStore(client, TABLE, clock=clock)
        sites["shop.test"] = Shop().asgi(AsyncSessionManager(store, clock=clock))
        tab.log_in()
        before = context.cookies()
        line.cut()
        response = tab.open()
        assert response.status == 503
        assert "Please try again soon" in tab.page.inner_text("body")
        assert tab.open("/about").status == 200  # it does not look
        assert context.cookies() == before
        line.mend()
        tab.open()
        tab.add("apple")
        line.cut()
        tab.submit("logout")
        assert "Please try again soon" in tab.page.inner_text("body")
        assert context.cookies() == before
        line.mend()
        tab.open()
        assert (tab.user, tab.cart) == ("ann", "apple")


# Other sites


@pytest.mark.parametrize(
    ("same_site", "posted", "followed"),
    [("Lax", "guest", "ann"), ("Strict", "guest", "guest"), ("None", "ann", "ann")],
)
def test_what_another_site_can_do_in_a_users_name(
    same_site: SameSite, posted: str, followed: str, sites: Sites, store: AsyncDynamoStore, clock: FakeClock, tab: Tab
) -> None:
    sites["shop.test"] = Shop().asgi(AsyncSessionManager(store, clock=clock, cookie=Cookie(same_site=same_site)))
    tab.log_in()
    _post_from_evil(tab, sites, "/buy")
    assert tab.user == posted
    _come_from_evil(tab, sites, "/")
    assert tab.user == followed
    # An iframe in another site has a session only if its cookie is partitioned.
    sites["evil.test"] = page(f'<iframe src="{tab.url}"></iframe>')
    tab.page.goto(sites.url("evil.test"))
    assert tab.frame.inner_text("#user") == "guest"
    tab.open()
    assert (tab.user, tab.cart) == ("ann", "bought" if posted == "ann" else "")


@pytest.mark.parametrize(("same_site", "by"), [("Lax", "a post"), ("Strict", "a link")])
def test_another_site_can_end_a_session_where_guests_have_one_too(
    same_site: SameSite, by: str, sites: Sites, store: AsyncDynamoStore, clock: FakeClock, tab: Tab
) -> None:
    # The request has no cookie, as a guest's, and what it puts begins a session: that one's cookie replaces the user's.
    sites["shop.test"] = Shop().asgi(AsyncSessionManager(store, clock=clock, cookie=Cookie(same_site=same_site)))
    tab.log_in()
    if by == "a post":
        _post_from_evil(tab, sites, "/add")
    else:
        _come_from_evil(tab, sites, "/visit")
    tab.open()
    assert tab.user == "guest"


def _post_from_evil(tab: Tab, sites: Sites, path: str) -> None:
    """Have the user click on another site's button, which posts to the shop."""
    action = sites.url("shop.test", path)
    _click(tab, sites, f'<form method=post action="{action}"><input name=item value=worm><button>Win!</button></form>')


def _come_from_evil(tab: Tab, sites: Sites, path: str) -> None:
    """Have the user follow another site's link to the shop."""
    _click(tab, sites, f'<a href="{sites.url("shop.test", path)}">Look!</a>')


def _click(tab: Tab, sites: Sites, html: str) -> None:
    sites["evil.test"] = page(html)
    tab.page.goto(sites.url("evil.test"))
    with tab.page.expect_navigation():
        tab.page.click("a, button")


def test_an_iframe_has_a_session_for_each_site_that_it_is_in_if_the_cookie_is_partitioned(
    sites: Sites, store: AsyncDynamoStore, clock: FakeClock, context: BrowserContext, tab: Tab
) -> None:
    cookie = Cookie(name="__Host-session", same_site="None", partitioned=True)
    sites["shop.test"] = Shop().asgi(AsyncSessionManager(store, clock=clock, cookie=cookie))
    for host in ("one.test", "two.test"):
        sites[host] = page(f'<iframe src="{sites.url("shop.test")}"></iframe>')
    tab.page.goto(sites.url("one.test"))
    tab.frame.click("#login button")
    expect(tab.frame.locator("#user")).to_have_text("ann")
    tab.page.goto(sites.url("two.test"))
    expect(tab.frame.locator("#user")).to_have_text("guest")
    tab.page.goto(sites.url("one.test"))
    expect(tab.frame.locator("#user")).to_have_text("ann")
    tab.frame.click("#logout button")
    expect(tab.frame.locator("#user")).to_have_text("guest")
    assert context.cookies() == []


# Other cookies by the same name


def test_cookies_by_the_same_name_that_hold_no_token_do_not_matter(
    sites: Sites, manager: AsyncSessionManager, context: BrowserContext, tab: Tab
) -> None:
    # Older ones, and one with a longer path, are sent first.
    junk = [
        "session=; Path=/account",
        'session="; Domain=shop.test; Path=/account',
        f"session={'x' * 4000}; Domain=shop.test",
    ]
    sites["shop.test"] = page("", junk)
    tab.open()
    assert len(context.cookies()) == 3
    sites["shop.test"] = Shop().asgi(manager)
    tab.log_in()
    tab.open("/account")
    assert tab.user == "ann"
    tab.log_out()
    tab.open("/account")
    assert tab.user == "guest"
    assert len(context.cookies()) == 3


@pytest.mark.parametrize(("name", "user"), [("session", "mallory"), ("__Host-session", "ann")])
def test_a_subdomain_can_shadow_a_session_unless_its_name_is_a_hosts(
    name: str, user: str, sites: Sites, store: AsyncDynamoStore, clock: FakeClock, backends: Backends, tab: Tab
) -> None:
    manager = AsyncSessionManager(store, clock=clock, cookie=Cookie(name=name))
    sites["shop.test"] = Shop().asgi(manager)
    attackers = backends.loop.run(manager.update(None, lambda s: s.put_string("user", "mallory")))
    tab.log_in()
    # Of two cookies by one name, the one with the longer path is sent first.
    sites["blog.shop.test"] = page("", [f"{name}={attackers.token}; Domain=shop.test; Path=/account; Secure"])
    tab.page.goto(sites.url("blog.shop.test"))
    tab.open("/account")
    assert tab.user == user
    tab.open()
    assert tab.user == "ann"


@pytest.mark.parametrize(
    ("space", "plainly"),
    [("\xa0", False), ("\x85", True), ("\xe2\x80\x80", False)],
    ids=["U+00A0, by a subdomain", "U+0085, over plain HTTP", "U+2000, by a subdomain"],
)
def test_a_name_that_begins_with_odd_white_space_is_not_a_hosts(
    space: str, plainly: bool, sites: Sites, store: AsyncDynamoStore, clock: FakeClock, backends: Backends, tab: Tab
) -> None:
    # Browsers take spaces and tabs off a name, and nothing else. So this has no prefix, and any host may set it.
    manager = AsyncSessionManager(store, clock=clock, cookie=Cookie(name="__Host-session"))
    attackers = backends.loop.run(manager.update(None, lambda s: s.put_string("user", "mallory")))
    planted = f"{space}__Host-session={attackers.token}"
    if plainly:
        with on_uvicorn(page("", [f"{planted}; Path=/"])) as url:
            tab.page.goto(url.replace("127.0.0.1", "shop.test"))
    else:
        sites["blog.shop.test"] = page("", [f"{planted}; Domain=shop.test; Path=/; Secure"])
        tab.page.goto(sites.url("blog.shop.test"))
    shop, sent = Shop().asgi(manager), list[bytes]()

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        assert isinstance(headers, Iterable)
        sent[:] = [value for name, value in headers if name == b"cookie"]
        await shop(scope, receive, send)

    sites["shop.test"] = noted
    tab.open()
    # As it was set, to the byte.
    assert sent == [planted.encode("latin-1")]
    assert tab.user == "guest"
    tab.log_in()
    assert tab.user == "ann"
    assert sent[0].startswith(planted.encode("latin-1") + b"; __Host-session=")
    tab.log_out()
    assert tab.user == "guest"


@pytest.mark.parametrize(
    ("name", "planted", "user"), [("session", 1, "ann"), ("session", 4, "guest"), ("__Host-session", 4, "ann")]
)
def test_a_subdomain_can_keep_a_user_from_logging_in_unless_the_name_is_a_hosts(
    name: str, planted: int, user: str, sites: Sites, store: AsyncDynamoStore, clock: FakeClock, tab: Tab
) -> None:
    # The one with the longest path is sent first, and of two with one path the older one. Four are tried.
    paths = ["/", "/a", "/a/b", "/a/b/c"][:planted]
    sites["blog.shop.test"] = page(
        "", [f"{name}={str(n) * 43}; Domain=shop.test; Path={path}; Secure" for n, path in enumerate(paths)]
    )
    tab.page.goto(sites.url("blog.shop.test"))
    sites["shop.test"] = Shop().asgi(AsyncSessionManager(store, clock=clock, cookie=Cookie(name=name)))
    tab.log_in()
    tab.open("/a/b/c")
    assert tab.user == user


def test_a_user_can_log_in_after_the_cookie_was_given_a_domain_or_another_path(
    sites: Sites, store: AsyncDynamoStore, clock: FakeClock, context: BrowserContext, tab: Tab
) -> None:
    for cookies, cookie in enumerate((Cookie(), Cookie(domain="shop.test"), Cookie(path="/account")), 1):
        sites["shop.test"] = Shop().asgi(AsyncSessionManager(store, clock=clock, cookie=cookie))
        clock.advance(2 * DAY)
        tab.open("/account")
        assert tab.user == "guest"
        # The browser keeps the older ones, whose sessions have ended, and sends them, too.
        tab.submit("login")
        tab.open("/account")
        assert tab.user == "ann"
        assert len(context.cookies()) == cookies
    tab.submit("logout")
    tab.open("/account")
    assert tab.user == "guest"


# What browsers refuse


def test_without_tls_a_secure_cookie_is_for_localhost_only(
    backends: Backends, clock: FakeClock, context: BrowserContext
) -> None:
    manager = SessionManager(backends.server("ministack").store(clock), clock=clock)
    with on_waitress(Shop().wsgi(manager)) as url:
        for host, user in (("localhost", "ann"), ("shop.test", "guest")):
            tab = Tab(context.pages[0], url.replace("127.0.0.1", host))
            tab.log_in()
            assert tab.user == user


def header(name: str, value: str, settings: Settings) -> str:
    """``Set-Cookie``, whatever the settings."""
    return "".join(
        (
            f"{name}={value}; Path={settings['path']}",
            f"; Domain={settings['domain']}" if settings["domain"] else "",
            "; Secure" if settings["secure"] else "",
            "; HttpOnly" if settings["http_only"] else "",
            f"; SameSite={settings['same_site']}",
            "; Partitioned" if settings["partitioned"] else "",
        )
    )


def test_a_browser_stores_the_cookies_that_can_be_configured_and_no_others(
    sites: Sites, context: BrowserContext
) -> None:
    prefixes = ["", "__Secure-", "__Host-", "__Http-", "__Host-Http-", "__sECURE-", "__hOST-", "__hTTP-"]
    choices: dict[str, list[object]] = {
        "path": ["/", "/account"],
        "domain": [None, "shop.test"],
        "secure": [True, False],
        "http_only": [True, False],
        "same_site": ["Lax", "None"],
        "partitioned": [True, False],
    }
    combinations = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    (tab,) = context.pages
    for prefix in prefixes:
        sent = {f"{prefix}{i}": settings for i, settings in enumerate(combinations)}
        sites["shop.test"] = page("", [header(name, "value", settings) for name, settings in sent.items()])
        context.clear_cookies()
        tab.goto(sites.url("shop.test"))
        stored = {cookie["name"] for cookie in context.cookies()}
        wrong = {name: settings for name, settings in sent.items() if _accepted(name, settings) != (name in stored)}
        assert not wrong
        assert stored


def _accepted(name: str, settings: Settings) -> bool:
    try:
        cookie = Cookie(name=name, **settings)  # type: ignore[arg-type]  # of the right types, as the table above has them
    except ValueError:
        return False
    assert cookie.set("value", datetime.now(UTC), time.time_ns(), persist=False) == header(name, "value", settings)
    return True


def test_a_name_may_be_as_long_as_a_browser_lets_it_be_with_a_token(sites: Sites, context: BrowserContext) -> None:
    longest = "n" * 4053
    names = [longest, longest + "n"]
    sites["shop.test"] = page("", [f"{name}={'t' * 43}; Secure" for name in names])
    context.pages[0].goto(sites.url("shop.test"))
    assert [name for name in names if name in {cookie["name"] for cookie in context.cookies()}] == [longest]
    assert Cookie(name=longest).name == longest
    with pytest.raises(ValueError, match="a name has at most 4053"):
        Cookie(name=longest + "n")


def test_a_browser_sends_what_it_stored_whatever_the_path(sites: Sites, context: BrowserContext) -> None:
    """A path is compared with that of the URL, as the browser writes it: what it writes otherwise never matches."""
    printable = [c for c in string.printable if c.isprintable() and c != ";"]
    paths = {f"c{ord(c)}": f"/a{c}b" for c in printable}
    sites["shop.test"] = page("", [f"{name}=v; Path={path}; Secure" for name, path in paths.items()])
    (tab,) = context.pages
    tab.goto(sites.url("shop.test"))
    sites["shop.test"] = echo
    fetch = "urls => Promise.all(urls.map(url => fetch(url).then(response => response.text())))"
    as_written: list[str] = tab.evaluate(fetch, [p if p[2] not in "?#" else quote(p) for p in paths.values()])
    quoted: list[str] = tab.evaluate(fetch, [quote(path) for path in paths.values()])
    for (name, path), *sent in zip(paths.items(), as_written, quoted, strict=True):
        comes_back = any(f"{name}=v" in cookies for cookies in sent)
        if comes_back:
            assert Cookie(path=path).path == path
        else:
            with pytest.raises(ValueError, match="a path begins"):
                Cookie(path=path)


def test_a_name_may_have_all_characters_that_it_may_have(
    sites: Sites, store: AsyncDynamoStore, clock: FakeClock, context: BrowserContext, tab: Tab
) -> None:
    name = "!#$%&'*+.^_`|~-09AZaz"
    sites["shop.test"] = Shop().asgi(AsyncSessionManager(store, clock=clock, cookie=Cookie(name=name)))
    tab.log_in()
    assert tab.user == "ann"
    assert list(cookies(context, tab.url)) == [name]
