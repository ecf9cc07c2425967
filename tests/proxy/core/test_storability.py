from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.core.chat_answers import read_json, read_stream
from proxy.core.models import NotStored
from proxy.core.storability import why_not_stored
from tests.builders import answer_body, assistant, chunk, stream_of, text_chunks, tool_call


def verdict(message: dict[str, Any] | None = None, **choice: Any) -> NotStored | None:
    choices = [{"index": 0, "message": message or assistant(), "finish_reason": "stop"} | choice]
    return why_not_stored(read_json(orjson.dumps(answer_body(choices=choices))))


def verdict_of_stream(*chunks: dict[str, Any]) -> NotStored | None:
    return why_not_stored(read_stream(stream_of(chunks), prompt_chars=4))


def calling(**call: Any) -> dict[str, Any]:
    return assistant(None, tool_calls=[tool_call() | call])


# --- what may ---------------------------------------------------------------------------------------------------------------------


def test_a_plain_answer_is_stored() -> None:
    assert verdict() is None
    assert verdict_of_stream(*text_chunks("a", "b")) is None


@pytest.mark.parametrize("arguments", ["{}", "", '{"city":"Oslo"}', "[]"])
def test_a_tool_call_with_arguments_that_parse_is_stored(arguments: str) -> None:
    message = calling(function={"name": "f", "arguments": arguments})
    assert verdict(message, finish_reason="tool_calls") is None
    assert verdict(message, finish_reason="stop") is None


def test_a_tool_call_of_another_type_is_not_looked_into() -> None:
    assert verdict(calling(type="custom", custom={"name": "f", "input": "{"})) is None
    assert verdict(calling(function=None)) is None


def test_several_good_choices_are_stored() -> None:
    choices = [{"index": at, "message": assistant(str(at)), "finish_reason": "stop"} for at in range(3)]
    assert why_not_stored(read_json(orjson.dumps(answer_body(choices=choices)))) is None


# --- what may not -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finish", ["length", "content_filter", "function_call", "error", "", None, 5, [], {}])
def test_only_an_answer_that_came_to_its_end_is_stored(finish: Any) -> None:
    assert verdict(finish_reason=finish) is NotStored.FINISH_REASON


def test_one_choice_cut_short_spoils_the_answer() -> None:
    choices = [{"index": at, "message": assistant(), "finish_reason": end} for at, end in enumerate(["stop", "length"])]
    assert why_not_stored(read_json(orjson.dumps(answer_body(choices=choices)))) is NotStored.FINISH_REASON


def test_a_stream_that_never_said_how_it_ended_is_not_stored() -> None:
    assert verdict_of_stream(chunk({"content": "a"})) is NotStored.FINISH_REASON
    assert verdict_of_stream(chunk({"content": "a"}, x=1)) is NotStored.FINISH_REASON


@pytest.mark.parametrize(
    "message", [assistant(None), assistant(""), assistant(" \n"), assistant([]), {"role": "assistant"}]
)
def test_an_empty_answer_is_not_stored(message: dict[str, Any]) -> None:
    assert verdict(message) is NotStored.EMPTY


def test_reasoning_alone_is_an_empty_answer() -> None:
    assert verdict(assistant(None, reasoning_content="Let me think.")) is NotStored.EMPTY


def test_an_empty_kept_stream_is_not_stored() -> None:
    assert verdict_of_stream(chunk({"role": "assistant"}, x=1), chunk({}, finish="stop")) is NotStored.EMPTY
    assert verdict_of_stream(chunk(None, x=1)) is NotStored.EMPTY


def test_a_kept_stream_is_judged_like_any_other() -> None:
    assert verdict_of_stream(chunk({"content": "a"}, x=1), chunk({}, finish="stop")) is None
    assert verdict_of_stream(chunk({"tool_calls": [{"index": 0}]}, x=1), chunk({}, finish="tool_calls")) is None
    assert verdict_of_stream(chunk({"refusal": "No."}, x=1), chunk({}, finish="stop")) is NotStored.REFUSAL
    assert (
        verdict_of_stream(chunk({"content": "I'm sorry, but I can't."}, x=1), chunk({}, finish="stop"))
        is NotStored.REFUSAL
    )


@pytest.mark.parametrize(
    "call", [{"function": {"name": "f", "arguments": '{"city":'}}, {"function": {"arguments": {"a": 1}}}]
)
def test_a_tool_call_that_would_fail_at_every_replay_is_not_stored(call: dict[str, Any]) -> None:
    assert verdict(calling(**call), finish_reason="tool_calls") is NotStored.MALFORMED


