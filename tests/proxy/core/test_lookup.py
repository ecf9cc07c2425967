from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.keys import text_digest
from proxy.core.lookup import (
    Embed,
    Forward,
    Judge,
    LookUp,
    Serve,
    after_exact,
    after_fetch,
    after_search,
    plan,
    why_exact_only,
)
from proxy.core.models import Directives, Forwarded, HitKind, Mode, Reason, WireMode
from tests.builders import (
    NOW_S,
    QUESTION,
    assistant,
    candidate,
    chat_request,
    entry,
    system,
    tool_call,
    tool_result,
    user,
)

LOOK_UP = LookUp(text=QUESTION, exact_only=None, as_stream=False, max_age_s=None, floor=None)


def look_up(**fields: Any) -> LookUp:
    """A plan that may go all the way."""
    return LookUp(**{name: getattr(LOOK_UP, name) for name in LookUp.__slots__} | fields)


# --- plan -------------------------------------------------------------------------------------------------------------------------


def planned(exact_only: str | None = None, *, is_repeat: bool = False, **directives: Any) -> Forward | LookUp:
    return plan(chat_request(), Directives(**directives), exact_only=exact_only, is_repeat=is_repeat)


@pytest.mark.parametrize(
    ("directives", "fwd", "reason"),
    [
        pytest.param({"mode": Mode.OFF}, Forwarded.BYPASS, Reason.MODE_OFF, id="off"),
        pytest.param({"no_store": True}, Forwarded.BYPASS, Reason.NO_STORE, id="no-store"),
        pytest.param({"no_cache": True}, Forwarded.REQUEST, Reason.NO_CACHE, id="no-cache"),
        pytest.param({"mode": Mode.WRITE_ONLY}, Forwarded.REQUEST, Reason.WRITE_ONLY, id="write-only"),
        pytest.param({"mode": Mode.OFF, "no_store": True}, Forwarded.BYPASS, Reason.MODE_OFF, id="off and no-store"),
        pytest.param(
            {"no_store": True, "no_cache": True}, Forwarded.BYPASS, Reason.NO_STORE, id="no-store and no-cache"
        ),
    ],
)
def test_what_the_caller_says_goes_before_the_cache(directives: dict[str, Any], fwd: Forwarded, reason: Reason) -> None:
    assert planned(**directives) == Forward(fwd, reason)
    assert planned(is_repeat=True, **directives) == Forward(fwd, reason)


def test_a_repeat_that_means_try_again_goes_upstream() -> None:
    assert planned(is_repeat=True) == Forward(Forwarded.REQUEST, Reason.REPEAT)


@pytest.mark.parametrize("mode", [Mode.SEMANTIC, Mode.READ_ONLY, Mode.SHADOW, Mode.EXACT])
def test_every_other_mode_looks(mode: Mode) -> None:
    assert planned(mode=mode) == LOOK_UP


def test_the_plan_carries_what_the_caller_asks() -> None:
    state = plan(chat_request(stream=True), Directives(max_age_s=5, confidence=0.9), exact_only=None)
    assert state == LookUp(QUESTION, None, as_stream=True, max_age_s=5, floor=0.9)


def test_a_named_query_is_matched_in_place_of_the_turn() -> None:
    assert planned(query="boil egg") == look_up(text="boil egg")


def test_exact_only_requests_carry_no_text() -> None:
    assert planned("personal", query="boil egg") == look_up(text=None, exact_only="personal")


# --- exact only -------------------------------------------------------------------------------------------------------------------

IMAGE = user([{"type": "image_url", "image_url": {"url": "u"}}])


@pytest.mark.parametrize(
    ("messages", "fields", "directives", "reason"),
    [
        pytest.param([user()], {}, {}, None, id="a question"),
        pytest.param([user()], {}, {"mode": Mode.EXACT}, Reason.MODE_EXACT, id="mode exact"),
        pytest.param([system()], {}, {}, Reason.NOT_USER_TEXT, id="no user"),
        pytest.param([IMAGE], {}, {}, Reason.NOT_USER_TEXT, id="an image"),
        pytest.param(
            [user(), assistant(None, tool_calls=[tool_call()]), tool_result()],
            {},
            {},
            Reason.NOT_USER_TEXT,
            id="tool result",
        ),
        pytest.param([user(), assistant("The")], {}, {}, Reason.NOT_USER_TEXT, id="prefill"),
        pytest.param([IMAGE], {}, {"query": "what is it"}, None, id="named query"),
        pytest.param([user()], {"n": 2}, {}, Reason.MULTIPLE_CHOICES, id="choices"),
        pytest.param([user()], {"n": 2}, {"query": "q"}, Reason.MULTIPLE_CHOICES, id="choices of a named query"),
    ],
)
def test_why_a_request_has_the_exact_tier_only(
    messages: list[dict[str, Any]], fields: dict[str, Any], directives: dict[str, Any], reason: Reason | None
) -> None:
    assert why_exact_only(chat_request(*messages, **fields), Directives(**directives)) == reason


