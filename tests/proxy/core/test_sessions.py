from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.sessions import (
    MAX_MESSAGES,
    checked_data,
    checked_messages,
    checked_session,
    checked_user,
    estimated,
    user_of,
    window,
)
from proxy.errors import RequestError

# --- windows ----------------------------------------------------------------------------------------------------------------------


def turn(role: str, tokens: int = 10, **message: Any) -> dict[str, Any]:
    return {"role": role, "tokens": tokens, "message": {"role": role, "content": "x", **message}}


def calling(*call_ids: str, tokens: int = 10) -> dict[str, Any]:
    return turn("assistant", tokens, tool_calls=[{"id": one, "function": {"name": "f"}} for one in call_ids])


def result(call_id: str, tokens: int = 10) -> dict[str, Any]:
    return turn("tool", tokens, tool_call_id=call_id)


def kept(turns: list[dict[str, Any]], max_tokens: int) -> list[int]:
    found = window(turns, max_tokens).turns
    return [next(at for at, one in enumerate(turns) if one is two) for two in found]


def test_the_newest_turns_that_fit_are_kept_in_order() -> None:
    turns = [turn("user"), turn("assistant"), turn("user"), turn("assistant")]
    assert kept(turns, 30) == [1, 2, 3]
    assert kept(turns, 1000) == [0, 1, 2, 3]
    assert kept(turns, 9) == []


def test_no_smaller_turn_before_one_that_does_not_fit_is_kept() -> None:
    assert kept([turn("user", 1), turn("assistant", 50), turn("user", 10)], 40) == [2]


def test_system_messages_are_kept_wherever_they_stand() -> None:
    turns = [turn("system"), turn("user"), turn("developer"), turn("user"), turn("assistant")]
    assert kept(turns, 40) == [0, 2, 3, 4]
    with pytest.raises(RequestError) as caught:
        window(turns, 19)
    assert caught.value.code == "window_too_small"


@pytest.mark.parametrize("budget", range(10, 80, 10))
def test_calls_and_their_results_are_kept_together_or_left_out_together(budget: int) -> None:
    turns = [turn("user"), calling("a", "b"), result("a"), turn("user"), result("b"), turn("assistant")]
    assert {1, 2, 4}.issubset(kept(turns, budget)) or {1, 2, 4}.isdisjoint(kept(turns, budget))


def test_a_result_that_has_just_come_keeps_its_call_however_old_that_is() -> None:
    turns = [calling("slow"), *(turn("user") for _ in range(10)), result("slow")]
    assert kept(turns, 40) == [0, 9, 10, 11]


def test_a_result_without_its_call_is_left_out() -> None:
    assert kept([result("gone"), turn("user")], 100) == [1]
    assert window([result("gone"), turn("user")], 100).omitted == 1


def test_the_older_function_calls_are_kept_together_too() -> None:
    turns = [turn("assistant", function_call={"name": "f"}), turn("function", name="f"), turn("user")]
    assert kept(turns, 20) == [2]
    assert kept(turns, 30) == [0, 1, 2]


TURNS = st.lists(
    st.one_of(
        st.builds(turn, st.sampled_from(["system", "user", "assistant", "developer"]), st.integers(0, 50)),
        st.builds(lambda ids, size: calling(*ids, tokens=size), st.lists(st.sampled_from("abcd")), st.integers(0, 50)),
        st.builds(result, st.sampled_from("abcde"), st.integers(0, 50)),
    ),
    max_size=20,
)


@given(TURNS, st.integers(0, 400))
def test_a_window_never_exceeds_its_budget_parts_no_call_and_loses_no_system_message(
    turns: list[dict[str, Any]], max_tokens: int
) -> None:
    try:
        found = window(turns, max_tokens)
    except RequestError:
        assert sum(one["tokens"] for one in turns if one["role"] in ("system", "developer")) > max_tokens
        return
    assert found.tokens == sum(one["tokens"] for one in found.turns) <= max_tokens
    assert found.omitted == len(turns) - len(found.turns)
    positions = kept(turns, max_tokens)
    assert positions == sorted(set(positions))
    assert all(at in positions for at, one in enumerate(turns) if one["role"] in ("system", "developer"))
    callers: dict[str, int] = {}
    for at, one in enumerate(turns):
        for call in one["message"].get("tool_calls", ()):
            callers[call["id"]] = at
        if one["role"] == "tool":
            caller = callers.get(one["message"]["tool_call_id"])
            assert (at in positions) == (caller is not None and caller in positions)


@given(TURNS, st.integers(0, 200), st.integers(0, 200))
def test_a_larger_window_holds_all_that_a_smaller_one_does(turns: list[dict[str, Any]], small: int, more: int) -> None:
    try:
        few = set(kept(turns, small))
    except RequestError:
        return
    assert few <= set(kept(turns, small + more))


# --- what is refused --------------------------------------------------------------------------------------------------------------


def test_a_message_is_kept_byte_by_byte_with_its_unknown_fields() -> None:
    message = {"role": "user", "content": "hi", "reasoning_content": "…", "n": 12345678901234567890}
    (one,) = checked_messages([message], max_bytes=1000)
    assert orjson.loads(one.wire) == message
    assert (one.role, one.tokens) == ("user", estimated(one.wire))


@pytest.mark.parametrize("count", [0, MAX_MESSAGES + 1])
def test_the_number_of_messages_is_bounded(count: int) -> None:
    with pytest.raises(RequestError):
        checked_messages([{"role": "user", "content": "x"}] * count, max_bytes=1000)


def test_deep_nesting_is_refused_before_it_can_break_anything() -> None:
    deep: Any = {}
    for _ in range(500):
        deep = {"a": deep}
    with pytest.raises(RequestError) as caught:
        checked_data(deep, max_bytes=1 << 20)
    assert caught.value.code == "invalid_data"
    with pytest.raises(RequestError) as caught:
        checked_messages([{"role": "user", "content": "x", "deep": deep}], max_bytes=1 << 20)
    assert caught.value.code == "invalid_message"


def test_a_large_flat_value_is_no_deep_one() -> None:
    assert checked_data({"a": [[1]] * 1000}, max_bytes=1 << 20)


@pytest.mark.parametrize("name", ["a/messages", "a/data", "a/fork", "x/y/timeline"])
def test_a_session_is_not_called_like_one_of_its_routes(name: str) -> None:
    with pytest.raises(RequestError):
        checked_session(name)
    assert checked_session(f"{name}s") == f"{name}s"


@pytest.mark.parametrize("user", ["", "a\nb", "x" * 257, "\x00", 5, None, "\ud800"])
def test_some_users_are_none(user: Any) -> None:
    with pytest.raises(RequestError):
        checked_user(user, "user")
    assert user_of({"user": user}) is None


def test_whose_request_it_is() -> None:
    assert user_of({"user": "ann", "safety_identifier": "hash"}) == "ann"
    assert user_of({"safety_identifier": "hash"}) == "hash"
    assert user_of({"user": "", "safety_identifier": "hash"}) == "hash"
    assert user_of({}) is None
