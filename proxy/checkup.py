"""`deja doctor`: opens each part as `serve` would, examines it, and prints what is so and how to mend it."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack

from embeddings.base import Embedder
from embeddings.errors import EmbedderError
from proxy import app, model_loading
from proxy.commands.redis_at_hand import redis_url
from proxy.core import keys
from proxy.errors import ConfigError, StoreError, UpstreamError
from proxy.ports import Upstream, UpstreamRequest
from proxy.services.doctor import Check, Status, examine_redis, worst
from proxy.settings import Settings
from proxy.stores.client import Commands, open_client, redact
from proxy.stores.sealing import CLEAR, SEALED
from proxy.stores.vectors import VectorIndex

DEADLINE_MS = 2000.0
"""A doctor has time: a slow part is found slow, not absent."""
_MARKS = {Status.OK: "ok  ", Status.WARN: "warn", Status.FAIL: "FAIL"}


def run(settings: Settings) -> bool:
    """Examine everything and print it; True if something fails."""
    checks: list[Check] = []
    with ExitStack() as stack:
        embedder, found = examine_model(settings)
        checks += found
        try:
            url = redis_url(settings, stack)
        except ConfigError as error:
            checks.append(Check("redis", Status.FAIL, "The embedded Redis does not start.", str(error)))
        else:
            checks += asyncio.run(_examine_stores(url, embedder))
        checks.append(examine_encryption(settings))
        checks += asyncio.run(_examine_upstreams(settings))
    for check in checks:
        print(f"{_MARKS[check.status]}  {check.name}: {check.what}")
        if check.mend:
            print(f"      -> {check.mend}")
    return worst(checks) is Status.FAIL


def examine_model(settings: Settings) -> tuple[Embedder | None, list[Check]]:
    """Open the embedder and embed one text."""
    try:
        embedder = model_loading.open_embedder(settings)
        embedder.embed(["Does the model answer?"])
    except EmbedderError as error:
        mend = "Run `deja prepare`, or correct DEJA_EMBEDDER__SOURCE; until then only exact repeats hit."
        return None, [Check("model", Status.FAIL, str(error), mend)]
    return embedder, [
        Check("model", Status.OK, f"{embedder.fingerprint}, {embedder.dim} dims, reads {embedder.max_tokens} tokens.")
    ]


def examine_encryption(settings: Settings) -> Check:
    """What lies in Redis encrypted, and what cannot."""
    if not settings.cache.encryption_keys:
        return Check(
            "encryption", Status.OK, "Off: texts lie in Redis as they are (DEJA_CACHE__ENCRYPTION_KEYS turns it on)."
        )
    return Check("encryption", Status.OK, f"On. Encrypted: {SEALED}. In the clear, whoever can read Redis: {CLEAR}.")


async def _examine_stores(url: str, embedder: Embedder | None) -> list[Check]:
    client = open_client(url, deadline_ms=DEADLINE_MS)
    try:
        checks = await examine_redis(Commands(client), redact(url))
        if worst(checks) is not Status.FAIL and embedder is not None:
            index = VectorIndex(client, fingerprint=embedder.fingerprint, dim=embedder.dim)
            checks += await examine_index(index, Commands(client))
        return checks
    finally:
        await client.aclose()


async def examine_index(index: VectorIndex, redis: Commands) -> list[Check]:
    """Is this embedder's index there and complete, and are there entries of another embedder?"""
    try:
        names = [name.decode() if isinstance(name, bytes) else name for name in await redis.execute_command("FT._LIST")]
        foreign = [name for name in names if name.startswith(f"{keys.PREFIX}index:") and name != index.name]
        older = [name for name in foreign if index.is_of_this_embedder(name)]
        others = [name for name in foreign if name not in older]
        if index.name not in names:
            checks = [Check("index", Status.OK, f"{index.name} is not there yet; `deja serve` creates it.")]
        elif await index.is_complete():
            checks = [Check("index", Status.OK, f"{index.name} is there and complete.")]
        else:
            checks = [
                Check(
                    "index", Status.WARN, f"{index.name} is still being filled.", "Wait; until then hits may be missed."
                )
            ]
    except StoreError as error:
        return [
            Check(
                "index",
                Status.FAIL,
                str(error),
                "Use a Redis with the search module: Redis 8, or Redis Stack 7.2 or later.",
            )
        ]
    if older:
        mend = f"`deja serve` drops them once its own is whole; by hand: FT.DROPINDEX {older[0]} (without DD, which deletes the answers)."
        checks.append(Check("index", Status.WARN, f"{len(older)} index(es) of an earlier definition are there.", mend))
    if others:
        mend = f"Their entries expire by themselves; to free the memory now: FT.DROPINDEX {others[0]} DD."
        checks.append(Check("index", Status.WARN, f"{len(others)} index(es) of other embedders are there.", mend))
    return checks


async def _examine_upstreams(settings: Settings) -> list[Check]:
    try:
        registry = app.open_upstreams(settings, os.environ)
    except ConfigError as error:
        return [Check("upstream", Status.FAIL, "The configured upstreams cannot be used.", str(error))]
    try:
        checks = (
            [Check("upstream", Status.OK, f"model_list names {len(registry.models())} models.")]
            if registry.models()
            else []
        )
        if settings.upstream.base_url is None:
            mend = "Set OPENAI_API_KEY or DEJA_UPSTREAM__BASE_URL for real answers."
            return [*checks, Check("upstream", Status.WARN, "No provider is configured: answers are simulated.", mend)]
        assert registry.default is not None
        return [*checks, await examine_upstream(registry.default)]
    finally:
        await registry.aclose()


async def examine_upstream(upstream: Upstream) -> Check:
    """Does the default provider answer, and does it take the key?"""
    try:
        response = await upstream.send(UpstreamRequest("GET", "/models", b"", (), b""))
    except UpstreamError as error:
        return Check("upstream", Status.FAIL, str(error), "Correct DEJA_UPSTREAM__BASE_URL, or start the provider.")
    await response.aclose()
    if response.status in (401, 403):
        what = f"{upstream.identity} answers {response.status} to /models."
        return Check("upstream", Status.WARN, what, "Set DEJA_UPSTREAM__API_KEY, unless each caller brings a key.")
    if response.status >= 500:
        return Check(
            "upstream",
            Status.FAIL,
            f"{upstream.identity} answers {response.status} to /models.",
            "Look at the provider.",
        )
    return Check("upstream", Status.OK, f"{upstream.identity} answers.")
