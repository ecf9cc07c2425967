from __future__ import annotations

import numpy as np
import pytest

from loadtest import budget_simulation, budget_traffic
from loadtest.budget_traffic import SCENARIOS, bins_of, calibrate, oracle_level, stream
from proxy.core.confidence import BIN_COUNT, EXACT_ONLY, Evidence, bin_of


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (budget_simulation, budget_traffic):
        monkeypatch.setattr(module, "REQUESTS", 6000)
    monkeypatch.setattr(budget_simulation, "BURN_IN", 2000)


def test_bins_of_arrays_are_those_of_the_core() -> None:
    confidences = np.concatenate([np.linspace(0, 1, 101), 1 - np.logspace(-6, -1, 50)])
    assert [bin_of(c) for c in confidences.tolist()] == bins_of(confidences).tolist()
    assert bins_of(confidences).max() == BIN_COUNT - 1


def test_the_simulated_map_is_the_calibrations_own() -> None:
    calibration, knots, chances = calibrate(np.random.default_rng(1), 0.02)
    for score in (-3.0, 0.1, 1.7, 4.0):
        assert calibration.confidence(Evidence(0.5, score)) == pytest.approx(float(np.interp(score, knots, chances)))
    assert calibration.level_for(0.02) <= 1


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_a_streams_chances_are_its_truth(scenario: budget_traffic.Scenario) -> None:
    rng = np.random.default_rng(2)
    requests = stream(rng, scenario, np.array([-5.0, 5.0]), np.array([0.0, 1.0]))
    spread = np.sqrt((requests.chance * (1 - requests.chance)).sum())
    assert abs(requests.is_wrong.sum() - requests.chance.sum()) < 5 * spread + 1
    assert (requests.confidence < 0).mean() == pytest.approx(1 - budget_traffic.HAS_CANDIDATE, abs=0.03)


def test_an_oracle_serves_all_that_keeps_the_budget() -> None:
    confidence, chance = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.0, 0.02, 0.01, 0.5])
    assert oracle_level(confidence, chance, 0.01) == 0.7
    assert oracle_level(confidence, chance + 0.1, 0.01) == EXACT_ONLY


@pytest.mark.usefixtures("short")
def test_a_run_is_repeatable_and_told_in_one_row() -> None:
    one, other = (budget_simulation.simulate(SCENARIOS[3], 5, 0.02) for _ in range(2))
    assert one.rate == other.rate
    assert one.rate <= one.rate_calibrated
    assert one.delay is not None
    row = budget_simulation.row(SCENARIOS[3], [one, other], 0.02)
    assert row.startswith("| optimistic ×5 | ")
    assert row.count("|") == budget_simulation.HEADER.count("|")
