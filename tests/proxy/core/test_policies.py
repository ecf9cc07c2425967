"""A policy is the most a request can get; what the request asks for can only be stricter."""

from __future__ import annotations

import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.models import Directives, Mode
from proxy.core.policies import _ALLOWS, Policy, stricter

modes = st.sampled_from(Mode)
policies = st.builds(
    Policy,
    mode=st.none() | modes,
    ttl_s=st.none() | st.integers(1, 100),
    max_wrong_hit_rate=st.none() | st.floats(0.001, 0.5),
    families=st.none() | st.just(("chat", "embeddings")),
    models=st.none() | st.just(("gpt-4o",)),
)


@pytest.mark.parametrize(("one", "other"), list(itertools.product(Mode, Mode)), ids=str)
def test_two_modes_allow_no_more_together_than_either(one: Mode, other: Mode) -> None:
    found = stricter(one, other)
    assert found is stricter(other, one)
    assert _ALLOWS[found] <= _ALLOWS[one] & _ALLOWS[other]
    assert stricter(one, one) is one


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (Mode.SEMANTIC, Mode.SHADOW, Mode.SHADOW),
        (Mode.EXACT, Mode.SEMANTIC, Mode.EXACT),
        (Mode.SHADOW, Mode.WRITE_ONLY, Mode.WRITE_ONLY),
        (Mode.EXACT, Mode.SHADOW, Mode.WRITE_ONLY),
        (Mode.EXACT, Mode.READ_ONLY, Mode.OFF),
        (Mode.OFF, Mode.SEMANTIC, Mode.OFF),
    ],
    ids=str,
)
def test_what_two_modes_leave(one: Mode, other: Mode, together: Mode) -> None:
    assert stricter(one, other) is together


@given(policies, modes, st.none() | st.integers(1, 100))
def test_a_request_gets_no_more_than_the_policy_and_no_more_than_it_asked_for(
    policy: Policy, mode: Mode, ttl_s: int | None
) -> None:
    asked = Directives(mode=mode, ttl_s=ttl_s, namespace="faq", tags=("a",))
    got = policy.applied(asked, family="chat", model="gpt-4o")
    assert _ALLOWS[got.mode] <= _ALLOWS[mode] & _ALLOWS[policy.mode or Mode.SEMANTIC]
    bounds = [bound for bound in (policy.ttl_s, ttl_s) if bound is not None]
    assert got.ttl_s == (min(bounds) if bounds else None)
    assert (got.namespace, got.tags) == ("faq", ("a",))


@pytest.mark.parametrize(
    ("family", "model", "mode"),
    [("chat", "gpt-4o", Mode.SEMANTIC), ("embeddings", "gpt-4o", Mode.OFF), ("chat", "o3", Mode.OFF)],
)
def test_routes_and_models_that_are_not_named_are_not_cached(family: str, model: str, mode: Mode) -> None:
    policy = Policy(families=("chat",), models=("gpt-4o",))
    assert policy.applied(Directives(), family=family, model=model).mode is mode


def test_a_policy_that_decides_nothing_changes_nothing() -> None:
    asked = Directives()
    assert Policy().applied(asked, family="chat", model="m") is asked


@given(policies)
def test_a_policy_comes_back_as_it_was_kept(policy: Policy) -> None:
    assert Policy.from_json(orjson.loads(orjson.dumps(policy.as_json()))) == policy
