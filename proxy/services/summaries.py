"""Summaries by a model: asks it through the configured upstreams, a piece after the other where there is much."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import orjson

from proxy.core.ledger import SHARED
from proxy.core.memory.records import Memory
from proxy.core.memory_server import summaries
from proxy.core.memory_server.working import Message
from proxy.errors import RequestError
from proxy.ports import Headers, UpstreamRequest, Upstreams
from proxy.services.asking_again import Asker, NoAnswer

CONVERSATION_S = 25.0
"""For the summary of a conversation, while its caller waits: the Agent Memory Server's client gives up after 30 s."""
NO_MODEL = "Summaries need a model: set DEJA_MEMORY__MODEL to the name of one that Deja's provider has."
_JSON = (b"content-type", b"application/json")

Prompt = list[dict[str, str]]


class NoSummary(Exception):  # noqa: N818 - what was to be summarised is kept as it is
    """There is none; the message says in a few words why."""


class Summaries:
    """Asks a model for summaries.

    Args:
        asker: makes the calls.
        upstreams: knows where models are.
        model: the one that is asked unless a view names another; None for none.
    """

    def __init__(self, asker: Asker, upstreams: Upstreams, *, model: str | None) -> None:
        self._asker = asker
        self._upstreams = upstreams
        self._model = model

    @property
    def model(self) -> str | None:
        """The model of the settings, None for none."""
        return self._model

    async def of_conversation(
        self, summary: str | None, messages: Sequence[Message], credentials: Headers, *, tenant: str = SHARED
    ) -> str:
        """Summarise messages together with what was known before them.

        Args:
            summary: of what came before, None for nothing.
            messages: what it no longer has room for, oldest first.
            credentials: headers that go to the provider; empty where it has its own key.
            tenant: on whose account.

        Raises:
            NoSummary: there is no model, it failed, it took too long, or there is too much for one call of a caller.
        """
        chunks = summaries.conversation_chunks(messages)
        if len(chunks) > summaries.MAX_CHUNKS:
            raise NoSummary("there is too much to summarise at once")
        try:
            async with asyncio.timeout(CONVERSATION_S):
                return await self._run(
                    self._model, chunks, summary, summaries.conversation_prompt, "conversation", credentials, tenant
                )
        except TimeoutError:
            raise NoSummary("the model took too long") from None

    async def of_memories(
        self,
        memories: Sequence[Memory],
        *,
        group: Mapping[str, str],
        wish: str | None,
        model: str | None,
        credentials: Headers,
        tenant: str = SHARED,
    ) -> str:
        """Summarise the memories of one partition, the newest of them where there are very many.

        Args:
            memories: not none.
            group: whose they are.
            wish: the caller's own words for how to summarise; None for Deja's.
            model: which one does it; None for that of the settings.
            credentials: headers that go to the provider.
            tenant: on whose account.

        Raises:
            NoSummary: there is no model, or it failed.
        """
        chunks = summaries.memory_chunks(memories)[-summaries.MAX_CHUNKS :]
        return await self._run(
            model or self._model,
            chunks,
            None,
            lambda summary, chunk: summaries.memories_prompt(wish, group, summary, chunk),
            "view",
            credentials,
            tenant,
        )

    async def _run(
        self,
        model: str | None,
        chunks: Sequence[Prompt],
        summary: str | None,
        prompt: Callable[[str | None, Prompt], Prompt],
        purpose: str,
        credentials: Headers,
        tenant: str,
    ) -> str:
        if model is None:
            raise NoSummary(NO_MODEL)
        for chunk in chunks:
            summary = await self._ask(model, prompt(summary, chunk), purpose, credentials, tenant)
        return summary or ""

    async def _ask(self, model: str, messages: Prompt, purpose: str, credentials: Headers, tenant: str) -> str:
        body = orjson.dumps({"model": model, "messages": messages})
        request = UpstreamRequest("POST", "/chat/completions", b"", (_JSON, *credentials), body, model=model)
        try:
            said = await self._asker.ask(purpose, self._upstreams.resolve(model), request, tenant=tenant)
        except (NoAnswer, RequestError) as error:
            raise NoSummary("the model gave no answer that could be used") from error
        return said.strip()
