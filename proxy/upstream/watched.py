"""A provider behind a circuit breaker: counted while it works, left alone for a while when it is away. The rule is `core.breakers`."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable

from proxy.core import attempts
from proxy.core.breakers import Breaker, State
from proxy.errors import UpstreamError
from proxy.ports import Headers, Upstream, UpstreamRequest, UpstreamResponse

logger = logging.getLogger("deja.upstream")


class Watched:
    """An upstream and its breaker. Implements `proxy.ports.Upstream`.

    Args:
        upstream: what is called.
        name: for people: logs, metrics, `/ready`.
        breaker: closed, with its rule.
        on_call: told the name and how each call went: `ok`, `refused` (4xx), a word of `core.attempts.Trouble`, or `open`.
        now: monotonic seconds.

    Attributes:
        in_flight: calls whose answer is not over.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        name: str,
        breaker: Breaker,
        on_call: Callable[[str, str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.upstream = upstream
        self.name = name
        self.in_flight = 0
        self._breaker = breaker
        self._on_call = on_call
        self._now = now

    @property
    def identity(self) -> str:
        """That of what is called."""
        return self.upstream.identity

    @property
    def state(self) -> State:
        """What becomes of a call now."""
        return self._breaker.state(self._now())

    def openness(self) -> float:
        """1 while it is left alone, 0.5 while one call may try it, 0 otherwise."""
        return {State.CLOSED: 0.0, State.HALF_OPEN: 0.5, State.OPEN: 1.0}[self.state]

    @property
    def allows(self) -> bool:
        """Whether a call would be made."""
        return self._breaker.allows(self._now())

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send the request, unless the provider is being left alone.

        Raises:
            UpstreamTimeoutError: no head within the timeouts.
            UpstreamError: not reached, or not tried.
        """
        breaker = self._breaker
        if not breaker.allows(self._now()):
            self._on_call(self.name, "open")
            wait_s = max(0.0, (breaker.open_until or 0.0) - self._now())
            raise UpstreamError(
                f"{self.name} failed {breaker.failures} times in a row, and is asked again in {wait_s:.0f} s.",
                was_sent=False,
            )
        was_probe = breaker.open_until is not None
        self._breaker = breaker.began()
        self.in_flight += 1
        try:
            response = await self.upstream.send(request)
        except UpstreamError as error:
            self.in_flight -= 1
            self._on_call(self.name, str(attempts.trouble_of_error(error)))
            if error.is_theirs:
                self._failed(was_probe)
            elif was_probe:
                self._breaker = self._breaker.abandoned()
            raise
        except BaseException:  # the caller left, or the request cannot be sent to anybody
            self.in_flight -= 1
            if was_probe:
                self._breaker = self._breaker.abandoned()
            raise
        self._answered(response.status, was_probe)
        return _Counted(response, self)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.upstream.aclose()

    def _answered(self, status: int, was_probe: bool) -> None:
        trouble = attempts.trouble_of_status(status)
        self._on_call(self.name, str(trouble) if trouble else "ok" if status < 400 else "refused")
        if attempts.is_away(status):
            self._failed(was_probe)
            return
        if was_probe:
            logger.warning("%s answers again.", self.name)
        self._breaker = self._breaker.succeeded()

    def _failed(self, was_probe: bool) -> None:
        was_open = self._breaker.open_until is not None
        self._breaker = self._breaker.failed(self._now(), was_probe=was_probe)
        if self._breaker.open_until is not None and not was_open:
            logger.warning("%s failed %d times in a row: left alone for a while.", self.name, self._breaker.failures)


class _Counted:
    """A response that is counted until it is closed. Implements `proxy.ports.UpstreamResponse`."""

    served_by = None

    def __init__(self, response: UpstreamResponse, by: Watched) -> None:
        self._response = response
        self._by: Watched | None = by

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._response.status

    @property
    def headers(self) -> Headers:
        """As sent."""
        return self._response.headers

    def chunks(self) -> AsyncIterator[bytes]:
        """The body, straight from the provider's connection."""
        return self._response.chunks()

    async def aclose(self) -> None:
        """Give the connection back."""
        by, self._by = self._by, None
        if by is not None:
            by.in_flight -= 1
        await self._response.aclose()
