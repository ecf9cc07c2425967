"""Sends a workload and says what came of each request.

**Open loop**: each request goes out at its moment, whether those before have been answered or not, and its time counts from that moment: a
server that stalls cannot make the generator wait and so look fast (coordinated omission). A request for which no connection is free
waits, and its time runs. A follow-up is sent when its moment has come *and* the answer it continues is there, as a client would.

**Closed loop**: some connections, each of which asks again as soon as it was answered: what a server can do at most.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from loadtest.load import answers, wire
from loadtest.load.answers import HITS, Source
from loadtest.load.samples import Sample
from loadtest.load.wire import Line, Reply
from loadtest.load.workload import Ask

ANSWERS_KEPT = 2_048
"""Answers that a follow-up can still wait for: far more than `workload` looks back."""
TIMEOUT_S = 30.0
"""A request without an answer by then has failed."""

_FIRST_S = 0.05  # until the first moment, so that it is not missed while the run is being set up
_AFTER_FAILURE_S = 0.05  # a closed loop must not spin on a server that is gone


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask, and how.

    Attributes:
        port: of its host.
        model: asked for.
        headers: of every request.
        extra: further fields of every body.
        is_checked: whether answers are read; costs the generator some 20 µs each.
        host: name or address.
    """

    port: int
    model: str = "simulated-small"
    headers: Mapping[str, str] = field(default_factory=lambda: {"authorization": "Bearer sk-load"})
    extra: Mapping[str, Any] = field(default_factory=dict)
    is_checked: bool = True
    host: str = "127.0.0.1"

    def raw(self, ask: Ask, said_before: str | None = None) -> bytes:
        """The request; `said_before` is the answer it continues."""
        messages = [{"role": "system", "content": ask.system}] if ask.system else []
        if ask.after is not None and said_before is not None:
            messages.append({"role": "user", "content": ask.after.text})
            messages.append({"role": "assistant", "content": said_before})
        messages.append({"role": "user", "content": ask.text})
        return wire.chat(
            messages, model=self.model, headers=self.headers, is_streamed=ask.is_streamed, extra=self.extra
        )


async def open_loop(
    target: Target,
    asks: Iterable[Ask],
    moments: Iterator[float],
    *,
    seconds: float,
    on_sample: Callable[[Sample], None],
    connections: int = 256,
) -> None:
    """Send each request at its moment.

    Args:
        target: whom to ask.
        asks: what; the run ends when they do.
        moments: when, in seconds after the begin.
        seconds: the run ends with the last moment before this.
        on_sample: told each result as it comes.
        connections: at most.
    """
    pool = _Pool(target, connections)
    history = _History()
    begin = math.inf

    async def make(ask: Ask, at_s: float) -> None:
        intended, before = begin + at_s, None
        if ask.after is not None:
            found = await history.said(ask.after)
            if found is None:
                return  # what it continues failed, or was asked in an earlier run: nobody goes on from there
            before, answered_at = found
            intended = max(intended, answered_at)
        line = await pool.take()
        sample, said = await _asked(target, line, ask, intended, before)
        pool.give(line)
        history.add(ask, said, sample.done_at)
        on_sample(sample)

    with _no_collection():
        begin = time.perf_counter() + _FIRST_S
        async with asyncio.TaskGroup() as group:
            for ask, at_s in zip(asks, takewhile(lambda at_s: at_s < seconds, moments), strict=False):
                history.expect(ask)
                if (pause_s := begin + at_s - time.perf_counter()) > 0:
                    await asyncio.sleep(pause_s)
                group.create_task(make(ask, at_s))
    pool.close()


