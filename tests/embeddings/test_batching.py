from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from embeddings.base import Embedding
from embeddings.batching import Batcher, BatchingEmbedder
from embeddings.errors import EmbedderClosedError, EmbedderError, EmbedderOverloadedError
from embeddings.hashing import HashingEmbedder


class GatedEmbedder(HashingEmbedder):
    """Records its batches; while the gate is shut, a batch that has begun does not end."""

    def __init__(self) -> None:
        super().__init__(dim=8)
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self._begun = threading.Event()
        self.gate.set()
        self.fault: Exception | None = None
        self.is_closed = False

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        self.batches.append(list(texts))
        self._begun.set()
        assert self.gate.wait(10)
        if self.fault is not None:
            raise self.fault
        return super().embed(texts)

    def close(self) -> None:
        self.is_closed = True

    async def until_begun(self, batches: int = 1) -> None:
        await asyncio.to_thread(self._begun.wait, 10)
        assert len(self.batches) == batches


@pytest.fixture
def model() -> GatedEmbedder:
    return GatedEmbedder()


@pytest.fixture
async def batching(model: GatedEmbedder) -> AsyncIterator[BatchingEmbedder]:
    embedder = BatchingEmbedder(model, max_batch=4, max_waiting=6, remembered=3)
    yield embedder
    model.gate.set()
    await embedder.aclose()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def start(batching: BatchingEmbedder, *texts: str) -> list[asyncio.Task[Embedding]]:
    loop = asyncio.get_running_loop()
    return [loop.create_task(batching.embed(text)) for text in texts]


async def test_a_single_text_starts_at_once(batching: BatchingEmbedder, model: GatedEmbedder) -> None:
    model.gate.clear()
    task = start(batching, "alone")[0]
    await model.until_begun()
    assert model.batches == [["alone"]]
    model.gate.set()
    assert (await task).vector.shape == (8,)


async def test_texts_gather_while_the_model_is_busy(batching: BatchingEmbedder, model: GatedEmbedder) -> None:
    model.gate.clear()
    tasks = start(batching, "first")
    await model.until_begun()
    tasks += start(batching, *"abcdef")
    await settle()
    model.gate.set()
    await asyncio.gather(*tasks)
    assert model.batches == [["first"], ["a", "b", "c", "d"], ["e", "f"]]


async def test_long_texts_do_not_share_a_batch(batching: BatchingEmbedder, model: GatedEmbedder) -> None:
    await batching.embed_many(["x" * 2_000, "y" * 2_000, "short"])
    assert [[len(text) for text in batch] for batch in model.batches] == [[2_000], [2_000, 5]]


async def test_one_text_asked_for_a_hundred_times_is_computed_once(
    batching: BatchingEmbedder, model: GatedEmbedder
) -> None:
    results = await asyncio.gather(*start(batching, *["same"] * 100))
    assert model.batches == [["same"]]
    assert all(result is results[0] for result in results)
    assert batching.stats.joined == 99


async def test_recent_texts_are_remembered_and_the_oldest_forgotten(
    batching: BatchingEmbedder, model: GatedEmbedder
) -> None:
    for text in ("a", "b", "c", "a", "d", "a", "b"):
        await batching.embed(text)
    assert model.batches == [["a"], ["b"], ["c"], ["d"], ["b"]]
    assert batching.stats.remembered == 2


async def test_texts_that_differ_by_a_space_are_different(batching: BatchingEmbedder, model: GatedEmbedder) -> None:
    await batching.embed_many(["a", "a "])
    assert model.batches == [["a", "a "]]


async def test_a_caller_that_gives_up_harms_no_other(batching: BatchingEmbedder, model: GatedEmbedder) -> None:
    model.gate.clear()
    leaver, stayer = start(batching, "same", "same")
    await model.until_begun()
    leaver.cancel()
    await settle()
    model.gate.set()
    assert (await stayer).tokens == 1
    assert leaver.cancelled()


async def test_a_text_nobody_waits_for_is_not_computed(batching: BatchingEmbedder, model: GatedEmbedder) -> None:
    model.gate.clear()
    busy = start(batching, "busy")[0]
    await model.until_begun()
    leaver, stayer = start(batching, "left", "wanted")
    await settle()
    leaver.cancel()
    await settle()
    model.gate.set()
    await asyncio.gather(busy, stayer)
    assert model.batches == [["busy"], ["wanted"]]


