"""What holds for every dialect: an answer is the same however it came and however often it was replayed; errors are readable."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.answers import Answer, Malformed
from proxy.core.dialects import DIALECTS
from proxy.core.dialects.base import Dialect, Fault, Replay
from proxy.core.dialects.chat import CHAT
from proxy.core.dialects.completions import COMPLETIONS
from proxy.core.dialects.messages import MESSAGES
from proxy.core.dialects.responses import RESPONSES
from proxy.core.models import Entry, WireMode
from proxy.core.storability import why_not_stored
from tests import fake_answers as fake
from tests.builders import answer_body, assistant, chat_body, stream_of, text_chunks, tool_call


@dataclass(frozen=True)
class Spoken:
    """A dialect, a request in it, and a provider's answer of some text, whole and streamed; `calls` where it also calls a tool."""

    dialect: Dialect
    request: dict[str, Any]
    whole: Callable[[str], dict[str, Any]]
    stream: Callable[[str], bytes]
    calls: Callable[[str], dict[str, Any]] | None = None


SPOKEN = [
    Spoken(
        CHAT,
        chat_body(),
        lambda text: answer_body(assistant(text)),
        lambda text: stream_of(text_chunks(text)),
        lambda text: answer_body(assistant(text, tool_calls=[tool_call()])),
    ),
    Spoken(
        COMPLETIONS,
        {"model": "m", "prompt": "Why?"},
        fake.completion,
        lambda text: b"".join(fake.completion_events(text)),
    ),
    Spoken(
        MESSAGES,
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Why?"}]},
        lambda text: fake.message(fake.text_block(text)),
        lambda text: b"".join(fake.named(fake.message_events(fake.text_block(text)))),
        lambda text: fake.message(fake.text_block(text), fake.tool_use(city="Oslo")),
    ),
    Spoken(
        RESPONSES,
        {"model": "m", "input": "Why?"},
        lambda text: fake.response(fake.output_text(text)),
        lambda text: b"".join(fake.named(fake.response_events(fake.output_text(text)))),
        lambda text: fake.response(fake.output_text(text), fake.function_call(city="Oslo")),
    ),
]
each = pytest.mark.parametrize("spoken", SPOKEN, ids=lambda spoken: spoken.dialect.family)
texts = st.text(min_size=1, max_size=120)
IDS = ("id", "call_id", "created", "created_at", "completed_at", "metadata", "store", "previous_response_id")


def test_every_dialect_is_tried_here() -> None:
    assert {spoken.dialect.family for spoken in SPOKEN} == {dialect.family for dialect in DIALECTS}


def replay_of(spoken: Spoken) -> Replay:
    count = itertools.count()
    request = spoken.dialect.canonical(spoken.request, key_user=True)
    return Replay(lambda prefix: f"{prefix}{next(count)}", 7, request, spoken.request)


def entry_of(answer: Answer) -> Entry:
    return Entry(
        entry_id="ent_1",
        question="",
        body=orjson.dumps(answer.body),
        wire=answer.wire,
        created_at=0.0,
        ttl_s=60,
        has_tool_calls=answer.has_tool_calls,
    )


def read_whole(spoken: Spoken, body: dict[str, Any]) -> Answer:
    return spoken.dialect.read_json(orjson.dumps(body))


def without_ids(value: Any) -> Any:
    """What an answer says, apart from names and times that each replay has anew, and from fields that are empty."""
    if isinstance(value, dict):
        return {
            name: without_ids(inner)
            for name, inner in value.items()
            if name not in IDS and inner not in (None, [], "", {})
        }
    return [without_ids(inner) for inner in value] if isinstance(value, list | tuple) else value


@each
@given(text=texts)
def test_a_replay_says_what_was_answered_in_either_mode(spoken: Spoken, text: str) -> None:
    for made in (spoken.whole, spoken.calls):
        if made is None:
            continue
        answer = read_whole(spoken, made(text))
        assert answer.wire is WireMode.BOTH
        again = spoken.dialect.read_json(spoken.dialect.render_json(entry_of(answer), replay_of(spoken)))
        events = b"".join(spoken.dialect.render_stream(entry_of(answer), replay_of(spoken)))
        streamed = spoken.dialect.read_stream(events, prompt_chars=9)
        assert without_ids(again.body) == without_ids(answer.body)
        assert without_ids(streamed.messages[0]) == without_ids(answer.messages[0])
        assert (streamed.finish_reasons, streamed.has_tool_calls) == (answer.finish_reasons, answer.has_tool_calls)
        assert streamed.wire is WireMode.BOTH


@each
@given(text=texts)
def test_streamed_and_whole_an_answer_is_the_same(spoken: Spoken, text: str) -> None:
    whole = read_whole(spoken, spoken.whole(text))
    streamed = spoken.dialect.read_stream(spoken.stream(text), prompt_chars=9)
    assert without_ids(streamed.messages) == without_ids(whole.messages)
    assert streamed.finish_reasons == whole.finish_reasons == ("stop",)
    assert spoken.dialect.message_of(streamed.body) == streamed.message


@each
@given(text=texts, cuts=st.lists(st.integers(0, 10_000), max_size=6))
def test_the_end_is_seen_once_wherever_the_bytes_are_cut(spoken: Spoken, text: str, cuts: list[int]) -> None:
    stream = spoken.stream(text)
    places = sorted({0, *(cut % len(stream) for cut in cuts), len(stream)})
    ending = spoken.dialect.ending()
    ends = next(end for start, end in itertools.pairwise(places) if ending.feed(stream[start:end]))
    assert spoken.dialect.read_stream(stream[:ends], prompt_chars=9).message["content"] == text


