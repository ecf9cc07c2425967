"""Two embedders asked at once, while entries move from the vector space of one to that of the other; at no other time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from embeddings.base import Embedding, Vector
from embeddings.batching import BatchingEmbedder
from embeddings.errors import EmbedderError

LEFT_ALONE_S = 5.0
"""After the embedder before failed, or took too long: a request that waited for it in vain got its answer later for nothing."""


class BothEmbedders:
    """Embeds with the embedder in use, and with the one before for the sake of what has not moved. Implements `services.embedding.Model`.

    Args:
        now: the one in use; its errors are raised.
        before: the one that it replaced; without it `Embedding.earlier` is None.
        wait_s: for the latter.
    """

    def __init__(self, now: BatchingEmbedder, before: BatchingEmbedder, *, wait_s: float) -> None:
        self._now = now
        self._before = before
        self._wait_s = wait_s
        self._left_alone_until = 0.0

    @property
    def fingerprint(self) -> str:
        """Name of the vector space that is stored in."""
        return self._now.fingerprint

    async def embed(self, text: str, *, whose: str = "", inline: bool = False) -> Embedding:
        """Embed one text in both spaces; see `BatchingEmbedder.embed`."""
        # One after the other on the loop, where nobody else waits for it; else each in its own thread.
        if inline:
            embedding = await self._now.embed(text, whose=whose, inline=True)
            return replace(embedding, earlier=await self._earlier(text, whose, inline=True))
        embedding, earlier = await asyncio.gather(
            self._now.embed(text, whose=whose), self._earlier(text, whose, inline=False)
        )
        return replace(embedding, earlier=earlier)

    async def _earlier(self, text: str, whose: str, *, inline: bool) -> Vector | None:
        """The vector in the space before; None where there is none in time, or it does not speak for the whole text."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._left_alone_until:
            return None
        try:
            async with asyncio.timeout(self._wait_s):
                found = await self._before.embed(text, whose=whose, inline=inline)
        except (TimeoutError, EmbedderError):
            self._left_alone_until = loop.time() + LEFT_ALONE_S
            return None
        return None if found.is_truncated or found.unknown_tokens else found.vector

    async def aclose(self) -> None:
        """Let both models go."""
        await self._now.aclose()
        await self._before.aclose()
