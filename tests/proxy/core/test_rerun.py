from __future__ import annotations

from typing import Any

import pytest

from proxy.core.rerun import Diverged, Rerun
from proxy.errors import RequestError
from tests.builders import assistant, chat_body, system, tool_call, tool_result, user

CHAT, RESPONSES, MESSAGES = "/chat/completions", "/responses", "/messages"


def step(number: int, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"step": number, "path": CHAT, "request": chat_body(*messages, **fields)}


def number(found: Any) -> int:
    assert not isinstance(found, Diverged), str(found)
    return int(found["step"])


def test_calls_get_their_steps_and_a_question_asked_twice_its_two_answers_in_turn() -> None:
    rerun = Rerun([step(1, user("a")), step(2, user("b")), step(3, user("a"))])
    assert [number(rerun.step(CHAT, chat_body(user(text)))) for text in ("b", "a", "a")] == [2, 1, 3]
    assert (rerun.given, rerun.left, rerun.diverged) == ([2, 1, 3], 0, 0)


def test_how_an_answer_travels_and_what_its_tool_calls_are_called_makes_no_difference() -> None:
    asked = [user("Weather?"), assistant(None, tool_calls=[tool_call("call_then")]), tool_result("call_then")]
    again = [user("Weather?"), assistant("", tool_calls=[tool_call("call_now")]), tool_result("call_now")]
    assert number(Rerun([step(1, *asked)]).step(CHAT, chat_body(*again, stream=True, metadata={"run": "2"}))) == 1


def test_a_call_that_was_not_made_then_is_told_from_the_next_step() -> None:
    rerun = Rerun([step(1, system(), user("a")), step(2, system(), user("b"), temperature=0.1)])
    rerun.step(CHAT, chat_body(system(), user("a")))
    found = rerun.step(CHAT, chat_body(system(), user("c")))
    assert isinstance(found, Diverged)
    assert found.nearest == 2
    assert str(found) == (
        "This call was not recorded. Step 2 comes next, and differs: "
        "temperature: '0.1' is not there any more; messages[1].content: 'b' became 'c'."
    )
    assert (rerun.left, rerun.diverged) == (1, 1)


def test_one_call_too_many_is_told() -> None:
    found = Rerun([]).step(CHAT, chat_body())
    assert isinstance(found, Diverged)
    assert str(found) == "All recorded steps have been given, and this call is one more."


def test_what_is_no_chat_request_is_refused() -> None:
    with pytest.raises(RequestError):
        Rerun([step(1, user())]).step(CHAT, {"model": "m"})


def test_the_same_words_through_another_api_are_another_call() -> None:
    rerun = Rerun([step(1, user("a"))])
    found = rerun.step(MESSAGES, chat_body(user("a")))
    assert isinstance(found, Diverged)
    assert found.differences[0] == "path: '/chat/completions' became '/messages'"


def test_which_response_a_call_goes_on_from_makes_no_difference_but_that_it_does() -> None:
    def call(text: str, previous: str | None = None) -> dict[str, Any]:
        return {"model": "m", "input": text, **({"previous_response_id": previous} if previous else {})}

    rerun = Rerun(
        [
            {"step": 1, "path": RESPONSES, "request": call("a")},
            {"step": 2, "path": RESPONSES, "request": call("b", "resp_then")},
        ]
    )
    assert number(rerun.step(RESPONSES, call("a"))) == 1
    found = rerun.step(RESPONSES, call("b"))
    assert isinstance(found, Diverged)
    assert found.differences == ("previous_response_id: 'true' is not there any more",)
    assert number(rerun.step(RESPONSES, call("b", "resp_now"))) == 2