# --- after the exact tier ---------------------------------------------------------------------------------------------------------


def test_the_entry_of_this_very_request_is_served() -> None:
    assert after_exact(LOOK_UP, entry(), now_s=NOW_S) == Serve(HitKind.EXACT, entry())


def test_nothing_there_goes_on_to_the_semantic_tier() -> None:
    assert after_exact(LOOK_UP, None, now_s=NOW_S) == Embed(QUESTION)


def test_nothing_there_and_exact_only_is_a_miss_that_says_why() -> None:
    plan = look_up(text=None, exact_only="mode-exact")
    assert after_exact(plan, None, now_s=NOW_S) == Forward(Forwarded.MISS, "mode-exact")
    assert after_exact(look_up(text=None), None, now_s=NOW_S) == Forward(Forwarded.MISS, Reason.NO_CANDIDATE)


@pytest.mark.parametrize(
    ("age_s", "is_served"), [(0, True), (3599, True), (3599.9, True), (3600, False), (10_000, False), (-30, True)]
)
def test_an_entry_is_served_while_fresh(age_s: float, is_served: bool) -> None:
    state = after_exact(LOOK_UP, entry(created_at=NOW_S - age_s), now_s=NOW_S)
    assert isinstance(state, Serve if is_served else Embed)


@pytest.mark.parametrize(("max_age_s", "is_served"), [(61, True), (60, True), (59, False), (0, False)])
def test_max_age_bounds_what_is_served(max_age_s: int, is_served: bool) -> None:
    state = after_exact(look_up(max_age_s=max_age_s), entry(), now_s=NOW_S)
    assert state == (Serve(HitKind.EXACT, entry()) if is_served else Forward(Forwarded.STALE, Reason.MAX_AGE))


def test_max_age_zero_never_takes_an_answer_of_the_same_second() -> None:
    state = after_exact(look_up(max_age_s=0), entry(created_at=NOW_S - 0.01), now_s=NOW_S)
    assert state == Forward(Forwarded.STALE, Reason.MAX_AGE)


CAN_TRAVEL = [
    (WireMode.BOTH, False, True),
    (WireMode.BOTH, True, True),
    (WireMode.JSON, False, True),
    (WireMode.JSON, True, False),
    (WireMode.STREAM, False, False),
    (WireMode.STREAM, True, True),
]


@pytest.mark.parametrize(("wire", "as_stream", "is_served"), CAN_TRAVEL)
def test_an_entry_kept_to_one_mode_is_not_served_in_the_other(wire: WireMode, as_stream: bool, is_served: bool) -> None:
    stored = entry(wire=wire)
    refused = Forward(Forwarded.MISS, Reason.NOT_RENDERABLE)
    plan = look_up(as_stream=as_stream)
    assert after_exact(plan, stored, now_s=NOW_S) == (Serve(HitKind.EXACT, stored) if is_served else refused)


# --- after the search -------------------------------------------------------------------------------------------------------------


def test_fresh_candidates_are_judged_nearest_first() -> None:
    near, far = candidate(distance=0.01), candidate(distance=0.2)
    assert after_search(LOOK_UP, [near, far], now_s=NOW_S) == Judge((near, far))


def test_no_candidate_is_a_miss() -> None:
    assert after_search(LOOK_UP, [], now_s=NOW_S) == Forward(Forwarded.MISS, Reason.NO_CANDIDATE)


def test_candidates_that_expired_but_linger_in_the_index_are_passed_over() -> None:
    stale, fresh = candidate(created_at=NOW_S - 3600), candidate(distance=0.1)
    assert after_search(LOOK_UP, [stale, fresh], now_s=NOW_S) == Judge((fresh,))
    assert after_search(LOOK_UP, [stale], now_s=NOW_S) == Forward(Forwarded.MISS, Reason.NO_CANDIDATE)


