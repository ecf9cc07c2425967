"""How the verifier is taught: splits, edits, recipe, metrics and export. None of it needs torch but the last test."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embeddings.checkpoint import BertConfig, FloatArray, Weights, read_config, read_weights
from embeddings.training import edits, recipe, shipping
from embeddings.training.metrics import curve, found_at, level_at
from embeddings.training.pairs import Pair, read_pairs, share, split_by_component
from embeddings.training.reopen import reopened
from embeddings.verifier import Verifier, VerifierManifest, padded

QUESTIONS = (
    "How do I convert 30 dollars to euros?",
    "When was the Eiffel Tower in Paris built?",
    "Is it safe to buy a used car from Germany?",
    "What is the difference between Python and Java?",
    "Should I drink coffee before running 10 km?",
    "Why do cats sleep so much?",
)


def _same(stored: str, asked: str) -> Pair:
    return Pair(stored, asked, True, "t")


def _write(folder: Path, name: str, rows: Sequence[object]) -> None:
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


# --- splits


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40), st.floats(0.1, 0.9))
def test_texts_connected_by_pairs_stay_on_one_side(edges: list[tuple[int, int]], held_out: float) -> None:
    pairs = [_same(f"text {a}", f"text {b}") for a, b in edges]
    kept, aside = split_by_component(pairs, held_out)
    assert sorted(map(repr, kept + aside)) == sorted(map(repr, pairs))
    texts = [{text for pair in side for text in (pair.stored, pair.asked)} for side in (kept, aside)]
    assert not texts[0] & texts[1]


def test_a_split_does_not_depend_on_the_order_of_rows() -> None:
    pairs = [_same(f"a{i}", f"b{i % 7}") for i in range(40)]
    kept, _ = split_by_component(pairs, 0.5)
    again, _ = split_by_component(pairs[::-1], 0.5)
    assert set(kept) == set(again)


def test_shares_are_spread_evenly_and_fixed_for_good() -> None:
    shares = [share(f"key {i}") for i in range(2000)]
    assert 0.3 < sum(value < 1 / 3 for value in shares) / 2000 < 0.37
    assert share("kind") == pytest.approx(0.352125)


def test_pairs_are_read_with_file_and_kind(tmp_path: Path) -> None:
    _write(tmp_path, "some", [{"a": "x", "b": "y", "same": 1, "kind": "k"}])
    assert read_pairs(tmp_path, "some") == [Pair("x", "y", True, "some/k")]


# --- edits


@pytest.mark.parametrize("name", [name for name, _, _ in (*edits.CHANGING, *edits.KEEPING)])
def test_every_edit_applies_to_some_question_and_changes_it(name: str) -> None:
    edit = {name: edit for name, edit, _ in (*edits.CHANGING, *edits.KEEPING)}[name]
    rng = random.Random(1)
    made = [
        (text, edit(text, rng))
        for text in (*QUESTIONS, "What is the best of two ways?", "Where does he keep his book?")
        for _ in range(5)
    ]
    assert any(new is not None and new != text for text, new in made)


@given(st.text(max_size=60), st.integers(0, 99))
def test_no_edit_fails_on_any_text(text: str, seed: int) -> None:
    for _, edit, _ in (*edits.CHANGING, *edits.KEEPING):
        assert edit(text, random.Random(seed)) != 0


@given(st.from_regex(r"[0-9]{1,3}([.,][0-9]{1,3})?", fullmatch=True), st.integers(0, 99))
def test_another_number_looks_like_the_first_and_differs(number: str, seed: int) -> None:
    other = edits.other_number(number, random.Random(seed))
    assert other != number
    assert [char.isdigit() for char in other] == [char.isdigit() for char in number]


@pytest.mark.parametrize(
    ("text", "turned"),
    [
        ("flights from Rome to Oslo", "flights from Oslo to Rome"),
        ("convert euros to dollars", "convert dollars to euros"),
        ("tea instead of coffee", "coffee instead of tea"),
    ],
)
def test_directions_are_turned_round(text: str, turned: str) -> None:
    assert edits.change_direction(text, random.Random(1)) == turned


def test_words_do_not_change_places_across_an_and() -> None:
    assert edits.swap_words("What do Anna and Paul admire?", random.Random(1)) is None


@pytest.mark.parametrize(
    ("text", "negated"),
    [("How to sleep at night?", "How not to sleep at night?"), ("What should I eat?", "What should I not eat?")],
)
def test_a_question_is_negated_where_english_does_it(text: str, negated: str) -> None:
    assert edits.negate(text, random.Random(1)) == negated


def test_a_replaced_word_keeps_its_capital() -> None:
    assert edits.replace_word("Rome and rome", "rome", "oslo") == "Oslo and oslo"


# --- recipe


def _no_embedder(texts: Sequence[str]) -> NDArray[np.float32]:
    raise AssertionError("no file of groups was asked for")


@pytest.fixture
def small_data(tmp_path: Path) -> Path:
    rows = [
        {"a": f"How is {w} made at home?", "b": f"How do I make {w}?", "same": 1, "kind": "qqp"} for w in "abcdefgh"
    ]
    _write(tmp_path, "qqp_train", rows)
    _write(tmp_path, "qqp_dev", rows[:0])
    _write(tmp_path, "checklist_templates", [{"a": "a", "b": "b", "same": 0, "kind": f"kind {i}"} for i in range(30)])
    return tmp_path


def test_a_recipe_with_one_seed_is_made_alike_again(small_data: Path) -> None:
    sources = ("qqp", "checklist_templates")
    first = recipe.build(small_data, sources, _no_embedder, seed=3)
    assert first == recipe.build(small_data, sources, _no_embedder, seed=3)
    assert first != recipe.build(small_data, sources, _no_embedder, seed=4)


def test_held_out_kinds_never_reach_the_training_pairs(small_data: Path) -> None:
    kinds = {pair.kind for pair in recipe.build(small_data, ("checklist_templates",), _no_embedder, seed=1)}
    held = {
        f"checklist_templates/kind {i}" for i in range(30) if recipe.is_held_out_kind(f"checklist_templates/kind {i}")
    }
    assert held
    assert not kinds & held


def test_a_whole_recipe_takes_every_kind(small_data: Path) -> None:
    pairs = recipe.build(small_data, ("checklist_templates",), _no_embedder, seed=1, is_whole=True)
    assert {f"checklist_templates/kind {i}" for i in range(30)} <= {pair.kind for pair in pairs}


def test_labels_that_an_earlier_verifier_contradicts_are_left_out(small_data: Path) -> None:
    def contradicting(pairs: Sequence[Pair]) -> list[float]:
        return [-5.0 if "make a?" in pair.asked else 5.0 if "make b?" in pair.asked else -1.0 for pair in pairs]

    built = recipe.build(small_data, ("qqp",), _no_embedder, seed=1, reread=contradicting)
    texts = {text for pair in built if pair.kind.startswith("qqp") for text in (pair.stored, pair.asked)}
    assert any("make b?" in text for text in texts)
    assert any("make c?" in text for text in texts), "a slight doubt is none"
    assert not any("make a?" in text for text in texts)


def test_leaving_out_quora_leaves_out_what_was_made_from_it() -> None:
    assert not {"qqp", "checklist_perturbed"} & set(recipe.sources_without(["qqp"]))
    with pytest.raises(ValueError, match="choose among"):
        recipe.sources_without(["quora"])


def test_support_pairs_are_the_same_only_with_the_same_entity() -> None:
    rows = [
        {"text": f"{verb} order {number}", "group": verb, "entity": str(number)}
        for verb in ("cancel", "track")
        for number in (1, 2, 3)
    ]
    pairs = recipe.support_pairs(rows, random.Random(1))
    assert {pair.is_same for pair in pairs} == {True, False}
    for pair in pairs:
        assert pair.is_same == (pair.stored == pair.asked)


def test_restaurant_pairs_differ_in_one_slot() -> None:
    rows = [
        {"text": f"book a table at {time} for two", "slots": [{"slot": "time", "value": time}]}
        for time in ("6 pm", "7 pm", "8 pm")
    ]
    pairs = recipe.restaurant_pairs(rows, random.Random(1))
    assert pairs
    for pair in pairs:
        assert not pair.is_same
        assert sum(a != b for a, b in zip(pair.stored.split(), pair.asked.split(), strict=True)) == 1


def test_neighbours_are_paired_once_and_labelled_by_group() -> None:
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32)
    pairs = list(recipe.neighbour_pairs(["a", "b", "c"], ["g", "g", "h"], lambda _: vectors))
    assert {(pair.stored, pair.asked, pair.is_same) for pair, _ in pairs} == {
        ("a", "b", True),
        ("a", "c", False),
        ("b", "c", False),
    }


# --- metrics


def test_found_counts_the_same_pairs_above_the_level() -> None:
    scores, is_same = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.array([True, False, True, True, False])
    assert found_at(scores, is_same, 0.0) == pytest.approx(1 / 3)
    assert found_at(scores, is_same, 0.5) == 1.0


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=4, max_size=60), st.floats(0, 1))
def test_no_level_accepts_more_than_it_may(rows: list[tuple[float, bool]], accepted: float) -> None:
    scores, is_same = np.array([score for score, _ in rows]), np.array([label for _, label in rows])
    if not is_same.all():
        assert np.mean(scores[~is_same] > level_at(scores, is_same, accepted)) <= accepted


def test_a_curve_rises_with_what_may_be_accepted() -> None:
    rng = np.random.default_rng(1)
    is_same = rng.random(500) < 0.5
    found = list(curve(rng.normal(size=500) + is_same, is_same).values())
    assert found == sorted(found)


# --- export


def _tiny_weights(config: BertConfig) -> Weights:
    rng, hidden = np.random.default_rng(5), config.hidden
    weights: Weights = {}

    def add(name: str, *shape: int) -> None:
        weights[f"{name}.weight"] = rng.normal(0, 0.2, shape).astype(np.float32)
        weights[f"{name}.bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)

    for table, rows in (("word", 30522), ("position", 512), ("token_type", 2)):
        weights[f"embeddings.{table}_embeddings.weight"] = rng.normal(0, 0.5, (rows, hidden)).astype(np.float32)
    norms = ["embeddings.LayerNorm"]
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            add(f"{layer}.{part}", hidden, hidden)
        add(f"{layer}.intermediate.dense", 4 * hidden, hidden)
        add(f"{layer}.output.dense", hidden, 4 * hidden)
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for norm in norms:
        weights[f"{norm}.weight"], weights[f"{norm}.bias"] = np.ones(hidden, np.float32), np.zeros(hidden, np.float32)
    add("head.dense", 128, 3 * hidden)
    add("head.out", 1, 128)
    return weights


@pytest.fixture
def tiny_checkpoint(tmp_path: Path, minilm_dir: Path) -> tuple[Path, BertConfig, dict[str, FloatArray]]:
    """A verifier of two narrow layers with random weights, as training writes it."""
    source = tmp_path / "source"
    source.mkdir()
    raw = json.loads((minilm_dir / "config.json").read_text()) | {"hidden_size": 32, "num_attention_heads": 4}
    (source / "config.json").write_text(json.dumps(raw))
    (source / "tokenizer.json").write_bytes((minilm_dir / "tokenizer.json").read_bytes())
    (source / "model.safetensors").write_bytes(b"")
    config = replace(read_config(source), layers=2)
    weights = _tiny_weights(config)
    shipping.write_checkpoint(tmp_path / "checkpoint", source, config, weights)
    return tmp_path / "checkpoint", config, weights


TinyCheckpoint = tuple[Path, BertConfig, dict[str, FloatArray]]


def test_a_trained_checkpoint_is_exported_and_scores(tiny_checkpoint: TinyCheckpoint, tmp_path: Path) -> None:
    manifest = shipping.ship(tiny_checkpoint[0], tmp_path / "out", name="tiny")
    assert manifest == VerifierManifest.read(tmp_path / "out")
    assert manifest.layers == 2
    scores = Verifier(tmp_path / "out").score(
        [("one text", "another"), ("one text", "something else entirely, longer")]
    )
    assert scores[0].logit != scores[1].logit


def test_int8_scores_stay_near_those_of_fp32(tiny_checkpoint: TinyCheckpoint, tmp_path: Path) -> None:
    pairs = [(text, other) for text in QUESTIONS for other in QUESTIONS]
    logits = {}
    for precision in ("int8", "fp32"):
        shipping.ship(tiny_checkpoint[0], tmp_path / precision, name="tiny", precision=precision)  # type: ignore[arg-type]
        logits[precision] = np.array([score.logit for score in Verifier(tmp_path / precision).score(pairs)])
    assert np.corrcoef(logits["int8"], logits["fp32"])[0, 1] > 0.98


def test_weights_are_read_back_from_what_ships(tiny_checkpoint: TinyCheckpoint, tmp_path: Path) -> None:
    folder, config, weights = tiny_checkpoint
    shipping.ship(folder, tmp_path / "out", name="tiny")
    again = reopened(tmp_path / "out" / "model.onnx", read_weights(folder), layers=config.layers)
    assert again.keys() == weights.keys()
    for name, weight in weights.items():
        half_a_level = np.abs(weight).max(axis=-1, keepdims=True) / 127 / 2
        # Smoothing stretches the large input channels first: their weights are rounded more finely, others' by what it made the largest.
        assert np.all(np.abs(again[name] - weight) <= 4 * half_a_level + 1e-6), name
    shipping.write_checkpoint(tmp_path / "again", folder, config, again)
    shipping.ship(tmp_path / "again", tmp_path / "shipped again", name="tiny")
    pairs = [(text, other) for text in QUESTIONS for other in QUESTIONS]
    logits = [[s.logit for s in Verifier(tmp_path / each).score(pairs)] for each in ("out", "shipped again")]
    assert np.corrcoef(logits[0], logits[1])[0, 1] > 0.99


def test_the_exported_model_computes_what_was_trained(tiny_checkpoint: TinyCheckpoint, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
    from embeddings.training.model import CrossEncoder

    folder, config, weights = tiny_checkpoint
    shipping.ship(folder, tmp_path / "out", name="tiny", precision="fp32")
    verifier = Verifier(tmp_path / "out")
    pairs = [(QUESTIONS[0], QUESTIONS[1]), ("a", "b"), (QUESTIONS[2], "")]
    rows = [verifier._tokenize(*pair) for pair in pairs]
    with torch.no_grad():
        expected = CrossEncoder(config, weights)(*(torch.from_numpy(array) for array in padded(rows, np.int64)))
    scores = [float(verifier.score_tokens([row])[0]) for row in rows]
    assert scores == pytest.approx(expected.numpy().tolist(), abs=1e-4)


def test_dropout_is_repeatable_and_ends_with_training(tiny_checkpoint: TinyCheckpoint) -> None:
    torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
    from embeddings.training.model import CrossEncoder

    _, config, weights = tiny_checkpoint
    net, plain = CrossEncoder(config, weights, dropout=0.25), CrossEncoder(config, weights)
    arrays = [torch.from_numpy(array) for array in padded([[5, 6, 102, 7, 102]] * 4, np.int64)]
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(net(*arrays).tolist())
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) > 1, "equal rows lose different states"
    assert net.eval()(*arrays).tolist() == plain(*arrays).tolist()
