"""Audits: was this answer by meaning right? A sampled share of hits is asked again in the background, and judged.

After the caller has the answer, and never on its way:

    semantic hit         drawn with `LiveLevels.audit_share`; the provider is asked again          evidence "hit"
    exact hit            a few, as controls: the stored answer is right by definition             the judge's false alarms
    shadow mode          would have hit by meaning; the fresh answer is there anyway              evidence "hit"
    below the level      a candidate that no gate refused; the fresh answer is there anyway       evidence "shadow"

Whether one happens is decided before its outcome is known, by chance, by the clock and by how many calls are left this hour: never by
the texts. Calls that an audit may need are set aside before it begins, so that one which finds a wrong answer is no likelier to end without
a verdict. What is asked anew is stored nowhere, and changes no entry.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.core.decision import Judged, Scope
from proxy.core.evidence import best_judged
from proxy.core.models import Candidate, HitKind, NotStored
from proxy.core.tally import Kind, is_counted
from proxy.errors import StoreError, where
from proxy.ports import Guard, ResponseStore
from proxy.services.answer_judges import AnswerJudge, Case
from proxy.services.asking_again import Asker, Line, NoAnswer, stored_text, text_of
from proxy.services.background import Background
from proxy.services.calls import Decision
from proxy.services.live_levels import LiveLevels

logger = logging.getLogger("deja.audits")

MOST_AT_ONCE = 4
"""Audits under way: they wait for providers most of the time, and share the embedder with callers."""
SHADOWS_PER_MINUTE = 60
"""Audits of answers that are there anyway: each embeds three texts, some 30 ms of the embedder's thread, so 3 % of it."""
LEAST_CONFIDENCE = 0.5
"""Of a candidate below the level that is audited: what is more likely wrong than right says nothing about hits."""
FETCH_S = 1.0
"""For reading a stored answer again; nobody waits for it."""

_COMPARABLE = frozenset(
    {None, NotStored.REQUEST, NotStored.STORE_UNAVAILABLE, NotStored.STORE_FULL, NotStored.CACHE_ERROR}
)
"""What may have kept a fresh answer from being stored without anything being wrong with the answer."""


Work = Callable[[Line], Awaitable[bool]]
"""One audit: whether the stored answer is wrong; raises `NoAnswer`."""


class Found(Protocol):
    """What is done with a verdict."""

    def __call__(self, *, is_wrong: bool) -> None:
        """Take it."""


