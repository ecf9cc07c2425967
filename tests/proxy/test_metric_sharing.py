from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from proxy.metric_sharing import Siblings, absorb


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="deja-"))  # not tmp_path: names of Unix sockets are short
    yield made
    shutil.rmtree(made)


class Worker:
    """A worker that only counts."""

    def __init__(self, folder: Path, name: str) -> None:
        registry = CollectorRegistry()
        self.asked = Counter("asked", "How often.", registry=registry)
        self.waiting = Gauge("waiting", "How many.", registry=registry)
        self.siblings = Siblings(folder, name, registry)

    async def told(self, name: str) -> float:
        lines = (await self.siblings.scrape()).decode().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


@pytest.fixture
async def workers(folder: Path) -> AsyncIterator[list[Worker]]:
    made = [Worker(folder, name) for name in "123"]
    for worker in made:
        await worker.siblings.open()
    yield made
    for worker in made:
        await worker.siblings.aclose()


async def test_whichever_worker_is_asked_answers_for_all(workers: list[Worker]) -> None:
    for number, worker in enumerate(workers, start=1):
        worker.asked.inc(number)
        worker.waiting.set(number)
    assert [await worker.told("asked_total") for worker in workers] == [6, 6, 6]
    assert await workers[0].told("waiting") == 6
    workers[2].asked.inc()
    assert await workers[0].told("asked_total") == 7


async def test_what_an_ended_worker_counted_stays_and_what_it_measured_does_not(
    workers: list[Worker], folder: Path
) -> None:
    for worker in workers:
        worker.asked.inc()
        worker.waiting.set(1)
    await workers[1].siblings.aclose()
    assert await workers[0].told("asked_total") == 3
    assert await workers[0].told("waiting") == 2
    absorb(folder, "2")
    assert await workers[0].told("asked_total") == 3
    assert not (folder / "2.json").exists()


async def test_a_killed_worker_loses_no_count_that_was_told(workers: list[Worker], folder: Path) -> None:
    workers[1].asked.inc(5)
    assert await workers[0].told("asked_total") == 5
    server = workers[1].siblings._server
    assert server is not None
    server.close()  # as kill -9 leaves it: the socket's name is there, nobody answers
    assert await workers[0].told("asked_total") == 5
    absorb(folder, "2")
    assert await workers[2].told("asked_total") == 5


async def test_a_worker_absorbed_while_it_is_read_counts_once(workers: list[Worker], folder: Path) -> None:
    workers[1].asked.inc(5)
    await workers[1].siblings.aclose()
    left = (folder / "2.json").read_bytes()
    absorb(folder, "2")
    (folder / "2.json").write_bytes(left)  # as a scrape sees it that read the file before
    assert await workers[0].told("asked_total") == 5


async def test_many_ended_workers_are_one_sum(workers: list[Worker], folder: Path) -> None:
    for number in range(4, 9):
        another = Worker(folder, str(number))
        await another.siblings.open()
        another.asked.inc()
        await another.siblings.aclose()
        absorb(folder, str(number))
    assert await workers[0].told("asked_total") == 5
    assert not any((folder / f"{number}.json").exists() for number in range(4, 9))


def test_a_worker_that_left_nothing_is_absorbed_without_a_word(folder: Path) -> None:
    absorb(folder, "9")
    assert not list(folder.iterdir())