async def test_a_failing_model_tells_each_caller_and_is_tried_again(
    batching: BatchingEmbedder, model: GatedEmbedder
) -> None:
    model.fault = RuntimeError("secret text inside")
    outcomes = await asyncio.gather(*start(batching, "a", "a", "b"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [EmbedderError] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3
    assert "secret" not in str(outcomes[0])
    model.fault = None
    assert (await batching.embed("a")).tokens == 1
    assert batching.stats.failed_batches == 1


async def test_many_texts_fail_with_the_models_own_error(batching: BatchingEmbedder, model: GatedEmbedder) -> None:
    model.fault = EmbedderError("the model is out of order")
    with pytest.raises(EmbedderError, match="out of order"):
        await batching.embed_many(["a", "b"])


async def test_a_full_queue_refuses_at_once(batching: BatchingEmbedder, model: GatedEmbedder) -> None:
    model.gate.clear()
    tasks = start(batching, "first")
    await model.until_begun()
    tasks += start(batching, *"abcdef")
    await settle()
    with pytest.raises(EmbedderOverloadedError):
        await batching.embed("one too many")
    joined = start(batching, "a")
    await settle()
    model.gate.set()
    await asyncio.gather(*tasks, *joined)


async def test_closing_ends_the_running_batch_and_fails_the_rest(
    batching: BatchingEmbedder, model: GatedEmbedder
) -> None:
    model.gate.clear()
    running = start(batching, "running")[0]
    await model.until_begun()
    waiting = start(batching, "waiting")[0]
    await settle()
    closing = asyncio.get_running_loop().create_task(batching.aclose())
    with pytest.raises(EmbedderClosedError):
        await waiting
    model.gate.set()
    await closing
    assert (await running).tokens == 1
    assert model.is_closed
    with pytest.raises(EmbedderClosedError):
        await batching.embed("late")


async def test_the_event_loop_turns_while_the_model_works(batching: BatchingEmbedder, model: GatedEmbedder) -> None:
    model.gate.clear()
    task = start(batching, "slow")[0]
    await model.until_begun()
    await settle()
    assert not task.done()
    model.gate.set()
    await task


async def test_an_inline_text_is_computed_on_the_event_loop_and_remembered(model: GatedEmbedder) -> None:
    threads: list[int] = []
    compute = model.embed
    model.embed = lambda texts: threads.append(threading.get_ident()) or compute(texts)  # type: ignore[method-assign, func-returns-value]
    batching = BatchingEmbedder(model)
    first = await batching.embed("here", inline=True)
    assert await batching.embed("here") is first
    await batching.embed("there")
    await batching.aclose()
    assert [thread == threading.get_ident() for thread in threads] == [True, False]
    assert batching.stats.batches == 2


async def test_an_inline_text_waits_its_turn_while_the_model_is_busy(
    batching: BatchingEmbedder, model: GatedEmbedder
) -> None:
    model.gate.clear()
    busy = start(batching, "first")[0]
    await model.until_begun()
    inline = asyncio.get_running_loop().create_task(batching.embed("second", inline=True))
    await settle()
    assert not inline.done()
    model.gate.set()
    await asyncio.gather(busy, inline)
    assert model.batches == [["first"], ["second"]]


@pytest.mark.parametrize("fault", [ValueError("odd"), EmbedderError("its own")])
async def test_a_model_that_fails_inline_tells_and_is_tried_again(
    batching: BatchingEmbedder, model: GatedEmbedder, fault: Exception
) -> None:
    model.fault = fault
    with pytest.raises(EmbedderError):
        await batching.embed("fails", inline=True)
    model.fault = None
    assert (await batching.embed("fails", inline=True)).vector.shape == (8,)
    assert batching.stats.failed_batches == 1


async def test_several_threads_run_batches_at_the_same_time() -> None:
    at_once, most, lock, both = 0, 0, threading.Lock(), threading.Barrier(2, timeout=10)

    def run(items: Sequence[str]) -> list[int]:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        if len(items) == 2:
            both.wait()  # passes only where two run side by side
        with lock:
            at_once -= 1
        return [len(item) for item in items]

    batcher: Batcher[str, int] = Batcher(run, lambda: None, what="texts", max_batch=2, threads=2)
    assert await batcher.get_many(["a", "bb", "ccc", "dddd"]) == [1, 2, 3, 4]
    assert most == 2
    await batcher.aclose()
