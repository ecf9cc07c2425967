"""What all commands share: options, where a running Deja is, how it ends when something is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from proxy import console
from proxy.errors import ConfigError
from proxy.settings import CLIENT_KEY, Settings, load

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="YAML file with settings; the environment wins over it.")
]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="Where Deja runs, such as http://127.0.0.1:8080; else as the settings say.")
]
KeyOption = Annotated[
    str | None,
    typer.Option("--api-key", envvar=CLIENT_KEY, help="The key your requests carry: what is told is its own."),
]


def tell(ask: Callable[[], str | None]) -> None:
    """Print what a running Deja says, or why it says nothing; that ends with status 1."""
    from proxy.commands.asking import AskingError

    try:
        if (said := ask()) is not None:
            print(said)
    except AskingError as error:
        console.say(str(error))
        raise typer.Exit(1) from None


def root_of(url: str | None, config: Path | None) -> str:
    """Where Deja runs: as said, else where `deja serve` with these settings would listen."""
    if url is not None:
        return url
    settings = read_settings(config=config)
    return f"http://{settings.host}:{settings.port}"


def read_settings(**overrides: object) -> Settings:
    """The settings; a wrong one ends the command with status 2 and a sentence."""
    try:
        return load(os.environ, **overrides)
    except ConfigError as error:
        raise stopped(error) from None


def stopped(error: ConfigError) -> SystemExit:
    """What ends a command that cannot begin."""
    console.complain(str(error))
    return SystemExit(2)
