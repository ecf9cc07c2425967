"""Reading sessions, within a deadline."""

from __future__ import annotations

from proxy.core.records import Session
from proxy.ports import Guard, SessionReader


class Sessions:
    """Recorded sessions; raises StoreUnavailableError when Redis gives no answer in time.

    Args:
        store: where they are.
        guard: bounds what Redis may cost.
        deadline_s: for one read.
    """

    def __init__(self, store: SessionReader, guard: Guard, *, deadline_s: float) -> None:
        self._store = store
        self._guard = guard
        self._deadline_s = deadline_s

    async def read(self, tenant: str, session: str, *, limit: int) -> Session | None:
        """A tenant's session, its last `limit` turns and events; None if there is none."""
        async with self._guard.within(self._deadline_s):
            return await self._store.read(tenant, session, limit=limit)
