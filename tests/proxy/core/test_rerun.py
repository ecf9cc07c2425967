from __future__ import annotations

from typing import Any

import pytest

from proxy.core.rerun import Diverged, Rerun
from proxy.errors import RequestError
from tests.builders import assistant, chat_body, system, tool_call, tool_result, user


def step(number: int, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"step": number, "request": chat_body(*messages, **fields)}


def number(found: Any) -> int:
    assert not isinstance(found, Diverged), str(found)
    return int(found["step"])


def test_calls_get_their_steps_and_a_question_asked_twice_its_two_answers_in_turn() -> None:
    rerun = Rerun([step(1, user("a")), step(2, user("b")), step(3, user("a"))])
    assert [number(rerun.step(chat_body(user(text)))) for text in ("b", "a", "a")] == [2, 1, 3]
    assert (rerun.given, rerun.left, rerun.diverged) == ([2, 1, 3], 0, 0)


def test_how_an_answer_travels_and_what_its_tool_calls_are_called_makes_no_difference() -> None:
    asked = [user("Weather?"), assistant(None, tool_calls=[tool_call("call_then")]), tool_result("call_then")]
    again = [user("Weather?"), assistant("", tool_calls=[tool_call("call_now")]), tool_result("call_now")]
    assert number(Rerun([step(1, *asked)]).step(chat_body(*again, stream=True, metadata={"run": "2"}))) == 1


def test_a_call_that_was_not_made_then_is_told_from_the_next_step() -> None:
    rerun = Rerun([step(1, system(), user("a")), step(2, system(), user("b"), temperature=0.1)])
    rerun.step(chat_body(system(), user("a")))
    found = rerun.step(chat_body(system(), user("c")))
    assert isinstance(found, Diverged)
    assert found.nearest == 2
    assert str(found) == (
        "This call was not recorded. Step 2 comes next, and differs: "
        "temperature: '0.1' is not there any more; messages[1].content: 'b' became 'c'."
    )
    assert (rerun.left, rerun.diverged) == (1, 1)


def test_one_call_too_many_is_told() -> None:
    found = Rerun([]).step(chat_body())
    assert isinstance(found, Diverged)
    assert str(found) == "All recorded steps have been given, and this call is one more."


def test_what_is_no_chat_request_is_refused() -> None:
    with pytest.raises(RequestError):
        Rerun([step(1, user())]).step({"model": "m"})
