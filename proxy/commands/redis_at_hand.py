"""The Redis that a command looks into: the configured one, a running Deja's, or one that runs as long as the command does."""

from __future__ import annotations

from contextlib import ExitStack

from proxy import console
from proxy.settings import EMBEDDED_URL, Settings
from proxy.stores.embedded import EmbeddedRedis, running_url


def redis_url(settings: Settings, stack: ExitStack) -> str:
    """URL of the Redis of these settings. A running Deja's embedded server is used as it is; else one is started, and `stack` stops it.

    Raises:
        ConfigError: the embedded server does not start.
    """
    if settings.redis.url != EMBEDDED_URL:
        return settings.redis.url
    if (url := running_url(settings.data_dir)) is not None:
        return url
    server = EmbeddedRedis(
        settings.data_dir, settings.artifacts, max_memory_bytes=settings.redis.max_memory_bytes, progress=console.say
    )
    server.start()
    stack.callback(server.stop)
    return server.url
