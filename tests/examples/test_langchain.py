"""The LangChain example through a real Deja: streams, tools, and hits of both kinds in the headers."""

from __future__ import annotations

import json

from examples.langchain_chat import model_of, stream, use_tools
from tests.deja_process import DejaProcess
from tests.fake_upstream import FakeUpstream, answer, chat, chat_completion


def test_a_stream_is_a_miss_then_an_exact_and_a_semantic_hit(
    deja: DejaProcess, provider: FakeUpstream, api_key: str
) -> None:
    provider.script(chat("Paris, on the Seine."))
    model = model_of(deja.root, api_key, session="chat")
    pieces = list(stream(model, "What is the capital of France?"))
    assert "".join(pieces[:-1]) == "Paris, on the Seine."
    assert len(pieces) > 3, "it came in pieces"
    assert "deja; fwd=miss" in pieces[-1]
    for question, tier in (("What is the capital of France?", "exact"), ("What's France's capital city?", "semantic")):
        *pieces, told = stream(model, question)
        assert "".join(pieces) == "Paris, on the Seine."
        assert f"deja; hit; detail={tier}" in told
    assert len(provider.requests) == 1


def test_calls_with_tools_come_from_the_cache_the_second_time(
    deja: DejaProcess, provider: FakeUpstream, api_key: str
) -> None:
    called = {"name": "opening_hours", "arguments": json.dumps({"place": "museum"})}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": called}],
    }
    wants_tool = answer(
        chat_completion("") | {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    )
    provider.script(wants_tool, chat("It is open from 10 to 18."))
    model = model_of(deja.root, api_key, session="tools")
    first, told = use_tools(model, "When is the museum open?")
    assert first == "It is open from 10 to 18."
    assert ["fwd=miss" in each for each in told] == [True, True]
    result = provider.requests[1].json["messages"][-1]
    assert (result["role"], result["content"]) == ("tool", "museum: 10 to 18, closed on Mondays")
    again, told = use_tools(model, "When is the museum open?")
    assert again == first
    assert ["hit; detail=exact" in each for each in told] == [True, True]
    assert len(provider.requests) == 2
