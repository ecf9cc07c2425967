"""`deja cache list|show|delete|invalidate|warm|export|import|policy|migration`: parses, then calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxy.cli.keys import AdminKeyOption, administer
from proxy.cli.shared import ConfigOption, KeyOption, UrlOption, root_of, tell

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="What a running Deja has stored for the key given: listed, removed, brought in, taken out.",
)

NamespaceOption = Annotated[str | None, typer.Option(help="Of this namespace; '' is the one without a name.")]
ModelOption = Annotated[str | None, typer.Option(help="Asked of this model.")]
FamilyOption = Annotated[str | None, typer.Option(help="Of this kind of route: chat, embeddings, …")]
TagOption = Annotated[list[str] | None, typer.Option(help="With this tag; more than once: with all of them.")]
EntryId = Annotated[str, typer.Argument(help="ent_… or emb_…, from `deja cache list` or the header Cache-Status.")]


@app.command("list")
def list_(
    namespace: NamespaceOption = None,
    model: ModelOption = None,
    family: FamilyOption = None,
    tag: TagOption = None,
    text: Annotated[str | None, typer.Option(help="With this in the question.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many at most.")] = 50,
    api_key: KeyOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
) -> None:
    """Show entries, those that expire last first."""
    from proxy.commands import entries

    wanted = {"namespace": namespace, "model": model, "family": family, "tag": tag, "q": text}
    tell(lambda: entries.listed(root_of(url, config), wanted, limit=limit, api_key=api_key))


@app.command()
def show(entry_id: EntryId, api_key: KeyOption = None, url: UrlOption = None, config: ConfigOption = None) -> None:
    """Show one entry with its answer, as JSON."""
    from proxy.commands import entries

    tell(lambda: entries.shown(root_of(url, config), entry_id, api_key=api_key))


@app.command()
def delete(entry_id: EntryId, api_key: KeyOption = None, url: UrlOption = None, config: ConfigOption = None) -> None:
    """Remove one entry."""
    from proxy.commands import entries

    tell(lambda: entries.deleted(root_of(url, config), entry_id, api_key=api_key))


@app.command()
def invalidate(
    namespace: NamespaceOption = None,
    model: ModelOption = None,
    family: FamilyOption = None,
    tag: TagOption = None,
    text: Annotated[str | None, typer.Option(help="With this in the question.")] = None,
    prompt_version: Annotated[str | None, typer.Option(help="With the tag prompt:VERSION.")] = None,
    document_version: Annotated[str | None, typer.Option(help="With the tag doc:NAME@VERSION.")] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="All of them; needed where nothing else is said.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; else they are counted.")] = False,
    api_key: KeyOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
) -> None:
    """Count the entries under some conditions; with --yes remove them, too."""
    from proxy.commands import entries

    conditions = {
        "namespace": namespace,
        "model": model,
        "family": family,
        "tags": tag,
        "text": text,
        "prompt_version": prompt_version,
        "document_version": document_version,
        "everything": everything or None,
    }
    tell(lambda: entries.invalidated(root_of(url, config), conditions, is_sure=yes, api_key=api_key))


@app.command()
def warm(
    file: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="Lines with `messages` or `request`, and `answer`."),
    ] = None,
    session: Annotated[str | None, typer.Option(help="Take the requests recorded in this session.")] = None,
    model: Annotated[str | None, typer.Option(help="Of lines that name none.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Store into this namespace.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Give them this tag; more than once for several.")] = None,
    ttl: Annotated[int | None, typer.Option(min=1, help="Seconds they stay fresh.")] = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
) -> None:
    """Store answers from a file or a recorded session, as if the provider had just given them."""
    from proxy.commands import entry_files

    headers = {
        "X-Deja-Namespace": namespace,
        "X-Deja-Tags": ",".join(tag) if tag else None,
        "X-Deja-TTL": None if ttl is None else str(ttl),
    }
    tell(
        lambda: entry_files.warm(
            root_of(url, config), file, session=session, model=model, headers=headers, api_key=api_key
        )
    )


@app.command("export")
def export_(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to.")],
    namespace: NamespaceOption = None,
    model: ModelOption = None,
    family: FamilyOption = None,
    tag: TagOption = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
) -> None:
    """Write entries to a file, a line each."""
    from proxy.commands import entry_files

    wanted = {"namespace": namespace, "model": model, "family": family, "tag": tag}
    tell(lambda: entry_files.exported(root_of(url, config), file, wanted, api_key=api_key))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="That `deja cache export` wrote.")],
    api_key: KeyOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
) -> None:
    """Put exported entries back; what is there already stays."""
    from proxy.commands import entry_files

    tell(lambda: entry_files.imported(root_of(url, config), file, api_key=api_key))


@app.command()
def policy(
    namespace: Annotated[
        str | None, typer.Argument(help="Decide for this one; '-' is the one without a name. Left out: show all.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="The most that requests may do: semantic, exact, read-only, …")
    ] = None,
    ttl: Annotated[int | None, typer.Option(min=1, help="Seconds that answers stay fresh, at most.")] = None,
    max_wrong_hit_rate: Annotated[
        float | None, typer.Option(help="Wrong semantic hits among semantic hits, at most.")
    ] = None,
    family: Annotated[
        list[str] | None, typer.Option(help="Cache this kind of route; more than once for several.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Cache this model's answers; more than once for several.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Decide nothing any more.")] = False,
    api_key: KeyOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
) -> None:
    """Decide for all requests of a namespace, from the next one on; show what is decided."""
    from proxy.commands import policies

    decided = {
        "mode": mode,
        "ttl_s": ttl,
        "max_wrong_hit_rate": max_wrong_hit_rate,
        "families": family or None,
        "models": model or None,
    }
    root = root_of(url, config)
    tell(lambda: policies.decide(root, namespace, decided, is_removal=remove, api_key=api_key))


@app.command()
def migration(admin_key: AdminKeyOption = None, url: UrlOption = None, config: ConfigOption = None) -> None:
    """Tell how far entries are embedded anew since the embedder was changed. For admins, as `deja keys`."""
    from proxy.commands import migration as told

    administer(lambda root, key: told.status(root, key=key), admin_key, url, config)
