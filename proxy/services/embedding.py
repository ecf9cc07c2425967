"""The embedder as the services see it: with a deadline, our own errors, and a stand-in until the model is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from embeddings.base import Embedding
from embeddings.errors import EmbedderError
from proxy.errors import EmbeddingError

NO_FINGERPRINT = "none"
"""Of entries stored while there was no embedder: they lie outside every index and serve exact repeats."""

INLINE_CHARS = 120
"""Some 30 tokens, 2 to 3 ms of work. A request that is alone gets a short text embedded on the event loop: nobody is held up, and
two thread switches to a core with cold caches cost 0.4 to 0.7 ms. With company, and for longer texts, the model runs in its thread."""


class Model(Protocol):
    """What embeds, as `embeddings.batching.BatchingEmbedder` does."""

    @property
    def fingerprint(self) -> str:
        """Name of the vector space."""

    async def embed(self, text: str, *, whose: str = "", inline: bool = False) -> Embedding:
        """Embed one text for an owner, here and now if `inline`. May raise EmbedderError."""

    async def aclose(self) -> None:
        """Let the model go."""


class BoundedEmbedder:
    """Embeds within a deadline. Implements `proxy.ports.Embedder`.

    Args:
        deadline_s: longer, and the call goes on without.
        is_alone: whether one request is all that this process is busy with.
    """

    def __init__(self, *, deadline_s: float, is_alone: Callable[[], bool]) -> None:
        self._deadline_s = deadline_s
        self._is_alone = is_alone
        self._inner: Model | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there is a model."""
        return self._inner is not None

    @property
    def fingerprint(self) -> str:
        """Name of the vector space."""
        return self._inner.fingerprint if self._inner is not None else NO_FINGERPRINT

    def use(self, inner: Model) -> None:
        """The model is there."""
        self._inner = inner

    async def embed(self, text: str, *, whose: str = "") -> Embedding:
        """Embed one text; what was embedded for another owner is not at hand.

        Raises:
            EmbeddingError: no model, a failing one, or no vector in time.
        """
        if self._inner is None:
            raise EmbeddingError("The embedding model is not there yet.")
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._inner.embed(text, whose=whose, inline=len(text) <= INLINE_CHARS and self._is_alone())
        except TimeoutError:
            raise EmbeddingError(f"No vector within {self._deadline_s * 1000:.0f} ms.") from None
        except EmbedderError as error:
            raise EmbeddingError(str(error)) from error

    async def aclose(self) -> None:
        """Let the model go."""
        if self._inner is not None:
            await self._inner.aclose()
