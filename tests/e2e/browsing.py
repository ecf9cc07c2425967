"""A real Chromium, driven as a person would: for tests of the dashboard. Skips where there is none."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str:
    """Path of an installed Chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip(
            "no Chromium is installed: `apt-get install chromium` brings one, and these tests open the dashboard in it"
        )
    return found


@contextlib.contextmanager
def browser(**options: Any) -> Iterator[BrowserContext]:
    """A browser of its own, that knows nothing yet."""
    path = chromium()
    with tempfile.TemporaryDirectory(prefix="deja-browser-") as data, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(data, executable_path=path, args=ARGUMENTS, **options)
        context.set_default_timeout(10_000)
        yield context
        context.close()


class Watched:
    """A page, and all it asked for and complained of.

    Attributes:
        page: the page.
        asked: addresses it sent requests to.
        complaints: errors and warnings, breaches of its security policy among them.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda told: self._heard(told.type, told.text))

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)
