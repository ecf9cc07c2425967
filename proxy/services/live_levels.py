"""The acceptance level of each namespace, following what its audits find. Implements `proxy.ports.Levels`.

Asking costs a dictionary look-up: what audits found is gathered here, added to Redis every few seconds together with what other
workers found, read back and reviewed (`core.budget`). Redis away: the last known levels hold, and what was found waits. At the start,
and in a namespace nobody audited yet: the calibrated level, or a stricter one where the pool of all is worse than calibrated.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from proxy.core import budget, evidence, keys
from proxy.core.budget import Standing
from proxy.core.confidence import BIN_COUNT, Calibration, bin_level, bin_of
from proxy.core.decision import Scope
from proxy.core.evidence import DeclaredJudge, Evidence, Report
from proxy.core.tally import Kind, Tally, increments
from proxy.errors import StoreError, StoreFullError, StoreUnavailableError, where
from proxy.ports import Guard
from proxy.services import ids

logger = logging.getLogger("deja.levels")

REVIEW_S = 5.0
"""Between reviews: a level follows an audit within so long, audits themselves take a second or more."""
LEAST_REVIEW_S = 0.2
"""Between reviews that a namespace unknown here asks for: until it is read, its own evidence does not hold."""
CALLS_S = 2.0
"""For the Redis calls of one review; nobody waits for them."""
SCOPES_KNOWN = 10_000
"""Namespaces kept in memory, some 2 KB each, since callers make names up; past that, one not used for long is read again when needed."""
QUIET_HITS = 200
"""Candidates at or above the calibrated level before the first audit, in all namespaces together: whoever tries Deja out, or tests with it,
sees no call to a provider but the callers' own; and so few hits tell little."""
CONTROLS_AHEAD = 100
"""Controls (audited exact repeats) may be this many more than audited hits: enough to begin with, then as many as hits."""


_BIN_EDGES = tuple(bin_level(place) for place in range(1, BIN_COUNT))
"""`core.confidence.bin_of` by bisection: 0.3 µs and not 9, on the way of every request that was judged."""

OnReview = Callable[[list[Standing], Report], None]
"""Told after each review of the standings of the namespaces in use, and of the pool's report."""


class EvidenceKeeper(Protocol):
    """Where evidence is kept. Methods raise `StoreError` and its branches only."""

    async def add(self, batch_id: str, increments: Mapping[str, Mapping[str, int]]) -> bool:
        """Add counts, once however often the batch is sent."""

    async def read(self, tags: list[str]) -> dict[str, Evidence]:
        """Read the evidence under each tag."""

    async def put_standings(self, standings: Mapping[str, Standing]) -> None:
        """Write what reviews came to."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What levels are held against.

    Attributes:
        calibration: turns evidence into confidence, and a budget into a level.
        max_wrong_hit_rate: wrong semantic hits / semantic hits, at most.
        merge_rate: the budget whose level the less sure of the verifier's two orders has to reach for a merge.
        judge: of the audits; controls measure its error anew.
    """

    calibration: Calibration
    max_wrong_hit_rate: float
    merge_rate: float
    judge: DeclaredJudge


@dataclass(slots=True)
class _Known:
    """A namespace, or the pool, as the last review left it."""

    standing: Standing
    tally: Tally
    rate: float
    share: float | None = None  # to audit, once somebody asked: until the next review it stays the same


