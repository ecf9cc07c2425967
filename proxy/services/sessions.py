"""Short-term memory of agents: messages and structured data of sessions, within a deadline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from proxy.core import names
from proxy.core.coordination.versions import Conditions, VersionConflictError
from proxy.core.keys import digest
from proxy.core.merge_patch import merge_patch
from proxy.core.sessions import (
    About,
    Appended,
    Message,
    Session,
    Window,
    checked_data,
    checked_messages,
    checked_session,
    checked_user,
    window,
)
from proxy.errors import RequestError
from proxy.ports import Guard, Keeping
from proxy.services.keyed_locks import KeyedLocks

ATTEMPTS = 50
"""At writing data that other processes write, too: of n that try at once one succeeds each time; within a process they queue up."""


class SessionStore(Protocol):
    """Where sessions are. Methods raise `StoreError` and its branches only."""

    async def append(
        self,
        tenant: str,
        session: str,
        messages: Sequence[Message],
        *,
        key: str,
        digest: str,
        user: str | None,
        agent: str | None,
    ) -> Appended | None:
        """Append messages, all or none; None if others were under the same key."""

    async def set(self, tenant: str, session: str, fields: Mapping[str, str]) -> bool:
        """Create a session or change what is said of it; whether it is new."""

    async def write_data(
        self, tenant: str, session: str, data: bytes, *, version: int
    ) -> int | tuple[int, bytes | None]:
        """Write data over this version; the new one, or (the one there is, the data there are)."""

    async def read(
        self, tenant: str, session: str, *, turns: int, events: int = 0, after: str | None = None
    ) -> Session | None:
        """Read a session, which counts as using it; None if there is none."""

    async def page(
        self, tenant: str, *, user: str | None, agent: str | None, limit: int, after: tuple[str, str]
    ) -> tuple[list[About], tuple[str, str] | None]:
        """A page of a tenant's sessions, and where the next one begins."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a session may take.

    Attributes:
        max_turns: messages kept.
        max_message_bytes: of one message as JSON.
        max_data_bytes: of its structured data as JSON.
        body_bytes: of one request.
    """

    max_turns: int
    max_message_bytes: int
    max_data_bytes: int
    body_bytes: int


class Sessions:
    """Sessions of tenants; methods raise StoreUnavailableError when Redis gives no answer in time.

    Args:
        store: where they are.
        guard: bounds what Redis may cost.
        kept: waits until what is acknowledged is kept.
        bounds: what one may take.
        deadline_s: for one call.
    """

    def __init__(self, store: SessionStore, guard: Guard, kept: Keeping, *, bounds: Bounds, deadline_s: float) -> None:
        self._store = store
        self._guard = guard
        self._kept = kept
        self.bounds = bounds
        self._deadline_s = deadline_s
        self._locks = KeyedLocks()

    async def read(
        self, tenant: str, session: str, *, turns: int, events: int = 0, after: str | None = None
    ) -> Session:
        """A tenant's session, its last `turns` and `events`, or the first turns after an id.

        Raises:
            RequestError: 404; the same for a session of another tenant, one nobody has, and one whose time is over.
        """
        async with self._guard.within(self._deadline_s):
            found = await self._store.read(tenant, session, turns=turns, events=events, after=after)
        if found is None:
            raise RequestError(
                "There is no such session: nothing was written under this id with this credential, or its time is over.",
                status=404,
                code="session_not_found",
                param="session_id",
            )
        return found

    async def window(self, tenant: str, session: str, *, max_tokens: int) -> tuple[Session, Window]:
        """The newest messages that fit so many tokens; see `core.sessions.window`.

        Raises:
            RequestError: 404 as `read`; 400, the system messages alone do not fit.
        """
        found = await self.read(tenant, session, turns=self.bounds.max_turns)
        return found, window(found.turns, max_tokens)

    async def page(
        self, tenant: str, *, user: str | None, agent: str | None, limit: int, after: tuple[str, str]
    ) -> tuple[list[About], tuple[str, str] | None]:
        """A page of a tenant's sessions, the one written to last first, and where the next one begins."""
        async with self._guard.within(self._deadline_s):
            return await self._store.page(tenant, user=user, agent=agent, limit=limit, after=after)

    async def append(
        self,
        tenant: str,
        session: str,
        messages: Sequence[Any],
        *,
        key: str | None,
        user: str | None,
        agent: str | None,
    ) -> Appended:
        """Append messages in order, all or none; a session that is not there is made.

        Args:
            tenant: whose.
            session: which.
            messages: in OpenAI's shape.
            key: idempotency key: sent again with the same messages, they are not appended again.
            user: who says it.
            agent: likewise.

        Raises:
            RequestError: 400 or 413 for messages that cannot be appended; 409, others were under this key.
            StoreError: nothing is known of whether they were appended; say it again, under the same key.
        """
        checked_session(session)
        taken = checked_messages(messages, max_bytes=self.bounds.max_message_bytes)
        if len(taken) > self.bounds.max_turns:
            raise RequestError(
                f"A session keeps {self.bounds.max_turns} messages (DEJA_SESSIONS__MAX_TURNS), and these are {len(taken)}; "
                "nothing was appended.",
                status=413,
                code="too_many_messages",
                param="messages",
            )
        if key is not None:
            names.checked(key, "idempotency_key")
        if user is not None:
            checked_user(user, "user")
        if agent is not None:
            names.checked(agent, "agent")
        async with self._kept.keeping(), self._guard.within(self._deadline_s):
            appended = await self._store.append(
                tenant, session, taken, key=key or "", digest=digest("append", list(messages)), user=user, agent=agent
            )
        if appended is None:
            raise RequestError(
                "Other messages were appended under this idempotency key, and nothing was now: send the same messages, or another key.",
                status=409,
                code="idempotency_conflict",
                param="idempotency_key",
            )
        return appended

    async def set(self, tenant: str, session: str, fields: Mapping[str, str]) -> bool:
        """Create a session, or change what is said of it; whether it is new.

        Args:
            tenant: whose.
            session: which.
            fields: as `SessionStore.set` takes them.

        Raises:
            RequestError: 400, the name cannot be used.
        """
        checked_session(session)
        async with self._kept.keeping(), self._guard.within(self._deadline_s):
            return await self._store.set(tenant, session, fields)

    async def replace_data(self, tenant: str, session: str, data: Any, conditions: Conditions) -> tuple[int, bytes]:
        """Make the structured data what is given; the new version and the data.

        Raises:
            VersionConflictError: 412, `conditions` do not hold.
            RequestError: 400 or 413, they cannot be kept.
        """
        return await self._write_data(tenant, session, conditions, lambda _: data)

    async def merge_data(self, tenant: str, session: str, patch: Any, conditions: Conditions) -> tuple[int, bytes]:
        """Merge a JSON merge patch (RFC 7396) into the structured data; errors as `replace_data`. No writer loses another's change."""
        return await self._write_data(tenant, session, conditions, lambda data: merge_patch(data, patch))

    async def _write_data(self, tenant: str, session: str, conditions: Conditions, change: Any) -> tuple[int, bytes]:
        checked_session(session)
        checked_data(change({}), max_bytes=self.bounds.max_data_bytes)
        # Redis decides whose write counts; the lock only spares the writers of this process from trying in vain.
        async with self._locks.holding((tenant, session)):
            version, data = await self._data(tenant, session)
            for _ in range(ATTEMPTS):
                if not conditions.hold(version or None):
                    raise VersionConflictError(version or None)
                wire = checked_data(change(orjson.loads(data) if data else {}), max_bytes=self.bounds.max_data_bytes)
                async with self._kept.keeping(), self._guard.within(self._deadline_s):
                    written = await self._store.write_data(tenant, session, wire, version=version)
                if isinstance(written, int):
                    return written, wire
                version, data = written
        raise RequestError(
            "Too many others write these data at the same time; nothing was written. Send it again.",
            status=409,
            code="write_contention",
        )

    async def _data(self, tenant: str, session: str) -> tuple[int, bytes | None]:
        async with self._guard.within(self._deadline_s):
            found = await self._store.read(tenant, session, turns=0)
        return (found.about.data_version, found.data) if found is not None else (0, None)
