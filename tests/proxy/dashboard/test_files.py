"""What lies in proxy/dashboard: ours is short and runs nothing that a page should not; what is not ours is as it was released."""

from __future__ import annotations

import fnmatch
import hashlib
import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = REPOSITORY / "proxy" / "dashboard"
VENDOR = FOLDER / "vendor"
OURS = sorted(
    path for path in FOLDER.rglob("*") if path.suffix in {".js", ".css", ".html"} and VENDOR not in path.parents
)
MAX_LINES = 250


def test_every_vendored_file_is_as_it_was_released() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.MULTILINE)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    del found["README.md"]
    assert found == dict(rows)


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_a_file_is_short_makes_no_markup_of_texts_and_names_no_other_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|javascript:", text)
        == []
    )
    assert re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", text) == []


def test_the_page_has_no_inline_script_style_or_handler() -> None:
    page = (FOLDER / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", page) == []


def test_every_module_that_is_imported_is_there() -> None:
    for path in OURS:
        for name in re.findall(r'^import .*from "([^"]+)";$', path.read_text(), re.MULTILINE):
            assert (path.parent / name).resolve().is_file(), f"{path.name}: {name}"


def test_every_file_is_part_of_the_package() -> None:
    package_data = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "proxy"
    ]
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.suffix not in {".py", ".pyc"}:
            name = path.relative_to(REPOSITORY / "proxy").as_posix()
            assert any(
                fnmatch.fnmatch(name, pattern) and name.count("/") == pattern.count("/") for pattern in package_data
            ), name
