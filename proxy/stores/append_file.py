"""How far Redis has written its append-only file, and waiting until it is on disk.

With `appendfsync everysec` Redis answers before a write is safe from `kill -9`: while an fsync is under way it keeps what is new in its
own memory (aof.c, "postponing"), for up to two seconds on a slow disk. In 2 of 25 kills under load, writes that had been answered were
gone.

WAITAOF waits for the writes of its own connection. Offsets in the file rise, so a mark written later covers what came before it, if both
went to the same server in the same life.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from proxy.core.coordination import keys
from proxy.core.coordination.kept import FileStanding
from proxy.stores.client import translated
from proxy.stores.responses import script


class AppendFile:
    """Redis' append-only file. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: for looks, which answer at once.
        blocking: a client of its own, of one connection without a timeout: it waits.
    """

    def __init__(self, client: Redis, blocking: Redis) -> None:
        self._blocking = blocking
        self._look = client.register_script(script("append_file"))

    async def look(self) -> FileStanding:
        """How far it is now. What was answered before this was sent is either written or among what waits."""
        with translated():
            life, is_kept, written, waiting = await self._look()
        return FileStanding(life.decode(), bool(is_kept), written, waiting)

    async def sync(self, *, timeout_ms: int) -> str:
        """Wait until all that was written before is on disk; returns in which life of the server, or "" if time ran out.

        Raises:
            StoreError: also where the server keeps no such file, or is older than WAITAOF (Redis 7.2).
        """
        with translated():
            async with self._blocking.pipeline(transaction=False) as pipe:
                pipe.info("server")
                pipe.set(keys.TASK_SYNC, "1")
                pipe.execute_command("WAITAOF", 1, 0, timeout_ms)
                replies: list[Any] = await pipe.execute()
        return str(replies[0]["run_id"]) if replies[2][0] else ""

    async def aclose(self) -> None:
        """Close the connection that waits."""
        await self._blocking.aclose()
