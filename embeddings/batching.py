"""Many callers, one model: micro-batches off the event loop, and a memory of recent texts.

Theory of operation. One thread runs the model. While it is idle, a text starts at once, with whatever else arrived in
the same turn of the event loop. While it is busy, texts gather; when it is free, the oldest of them go together,
as many as `max_batch` and `_MAX_BATCH_CHARS` allow. So a text waits for at most the batches ahead of it, and `max_waiting` bounds
those. A text that is already waiting, running or remembered is not computed again. Each caller has a future of its own:
one that gives up takes nothing from the others, and a text nobody waits for any more is dropped before it runs.

All state is touched on the event loop alone; only `Embedder.embed` runs in the thread, or on the loop where a caller asks for that.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from embeddings.base import Embedder, Embedding
from embeddings.errors import EmbedderClosedError, EmbedderError, EmbedderOverloadedError

# 8 short texts take about 20 ms, which is what a newcomer waits; larger batches were not faster (decision 0001).
_MAX_BATCH = 8
# Some 700 tokens. Beyond about 64 tokens a text, batching gains nothing and only makes newcomers wait.
_MAX_BATCH_CHARS = 3_000
# Half a second of work for short texts; whoever can wait longer than that may ask again.
_MAX_WAITING = 256
# With 384 floats and the text itself, some 8 MB of short texts.
_REMEMBERED_TEXTS = 4_096
# Longer texts are not remembered, so that memory is bounded; they rarely repeat outside the exact tier.
_REMEMBERED_CHARS = 8_192


@dataclass(frozen=True, slots=True)
class BatchingStats:
    """Counters since the start.

    Args:
        texts: asked for.
        remembered: answered from memory.
        joined: answered by a computation already under way.
        batches: runs of the model.
        failed_batches: of these, the ones that raised.
    """

    texts: int
    remembered: int
    joined: int
    batches: int
    failed_batches: int


@dataclass(slots=True, eq=False)
class _Job:
    """One distinct text that is waiting or running, and who waits for it."""

    text: str
    waiters: set[asyncio.Future[Embedding]] = field(default_factory=set)
    is_running: bool = False


class BatchingEmbedder:
    """Serve one embedder to the callers of one event loop.

    Args:
        embedder: closed by `aclose`.
        max_batch: texts run together.
        max_waiting: distinct texts waiting for the model; one more is refused.
        remembered_texts: how many recent results to keep; 0 keeps none.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        max_batch: int = _MAX_BATCH,
        max_waiting: int = _MAX_WAITING,
        remembered_texts: int = _REMEMBERED_TEXTS,
    ) -> None:
        self._embedder = embedder
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._remembered_texts = remembered_texts
        self._memory: OrderedDict[str, Embedding] = OrderedDict()
        self._jobs: dict[str, _Job] = {}
        self._queue: OrderedDict[str, _Job] = OrderedDict()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        self._running: asyncio.Future[list[Embedding]] | None = None
        self._is_start_due = False
        self._is_closed = False
        self._texts = self._remembered = self._joined = self._batches = self._failed_batches = 0

    @property
    def fingerprint(self) -> str:
        """Name of the vector space."""
        return self._embedder.fingerprint

    @property
    def dim(self) -> int:
        """Length of every vector."""
        return self._embedder.dim

    @property
    def max_tokens(self) -> int:
        """Tokens the model reads of one text."""
        return self._embedder.max_tokens

    @property
    def stats(self) -> BatchingStats:
        """Counters since the start."""
        return BatchingStats(self._texts, self._remembered, self._joined, self._batches, self._failed_batches)

    async def embed(self, text: str, *, inline: bool = False) -> Embedding:
        """Embed one text.

        Args:
            text: to embed.
            inline: run the model here and now if it is idle, holding the event loop up for as long. For a caller who knows that
                nothing else waits for the loop: two thread switches cost a short text more than its own time.

        Raises:
            EmbedderOverloadedError: too many texts are waiting.
            EmbedderClosedError: the embedder was closed, before or while waiting.
            EmbedderError: the model failed; the next call tries again.
        """
        self._texts += 1
        remembered = self._recall(text)
        if remembered is not None:
            self._remembered += 1
            return remembered
        if inline and self._running is None and not self._queue and not self._is_closed:
            return self._run_inline(text)
        return await self._wait(self._job(text))

    async def embed_many(self, texts: Sequence[str]) -> list[Embedding]:
        """Embed texts, in order; all or none. Raises as `embed` does, the first error met."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._outcome(text)) for text in texts]
        outcomes = [task.result() for task in tasks]
        for outcome in outcomes:
            if isinstance(outcome, EmbedderError):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Embedding)]

    async def aclose(self) -> None:
        """Let the running batch end, fail what waits, and close the embedder. Closing twice is no error."""
        if self._is_closed:
            return
        self._is_closed = True
        for job in list(self._queue.values()):
            self._fail(job, EmbedderClosedError("the embedder was closed"))
        self._queue.clear()
        if self._running is not None:
            await asyncio.wait([self._running])
        self._executor.shutdown(wait=True)
        self._embedder.close()

    async def _outcome(self, text: str) -> Embedding | EmbedderError:
        # As a value: a task group would wrap a raised error and cancel the texts beside it.
        try:
            return await self.embed(text)
        except EmbedderError as error:
            return error

    def _run_inline(self, text: str) -> Embedding:
        self._batches += 1
        try:
            (embedding,) = self._embedder.embed([text])
        except Exception as error:
            self._failed_batches += 1
            if isinstance(error, EmbedderError):
                raise
            raise EmbedderError(f"the model failed: {type(error).__name__}") from error
        self._remember(text, embedding)
        return embedding

    def _recall(self, text: str) -> Embedding | None:
        embedding = self._memory.get(text)
        if embedding is not None:
            self._memory.move_to_end(text)
        return embedding

    def _remember(self, text: str, embedding: Embedding) -> None:
        if len(text) > _REMEMBERED_CHARS or self._remembered_texts == 0:
            return
        self._memory[text] = embedding
        self._memory.move_to_end(text)
        if len(self._memory) > self._remembered_texts:
            self._memory.popitem(last=False)

    def _job(self, text: str) -> _Job:
        """Find the text's job or queue a new one."""
        if self._is_closed:
            raise EmbedderClosedError("the embedder was closed")
        job = self._jobs.get(text)
        if job is not None:
            self._joined += 1
            return job
        if len(self._queue) >= self._max_waiting:
            raise EmbedderOverloadedError(f"{len(self._queue)} texts are waiting for the embedding model")
        job = self._jobs[text] = self._queue[text] = _Job(text)
        if self._running is None and not self._is_start_due:
            # Next turn of the loop, so that texts that arrived in this one go together.
            self._is_start_due = True
            asyncio.get_running_loop().call_soon(self._start)
        return job

    async def _wait(self, job: _Job) -> Embedding:
        waiter: asyncio.Future[Embedding] = asyncio.get_running_loop().create_future()
        job.waiters.add(waiter)
        try:
            return await waiter
        finally:
            job.waiters.discard(waiter)
            if not job.waiters and not job.is_running and self._queue.get(job.text) is job:
                del self._queue[job.text], self._jobs[job.text]

    def _start(self) -> None:
        """Run the oldest texts that are waiting, if the model is idle."""
        self._is_start_due = False
        if self._running is not None or not self._queue or self._is_closed:
            return
        batch = self._take_batch()
        self._batches += 1
        texts = [job.text for job in batch]
        self._running = asyncio.get_running_loop().run_in_executor(self._executor, self._embedder.embed, texts)
        self._running.add_done_callback(lambda done: self._finish(batch, done))

    def _take_batch(self) -> list[_Job]:
        batch: list[_Job] = []
        chars = 0
        while self._queue and len(batch) < self._max_batch:
            text, job = next(iter(self._queue.items()))
            chars += len(text)
            if batch and chars > _MAX_BATCH_CHARS:
                break
            del self._queue[text]
            job.is_running = True
            batch.append(job)
        return batch

    def _finish(self, batch: Sequence[_Job], done: asyncio.Future[list[Embedding]]) -> None:
        self._running = None
        error = done.exception()
        if error is not None:
            self._failed_batches += 1
            for job in batch:
                self._fail(job, error)
        else:
            for job, embedding in zip(batch, done.result(), strict=True):
                self._remember(job.text, embedding)
                del self._jobs[job.text]
                for waiter in job.waiters:
                    if not waiter.done():
                        waiter.set_result(embedding)
        self._start()

    def _fail(self, job: _Job, cause: BaseException) -> None:
        """Give each waiter an error of its own: a shared one would gather all their tracebacks."""
        del self._jobs[job.text]
        kind = type(cause) if isinstance(cause, EmbedderError) else EmbedderError
        message = str(cause) if isinstance(cause, EmbedderError) else f"the model failed: {type(cause).__name__}"
        for waiter in job.waiters:
            if not waiter.done():
                error = kind(message)
                error.__cause__ = cause
                waiter.set_exception(error)
