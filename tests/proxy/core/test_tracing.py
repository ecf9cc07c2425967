"""W3C's traceparent, and the spans of a request."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.models import Entry, Forwarded, HitKind, Reason, WireMode
from proxy.core.outcome import Outcome
from proxy.core.tracing import Answered, Span, Trace, is_in_share, parent_of, spans_of
from proxy.core.usage import Usage

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TOLD = f"00-{TRACE_ID}-{SPAN_ID}-01".encode()
TRACE = Trace(TRACE_ID, "1" * 16, "2" * 16, SPAN_ID)


def test_a_callers_traceparent_is_understood() -> None:
    assert parent_of([(b"traceparent", TOLD)]) == (TRACE_ID, SPAN_ID, True)
    assert parent_of([(b"traceparent", TOLD[:-2] + b"00")]) == (TRACE_ID, SPAN_ID, False)


def test_a_later_version_is_understood_as_far_as_it_is_known() -> None:
    assert parent_of([(b"traceparent", b"01" + TOLD[2:] + b"-more")]) == (TRACE_ID, SPAN_ID, True)


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"00-short-01",
        TOLD.upper(),
        TOLD + b"-more",
        b"ff" + TOLD[2:],
        f"00-{'0' * 32}-{SPAN_ID}-01".encode(),
        f"00-{TRACE_ID}-{'0' * 16}-01".encode(),
    ],
)
def test_what_w3c_forbids_begins_a_new_trace(told: bytes) -> None:
    assert parent_of([(b"traceparent", told)]) is None


def test_two_of_them_begin_a_new_trace() -> None:
    assert parent_of([(b"traceparent", TOLD), (b"traceparent", TOLD)]) is None


@given(st.binary(max_size=80))
def test_no_bytes_break_it(told: bytes) -> None:
    found = parent_of([(b"traceparent", told)])
    assert found is None or (len(found[0]), len(found[1])) == (32, 16)


def test_the_provider_is_told_our_call_as_its_parent_and_keeps_the_rest() -> None:
    headers = TRACE.carried(((b"traceparent", TOLD), (b"tracestate", b"a=b")))
    assert headers == ((b"tracestate", b"a=b"), (b"traceparent", f"00-{TRACE_ID}-{'2' * 16}-01".encode()))
    assert parent_of(headers) == (TRACE_ID, "2" * 16, True)


def test_the_state_of_a_trace_that_is_not_continued_goes_nowhere() -> None:
    begun_here = Trace(TRACE_ID, "1" * 16, "2" * 16)
    assert [name for name, _ in begun_here.carried(((b"tracestate", b"a=b"), (b"accept", b"*/*")))] == [
        b"accept",
        b"traceparent",
    ]


@given(st.integers(1, (1 << 128) - 1), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_the_smaller_one(number: int, one: float, other: float) -> None:
    trace_id = f"{number:032x}"
    assert is_in_share(trace_id, 1.0)
    assert not is_in_share(trace_id, 0.0)
    assert is_in_share(trace_id, min(one, other)) <= is_in_share(trace_id, max(one, other))


def answered(outcome: Outcome, **rest: object) -> Answered:
    return Answered("chat", "/v1/chat/completions", "gpt-4o", "req_1", outcome, 200, 1_000_000_000, 100_000_000, **rest)  # type: ignore[arg-type]


def spans(told: Answered) -> list[Span]:
    return spans_of(TRACE, told, span_ids=(f"{number:016x}" for number in itertools.count(10)))


def test_a_miss_has_its_stages_and_its_call_below_the_request() -> None:
    outcome = Outcome(
        fwd=Forwarded.MISS, reason=Reason.NO_CANDIDATE, timings_ms={"lookup": 2.0, "embed": 3.0, "upstream": 50.0}
    )
    request, lookup, embed, call = spans(answered(outcome, used=Usage(7, 9)))
    assert (request.span_id, request.parent_id, request.kind) == ("1" * 16, SPAN_ID, "server")
    assert (request.began_ns, request.ended_ns) == (900_000_000, 1_000_000_000)
    assert request.attributes["deja.cache.outcome"] == "miss"
    assert request.attributes["deja.cache.reason"] == "no-candidate"
    assert "gen_ai.usage.input_tokens" not in request.attributes, "whoever adds up tokens would count them twice"
    assert [(each.name, each.parent_id) for each in (lookup, embed)] == [
        ("deja.lookup", "1" * 16),
        ("deja.embed", "1" * 16),
    ]
    assert (embed.began_ns, embed.ended_ns) == (902_000_000, 905_000_000)
    assert (call.span_id, call.kind, call.began_ns, call.ended_ns) == ("2" * 16, "client", 905_000_000, 1_000_000_000)
    assert (call.attributes["gen_ai.usage.input_tokens"], call.attributes["gen_ai.usage.output_tokens"]) == (7, 9)


def test_a_hit_makes_no_call_and_tells_what_it_saved() -> None:
    outcome = Outcome(similarity=0.94, timings_ms={"lookup": 1.0})
    outcome.serve(HitKind.SEMANTIC, Entry("ent_1", "q", b"{}", WireMode.BOTH, created_at=0.0, ttl_s=3600), now_s=5.0)
    request, _ = spans(answered(outcome, saved=Usage(10, 20)))
    assert request.name == "chat gpt-4o"
    assert request.attributes["deja.cache.similarity"] == 0.94
    assert request.attributes["deja.saved.output_tokens"] == 20


def test_a_request_that_joined_anothers_call_makes_none() -> None:
    outcome = Outcome(fwd=Forwarded.MISS, reason=Reason.NO_CANDIDATE, is_collapsed=True, timings_ms={"upstream": 5.0})
    assert [span.kind for span in spans(answered(outcome))] == ["server"]


@given(st.dictionaries(st.sampled_from(["memory", "lookup", "embed", "verify", "upstream"]), st.floats(0, 1e6)))
def test_no_span_reaches_out_of_the_request(timings_ms: dict[str, float]) -> None:
    for span in spans(answered(Outcome(fwd=Forwarded.MISS, reason="no-candidate", timings_ms=timings_ms))):
        assert 900_000_000 <= span.began_ns <= span.ended_ns <= 1_000_000_000
