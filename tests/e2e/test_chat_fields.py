"""Chat beyond plain text: parts, pictures, sound, structured outputs, reasoning, log probabilities; and what passes through."""

from __future__ import annotations

import io
from typing import Any

import openai
import pydantic
import pytest

from tests.e2e.asking import MODEL, ask
from tests.fake_upstream import FakeUpstream, answer, chat, chat_completion

SKY = "Why is the sky blue?"
SKY_REWORDED = "Why's the sky blue?"


def parts(text: str, *others: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*others, {"type": "text", "text": text}]}]


def test_a_list_of_texts_is_a_text(client: openai.OpenAI) -> None:
    first = ask(client, parts("How do I reset my password?"))
    told = ask(client, parts("How can I reset my password?"))
    assert (told.hit, told.text) == ("semantic", first.text)
    assert ask(client, "How can I reset my password?").hit == "semantic"


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
SOUND = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
FILE = {"type": "file", "file": {"file_id": "file-1"}}


@pytest.mark.parametrize("part", [PICTURE, SOUND, FILE], ids=["picture", "sound", "file"])
def test_pictures_sounds_and_files_are_matched_exactly(client: openai.OpenAI, part: dict[str, Any]) -> None:
    first = ask(client, parts("What does this show?", part))
    assert first.status == "deja; fwd=miss; stored; detail=not-user-text"
    assert ask(client, parts("What's shown here?", part)).hit is None
    assert ask(client, parts("What does this show?", {**part, "x": 1})).hit is None
    again = ask(client, parts("What does this show?", part))
    assert (again.hit, again.text) == ("exact", first.text)


class Sky(pydantic.BaseModel):
    reason: str


class Grass(pydantic.BaseModel):
    reason: str
    colour: str


def test_structured_outputs_are_parsed_again_and_each_schema_has_its_own(
    client: openai.OpenAI, upstream: FakeUpstream
) -> None:
    upstream.script(chat('{"reason": "scattering", "colour": "blue"}'))
    turns: Any = [{"role": "user", "content": SKY}]
    for _ in range(2):
        told = client.chat.completions.parse(model=MODEL, messages=turns, response_format=Sky)
        assert told.choices[0].message.parsed == Sky(reason="scattering")
    assert len(upstream.requests) == 1
    other = client.chat.completions.parse(model=MODEL, messages=turns, response_format=Grass)
    assert other.choices[0].message.parsed == Grass(reason="scattering", colour="blue")
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_comes_back_in_either_mode(
    client: openai.OpenAI, upstream: FakeUpstream, name: str, stream: bool
) -> None:
    whole = chat_completion("Scattering.")
    whole["choices"][0]["message"][name] = "Light is scattered by air."
    upstream.script(answer(whole))
    ask(client, SKY)
    turns: Any = [{"role": "user", "content": SKY}]
    told: Any = client.chat.completions.create(model=MODEL, messages=turns, stream=stream)
    if stream:
        deltas = [chunk.choices[0].delta for chunk in told if chunk.choices]
        assert "".join(getattr(delta, name, None) or "" for delta in deltas) == "Light is scattered by air."
    else:
        assert getattr(told.choices[0].message, name) == "Light is scattered by air."
    assert len(upstream.requests) == 1


def test_signed_thinking_is_served_on_an_exact_match_alone(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    whole = chat_completion("Scattering.")
    whole["choices"][0]["message"]["thinking_blocks"] = [{"type": "thinking", "thinking": "Hm.", "signature": "s"}]
    upstream.script(answer(whole))
    ask(client, SKY)
    assert ask(client, SKY).hit == "exact"
    assert ask(client, SKY_REWORDED).hit is None


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_come_back_in_either_mode(
    client: openai.OpenAI, upstream: FakeUpstream, stream: bool
) -> None:
    token = {"token": "Scattering.", "logprob": -0.1, "bytes": None, "top_logprobs": []}
    whole = chat_completion("Scattering.")
    whole["choices"][0]["logprobs"] = {"content": [token], "refusal": None}
    upstream.script(answer(whole))
    ask(client, SKY, logprobs=True)
    turns: Any = [{"role": "user", "content": SKY}]
    told: Any = client.chat.completions.create(model=MODEL, messages=turns, logprobs=True, stream=stream)
    choices = [chunk.choices[0] for chunk in told] if stream else told.choices
    found = [each for choice in choices if choice.logprobs for each in choice.logprobs.content]
    assert [(each.token, each.logprob) for each in found] == [("Scattering.", -0.1)]
    assert ask(client, SKY).hit is None, "without log probabilities it is another request"


@pytest.mark.parametrize(
    "fields",
    [{"web_search_options": {}}, {"extra_body": {"plugins": [{"id": "web"}]}}, {"tools": [{"type": "web_search"}]}],
    ids=["options", "plugin", "tool"],
)
def test_what_the_provider_looks_up_is_never_cached(
    client: openai.OpenAI, upstream: FakeUpstream, fields: dict[str, Any]
) -> None:
    for _ in range(2):
        assert ask(client, "Who won the match?", **fields).status == "deja; fwd=bypass; detail=not-cacheable"
    assert len(upstream.requests) == 2


# --- what passes through ---------------------------------------------------------------------------------------------------------


def test_files_pass_through(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    made = {
        "id": "file-1",
        "object": "file",
        "bytes": 2,
        "created_at": 1,
        "filename": "a.jsonl",
        "purpose": "batch",
        "status": "processed",
    }
    upstream.script(answer(made))
    assert client.files.create(file=("a.jsonl", io.BytesIO(b"{}")), purpose="batch").id == "file-1"
    assert upstream.requests[0].path == "/v1/files"
    assert b'filename="a.jsonl"' in upstream.requests[0].body


def test_batches_pass_through(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    made = {
        "id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-1",
        "completion_window": "24h", "created_at": 1, "status": "validating",
    }  # fmt: skip
    upstream.script(answer(made))
    for _ in range(2):
        batch = client.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h")
        assert batch.id == "batch_1"
    assert len(upstream.requests) == 2
    assert client.batches.retrieve("batch_1").status == "validating"
