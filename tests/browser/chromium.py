"""Debian's Chromium, driven by Playwright, which downloads none of its own; it takes ``*.test`` for this machine."""

from __future__ import annotations

import os
import shutil

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright

__all__ = ["PATIENCE_MS", "executable", "launch", "launch_with_profile"]

PATIENCE_MS = 10_000
"""For what must come: whoever waits for it in vain fails."""

FLAGS = (
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.test 127.0.0.1",
    # As Debian's does anyhow, and Safari and Firefox: no cookies for an iframe of another site, unless they are partitioned.
    "--test-third-party-cookie-phaseout",
)
UNLIKE_A_USERS = ["--disable-back-forward-cache"]
"""What Playwright says that changes what the back button shows."""


def executable() -> str:
    """Where Chromium is: ``CHROMIUM``, or on the path. Without one the test is skipped, but fails in CI."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if found is not None:
        return found
    reason = "chromium is not installed: apt-get install chromium, or name one: CHROMIUM=/path/to/chromium"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def launch(playwright: Playwright, key: str) -> Browser:
    """A browser that takes a certificate with the public key *key* (its SHA-256) for a good one."""
    return playwright.chromium.launch(
        executable_path=executable(), args=_flags(key), ignore_default_args=UNLIKE_A_USERS
    )


def launch_with_profile(playwright: Playwright, key: str, profile: str) -> BrowserContext:
    """A browser that keeps what it is told, in the folder *profile*."""
    context = playwright.chromium.launch_persistent_context(profile, executable_path=executable(), args=_flags(key))
    context.set_default_timeout(PATIENCE_MS)
    return context


def _flags(key: str) -> list[str]:
    # Not `ignore_https_errors`, with which Chromium caches nothing.
    return [*FLAGS, f"--ignore-certificate-errors-spki-list={key}"]
