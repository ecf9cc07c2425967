"""Every dependency has its reason in the README."""

from __future__ import annotations

import re
import tomllib

from tests.docs.pages import REPOSITORY, rows, section


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [re.match(r"[\w-]+", dependency).group() for dependency in project["dependencies"]]  # type: ignore[union-attr]
    text = section(REPOSITORY / "README.md", "Dependencies, and why each")
    assert [row[0].strip("`") for row in rows(text)] == wanted
    assert all(row[1] for row in rows(text))
    tools = (REPOSITORY / "requirements" / "dev.in").read_text().splitlines()
    assert all(f"`{tool}`" in text for tool in tools if tool and tool[0] not in "#-")
