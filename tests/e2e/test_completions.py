"""The legacy completions API through the real SDK."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.e2e.asking import Told
from tests.fake_answers import completion
from tests.fake_upstream import FakeUpstream, answer

MODEL = "gpt-3.5-turbo-instruct"


def ask(
    client: openai.OpenAI, prompt: Any, *, stream: bool = False, headers: dict[str, str] | None = None, **fields: Any
) -> Told:
    """Have a prompt continued."""
    raw = client.completions.with_raw_response.create(
        model=MODEL, prompt=prompt, stream=stream, extra_headers=headers, **fields
    )
    parsed: Any = raw.parse()
    if stream:
        with parsed:
            text = "".join(chunk.choices[0].text for chunk in parsed if chunk.choices)
    else:
        text = parsed.choices[0].text
    return Told(text, raw.headers["cache-status"], raw.headers)


@pytest.mark.parametrize("stored_as_stream", [False, True])
@pytest.mark.parametrize("asked_as_stream", [False, True])
@pytest.mark.parametrize("asked", ["What's the boiling point of ethanol?", "What is the boiling point of ethanol?"])
def test_one_entry_serves_streamed_and_whole(
    client: openai.OpenAI, upstream: FakeUpstream, stored_as_stream: bool, asked_as_stream: bool, asked: str
) -> None:
    first = ask(client, "What is the boiling point of ethanol?", stream=stored_as_stream)
    told = ask(client, asked, stream=asked_as_stream)
    assert told.hit == ("exact" if asked == "What is the boiling point of ethanol?" else "semantic"), told.status
    assert told.text == first.text
    assert len(upstream.requests) == 1


EXACT_ONLY: list[tuple[str, Any, Any, dict[str, Any]]] = [
    ("no question", "The boiling point of ethanol is", "The boiling point of ethanol is:", {}),
    ("two lines", "Q: Why is the sky blue?\nA:", "Q: Why's the sky blue?\nA:", {}),
    ("space at the end", "Why is the sky blue?", "Why's the sky blue? ", {}),
    ("echo", "Why is the sky blue?", "Why's the sky blue?", {"echo": True}),
    ("log probabilities", "Why is the sky blue?", "Why's the sky blue?", {"logprobs": 0}),
    ("suffix", "Why is the sky blue?", "Why's the sky blue?", {"suffix": " Thanks."}),
    ("several", ["Why is the sky blue?"], ["Why's the sky blue?"], {}),
    ("tokens", [11, 12], [11, 13], {}),
]


@pytest.mark.parametrize(
    ("stored", "asked", "fields"), [case[1:] for case in EXACT_ONLY], ids=[case[0] for case in EXACT_ONLY]
)
def test_what_is_not_one_question_is_matched_letter_by_letter(
    client: openai.OpenAI, stored: Any, asked: Any, fields: dict[str, Any]
) -> None:
    first = ask(client, stored, **fields)
    assert ask(client, asked, **fields).hit is None
    again = ask(client, stored, **fields)
    assert (again.hit, again.text) == ("exact", first.text)


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"stop": "."}, {"best_of": 2}, {"user": "ann"}])
def test_fields_keep_answers_apart(client: openai.OpenAI, fields: dict[str, Any]) -> None:
    ask(client, "Why is the sky blue?")
    assert ask(client, "Why is the sky blue?", **fields).hit is None


def test_several_choices_come_back_as_they_were(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.script(answer(completion("Rayleigh.", "Scattering.")))
    for _ in range(2):
        told = client.completions.create(model=MODEL, prompt="Why is the sky blue?", n=2)
        assert [choice.text for choice in told.choices] == ["Rayleigh.", "Scattering."]
    assert len(upstream.requests) == 1


def test_a_prompt_of_another_kind_is_a_400_that_names_it(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, 5)
    assert caught.value.param == "prompt"
    assert not upstream.requests
