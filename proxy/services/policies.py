"""Policies of namespaces, at hand in every process: asking costs a dictionary look-up.

A process asks four times a second whether anything changed. A poll and not a message: one that gets lost would leave an old policy in
force. While Redis is away, what is known holds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Protocol

from proxy.core.decision import Scope
from proxy.core.models import Directives
from proxy.core.policies import Policy
from proxy.errors import RequestError, StoreError
from proxy.ports import Guard, Keeping

POLL_S = 0.25
"""How late another process follows a change; costs Redis four GETs a second and process."""
CALL_S = 2.0
"""For reading all of them; nobody waits for it."""
MAX_OF_TENANT = 100
"""Namespaces that one tenant may decide for."""


class Store(Protocol):
    """Where policies are kept. Methods raise `StoreError` and its branches only."""

    async def version(self) -> str:
        """What changes with every change."""

    async def all(self) -> tuple[str, dict[tuple[str, str], Policy]]:
        """The version, and every policy by tenant and namespace."""

    async def put(self, tenant: str, namespace: str, policy: Policy) -> bool:
        """Decide for a namespace; False where there are as many policies as there may be."""

    async def remove(self, tenant: str, namespace: str) -> bool:
        """Decide nothing any more; whether there was a policy."""


class Policies:
    """What holds in namespaces.

    Args:
        store: where policies are kept.
        guard: bounds what Redis may cost.
        kept: sees to it that what is acknowledged is kept.
    """

    def __init__(self, store: Store, guard: Guard, kept: Keeping) -> None:
        self._store = store
        self._guard = guard
        self._kept = kept
        self._known: Mapping[tuple[str, str], Policy] = {}
        self._version: str | None = None

    # --- asked on the hot path -------------------------------------------------------------------------------------------------

    def applied(self, tenant: str, asked: Directives, *, family: str, model: str) -> Directives:
        """What a request gets of what it asked for."""
        policy = self._known.get((tenant, asked.namespace))
        return asked if policy is None else policy.applied(asked, family=family, model=model)

    def max_wrong_hit_rate(self, scope: Scope) -> float | None:
        """The namespace's own error budget, None where it has none."""
        policy = self._known.get((scope.tenant, scope.namespace))
        return None if policy is None else policy.max_wrong_hit_rate

    # --- decided by owners -----------------------------------------------------------------------------------------------------

    async def of_tenant(self, tenant: str) -> dict[str, Policy]:
        """A tenant's policies by namespace, as Redis has them. Raises StoreError."""
        async with self._guard.within(CALL_S):
            _, found = await self._store.all()
        return {namespace: policy for (owner, namespace), policy in sorted(found.items()) if owner == tenant}

    async def put(self, tenant: str, namespace: str, policy: Policy) -> None:
        """Decide for a namespace; here it holds at once, elsewhere within `POLL_S`.

        Raises:
            RequestError: 409, as many policies as there may be.
            StoreError: Redis gave no answer.
        """
        others = (await self.of_tenant(tenant)).keys() - {namespace}
        async with self._kept.keeping(), self._guard.within(CALL_S):
            if len(others) >= MAX_OF_TENANT or not await self._store.put(tenant, namespace, policy):
                raise RequestError(
                    "There are as many policies as there may be; remove one that is needed no more.",
                    status=409,
                    code="too_many_policies",
                )
        await self.refresh()

    async def remove(self, tenant: str, namespace: str) -> None:
        """Decide nothing any more; RequestError 404 where there was no policy."""
        async with self._kept.keeping(), self._guard.within(CALL_S):
            was_there = await self._store.remove(tenant, namespace)
        if not was_there:
            raise RequestError("There is no policy for this namespace.", status=404, code="policy_not_found")
        await self.refresh()

    # --- in the background -----------------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Read them anew if anything changed. Raises StoreError."""
        async with self._guard.within(CALL_S):
            if await self._store.version() != self._version:
                self._version, self._known = await self._store.all()

    async def run(self) -> None:
        """Go on asking."""
        while True:
            with contextlib.suppress(StoreError):  # the guard has said so; what is known holds
                await self.refresh()
            await asyncio.sleep(POLL_S)
