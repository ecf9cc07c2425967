"""Waiting until what was written is on disk (WAITAOF), for many writers with one wait.

WAITAOF waits for the writes of its own connection. Offsets in the append-only file rise, so a mark written later than a task covers it, if
both went to the same server in the same life: a server that lost power between the two would confirm a file that no longer holds the task.
Scripts of queues with `durability: fsync` therefore reply which life they ran in (`run_id`), and so does `confirm`.
"""

from __future__ import annotations

from redis.asyncio import Redis

from proxy.core.coordination import keys
from proxy.stores.client import translated


class DiskSync:
    """Confirms writes.

    Args:
        blocking: a client of its own, of one connection without a timeout: it waits.
    """

    def __init__(self, blocking: Redis) -> None:
        self._blocking = blocking

    async def confirm(self, *, timeout_ms: int) -> str:
        """Wait until all that was written before is on disk; returns in which life of the server, or "" if time ran out.

        Raises:
            StoreError: also where the server keeps no append-only file, or is older than WAITAOF (Redis 7.2).
        """
        with translated():
            async with self._blocking.pipeline(transaction=False) as pipe:
                pipe.info("server")
                pipe.set(keys.TASK_SYNC, "1")
                pipe.execute_command("WAITAOF", 1, 0, timeout_ms)
                info, _, (local, _) = await pipe.execute()
        return str(info["run_id"]) if local else ""

    async def aclose(self) -> None:
        """Close the connection."""
        await self._blocking.aclose()
