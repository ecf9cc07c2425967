"""The `deja` command line: parses, then calls services. Heavy imports happen inside the commands, so that `--help` is instant."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from proxy import console
from proxy.cli import entries, keys
from proxy.cli.shared import ConfigOption, KeyOption, UrlOption, read_settings, root_of, stopped, tell
from proxy.cli.usage import usage
from proxy.core.feedback import Vote
from proxy.errors import ConfigError
from proxy.settings import EMBEDDED_URL, Settings

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # they print local variables, secrets among them
    help="Deja: an OpenAI-compatible proxy that answers from Redis when a prompt means what an earlier one meant.\n\n"
    "Start it with `deja serve`, then point any OpenAI client at http://127.0.0.1:8080/v1. Settings are environment "
    "variables (DEJA_CACHE__TTL_S=600) or the same names in deja.yaml; docs/reference/settings.md lists them.",
)

app.add_typer(keys.app, name="keys")
app.add_typer(entries.app, name="cache")

RequestId = Annotated[str, typer.Argument(help="From the header X-Deja-Request-Id.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (DEJA_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, 0 for a free one (DEJA_PORT).")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve (DEJA_WORKERS).")] = None,
    config: ConfigOption = None,
) -> None:
    """Serve the proxy. Sets up what is missing (model, embedded Redis) on the first run.

    With OPENAI_API_KEY or DEJA_UPSTREAM__BASE_URL set it forwards to that provider, else to a simulated one.
    """
    settings = read_settings(host=host, port=port, workers=workers, config=config)
    _serve(settings)


@app.command()
def prepare(config: ConfigOption = None) -> None:
    """Set up what `serve` needs, and serve nothing: the embedding model and the embedded Redis."""
    settings = read_settings(config=config)
    _prepare(settings)
    console.say("ready: model and Redis are in place")


@app.command()
def doctor(config: ConfigOption = None) -> None:
    """Check every part (Redis, index, model, upstream) and say how to mend what is not well. Exits 1 if something fails."""
    from proxy import checkup

    settings = read_settings(config=config)
    raise typer.Exit(1 if checkup.run(settings) else 0)


@app.command()
def explain(
    request_id: RequestId, url: UrlOption = None, api_key: KeyOption = None, config: ConfigOption = None
) -> None:
    """Say why a running Deja decided as it did on one request: the nearest stored questions, scores, gates, changed fields."""
    from proxy.commands import cache

    tell(lambda: cache.explain(root_of(url, config), request_id, api_key=api_key))


@app.command()
def feedback(
    request_id: RequestId,
    verdict: Annotated[Vote, typer.Argument(help="Whether the stored answer was right.")],
    url: UrlOption = None,
    api_key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Tell a running Deja whether a hit was right. Wrong evicts the entry and keeps the two wordings apart."""
    from proxy.commands import cache

    tell(lambda: cache.feedback(root_of(url, config), request_id, verdict, api_key=api_key))


@app.command()
def what_if(
    max_wrong_hit_rate: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="The error budget: wrong semantic hits among semantic hits.")
    ],
    namespace: Annotated[str | None, typer.Option(help="Only decisions of this namespace.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Decisions to replay, at most.")] = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Replay recorded decisions of a running Deja under another error budget: hits that would come, hits that would go."""
    from proxy.commands import cache

    tell(
        lambda: cache.what_if(
            root_of(url, config), max_wrong_hit_rate, namespace=namespace, limit=limit, api_key=api_key
        )
    )


@app.command()
def budget(
    namespace: Annotated[str | None, typer.Option(help="Of which namespace; else the one without a name.")] = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Tell how a running Deja keeps its error budget: level in force, audited hits, wrong-hit rate and its interval."""
    from proxy.commands import budget as told

    tell(lambda: told.budget(root_of(url, config), namespace=namespace, api_key=api_key))


app.command()(usage)


