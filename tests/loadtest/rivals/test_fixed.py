from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.rivals.fixed import GPTCACHE_DEFAULT, Cosine, GPTCache
from loadtest.rivals.replay import Store, replay
from loadtest.rivals.streams import NOTHING, Stream
from tests.loadtest.rivals.made_up import unit_vectors


def store_of(similarity: np.ndarray, *texts: int) -> Store:
    store = Store(similarity.astype(np.float32))
    for text in texts:
        store.add(text)
    return store


@given(st.integers(0, 1000), st.floats(0.3, 0.99))
def test_gptcaches_distance_evaluation_is_cosine_on_another_scale(seed: int, threshold: float) -> None:
    vectors = unit_vectors(25, 6, seed)
    tried = Stream("test", tuple(map(str, range(25))), np.arange(25), tuple((NOTHING, text) for text in range(25)))
    similarity = vectors @ vectors.T
    cosine = replay(tried, tried.steps, Cosine(threshold), Store(similarity))
    distance = replay(tried, tried.steps, GPTCache((1 + threshold) / 2, reciprocal=False), Store(similarity))
    assert cosine.tolist() == distance.tolist()


def test_gptcaches_default_serves_from_a_cosine_of_six_tenths() -> None:
    for cosine, served in ((0.61, 0), (0.59, None)):
        store = store_of(np.full((2, 2), cosine), 0)
        assert GPTCache(GPTCACHE_DEFAULT, reciprocal=False).look_up(1, store) == served


def test_the_reciprocal_evaluation_refuses_a_candidate_that_has_nearer_neighbours() -> None:
    similarity = np.full((5, 5), 0.1)
    similarity[4, 0] = 0.8
    crowded = similarity.copy()
    crowded[0, 1:4] = 0.9
    contender = GPTCache(0.8, reciprocal=True)
    assert contender.look_up(4, store_of(similarity, 0, 1, 2, 3)) == 0
    assert contender.look_up(4, store_of(crowded, 0, 1, 2, 3)) is None


def test_an_empty_store_serves_nothing() -> None:
    store = store_of(np.ones((2, 2)))
    assert Cosine(0.0).look_up(0, store) is None
    assert GPTCache(0.0, reciprocal=True).look_up(0, store) is None
