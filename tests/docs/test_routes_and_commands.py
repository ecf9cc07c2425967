"""The documentation of what can be called is true: routes, the command line, the verbs of make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer
import typer.main
from pydantic import SecretStr

from proxy.__main__ import app as command_line
from proxy.app import create_app
from proxy.settings import Settings
from tests.docs.pages import PAGES, REFERENCE, REPOSITORY, names, section


async def test_every_route_is_documented(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"data_dir": tmp_path, "embedder": {"source": "hashing"}, "secret": SecretStr("s")}
    )
    app = create_app(settings, redis_url="redis://127.0.0.1:1", environ={})
    async with app.router.lifespan_context(app):  # some routes may be known only then
        plain = {getattr(route, "path", "") for route in app.router.routes} - {""}
    served = {path.replace(":path}", "}") for path in plain | set(app.openapi()["paths"])}
    assert set(names((REFERENCE / "routes.md").read_text(), column=1)) - {"limit"} == served


def commands_of(group: Any, above: str = "") -> dict[str, Any]:
    """Every command of a group by its name, those of groups below it too."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        whole = f"{above}{name}"
        found |= commands_of(command, f"{whole} ") if hasattr(command, "commands") else {whole: command}
    return found


def test_every_command_and_option_is_documented() -> None:
    page = REFERENCE / "cli.md"
    commands = commands_of(typer.main.get_command(command_line))
    documented = re.findall(r"^## deja ([\w -]+)$", page.read_text(), flags=re.MULTILINE)
    assert documented == list(commands)
    for name, command in commands.items():
        options = [option for parameter in command.params for option in parameter.opts]
        assert names(section(page, f"deja {name}"), column=0) == options


def test_every_make_verb_a_page_names_exists() -> None:
    verbs = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), flags=re.MULTILINE)) <= verbs, page.name
