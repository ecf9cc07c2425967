"""What requests left elsewhere, by session and by user: written before the thing itself, so that an erasure finds all of it.

    requests    ZADD [request id, session, entry id, entry key, exact key, condemned key] (JSON), by when that is gone by itself (unix ms)
    erased      SET when the user was erased (unix ms); of a session the hash that `stores.sessions` writes

A set is kept until the last thing in it is gone by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

from redis.asyncio import Redis

from proxy.core import keys, traces
from proxy.core.traces import Trace
from proxy.stores.client import translated
from proxy.stores.responses import script

ERASED_KEPT_S = 86_400
"""As in session_prelude.lua."""
PAGE = 500


class TraceStore:
    """Traces in Redis. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._mark_user = client.register_script(script("session_mark_user"))

    async def leave(self, trace: Trace, *, tenant: str, user: str | None, until_s: float) -> None:
        """Note what a request is about to leave.

        Args:
            trace: what.
            tenant: whose.
            user: who asked, None if that is not known.
            until_s: unix seconds when it is gone by itself.
        """
        await self.leave_all([trace], tenant=tenant, session=trace.session, user=user, until_s=until_s)

    async def leave_all(
        self, left: Sequence[Trace], *, tenant: str, session: str, user: str | None, until_s: float
    ) -> None:
        """Note all that one request is about to leave; `session` is "" for none, the rest as in `leave`. One round trip."""
        wire: Any = dict.fromkeys(map(traces.to_wire, left), int(until_s * 1000))
        wanted = [_of_session(tenant, session)] if session else []
        wanted += [_of_user(tenant, user)] if user is not None else []
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for key in wanted:
                    pipe.zadd(key, wire)
                    pipe.expireat(key, int(until_s) + 1, nx=True)
                    pipe.expireat(key, int(until_s) + 1, gt=True)
                await pipe.execute()

    async def of_session(self, tenant: str, session: str, *, limit: int) -> list[Trace]:
        """The first traces of a session's requests."""
        return await self._first(_of_session(tenant, session), limit)

    async def of_user(self, tenant: str, user: str, *, limit: int) -> list[Trace]:
        """The first traces of a user's requests."""
        return await self._first(_of_user(tenant, user), limit)

    async def _first(self, key: str, limit: int) -> list[Trace]:
        with translated():
            found: Any = await self._client.zrange(key, 0, limit - 1)
        return [traces.from_wire(member) for member in found]

    async def of_user_in(self, tenant: str, user: str, session: str) -> list[Trace]:
        """All traces of a user's requests in one session."""
        return [one async for one in self._all(_of_user(tenant, user)) if one.session == session]

    async def of_requests(
        self, tenant: str, request_ids: Collection[str], *, session: str | None, user: str | None
    ) -> list[Trace]:
        """The traces of some requests of a session, or of a user."""
        wanted = [_of_session(tenant, session)] if session is not None else []
        wanted += [_of_user(tenant, user)] if user is not None else []
        found = {one for key in wanted async for one in self._all(key) if one.request_id in request_ids}
        return sorted(found, key=lambda trace: trace.request_id)

    async def _all(self, key: str) -> AsyncIterator[Trace]:
        start = 0
        while True:
            with translated():
                page: Any = await self._client.zrange(key, start, start + PAGE - 1)
            for member in page:
                yield traces.from_wire(member)
            if len(page) < PAGE:
                return
            start += PAGE

    async def drop(self, tenant: str, done: Sequence[Trace], *, session: str | None, user: str | None) -> None:
        """Forget traces of a session, or of a user: what they name is gone."""
        if not done:
            return
        members = [traces.to_wire(trace) for trace in done]
        with translated():
            if session is not None:
                await self._client.zrem(_of_session(tenant, session), *members)
            if user is not None:
                await self._client.zrem(_of_user(tenant, user), *members)

    async def mark_user(self, tenant: str, user: str) -> int:
        """Let nothing be written any more of a user's requests that began before now; returns now (unix ms, Redis' clock)."""
        key = keys.user_key(keys.user_tag(tenant, user), "erased")
        with translated():
            return int(await self._mark_user(keys=[key], args=[ERASED_KEPT_S]))


def _of_session(tenant: str, session: str) -> str:
    return keys.session_key(keys.session_tag(tenant, session), "requests")


def _of_user(tenant: str, user: str) -> str:
    return keys.user_key(keys.user_tag(tenant, user), "requests")