@app.command()
def replay(
    session: Annotated[str, typer.Argument(help="As X-Deja-Session named it.")],
    fork_at: Annotated[
        int | None, typer.Option(min=1, help="Begin a new session with this many of its steps, and replay nothing.")
    ] = None,
    as_: Annotated[str | None, typer.Option("--as", help="With --fork-at: name of the new session.")] = None,
    serve: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Answer an agent's calls on this port from the recording, until stopped."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs: the steps with their answers.")] = False,
    url: UrlOption = None,
    api_key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Replay a session of a running Deja from its cache, never from a provider; or fork it. Exits 1 if an answer is gone or another."""
    from proxy.commands import replay as replaying
    from proxy.commands.asking import AskingError

    root = root_of(url, config)
    if fork_at is not None:
        tell(lambda: replaying.fork(root, session, at=fork_at, name=as_, api_key=api_key))
        return
    try:
        if serve is not None:
            from proxy.commands import rerun

            is_same = rerun.serve(root, session, port=serve, api_key=api_key)
        else:
            is_same = replaying.run(root, session, api_key=api_key, as_json=json)
    except AskingError as error:
        console.say(str(error))
        raise typer.Exit(1) from None
    except OSError as error:
        console.say(f"port {serve} cannot be listened on: {error.strerror}")
        raise typer.Exit(1) from None
    raise typer.Exit(0 if is_same else 1)


@app.command()
def mcp(
    session: Annotated[str | None, typer.Option(help="Session that the tools' requests name (X-Deja-Session).")] = None,
    agent: Annotated[str | None, typer.Option(help="Agent that the tools' requests name (X-Deja-Agent).")] = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Offer a running Deja's tools over MCP on standard input and output, for clients that start their servers themselves."""
    from proxy.commands import mcp as tools

    root = root_of(url, config)
    tell(lambda: tools.serve(root, api_key=api_key, session=session, agent=agent))


@app.command()
def tune(
    file: Annotated[
        Path | None, typer.Argument(help="Labelled pairs: .jsonl with a, b, same and kind, or .csv with such columns.")
    ] = None,
    journal: Annotated[bool, typer.Option("--journal", help="Use what Deja recorded of its own decisions.")] = False,
    namespace: Annotated[str | None, typer.Option(help="With --journal: only decisions of this namespace.")] = None,
    max_wrong_hit_rate: Annotated[
        float | None, typer.Option(min=0.001, max=0.5, help="The error budget; else DEJA_CACHE__MAX_WRONG_HIT_RATE.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Write a calibration of these pairs for DEJA_CACHE__CALIBRATION.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("deja-tune"),
    api_key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Find the level that keeps an error budget on your own labelled pairs, and show what it finds, misses and gets wrong."""
    if (file is None) is not journal:
        console.say("name a file of labelled pairs, or say --journal; one of the two")
        raise typer.Exit(2)
    settings = read_settings(config=config)
    budget = max_wrong_hit_rate or settings.cache.max_wrong_hit_rate
    if file is not None:
        from proxy.commands import tune as labelled

        _worked(lambda: labelled.run(settings, file, budget=budget, out=out, calibrate=calibrate))
        return
    from proxy.commands import tune_journal

    _worked(lambda: tune_journal.run(settings, namespace=namespace, api_key=api_key, budget=budget, out=out))


@app.command("eval")
def evaluate(
    data_dir: Annotated[Path, typer.Argument(help="Folder of labelled data, NAME.jsonl or NAME.jsonl.gz.")],
    sets: Annotated[str, typer.Option(help="Names of files, comma between; all where it is left out.")] = "",
    most: Annotated[int, typer.Option(min=1, help="Pairs of a set, at most.")] = 4000,
    out: Annotated[Path, typer.Option(help="Folder for tables and pictures.")] = Path("deja-eval"),
    parts: Annotated[
        bool, typer.Option("--parts", help="Tell, too, what cosine, verifier and gates are worth.")
    ] = False,
    through_proxy: Annotated[str | None, typer.Option(help="URL of a running Deja to send the same pairs to.")] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=256, help="Pairs under way at once, with --through-proxy.")
    ] = 8,
    paid: Annotated[bool, typer.Option("--paid", help="Send them though it forwards to a real provider.")] = False,
    model: Annotated[str, typer.Option(help="Model to name in requests, with --through-proxy.")] = "gpt-4o-mini",
    api_key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Measure what the shipped configuration finds and accepts on a folder of labelled data, beside cosine: the published tables."""
    from proxy.commands import evaluate as evaluation
    from proxy.tuning.through_proxy import Target

    settings = read_settings(config=config)
    target = None if through_proxy is None else Target(through_proxy, model, api_key, concurrency)
    only = [name.strip() for name in sets.split(",") if name.strip()]
    _worked(
        lambda: evaluation.run(
            settings, data_dir, out=out, only=only, most=most, target=target, is_paid=paid, by_part=parts
        )
    )


def _worked(work: Callable[[], None]) -> None:
    """Do it; what cannot be used stops it with a sentence, and Ctrl-C without one."""
    try:
        work()
    except ConfigError as error:
        console.say(str(error))
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _prepare(settings: Settings) -> None:
    """Fetch and build what is not there yet; milliseconds when all is."""
    from embeddings import prepare as embedding
    from embeddings.errors import EmbedderError
    from proxy.stores.embedded import ensure_binaries

    try:
        if settings.redis.url == EMBEDDED_URL:
            ensure_binaries(settings.artifacts, console.say)
        if embedding.is_local(settings.embedder.source):
            embedding.prepare(
                settings.embedder.source, settings.artifacts, settings.embedder.precision, console.progress
            )
    except ConfigError as error:
        raise stopped(error) from None
    except EmbedderError as error:
        raise stopped(ConfigError(str(error))) from None


def _serve(settings: Settings) -> None:
    from proxy import telemetry

    telemetry.configure_logging(settings.log_level, form=settings.log_format, has_requests=settings.log_requests)
    _prepare(settings)
    # uvicorn raises the signal that stopped it once more when it is done; ours turns it into an orderly exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        try:
            redis_url = _running_redis(settings, stack)
            has_served = (_serve_many if settings.workers > 1 else _serve_alone)(settings, redis_url)
        except ConfigError as error:
            raise stopped(error) from None
        except KeyboardInterrupt:
            return
        if not has_served:
            raise SystemExit(1)


def _serve_alone(settings: Settings, redis_url: str) -> bool:
    """Serve in this process until told to stop; False if that did not even begin."""
    import uvicorn

    from proxy.app import create_app
    from proxy.server import Server, options

    app = create_app(settings, redis_url=redis_url, environ=os.environ)
    config = uvicorn.Config(app, host=settings.host, port=settings.port, **options(settings))
    server = Server(config, lambda port: console.show_banner(settings, port=port))
    server.run()
    return server.started


def _serve_many(settings: Settings, redis_url: str) -> bool:
    """The same with workers; each imports the application for itself, this process never does."""
    from proxy.workers import Supervisor, bind

    with bind(settings.host, settings.port) as listening:
        port = int(listening.getsockname()[1])
        _hand_down(settings, redis_url, port=port)
        supervisor = Supervisor(
            listening, settings.workers, settings.drain_s, lambda: console.show_banner(settings, port=port)
        )
        return supervisor.run()


def _running_redis(settings: Settings, stack: ExitStack) -> str:
    """URL of a running Redis; the embedded one is started, and stopped on the way out."""
    if settings.redis.url != EMBEDDED_URL:
        return settings.redis.url
    from proxy.stores.embedded import EmbeddedRedis

    server = EmbeddedRedis(
        settings.data_dir, settings.artifacts, max_memory_bytes=settings.redis.max_memory_bytes, progress=console.say
    )
    server.start()
    stack.callback(server.stop)
    return server.url


def _hand_down(settings: Settings, redis_url: str, *, port: int) -> None:
    """Workers read their settings from the environment anew: pass on what the command line and this process decided."""
    os.environ["DEJA_REDIS__URL"] = redis_url
    os.environ["DEJA_DATA_DIR"] = str(settings.data_dir)
    os.environ["DEJA_HOST"] = settings.host
    os.environ["DEJA_PORT"] = str(port)
    if settings.config is not None:
        os.environ["DEJA_CONFIG"] = str(settings.config)


def main() -> None:
    """Entry point of the `deja` command."""
    app()


if __name__ == "__main__":
    main()
