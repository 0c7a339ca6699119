"""`Tab`: what a user does on the shop's pages, and sees."""

from __future__ import annotations

from playwright.sync_api import Frame, Page, Response

__all__ = ["Tab"]


class Tab:
    """A tab of the browser, on the shop at *url* (its first page)."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def open(self, path: str = "/") -> Response:
        """Go to a page, as by the address bar."""
        response = self.page.goto(self.url.removesuffix("/") + path)
        assert response is not None
        return response

    def log_in(self, remember: str = "") -> None:
        self.open()
        if remember:
            self.page.fill("#login [name=remember]", remember)
        self.submit("login")

    def log_out(self) -> None:
        self.submit("logout")

    def add(self, item: str) -> None:
        self.page.fill("#add [name=item]", item)
        self.submit("add")

    def submit(self, form: str) -> None:
        """Submit a form, and wait for the page that comes."""
        with self.page.expect_navigation():
            self.page.click(f"#{form} button")

    def begin_adding(self, item: str) -> None:
        """Submit an item, with a request that the shop holds up once it has read the session; wait for nothing."""
        self.page.fill("#add [name=item]", item)
        self.page.fill("#add [name=hold]", "yes")
        self.page.evaluate("document.querySelector('#add').requestSubmit()")

    @property
    def user(self) -> str:
        return self.page.inner_text("#user")

    @property
    def cart(self) -> str:
        return self.page.inner_text("#cart")

    @property
    def frame(self) -> Frame:
        """The page in the page."""
        _, frame = self.page.frames
        return frame