class LiveLevels:
    """Levels that follow evidence.

    Args:
        store: where evidence is kept.
        guard: bounds what Redis may cost.
        held: what levels are held against.
        on_review: told after each review.
        rate_of: a namespace's own budget, None where it has none.

    Attributes:
        is_quiet: there is too little traffic yet to audit any of it.
    """

    def __init__(
        self,
        store: EvidenceKeeper,
        guard: Guard,
        held: Budget,
        *,
        on_review: OnReview | None = None,
        rate_of: Callable[[Scope], float | None] = lambda _: None,
    ) -> None:
        self._rate_of = rate_of
        self._fresh_at: dict[float, Standing] = {}
        self._store = store
        self._guard = guard
        self._held = held
        self._on_review = on_review
        self._fresh = budget.start(held.calibration, held.max_wrong_hit_rate)
        self._pool = _Known(self._fresh, Tally(), held.max_wrong_hit_rate)
        self._steering = evidence.for_steering(held.judge, evidence.Controls())
        self._controls = evidence.Controls()
        self._known: dict[Scope, _Known] = {}
        self._active: set[Scope] = set()
        self.is_quiet = True
        self._seen: dict[Scope, list[int]] = {}
        self._found: dict[str, Counter[str]] = {}
        self._sending: tuple[str, dict[str, Counter[str]]] | None = None
        self._wake = asyncio.Event()

    # --- asked on the hot path -----------------------------------------------------------------------------------------

    def level(self, scope: Scope) -> float:
        """The confidence a hit needs in this namespace now; above 1 for exact hits only."""
        self._active.add(scope)
        known, rate = self._known.get(scope), self._rate(scope)
        if known is not None and known.rate == rate:
            return known.standing.level
        self._wake.set()
        fresh = self._fresh_standing(rate).level
        # Another budget holds at once where it is the stricter one; a looser one waits for the review.
        return fresh if known is None else max(fresh, known.standing.level)

    def merge_level(self, scope: Scope) -> float:
        """What the less sure of the verifier's orders has to reach for two conversations to go on as one.

        Where the level has been tightened that is the level itself, and where nothing is served nothing is merged.
        """
        level = self.level(scope)
        if level > self.judging_level():
            return level
        return min(level, self._held.calibration.level_for(self._held.merge_rate))

    def judging_level(self) -> float:
        """The confidence from which a candidate is worth judging in full: the calibrated level, whatever is in force.

        Where a stricter level is, candidates between the two are what audits learn from, so that the level can come back. A judge
        that spared itself those which cannot be served would keep a namespace closed for ever.
        """
        return self._start().level

    def audit_share(self, scope: Scope, base_share: float) -> float:
        """Share of this namespace's hits to audit now; `base_share`, the least, is the same at every call."""
        known = self._known.get(scope)
        if known is None:
            return budget.audit_share(self._fresh, Tally(), base_share)
        if known.share is None:
            known.share = budget.audit_share(known.standing, known.tally, base_share)
        return known.share

    @property
    def wants_controls(self) -> bool:
        """Whether exact repeats should be audited, too, to learn how often the judge is mistaken."""
        return self._controls.judged < self._pool.tally.audited + CONTROLS_AHEAD

    # --- told by audits -------------------------------------------------------------------------------------------------

    def saw(self, scope: Scope, confidence: float) -> None:
        """Take note of a candidate that was judged best of its request. On the way of every one of them, so it only counts."""
        seen = self._seen.get(scope)
        if seen is None:
            self._active.add(scope)
            seen = self._seen[scope] = [0] * BIN_COUNT
        seen[bisect_right(_BIN_EDGES, confidence)] += 1

    def add(self, scope: Scope, kind: Kind, confidence: float, *, is_wrong: bool, is_counted: bool) -> None:
        """Take note of an audit that came to a verdict; see `core.tally.increments`."""
        self._active.add(scope)
        fields = increments(kind, confidence, is_wrong=is_wrong, is_counted=is_counted)
        self._count(_tag(scope), fields)
        self._count(keys.EVIDENCE_POOL, fields)

    def add_control(self, *, is_wrong: bool) -> None:
        """Take note of an audited exact repeat."""
        self._count(keys.EVIDENCE_POOL, evidence.control_increments(is_wrong=is_wrong))

    def _count_seen(self) -> None:
        """Turn what was seen since the last review into counts."""
        seen, self._seen = self._seen, {}
        for scope, counts in seen.items():
            fields = {f"seen:{place}": count for place, count in enumerate(counts) if count}
            self._count(_tag(scope), fields)
            self._count(keys.EVIDENCE_POOL, fields)

    def _count(self, tag: str, fields: Mapping[str, int]) -> None:
        if tag not in self._found and len(self._found) > SCOPES_KNOWN:
            return  # Redis has been away for long, and callers make names up: the pool goes on counting
        self._found.setdefault(tag, Counter()).update(fields)

    # --- in the background ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Review until cancelled."""
        while True:
            try:
                await self.review()
            except StoreError as error:
                logger.debug("review put off: %s", error)
            except Exception as error:  # whatever it is, the next review must still come
                logger.error("a review failed with %s", where(error))
            await asyncio.sleep(LEAST_REVIEW_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REVIEW_S - LEAST_REVIEW_S):
                    await self._wake.wait()

    async def review(self) -> None:
        """Add what was found, read what all workers found, and move levels.

        Raises:
            StoreError: Redis gave no answer; everything stays as it was.
        """
        scopes = list(self._active)
        self._active.clear()
        self._wake.clear()
        try:
            await self._send()
            async with self._guard.within(CALLS_S):
                found = await self._store.read([keys.EVIDENCE_POOL, *map(_tag, scopes)])
        except BaseException:
            self._active.update(scopes)
            raise
        stood = self._fresh
        changed = self._review_pool(found[keys.EVIDENCE_POOL])
        for scope in scopes:
            changed |= self._review_scope(scope, found[_tag(scope)], stood)
        for scope in list(self._known)[: max(0, len(self._known) - SCOPES_KNOWN)]:
            del self._known[scope]
        if changed:
            async with self._guard.within(CALLS_S):
                await self._store.put_standings(changed)
        if self._on_review is not None:
            self._on_review([known.standing for known in self._known.values()], self._report(found[keys.EVIDENCE_POOL]))

    async def drain(self, *, deadline_s: float) -> None:
        """On the way out, after `run` was cancelled: add what was found, within the deadline; the rest is lost, and said."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._send()
                await self._send()  # what was found while the batch before was waiting
        except (TimeoutError, StoreError) as error:
            logger.warning("the last audits were not written: %s", error or "Redis is too slow")

    async def report(self, scope: Scope) -> Report:
        """The error budget of a namespace, as Redis has it now.

        Raises:
            StoreError: Redis gave no answer.
        """
        tag = _tag(scope)
        async with self._guard.within(CALLS_S):
            found = await self._store.read([tag])
        return self._report(found[tag], self._standing(scope), rate=self._rate(scope))

    async def _send(self) -> None:
        """Add what was found. A batch without an answer is sent again under its id, so that it counts once."""
        if self._sending is None:
            self._count_seen()
            if not self._found:
                return
            self._sending, self._found = (ids.batch_id(), self._found), {}
        try:
            async with self._guard.within(CALLS_S):
                await self._store.add(*self._sending)
        except (StoreUnavailableError, StoreFullError):
            raise
        except StoreError as error:  # Redis refuses these very commands: again and again would block all that follows
            logger.error("audits were lost, Redis does not take them: %s", error)
        self._sending = None

    # --- reviewing --------------------------------------------------------------------------------------------------------

    def _review_pool(self, found: Evidence) -> dict[str, Standing]:
        self._controls = found.controls
        self._steering = evidence.for_steering(self._held.judge, self._controls)
        rate = self._held.max_wrong_hit_rate
        standing = self._reviewed(found, self._pool, self._start(), None, rate=rate)
        is_changed = standing != found.standing and _is_judged(found.tally)
        self._pool = _Known(standing, found.tally, rate)
        self.is_quiet = sum(found.tally.seen[bin_of(self._start().level) :]) < QUIET_HITS
        self._fresh_at.clear()
        self._fresh = self._fresh_standing(rate)
        return {keys.EVIDENCE_POOL: standing} if is_changed else {}

    def _review_scope(self, scope: Scope, found: Evidence, stood: Standing) -> dict[str, Standing]:
        """Move a namespace's level; `stood` is what held for namespaces unknown here."""
        before = self._known.pop(scope, None)  # put back at the end: the order is that of use
        rate = self._rate(scope)
        fresh, prior = self._fresh_standing(rate), evidence.prior_of(self._pool.standing)
        standing = self._reviewed(found, before, fresh, prior, rate=rate)
        self._known[scope] = _Known(standing, found.tally, rate)
        if before is not None:
            stood = before.standing
        elif rate != self._held.max_wrong_hit_rate:
            stood = fresh
        if stood.level != standing.level:
            _log_change(scope, stood, standing, found.tally)
        return {_tag(scope): standing} if standing != found.standing and _is_judged(found.tally) else {}

    def _reviewed(
        self, found: Evidence, before: _Known | None, fresh: Standing, pool: budget.Belief | None, *, rate: float
    ) -> Standing:
        """The standing that this evidence leads to under a budget."""
        if not _is_judged(found.tally):
            return fresh
        known = (before.tally, before.standing, before.rate) if before is not None else None
        if before is not None and (found.tally, found.standing, rate) == known:
            return before.standing
        if self._steering is None:
            return found.standing or fresh
        standing = found.standing or fresh
        if rate != (before.rate if before is not None else self._held.max_wrong_hit_rate):
            # Of another budget all that was learnt holds, but not the level that it led to.
            standing = replace(standing, level=fresh.level, cause=fresh.cause)
        return evidence.reviewed(
            found.tally,
            standing,
            calibration=self._held.calibration,
            max_wrong_hit_rate=rate,
            steering=self._steering,
            pool=pool,
        )

    def _report(self, found: Evidence, standing: Standing | None = None, *, rate: float | None = None) -> Report:
        return evidence.report(
            found,
            standing or self._pool.standing,
            calibration=self._held.calibration,
            max_wrong_hit_rate=self._held.max_wrong_hit_rate if rate is None else rate,
            judge=self._held.judge,
            controls=self._controls,
        )

    def _start(self) -> Standing:
        return budget.start(self._held.calibration, self._held.max_wrong_hit_rate)

    def _standing(self, scope: Scope) -> Standing:
        known = self._known.get(scope)
        return known.standing if known is not None else self._fresh_standing(self._rate(scope))

    def _rate(self, scope: Scope) -> float:
        """A namespace's budget."""
        own = self._rate_of(scope)
        return self._held.max_wrong_hit_rate if own is None else own

    def _fresh_standing(self, rate: float) -> Standing:
        """What holds under a budget where nothing is known; worked out once between reviews of the pool."""
        found = self._fresh_at.get(rate)
        if found is None:
            pool = self._pool.standing if _is_judged(self._pool.tally) else None
            found = evidence.fresh_standing(self._held.calibration, rate, pool, self._steering)
            self._fresh_at[rate] = found
        return found


def _tag(scope: Scope) -> str:
    return keys.evidence_scope(scope.tenant, scope.namespace)


def _is_judged(tally: Tally) -> bool:
    return tally.audited + tally.shadowed > 0


def _log_change(scope: Scope, before: Standing, now: Standing, tally: Tally) -> None:
    """One line with the numbers; a namespace's name is the caller's own, a tenant is told by the begin of its hash."""
    logger.warning(
        "namespace %r of tenant %s: level %s -> %s (%s): of %d audited hits %d were called wrong, of %d below the level %d",
        scope.namespace,
        scope.tenant[:8],
        _shown(before.level),
        _shown(now.level),
        now.cause.value,
        tally.audited,
        tally.audited_wrong,
        tally.shadowed,
        sum(tally.shadow_wrong),
    )


def _shown(level: float) -> str:
    return f"{level:.3f}" if level <= 1 else "exact hits only"
