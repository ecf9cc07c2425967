from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embeddings.base import make_fingerprint, slug, unit_vector
from embeddings.errors import EmbedderError

_PARTS = {"name": "model", "dim": 384, "precision": "int8", "pooling": "mean", "revision": "abc", "metric": "cosine"}


@pytest.mark.parametrize(("part", "other"), [(k, 385 if k == "dim" else f"{v}2") for k, v in _PARTS.items()])
def test_a_change_in_any_part_changes_the_fingerprint(part: str, other: object) -> None:
    assert make_fingerprint(**_PARTS) != make_fingerprint(**(_PARTS | {part: other}))


def test_parts_do_not_run_into_each_other() -> None:
    shifted = _PARTS | {"name": "model-384", "revision": "ab"}
    assert make_fingerprint(**_PARTS) != make_fingerprint(**shifted)


@given(st.text())
def test_any_name_folds_to_index_safe_characters(name: str) -> None:
    folded = slug(name)
    assert folded
    assert set(folded) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@given(arrays(np.float32, 8, elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_vectors_of_any_size_come_out_at_length_one(values: np.ndarray) -> None:
    if not values.any():
        return
    assert float(np.linalg.norm(unit_vector(values))) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")], ids=["zero", "nan", "infinite"])
def test_a_vector_without_direction_is_an_error(bad: float) -> None:
    with pytest.raises(EmbedderError, match="direction"):
        unit_vector(np.full(4, bad, np.float32))
