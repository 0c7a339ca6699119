"""What a user does: pages with six parallel parts, buttons, logins, and now and then an attack; in one tab or in three."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .audit import Audit
from .browser import Browser
from .handlers import code_of
from .world import World

__all__ = ["VICTIM", "visit"]

VICTIM = "victim"
"""The user whose password the attack is after, and whose code nobody in this load knows."""

_EPISODES = 4
_ACTIONS = 3
_PARTS = 6


async def visit(world: World, tabs: int, *, messages: bool) -> None:
    """Visit the shop with a new browser."""
    browser = Browser(world, Audit(world.shelf, world.counts, messages=messages))
    user = _User(browser)
    await user.page()
    for _ in range(_EPISODES):
        await asyncio.gather(*(user.use_tab(number) for number in range(tabs)))
        await user.settle()
        # All is quiet, and this page shows the messages that are left.
        await user.page()
        await user.settle()
        browser.audit.check(browser.token)


class _User:
    """A user in front of a browser."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._random = browser.random
        self._parts: set[asyncio.Task[object]] = set()
        self._items = 0

    async def page(self, path: str = "/home") -> dict[str, object]:
        """Load a page and its parts; now and then the user goes on before all of these are there. Return its body."""
        browser, random = self._browser, self._random
        reply = await browser.get(path)
        if not reply.good:
            # The user reloads.
            await asyncio.sleep(1)
            reply = await browser.get(path)
        parts = [asyncio.create_task(self._part(number, random.uniform(0, 0.03))) for number in range(_PARTS)]
        self._parts.update(parts)
        if random.random() < 0.7:
            await asyncio.wait(parts)
        self._parts = {task for task in self._parts if not task.done() or task.exception() is not None}
        return dict(reply.answer.body)

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        await asyncio.gather(*self._parts)
        self._parts.clear()

    async def use_tab(self, number: int) -> None:
        """Do a few things in a tab; logins and logouts are the first one's."""
        browser, random = self._browser, self._random
        await asyncio.sleep(random.uniform(0, 0.5))
        await self.page()
        if number == 0 and random.random() < 0.3:
            await browser.think()
            await self._log_in_or_out()
        for _ in range(_ACTIONS):
            await browser.think()
            (action,) = random.choices(_ACTIONS_OF, _WEIGHTS)
            await action(self)

    async def _part(self, number: int, after: float) -> object:
        await asyncio.sleep(after)
        return await self._browser.get("/part", n=str(number))

    async def _log_in_or_out(self) -> None:
        browser = self._browser
        if browser.audit.is_logged_in():
            browser.audit.logs_out()
            await browser.press("/logout")
        else:
            await browser.press("/login", user="me")
        await self.page()

    async def add(self) -> None:
        """Add something to the cart or to the wishlist."""
        self._items += 1
        path = self._random.choice(("/cart", "/cart", "/wishlist"))
        await self._press_items(path, f"item {self._items}")
        await self.page()

    async def _press_items(self, path: str, item: str) -> None:
        # Of a double click, both are the same item.
        await self._browser.press(path, item=item)

    async def like(self) -> None:
        """Press the button that counts."""
        await self._browser.press("/like")

    async def order(self) -> None:
        """Take a step of the order."""
        body = await self.page("/wizard")
        await self._browser.think()
        await self._browser.press("/next", step=str(body.get("step", 0)))
        await self.page()

    async def pay(self) -> None:
        """Send a form that can be sent once; of three shops, each spends the nonce in a way of its own."""
        body = await self.page("/form")
        await self._browser.think()
        path = self._random.choice(("/pay", "/pay", "/pay-atomic", "/pay-at-once"))
        await self._browser.press(path, nonce=str(body.get("nonce", "")))
        await self.page()

    async def reset(self) -> None:
        """Set one's own password anew, honestly."""
        browser = self._browser
        await browser.press("/reset-begin", user="me")
        await browser.think()
        await browser.press("/reset-code", code=code_of("me"))
        await browser.think()
        await browser.press("/reset-password")
        await self.page()

    async def attack(self) -> None:
        """Name the victim while one's own code is checked, and set the password of whoever is named then."""
        browser, random = self._browser, self._random
        browser.world.counts["attacks"] += 1
        await browser.post("/reset-begin", user="attacker")
        code = asyncio.create_task(browser.post("/reset-code", code=code_of("attacker")))
        await asyncio.sleep(random.uniform(0, 0.06))
        await browser.post("/reset-begin", user=VICTIM)
        await code
        await browser.post("/reset-password")


_ACTIONS_OF: tuple[Callable[[_User], Awaitable[None]], ...] = (
    _User.add,
    _User.like,
    _User.order,
    _User.pay,
    _User.reset,
    _User.attack,
)
_WEIGHTS = (40, 15, 15, 18, 4, 8)
