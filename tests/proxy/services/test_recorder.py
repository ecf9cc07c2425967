from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from proxy.core.records import Record
from proxy.errors import StoreError, StoreFullError, StoreUnavailableError
from proxy.services import recorder as recorders
from proxy.services.recorder import BATCH_RECORDS, Recorder


class Store:
    """A store that fails as told.

    Attributes:
        written: record ids, batch by batch.
        failures: raised by the next calls, first one first; None lets a call through.
        gate: closed, a call hangs.
    """

    def __init__(self, *failures: Exception | None) -> None:
        self.written: list[list[str]] = []
        self.tries = 0
        self.failures = list(failures)
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, records: Sequence[Record]) -> None:
        self.tries += 1
        await self.gate.wait()
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        self.written.append([record.request_id for record in records])

    @property
    def ids(self) -> list[str]:
        """All that was written, in order."""
        return [request_id for batch in self.written for request_id in batch]


class Unguarded:
    """Bounds nothing; notes which bound was asked for."""

    @asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        assert deadline_s > 0
        yield


def record(request_id: int) -> Record:
    return Record(0.0, "t", str(request_id), "s", None, (), ())


def numbered(count: int) -> list[str]:
    return [str(at) for at in range(count)]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorders, "RETRY_S", 0.001)


@pytest.fixture
def drops() -> list[int]:
    return []


@asynccontextmanager
async def running(recorder: Recorder) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(recorder.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)


def recorder_of(store: Store, drops: list[int], *, queue_records: int = 1000) -> Recorder:
    return Recorder(store, Unguarded(), queue_records=queue_records, on_drop=drops.append)


async def test_records_are_written_in_order_and_in_batches(drops: list[int]) -> None:
    store = Store()
    recorder = recorder_of(store, drops)
    for at in range(BATCH_RECORDS + 50):
        recorder.put(record(at))
    async with running(recorder):
        await until(lambda: len(store.ids) == BATCH_RECORDS + 50)
    assert store.ids == numbered(BATCH_RECORDS + 50)
    assert [len(batch) for batch in store.written] == [BATCH_RECORDS, 50]
    assert (recorder.dropped, recorder.waiting, drops) == (0, 0, [])


