"""The growth benchmark in a tiny form: it runs, goes on where it stopped, and reports what it should. Its numbers mean nothing here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loadtest import growth, growth_report, growth_store, growth_vectors
from loadtest.growth_report import Built, Filled, Looked, Restarted, Results
from loadtest.growth_store import Graph, Policy, partition, partitions_of
from loadtest.growth_vectors import DIM, Space, TrueNeighbours, recall, topic_of
from tests.redis_server import artifacts_dir

BLOCK = 1_000
"""A tenth of the real one, which takes half a second."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (growth, growth_store, growth_vectors):
        monkeypatch.setattr(module, "BLOCK", BLOCK)


def test_two_worlds_of_one_seed_are_the_same_whatever_was_made_before() -> None:
    first, second = Space(1), Space(1)
    second.block(0)
    assert np.array_equal(first.block(1)[0], second.block(1)[0])
    assert not np.array_equal(first.block(1)[0], Space(2).block(1)[0])


def test_questions_are_unit_vectors_that_crowd_together() -> None:
    vectors, places = Space().block(0)
    assert vectors.shape == (BLOCK, DIM)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    cosines = vectors[:200] @ vectors.T
    np.fill_diagonal(cosines[:, :200], -1)
    assert (
        0.4 < np.median(cosines.max(axis=1)) < 0.6
    )  # of 5,000 real questions 0.56, and they grow nearer with their number
    assert abs(float(cosines.mean())) < 0.1
    topics = topic_of(places)
    assert set(np.unique(topics)) == set(range(8, 16))
    assert (topics == 8).mean() > (topics == 15).mean()


def test_a_reworded_question_is_nearest_to_the_one_it_rewords() -> None:
    space = Space()
    stored, asked = space.vectors(2_000), space.asked(20)
    nearest = (asked @ stored.T).max(axis=1)
    assert nearest[::2].min() > 0.9
    assert nearest[1::2].max() < 0.9


def test_true_neighbours_are_those_of_all_blocks_and_of_the_partition_alone() -> None:
    space = Space()
    stored, asked = space.vectors(2 * BLOCK), space.asked(10)
    is_even = np.arange(2 * BLOCK) % 2 == 0
    for is_in in (np.ones(2 * BLOCK, dtype=bool), is_even):
        truth = TrueNeighbours(asked, 3)
        for start in (0, BLOCK):
            truth.add(start, stored[start : start + BLOCK], is_in[start : start + BLOCK])
        cosines = np.where(is_in, asked @ stored.T, -2)
        assert np.array_equal(truth.ids, np.argsort(-cosines, axis=1)[:, :3])
    assert recall([list(row) for row in truth.ids], truth.ids, 3) == 1.0
    assert recall([[int(row[0])] for row in truth.ids], truth.ids, 3) == pytest.approx(1 / 3)


def test_an_entry_is_in_its_turn_alone_or_in_all_that_nest_around_it() -> None:
    assert partitions_of(5, 9, is_small=True) == [partition("turn 1")]
    assert partitions_of(1_500, 9, is_small=False)[:2] == [partition("all"), partition("first 2000")]
    assert partition("topic 9") in partitions_of(1_500, 9, is_small=False)


def test_a_policy_says_only_what_it_changes() -> None:
    assert Policy().clause(6) == "[KNN 6 @vector $vector  AS distance]"
    assert "EF_RUNTIME" not in Policy("ADHOC_BF", ef=64).clause(6)  # which RediSearch refuses
    assert str(Policy("BATCHES", ef=64)) == "BATCHES, ef 64"


async def test_a_tiny_run_measures_everything_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (growth, "ARTIFACTS", artifacts_dir()),
        (growth, "MEMORY_BYTES", 256 << 20),
        (growth, "SIZES", (60, 300)),
        (growth, "SMALL_SIZES", (30,)),
        (growth, "GRAPHS_AT", 300),
        (growth, "GRAPHS", (Graph(m=4), Graph("FLAT"))),
        (growth, "POLICIES", (Policy(), Policy("BATCHES", ef=32))),
        (growth, "QUESTIONS", 8),
        (growth, "PAUSE_S", 0.05),
        (growth, "NESTED", (100,)),
        (growth_store, "NESTED", (100,)),
    ):
        monkeypatch.setattr(module, name, value)
    run = growth.Growth(tmp_path, most=300)
    await run.run()
    rows = run.results
    assert [row.entries for row in rows.of(Filled, layout="one")] == [60, 300]
    assert {row.partition for row in rows.of(Looked, entries=300, what="Deja")} == {
        "all",
        "first 100",
        "topic 8",
        "topic 15",
    }
    assert all(0.5 < row.recall <= 1 and 0 < row.p50_ms <= row.p99_ms for row in rows.of(Looked, what="Deja"))
    assert rows.of(Looked, layout="small")[0].recall == 1.0
    assert len(rows.of(Built)) == 3
    assert rows.of(Restarted)[0].whole_s >= rows.of(Restarted)[0].answers_s > 0
    again = growth.Growth(tmp_path, most=300)
    await again.run()
    assert again.results.rows == rows.rows


def test_the_goal_is_told_where_both_sizes_were_measured(tmp_path: Path) -> None:
    def looked(entries: int, p50_ms: float, share: float) -> Looked:
        return Looked("one", entries, "all", entries, "Deja", p50_ms, 2.0, share, share, 0.1)

    results = Results("a machine", [looked(10_000, 0.5, 1.0), looked(1_000_000, 0.9, 0.99)])
    assert "1.80 ×" in "\n".join(growth_report.markdown(results))
    assert "missed" not in "\n".join(growth_report.markdown(results))
    results.rows[1] = looked(1_000_000, 1.1, 0.99)
    assert "missed" in "\n".join(growth_report.markdown(results))
    growth_report.keep(results, tmp_path)
    assert Results.read(tmp_path / "growth.json", machine="").rows == results.rows
    growth_report.write(results, tmp_path)
    assert (tmp_path / "growth.md").exists()