async def closed_loop(
    target: Target,
    asks: Iterable[Ask],
    *,
    seconds: float,
    connections: int,
    on_sample: Callable[[Sample], None],
) -> None:
    """Ask as fast as answers come.

    Args:
        target: whom to ask.
        asks: what, shared by all connections; the run ends when they do. Follow-ups are left out: they would wait for one another.
        seconds: after which no more is sent.
        connections: asking at once.
        on_sample: told each result as it comes.
    """
    pool = _Pool(target, connections)
    await pool.fill()
    rest = (ask for ask in asks if ask.after is None)
    end = math.inf

    async def work() -> None:
        while time.perf_counter() < end and (ask := next(rest, None)) is not None:
            line = await pool.take()
            sample, _ = await _asked(target, line, ask, time.perf_counter(), None)
            pool.give(line)
            on_sample(sample)

    with _no_collection():
        end = time.perf_counter() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(work())
    pool.close()


async def _asked(
    target: Target, line: Line, ask: Ask, intended: float, before: str | None
) -> tuple[Sample, str | None]:
    """One request and what was said, None where nothing was."""
    sent_at = time.perf_counter()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reply = await line.ask(target.raw(ask, before))
    except (ConnectionError, TimeoutError) as error:
        line.close()
        now = time.perf_counter()
        await asyncio.sleep(_AFTER_FAILURE_S)
        moments = (intended, sent_at, now, now)
        told = f"{type(error).__name__}: {error}"
        return Sample(ask.kind, ask.is_streamed, *moments, Source.FAILED, failure=told), None
    return _sample(ask, reply, intended, is_checked=target.is_checked)


def _sample(ask: Ask, reply: Reply, intended: float, *, is_checked: bool) -> tuple[Sample, str | None]:
    moments = (intended, reply.sent_at, reply.first_at, reply.done_at)
    found = answers.source(reply.status, reply.head)
    if found is Source.FAILED:
        told = f"status {reply.status}: {reply.body[:300].decode(errors='replace')}"
        return Sample(ask.kind, ask.is_streamed, *moments, found, failure=told), None
    if not is_checked:
        return Sample(ask.kind, ask.is_streamed, *moments, found), None
    try:
        said = answers.read(reply.body, is_streamed=ask.is_streamed)
    except answers.UnreadableError as error:
        return Sample(ask.kind, ask.is_streamed, *moments, Source.FAILED, failure=str(error)), None
    is_right = answers.is_right(ask, said.text)
    wrong = None if is_right or found not in HITS else (ask.text, answers.question(said.text) or "")
    events = reply.body.count(b"data: ") if ask.is_streamed else 0
    tokens = (said.input_tokens, said.output_tokens)
    return Sample(ask.kind, ask.is_streamed, *moments, found, is_right, *tokens, events, wrong), said.text


class _Pool:
    """Connections that requests take in turns, the last used one first."""

    def __init__(self, target: Target, most: int) -> None:
        self._target = target
        self._most = most
        self._room = asyncio.Semaphore(most)
        self._free: list[Line] = []

    async def fill(self) -> None:
        for line in [await self.take() for _ in range(self._most)]:
            self.give(line)

    async def take(self) -> Line:
        await self._room.acquire()
        while self._free:
            if (line := self._free.pop()).is_open:
                return line
        return await Line.connect(self._target.port, self._target.host)

    def give(self, line: Line) -> None:
        self._free.append(line)
        self._room.release()

    def close(self) -> None:
        for line in self._free:
            line.close()


class _History:
    """Answers that follow-ups continue, and when each came."""

    def __init__(self) -> None:
        self._said: OrderedDict[int, asyncio.Future[tuple[str, float] | None]] = OrderedDict()

    def expect(self, ask: Ask) -> None:
        if ask.after is None:
            self._said[ask.number] = asyncio.get_running_loop().create_future()
            if len(self._said) > ANSWERS_KEPT:
                self._said.popitem(last=False)

    def add(self, ask: Ask, said: str | None, done_at: float) -> None:
        waited = self._said.get(ask.number)
        if waited is not None and not waited.done():
            waited.set_result(None if said is None else (said, done_at))

    async def said(self, ask: Ask) -> tuple[str, float] | None:
        waited = self._said.get(ask.number)
        return await waited if waited is not None else None


class _no_collection:  # noqa: N801  (used as a function)
    """A collection in the generator is no pause of the server."""

    def __enter__(self) -> None:
        gc.collect()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()
