"""The embedder as the services see it: bounded, with our errors, and inline only where nobody is held up."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from embeddings.base import Embedding
from embeddings.batching import BatchingEmbedder
from embeddings.errors import EmbedderError
from embeddings.hashing import HashingEmbedder
from proxy.errors import EmbeddingError
from proxy.services.embedding import INLINE_CHARS, NO_FINGERPRINT, BoundedEmbedder


class Watched(HashingEmbedder):
    """Notes the thread of each call; may be slow, or fail."""

    def __init__(self) -> None:
        super().__init__(dim=8)
        self.threads: list[int] = []
        self.delay_s = 0.0
        self.fault: EmbedderError | None = None

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        self.threads.append(threading.get_ident())
        time.sleep(self.delay_s)
        if self.fault is not None:
            raise self.fault
        return super().embed(texts)


async def test_without_a_model_there_is_an_error_and_a_stand_in_name() -> None:
    embedder = BoundedEmbedder(deadline_s=1, is_alone=lambda: True)
    assert not embedder.is_ready
    assert embedder.fingerprint == NO_FINGERPRINT
    with pytest.raises(EmbeddingError, match="not there yet"):
        await embedder.embed("hello")
    await embedder.aclose()


@pytest.mark.parametrize(
    ("text", "is_alone", "is_inline"),
    [
        ("short", True, True),
        ("x" * INLINE_CHARS, True, True),
        ("x" * (INLINE_CHARS + 1), True, False),
        ("short", False, False),
    ],
    ids=["short and alone", "at the bound", "long", "in company"],
)
async def test_only_a_short_text_of_a_request_that_is_alone_holds_the_loop_up(
    text: str, is_alone: bool, is_inline: bool
) -> None:
    model = Watched()
    embedder = BoundedEmbedder(deadline_s=5, is_alone=lambda: is_alone)
    embedder.use(BatchingEmbedder(model))
    assert embedder.fingerprint == model.fingerprint
    await embedder.embed(text)
    assert [thread == threading.get_ident() for thread in model.threads] == [is_inline]
    await embedder.aclose()


async def test_a_slow_model_is_given_up_at_the_deadline() -> None:
    model = Watched()
    model.delay_s = 0.5
    embedder = BoundedEmbedder(deadline_s=0.05, is_alone=lambda: False)
    embedder.use(BatchingEmbedder(model))
    with pytest.raises(EmbeddingError, match="within 50 ms"):
        await embedder.embed("hello")
    await embedder.aclose()


async def test_a_failing_model_is_an_embedding_error() -> None:
    model = Watched()
    model.fault = EmbedderError("broken")
    embedder = BoundedEmbedder(deadline_s=5, is_alone=lambda: False)
    embedder.use(BatchingEmbedder(model))
    with pytest.raises(EmbeddingError, match="broken"):
        await embedder.embed("hello")
    await embedder.aclose()
