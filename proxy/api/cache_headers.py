"""What became of a request, as response headers: Cache-Status (RFC 9211), Age, Server-Timing and `X-Deja-*`."""

from __future__ import annotations

from proxy.core.models import Forwarded, NotStored, Reason
from proxy.core.outcome import Outcome
from proxy.ports import Headers

REQUEST_ID = b"x-deja-request-id"
_UNSAID = frozenset({Reason.NO_CACHE.value, Reason.MAX_AGE.value})
"""Reasons that `fwd=request` and `fwd=stale` already tell."""
_DROPS = frozenset({b"cache-status", b"date"})
"""Cache-Status is written anew with ours behind it; the server adds the Date of this hop."""
_COLLAPSED_DROPS = _DROPS | {b"set-cookie"}
"""A cookie was meant for the caller who led the flight."""


def cache_status(outcome: Outcome) -> str:
    """One member of Cache-Status.

    `deja; hit; detail=exact; ttl=3540; key="ent_…"`, `deja; fwd=miss; stored; detail=no-candidate`, `deja; fwd=miss; collapsed`.
    """
    if outcome.hit is not None:
        # Several entries, as of a batch of embeddings, have no one key.
        key = "" if outcome.entry is None else f'; key="{outcome.entry.entry_id}"'
        return f"deja; hit; detail={outcome.hit.value}; ttl={outcome.ttl_s}{key}"
    parts = ["deja"]
    if outcome.reason == Reason.ONLY_IF_CACHED:
        return f"deja; detail={outcome.reason}"
    if outcome.fwd is not None:
        parts.append(f"fwd={outcome.fwd.value}")
    if outcome.is_collapsed:
        parts.append("collapsed")
        return "; ".join(parts)
    if outcome.stored_as is not None:
        parts.append("stored")
    if outcome.reason is not None and outcome.reason not in _UNSAID:
        parts.append(f"detail={outcome.reason}")
    return "; ".join(parts)


def response_headers(upstream: Headers, outcome: Outcome, request_id: str) -> Headers:
    """The provider's headers with ours; our Cache-Status member follows the provider's own (RFC 9211 section 2)."""
    own = cache_status(outcome)
    before = [value for name, value in upstream if name == b"cache-status"]
    dropped = _COLLAPSED_DROPS if outcome.is_collapsed else _DROPS
    headers = [pair for pair in upstream if pair[0] not in dropped]
    headers.append((b"cache-status", b", ".join([*before, own.encode()])))
    headers.append((REQUEST_ID, request_id.encode()))
    if outcome.hit is not None:
        headers.append((b"age", str(outcome.age_s).encode()))
    if outcome.similarity is not None:
        headers.append((b"x-deja-similarity", f"{outcome.similarity:.4f}".encode()))
    if outcome.verdict is not None and outcome.verdict.confidence is not None:
        headers.append((b"x-deja-confidence", f"{outcome.verdict.confidence:.4f}".encode()))
    if outcome.usage_estimated and (outcome.hit is not None or outcome.fwd is Forwarded.PARTIAL):
        headers.append((b"x-deja-usage", b"estimated"))
    if outcome.inputs is not None:
        headers.append((b"x-deja-inputs", b"%d/%d" % outcome.inputs))
    if outcome.confidence_clamped:
        headers.append((b"x-deja-warning", b"confidence-clamped"))
    if outcome.not_stored not in (None, NotStored.REQUEST) and outcome.stored_as is None:
        headers.append((b"x-deja-not-stored", str(outcome.not_stored).encode()))
    if outcome.memory is not None:
        headers.append((b"x-deja-memory", outcome.memory.encode()))
    if outcome.timings_ms:
        timing = ", ".join(f"{name};dur={value:.2f}" for name, value in outcome.timings_ms.items())
        headers.append((b"server-timing", timing.encode()))
    return tuple(headers)
