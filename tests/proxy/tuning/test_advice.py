from __future__ import annotations

import pytest

from proxy.core.confidence import EXACT_ONLY
from proxy.core.gates import GateReason
from proxy.tuning.advice import advise, needed_hits, percent, verdict
from proxy.tuning.rating import rate
from tests.proxy.tuning.builders import calibration, many, scored

GOOD = [*many((700, 0.97, True), (300, 0.6, True), (300, 0.6, False), (700, 0.2, False))]


def test_enough_good_pairs_certify_a_level_and_the_sentence_says_it() -> None:
    advice = advise(rate(GOOD, calibration()), calibration(), 0.01)
    assert advice.is_certified
    assert advice.origin == "certified"
    assert 0.6 < advice.level <= 0.98
    assert advice.outcome.wrong.count == 0
    told = verdict(advice)
    assert f"Serve from confidence {advice.level:.4f} up" in told
    assert "finds 70 % of the rewordings" in told
    assert "at most 1 % of the hits by meaning will be wrong" in told


def test_too_few_pairs_are_called_too_few_and_the_shipped_level_stays() -> None:
    advice = advise(rate(many((20, 0.97, True), (20, 0.2, False)), calibration()), calibration(), 0.01)
    assert not advice.is_certified
    assert (advice.origin, advice.level) == ("shipped", 0.95)
    told = verdict(advice)
    assert "Too few pairs to certify 1 %" in told
    assert "at least 299 hits without a wrong one, and only 20" in told
    assert "Deja keeps its level, 0.9500" in told


def test_many_pairs_with_wrong_ones_on_top_certify_nothing_and_ask_to_be_read() -> None:
    advice = advise(rate(many((400, 0.9, True), (200, 0.99, False)), calibration()), calibration(), 0.01)
    assert not advice.is_certified
    assert "These pairs certify no level for 1 %" in verdict(advice)
    assert "are the labels right" in verdict(advice)


def test_without_any_level_the_observed_one_is_shown_and_no_promise_made() -> None:
    strict = calibration((0.01, EXACT_ONLY))
    advice = advise(rate(many((20, 0.97, True), (20, 0.2, False)), strict), strict, 0.01)
    assert advice.origin == "observed"
    assert advice.level == pytest.approx(0.97)
    assert "only exact repeats are served" in verdict(advice)


@pytest.mark.parametrize(("budget", "hits"), [(0.05, 59), (0.02, 149), (0.01, 299), (0.005, 598)])
def test_the_hits_a_certificate_needs_are_those_the_guide_names(budget: float, hits: int) -> None:
    assert needed_hits(budget) == hits
    assert advise(rate(many((hits, 0.97, True)), calibration()), calibration(), budget).is_certified
    assert not advise(rate(many((hits - 1, 0.97, True)), calibration()), calibration(), budget).is_certified


def test_pairs_of_equal_texts_are_left_out_and_counted() -> None:
    equal = scored(stored="The very same", asked="The very same")
    advice = advise(rate([equal, *many((5, 0.97, True))], calibration()), calibration(), 0.01)
    assert (advice.pairs, advice.left_out) == (5, 1)


def test_the_pairs_to_read_are_the_surest_wrong_and_the_least_sure_right() -> None:
    pairs = [
        scored(0.99, False, asked="surest wrong"),
        scored(0.97, False, asked="sure wrong"),
        scored(0.3, True, asked="unsure right"),
        scored(0.9, True, asked="refused right", gate=GateReason.NUMBER),
    ]
    advice = advise(rate(pairs, calibration()), calibration(), 0.01)
    assert [one.asked for one in advice.wrong] == ["surest wrong", "sure wrong"]
    assert [one.is_hit for one in advice.wrong] == [True, True]
    assert [(one.asked, one.why) for one in advice.missed] == [("refused right", "gate-number"), ("unsure right", "")]
    assert advice.refused == {"gate-number": 1, "below-confidence": 1}


def test_each_kind_has_its_row_at_the_chosen_level() -> None:
    pairs = many((4, 0.97, True), (4, 0.2, False), kind="x") + many((2, 0.5, True), kind="y")
    rows = {row.kind: row for row in advise(rate(pairs, calibration()), calibration(), 0.01).kinds}
    assert (rows["x"].outcome.found.count, rows["x"].outcome.found.of, rows["x"].pairs) == (4, 4, 8)
    assert (rows["y"].outcome.found.count, rows["y"].outcome.accepted.of) == (0, 0)


@pytest.mark.parametrize(
    ("value", "told"), [(None, "–"), (0.0, "0 %"), (0.0012, "0.12 %"), (0.1, "10 %"), (0.256, "25.6 %"), (1, "100 %")]
)
def test_a_share_is_written_as_people_read_it(value: float | None, told: str) -> None:
    assert percent(value) == told
