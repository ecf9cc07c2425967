"""How the gates do on everyday wordings: every trap is refused, and most rewordings pass, also those kept aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.core.gates import MERGE_GATES, refusal

_TABLES = Path(__file__).parent / "everyday"
# Shares of each half that pass, one point below what was measured when the rules were written (decision 0003).
FLOORS = {"seen": 0.81, "kept": 0.68}


def _halves(name: str) -> dict[str, list[tuple[str, str]]]:
    """The pairs of a table by half; a line without a bar opens one."""
    halves: dict[str, list[tuple[str, str]]] = {}
    half = ""
    for line in (_TABLES / f"{name}.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        if " | " in line:
            one, other = line.split(" | ")
            halves[half].append((one, other))
        else:
            half = line
            halves[half] = []
    return halves


@pytest.mark.parametrize("half", ["seen", "kept"])
def test_most_everyday_rewordings_pass(half: str) -> None:
    pairs = _halves("rewordings")[half]
    refused = [(one, other) for one, other in pairs if refusal(one, other) is not None]
    assert len(pairs) >= 100
    assert 1 - len(refused) / len(pairs) >= FLOORS[half], refused


@pytest.mark.parametrize("half", ["seen", "kept"])
def test_every_trap_of_the_same_shapes_is_refused(half: str) -> None:
    pairs = _halves("traps")[half]
    assert len(pairs) >= 100
    assert [pair for pair in pairs if refusal(*pair) is None] == []
    assert [pair for pair in pairs if refusal(*reversed(pair)) is None] == []


@pytest.mark.parametrize("half", ["seen", "kept"])
def test_an_everyday_rewording_that_serves_mostly_merges_too(half: str) -> None:
    served = [pair for pair in _halves("rewordings")[half] if refusal(*pair) is None]
    merged = [pair for pair in served if refusal(*pair, also=MERGE_GATES) is None]
    assert len(merged) >= 0.95 * len(served), set(served) - set(merged)
