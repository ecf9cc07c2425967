"""Policies of namespaces: one hash of all, and a number that changes with each change."""

from __future__ import annotations

from typing import Any

import orjson
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.policies import Policy
from proxy.stores.client import translated
from proxy.stores.responses import script

MAX_POLICIES = 10_000
"""Of all tenants: every process holds them all, some 500 bytes each."""


class PolicyStore:
    """Policies in Redis. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._put = client.register_script(script("policy_put"))

    async def version(self) -> str:
        """What changes with every change. One round trip."""
        with translated():
            found: Any = await self._client.get(keys.POLICIES_VERSION)
        return (found or b"0").decode()

    async def all(self) -> tuple[str, dict[tuple[str, str], Policy]]:
        """The version, and every policy by tenant and namespace; one that cannot be read is left out. One round trip."""
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.get(keys.POLICIES_VERSION)
                pipe.hgetall(keys.POLICIES)
                version, found = await pipe.execute()
        policies: dict[tuple[str, str], Policy] = {}
        for field, raw in found.items():
            tenant, _, namespace = field.decode().partition(":")
            try:
                policies[tenant, namespace] = Policy.from_json(orjson.loads(raw))
            except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
                continue
        return (version or b"0").decode(), policies

    async def put(self, tenant: str, namespace: str, policy: Policy) -> bool:
        """Decide for a namespace; False where there are as many policies as there may be. One round trip, atomic."""
        return await self._write(tenant, namespace, orjson.dumps(policy.as_json())) >= 0

    async def remove(self, tenant: str, namespace: str) -> bool:
        """Decide nothing any more; whether there was a policy. One round trip, atomic."""
        return await self._write(tenant, namespace, b"") > 0

    async def _write(self, tenant: str, namespace: str, value: bytes) -> int:
        at = [keys.POLICIES, keys.POLICIES_VERSION]
        with translated():
            return int(await self._put(keys=at, args=[f"{tenant}:{namespace}", value, MAX_POLICIES]))