async def test_a_full_queue_drops_the_newest_and_counts_each(
    drops: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = recorder_of(Store(), drops, queue_records=3)
    for at in range(5):
        recorder.put(record(at))
    assert (recorder.dropped, recorder.waiting, drops) == (2, 3, [1, 1])
    assert len(caplog.messages) == 1, "a flood of drops is one line of log"
    assert "the queue is full" in caplog.text


@pytest.mark.parametrize("failure", [StoreUnavailableError("away"), StoreFullError("full")])
async def test_while_redis_is_away_or_full_nothing_is_lost_and_order_is_kept(
    failure: StoreError, drops: list[int]
) -> None:
    store = Store(failure, failure, None, failure)
    recorder = recorder_of(store, drops)
    recorder.put(record(0))
    async with running(recorder):
        await until(lambda: store.tries >= 1)
        recorder.put(record(1))
        await until(lambda: len(store.ids) == 2)
    assert store.ids == ["0", "1"]
    assert drops == []


async def test_what_is_being_tried_again_counts_as_waiting(drops: list[int]) -> None:
    store = Store()
    store.gate.clear()
    recorder = recorder_of(store, drops)
    recorder.put(record(0))
    async with running(recorder):
        await until(lambda: store.tries == 1)
        recorder.put(record(1))
        assert recorder.waiting == 2


async def test_a_batch_redis_refuses_for_good_is_dropped_and_does_not_block_the_next(
    drops: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(StoreError("WRONGTYPE"))
    recorder = recorder_of(store, drops)
    recorder.put(record(0))
    async with running(recorder):
        await until(lambda: drops == [1])
        recorder.put(record(1))
        await until(lambda: store.ids == ["1"])
    assert recorder.dropped == 1
    assert "WRONGTYPE" in caplog.text


async def test_after_a_success_new_drops_are_logged_again(drops: list[int], caplog: pytest.LogCaptureFixture) -> None:
    store = Store(StoreError("first"), None, StoreError("second"))
    recorder = recorder_of(store, drops)
    async with running(recorder):
        for at in range(3):
            recorder.put(record(at))
            await until(lambda tries=at + 1: store.tries == tries and recorder.waiting == 0)  # type: ignore[misc]
    assert len(caplog.messages) == 2


# --- shutting down ----------------------------------------------------------------------------------------------------------------


async def test_draining_writes_what_waits(drops: list[int]) -> None:
    store = Store()
    recorder = recorder_of(store, drops)
    for at in range(BATCH_RECORDS + 1):
        recorder.put(record(at))
    await recorder.drain(deadline_s=5)
    assert store.ids == numbered(BATCH_RECORDS + 1)
    assert drops == []


async def test_draining_begins_with_what_was_being_tried_again(drops: list[int]) -> None:
    store = Store(*[StoreUnavailableError("away")] * 100_000)
    recorder = recorder_of(store, drops)
    recorder.put(record(0))
    async with running(recorder):
        await until(lambda: store.tries >= 2)
        recorder.put(record(1))
    store.failures.clear()
    await recorder.drain(deadline_s=5)
    assert store.ids == ["0", "1"]
    assert (recorder.waiting, drops) == (0, [])


async def test_draining_counts_what_redis_did_not_take(drops: list[int]) -> None:
    store = Store(StoreUnavailableError("away"))
    recorder = recorder_of(store, drops)
    for at in range(BATCH_RECORDS + 7):
        recorder.put(record(at))
    await recorder.drain(deadline_s=5)
    assert drops == [BATCH_RECORDS]
    assert len(store.ids) == 7


async def test_draining_ends_at_its_deadline_and_counts_all_that_is_lost(
    drops: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    store.gate.clear()
    recorder = recorder_of(store, drops)
    for at in range(BATCH_RECORDS + 7):
        recorder.put(record(at))
    await recorder.drain(deadline_s=0.01)
    assert drops == [BATCH_RECORDS + 7]
    assert "too slow at shutdown" in caplog.text


async def test_draining_an_empty_queue_does_nothing(drops: list[int]) -> None:
    store = Store()
    await recorder_of(store, drops).drain(deadline_s=0.01)
    assert (store.tries, drops) == (0, [])


# --- flushing, and room in bytes --------------------------------------------------------------------------------------------------


async def test_a_flush_returns_once_what_was_put_before_is_written(drops: list[int]) -> None:
    store = Store(StoreUnavailableError("away"))
    recorder = recorder_of(store, drops)
    async with running(recorder):
        for at in range(BATCH_RECORDS + 1):
            recorder.put(record(at))
        await recorder.flush(deadline_s=5)
        assert store.ids == numbered(BATCH_RECORDS + 1)


async def test_a_flush_does_not_wait_for_what_is_given_up_nor_past_its_deadline(drops: list[int]) -> None:
    store = Store(StoreError("refused"))
    recorder = recorder_of(store, drops)
    async with running(recorder):
        recorder.put(record(0))
        await recorder.flush(deadline_s=5)
        assert drops == [1]
        store.gate.clear()
        recorder.put(record(1))
        await recorder.flush(deadline_s=0.01)
        assert recorder.waiting == 1


async def test_too_many_bytes_are_dropped_and_counted_until_there_is_room(drops: list[int]) -> None:
    store = Store()
    recorder: Recorder[Record] = Recorder(
        store,
        Unguarded(),
        queue_records=100,
        on_drop=drops.append,
        size_of=lambda one: len(one.request_id),
        queue_bytes=3,
    )
    for at in (10, 200, 7):
        recorder.put(record(at))
    assert drops == [1]
    async with running(recorder):
        await recorder.flush(deadline_s=5)
        recorder.put(record(300))
        await recorder.flush(deadline_s=5)
    assert store.ids == ["10", "7", "300"]


async def test_a_batch_that_cannot_be_written_at_all_is_given_up_and_the_next_one_is_written(
    drops: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(ValueError("What is Bob's diagnosis?"))
    recorder = recorder_of(store, drops)
    async with running(recorder):
        recorder.put(record(0))
        await until(lambda: store.tries == 1)
        recorder.put(record(1))
        await until(lambda: store.ids == ["1"])
    assert (recorder.dropped, drops) == (1, [1])
    assert "ValueError at" in caplog.text
    assert "Bob" not in caplog.text


async def test_on_the_way_out_too(drops: list[int]) -> None:
    recorder = recorder_of(Store(ValueError()), drops)
    recorder.put(record(0))
    await recorder.drain(deadline_s=5)
    assert (recorder.waiting, drops) == (0, [1])