class Allowance:
    """How many of something may happen within any span of time.

    Args:
        most: how many.
        span_s: the span.
        now: monotonic seconds.
    """

    def __init__(self, most: int, span_s: float, now: Callable[[], float]) -> None:
        self._most = most
        self._span_s = span_s
        self._now = now
        self._taken: deque[float] = deque()

    def take(self, count: int) -> bool:
        """Take so many, or none."""
        now = self._now()
        while self._taken and now - self._taken[0] >= self._span_s:
            self._taken.popleft()
        if len(self._taken) + count > self._most:
            return False
        self._taken.extend([now] * count)
        return True

    def give_back(self, count: int) -> None:
        """What was taken last was not needed."""
        for _ in range(min(count, len(self._taken))):
            self._taken.pop()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much is audited.

    Attributes:
        share: of the hits, at least (more while little is known); 0 turns audits off, also those that cost nothing.
        calls_per_hour: extra calls to providers in any hour, at most.
    """

    share: float
    calls_per_hour: int


class Audits:
    """Decides which answers are audited, and audits them.

    Args:
        levels: are told what was found.
        judge: compares answers.
        asker: asks providers again.
        responses: where stored answers are.
        guard: bounds what Redis may cost.
        background: where audits run; they end with it.
        sampling: how much.
        on_audit: told of each audit: its kind (hit, shadow, below, control) and verdict (right, wrong, or why there is none).
        on_counted: told the tenant of each audit that counts for the wrong-hit rate, and whether the hit was wrong.
        draw: uniform in [0, 1).
        now: monotonic seconds.
    """

    def __init__(
        self,
        *,
        levels: LiveLevels,
        judge: AnswerJudge,
        asker: Asker,
        responses: ResponseStore,
        guard: Guard,
        background: Background,
        sampling: Sampling,
        on_audit: Callable[[str, str], None],
        on_counted: Callable[[str, bool], None] = lambda _, __: None,
        draw: Callable[[], float] = random.random,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._levels = levels
        self._judge = judge
        self._asker = asker
        self._responses = responses
        self._guard = guard
        self._background = background
        self._share = sampling.share
        self._on_audit = on_audit
        self._on_counted = on_counted
        self._draw = draw
        self._calls = Allowance(sampling.calls_per_hour, 3600.0, now)
        self._shadows = Allowance(SHADOWS_PER_MINUTE, 60.0, now)
        self._under_way = 0

    def consider(self, decision: Decision, fresh: Mapping[str, Any] | None) -> None:
        """Look at a request whose answer has left, and perhaps audit it. Returns at once, and never raises.

        Args:
            decision: as it ended.
            fresh: the message of the provider's answer; None where there is no complete one.
        """
        if self._share <= 0:
            return
        try:
            self._consider(decision, fresh)
        except Exception as error:  # whatever it is, the request is answered and must be recorded
            logger.error("request %s: not audited, %s", decision.call.request_id, where(error))

    def _consider(self, decision: Decision, fresh: Mapping[str, Any] | None) -> None:
        outcome, call = decision.outcome, decision.call
        text = text_of(fresh) if outcome.hit is None and outcome.not_stored in _COMPARABLE else None
        if outcome.verdict is None:
            if not self._levels.is_quiet and HitKind.EXACT in (outcome.hit, outcome.would_hit):
                self._control(decision, text)
            return
        best = best_judged(outcome.verdict)
        if best is None or best.confidence is None:
            return
        scope = Scope(call.tenant, call.directives.namespace)
        self._levels.saw(scope, best.confidence)
        if self._levels.is_quiet:
            return
        if outcome.hit is HitKind.SEMANTIC:
            self._hit(decision, scope, best.confidence)
            return
        is_near = outcome.would_hit is HitKind.SEMANTIC or best.confidence >= LEAST_CONFIDENCE
        if is_near and text is not None:
            self._forwarded(decision, scope, best, best.confidence, text)

    # --- drawing ---------------------------------------------------------------------------------------------------------------

    def _hit(self, decision: Decision, scope: Scope, confidence: float) -> None:
        """Audit a hit if it is drawn."""
        draw = self._draw()
        if draw < self._levels.audit_share(scope, self._share) and _may_be_asked(decision):
            found = self._finding(scope, "hit", confidence, is_counted(draw, self._share))
            self._begin("hit", decision, 1 + self._judge.calls, self._served(decision), found)

    def _control(self, decision: Decision, fresh: str | None) -> None:
        """Audit an exact repeat if controls are wanted, and it could have been a hit by meaning: drawn, or by the answer there is."""
        is_served = decision.outcome.hit is not None
        if not self._levels.wants_controls or (is_served and self._draw() >= self._share):
            return
        if (
            decision.settle_exact_only() is not None
        ):  # reads the text, which takes longer than an exact hit: drawn ones only
            return
        found = self._levels.add_control
        if is_served and _may_be_asked(decision):
            self._begin("control", decision, 1 + self._judge.calls, self._served(decision), found)
        elif fresh is not None and self._shadows.take(1):
            self._begin("control", decision, self._judge.calls, self._unserved(decision, fresh), found)

    def _forwarded(self, decision: Decision, scope: Scope, best: Judged, confidence: float, fresh: str) -> None:
        """Audit what was not served, by the fresh answer that is there."""
        is_hit = decision.outcome.would_hit is HitKind.SEMANTIC
        if not self._shadows.take(1):
            return
        work = self._unserved(decision, fresh, decision.outcome.candidates[best.index])
        if is_hit:
            found = self._finding(scope, "hit", confidence, is_counted(self._draw(), self._share))
        else:
            found = self._finding(scope, "shadow", confidence, is_counted=False)
        self._begin("shadow" if is_hit else "below", decision, self._judge.calls, work, found)

    def _finding(self, scope: Scope, kind: Kind, confidence: float, is_counted: bool) -> Found:
        """What is to be done with a verdict."""

        def found(*, is_wrong: bool) -> None:
            self._levels.add(scope, kind, confidence, is_wrong=is_wrong, is_counted=is_counted)
            if is_counted:
                self._on_counted(scope.tenant, is_wrong)

        return found

    # --- auditing --------------------------------------------------------------------------------------------------------------

    def _served(self, decision: Decision) -> Work:
        """An audit of an answer that was served: the provider is asked again."""

        async def work(line: Line) -> bool:
            entry = decision.outcome.entry
            stored = stored_text(decision.call.dialect, entry.body) if entry is not None else None
            if stored is None:
                raise NoAnswer("unusable")
            return await self._judge.is_wrong(Case(decision.text or "", stored, await line.again(), line))

        return work

    def _unserved(self, decision: Decision, fresh: str, candidate: Candidate | None = None) -> Work:
        """An audit of an answer that was not served: it is read, and compared with the one that was given."""

        async def work(line: Line) -> bool:
            entry = decision.outcome.would_serve
            if entry is None and candidate is not None:
                async with self._guard.within(FETCH_S):
                    entry = await self._responses.fetch(candidate.redis_key)
            stored = stored_text(decision.call.dialect, entry.body) if entry is not None else None
            if stored is None:
                raise NoAnswer("unusable")
            return await self._judge.is_wrong(Case(decision.text or "", stored, fresh, line))

        return work

    def _begin(self, kind: str, decision: Decision, calls: int, work: Work, found: Found) -> None:
        if self._under_way >= MOST_AT_ONCE or not self._calls.take(calls):
            self._on_audit(kind, "skipped")
            return
        self._under_way += 1
        self._background.spawn(self._audit(kind, self._asker.line(decision), calls, work, found), name="audit")

    async def _audit(self, kind: str, line: Line, calls: int, work: Work, found: Found) -> None:
        try:
            is_wrong = await work(line)
        except NoAnswer as reason:
            self._on_audit(kind, str(reason))
        except StoreError:
            self._on_audit(kind, "unusable")
        else:
            found(is_wrong=is_wrong)
            self._on_audit(kind, "wrong" if is_wrong else "right")
        finally:
            self._under_way -= 1
            self._calls.give_back(calls - line.made)


def _may_be_asked(decision: Decision) -> bool:
    """Whether the provider may be asked again: not where the caller said it should not be asked at all."""
    return not decision.call.directives.only_if_cached
