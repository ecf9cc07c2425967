"""One request's way: among equal deployments, once more where that is safe, and to fallbacks where all of them fail.

Nothing of this is seen before the head of an answer is passed on, so no caller gets a byte of two answers. The rules are in
`core.attempts`; here is their order:

    a deployment by order, then weight or load ──failed, and may be repeated──▶ another one at once, or the same after a wait
      └─ retries used up, or none allowed ──▶ each fallback's own deployments, once ──▶ the first failure, as it was told
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from proxy.core import attempts
from proxy.core.attempts import RetryBudget, Trouble
from proxy.errors import UpstreamError
from proxy.ports import Headers, UpstreamRequest, UpstreamResponse, UpstreamRoute
from proxy.upstream.headers import CREDENTIALS
from proxy.upstream.router_settings import RoutingPolicy
from proxy.upstream.watched import Watched

SERVED_BY = b"x-deja-upstream"
"""Tells the caller who answered, where there was a choice."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One deployment that may be asked.

    Attributes:
        route: to it, under the model name it knows; of several equal ones all have one identity.
        upstream: the same as the route's.
        label: what callers are told.
        weight: its share, above 0.
        order: those of a lower one are asked first.
    """

    route: UpstreamRoute
    upstream: Watched
    label: str
    weight: float = 1.0
    order: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What journeys share.

    Attributes:
        policy: of the configuration.
        budget: of retries; one for all, since in an outage all would retry.
        fallbacks: a model's name -> its stops.
        on_fallback: told of each fallback that answered: from which name to which.
        draw: uniform in [0, 1).
    """

    policy: RoutingPolicy
    budget: RetryBudget
    fallbacks: Callable[[str], Sequence[Stop]]
    on_fallback: Callable[[str, str], None]
    draw: Callable[[], float] = random.random


@dataclass(slots=True)
class _Failure:
    """How a try ended: with an answer that is no good, kept open, or with none."""

    trouble: Trouble
    response: UpstreamResponse | None
    error: UpstreamError | None
    by: Stop

    async def forget(self) -> None:
        if self.response is not None:
            await self.response.aclose()

    @property
    def retry_after_s(self) -> float | None:
        """What the provider asks to wait."""
        headers = self.response.headers if self.response is not None else ()
        told = next((value for name, value in headers if name == b"retry-after"), b"")
        return attempts.retry_after_s(told.decode("latin-1"), now_s=time.time())


