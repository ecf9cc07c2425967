"""Working memory: sessions put, read, listed and removed, and the memories in them brought to long-term memory by the background.

What is to be promoted is noted in Redis before the session is written, and the note is taken out when it is done: a process that dies in
between leaves it to the next look. A memory that is promoted twice is one memory, since its id is the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from proxy.core.memory.records import Memory
from proxy.core.memory_server import keys, window
from proxy.core.memory_server.working import Message, SessionName, WorkingMemory
from proxy.errors import DejaError, RequestError, where
from proxy.ports import Guard, Headers, Keeping
from proxy.services.background import Background
from proxy.services.summaries import NoSummary, Summaries

logger = logging.getLogger("deja.memory")
T = TypeVar("T")

ROUND_S = 2.0
"""Between looks for promotions that another process left."""
LEFT_S = 5.0
"""After which a promotion that is not done counts as left. If it is only slow, it is done twice, which changes nothing."""
BATCH = 100
"""Memories handed to long-term memory at once."""


class LongTerm(Protocol):
    """Long-term memory; see `services.memories`."""

    async def store(self, tenant: str, memories: Sequence[Memory], *, is_deduplicated: bool = True) -> Any:
        """Store memories; the same id again overwrites."""


class Extraction(Protocol):
    """Draws memories from messages; see `services.extraction`."""

    async def take_session(self, tenant: str, memory: WorkingMemory, credentials: Headers) -> None:
        """Note a session's messages; those that were taken before change nothing."""


class Store(Protocol):
    """Working memories in Redis; `stores.working_memory` says what each method does. They raise StoreError."""

    async def put(self, tenant: str, memory: WorkingMemory) -> WorkingMemory:
        """Write."""

    async def find(self, tenant: str, name: SessionName) -> tuple[int, WorkingMemory | None]:
        """Read by name, or by what is known of it."""

    async def read(self, redis_key: str) -> WorkingMemory | None:
        """Read by key."""

    async def drop(self, tenant: str, name: SessionName) -> bool:
        """Remove."""

    async def drop_some(self, tenant: str, list_tag: str) -> tuple[int, bool]:
        """Remove the first of a list."""

    async def page(
        self, tenant: str, *, namespace: str | None, user: str | None, offset: int, count: int
    ) -> tuple[int, list[str]]:
        """List."""

    async def mark(self, tenant: str, memory: WorkingMemory) -> bool:
        """Write its memories anew."""

    async def wait(self, tenant: str, name: SessionName) -> str:
        """Note a promotion."""

    async def waiting(self, *, since_s: float) -> list[tuple[str, str, str]]:
        """Notes that are older."""

    async def settle(self, tenant: str, redis_key: str, mark: str) -> None:
        """Take a note out."""


class Summarised(StrEnum):
    """What became of a session that has outgrown its window."""

    WRITTEN = "written"  # older messages are in the summary now, and no longer among the messages
    NO_MODEL = "no-model"  # all messages are kept, since nothing can summarise them
    FAILED = "failed"  # the same, since the model gave no summary


@dataclass(frozen=True, slots=True)
class Shown:
    """A session as it is told to a caller.

    Attributes:
        memory: with those of its messages that fit into the caller's window.
        use: percent of the window, and of what a summary begins at; None where no window was named.
        left_out: messages that are kept, and not shown.
        summarised: what became of a session that has outgrown its window; None where it has not.
    """

    memory: WorkingMemory
    use: tuple[float | None, float | None]
    left_out: int = 0
    summarised: Summarised | None = None


