"""LiteLLM's proxy, installed into an environment of its own and run beside Deja: one worker, the same Redis, the same provider.

Its settings are those its documentation gives for each kind of cache, with what only costs it time turned off (logging, telemetry,
fetching its price list). Its semantic cache asks an endpoint for embeddings: ours, of the same model.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from loadtest.load import embeddings_server
from loadtest.load.hosts import REPOSITORY, Running, free_port, process

VERSION = "1.106.2"
"""The one that the goals were written against."""
PACKAGES = (f"litellm[proxy]=={VERSION}", "redisvl")
VENV = REPOSITORY / ".deja" / "litellm"
MODEL = "load"
THRESHOLD = 0.8
"""Least cosine similarity of a semantic hit, from its documentation's example."""
BYPASS: dict[str, Any] = {"cache": {"no-cache": True, "no-store": True}}
"""Body fields that keep its cache out of a request."""

CACHES = ("none", "exact", "semantic")


def install(venv: Path = VENV) -> Path:
    """Install LiteLLM unless it is there; returns its command. Takes about a minute and 700 MB."""
    command, stamp = venv / "bin" / "litellm", venv / ".installed"
    wanted = " ".join(PACKAGES)
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"load: installing {wanted} into {venv} (about a minute, once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)  # noqa: S603
        pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, *PACKAGES], check=True)  # noqa: S603
        stamp.write_text(wanted)
    return command


@contextlib.contextmanager
def litellm(
    command: Path, cache: str, *, provider: Running, redis: Running, embeddings: Running | None = None
) -> Iterator[Running]:
    """Run LiteLLM's proxy.

    Args:
        command: what `install` gave.
        cache: one of `CACHES`.
        provider: to which misses go.
        redis: for its cache.
        embeddings: for its semantic cache.
    """
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(settings(cache, provider=provider, redis=redis, embeddings=embeddings), file)
        file.flush()
        environment = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_TELEMETRY": "False",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # checking one would cost it time
        }
        arguments = ["--config", file.name, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        with process(
            "litellm" if cache == "exact" else f"litellm, {cache}",
            [str(command), *arguments, "--telemetry", "False"],
            port=port,
            ready="/health/liveliness",
            environment=environment,
        ) as running:
            yield running


def settings(cache: str, *, provider: Running, redis: Running, embeddings: Running | None) -> dict[str, Any]:
    """Its configuration file."""
    models = [_model(MODEL, "openai/simulated-small", provider)]
    litellm_settings: dict[str, Any] = {"telemetry": False, "set_verbose": False, "request_timeout": 60}
    if cache != "none":
        kept: dict[str, Any] = {"type": "redis", "host": "127.0.0.1", "port": redis.port, "ttl": 3600}
        if cache == "semantic":
            assert embeddings is not None, "a semantic cache needs embeddings"
            models.append(_model(embeddings_server.MODEL, f"openai/{embeddings_server.MODEL}", embeddings))
            kept = {
                "type": "redis-semantic",
                "redis_url": redis.url,
                "similarity_threshold": THRESHOLD,
                "redis_semantic_cache_embedding_model": embeddings_server.MODEL,
                "ttl": 3600,
            }
        litellm_settings |= {"cache": True, "cache_params": kept}
    return {"model_list": models, "litellm_settings": litellm_settings}


def _model(name: str, model: str, at: Running) -> dict[str, Any]:
    return {
        "model_name": name,
        "litellm_params": {"model": model, "api_base": f"http://127.0.0.1:{at.port}/v1", "api_key": "sk-load"},
    }
