"""What agents share works whichever model API they speak: sessions, memories, the journal, explanations."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.deja_process import DejaProcess
from tests.fake_answers import function_call, messages_api, responses_api, text_block, tool_use
from tests.fake_upstream import FakeUpstream

Ask = Callable[[DejaProcess, str, str, dict[str, str]], None]


def through_messages(deja: DejaProcess, key: str, text: str, headers: dict[str, str]) -> None:
    with anthropic.Anthropic(base_url=deja.root, api_key=key, max_retries=0) as client:
        client.messages.create(
            model="claude-x",
            max_tokens=100,
            messages=[{"role": "user", "content": text}],
            metadata={"user_id": "anna"},
            extra_headers=headers,
        )


def through_responses(deja: DejaProcess, key: str, text: str, headers: dict[str, str]) -> None:
    with openai.OpenAI(base_url=deja.base_url, api_key=key, max_retries=0) as client:
        client.responses.create(model="gpt-x", input=text, user="anna", extra_headers=headers)


EITHER = pytest.mark.parametrize("ask", [through_messages, through_responses], ids=["messages", "responses"])


@EITHER
def test_a_session_holds_the_turns_in_chats_shape(deja: DejaProcess, upstream: FakeUpstream, ask: Ask) -> None:
    key, session = f"sk-{uuid.uuid4()}", {"X-Deja-Session": "s-1"}
    for _ in range(2):
        ask(deja, key, "Why is the sky blue?", session)
    turns: list[Any] = []
    give_up_at = time.monotonic() + 5
    while len(turns) < 4 and time.monotonic() < give_up_at:
        found = httpx.get(f"{deja.base_url}/sessions/s-1", headers={"Authorization": f"Bearer {key}"})
        turns = found.json().get("turns", []) if found.status_code == 200 else []
    said = [(turn["message"]["role"], turn["message"]["content"]) for turn in turns]
    answered = said[1][1]
    assert said == [("user", "Why is the sky blue?"), ("assistant", answered)] * 2
    assert answered.startswith("Answer number")


@EITHER
def test_what_is_remembered_is_told(deja: DejaProcess, upstream: FakeUpstream, ask: Ask) -> None:
    key = f"sk-{uuid.uuid4()}"
    made = httpx.post(
        f"{deja.base_url}/long-term-memory/",
        headers={"Authorization": f"Bearer {key}"},
        json={"memories": [{"id": str(uuid.uuid4()), "text": "Anna has a parrot called Coco.", "user_id": "anna"}]},
    )
    assert made.status_code == 200, made.text
    ask(deja, key, "What is the name of my parrot?", {"X-Deja-Memory": "read"})
    sent = upstream.requests[-1].json
    told = str(sent.get("input") or sent["messages"])
    assert "What is the name of my parrot?" in told
    assert "Coco" in told


@EITHER
def test_tools_that_were_called_are_on_the_timeline(deja: DejaProcess, upstream: FakeUpstream, ask: Ask) -> None:
    key, session = f"sk-{uuid.uuid4()}", {"X-Deja-Session": "s-2"}
    if ask is through_messages:
        upstream.script(messages_api(text_block("I will look."), tool_use(city="Oslo")))
    else:
        upstream.script(responses_api(function_call(city="Oslo")))
    ask(deja, key, "What is the weather like in Oslo?", session)
    tools: list[Any] = []
    give_up_at = time.monotonic() + 5
    while not tools and time.monotonic() < give_up_at:
        found = httpx.get(f"{deja.base_url}/sessions/s-2/timeline", headers={"Authorization": f"Bearer {key}"})
        events = found.json().get("events", []) if found.status_code == 200 else []
        tools = [event["tool"] for event in events if event["type"] == "deja.tool.call"]
    assert tools == ["get_weather"]
