"""What keys and tenants have used: token buckets of requests, counters of tokens; one Lua script each."""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis

from proxy.core.access import keys
from proxy.core.access.limits import Periods
from proxy.stores.client import translated
from proxy.stores.responses import script

_MINUTE_TTL_S = 180
_DAY_TTL_S = 2 * 86_400
_MONTH_TTL_S = 40 * 86_400
_BATCH_TTL_S = 3600
"""A process that is cut off from Redis for longer than an hour may count its last batch twice."""


class LimitStore:
    """Use in Redis. Methods may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._take = client.register_script(script("rate_take"))
        self._add = client.register_script(script("tokens_add"))

    async def take(self, spender: str, *, limit: int, wanted: int) -> tuple[int, float, float]:
        """Take requests out of a bucket: how many there were, what is left, seconds until there is another. One round trip."""
        with translated():
            taken, level, wait_ms = await self._take(keys=[keys.requests(spender)], args=[limit, wanted])
        return int(taken), float(level), int(wait_ms) / 1000

    async def add_tokens(self, tenant: str, tokens: int, *, periods: Periods, batch_id: str) -> Sequence[int]:
        """Add tokens, once for each batch id, and read what was used in minute, day and month. One round trip."""
        named = [keys.tokens(tenant, name) for name in (periods.minute, periods.day, periods.month)]
        arguments = [tokens, _BATCH_TTL_S, _MINUTE_TTL_S, _DAY_TTL_S, _MONTH_TTL_S]
        with translated():
            sums = await self._add(keys=[keys.tokens_batch(tenant, batch_id), *named], args=arguments)
        return [int(each) for each in sums]
