"""A breaker around Redis: after a few calls in a row without an answer, calls fail at once until a probe gets one.

Without it every request during an outage would wait its whole deadline. The rule is a pure value (`Breaker`); the
driver (`Guard`) adds the deadline, the clock and one background probe. Only silence counts: an error that Redis itself
sent came fast, and proves it is there.

    closed ──N unavailable in a row──▶ open ──probe answered──▶ closed
       ▲──any answer resets the count     └──every 250 ms: PING
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from types import TracebackType

from proxy.errors import StoreError, StoreUnavailableError
from proxy.stores.client import translate

FAILURES_TO_OPEN = 3  # one or two may be a slow command or a restart that is already over
PROBE_INTERVAL_S = 0.25  # how late hits may return after Redis did; costs Redis 4 PINGs a second, in an outage only
TURNS = 4  # of the event loop, in which a reply that has arrived is read and its caller woken
MAX_EXTENSIONS = 20  # how often a call that is only behind waits on: with 50 ms a second in all

log = logging.getLogger("deja.redis")


@dataclass(frozen=True, slots=True)
class Breaker:
    """The rule.

    Attributes:
        failures_to_open: unavailable results in a row that open it.
        failures: how many there have been since the last answer.
        is_open: calls are to fail at once.
    """

    failures_to_open: int = FAILURES_TO_OPEN
    failures: int = 0
    is_open: bool = False

    def answered(self) -> Breaker:
        """Redis answered, be it with an error: forget the failures. An open breaker waits for its probe."""
        return self if self.is_open or not self.failures else replace(self, failures=0)

    def unavailable(self) -> Breaker:
        """A call got no answer."""
        failures = self.failures + 1
        return replace(self, failures=failures, is_open=self.is_open or failures >= self.failures_to_open)

    def probed(self) -> Breaker:
        """The probe got an answer: let calls through again."""
        return replace(self, failures=0, is_open=False)


class Guard:
    """Bounds calls to Redis by a deadline and by the breaker.

    `async with guard.within(0.05): ...` raises StoreUnavailableError at once while the breaker is open, and after the
    deadline when Redis keeps silent. One event loop only; `aclose` ends the probe.

    Args:
        ping: sends one PING by a client of its own deadline; raises when there is no answer.
        failures_to_open: see `Breaker`.
        probe_interval_s: seconds between probes while open.
    """

    def __init__(
        self,
        ping: Callable[[], Awaitable[object]],
        *,
        failures_to_open: int = FAILURES_TO_OPEN,
        probe_interval_s: float = PROBE_INTERVAL_S,
    ) -> None:
        self._ping = ping
        self._probe_interval_s = probe_interval_s
        self._breaker = Breaker(failures_to_open)
        self._cause: StoreUnavailableError = StoreUnavailableError("Redis gave no answer.")
        self._probe: asyncio.Task[None] | None = None
        self._answered_at = -math.inf

    @property
    def answered_at(self) -> float:
        """When Redis last answered any call, in the event loop's time."""
        return self._answered_at

    @property
    def is_open(self) -> bool:
        """Whether calls fail at once now."""
        return self._breaker.is_open

    def within(self, deadline_s: float) -> AbstractAsyncContextManager[None]:
        """Guard the calls made inside the block, `deadline_s` for all of them together.

        Raises:
            StoreUnavailableError: no answer in time, or none expected; StoreLoadingError while Redis loads its data.
            StoreError: Redis answered with an error.
        """
        return _Guarded(self, deadline_s)

    async def aclose(self) -> None:
        """End the probe."""
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.cancel()
            await asyncio.gather(probe, return_exceptions=True)

    def check(self) -> None:
        """Raise if the breaker is open."""
        if self._breaker.is_open:
            raise type(self._cause)(f"{self._cause} Not asked again until it answers a probe.")

    def learn(self, error: StoreError | None) -> None:
        """Take in how a call ended."""
        if not isinstance(error, StoreUnavailableError):
            self._answered_at = asyncio.get_running_loop().time()
            self._breaker = self._breaker.answered()
            return
        self._cause = error
        was_open, self._breaker = self._breaker.is_open, self._breaker.unavailable()
        if self._breaker.is_open and not was_open:
            log.warning("redis: %s Requests go on without it until it answers.", error)
            # Not a stray task: the reference is kept here and `aclose` ends it.
            self._probe = asyncio.get_running_loop().create_task(self._probe_until_answered(), name="redis-probe")

    async def _probe_until_answered(self) -> None:
        while self._breaker.is_open:
            await asyncio.sleep(self._probe_interval_s)
            try:
                async with asyncio.timeout(self._probe_interval_s):
                    await self._ping()
            except Exception as error:
                ours = translate(error) if not isinstance(error, StoreError) else error
                if ours is None:
                    raise
                if isinstance(ours, StoreUnavailableError):
                    self._cause = ours
                    continue
            self._breaker = self._breaker.probed()
        log.warning("redis: answering again.")


class _Guarded(AbstractAsyncContextManager[None]):
    """One guarded block; a class, because a generator would cost more than the rest of it on the hot path.

    A busy process is no outage of Redis, and must not be taken for one: at saturation the breaker would turn every hit into a call
    upstream. So a deadline means that Redis is silent for so long. When it is due, what has arrived is read first; and if other
    calls have been answered since it was set, this one is only behind them and waits on.
    """

    __slots__ = (
        "_cancelling",
        "_deadline_s",
        "_extensions",
        "_guard",
        "_handle",
        "_has_expired",
        "_loop",
        "_set_at",
        "_task",
    )

    def __init__(self, guard: Guard, deadline_s: float) -> None:
        self._guard = guard
        self._deadline_s = deadline_s

    async def __aenter__(self) -> None:
        self._guard.check()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._has_expired = False
        self._extensions = 0
        self._loop = asyncio.get_running_loop()
        self._set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.cancel()
        if (
            self._has_expired
            and self._task.uncancel() <= self._cancelling
            and isinstance(error, asyncio.CancelledError)
        ):
            ours = StoreUnavailableError(f"Redis gave no answer within {self._deadline_s * 1000:.0f} ms.")
            self._guard.learn(ours)
            raise ours from error
        if error is None:
            self._guard.learn(None)
            return
        found = error if isinstance(error, StoreError) else translate(error)
        if found is None:
            return  # cancelled, or nothing to do with Redis: says nothing about it
        self._guard.learn(found)
        if found is not error:
            raise found from error

    def _set(self) -> None:
        self._set_at = self._loop.time()
        self._handle: asyncio.Handle = self._loop.call_at(self._set_at + self._deadline_s, self._due, TURNS)

    def _due(self, turns_left: int) -> None:
        if turns_left:
            self._handle = self._loop.call_soon(self._due, turns_left - 1)
        elif self._guard.answered_at > self._set_at and self._extensions < MAX_EXTENSIONS:
            self._extensions += 1
            self._set()
        else:
            self._has_expired = True
            self._task.cancel()
