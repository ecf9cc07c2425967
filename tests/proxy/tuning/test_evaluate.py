from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from embeddings.hashing import HashingEmbedder
from embeddings.verifier import Score
from proxy.tuning import eval_report
from proxy.tuning.eval_sets import EvalSet
from proxy.tuning.evaluate import Evaluator, Remembering, is_streamed
from proxy.tuning.figures import Share
from proxy.tuning.scoring import LabelledPair
from proxy.tuning.through_proxy import ProxyResult, compare
from tests.proxy.tuning.builders import calibration

PASSWORD = ("How do I reset my password?", "How can I reset my password?")
CARD = ("How do I block my card?", "How can I block my card?")


class Verifier:
    """As sure as half of the words are shared."""

    fingerprint = "verifier"

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
        shared = [len(set(a.split()) & set(b.split())) / len(set(a.split()) | set(b.split())) for a, b in pairs]
        return [Score(24 * (one - 0.5) + 8, 10, is_truncated=False) for one in shared]

    def close(self) -> None:
        pass


def silent(_step: str, _done: int, _total: int) -> None:
    pass


@pytest.fixture
def evaluator() -> Evaluator:
    return Evaluator(HashingEmbedder(), Verifier(), calibration((0.01, 0.9), (0.05, 0.6)), 0.01)


def the_set() -> EvalSet:
    pairs = (
        LabelledPair(*PASSWORD, True, "k"),
        LabelledPair("Same text?", "Same text?", True, "k"),
        LabelledPair(PASSWORD[0], CARD[1], False, "k"),
        LabelledPair(*CARD, False, "k"),
    )
    return EvalSet("mine", pairs, "made up")


def test_a_set_has_its_row_at_the_default_level_and_at_others(evaluator: Evaluator) -> None:
    evaluator.measure(the_set(), silent)
    (row,) = evaluator.finish().sets
    assert row.default.found == Share(2, 2)
    assert row.default.accepted == Share(1, 2)
    assert row.exact == 1
    assert row.cosine == Share(2, 2)
    assert set(row.budgets) == {0.005, 0.01, 0.02, 0.05}
    assert row.budgets[0.005][0].found == Share(1, 2)  # no level is certified: the exact tier alone


def test_each_part_of_the_decision_is_told_apart_where_asked_for() -> None:
    evaluator = Evaluator(HashingEmbedder(), Verifier(), calibration((0.01, 0.9)), 0.01, by_part=True)
    evaluator.measure(the_set(), silent)
    found = evaluator.finish()
    parts = found.sets[0].parts
    assert set(parts) == {0.005, 0.01, 0.02, 0.05}
    assert parts[0.01]["cosine"] == Share(2, 2)
    assert parts[0.01]["everything"].of == 2
    assert "What each part can tell apart" in eval_report.markdown(found)
    assert eval_report.as_json(found)["sets"][0]["parts"]["0.01"]["verifier"]["of"] == 2


def test_what_label_and_decision_disagree_about_is_kept_for_reading(evaluator: Evaluator) -> None:
    evaluator.measure(the_set(), silent)
    (what, reading), *others = evaluator.finish().disagreements["mine"]
    assert (what, reading.stored, reading.asked) == ("accepted", *CARD)
    assert others == []


def write(folder: Path, name: str, rows: Sequence[dict[str, object]]) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def talks() -> Iterator[dict[str, object]]:
    for city, turn in (("Rome", "How old is the town?"), ("Oslo", "How old is that town?")):
        yield {
            "topic": city,
            "turns": [{"raw": f"Tell me of {city} and of its long and eventful history"}, {"raw": turn}],
        }


def test_a_follow_up_counts_as_a_hit_only_where_the_first_questions_do(evaluator: Evaluator, tmp_path: Path) -> None:
    firsts, made = evaluator.conversations("talks", write(tmp_path, "talks.jsonl", list(talks())), 100)
    assert [one.is_same for one in firsts.pairs] == [False]
    evaluator.follow_ups("talks", made, silent)
    (row,) = evaluator.finish().sets
    assert row.default.accepted == Share(0, 1)


def test_a_group_file_of_ones_own_is_a_stream_and_neighbours(evaluator: Evaluator, tmp_path: Path) -> None:
    path = write(
        tmp_path, "faq.jsonl", [{"text": text, "group": at} for at, two in enumerate((PASSWORD, CARD)) for text in two]
    )
    assert is_streamed("faq", path)
    assert not is_streamed("support_utterances", path)
    evaluator.stream("faq", path, silent)
    (made,) = evaluator.finish().streams
    assert (made.texts, made.groups) == (4, 2)
    assert made.ours[0.01].wrong.count == 0
    assert made.ours[0.01].right.of == 2 * made.orders


def test_a_text_that_no_meaning_is_known_of_has_no_direction(evaluator: Evaluator) -> None:
    long, short = evaluator.vectors(["word " * 5000, "a question"])
    assert float(short @ short) == pytest.approx(1.0)
    assert float(long @ long) in (0.0, pytest.approx(1.0))  # zero where the embedder did not read it whole


def test_each_text_is_embedded_once_until_forgotten() -> None:
    embedder = HashingEmbedder()
    calls: list[Sequence[str]] = []

    class Counting(HashingEmbedder):
        def embed(self, texts: Sequence[str]) -> list:  # type: ignore[type-arg]
            calls.append(texts)
            return embedder.embed(texts)

    remembering = Remembering(Counting())
    first = remembering.embed(["a", "b", "a"])
    assert remembering.embed(["b", "a"])[1] is first[0]
    assert sum(map(len, calls)) == 2
    remembering.forget()
    remembering.embed(["a"])
    assert sum(map(len, calls)) == 3


def proxied() -> ProxyResult:
    import numpy as np

    return compare(
        "mine",
        the_set().pairs,
        ["hit semantic", "hit exact", "gate-focus", "redis-unavailable"],
        np.array([1, 1, 0, 1], bool),
    )


def test_the_tables_hold_every_figure_and_no_text_of_the_data(evaluator: Evaluator, tmp_path: Path) -> None:
    path = write(tmp_path, "faq.jsonl", [{"text": text, "group": 1} for text in PASSWORD])
    evaluator.measure(the_set(), silent)
    evaluator.stream("faq", path, silent)
    found = evaluator.finish()
    told = eval_report.markdown(found, [proxied()])
    numbers = json.dumps(eval_report.as_json(found, [proxied()]), allow_nan=False)
    for part in (
        "| mine | 2 / 2 | 100 % [100 %] (15.8 %–100 %)",
        "made up",
        "faq",
        "redis-unavailable 1",
        "exact repeats only",
    ):
        assert part in told, part
    for text in (*PASSWORD, *CARD):
        assert text not in told
        assert text not in numbers


def test_every_row_of_a_table_has_as_many_cells_as_its_heading(evaluator: Evaluator) -> None:
    evaluator.measure(the_set(), silent)
    told = eval_report.markdown(evaluator.finish(), [proxied()])
    for block in told.split("\n\n"):
        widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1, block
