"""`deja keys create|list|rotate|revoke`: parses, then calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy.cli.shared import ConfigOption, UrlOption, read_settings, root_of, tell
from proxy.settings import ADMIN_KEY

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="API keys of a running Deja. On its own machine this works without further ado; elsewhere give --admin-key.",
)

AdminKeyOption = Annotated[
    str | None,
    typer.Option(
        "--admin-key", envvar=ADMIN_KEY, help="One of DEJA_AUTH__ADMIN_KEYS; else the key file of the data directory."
    ),
]
KeyId = Annotated[str, typer.Argument(help="As `deja keys list` shows it: key_…")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="For people: who or what will use it.")],
    tenant: Annotated[
        str | None, typer.Option(help="Whose data it reads and writes; else a tenant of its own.")
    ] = None,
    team: Annotated[
        str | None, typer.Option(help="Whose stored answers it shares where an admin made a namespace a team's.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may be used for; more than once for several. All data otherwise.")
    ] = None,
    expires_in: Annotated[str | None, typer.Option(help="How long it is good: 90d, 24h, 15m.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Requests of every kind, hits too.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1, help="Tokens that providers count.")] = None,
    tokens_per_day: Annotated[int | None, typer.Option(min=1, help="The same, by UTC day.")] = None,
    tokens_per_month: Annotated[int | None, typer.Option(min=1, help="The same, by UTC month.")] = None,
    usd_per_day: Annotated[str | None, typer.Option(help="What it may cost at list prices, by UTC day.")] = None,
    usd_per_month: Annotated[str | None, typer.Option(help="The same, by UTC month.")] = None,
    admin_key: AdminKeyOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a key, and show it this once."""
    from proxy.commands import keys

    limits = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "tokens_per_day": tokens_per_day,
        "tokens_per_month": tokens_per_month,
        "usd_per_day": usd_per_day,
        "usd_per_month": usd_per_month,
    }
    wanted: dict[str, Any] = {"name": name, "tenant": tenant, "team": team, "scopes": scope}
    wanted["limits"] = {name: value for name, value in limits.items() if value is not None}

    def ask(root: str, key: str) -> str:
        if expires_in is not None:
            wanted["expires_in_s"] = keys.seconds(expires_in)
        return keys.create(root, wanted, key=key)

    administer(ask, admin_key, url, config)


@app.command("list")
def list_(admin_key: AdminKeyOption = None, url: UrlOption = None, config: ConfigOption = None) -> None:
    """Show all keys: everything but the keys themselves."""
    from proxy.commands import keys

    administer(lambda root, key: keys.listed(root, key=key), admin_key, url, config)


@app.command()
def rotate(
    key_id: KeyId,
    grace: Annotated[str | None, typer.Option(help="How long the old key stays good; a day otherwise.")] = None,
    admin_key: AdminKeyOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
) -> None:
    """Put a new key in a key's place, and show it this once. The tenant stays, and so do its data and its cache."""
    from proxy.commands import keys

    def ask(root: str, key: str) -> str:
        grace_s = None if grace is None else keys.seconds(grace)
        return keys.rotate(root, key_id, grace_s=grace_s, key=key)

    administer(ask, admin_key, url, config)


@app.command()
def revoke(key_id: KeyId, admin_key: AdminKeyOption = None, url: UrlOption = None, config: ConfigOption = None) -> None:
    """Take a key away, at once and for good."""
    from proxy.commands import keys

    administer(lambda root, key: keys.revoke(root, key_id, key=key), admin_key, url, config)


def administer(ask: Callable[[str, str], str], admin_key: str | None, url: str | None, config: Path | None) -> None:
    """Print what a running Deja says to an admin; `ask` is given its root and the admin key."""
    from proxy.commands import keys

    settings = read_settings(config=config)
    tell(lambda: ask(root_of(url, config), keys.admin_key(settings, admin_key)))
