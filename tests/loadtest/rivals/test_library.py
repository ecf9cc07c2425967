from __future__ import annotations

import numpy as np
import pytest

from loadtest.rivals.fixed import Cosine
from loadtest.rivals.library import RedisVL
from loadtest.rivals.replay import MISS, Store, replay
from loadtest.rivals.streams import NOTHING, Stream
from tests.loadtest.rivals.made_up import unit_vectors
from tests.redis_server import private_redis


@pytest.mark.slow
def test_the_library_on_a_real_redis_decides_as_cosine_at_its_threshold() -> None:
    vectors = unit_vectors(60, 8, 3)
    stream = Stream(
        "test", tuple(f"text {n}" for n in range(60)), np.arange(60) // 3, tuple((NOTHING, text) for text in range(60))
    )
    with private_redis() as url:
        for threshold in (0.8, 0.9, 2.0):
            library = RedisVL(url, "test", stream.texts, vectors, threshold)
            found = replay(stream, stream.steps, library, Store(vectors @ vectors.T))
            library.close()
            expected = replay(stream, stream.steps, Cosine(threshold), Store(vectors @ vectors.T))
            assert found.tolist() == expected.tolist()
            assert (threshold > 1) == bool((found == MISS).all())
