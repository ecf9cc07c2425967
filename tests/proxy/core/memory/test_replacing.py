"""When a fact ends another without being told so: hardly ever."""

from __future__ import annotations

import pytest

from proxy.core.memory.records import MemoryType
from proxy.core.memory.replacing import takes_place_of
from tests.proxy.core.memory.builders import DAY, NOW, memory


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("User's favourite colour is blue", "The user's favorite color is green."),
        ("User lives in Paris", "User now lives in Berlin"),
        ("User lives in Paris", "User currently lives in São Paulo"),
        ("Anna is 34 years old", "Anna is 35 years old."),
        ("User's job title is bookkeeper", "User's job title is now chief accountant"),
    ],
)
def test_single_valued_attributes_take_the_newer_value(older: str, newer: str) -> None:
    assert takes_place_of(memory("b", newer), memory("a", older, at=NOW - DAY))


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("User likes tea", "User likes coffee"),
        ("User's sister is Anna", "User's sister is Maria"),
        ("User's favourite colour is blue", "User's favourite drink is tea"),
        ("User's favourite colour is blue", "Anna's favourite colour is red"),
        ("User lives in Paris", "User lives in Paris, France"),
        ("User lives in Paris", "User lives in Rome during the summer"),
        ("User's favourite colour is blue", "User's favourite colour is green for cars"),
        ("User lives in Paris", "User wants to live in Berlin"),
        ("User lives in Paris", "User's mother lives in Berlin"),
        ("User visited Paris", "User visited Berlin"),
        ("User's favourite colour is blue", "User's favourite colour is not green"),
    ],
)
def test_all_else_holds_beside_what_was_there(older: str, newer: str) -> None:
    assert not takes_place_of(memory("b", newer), memory("a", older, at=NOW - DAY))


def test_what_began_earlier_ends_nothing_that_began_later() -> None:
    older, newer = memory("a", "User lives in Paris", at=NOW), memory("b", "User lives in Rome", at=NOW - DAY)
    assert not takes_place_of(newer, older)


def test_an_event_ends_nothing() -> None:
    newer = memory("b", "User lives in Rome", memory_type=MemoryType.EPISODIC, event_at=NOW)
    assert not takes_place_of(newer, memory("a", "User lives in Paris", at=NOW - DAY))
