from __future__ import annotations

import numpy as np

from loadtest.rivals.deja import Deja
from loadtest.rivals.replay import Store
from tests.loadtest.rivals.made_up import MakeJudge, WordsInCommon

CAT, CAT_AGAIN, DOG = "how do i feed a young cat", "how do i best feed a young cat", "how do i feed a young dog"


def store_of(count: int, *texts: int, cosine: float = 0.9) -> Store:
    store = Store(np.full((count, count), cosine, np.float32))
    for text in texts:
        store.add(text)
    return store


def test_a_rewording_is_served_and_below_the_level_it_is_not(make_judge: MakeJudge) -> None:
    judge = make_judge([CAT, CAT_AGAIN])
    confidence = judge.confidence(0, 1)
    assert 0.5 < confidence < 1.0
    assert Deja(judge, confidence - 0.01).look_up(1, store_of(2, 0)) == 0
    assert Deja(judge, confidence + 0.01).look_up(1, store_of(2, 0)) is None


def test_a_hard_gate_refuses_whatever_the_verifier_would_say_and_it_is_not_asked(
    make_judge: MakeJudge, verifier: WordsInCommon
) -> None:
    judge = make_judge(["convert 5 miles to km", "convert 6 miles to km"])
    assert Deja(judge, 0.1).look_up(1, store_of(2, 0)) is None
    assert verifier.asked == []


def test_the_verifier_is_not_asked_where_its_praise_would_not_suffice(
    make_judge: MakeJudge, verifier: WordsInCommon
) -> None:
    judge = make_judge([CAT, CAT_AGAIN], cosine=-0.9)
    assert judge.could_reach(0, 1, 0.95)
    assert not judge.could_reach(0, 1, 0.97)
    assert Deja(judge, 0.97).look_up(1, store_of(2, 0)) is None
    assert verifier.asked == []


def test_nothing_is_served_above_a_confidence_of_one(make_judge: MakeJudge) -> None:
    assert Deja(make_judge([CAT, CAT]), 2.0).look_up(1, store_of(2, 0)) is None


def test_the_surest_candidate_is_served_if_the_nearest_is_not_sure_enough(make_judge: MakeJudge) -> None:
    texts = [DOG, CAT_AGAIN, CAT]
    judge = make_judge(texts)
    store = store_of(3, 0, 1)
    level = (judge.confidence(0, 2) + judge.confidence(1, 2)) / 2
    assert judge.confidence(0, 2) < level < judge.confidence(1, 2)
    assert Deja(judge, level).look_up(2, store) == 1


def test_what_is_never_matched_by_meaning_is_neither_looked_up_nor_found(make_judge: MakeJudge) -> None:
    judge = make_judge(["where is my parcel", CAT, CAT_AGAIN], unreadable=[1])
    deja = Deja(judge, 0.1)
    assert [deja.take_in(text) for text in range(3)] == [False, False, True]
    assert deja.look_up(1, store_of(3, 2)) is None


def test_what_the_verifier_said_once_is_not_asked_again(make_judge: MakeJudge, verifier: WordsInCommon) -> None:
    judge = make_judge([CAT, CAT_AGAIN])
    for _ in range(2):
        Deja(judge, 0.5).look_up(1, store_of(2, 0))
    assert verifier.asked == [(CAT, CAT_AGAIN)]
