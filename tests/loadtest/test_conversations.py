"""Conversations that are reworded in both turns: the rows, and what is said of them."""

from __future__ import annotations

from dataclasses import astuple

from loadtest import conversations
from loadtest.conversations import Told, summary


def test_every_row_is_whole_and_stands_once() -> None:
    rows = conversations.read()
    assert len({row.first for row in rows}) == len(rows) >= 100
    for row in rows:
        assert all(text.strip() for text in astuple(row))
        assert len(set(astuple(row))) == len(astuple(row)), row.first


def test_a_conversation_counts_only_where_both_turns_hit() -> None:
    told = [
        Told("a", "hit semantic", "hit semantic", "verifier"),
        Told("a", "hit semantic", "verifier", "hit semantic"),
        Told("a", "gate-number", "hit exact", "verifier"),
        Told("b", "hit exact", "hit semantic", "verifier"),
    ]
    lines = summary(told).splitlines()
    assert lines[2].startswith("| a | 3 | 2 | 1 (")
    assert lines[2].endswith("| 1 |")
    assert lines[3].startswith("| b | 1 | 1 | 1 (")
    assert lines[-2:] == ["First turns that missed: 1 gate-number.", "Second turns after a hit: 1 verifier."]