def test_candidates_older_than_max_age_are_passed_over() -> None:
    young, old = candidate(created_at=NOW_S - 5), candidate()
    assert after_search(look_up(max_age_s=10), [old, young], now_s=NOW_S) == Judge((young,))
    assert after_search(look_up(max_age_s=10), [old], now_s=NOW_S) == Forward(Forwarded.STALE, Reason.MAX_AGE)


def test_a_candidate_that_feedback_rules_out_is_not_judged() -> None:
    wrong, other = candidate(question="How do I fry an egg?", distance=0.01), candidate(distance=0.1)
    unequal = frozenset({text_digest(wrong.question)})
    state = after_search(LOOK_UP, [wrong, other], now_s=NOW_S, unequal=unequal)
    assert state == Judge((other,), (wrong,))
    assert state.reason("gate-number") == Reason.FEEDBACK, "the nearest one tells why"
    assert after_search(LOOK_UP, [wrong], now_s=NOW_S, unequal=unequal) == Forward(
        Forwarded.MISS, Reason.FEEDBACK, wrong.similarity
    )


def test_the_judges_reason_stands_where_feedback_ruled_out_nothing_nearer() -> None:
    wrong, other = candidate(distance=0.1), candidate(distance=0.01)
    assert Judge((other,), (wrong,)).reason("gate-number") == "gate-number"
    assert Judge((other,)).reason(None) == Reason.BELOW_CONFIDENCE


@given(st.lists(st.floats(0, 7200), max_size=6), st.none() | st.integers(0, 7200), st.integers(0, 100))
def test_a_stricter_age_never_adds_a_candidate(ages_s: list[float], max_age_s: int | None, less_s: int) -> None:
    found = [candidate(created_at=NOW_S - age_s) for age_s in ages_s]

    def judged(bound_s: int | None) -> int:
        state = after_search(look_up(max_age_s=bound_s), found, now_s=NOW_S)
        return len(state.candidates) if isinstance(state, Judge) else 0

    assert judged(max((7200 if max_age_s is None else max_age_s) - less_s, 0)) <= judged(max_age_s)


def test_similarity_is_told_and_not_distance() -> None:
    assert candidate(distance=0.25).similarity == 0.75


# --- after the fetch --------------------------------------------------------------------------------------------------------------

CHOSEN = candidate(distance=0.1)


def test_the_chosen_entry_is_served_with_its_similarity() -> None:
    assert after_fetch(LOOK_UP, entry(), candidate=CHOSEN, now_s=NOW_S) == Serve(
        HitKind.SEMANTIC, entry(), CHOSEN.similarity
    )


@pytest.mark.parametrize("gone", [None, entry(created_at=NOW_S - 3600)], ids=["evicted", "expired"])
def test_an_entry_that_went_meanwhile_is_a_miss(gone: Any) -> None:
    assert after_fetch(LOOK_UP, gone, candidate=CHOSEN, now_s=NOW_S) == Forward(Forwarded.MISS, Reason.NO_CANDIDATE)


@pytest.mark.parametrize(("wire", "as_stream", "is_served"), CAN_TRAVEL)
def test_the_chosen_entry_must_be_able_to_travel_too(wire: WireMode, as_stream: bool, is_served: bool) -> None:
    state = after_fetch(look_up(as_stream=as_stream), entry(wire=wire), candidate=CHOSEN, now_s=NOW_S)
    refused = Forward(Forwarded.MISS, Reason.NOT_RENDERABLE, CHOSEN.similarity)
    assert state == (Serve(HitKind.SEMANTIC, entry(wire=wire), CHOSEN.similarity) if is_served else refused)


# --- ages -------------------------------------------------------------------------------------------------------------------------


def test_ages_are_whole_seconds_and_never_negative() -> None:
    stored = entry(created_at=NOW_S, ttl_s=10)
    assert [stored.age_s(NOW_S + after) for after in (-5, 0, 0.9, 1.1, 20)] == [0, 0, 0, 1, 20]
    assert [stored.remaining_s(NOW_S + after) for after in (-5, 0, 0.9, 1.1, 20)] == [10, 10, 10, 9, 0]


@given(st.floats(0, 1e6), st.integers(1, 10_000))
def test_the_two_tiers_agree_on_what_is_fresh(age_s: float, ttl_s: int) -> None:
    created_at = NOW_S - age_s
    exact = after_exact(LOOK_UP, entry(created_at=created_at, ttl_s=ttl_s), now_s=NOW_S)
    semantic = after_search(LOOK_UP, [candidate(created_at=created_at, ttl_s=ttl_s)], now_s=NOW_S)
    assert isinstance(exact, Serve) == isinstance(semantic, Judge)
