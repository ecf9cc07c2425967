"""Signals: publish, and hand what arrives to everyone who listens. One connection to Redis per process, however many listen.

    Redis ──▶ reader ──▶ encoded once ──▶ written to the socket of each subscriber that is waiting for it
                                      └──▶ else its queue ──▶ its own task writes, at its socket's pace

A subscriber's queue is bounded: one that does not keep up loses the oldest of what waits for it, is told how many at that place, and delays
nobody. When Redis is lost every subscriber is told so, and again when it is back; their subscriptions are renewed without their doing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from proxy.core.coordination import keys, signals
from proxy.core.coordination.signals import Frame
from proxy.errors import RequestError, StoreError, StoreUnavailableError
from proxy.ports import Guard
from proxy.services import ids
from proxy.services.background import Background

logger = logging.getLogger("deja.signals")

PING_S = 5.0
"""Silence after which Redis is asked for a word; after as long again the connection is given up."""
RETRY_S = 0.25
"""Between attempts to connect while Redis is away: as the breaker's probe."""
IDLE_S = 15.0
"""Between two words to listeners for whom there is nothing: below what proxies close a silent connection for."""
TAKEN_BYTES = 65_536
"""Taken from a queue at once: a transport's buffer, past which a writer waits for its reader."""


Write = Callable[[Frame], bool]
"""Writes a frame to a socket here and now; False where it cannot, and nothing was written."""


class Received(Protocol):
    """What a subscription's connection said."""

    @property
    def kind(self) -> str:
        """`message`, `subscribe` or another."""

    @property
    def key(self) -> str:
        """Redis name of the channel."""

    @property
    def data(self) -> bytes:
        """What was published."""


class SignalBus(Protocol):
    """Pub/sub. Methods raise `StoreError` and its branches only."""

    async def publish(self, key: str, message: bytes) -> int:
        """Send a message; how many connections to Redis got it."""

    async def open(self) -> None:
        """Connect for receiving."""

    async def drop(self) -> None:
        """Close that connection."""

    async def subscribe(self, keys: Sequence[str]) -> None:
        """Ask for some channels."""

    async def unsubscribe(self, key: str) -> None:
        """Ask for one no more."""

    async def ping(self) -> None:
        """Have Redis say something."""

    async def receive(self, timeout_s: float) -> Received | None:
        """What comes next, None if nothing does in time."""


