"""Who waits for tasks of which queue, and who is woken when some become ready.

Nobody holds a connection while waiting. A message wakes as many as it says there are tasks; one timer per queue wakes the first in line
when something becomes due by itself, and every `POLL_S` in case a message was lost (pub/sub promises nothing). Whoever is woken looks
for tasks, and leaves the line if there are any.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Protocol

from proxy.errors import StoreError, where
from proxy.services.background import Background

logger = logging.getLogger("deja.tasks")

POLL_S = 1.5
"""How late a task may be handed out whose message was lost; one script per queue that is waited for, and process."""
LINGER_S = 10.0
"""How long a queue is listened to after the last one left: workers that poll in a loop come back at once."""
CONFIRM_S = 1.0
"""How long a newcomer waits until the queue is listened to; it looks for tasks all the same."""
LISTEN_S = 5.0
RETRY_S = 0.5


class Heard(Protocol):
    """What arrived: tasks that became ready, or, without a count, that a channel is listened to."""

    @property
    def channel(self) -> str:
        """Where."""

    @property
    def count(self) -> int | None:
        """How many."""


class Ear(Protocol):
    """One subscription for all. Methods raise StoreError."""

    async def listen_to(self, *channels: str) -> None:
        """Listen to channels, too."""

    async def stop_listening(self, *channels: str) -> None:
        """Listen to these no longer."""

    async def next(self, timeout_s: float) -> Heard | None:
        """What arrives next, None if nothing did in time."""

    async def reset(self) -> None:
        """Give the connection up."""


class Line:
    """Those who wait for tasks of one queue, first come first."""

    def __init__(self) -> None:
        self.members = 0
        self.is_heard = asyncio.Event()
        self._rings = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    @property
    def rings(self) -> int:
        """Rises with each ring; taken before looking for tasks, it tells `wait` whether one came in between."""
        return self._rings

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def ring(self, count: int) -> None:
        """Wake the first `count` in line."""
        self._rings += 1
        while count > 0 and self._waiting:
            call = self._waiting.popleft()
            if not call.done():
                call.set_result(None)
                count -= 1

    def look_in(self, delay_s: float | None) -> None:
        """Wake the first in line after so long, or after `POLL_S`."""
        loop = asyncio.get_running_loop()
        at = loop.time() + min(POLL_S, POLL_S if delay_s is None else delay_s)
        if self._timer is None or at < self._timer_at:
            self.stop()
            self._timer, self._timer_at = loop.call_at(at, self._due), at

    def stop(self) -> None:
        """Wake nobody by time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def wait(self, rings: int, timeout_s: float) -> None:
        """Return when woken, when there was a ring since `rings` was read, or when time is up."""
        if rings != self._rings:
            return
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(call)
        try:
            async with asyncio.timeout(timeout_s):
                await call
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if call.done() and not call.cancelled():
                self.ring(1)  # it was woken and will not look: another must
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(call)

    def _due(self) -> None:
        self._timer = None
        self.ring(1)


class Lines:
    """The lines of all queues, by the channels on which they are rung.

    Args:
        ear: hears messages.
        background: runs the one task that listens.
    """

    def __init__(self, ear: Ear, background: Background) -> None:
        self._ear = ear
        self._background = background
        self._lines: dict[str, Line] = {}
        self._listener: asyncio.Task[None] | None = None
        self.is_closing = False

    @property
    def waiting(self) -> int:
        """How many wait, in all lines."""
        return sum(line.waiting for line in self._lines.values())

    @contextlib.asynccontextmanager
    async def join(self, channel: str) -> AsyncIterator[Line]:
        """Stand in line; returns once messages are heard, or `CONFIRM_S` later."""
        line = self._lines.get(channel)
        if line is None:
            line = self._lines[channel] = Line()
            with contextlib.suppress(StoreError):  # the listener tries again
                await self._ear.listen_to(channel)
        line.members += 1
        try:
            if self._listener is None or self._listener.done():
                self._listener = self._background.spawn(self._listen(), name="task-wakeups")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONFIRM_S):
                    await line.is_heard.wait()
            line.look_in(None)
            yield line
        finally:
            line.members -= 1
            if not line.members:
                line.stop()
                asyncio.get_running_loop().call_later(LINGER_S, self._drop, channel, line)

    def close(self) -> None:
        """Let everyone stop waiting: Deja shuts down."""
        self.is_closing = True
        for line in self._lines.values():
            line.ring(line.waiting)

    def _drop(self, channel: str, line: Line) -> None:
        if not line.members and self._lines.get(channel) is line and not self.is_closing:
            del self._lines[channel]
            self._background.spawn(self._stop_listening(channel), name="task-wakeups-end")

    async def _stop_listening(self, channel: str) -> None:
        if channel not in self._lines:
            with contextlib.suppress(StoreError):
                await self._ear.stop_listening(channel)
            if channel in self._lines:  # somebody came meanwhile
                with contextlib.suppress(StoreError):
                    await self._ear.listen_to(channel)

    async def _listen(self) -> None:
        while self._lines and not self.is_closing:
            try:
                heard = await self._ear.next(LISTEN_S)
            except StoreError as error:
                logger.debug("listening for tasks is put off: %s", error)
                await self._begin_anew()
                continue
            except Exception as error:  # without it, tasks would be found by polling alone
                logger.error("listening for tasks failed with %s", where(error))
                await self._begin_anew()
                continue
            if heard is None or (line := self._lines.get(heard.channel)) is None:
                continue
            if heard.count is None:
                line.is_heard.set()
            else:
                line.ring(max(1, heard.count))

    async def _begin_anew(self) -> None:
        for line in self._lines.values():
            line.is_heard.clear()
        await asyncio.sleep(RETRY_S)
        with contextlib.suppress(StoreError):
            await self._ear.reset()
            if self._lines:
                await self._ear.listen_to(*self._lines)
        for line in self._lines.values():
            line.ring(1)  # messages may have been missed
