"""The shipped verifier, and what scoring promises whatever the weights."""

from __future__ import annotations

import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from embeddings.base import ALONE, OneWay, Score
from embeddings.checkpoint import file_sha256
from embeddings.errors import ModelFormatError
from embeddings.graph import WEIGHTS_FILE
from embeddings.verifier import MODEL_FILE, TOKENIZER_FILE, Verifier, VerifierManifest, padded, shipped_folder

PAIRS = [
    ("How do I reset my password?", "how can I reset my password"),
    ("How do I reset my password?", "How do I bake bread?"),
    ("What is the capital of France?", "Which city is the capital of France?"),
    ("What is the capital of France?", "What is the capital of Peru?"),
    ("", ""),
    ("¿Dónde está?", "half \ud83d pair"),
]


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier(shipped_folder())


def test_the_shipped_files_are_those_the_manifest_and_the_model_card_name() -> None:
    folder = shipped_folder()
    manifest = VerifierManifest.read(folder)
    assert manifest.weights_sha256 == file_sha256(folder / MODEL_FILE, folder / WEIGHTS_FILE)
    assert manifest.tokenizer_sha256 == file_sha256(folder / TOKENIZER_FILE)
    card = (folder / "MODEL_CARD.md").read_text("utf-8")
    for name in (MODEL_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        assert file_sha256(folder / name) in card, name
    assert manifest.weights_sha256 in card


def test_the_shipped_model_stays_below_25_megabytes() -> None:
    assert sum(path.stat().st_size for path in shipped_folder().iterdir()) < 25e6


@pytest.mark.parametrize(
    ("stored", "alike", "unlike"),
    [
        ("How do I reset my password?", "what is the way to reset my password", "How do I delete my password?"),
        (
            "Is coffee good for the heart?",
            "Can you tell me, is coffee good for the heart?",
            "Is coffee bad for the heart?",
        ),
        ("How many days are in 3 weeks?", "how many days are in three weeks", "How many days are in 5 weeks?"),
        ("Does Anna admire Paul?", "Is Paul admired by Anna?", "Does Paul admire Anna?"),
        ("What is the capital of France?", "Which city is the capital of France?", "What is the capital of Peru?"),
    ],
    ids=["verb", "antonym", "number", "role", "name"],
)
def test_a_rewording_scores_above_another_question(verifier: Verifier, stored: str, alike: str, unlike: str) -> None:
    same, different = verifier.score([(stored, alike), (stored, unlike)])
    assert same.logit > different.logit


def test_scores_come_in_order_and_do_not_depend_on_the_pairs_beside(verifier: Verifier) -> None:
    together = verifier.score(PAIRS)
    alone = [verifier.score([pair])[0] for pair in PAIRS]
    assert [score.tokens for score in together] == [score.tokens for score in alone]
    assert [score.logit for score in together] == pytest.approx([score.logit for score in alone], abs=1e-4)


def test_nothing_asked_gives_nothing(verifier: Verifier) -> None:
    assert verifier.score([]) == []


def test_a_pair_that_does_not_fit_is_not_judged_by_its_beginning(verifier: Verifier) -> None:
    most = "word " * (verifier.max_tokens - 4)  # beside [CLS], two [SEP] and the one word asked
    fits, over = verifier.score([(most, "word"), (most, "word word")])
    assert not fits.is_truncated
    assert math.isfinite(fits.logit)
    assert (over.is_truncated, over.tokens) == (True, verifier.max_tokens + 1)
    assert (over.logit, over.probability) == (-math.inf, 0.0)


def test_a_text_of_megabytes_is_refused_without_being_tokenised(verifier: Verifier) -> None:
    assert verifier.score([("a", " " * 5_000_000 + "b")]) == [Score(-math.inf, 0, True)]


def test_a_separator_written_in_a_text_is_text(verifier: Verifier) -> None:
    ids = verifier._tokenize("is [SEP] a token", "what is [SEP]")
    assert ids.count(102) == 2


def test_it_makes_no_difference_which_text_comes_first(verifier: Verifier) -> None:
    there = verifier.score(PAIRS)
    back = verifier.score([(asked, stored) for stored, asked in PAIRS])
    assert [one.logit for one in there] == pytest.approx([one.logit for one in back], abs=1e-4)
    assert [one.gap for one in there] == pytest.approx([-one.gap for one in back], abs=1e-4)


def test_the_gap_tells_how_far_the_two_orders_lie_apart(verifier: Verifier) -> None:
    (score,) = verifier.score(PAIRS[:1])
    stored, asked = PAIRS[0]
    orders = [float(verifier.score_tokens([verifier._tokenize(*two)])[0]) for two in ((stored, asked), (asked, stored))]
    assert score.logit == pytest.approx(sum(orders) / 2, abs=1e-3)
    assert score.lower_logit == pytest.approx(min(orders), abs=1e-3)
    assert score.gap == pytest.approx(orders[0] - orders[1], abs=1e-3)


@pytest.mark.parametrize(("first", "other", "decides"), [(4.0, 4.0, 4.0), (3.0, 5.0, 4.0), (4.0, 1.0, 4.0 - ALONE)])
def test_the_second_order_cannot_undo_what_the_first_surely_says(first: float, other: float, decides: float) -> None:
    score = Score(first, 9, is_truncated=False).with_other_order(Score(other, 9, is_truncated=False))
    assert score.decisive_logit == decides


def test_threads_may_share_a_verifier(verifier: Verifier) -> None:
    alone = [score.logit for score in verifier.score(PAIRS)]
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(verifier.score, [PAIRS] * 12):
            assert [score.logit for score in scores] == pytest.approx(alone, abs=1e-4)


def test_padding_stands_right_and_the_second_text_is_segment_one() -> None:
    ids, mask, segments = padded([[101, 7, 102, 8, 9, 102], [101, 102, 102]])
    assert ids.tolist() == [[101, 7, 102, 8, 9, 102], [101, 102, 102, 0, 0, 0]]
    assert mask.tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert segments.tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 1, 0, 0, 0]]
    assert ids.dtype == np.int32


