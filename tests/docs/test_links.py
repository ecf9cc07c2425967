"""Links in the documentation resolve, every page can be found, and those that code names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, REPOSITORY

PAGE_IDS = [str(page.relative_to(REPOSITORY)) for page in PAGES]


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown viewer makes of a page's headings."""
    without_code = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", without_code, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_links_resolve(page: Path) -> None:
    without_code = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(linked), f"{target} has no such heading"


def test_every_page_can_be_found() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    }
    assert set(DOCS.rglob("*.md")) <= linked


def test_every_page_that_code_names_exists() -> None:
    sources = [path for folder in ("proxy", "embeddings", "loadtest") for path in (REPOSITORY / folder).rglob("*.py")]
    for path in sources:
        for name in re.findall(r"docs/[\w/.-]+\.md", path.read_text(encoding="utf-8")):
            assert (REPOSITORY / name).is_file(), f"{path.name} names {name}"