class Journey:
    """Implements `proxy.ports.Upstream` for one request.

    Args:
        name: the model asked for.
        stops: equal deployments, at least one.
        rules: what to do where one fails.
    """

    def __init__(self, name: str, stops: Sequence[Stop], rules: Rules) -> None:
        self._name = name
        self._stops = stops
        self._rules = rules

    @property
    def identity(self) -> str:
        """That of the first deployment."""
        return self._stops[0].upstream.identity

    def __eq__(self, other: object) -> bool:
        """Whether credentials that were meant for the one may be sent to the other: they ask the same providers."""
        return isinstance(other, Journey) and self._asked() == other._asked()

    def __hash__(self) -> int:
        return hash(self._asked())

    def _asked(self) -> frozenset[int]:
        return frozenset(id(stop.upstream) for stop in self._stops)

    async def aclose(self) -> None:
        """The upstreams are closed by who opened them."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send the request, to whoever answers it.

        Raises:
            UpstreamTimeoutError: as the first that was asked.
            UpstreamError: the same.
        """
        found = await self._among(self._stops, request, retries=self._rules.policy.retries_for(len(self._stops)))
        if not isinstance(found, _Failure):
            return found
        try:
            answer = await self._fall_back(request)
        except BaseException:
            await found.forget()
            raise
        if answer is not None:
            await found.forget()
            return answer
        if found.error is not None:
            raise found.error
        assert found.response is not None
        return _Answer(found.response, found.by, is_named=len(self._stops) > 1)

    async def _fall_back(self, request: UpstreamRequest) -> UpstreamResponse | None:
        if not isinstance(request.body, bytes):
            return None
        # The caller sent the credential for the provider of the model that was asked for, and no other.
        stranger = replace(request, headers=tuple(pair for pair in request.headers if pair[0] not in CREDENTIALS))
        for name in self._rules.policy.fallbacks_of(self._name):
            stops = self._rules.fallbacks(name)
            found = await self._among(stops, stranger, retries=len(stops) - 1, is_patient=False)
            if isinstance(found, _Failure):
                await found.forget()
                continue
            if found.status < 400:
                self._rules.on_fallback(self._name, name)
                return found
            await found.aclose()  # it cannot take this request; the caller is told what the first one said
        return None

    async def _among(
        self, stops: Sequence[Stop], request: UpstreamRequest, *, retries: int, is_patient: bool = True
    ) -> UpstreamResponse | _Failure:
        """Ask equal deployments, each once before any again; the answer, or the last failure."""
        rules, tried, waited = self._rules, set[int](), 0
        rules.budget.earn()
        while True:
            stop = self._pick(stops, tried)
            tried.add(id(stop))
            found = await _ask(stop, request, is_named=len(stops) > 1 or stops is not self._stops)
            if not isinstance(found, _Failure):
                return found
            if not (found.trouble.may_retry and isinstance(request.body, bytes)) or retries <= 0:
                return found
            if not any(other.upstream.allows for other in stops):
                return found  # all are left alone for now: waiting here would not bring them back
            wait_s: float | None = 0.0
            if all(id(other) in tried or not other.upstream.allows for other in stops):
                wait_s = attempts.wait_s(
                    waited, draw=rules.draw(), told_s=found.retry_after_s, least_s=rules.policy.retry_after_s
                )
                waited += 1
            if wait_s is None or (wait_s and not is_patient) or not rules.budget.spend():
                return found
            retries -= 1
            await found.forget()
            if wait_s:
                await asyncio.sleep(wait_s)

    def _pick(self, stops: Sequence[Stop], tried: set[int]) -> Stop:
        """The next one to ask: not yet tried rather than tried, answering rather than left alone, by order, then by load or weight."""
        fresh = [stop for stop in stops if id(stop) not in tried] or stops
        able = [stop for stop in fresh if stop.upstream.allows] or fresh
        first = min(stop.order for stop in able)
        able = [stop for stop in able if stop.order == first]
        if self._rules.policy.strategy == "least-busy":
            least = min(stop.upstream.in_flight for stop in able)
            able = [stop for stop in able if stop.upstream.in_flight == least]
        return weighted(able, self._rules.draw())


def weighted(stops: Sequence[Stop], draw: float) -> Stop:
    """One of them by weight; `draw` is uniform in [0, 1)."""
    left = draw * sum(stop.weight for stop in stops)
    for stop in stops:
        left -= stop.weight
        if left < 0:
            return stop
    return stops[-1]


async def _ask(stop: Stop, request: UpstreamRequest, *, is_named: bool) -> UpstreamResponse | _Failure:
    try:
        response = await stop.upstream.send(stop.route.rewrite(request))
    except UpstreamError as error:
        return _Failure(attempts.trouble_of_error(error), None, error, stop)
    trouble = attempts.trouble_of_status(response.status)
    if trouble is not None:
        return _Failure(trouble, response, None, stop)
    return _Answer(response, stop, is_named=is_named)


class _Answer:
    """An answer that says who gave it. Implements `proxy.ports.UpstreamResponse`."""

    def __init__(self, response: UpstreamResponse, by: Stop, *, is_named: bool) -> None:
        self._response = response
        self.served_by = by.route
        told = ((SERVED_BY, by.label.encode("ascii", "replace")),) if is_named else ()
        self.headers: Headers = (*response.headers, *told)

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._response.status

    def chunks(self) -> AsyncIterator[bytes]:
        """The body, straight from the provider's connection."""
        return self._response.chunks()

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._response.aclose()