@each
def test_a_stream_without_its_end_is_no_answer(spoken: Spoken) -> None:
    stream = spoken.stream("Once upon a time")
    for end in range(0, len(stream) - 3, 7):
        ending = spoken.dialect.ending()
        if not ending.feed(stream[:end]):
            with pytest.raises(Malformed):
                spoken.dialect.read_stream(stream[: stream.rfind(b"\n\n", 0, end) + 2], prompt_chars=9)


@each
def test_an_error_among_the_events_is_no_answer(spoken: Spoken) -> None:
    error = spoken.dialect.error_event(Fault(502, "It broke.", "upstream_error", "upstream_broken"))
    with pytest.raises(Malformed):
        spoken.dialect.read_stream(error + spoken.stream("Hello"), prompt_chars=9)


@each
@given(
    junk=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "content", "output", "choices", "object", "text", "message", "index"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_comes_is_an_answer_or_malformed(spoken: Spoken, junk: Any) -> None:
    body = {
        **spoken.whole("Hello"),
        **(junk if isinstance(junk, dict) else {"content": junk, "output": junk, "choices": junk}),
    }
    try:
        answer = read_whole(spoken, body)
    except Malformed:
        return
    why_not_stored(answer)
    assert all(isinstance(message, dict) for message in answer.messages)


@each
def test_a_refusal_is_not_stored(spoken: Spoken) -> None:
    assert why_not_stored(read_whole(spoken, spoken.whole("I'm sorry, but I can't help with that."))) == "refusal"
    assert why_not_stored(read_whole(spoken, spoken.whole("It takes seven minutes."))) is None
    assert why_not_stored(read_whole(spoken, spoken.whole(" "))) == "empty"


@each
def test_ids_of_a_replay_are_new(spoken: Spoken) -> None:
    answer = read_whole(spoken, (spoken.calls or spoken.whole)("Hello"))
    assert b"of_the_provider" not in orjson.dumps(answer.body) or answer.has_tool_calls
    for replayed in (
        spoken.dialect.render_json(entry_of(answer), replay_of(spoken)),
        b"".join(spoken.dialect.render_stream(entry_of(answer), replay_of(spoken))),
    ):
        assert b"of_the_provider" not in replayed
        assert b"of-the-provider" not in replayed
        assert b"call_abc" not in replayed


@each
def test_reading_a_request_changes_nothing_and_field_order_never_matters(spoken: Spoken) -> None:
    request = {**spoken.request, "temperature": 0.5, "x_new": [1]}
    before = orjson.dumps(request)
    canonical = spoken.dialect.canonical(request, key_user=True)
    assert orjson.dumps(request) == before
    assert spoken.dialect.canonical(dict(reversed(request.items())), key_user=True) == canonical
    assert {"model", "temperature", "x_new"} <= canonical.keyed.keys(), "what nobody has heard of is keyed"
    assert spoken.dialect.conversation(request)
    assert (
        not {"stream", "deja", "cache"}
        & spoken.dialect.canonical({**request, "stream": True, "deja": {}, "cache": {}}, key_user=True).keyed.keys()
    )


@each
def test_the_user_is_keyed_unless_a_setting_says_otherwise(spoken: Spoken) -> None:
    ann, bob = (
        {**spoken.request, "user": user, "metadata": {"user_id": user}}
        if spoken.dialect is MESSAGES
        else {**spoken.request, "user": user}
        for user in ("ann", "bob")
    )
    assert spoken.dialect.user_of(ann) == "ann"
    assert spoken.dialect.canonical(ann, key_user=True) != spoken.dialect.canonical(bob, key_user=True)
    if spoken.dialect is not MESSAGES:
        assert spoken.dialect.canonical(ann, key_user=False) == spoken.dialect.canonical(bob, key_user=False)


@each
def test_an_answer_is_the_turn_that_a_client_sends_back(spoken: Spoken) -> None:
    """The prefix after an answer equals the prefix of the next request, however the client sends the answer back."""
    if spoken.dialect is COMPLETIONS:
        return  # nothing goes on
    answer = read_whole(spoken, spoken.whole("Because."))
    request = spoken.dialect.canonical(spoken.request, key_user=True)
    turns = spoken.dialect.turns(request, answer)
    follow = {
        "chat": lambda said: {
            **spoken.request,
            "messages": [*spoken.request["messages"], said, {"role": "user", "content": "And?"}],
        },
        "messages": lambda said: {
            **spoken.request,
            "messages": [*spoken.request["messages"], said, {"role": "user", "content": "And?"}],
        },
        "responses": lambda said: {
            **spoken.request,
            "input": [{"role": "user", "content": "Why?"}, said, {"role": "user", "content": "And?"}],
        },
    }[spoken.dialect.family]
    spellings: list[dict[str, Any]] = [{"role": "assistant", "content": " Because.\n"}]
    if spoken.dialect is MESSAGES:
        spellings.append({"role": "assistant", "content": [fake.thinking(), fake.text_block("Because.")]})
    if spoken.dialect is RESPONSES:
        spellings.append(fake.output_text("Because.", annotations=[{"type": "url_citation"}]))
    for said in spellings:
        following = spoken.dialect.canonical(follow(said), key_user=True)
        assert list(following.prefix) == turns
        assert following.question == "And?"
