"""What became of one request, as one value: the header, the metric, the log line and the journal all read it."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.core.decision import Verdict
from proxy.core.models import Candidate, Entry, Forwarded, HitKind


@dataclass(slots=True)
class Outcome:
    """Filled in as the request proceeds; complete when the answer's head leaves.

    Attributes:
        hit: which tier served, None if none did.
        fwd: why the request went upstream, None on a hit.
        reason: the named reason behind `fwd`, None on a hit.
        would_hit: in shadow mode, which tier would have served.
        would_serve: and what.
        is_collapsed: joined a call in flight.
        stored_as: entry id under which the answer was stored, known before the head leaves for non-streamed answers.
        not_stored: why it was not.
        entry: what was served.
        age_s: of what was served, in whole seconds.
        ttl_s: seconds it stays fresh, negative where it is stale.
        similarity: cosine of the judged candidate.
        candidates: what the vector index offered and the judge looked at, nearest first.
        refused: neighbours that feedback ruled out before the judge looked, nearest first.
        verdict: what the judge said of the candidates; None when it was not asked.
        confidence_clamped: the caller asked for a looser level than the server's.
        usage_estimated: the usage in the answer is a count of our own.
        inputs: of a batch that was answered one by one, how many were stored, and how many were asked for; None for other requests.
        memory: what became of the wish to read memories, as the header says it; None where there was none.
        timings_ms: `memory`, `lookup`, `embed`, `verify`, `upstream`, where they ran.
    """

    hit: HitKind | None = None
    fwd: Forwarded | None = None
    reason: str | None = None
    would_hit: HitKind | None = None
    would_serve: Entry | None = None
    is_collapsed: bool = False
    stored_as: str | None = None
    not_stored: str | None = None
    entry: Entry | None = None
    age_s: int = 0
    ttl_s: int = 0
    similarity: float | None = None
    candidates: tuple[Candidate, ...] = ()
    refused: tuple[Candidate, ...] = ()
    verdict: Verdict | None = None
    confidence_clamped: bool = False
    usage_estimated: bool = False
    inputs: tuple[int, int] | None = None
    memory: str | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The outcome in one word, for metrics and the journal: exact, semantic, collapsed, or RFC 9211's `fwd`."""
        if self.hit is not None:
            return self.hit.value
        if self.is_collapsed:
            return "collapsed"
        return self.fwd.value if self.fwd is not None else "error"

    def forward(self, fwd: Forwarded, reason: str) -> None:
        """Record that the request goes upstream."""
        self.hit, self.fwd, self.reason = None, fwd, str(reason)

    def serve(self, kind: HitKind, entry: Entry, *, now_s: float) -> None:
        """Record a hit."""
        self.hit, self.fwd, self.reason, self.entry = kind, None, None, entry
        self.age_s, self.ttl_s = entry.age_s(now_s), entry.ttl_left_s(now_s)
        self.usage_estimated = entry.usage_estimated
