"""Where the documentation stands, and how its sections and tables are read."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md")])


def section(page: Path, heading: str) -> str:
    """What stands below a heading, up to the next one of its rank or a higher one."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if re.fullmatch(rf"#+ {re.escape(heading)}", line))
    rank = len(lines[start]) - len(lines[start].lstrip("#"))
    below = lines[start + 1 :]
    end = next((n for n, line in enumerate(below) if re.match(rf"#{{1,{rank}}} ", line)), len(below))
    return "\n".join(below[:end])


def rows(text: str) -> list[list[str]]:
    """The body rows of all tables in a text, cell by cell."""
    found: list[list[str]] = []
    for block in re.split(r"\n(?!\|)", text):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        if len(lines) > 2 and set(lines[1]) <= set("|-: "):
            found += [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return found


def names(text: str, column: int = 0) -> list[str]:
    """The names in backticks of one column, in order."""
    return [name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[column])]
