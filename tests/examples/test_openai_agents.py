"""The OpenAI Agents example through a real Deja: a run with a tool, and the same again from the cache."""

from __future__ import annotations

import json

from examples.openai_agents import Clerk
from tests.deja_process import DejaProcess
from tests.fake_upstream import FakeUpstream, answer, chat, chat_completion

QUESTION = "Are there any red kettles left?"


async def test_a_second_run_asks_the_provider_nothing(deja: DejaProcess, provider: FakeUpstream, api_key: str) -> None:
    called = {"name": "stock_of", "arguments": json.dumps({"product": "red kettle"})}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": called}],
    }
    wants_tool = answer(
        chat_completion("") | {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    )
    provider.script(wants_tool, chat("Yes, twelve of them."))
    for session, expected in (("run-1", "fwd=miss"), ("run-2", "hit; detail=exact")):
        clerk = Clerk(deja.root, api_key, session)
        assert await clerk.ask(QUESTION) == "Yes, twelve of them."
        assert [expected in each for each in clerk.told] == [True, True]
        await clerk.close()
    first, second = provider.requests
    assert second.json["messages"][-1]["content"] == "red kettle: 12 in stock"
    assert first.json["tools"][0]["function"]["name"] == "stock_of"
