"""Puts each request of a session on its recording, off the hot path."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from proxy.core import recording
from proxy.core.outcome import Outcome
from proxy.core.recording import Step
from proxy.services.calls import Decision
from proxy.services.recorder import Recorder


class Tape:
    """Takes requests whose answer has left.

    Args:
        recorder: writes the steps.
        is_on: whether anything is recorded at all.
        now: unix time in seconds.
        monotonic: seconds, as in calls.
    """

    def __init__(
        self,
        recorder: Recorder[Step],
        *,
        is_on: bool,
        now: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recorder = recorder
        self._monotonic = monotonic
        self._is_on = is_on
        self._now = now

    def put(self, decision: Decision, *, status: int, answer: bytes | Mapping[str, Any] | None) -> None:
        """Record a request, if it named a session; some 5 µs, and nothing without one.

        Args:
            decision: the request and what became of it.
            status: HTTP status of the answer, 499 when the caller left first.
            answer: stored form, None when there was no complete one.
        """
        call, outcome = decision.call, decision.outcome
        session = call.directives.session
        if session is None or not self._is_on:
            return
        user = call.user
        raw = answer if isinstance(answer, bytes | None) else orjson.dumps(answer)
        told = {
            "at": f"{self._now():.3f}",
            "family": call.dialect.family,
            "headers": _headers(call.distinctions),
            "agent": call.directives.agent or "",
            "user": user or "",
            "model": call.request.model,
            "stream": "1" if call.request.is_stream else "",
            "status": str(status),
            "outcome": outcome.label,
            "reason": outcome.reason or "",
            "room": decision.place.room,
            "fingerprint": decision.place.fingerprint,
            "entry": _entry_key(outcome),
        }
        self._recorder.put(
            Step(
                tenant=call.tenant,
                session=session,
                request_id=call.request_id,
                told=told,
                sent=call.sent,
                wishes=recording.wishes_of(call.directives),
                answer=raw,
                size_bytes=len(call.body) + len(raw or b""),
                began_at=self._now() - (self._monotonic() - call.began_at),
                user=user,
            )
        )


def _headers(distinctions: Sequence[str]) -> str:
    """Those of a request's headers that keep answers apart, as JSON; "" for none. What follows the `?` is the query's."""
    pairs = [one.split(": ", 1) for one in itertools.takewhile(lambda one: one != "?", distinctions)]
    return orjson.dumps(dict(pairs)).decode() if pairs else ""


def _entry_key(outcome: Outcome) -> str:
    """Redis key of the entry that served by meaning; an exact hit is found by its fingerprint."""
    if outcome.entry is None:
        return ""
    wanted = outcome.entry.entry_id
    return next((candidate.redis_key for candidate in outcome.candidates if candidate.entry_id == wanted), "")
