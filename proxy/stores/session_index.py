"""A tenant's lists of sessions: all of them, those of a user, those of an agent, the one written to last first.

    active          ZADD session, by when it was last written to (unix ms)
    expiry          ZADD session, by when its time is over (unix ms); each write takes out a few that are past it
    ttl             HSET session -> seconds it is kept, where it has its own
    user:<digest>   ZADD session, as in active
    agent:<name>    ZADD session, as in active
    facets:<name>   SADD the users and agents under which a session is listed

They have no TTL: what is listed nowhere could not be erased. A session is listed before it is written to, and taken off after it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from redis.asyncio import Redis

from proxy.core import keys
from proxy.stores.client import translated
from proxy.stores.responses import script

ALL = "active"


def facets(tenant: str, *, user: str | None = None, agent: str | None = None) -> list[str]:
    """The lists a session is on besides that of all."""
    found = [] if user is None else [f"user:{keys.user_tag(tenant, user)}"]
    return found if agent is None else [*found, f"agent:{agent}"]


class Forks(Protocol):
    """Makes forks."""

    async def fork(self, tenant: str, session: str, *, at: int, name: str, now_s: float) -> bool:
        """Begin a session with the first steps of another; False if there is one of that name."""


class SessionIndex:
    """The lists in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        ttl_s: seconds a session is kept unless it says otherwise.
    """

    def __init__(self, client: Redis, *, ttl_s: int) -> None:
        self._client = client
        self._ttl_s = ttl_s
        prelude = script("session_index_prelude")
        self.add_script = client.register_script(prelude + script("session_index_add"))
        self._list = client.register_script(prelude + script("session_index_list"))
        self._remove = client.register_script(prelude + script("session_index_remove"))

    def added(self, tenant: str, session: str, listed: Iterable[str], *, own_ttl_s: str = "") -> list[Any]:
        """The call of `add_script` that lists a session, for a pipeline: number of keys, keys, arguments."""
        return [1, keys.session_index(tenant), session, self._ttl_s, own_ttl_s, *listed]

    async def add(
        self,
        tenant: str,
        session: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        own_ttl_s: int | None = None,
        has_default_ttl: bool = False,
    ) -> None:
        """List a session as just written to.

        Args:
            tenant: whose.
            session: which.
            user: who spoke in it, or whose it is; None for nobody new.
            agent: likewise.
            own_ttl_s: seconds it is kept from now on, None for what is in force.
            has_default_ttl: it goes back to the default.
        """
        ttl = "0" if has_default_ttl else "" if own_ttl_s is None else str(own_ttl_s)
        call = self.added(tenant, session, facets(tenant, user=user, agent=agent), own_ttl_s=ttl)
        with translated():
            await self.add_script(keys=call[1:2], args=call[2:])

    async def copy(self, tenant: str, session: str, fork: str) -> None:
        """List a fork wherever its parent is listed."""
        with translated():
            found: Any = await self._client.smembers(keys.session_index(tenant, f"facets:{session}"))
            call = self.added(tenant, fork, sorted(member.decode() for member in found))
            await self.add_script(keys=call[1:2], args=call[2:])

    async def page(
        self, tenant: str, listed: Sequence[str], *, limit: int, after: tuple[str, str]
    ) -> list[tuple[str, str]]:
        """(session, unix ms) of those on all of some lists, the one written to last first.

        Args:
            tenant: whose.
            listed: `[ALL]`, or some of `facets`; the moments are those of the first.
            limit: how many at most.
            after: (unix ms, session) of the last one the caller has; ("+inf", "") for the beginning.
        """
        with translated():
            found = await self._list(keys=[keys.session_index(tenant)], args=[limit, *after, *listed])
        return [(found[at].decode(), found[at + 1].decode()) for at in range(0, len(found), 2)]

    async def refresh(self, tenant: str, session: str, *, until_ms: int) -> None:
        """A session was used: it is listed for as long as it is there, until then (unix ms)."""
        with translated():
            expiry: Any = {session: until_ms}
            await self._client.zadd(keys.session_index(tenant, "expiry"), expiry, xx=True, gt=True)

    async def of_user(self, tenant: str, user: str, *, limit: int) -> list[str]:
        """Some of a user's sessions."""
        (listed,) = facets(tenant, user=user)
        with translated():
            found: Any = await self._client.zrange(keys.session_index(tenant, listed), 0, limit - 1)
        return [session.decode() for session in found]

    async def leave(self, tenant: str, session: str, *, user: str) -> None:
        """Take a session off a user's list: nothing in it is of that user any more."""
        (listed,) = facets(tenant, user=user)
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.srem(keys.session_index(tenant, f"facets:{session}"), listed)
                pipe.zrem(keys.session_index(tenant, listed), session)
                await pipe.execute()

    async def remove(self, tenant: str, sessions: Sequence[str], *, before_ms: int) -> int:
        """Take sessions off all lists, unless they were written to since; returns how many were."""
        if not sessions:
            return 0
        with translated():
            return int(await self._remove(keys=[keys.session_index(tenant)], args=[before_ms, *sessions]))


class ListedForks:
    """Forks that are listed wherever their parents are, before they are made.

    Args:
        forks: makes them.
        index: lists them.
    """

    def __init__(self, forks: Forks, index: SessionIndex) -> None:
        self._forks = forks
        self._index = index

    async def fork(self, tenant: str, session: str, *, at: int, name: str, now_s: float) -> bool:
        """Begin a session with the first steps of another; False if there is one of that name."""
        await self._index.copy(tenant, session, name)
        return await self._forks.fork(tenant, session, at=at, name=name, now_s=now_s)
