"""Calls to Deja that are repeated until they are heard."""

from __future__ import annotations

import json
import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

log = logging.getLogger(__name__)

ANSWER_S = 10.0
"""For Deja's answer to anything but a long poll."""
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0
"""Longest pause between two tries; drawn evenly from below the doubling limit, so that a fleet does not return in step."""


class WorkerError(Exception):
    """Deja refused something that no retry mends: the key, the queue's name, the lease's length.

    Attributes:
        status: of the answer.
        code: Deja's word for it.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Wire:
    """A connection to Deja.

    Args:
        base_url: with or without /v1.
        api_key: None for none.
        transport: replaces the network, for tests.

    Attributes:
        give_up_at: when (monotonic clock) calls without an answer are repeated no more.

    Raises:
        ValueError: `base_url` is no HTTP URL.
    """

    def __init__(self, base_url: str, api_key: str | None, transport: httpx.BaseTransport | None) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError("base_url is to begin with http:// or https://, such as http://127.0.0.1:8080")
        self.give_up_at = math.inf
        self._http = httpx.Client(
            base_url=f"{base_url.rstrip('/').removesuffix('/v1')}/v1/",
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            transport=transport,
        )

    def call(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any],
        *,
        timeout_s: float = ANSWER_S,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> httpx.Response:
        """Call until there is an answer that another try would not change, or nobody wants one any more.

        For idempotent calls: one whose answer was lost is made again.

        Args:
            method: of HTTP.
            url: below /v1/.
            body: sent as JSON.
            timeout_s: for one try.
            is_wanted: asked before each repetition.

        Returns:
            The answer; where calls were given up, the last one that mended nothing, 503 for none.
        """
        for pause_s in pauses():
            try:
                answer = self.send(method, url, body, timeout_s=timeout_s)
            except httpx.TransportError as error:
                log.warning("cannot reach Deja (%s)", type(error).__name__)
                answer = httpx.Response(503)
            if not is_passing(answer) or time.monotonic() > self.give_up_at or not is_wanted():
                return answer
            time.sleep(max(pause_s, _retry_after_s(answer)))
        raise AssertionError("pauses have no end")

    def send(self, method: str, url: str, body: Mapping[str, Any], *, timeout_s: float) -> httpx.Response:
        """One call.

        Raises:
            httpx.TransportError: no answer.
        """
        content = json.dumps(body, allow_nan=False)  # escapes what is no Unicode, where httpx would raise
        return self._http.request(method, url, content=content, timeout=timeout_s)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


def pauses() -> Iterator[float]:
    """Seconds to wait before each repetition, without end."""
    limit_s = FIRST_PAUSE_S
    while True:
        yield random.uniform(0.0, limit_s)  # noqa: S311  no secret
        limit_s = min(MAX_PAUSE_S, limit_s * 2)


def is_passing(answer: httpx.Response) -> bool:
    """Whether waiting may mend it: Redis away, Deja starting, too many at once."""
    return answer.status_code >= 500 or answer.status_code in (408, 429)


def is_loss(answer: httpx.Response) -> bool:
    """Whether it says that a lease holds nothing any more."""
    return answer.status_code in (404, 409, 410)


def _retry_after_s(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text), MAX_PAUSE_S) if text.isdigit() else 0.0


def code(answer: httpx.Response) -> str:
    """Deja's word for what is wrong; the status where it gives none."""
    return str(_error(answer).get("code") or answer.status_code)


def _error(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def accepted(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is a yes.

    Raises:
        WorkerError: it is a no.
    """
    if answer.is_success:
        return answer
    message = _error(answer).get("message") or "no reason given"
    raise WorkerError(answer.status_code, code(answer), f"Deja answered {answer.status_code}: {message}")
