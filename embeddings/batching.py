"""Many callers, one model: micro-batches off the event loop, and a memory of recent results.

Theory of operation. One thread runs the model, or a few. While one is idle, an item (a text to embed, a pair to score) starts at once, with
whatever else arrived in the same turn of the event loop. While all are busy, items gather; when one is free, the oldest of them
go together, as many as `max_batch` and `_MAX_BATCH_CHARS` allow. So an item waits for at most the batches ahead of it, and
`max_waiting` bounds those. An item that is already waiting, running or remembered for the same owner is not computed again: for another
it is, or the time it takes would tell what others asked. Each caller has a future
of its own: one that gives up takes nothing from the others, and an item nobody waits for any more is dropped before it runs.

All state is touched on the event loop alone; only the model runs in threads, or on the loop where a caller asks for that.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypeVar

from embeddings.base import Embedder, Embedding, OneWay, Pair, Score
from embeddings.errors import EmbedderClosedError, EmbedderError, EmbedderOverloadedError

Item = TypeVar("Item", str, Pair)
Result = TypeVar("Result")

# 8 short texts take about 20 ms, which is what a newcomer waits; larger batches were not faster (decision 0001).
_MAX_BATCH = 8
# Some 700 tokens. Beyond about 64 tokens a text, batching gains nothing and only makes newcomers wait.
_MAX_BATCH_CHARS = 3_000
# Half a second of work for short texts; whoever can wait longer than that may ask again.
_MAX_WAITING = 256
# With 384 floats and the text itself, some 4 MB of short texts.
_REMEMBERED = 2_048
# Longer texts are not remembered, so that memory is bounded; they rarely repeat outside the exact tier.
_REMEMBERED_CHARS = 8_192


@dataclass(frozen=True, slots=True)
class BatchingStats:
    """Counters since the start.

    Args:
        items: asked for.
        remembered: answered from memory.
        joined: answered by a computation already under way.
        batches: runs of the model.
        failed_batches: of these, the ones that raised.
    """

    items: int
    remembered: int
    joined: int
    batches: int
    failed_batches: int


@dataclass(slots=True, eq=False)
class _Job(Generic[Item, Result]):
    """One distinct item of an owner that is waiting or running, and who waits for it."""

    key: tuple[str, Item]
    waiters: set[asyncio.Future[Result]] = field(default_factory=set)
    is_running: bool = False

    @property
    def item(self) -> Item:
        """What the model runs on."""
        return self.key[1]


class Batcher(Generic[Item, Result]):
    """Serve one model to the callers of one event loop.

    Args:
        run: the model: results of items, in order. May block.
        close: lets the model go; called by `aclose`.
        what: the items in a word, for errors: "texts".
        max_batch: items run together.
        max_waiting: distinct items waiting for the model; one more is refused.
        remembered: how many recent results to keep; 0 keeps none.
        threads: that run the model at the same time.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        close: Callable[[], None],
        *,
        what: str,
        max_batch: int = _MAX_BATCH,
        max_waiting: int = _MAX_WAITING,
        remembered: int = _REMEMBERED,
        threads: int = 1,
    ) -> None:
        self._model: Callable[[Sequence[Item]], Sequence[Result]] = run
        self._close = close
        self._what = what
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._remembered_most = remembered
        self._memory: OrderedDict[tuple[str, Item], Result] = OrderedDict()
        self._jobs: dict[tuple[str, Item], _Job[Item, Result]] = {}
        self._queue: OrderedDict[tuple[str, Item], _Job[Item, Result]] = OrderedDict()
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=f"model of {what}")
        self._threads = threads
        self._running: set[asyncio.Future[Sequence[Result]]] = set()
        self._is_start_due = False
        self._is_closed = False
        self._items = self._remembered = self._joined = self._batches = self._failed_batches = 0

    @property
    def stats(self) -> BatchingStats:
        """Counters since the start."""
        return BatchingStats(self._items, self._remembered, self._joined, self._batches, self._failed_batches)

    async def get(self, item: Item, *, whose: str = "", inline: bool = False) -> Result:
        """Run the model on one item, or remember.

        Args:
            item: what to run it on.
            whose: an owner, who is spared what was done for itself alone.
            inline: run the model here and now if it is idle, holding the event loop up for as long. For a caller who knows that
                nothing else waits for the loop: two thread switches cost a short text more than its own time.

        Raises:
            EmbedderOverloadedError: too many items are waiting.
            EmbedderClosedError: the model was closed, before or while waiting.
            EmbedderError: the model failed; the next call tries again.
        """
        self._items += 1
        key = (whose, item)
        remembered = self._recall(key)
        if remembered is not None:
            self._remembered += 1
            return remembered
        if inline and not self._running and not self._queue and not self._is_closed:
            return self._run_inline(key)
        return await self._wait(self._job(key))

    async def get_many(self, items: Sequence[Item]) -> list[Result]:
        """Run the model on items, in order; all or none. Raises as `get` does, the first error met."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._outcome(item)) for item in items]
        outcomes = [task.result() for task in tasks]
        for outcome in outcomes:
            if isinstance(outcome, EmbedderError):
                raise outcome
        return [outcome for outcome in outcomes if not isinstance(outcome, EmbedderError)]

    async def aclose(self) -> None:
        """Let the running batch end, fail what waits, and let the model go. Closing twice is no error."""
        if self._is_closed:
            return
        self._is_closed = True
        for job in list(self._queue.values()):
            self._fail(job, EmbedderClosedError(f"the model of {self._what} was closed"))
        self._queue.clear()
        if self._running:
            await asyncio.wait(self._running)
        self._executor.shutdown(wait=True)
        self._close()

    async def _outcome(self, item: Item) -> Result | EmbedderError:
        # As a value: a task group would wrap a raised error and cancel the items beside it.
        try:
            return await self.get(item)
        except EmbedderError as error:
            return error

    def _run_inline(self, key: tuple[str, Item]) -> Result:
        self._batches += 1
        try:
            (result,) = self._model([key[1]])
        except Exception as error:
            self._failed_batches += 1
            if isinstance(error, EmbedderError):
                raise
            raise EmbedderError(f"the model failed: {type(error).__name__}") from error
        self._remember(key, result)
        return result

    def _recall(self, key: tuple[str, Item]) -> Result | None:
        result = self._memory.get(key)
        if result is not None:
            self._memory.move_to_end(key)
        return result

    def _remember(self, key: tuple[str, Item], result: Result) -> None:
        if _chars(key[1]) > _REMEMBERED_CHARS or self._remembered_most == 0:
            return
        self._memory[key] = result
        self._memory.move_to_end(key)
        if len(self._memory) > self._remembered_most:
            self._memory.popitem(last=False)

    def _job(self, key: tuple[str, Item]) -> _Job[Item, Result]:
        """Find an item's job or queue a new one."""
        if self._is_closed:
            raise EmbedderClosedError(f"the model of {self._what} was closed")
        job = self._jobs.get(key)
        if job is not None:
            self._joined += 1
            return job
        if len(self._queue) >= self._max_waiting:
            raise EmbedderOverloadedError(f"{len(self._queue)} {self._what} are waiting for their model")
        job = self._jobs[key] = self._queue[key] = _Job(key)
        if len(self._running) < self._threads and not self._is_start_due:
            # Next turn of the loop, so that items that arrived in this one go together.
            self._is_start_due = True
            asyncio.get_running_loop().call_soon(self._start)
        return job

    async def _wait(self, job: _Job[Item, Result]) -> Result:
        waiter: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        job.waiters.add(waiter)
        try:
            return await waiter
        finally:
            job.waiters.discard(waiter)
            if not job.waiters and not job.is_running and self._queue.get(job.key) is job:
                del self._queue[job.key], self._jobs[job.key]

    def _start(self) -> None:
        """Run the oldest items that are waiting, as far as there are idle threads."""
        self._is_start_due = False
        while len(self._running) < self._threads and self._queue and not self._is_closed:
            batch = self._take_batch()
            self._batches += 1
            items = [job.item for job in batch]
            running = asyncio.get_running_loop().run_in_executor(self._executor, self._model, items)
            self._running.add(running)
            running.add_done_callback(partial(self._finish, batch))

    def _take_batch(self) -> list[_Job[Item, Result]]:
        batch: list[_Job[Item, Result]] = []
        chars = 0
        while self._queue and len(batch) < self._max_batch:
            key, job = next(iter(self._queue.items()))
            chars += _chars(job.item)
            if batch and chars > _MAX_BATCH_CHARS:
                break
            del self._queue[key]
            job.is_running = True
            batch.append(job)
        return batch

    def _finish(self, batch: Sequence[_Job[Item, Result]], done: asyncio.Future[Sequence[Result]]) -> None:
        self._running.discard(done)
        error = done.exception()
        if error is not None:
            self._failed_batches += 1
            for job in batch:
                self._fail(job, error)
        else:
            for job, result in zip(batch, done.result(), strict=True):
                self._remember(job.key, result)
                del self._jobs[job.key]
                for waiter in job.waiters:
                    if not waiter.done():
                        waiter.set_result(result)
        self._start()

    def _fail(self, job: _Job[Item, Result], cause: BaseException) -> None:
        """Give each waiter an error of its own: a shared one would gather all their tracebacks."""
        del self._jobs[job.key]
        kind = type(cause) if isinstance(cause, EmbedderError) else EmbedderError
        message = str(cause) if isinstance(cause, EmbedderError) else f"the model failed: {type(cause).__name__}"
        for waiter in job.waiters:
            if not waiter.done():
                error = kind(message)
                error.__cause__ = cause
                waiter.set_exception(error)


