"""A model that LiteLLM reaches, asked through every API by the real SDKs: cached, counted, and refused in each API's own words."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
import yaml

from tests.deja_process import DejaProcess, running_deja
from tests.e2e.test_ledger import simulated
from tests.fake_upstream import FakeUpstream, too_many_requests

QUESTION = "What is the capital of Peru?"
PRICES = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.00001}


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture(scope="module")
def routed(provider: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DejaProcess]:
    """Deja with a provider of each kind: one that LiteLLM asks for chats alone, and one that it asks for each API."""
    address = {"api_base": provider.base_url, "api_key": "ours", "drop_params": True}
    model_list = [
        {"model_name": name, "litellm_params": {"model": model, **address}, "model_info": PRICES}
        for name, model in (("chats", "mistral/mistral-small-latest"), ("speaks", "openai/served"))
    ]
    config: Path = tmp_path_factory.mktemp("litellm") / "deja.yaml"
    config.write_text(yaml.safe_dump({"model_list": model_list}))
    with running_deja(DEJA_CONFIG=str(config)) as process:
        yield process


class Caller:
    """One tenant, who asks the same through each API."""

    def __init__(self, deja: DejaProcess) -> None:
        self.key = f"sk-{uuid.uuid4()}"
        self.root = deja.root
        self.openai = openai.OpenAI(base_url=deja.base_url, api_key=self.key, max_retries=0, timeout=60)
        self.anthropic = anthropic.Anthropic(base_url=deja.root, api_key=self.key, max_retries=0, timeout=60)

    def ask(self, api: str, model: str, *, stream: bool = False) -> tuple[str, str]:
        """What was answered, and what the cache did."""
        given: Any
        match api:
            case "responses":
                made: Any = self.openai.responses.with_raw_response
                given = {"input": QUESTION}
            case "completions":
                made = self.openai.completions.with_raw_response
                given = {"prompt": QUESTION}
            case "messages":
                made = self.anthropic.messages.with_raw_response
                given = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 500}
            case _:
                made = self.openai.embeddings.with_raw_response
                given = {"input": [QUESTION, "And of Chile?"]}
        raw = made.create(model=model, **given, **({"stream": True} if stream else {}))
        parsed = raw.parse()
        text = "".join(map(said_in, parsed)) if stream else said(parsed)
        return text, raw.headers["cache-status"].split(";")[1].strip()

    def usage(self) -> dict[str, Any]:
        told = httpx.get(f"{self.root}/v1/usage", headers={"authorization": f"Bearer {self.key}"}, timeout=10)
        found: dict[str, Any] = told.json()["total"]
        return found

    def close(self) -> None:
        self.openai.close()
        self.anthropic.close()


def said(answer: Any) -> str:
    """The words of a whole answer; of embeddings their numbers."""
    if hasattr(answer, "output_text"):
        return str(answer.output_text)
    if hasattr(answer, "choices"):
        return str(answer.choices[0].text)
    if hasattr(answer, "content"):
        return str(answer.content[0].text)
    return str([one.embedding for one in answer.data])


def said_in(event: Any) -> str:
    """The words that an event of a stream adds."""
    if hasattr(event, "choices"):
        return "".join(choice.text for choice in event.choices)
    if event.type == "response.output_text.delta":
        return str(event.delta)
    return str(getattr(event.delta, "text", "")) if event.type == "content_block_delta" else ""


@pytest.fixture
def caller(routed: DejaProcess, provider: FakeUpstream) -> Iterator[Caller]:
    provider.reset()
    provider.script(simulated)
    made = Caller(routed)
    yield made
    made.close()


@pytest.mark.parametrize("model", ["chats", "speaks"])
@pytest.mark.parametrize("api", ["responses", "completions", "messages"])
def test_an_answer_is_cached_and_serves_streamed_and_whole(
    caller: Caller, provider: FakeUpstream, api: str, model: str
) -> None:
    first, status = caller.ask(api, model)
    assert QUESTION in first
    assert status == "fwd=miss"
    assert caller.ask(api, model) == (first, "hit")
    assert caller.ask(api, model, stream=True) == (first, "hit")
    assert len(provider.requests) == 1
    assert provider.requests[0].header("authorization") == "Bearer ours"


@pytest.mark.parametrize("model", ["chats", "speaks"])
@pytest.mark.parametrize("api", ["responses", "completions", "messages"])
def test_a_stream_is_stored_too(caller: Caller, provider: FakeUpstream, api: str, model: str) -> None:
    first, status = caller.ask(api, model, stream=True)
    assert QUESTION in first
    assert status == "fwd=miss"
    assert caller.ask(api, model, stream=True) == (first, "hit")
    assert caller.ask(api, model) == (first, "hit")
    assert len(provider.requests) == 1


def test_embeddings_are_cached_input_by_input(caller: Caller, provider: FakeUpstream) -> None:
    first, _ = caller.ask("embeddings", "chats")
    assert caller.ask("embeddings", "chats") == (first, "hit")
    alone = caller.openai.embeddings.create(model="chats", input=QUESTION)
    assert str(alone.data[0].embedding) in first
    assert len(provider.requests) == 1


@pytest.mark.parametrize("api", ["responses", "completions", "messages", "embeddings"])
def test_what_was_spent_and_saved_is_in_the_ledger(caller: Caller, api: str) -> None:
    for _ in range(2):
        caller.ask(api, "chats")
    total = caller.usage()
    assert (total["requests"]["calls"], total["requests"]["exact"]) == (1, 1)
    assert total["spent_usd"] == total["saved_usd"]["total"] > "0"
    assert total["unpriced"] == {"calls": 0, "savings": 0, "own": 0}


@pytest.mark.parametrize("model", ["chats", "speaks"])
def test_a_refusal_comes_as_the_sdk_knows_it(caller: Caller, provider: FakeUpstream, model: str) -> None:
    provider.script(too_many_requests(retry_after_s=7))
    for api in ("responses", "completions", "embeddings"):
        with pytest.raises(openai.RateLimitError) as told:
            caller.ask(api, model)
        assert told.value.response.headers["retry-after"] == "7"
        assert "fake error 429" in told.value.message
    with pytest.raises(anthropic.RateLimitError) as theirs:
        caller.ask("messages", model)
    assert theirs.value.body["error"]["type"] == "rate_limit_error"  # type: ignore[index]


def test_what_cannot_be_handed_over_is_refused_by_name(caller: Caller, provider: FakeUpstream) -> None:
    with pytest.raises(openai.BadRequestError) as told:
        caller.openai.responses.create(model="chats", input=QUESTION, previous_response_id="resp_elsewhere")
    assert (told.value.code, told.value.param) == ("unsupported_parameter", "previous_response_id")
    with pytest.raises(anthropic.BadRequestError):
        caller.anthropic.messages.create(
            model="chats",
            max_tokens=5,
            messages=[{"role": "user", "content": QUESTION}],
            extra_body={"api_base": provider.base_url},
        )
    assert not provider.requests


@pytest.mark.parametrize("model", ["chats", "speaks"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_response_can_be_gone_on_from_replayed_or_not(
    caller: Caller, provider: FakeUpstream, model: str, stream: bool
) -> None:
    """No provider behind LiteLLM keeps a response under an id that could be named again: Deja does."""

    def ask(text: str, previous: str | None = None) -> Any:
        given: Any = {"model": model, "input": text} | ({"previous_response_id": previous} if previous else {})
        if not stream:
            return caller.openai.responses.create(**given)
        with caller.openai.responses.stream(**given) as events:
            return events.get_final_response()

    first, again = ask(QUESTION), ask(QUESTION)
    assert first.id != again.id
    further = [ask("And of Chile?", one.id) for one in (first, again)]
    assert len(provider.requests) == 2, "the same conversation, whoever's answer it goes on from"
    last = ask("And of Bolivia?", further[0].id)
    assert "And of Bolivia?" in last.output_text
    sent = provider.requests[-1].json
    said = [one["role"] for one in sent.get("messages") or sent["input"]]
    assert said == ["user", "assistant", "user", "assistant", "user"]
    assert caller.openai.responses.retrieve(last.id).output_text == last.output_text
    caller.openai.responses.delete(last.id)
    with pytest.raises(openai.BadRequestError) as gone:
        ask("And?", last.id)
    assert gone.value.code == "previous_response_not_found"


def test_a_response_that_is_not_to_be_stored_cannot_be_gone_on_from(caller: Caller) -> None:
    first = caller.openai.responses.create(model="chats", input=QUESTION, store=False)
    with pytest.raises(openai.BadRequestError) as told:
        caller.openai.responses.create(model="chats", input="And?", previous_response_id=first.id)
    assert told.value.code == "previous_response_not_found"