@pytest.mark.parametrize("logit", [-800.0, -1.0, 0.0, 3.0, 800.0])
def test_a_probability_lies_between_0_and_1_and_rises_with_the_logit(logit: float) -> None:
    probability = Score(logit, 9, False).probability
    assert 0.0 <= probability <= 1.0
    assert probability <= Score(logit + 1.0, 9, False).probability


def test_another_model_has_another_fingerprint() -> None:
    manifest = VerifierManifest.read(shipped_folder())
    other = VerifierManifest(
        **{**json.loads((shipped_folder() / "manifest.json").read_text()), "weights_sha256": "f" * 64}
    )
    assert manifest.fingerprint != other.fingerprint


def test_a_damaged_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="no verifier"):
        Verifier(tmp_path)
    for name in ("manifest.json", "tokenizer.json"):
        shutil.copyfile(shipped_folder() / name, tmp_path / name)
    with pytest.raises(ModelFormatError, match="cannot be loaded"):
        Verifier(tmp_path)


@pytest.mark.parametrize("pair", [("", ""), ("What is it?", "é à 日本"), (" a ", "[SEP] b"), ("a b", "\tc\n")])
def test_texts_cut_one_by_one_are_what_the_tokenizer_makes_of_the_pair(
    verifier: Verifier, pair: tuple[str, str]
) -> None:
    assert verifier._tokenize(*pair) == verifier._tokenizer.encode(*pair).ids


def test_one_order_alone_is_what_it_is_among_both(verifier: Verifier) -> None:
    for stored, asked in PAIRS:
        there, back = verifier.score([OneWay(stored, asked), OneWay(asked, stored)])
        both = verifier.score([(stored, asked)])[0]
        joined = there.with_other_order(back)
        assert joined.logit == pytest.approx(both.logit, abs=1e-4)
        assert joined.gap == pytest.approx(both.gap, abs=1e-4)