class WorkingMemories:
    """Working memories. Every method may raise StoreError.

    Args:
        store: where they are.
        long_term: takes the memories in them.
        summaries: for sessions that outgrow their window.
        guard: bounds what Redis may cost.
        kept: waits until what is acknowledged is kept.
        background: runs promotions.
        deadline_s: for one command.
        now: unix time in seconds.
        body_bytes: largest body worth reading.
        extraction: takes the messages, for memories to be drawn from them; None for nobody.
        round_s, left_s: see `ROUND_S` and `LEFT_S`.
    """

    def __init__(
        self,
        store: Store,
        long_term: LongTerm,
        summaries: Summaries,
        guard: Guard,
        kept: Keeping,
        background: Background,
        *,
        deadline_s: float,
        now: Callable[[], float],
        body_bytes: int,
        extraction: Extraction | None = None,
        round_s: float = ROUND_S,
        left_s: float = LEFT_S,
    ) -> None:
        self._store = store
        self._long_term = long_term
        self._summaries = summaries
        self._guard = guard
        self._kept = kept
        self._background = background
        self._extraction = extraction
        self._deadline_s = deadline_s
        self._now = now
        self.body_bytes = body_bytes
        self._round_s = round_s
        self._left_s = left_s

    async def find(self, tenant: str, name: SessionName) -> WorkingMemory | None:
        """A session; where `name` leaves user or namespace open, the only one that fits. None if there is none.

        Raises:
            RequestError: 409, several fit.
        """
        async with self._guard.within(self._deadline_s):
            count, found = await self._store.find(tenant, name)
        if count > 1:
            raise RequestError(
                f"Session {name.session} is kept under several users or namespaces; name `user_id` and `namespace`.",
                status=409,
                code="session_ambiguous",
                param="session_id",
            )
        return found

    async def show(
        self, tenant: str, name: SessionName, *, window_tokens: int | None, newest: int | None = None
    ) -> Shown | None:
        """A session with as many of its newest messages as fit; None if there is none.

        Args:
            tenant: whose.
            name: which.
            window_tokens: of the caller's model, None for all messages.
            newest: how many messages at most, by when they were said; None for all.
        """
        found = await self.find(tenant, name)
        if found is None:
            return None
        kept: tuple[Message, ...] = found.messages
        if newest is not None:
            kept = tuple(sorted(kept, key=lambda each: each.created_at)[-newest:])
        return _shown(replace(found, messages=kept), window_tokens, whole=len(found.messages))

    async def put(
        self, tenant: str, memory: WorkingMemory, *, window_tokens: int | None, credentials: Headers
    ) -> Shown:
        """Write a session in place of what is there; one that has outgrown its window is summarised first.

        Args:
            tenant: whose.
            memory: what is to be kept.
            window_tokens: of the caller's model, None for a default.
            credentials: headers that go to the provider where a summary is to be made.
        """
        said = memory
        memory, summarised = await self._within_window(tenant, memory.owned(), window_tokens, credentials)
        mark = None
        async with self._kept.keeping(), self._guard.within(self._deadline_s):
            if memory.to_promote():
                mark = await self._store.wait(tenant, memory.name)
            stored = await self._store.put(tenant, memory)
        if self._extraction is not None:  # of all that was said, also of what is in the summary now
            await self._extraction.take_session(tenant, said, credentials)
        if mark is not None:
            redis_key = keys.working_memory(tenant, memory.name)
            self._background.spawn(self._promote(tenant, redis_key, mark), name="promotion")
        return _shown(stored, window_tokens, whole=len(stored.messages), summarised=summarised)

    async def delete(self, tenant: str, name: SessionName) -> bool:
        """Remove a session; where `name` leaves user or namespace open, the only one that fits. Whether there was one.

        Raises:
            RequestError: 409, several fit.
        """
        found = await self.find(tenant, name)
        if found is None:
            return False
        async with self._kept.keeping(), self._guard.within(self._deadline_s):
            return await self._store.drop(tenant, found.name)

    async def sessions(
        self, tenant: str, *, namespace: str | None, user: str | None, offset: int, limit: int
    ) -> tuple[int, list[str]]:
        """How many sessions there are, and the ids of some, those that changed last first."""
        async with self._guard.within(self._deadline_s):
            return await self._store.page(tenant, namespace=namespace, user=user, offset=offset, count=limit)

    async def erase_session(self, tenant: str, session: str) -> int:
        """Remove the sessions with an id, whosever they are; how many there were."""
        return await self._erase(tenant, keys.same_id_tag(session))

    async def erase_user(self, tenant: str, user: str) -> int:
        """Remove all sessions of a user; how many there were."""
        return await self._erase(tenant, keys.list_tag(user=user))

    async def _erase(self, tenant: str, list_tag: str) -> int:
        erased, may_be_more = 0, True
        while may_be_more:
            async with self._guard.within(self._deadline_s):
                count, may_be_more = await self._store.drop_some(tenant, list_tag)
            erased += count
        return erased

    async def run(self) -> None:
        """Take up promotions that were left, until cancelled."""
        while True:
            await asyncio.sleep(self._round_s)
            try:
                for tenant, redis_key, mark in await self._bounded(self._store.waiting(since_s=self._left_s)):
                    await self._promote(tenant, redis_key, mark)
            except DejaError as error:
                logger.debug("looking for promotions is put off: %s", error)
            except Exception as error:  # whatever it is, the next round must still come
                logger.error("looking for promotions failed with %s", where(error))

    async def _within_window(
        self, tenant: str, memory: WorkingMemory, window_tokens: int | None, credentials: Headers
    ) -> tuple[WorkingMemory, Summarised | None]:
        parts = window.parts_for_summary(memory.messages, window_tokens)
        if parts is None:
            return memory, None
        if self._summaries.model is None:
            return memory, Summarised.NO_MODEL
        older, kept = parts
        try:
            context = await self._summaries.of_conversation(memory.context, older, credentials, tenant=tenant)
        except NoSummary as error:
            logger.warning("a session is kept as it is: %s", error)
            return memory, Summarised.FAILED
        return replace(memory, context=context, messages=kept), Summarised.WRITTEN

    async def _promote(self, tenant: str, redis_key: str, mark: str) -> None:
        try:
            memory = await self._bounded(self._store.read(redis_key))
            if memory is not None and (wanted := memory.to_promote()):
                refused: list[str] = []
                for start in range(0, len(wanted), BATCH):
                    refused += await self._store_batch(tenant, wanted[start : start + BATCH])
                await self._bounded(self._store.mark(tenant, memory.promoted(self._now(), but=refused)))
            await self._bounded(self._store.settle(tenant, redis_key, mark))
        except DejaError as error:
            logger.warning("a promotion is put off: %s", error)

    async def _store_batch(self, tenant: str, memories: Sequence[Memory]) -> list[str]:
        """Store memories; ids of those that are refused, whatever is done: the next look would meet that again, the next put may not."""
        try:
            await self._long_term.store(tenant, memories)
        except RequestError:
            return [each.memory_id for each in memories if not await self._is_stored(tenant, each)]
        return []

    async def _is_stored(self, tenant: str, memory: Memory) -> bool:
        """Store one, as a fact of its own where the one it replaces is not there."""
        for attempt in (memory, replace(memory, replaces=None)):
            try:
                await self._long_term.store(tenant, [attempt])
            except RequestError as error:
                refusal = error
            else:
                return True
        logger.error("a memory of a session is not promoted: %s", where(refusal))
        return False

    async def _bounded(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            async with self._guard.within(self._deadline_s):
                return await call
        finally:
            call.close()  # where Redis is known to be away it was never begun


def _shown(
    memory: WorkingMemory, window_tokens: int | None, *, whole: int, summarised: Summarised | None = None
) -> Shown:
    kept = window.fitting(memory.messages, window_tokens)
    return Shown(
        memory=replace(memory, messages=kept),
        use=window.use_of(kept, window_tokens),
        left_out=whole - len(kept),
        summarised=summarised,
    )
