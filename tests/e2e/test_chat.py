"""The main job, through the real SDK: miss, stored, hit; and everything that must never be a hit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.e2e.asking import Told, ask, turns
from tests.fake_upstream import FakeUpstream

NewClient = Callable[..., openai.OpenAI]

REWORDINGS = [
    ("What is the capital of France?", "What's the capital of France?"),
    ("What is the capital of France?", "What's France's capital city?"),
    ("How do I reset my password?", "How can I reset my password?"),
    ("How do I sort a list in Python?", "In Python, how do I sort a list?"),
    ("What are the opening hours of the library?", "Please tell me the opening hours of the library."),
]
NEVER = [
    ("How many days are there in 2 weeks?", "How many days are there in 3 weeks?", "number"),
    ("Who won the world cup in 2014?", "Who won the world cup in 2018?", "year"),
    ("Who is Marie Curie?", "Who is Pierre Curie?", "name"),
    (
        "What is the weather like in paris in spring?",
        "What is the weather like in madrid in spring?",
        "lower-case name",
    ),
    ("How do I enable two-factor authentication?", "How do I disable two-factor authentication?", "opposite verb"),
    ("Which foods are safe for dogs?", "Which foods are not safe for dogs?", "negation"),
    ("How far is it by train from Paris to London?", "How far is it by train from London to Paris?", "direction"),
    ("Convert 100 USD to EUR", "Convert 100 EUR to USD", "conversion direction"),
]


def test_the_same_question_again_is_an_exact_hit(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    first = ask(client, "What is the tallest mountain in Wales?")
    again = ask(client, "What is the tallest mountain in Wales?")
    assert first.status == "deja; fwd=miss; stored; detail=no-candidate"
    assert again.hit == "exact"
    assert again.text == first.text
    assert int(again.headers["age"]) >= 0
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(("stored", "asked"), REWORDINGS)
def test_a_rewording_is_a_semantic_hit(client: openai.OpenAI, stored: str, asked: str) -> None:
    first = ask(client, stored)
    told = ask(client, asked)
    assert told.hit == "semantic", told.status
    assert told.text == first.text
    assert 0.8 < float(told.headers["x-deja-similarity"]) < 1.0


@pytest.mark.parametrize(("stored", "asked", "why"), NEVER, ids=[case[2] for case in NEVER])
def test_another_question_is_never_a_hit(client: openai.OpenAI, stored: str, asked: str, why: str) -> None:
    first = ask(client, stored)
    told = ask(client, asked)
    assert told.hit is None
    assert told.text != first.text
    assert told.status.startswith("deja; fwd=miss")


WALLS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("temperature", {"temperature": 0}, {"temperature": 1}),
    ("response_format", {}, {"response_format": {"type": "json_object"}}),
    ("tools", {}, {"tools": [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]}),
    ("model", {"model": "gpt-4o-mini"}, {"model": "gpt-4o"}),
    ("max_tokens", {"max_tokens": 10}, {"max_tokens": 20}),
    ("seed", {"seed": 1}, {"seed": 2}),
    ("user", {"user": "ann"}, {"user": "bob"}),
    ("unknown field", {}, {"extra_body": {"top_k": 5}}),
    ("namespace", {}, {"headers": {"X-Deja-Namespace": "staging"}}),
    ("organisation", {}, {"headers": {"OpenAI-Organization": "org-2"}}),
]


@pytest.mark.parametrize(("first", "second"), [case[1:] for case in WALLS], ids=[case[0] for case in WALLS])
@pytest.mark.parametrize("reworded", [False, True], ids=["same text", "reworded"])
def test_nothing_is_served_across_a_wall(
    client: openai.OpenAI, first: dict[str, Any], second: dict[str, Any], reworded: bool
) -> None:
    stored = ask(client, "How can I reset my password?", **first)
    asked = ask(client, "How do I reset my password?" if reworded else "How can I reset my password?", **second)
    assert asked.hit is None
    assert asked.text != stored.text


def test_another_system_prompt_is_another_room(client: openai.OpenAI) -> None:
    stored = ask(client, turns("How do I reset my password?", system="You are the help desk of a bank."))
    asked = ask(client, turns("How do I reset my password?", system="You are the help desk of a school."))
    assert asked.hit is None
    assert asked.text != stored.text


def test_another_tenants_answer_is_never_served(new_client: NewClient, upstream: FakeUpstream) -> None:
    stored = ask(new_client(), "How do I reset my password?")
    for question in ("How do I reset my password?", "How can I reset my password?"):
        asked = ask(new_client(), question)
        assert asked.hit is None
        assert asked.text != stored.text


def test_two_clients_with_one_key_are_one_tenant(new_client: NewClient, upstream: FakeUpstream) -> None:
    ask(new_client("sk-shared"), "How do I change the oil of a lawn mower?")
    assert ask(new_client("sk-shared"), "How do I change the oil of a lawn mower?").hit == "exact"


@pytest.mark.parametrize("stored_as_stream", [False, True])
@pytest.mark.parametrize("asked_as_stream", [False, True])
@pytest.mark.parametrize("asked", ["What's the boiling point of ethanol?", "What is the boiling point of ethanol?"])
def test_one_entry_serves_streamed_and_whole(
    client: openai.OpenAI, stored_as_stream: bool, asked_as_stream: bool, asked: str
) -> None:
    first = ask(client, "What is the boiling point of ethanol?", stream=stored_as_stream)
    told = ask(client, asked, stream=asked_as_stream)
    assert told.hit == ("exact" if asked == "What is the boiling point of ethanol?" else "semantic")
    assert told.text == first.text


def test_a_replay_has_its_own_id_and_the_original_usage(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    def whole() -> Any:
        return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Why is the sky blue?"}])

    first, second, third = whole(), whole(), whole()
    assert len({first.id, second.id, third.id}) == 3
    assert second.usage == first.usage
    assert len(upstream.requests) == 1


def test_a_replayed_stream_ends_with_usage_if_asked(client: openai.OpenAI) -> None:
    ask(client, "Why is the sea salty?")
    stream = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Why is the sea salty?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    assert [chunk.usage.total_tokens for chunk in stream if chunk.usage] == [14]


def test_a_stored_stream_without_usage_says_that_it_is_estimated(client: openai.OpenAI) -> None:
    ask(client, "Why do cats purr?", stream=True)
    told = ask(client, "Why do cats purr?")
    assert told.hit == "exact"
    assert told.headers["x-deja-usage"] == "estimated"


def test_what_is_asked_is_forwarded_byte_for_byte(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    ask(client, "Who was Ada Lovelace?", extra_body={"top_k": 7, "deja": {"namespace": "n"}, "cache": {"ttl": 60}})
    sent = upstream.requests[-1]
    assert sent.json["top_k"] == 7
    assert not {"deja", "cache"} & sent.json.keys()
    assert not [name for name, _ in sent.headers if name.startswith("x-deja-")]


# --- conversations ---------------------------------------------------------------------------------------------------


def converse(client: openai.OpenAI, *questions: str, stream: bool = False) -> list[Told]:
    """Hold a conversation, sending each answer back as clients do."""
    messages: list[dict[str, Any]] = []
    told = []
    for question in questions:
        messages.append({"role": "user", "content": question})
        answer = ask(client, messages, stream=stream)
        messages.append({"role": "assistant", "content": answer.text})
        told.append(answer)
    return told


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_opened_in_other_words_hits_on_every_turn(client: openai.OpenAI, stream: bool) -> None:
    follow_ups = ("How many people live there?", "And what does a flat cost there on average?")
    first = converse(client, "What is the capital of France?", *follow_ups)
    second = converse(client, "What's France's capital city?", *follow_ups, stream=stream)
    assert [told.hit for told in first] == [None, None, None]
    assert [told.hit for told in second] == ["semantic", "semantic", "semantic"]
    assert [told.text for told in second] == [told.text for told in first]


def test_every_turn_may_come_in_other_words(client: openai.OpenAI) -> None:
    converse(client, "What is the capital of Norway?", "How many people live there?")
    told = converse(client, "Tell me the capital of Norway", "How many people are living there?")
    assert [turn.hit for turn in told] == ["semantic", "semantic"]


def test_the_same_follow_up_to_another_first_turn_is_never_a_hit(client: openai.OpenAI) -> None:
    first = converse(client, "What is the capital of France?", "How many people live there?")
    second = converse(client, "What is the capital of Spain?", "How many people live there?")
    assert second[1].hit is None
    assert second[1].text != first[1].text


def test_a_made_up_history_reaches_no_ones_answers(client: openai.OpenAI) -> None:
    first = converse(client, "What is the capital of France?", "How many people live there?")
    forged = ask(client, turns("What is the capital of France?", "It is Lyon.", "How many people live there?"))
    assert forged.hit is None
    assert forged.text != first[1].text


def test_a_turn_about_the_users_own_words_stays_in_its_own_conversation(client: openai.OpenAI) -> None:
    converse(client, "What is the capital of France?", "Can you rephrase my first question?")
    told = converse(client, "What's France's capital city?", "Can you rephrase my first question?")
    assert told[0].hit == "semantic"
    assert told[1].hit is None


def test_a_turn_about_own_words_stored_without_looking_stays_there_too(client: openai.OpenAI) -> None:
    opening = ask(client, "What is the capital of France?")
    history = turns("What is the capital of France?", opening.text, "Can you rephrase my first question?")
    ask(client, history, headers={"Cache-Control": "no-cache"})
    other = ask(client, "What's France's capital city?")
    told = ask(client, turns("What's France's capital city?", other.text, "Can you rephrase my first question?"))
    assert told.hit is None


def test_a_follow_up_is_exact_when_the_history_is_word_for_word(client: openai.OpenAI) -> None:
    converse(client, "What is the capital of Italy?", "How many people live there?")
    assert [turn.hit for turn in converse(client, "What is the capital of Italy?", "How many people live there?")] == [
        "exact",
        "exact",
    ]


# --- directives ------------------------------------------------------------------------------------------------------


def test_no_cache_asks_upstream_and_stores_anew(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    ask(client, "Who wrote Emma?")
    fresh = ask(client, "Who wrote Emma?", headers={"Cache-Control": "no-cache"})
    assert fresh.status == "deja; fwd=request; stored"
    assert ask(client, "Who wrote Emma?").text == fresh.text
    assert ask(client, "Who was it that wrote Emma?").text in (fresh.text, "Answer number 3 of the provider.")
    assert upstream.requests


def test_no_store_goes_around_the_cache(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    told = ask(client, "Who wrote Dune?", headers={"Cache-Control": "no-store"})
    assert told.status == "deja; fwd=bypass; detail=no-store"
    assert ask(client, "Who wrote Dune?").hit is None


def test_mode_off_goes_around_the_cache(client: openai.OpenAI) -> None:
    ask(client, "Who wrote Ulysses?")
    assert (
        ask(client, "Who wrote Ulysses?", headers={"X-Deja-Mode": "off"}).status == "deja; fwd=bypass; detail=mode-off"
    )


def test_mode_exact_never_matches_by_meaning(client: openai.OpenAI) -> None:
    ask(client, "How do I reset my password?")
    told = ask(client, "How can I reset my password?", headers={"X-Deja-Mode": "exact"})
    assert told.status == "deja; fwd=miss; stored; detail=mode-exact"
    assert ask(client, "How can I reset my password?", headers={"X-Deja-Mode": "exact"}).hit == "exact"


def test_read_only_reads_and_never_stores(client: openai.OpenAI) -> None:
    told = ask(client, "Who painted the Night Watch?", headers={"X-Deja-Mode": "read-only"})
    assert "stored" not in told.status
    assert ask(client, "Who painted the Night Watch?").hit is None
    assert ask(client, "Who painted the Night Watch?", headers={"X-Deja-Mode": "read-only"}).hit == "exact"


def test_write_only_stores_and_never_reads(client: openai.OpenAI) -> None:
    ask(client, "Who painted Guernica?")
    told = ask(client, "Who painted Guernica?", headers={"X-Deja-Mode": "write-only"})
    assert told.status == "deja; fwd=request; stored; detail=write-only"
    assert ask(client, "Who painted Guernica?").text == told.text


def test_shadow_decides_and_always_forwards(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    ask(client, "Who composed Aida?")
    told = ask(client, "Who composed Aida?", headers={"X-Deja-Mode": "shadow"})
    assert told.status.startswith("deja; fwd=bypass")
    assert told.status.endswith("detail=shadow")
    assert len(upstream.requests) == 2


def test_max_age_refuses_what_is_older(client: openai.OpenAI) -> None:
    ask(client, "Who discovered radium?")
    import time

    time.sleep(1.2)
    assert ask(client, "Who discovered radium?", headers={"Cache-Control": "max-age=0"}).status.startswith(
        "deja; fwd=stale"
    )
    assert ask(client, "Who discovered radium?", headers={"Cache-Control": "max-age=600"}).hit == "exact"


def test_an_entry_lives_as_long_as_its_ttl(client: openai.OpenAI) -> None:
    import time

    ask(client, "Who invented the telephone?", headers={"X-Deja-TTL": "1"})
    time.sleep(1.3)
    assert ask(client, "Who invented the telephone?").hit is None
    assert "ttl=3600" in ask(client, "Who invented the telephone?").status


def test_only_if_cached_without_a_hit_is_504(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, "Who built the Pantheon?", headers={"Cache-Control": "only-if-cached"})
    assert caught.value.status_code == 504
    assert caught.value.response.headers["cache-status"] == "deja; detail=only-if-cached"
    assert not upstream.requests


def test_the_app_may_name_query_and_context_itself(client: openai.OpenAI) -> None:
    def rag(documents: str, question: str, context: str) -> Told:
        prompt = f"Answer from these documents:\n{documents}\n\nQuestion: {question}"
        return ask(client, prompt, extra_body={"deja": {"query": question, "context": context}})

    first = rag("one", "How do I reset my password?", "docs-v1")
    assert rag("two", "How can I reset my password?", "docs-v1").text == first.text
    assert rag("one", "How can I reset my password?", "docs-v2").hit is None


BAD_DIRECTIVES = [
    ({"X-Deja-Mode": "sometimes"}, {}, "X-Deja-Mode"),
    ({"X-Deja-TTL": "soon"}, {}, "X-Deja-TTL"),
    ({"X-Deja-Colour": "red"}, {}, "X-Deja-Colour"),
    ({"X-Deja-Confidence": "1.5"}, {}, "X-Deja-Confidence"),
    ({"Cache-Control": "max-age=abc"}, {}, "Cache-Control: max-age"),
    ({}, {"deja": {"colour": 1}}, "deja.colour"),
    ({}, {"deja": {"ttl_s": -1}}, "deja.ttl_s"),
    ({}, {"cache": {"no-cash": True}}, "cache.no-cash"),
]


@pytest.mark.parametrize(("headers", "body", "param"), BAD_DIRECTIVES, ids=[case[2] for case in BAD_DIRECTIVES])
def test_a_bad_directive_is_a_400_that_names_it(
    client: openai.OpenAI, upstream: FakeUpstream, headers: dict[str, str], body: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "Who built the Colosseum?", headers=headers, extra_body=body)
    assert caught.value.param == param
    assert not upstream.requests


def test_a_stricter_confidence_refuses_what_the_server_would_serve(client: openai.OpenAI) -> None:
    ask(client, "How do I reset my password?")
    assert ask(client, "How can I reset my password?", headers={"X-Deja-Confidence": "0.9999"}).hit is None


def test_a_looser_confidence_is_clamped_and_reported(client: openai.OpenAI) -> None:
    ask(client, "How do I enable two-factor authentication?")
    told = ask(client, "How do I set up a garden pond?", headers={"X-Deja-Confidence": "0.1"})
    assert told.hit is None
    assert told.headers["x-deja-warning"] == "confidence-clamped"


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("Send Bob 50 euros from my account", "action"),
        ("What is TSLA trading at right now?", "volatile"),
        ("What is the status of my order 4711-882?", "personal"),
    ],
)
def test_what_acts_changes_or_is_personal_is_never_matched_by_meaning(
    client: openai.OpenAI, question: str, reason: str
) -> None:
    assert ask(client, question).status == f"deja; fwd=miss; stored; detail={reason}"
    assert ask(client, question).hit == "exact"
    assert ask(client, f"Please, {question[0].lower()}{question[1:]}").hit is None
