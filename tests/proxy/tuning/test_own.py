from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.confidence import EXACT_ONLY
from proxy.errors import ConfigError
from proxy.tuning.own import LEAST_TO_FIT, calibrate, halves, load, save
from proxy.tuning.rating import rate
from tests.proxy.tuning.builders import SCALE, calibration, many, scored


@given(links=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=15), share=st.floats(0, 1))
def test_no_text_is_on_both_sides_of_a_split(links: list[tuple[int, int]], share: float) -> None:
    pairs = [scored(stored=f"text {a}", asked=f"text {b}") for a, b in links]
    first, second = halves(pairs, share)
    texts = [{text for one in side for text in (one.pair.stored, one.pair.asked)} for side in (first, second)]
    assert not texts[0] & texts[1]
    assert len(first) + len(second) == len(pairs)


def test_a_smaller_share_takes_part_of_what_a_larger_one_takes() -> None:
    pairs = many((60, 0.9, True))
    quarter, half = ({one.pair.stored for one in halves(pairs, share)[1]} for share in (0.25, 0.5))
    assert quarter < half


def test_few_pairs_keep_the_model_and_replace_the_levels() -> None:
    made = calibrate(many((50, 0.97, True), (50, 0.2, False)), calibration())
    assert not made.is_refitted
    assert "too few to fit" in made.why
    assert made.calibration == replace(calibration(), levels=made.calibration.levels, shares=made.calibration.shares)
    assert made.calibration.level_for(0.01) == EXACT_ONLY
    assert 0 < made.certifying < 100


def test_later_turns_are_read_by_what_the_levels_were_certified_for() -> None:
    base = replace(calibration(), follow_up=replace(calibration(), levels=(), shares=()))
    assert calibrate(many((50, 0.97, True), (50, 0.2, False)), base).calibration.follow_up is None


def test_many_pairs_certify_levels_on_the_half_that_fitted_nothing() -> None:
    pairs = many((900, 0.97, True), (200, 0.2, False))
    made = calibrate(pairs, calibration())
    held = rate(halves(pairs)[1], made.calibration)
    level = made.calibration.level_for(0.02)
    assert level < EXACT_ONLY
    assert made.certifying == len(held.pairs)
    assert not (held.hits(level) & ~held.is_same).any()


def test_a_model_that_is_off_is_fitted_anew() -> None:
    # The model in use says 58 % of what is always the same, and 42 % of what never is.
    pairs = many((5 * LEAST_TO_FIT, 0.58, True), (5 * LEAST_TO_FIT, 0.42, False))
    made = calibrate(pairs, calibration())
    assert made.is_refitted
    assert "fitted to your pairs" in made.why
    sure, unsure = (made.calibration.confidence(scored(confidence).evidence) for confidence in (0.58, 0.42))
    assert sure > 0.9
    assert unsure < 0.1
    assert made.calibration.scale == SCALE


def test_a_model_that_is_right_is_kept() -> None:
    pairs = many(*((round(1000 * share), share, True) for share in (0.2, 0.5, 0.8)))
    pairs += many(*((round(1000 * (1 - share)), share, False) for share in (0.2, 0.5, 0.8)))
    made = calibrate(pairs, calibration())
    assert "log loss" in made.why
    assert made.is_refitted == ("fitted to your pairs" in made.why)
    if made.is_refitted:  # then it hardly differs
        assert made.calibration.confidence(scored(0.5).evidence) == pytest.approx(0.5, abs=0.1)


def test_what_is_written_is_what_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    save(calibration(), path)
    assert load(path, scale=SCALE) == calibration()
    assert [one.name for one in tmp_path.iterdir()] == ["calibration.json"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("{", "cannot be used"),
        ("[]", "version must be"),
        (json.dumps({"version": 1}), "the field 'weights' is missing"),
        (json.dumps(calibration(scale="other").as_json()), "was made for the models other, not for embedder+verifier"),
    ],
    ids=["missing", "garbled", "no object", "incomplete", "other models"],
)
def test_a_calibration_that_cannot_be_used_says_why_and_how_to_mend_it(
    tmp_path: Path, text: str | None, sentence: str
) -> None:
    path = tmp_path / "calibration.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as told:
        load(path, scale=SCALE)
    assert sentence in str(told.value)
    assert str(path) in str(told.value)
    assert "deja tune PAIRS --calibrate" in str(told.value)
