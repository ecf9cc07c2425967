"""The documentation of settings is true: every one there is, with its default, and none there is not."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from proxy.settings import ADMIN_KEY, CLIENT_KEY, environment_names, load
from tests.docs.pages import PAGES, REFERENCE, REPOSITORY, rows, section


def shown(default: Any) -> str:
    """A default as the reference writes it."""
    match default:
        case None:
            return "unset"
        case ():
            return "empty"
        case bool():
            return str(default).lower()
        case StrEnum():
            return default.value
        case _:
            return str(default)


def test_every_setting_is_documented_with_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no deja.yaml of the developer's
    defaults = {name: shown(field.default) for name, field in environment_names().items()}
    defaults["DEJA_DATA_DIR"] = str(load({"XDG_DATA_HOME": "$XDG_DATA_HOME"}).data_dir)
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows((REFERENCE / "settings.md").read_text())}
    assert documented == defaults


def test_the_readmes_settings_have_their_real_defaults() -> None:
    documented = {
        row[0].strip("`"): row[1].strip("`")
        for row in rows(section(REPOSITORY / "README.md", "Settings in short"))
        if "," not in row[0]
    }
    fields = environment_names()
    assert documented == {name: shown(fields[name].default) for name in documented}


def test_the_example_file_holds_every_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = REPOSITORY / "deja.example.yaml"
    given = load({"XDG_DATA_HOME": "/x"}, config=example)
    assert given == load({"XDG_DATA_HOME": "/x"}).model_copy(update={"config": given.config})
    text = example.read_text()
    for name in environment_names():
        leaf = name.removeprefix("DEJA_").lower().rpartition("__")[2]
        if leaf != "config":
            assert re.search(rf"^ *(?:# )?{leaf}:", text, flags=re.MULTILINE), f"{leaf} is not in {example.name}"


def test_every_setting_a_page_names_exists() -> None:
    for page in [*PAGES, REPOSITORY / "compose.yaml", REPOSITORY / "Dockerfile"]:
        mentioned = re.findall(r"\bDEJA_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8"))
        assert set(mentioned) <= {*environment_names(), CLIENT_KEY, ADMIN_KEY}, page.name
