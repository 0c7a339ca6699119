"""``python -m tools.screenshots FOLDER``: pictures of the built site, in Chromium, into docs/pictures.

Nothing but the folder is served, and a page that asks for anything else fails. Chromium is the one in ``CHROMIUM`` or on the path.
``--pages`` takes other pages, in all four combinations of screen and colours, into ``--out``: to look at.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, Literal, TypeAlias

from playwright.sync_api import Browser, Request, sync_playwright

ROOT: Final = Path(__file__).parents[1]
PICTURES: Final = ROOT / "docs" / "pictures"
Scheme: TypeAlias = Literal["dark", "light"]
SCREENS: Final = {"desktop": (1280, 800), "phone": (390, 780)}
# The pictures of the README: name, page, screen and colours.
SHOTS: Final[tuple[tuple[str, str, str, Scheme], ...]] = (
    ("desktop-light", "index.html", "desktop", "light"),
    ("phone-dark", "guides/flask.html", "phone", "dark"),
)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve *folder* on this machine, and yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def take(browser: Browser, site: str, page: str, screen: str, scheme: Scheme, file: Path) -> list[str]:  # noqa: PLR0917
    """Take a picture of *page*; return what is wrong: requests to elsewhere, failures, and a page wider than the screen."""
    width, height = SCREENS[screen]
    wrong: list[str] = []

    def look(request: Request) -> None:
        if not request.url.startswith((site, "data:")):
            wrong.append(f"{page} asks for {request.url}")

    with browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme) as context:
        tab = context.new_page()
        tab.on("request", look)
        tab.on("requestfailed", lambda request: wrong.append(f"{page} did not get {request.url}"))
        tab.on("pageerror", lambda error: wrong.append(f"{page}: {error.message}"))
        tab.goto(f"{site}{page}", wait_until="load")
        needed = int(tab.evaluate("document.documentElement.scrollWidth"))
        if needed > width:
            wrong.append(f"{page} is {needed} pixels wide on a {screen} of {width}")
        tab.screenshot(path=file)
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures, and return 1 if a page asks for something from elsewhere or is too wide."""
    parser = argparse.ArgumentParser(prog="python -m tools.screenshots", description="Take pictures of the built site.")
    parser.add_argument("folder", type=Path, help="where the HTML is")
    parser.add_argument("--pages", nargs="*", help="other pages to look at, such as guides/web.html")
    parser.add_argument("--out", type=Path, default=PICTURES, help="where to put the pictures")
    options = parser.parse_args(arguments)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        print("chromium is not installed: apt-get install chromium, or set CHROMIUM=/path/to/chromium", file=sys.stderr)
        return 1
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    pages: list[str] | None = options.pages
    schemes: tuple[Scheme, ...] = ("light", "dark")
    shots = SHOTS
    if pages is not None:
        shots = tuple(
            (f"{page.removesuffix('.html').replace('/', '-')}-{screen}-{scheme}", page, screen, scheme)
            for page in pages
            for screen in SCREENS
            for scheme in schemes
        )
    with served(options.folder) as site, sync_playwright() as playwright:
        # As root, Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        wrong = [
            line
            for name, page, screen, scheme in shots
            for line in take(browser, site, page, screen, scheme, out / f"{name}.png")
        ]
        browser.close()
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