class Subscription:
    """One listener's queue.

    Args:
        queue_signals: that wait for it, at most.
        on_missed: told how many it lost.
    """

    def __init__(self, key: str, *, queue_signals: int, on_missed: Callable[[int], None]) -> None:
        self.key = key
        self._bound = queue_signals
        self._on_missed = on_missed
        self._queue: deque[Frame] = deque()
        self._missed = 0
        self._outlived: dict[str, Frame] = {}  # notices whose place in the queue was lost
        self._waiter: asyncio.Future[None] | None = None
        self._is_closed = False
        self.write: Write | None = None
        """Spares the listener's task, if it has told how to write to its socket."""

    def offer(self, frame: Frame) -> None:
        """Write it, or put it behind what waits; the oldest goes where that is too much."""
        if self.write is not None and self._is_idle() and self.write(frame):
            return
        if len(self._queue) >= self._bound:
            oldest = self._queue.popleft()
            if oldest.is_signal:
                self._missed += 1
                self._on_missed(1)
            else:
                self._outlived[oldest.text] = oldest
        self._queue.append(frame)
        self._wake()

    def close(self) -> None:
        """Let the listener end once it has what waits."""
        self._is_closed = True
        self._wake()

    def nudge(self) -> None:
        """Let a listener that waits have nothing, to show that the connection lives."""
        self._wake()

    async def take(self) -> list[Frame] | None:
        """What waits, in order, or what comes next; empty after a nudge, None at the end."""
        if not self._queue and not self._is_closed:
            # No timer here: a thousand listeners would set and cancel a thousand for each signal.
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._queue:
            return None if self._is_closed else []
        if len(self._queue) == 1 and not self._missed and not self._outlived:
            return [self._queue.popleft()]
        frames = list(self._outlived.values())
        self._outlived.clear()
        if self._missed:
            frames.append(signals.missed(self._missed))
            self._missed = 0
        size = 0
        while self._queue and size < TAKEN_BYTES:
            frame = self._queue.popleft()
            frames.append(frame)
            size += len(frame.event)
        return frames

    def _is_idle(self) -> bool:
        """Its task waits, and has nothing to tell before."""
        waits = self._waiter is not None and not self._waiter.done()
        return waits and not (self._queue or self._missed or self._outlived)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Channel:
    """A channel that somebody of this process listens to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.listeners: dict[Subscription, None] = {}  # in order of arrival
        self.is_heard = asyncio.Event()  # Redis sends us what is published
        self.was_interrupted = False

    def tell(self, frame: Frame) -> None:
        for listener in self.listeners:
            listener.offer(frame)


class Signals:
    """A tenant's signals; raises StoreError when Redis does not do its part in time.

    Args:
        bus: where they go.
        guard: bounds what Redis may cost.
        background: runs what outlives a request, and the writers of WebSockets.
        deadline_s: for one command.
        message_bytes: of what is sent, at most.
        queue_signals: that wait for one subscriber, at most.
        max_subscribers: of this process, at most.
        now: unix time in seconds.
        on_missed: told how many signals a slow subscriber lost.
    """

    def __init__(
        self,
        bus: SignalBus,
        guard: Guard,
        background: Background,
        *,
        deadline_s: float,
        message_bytes: int,
        queue_signals: int,
        max_subscribers: int,
        now: Callable[[], float],
        on_missed: Callable[[int], None],
    ) -> None:
        self._bus = bus
        self._guard = guard
        self.background = background
        self._deadline_s = deadline_s
        self.message_bytes = message_bytes
        self._queue_signals = queue_signals
        self._max_subscribers = max_subscribers
        self._now = now
        self._on_missed = on_missed
        self._channels: dict[str, _Channel] = {}
        self._subscribers = 0
        self._is_wanted = asyncio.Event()
        self._is_closing = False
        self._order = asyncio.Lock()  # of commands on the listening connection
        self._is_connected = False
        self._asked: set[str] = set()
        self._unanswered: Counter[str] = Counter()

    @property
    def subscribers(self) -> int:
        """Callers of this process that listen now."""
        return self._subscribers

    async def publish(self, tenant: str, channel: str, data: Any, *, agent: str | None) -> tuple[str, int]:
        """Send a signal.

        Returns:
            Its id, and how many connections to Redis got it: each process of Deja with listeners is one, however many those are.
        """
        signal_id = ids.signal_id()
        message = signals.message(data, signal_id=signal_id, channel=channel, agent=agent, at=self._now())
        async with self._guard.within(self._deadline_s):
            return signal_id, await self._bus.publish(keys.signal(tenant, channel), message)

    async def subscribe(self, tenant: str, channel: str) -> Subscription:
        """Listen to a channel: whatever is sent after this returns will arrive. Give it to `release` in the end.

        Raises:
            RequestError: 429, too many listen already.
        """
        if self._subscribers >= self._max_subscribers:
            raise RequestError(
                f"{self._max_subscribers} subscribers listen already, and no more can: raise DEJA_SIGNALS__MAX_SUBSCRIBERS.",
                status=429,
                code="too_many_subscribers",
            )
        key = keys.signal(tenant, channel)
        subscription = Subscription(key, queue_signals=self._queue_signals, on_missed=self._on_missed)
        self._subscribers += 1
        heard = self._channels.setdefault(key, _Channel(channel))
        heard.listeners[subscription] = None
        self._is_wanted.set()
        try:
            async with self._guard.within(self._deadline_s):
                await self._ask_for(key)
                await heard.is_heard.wait()
        except BaseException:
            self.release(subscription)
            raise
        if self._is_closing:
            subscription.close()
        return subscription

    def release(self, subscription: Subscription) -> None:
        """Listen no more; done twice it does no harm."""
        heard = self._channels.get(subscription.key)
        if heard is None or subscription not in heard.listeners:
            return
        del heard.listeners[subscription]
        self._subscribers -= 1
        if not heard.listeners:
            del self._channels[subscription.key]
            if not self._is_closing:
                self.background.spawn(self._ask_no_more_for(subscription.key), name="signals-unsubscribe")

    def close(self) -> None:
        """Let every listener end: Deja shuts down."""
        self._is_closing = True
        for channel in self._channels.values():
            for listener in channel.listeners:
                listener.close()

    async def run(self) -> None:
        """Receive, and reconnect where need be, until cancelled."""
        ticking = self.background.keep(self._tick, name="signals-tick")
        try:
            while True:
                await self._is_wanted.wait()
                await self._hear()
                await asyncio.sleep(RETRY_S)
        finally:
            ticking.cancel()

    async def _hear(self) -> None:
        """Receive until Redis is lost."""
        try:
            await self._connect()
            await self._receive()
        except StoreError as error:
            logger.debug("signals wait for Redis: %s", error)
            self._interrupt()
        except Exception:
            self._interrupt()  # listeners must know of the gap, whatever made it
            raise
        finally:
            await self._bus.drop()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(IDLE_S)
            for channel in self._channels.values():
                for listener in channel.listeners:
                    listener.nudge()

    async def _connect(self) -> None:
        async with self._order:
            async with self._guard.within(self._deadline_s):
                await self._bus.open()
                wanted = list(self._channels)
                await self._bus.subscribe(wanted)
            self._asked.update(wanted)
            self._unanswered.update(wanted)
            self._is_connected = True

    async def _receive(self) -> None:
        is_silent = False
        while True:
            got = await self._bus.receive(PING_S)
            if got is None:
                if is_silent:
                    raise StoreUnavailableError("Redis is silent.")
                is_silent = True
                await self._bus.ping()
                continue
            is_silent = False
            channel = self._channels.get(got.key)
            if got.kind == "subscribe":
                self._confirm(got.key, channel)
            elif got.kind == "message" and channel is not None:
                channel.tell(signals.received(got.data, channel=channel.name, at=self._now()))

    def _confirm(self, key: str, channel: _Channel | None) -> None:
        self._unanswered[key] -= 1
        if self._unanswered[key] > 0:
            return  # asked for again in the meantime: only the last answer counts
        del self._unanswered[key]
        if channel is not None:
            channel.is_heard.set()
            if channel.was_interrupted:
                channel.was_interrupted = False
                channel.tell(signals.resumed())

    def _interrupt(self) -> None:
        self._is_connected = False
        self._asked.clear()
        self._unanswered.clear()
        for channel in self._channels.values():
            if channel.is_heard.is_set():
                channel.is_heard.clear()
                channel.was_interrupted = True
                channel.tell(signals.interrupted())

    async def _ask_for(self, key: str) -> None:
        async with self._order:
            if self._is_connected and key not in self._asked:
                await self._bus.subscribe([key])
                self._asked.add(key)
                self._unanswered[key] += 1

    async def _ask_no_more_for(self, key: str) -> None:
        async with self._order:
            if self._is_connected and key not in self._channels and key in self._asked:
                self._asked.discard(key)
                try:
                    await self._bus.unsubscribe(key)
                except StoreError as error:
                    logger.debug("a channel stays subscribed: %s", error)  # for as long as the connection lasts
