from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from embeddings.hashing import HashingEmbedder


@given(st.lists(st.text(), max_size=4))
def test_any_text_gets_a_direction_and_always_the_same_one(texts: list[str]) -> None:
    first, second = HashingEmbedder().embed(texts), HashingEmbedder().embed(texts)
    assert [e.vector.tolist() for e in first] == [e.vector.tolist() for e in second]


def test_one_changed_word_is_nearer_than_five() -> None:
    base, near, far = HashingEmbedder().embed(
        ["the cat sat on the mat", "the dog sat on the mat", "my dog ran over our rug"]
    )
    assert float(base.vector @ near.vector) > float(base.vector @ far.vector) + 0.3