def test_a_tool_call_that_is_none_is_not_stored() -> None:
    assert verdict(assistant(None, tool_calls=["f"]), finish_reason="tool_calls") is NotStored.MALFORMED


def test_a_refusal_the_provider_marks_is_not_stored() -> None:
    assert verdict(assistant(None, refusal="I can't help with that.")) is NotStored.REFUSAL
    assert verdict(assistant("Here it is.", refusal="No.")) is NotStored.REFUSAL


REFUSALS = [
    "I'm sorry, but I can't assist with that.",
    "I’m sorry, but I can’t help with that request.",
    "I am sorry, but I cannot fulfill this request.",
    "I'm really sorry, but I can't do that.",
    "I'm so sorry, but I am unable to generate that image.",
    "Sorry, I can't write that for you.",
    "Sorry, but I won't do that.",
    "Sorry! I can't talk about this topic.",
    "I apologize, but I cannot provide instructions for that.",
    "I apologise, but I will not be able to help with this.",
    "My apologies, but I'm not able to share that.",
    "Unfortunately, I'm unable to provide medical advice.",
    "Unfortunately, I cannot access your files.",
    "As an AI language model, I cannot provide personal opinions.",
    "As an AI developed by OpenAI, I'm not able to engage in this conversation.",
    "I can't help with that.",
    "I cannot comply with this request.",
    "I can not answer that.",
    "I won't assist with hacking.",
    "I will not provide that information.",
    "I'm unable to discuss this.",
    "I am not able to support that.",
    "I'm not able to help you with that.",
    "I'm just not able to help with that.",
    "I cannot create content that depicts violence.",
    "I can't generate that kind of image.",
    "I must decline to answer.",
    "I have to decline this request.",
    "I can't continue with this request.",
    "I'm afraid I can't do that.",
    "  \n I can't assist with that.",
    "Sorry, I can't recommend that.",
]

ORDINARY = [
    "I can't recommend the Lofoten islands enough.",
    "I can't recommend X enough!",
    "I cannot stress enough how much sleep matters.",
    "I can't say enough good things about it.",
    "I can't help but admire Bach's late fugues.",
    "I can't help falling in love with you is a line by Elvis Presley.",
    "I can't wait to hear more. Here are three ideas.",
    "I can't believe it's not butter! is a brand of spread.",
    "I will not go gentle into that good night: the poem is by Dylan Thomas.",
    "I won't bore you with history: use a hash map.",
    "I'm unable is written without an apostrophe in formal text: I am unable.",
    "I'm sorry to hear that. Here is what you can do.",
    "I'm sorry to hear about your dog. I can't imagine how hard it is.",
    "I'm sorry. I can't imagine how hard this is; rest, and call a friend.",
    "Sorry, I can't thank you enough is a common way to close.",
    "Sorry is an adjective, sorrow a noun.",
    "Sorry for the confusion. The capital of Australia is Canberra.",
    "I apologize for the mistake: 7 times 8 is 56.",
    "Unfortunately, the train does not run on Sundays.",
    "Unfortunately, Pluto was reclassified in 2006.",
    "Unfortunately, you can't return opened goods.",
    "As an AI, I don't have feelings, but I can explain what they are.",
    "You can't provide two defaults; remove one.",
    "It cannot help you with that: cron has no seconds.",
    "No, I do not think so.",
    "I have to decline the noun first: rosa, rosae, rosae.",
    "Cannot assist is what the printer says when its queue is full.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_in_plain_words_is_not_stored(text: str) -> None:
    assert verdict(assistant(text)) is NotStored.REFUSAL


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_answer_that_only_sounds_like_a_refusal_is_stored(text: str) -> None:
    assert verdict(assistant(text)) is None


def test_a_refusal_among_several_choices_spoils_the_answer() -> None:
    texts = ["Here you are.", "I can't help with that."]
    choices = [{"index": at, "message": assistant(text), "finish_reason": "stop"} for at, text in enumerate(texts)]
    assert why_not_stored(read_json(orjson.dumps(answer_body(choices=choices)))) is NotStored.REFUSAL


@pytest.mark.timeout(5)
def test_the_refusal_check_is_fast_on_any_text() -> None:
    """The pattern must not backtrack its way through a long answer."""
    for text in (
        "As an AI" + " a" * 50_000,
        "I'm sorry" + " " * 100_000,
        " " * 100_000 + "x",
        "i can't " + "help " * 20_000,
    ):
        verdict(assistant(text))
