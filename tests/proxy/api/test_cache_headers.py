from __future__ import annotations

from typing import Any

import pytest

from proxy.api.cache_headers import cache_status, response_headers
from proxy.core.models import Forwarded, HitKind, NotStored, Reason
from proxy.core.outcome import Outcome
from proxy.ports import Headers
from tests.builders import NOW_S, entry


def forwarded(fwd: Forwarded, reason: str, **fields: Any) -> Outcome:
    outcome = Outcome(**fields)
    outcome.forward(fwd, reason)
    return outcome


def hit(kind: HitKind = HitKind.EXACT, **fields: Any) -> Outcome:
    outcome = Outcome(**fields)
    outcome.serve(kind, entry(entry_id="ent_1"), now_s=NOW_S)
    return outcome


MISS, BYPASS, REQUEST, STALE = Forwarded.MISS, Forwarded.BYPASS, Forwarded.REQUEST, Forwarded.STALE


@pytest.mark.parametrize(
    ("outcome", "value"),
    [
        pytest.param(hit(), 'deja; hit; detail=exact; ttl=3540; key="ent_1"', id="exact hit"),
        pytest.param(hit(HitKind.SEMANTIC), 'deja; hit; detail=semantic; ttl=3540; key="ent_1"', id="semantic hit"),
        pytest.param(
            forwarded(MISS, Reason.BELOW_CONFIDENCE, stored_as="ent_2"),
            "deja; fwd=miss; stored; detail=below-confidence",
            id="miss, stored",
        ),
        pytest.param(forwarded(MISS, "gate-number"), "deja; fwd=miss; detail=gate-number", id="miss, streamed"),
        pytest.param(
            forwarded(MISS, Reason.NO_CANDIDATE, not_stored=NotStored.FINISH_REASON),
            "deja; fwd=miss; detail=no-candidate",
            id="miss, not stored",
        ),
        pytest.param(
            forwarded(MISS, Reason.NO_CANDIDATE, is_collapsed=True, stored_as="ent_2"),
            "deja; fwd=miss; collapsed",
            id="joined",
        ),
        pytest.param(forwarded(REQUEST, Reason.NO_CACHE), "deja; fwd=request", id="no-cache"),
        pytest.param(
            forwarded(REQUEST, Reason.NO_CACHE, stored_as="ent_2"), "deja; fwd=request; stored", id="no-cache, stored"
        ),
        pytest.param(forwarded(STALE, Reason.MAX_AGE), "deja; fwd=stale", id="max-age exceeded"),
        pytest.param(forwarded(REQUEST, Reason.WRITE_ONLY), "deja; fwd=request; detail=write-only", id="write-only"),
        pytest.param(forwarded(REQUEST, Reason.REPEAT), "deja; fwd=request; detail=repeat", id="repeat"),
        pytest.param(forwarded(BYPASS, Reason.MODE_OFF), "deja; fwd=bypass; detail=mode-off", id="mode off"),
        pytest.param(forwarded(BYPASS, Reason.NO_STORE), "deja; fwd=bypass; detail=no-store", id="no-store"),
        pytest.param(
            forwarded(BYPASS, Reason.NOT_CACHEABLE), "deja; fwd=bypass; detail=not-cacheable", id="not cacheable"
        ),
        pytest.param(
            forwarded(BYPASS, Reason.REDIS_UNAVAILABLE),
            "deja; fwd=bypass; detail=redis-unavailable",
            id="redis unavailable",
        ),
        pytest.param(
            forwarded(BYPASS, Reason.INDEX_LOADING), "deja; fwd=bypass; detail=index-loading", id="index loading"
        ),
        pytest.param(forwarded(BYPASS, Reason.SHADOW), "deja; fwd=bypass; detail=shadow", id="shadow"),
        pytest.param(forwarded(MISS, Reason.ONLY_IF_CACHED), "deja; detail=only-if-cached", id="only-if-cached"),
        pytest.param(Outcome(), "deja", id="nothing decided"),
    ],
)
def test_cache_status_is_what_the_contract_says(outcome: Outcome, value: str) -> None:
    assert cache_status(outcome) == value


def rendered(outcome: Outcome, upstream: Headers = ()) -> dict[bytes, bytes]:
    headers = response_headers(upstream, outcome, "req_1")
    assert len(dict(headers)) == len(headers), "no header is sent twice"
    return dict(headers)


def test_the_request_id_is_always_told() -> None:
    for outcome in (hit(), forwarded(MISS, Reason.NO_CANDIDATE), Outcome()):
        assert rendered(outcome)[b"x-deja-request-id"] == b"req_1"


def test_age_is_told_on_hits_alone() -> None:
    assert rendered(hit())[b"age"] == b"60"
    assert b"age" not in rendered(forwarded(MISS, Reason.NO_CANDIDATE))


def test_similarity_is_told_when_a_candidate_was_judged() -> None:
    assert rendered(hit(HitKind.SEMANTIC, similarity=0.98765))[b"x-deja-similarity"] == b"0.9877"
    assert rendered(forwarded(MISS, "gate-number", similarity=0.0))[b"x-deja-similarity"] == b"0.0000"
    assert b"x-deja-similarity" not in rendered(hit())


def test_a_usage_of_our_own_counting_is_marked_on_hits() -> None:
    counted = Outcome()
    counted.serve(HitKind.EXACT, entry(usage_estimated=True), now_s=NOW_S)
    assert rendered(counted)[b"x-deja-usage"] == b"estimated"
    assert b"x-deja-usage" not in rendered(hit())
    assert b"x-deja-usage" not in rendered(forwarded(MISS, Reason.NO_CANDIDATE, usage_estimated=True))


def test_a_clamped_confidence_is_told() -> None:
    assert rendered(hit(confidence_clamped=True))[b"x-deja-warning"] == b"confidence-clamped"
    assert b"x-deja-warning" not in rendered(hit())


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"not_stored": NotStored.FINISH_REASON}, b"finish-reason"),
        ({"not_stored": NotStored.REQUEST}, None),
        ({"not_stored": NotStored.STATUS, "stored_as": "ent_1"}, None),
        ({}, None),
    ],
)
def test_why_an_answer_was_not_stored_is_told_unless_the_caller_asked_for_it(
    fields: dict[str, Any], told: bytes | None
) -> None:
    assert rendered(forwarded(MISS, Reason.NO_CANDIDATE, **fields)).get(b"x-deja-not-stored") == told


def test_timings_are_told_where_they_ran() -> None:
    timed = hit(timings_ms={"lookup": 0.5, "embed": 1.234})
    assert rendered(timed)[b"server-timing"] == b"lookup;dur=0.50, embed;dur=1.23"
    assert b"server-timing" not in rendered(hit())


def test_our_cache_status_follows_the_providers_own() -> None:
    upstream = (
        (b"cache-status", b"cdn; hit"),
        (b"content-type", b"application/json"),
        (b"cache-status", b"origin; fwd=miss"),
    )
    headers = rendered(forwarded(MISS, Reason.NO_CANDIDATE), upstream)
    assert headers[b"cache-status"] == b"cdn; hit, origin; fwd=miss, deja; fwd=miss; detail=no-candidate"
    assert headers[b"content-type"] == b"application/json"


def test_the_providers_headers_keep_their_order_and_repetitions() -> None:
    upstream = ((b"set-cookie", b"a"), (b"x-request-id", b"r"), (b"set-cookie", b"b"))
    assert response_headers(upstream, Outcome(), "req_1")[:3] == upstream
