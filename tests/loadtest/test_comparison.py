from __future__ import annotations

import numpy as np
import pytest

from embeddings.hashing import HashingEmbedder
from loadtest import comparison
from loadtest.rivals import report, streams
from loadtest.rivals.field import BUDGETS, Course
from loadtest.rivals.replay import Per
from tests.loadtest.rivals.made_up import MakeJudge, calibration
from tests.redis_server import private_redis

VERBS = ("reset", "clean", "paint", "sell", "mend", "open")
THINGS = ("bicycle", "kettle", "violin", "camera", "tent", "radio", "canoe", "garden gate")


def course(make_judge: MakeJudge, half: streams.Stream) -> Course:
    vectors = np.stack([one.vector for one in HashingEmbedder().embed(half.texts)])
    return Course(half, half.orders(2, seed=1), vectors, vectors @ vectors.T, make_judge(half.texts), seed=1)


@pytest.mark.slow
def test_all_contenders_run_over_the_same_questions_and_everyone_is_told_of(make_judge: MakeJudge) -> None:
    rows = [
        (f"{opening} {verb} the {thing}", f"{verb} {thing}")
        for verb in VERBS
        for thing in THINGS
        for opening in ("how do i", "what is the way to", "please tell me how to")
    ]
    halves = streams.from_groups("made up", rows, lambda at: rows[at][1], most=1000)
    courses = (course(make_judge, halves[0]), course(make_judge, halves[1]))
    with private_redis() as url:
        by_hits, by_requests = comparison.compare(courses, calibration(), url, library_orders=2)
    assert (by_hits.per, by_requests.per) == (Per.HITS, Per.REQUESTS)
    names = {line.name.split(",")[0].split()[0] for line in by_hits.lines}
    assert names == {"Deja", "cosine", "redisvl", "GPTCache", "vCache", "vCache's"}
    for result in (by_hits, by_requests):
        named = {line.name: line for line in result.lines}
        for budget in BUDGETS:
            assert all(line.tallies[budget].asked.tolist() == [len(rows)] * 2 for line in result.lines)
            for name in (report.HINDSIGHT, "cosine, best threshold in hindsight"):
                assert named[name].tallies[budget].wrong_rate(result.per) <= budget
    assert by_hits.agreement == 1.0
    assert 0.5 < by_hits.possible < 0.67
    assert max(line.tallies[0.05].hits.sum() for line in by_requests.lines) > 0
