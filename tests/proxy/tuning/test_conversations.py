from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from embeddings.hashing import HashingEmbedder
from proxy.tuning.conversations import read


def embed(texts: Sequence[str]) -> Any:
    return np.stack([one.vector for one in HashingEmbedder().embed(texts)])


def talk(*turns: str) -> dict[str, Any]:
    return {"topic": "1", "turns": [{"raw": turn} for turn in turns]}


def test_first_questions_meet_first_questions_and_all_are_different() -> None:
    made = read([talk("Who was Bach?"), talk("Who was Brahms?"), talk("Who was Bach?")], "talks", embed)
    assert [{one.stored, one.asked} for one in made.firsts] == [{"Who was Bach?", "Who was Brahms?"}]
    assert not any(one.is_same for one in made.firsts)
    assert made.follow_ups == ()


def test_follow_ups_meet_those_of_other_conversations_at_the_same_turn() -> None:
    first = talk("Who was Bach?", "When was he born?", "And when did he die?")
    second = talk("Who was Brahms?", "When was he alive?")
    made = read([first, second], "talks", embed)
    assert [{one.stored, one.asked} for one in made.follow_ups] == [{"When was he born?", "When was he alive?"}]
    assert [{one.stored, one.asked} for one in made.openings] == [{"Who was Bach?", "Who was Brahms?"}]


def test_follow_ups_of_one_first_question_are_behind_no_wall_and_left_out() -> None:
    made = read([talk("Who was Bach?", "Born when?"), talk("Who was Bach?", "Died when?")], "talks", embed)
    assert made.follow_ups == ()


def test_rows_of_two_questions_are_conversations_too() -> None:
    rows = [
        {
            "first": "Who was Bach?",
            "first_answer": "A man.",
            "follow_up": "When was he born?",
            "follow_up_answer": "1685",
        },
        {
            "first": "Who was Brahms?",
            "first_answer": "A man.",
            "follow_up": "When was he alive?",
            "follow_up_answer": "1850",
        },
    ]
    made = read(rows, "talks", embed)
    assert len(made.firsts) == len(made.follow_ups) == 1
