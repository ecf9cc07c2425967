"""A real browser for each file of tests, and a page of it for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext

from tests.e2e.browsing import Watched, browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[BrowserContext]:
    with browser() as context:
        yield context


@pytest.fixture
def watched(chromium: BrowserContext) -> Iterator[Watched]:
    watched = Watched(chromium)
    yield watched
    watched.page.close()
