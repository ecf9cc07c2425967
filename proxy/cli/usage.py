"""`deja usage`: parses, then calls."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.cli.keys import AdminKeyOption
from proxy.cli.shared import ConfigOption, KeyOption, UrlOption, read_settings, root_of, tell


def usage(
    since: Annotated[str | None, typer.Option("--from", help="First day, such as 2026-11-01; else 30 days.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day, included; else today.")] = None,
    group_by: Annotated[
        str, typer.Option(help="day, model, namespace (with --admin: tenant), or several with commas.")
    ] = "day",
    admin: Annotated[bool, typer.Option("--admin", help="Of all tenants.")] = False,
    admin_key: AdminKeyOption = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Tell what requests cost at a running Deja, and what the cache saved, at list prices."""
    from proxy.commands import keys
    from proxy.commands import usage as ledger

    def ask() -> str:
        key = keys.admin_key(read_settings(config=config), admin_key) if admin else api_key
        root = root_of(url, config)
        return ledger.usage(root, first=since, last=until, group_by=group_by, is_admin=admin, api_key=key)

    tell(ask)