class BatchingEmbedder(Batcher[str, Embedding]):
    """A `Batcher` of texts.

    Args:
        embedder: closed by `aclose`.
        max_batch, max_waiting, remembered: as for `Batcher`.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        max_batch: int = _MAX_BATCH,
        max_waiting: int = _MAX_WAITING,
        remembered: int = _REMEMBERED,
    ) -> None:
        super().__init__(
            embedder.embed,
            embedder.close,
            what="texts",
            max_batch=max_batch,
            max_waiting=max_waiting,
            remembered=remembered,
        )
        self.fingerprint = embedder.fingerprint
        """Name of the vector space."""
        self.dim = embedder.dim
        """Length of every vector."""
        self.max_tokens = embedder.max_tokens
        """Tokens the model reads of one text."""

    async def embed(self, text: str, *, whose: str = "", inline: bool = False) -> Embedding:
        """Embed one text; see `Batcher.get`."""
        return await self.get(text, whose=whose, inline=inline)

    async def embed_many(self, texts: Sequence[str]) -> list[Embedding]:
        """Embed texts; see `Batcher.get_many`."""
        return await self.get_many(texts)


class PairScorer(Protocol):
    """What scores pairs; `embeddings.verifier.Verifier` is one."""

    @property
    def fingerprint(self) -> str:
        """Names the scale of scores."""

    def score(self, pairs: Sequence[Pair]) -> list[Score]:
        """Score pairs of questions, in order."""

    def close(self) -> None:
        """Let the model go."""


class BatchingVerifier(Batcher[Pair, Score]):
    """A `Batcher` of pairs: those of all requests and candidates go together.

    Args:
        verifier: closed by `aclose`.
        threads: that run it at the same time.
    """

    def __init__(self, verifier: PairScorer, *, threads: int = 1) -> None:
        super().__init__(verifier.score, verifier.close, what="pairs", threads=threads)
        self.fingerprint = verifier.fingerprint
        """Names the scale of scores."""


def _chars(item: str | Pair) -> int:
    if isinstance(item, OneWay):
        return len(item.stored) + len(item.asked)
    return len(item) if isinstance(item, str) else len(item[0]) + len(item[1])
