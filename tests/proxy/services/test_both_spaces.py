"""Two embedders asked at once: the one in use decides, the one before helps while it can."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from embeddings.base import Embedding
from embeddings.batching import BatchingEmbedder
from embeddings.errors import EmbedderError
from embeddings.hashing import HashingEmbedder
from proxy.services.both_spaces import BothEmbedders


class Told(HashingEmbedder):
    """Fails, or waits, when told to."""

    def __init__(self, dim: int, *, max_tokens: int = 256) -> None:
        super().__init__(dim=dim, max_tokens=max_tokens)
        self.fault: EmbedderError | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.calls = 0

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        self.calls += 1
        assert self.may_answer.wait(20)
        if self.fault is not None:
            raise self.fault
        return super().embed(texts)


class Rig:
    def __init__(self, *, wait_s: float = 20.0) -> None:
        self.now, self.before = Told(8), Told(5, max_tokens=4)
        self.both = BothEmbedders(BatchingEmbedder(self.now), BatchingEmbedder(self.before), wait_s=wait_s)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.both.aclose()


@pytest.mark.parametrize("inline", [True, False])
async def test_a_text_has_a_vector_of_each_space(rig: Rig, inline: bool) -> None:
    found = await rig.both.embed("a text", inline=inline)
    assert found.earlier is not None
    assert (rig.both.fingerprint, found.vector.shape, found.earlier.shape) == (rig.now.fingerprint, (8,), (5,))
    assert np.array_equal(found.earlier, HashingEmbedder(dim=5, max_tokens=4).embed(["a text"])[0].vector)


async def test_the_embedder_before_says_nothing_of_a_text_that_it_does_not_read_whole(rig: Rig) -> None:
    assert (await rig.both.embed("this text has five words")).earlier is None


async def test_where_the_embedder_before_fails_it_is_left_alone_for_a_while(rig: Rig) -> None:
    rig.before.fault = EmbedderError("away")
    assert (await rig.both.embed("one")).earlier is None
    assert (await rig.both.embed("two")).earlier is None
    assert rig.before.calls == 1


async def test_nobody_waits_long_for_the_embedder_before() -> None:
    rig = Rig(wait_s=0.01)
    rig.before.may_answer.clear()
    assert (await rig.both.embed("one")).earlier is None
    rig.before.may_answer.set()
    await rig.both.aclose()


async def test_an_error_of_the_embedder_in_use_is_the_callers(rig: Rig) -> None:
    rig.now.fault = EmbedderError("broken")
    with pytest.raises(EmbedderError, match="broken"):
        await rig.both.embed("one")
