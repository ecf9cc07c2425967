from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from proxy.core.dialects.chat import CHAT
from proxy.core.dialects.messages import MESSAGES
from proxy.core.outcome import Outcome
from proxy.errors import UpstreamError, UpstreamTimeoutError
from proxy.services import asking_again
from proxy.services.asking_again import Asker, NoAnswer, stored_text, text_of
from tests import fake_answers
from tests.builders import answer_body, assistant, chunk, tool_call
from tests.proxy.services.auditing import KEY, Calls, Provider, Response, Route, decision_of


def asker(calls: Calls | None = None, *, answer_bytes: int = 10_000) -> Asker:
    return Asker(answer_bytes=answer_bytes, on_call=calls or Calls())


async def test_the_callers_own_request_goes_out_again_byte_for_byte() -> None:
    provider = Provider(lambda _: "An answer.")
    decision = decision_of(provider, Outcome(), temperature=0.5)
    line = asker().line(decision)
    assert await line.again() == "An answer."
    (sent,) = provider.requests
    assert (sent.method, sent.path, sent.query) == ("POST", decision.call.path, decision.call.query)
    assert (sent.headers, sent.body, sent.model) == (KEY, decision.call.body, decision.call.request.model)
    assert line.made == 1
    assert all(response.is_closed for response in provider.responses)


async def test_a_stream_is_asked_for_in_one_piece_and_nothing_else_is_changed() -> None:
    provider = Provider(lambda _: "An answer.")
    decision = decision_of(provider, Outcome(), stream=True, stream_options={"include_usage": True}, seed=3)
    await asker().line(decision).again()
    (sent,) = provider.requests
    assert isinstance(sent.body, bytes)
    asked = orjson.loads(decision.call.body)
    assert orjson.loads(sent.body) == {name: asked[name] for name in asked if name not in ("stream", "stream_options")}


async def test_each_call_is_counted_with_what_it_cost() -> None:
    calls = Calls()
    await asker(calls).line(decision_of(Provider(lambda _: "An answer."), Outcome())).again()
    assert calls.told == [("answer", answer_body()["usage"])]


REFUSALS: list[tuple[str, Any, str]] = [
    ("an error status", (429, b"{}"), "failed"),
    ("no connection", UpstreamError("refused"), "failed"),
    ("a time-out", UpstreamTimeoutError("slow"), "failed"),
    ("no chat answer", (200, b'{"object": "list"}'), "unusable"),
    ("cut short", (200, orjson.dumps(answer_body(assistant("x")) | {"choices": []})), "unusable"),
    ("too large", "x" * 20_000, "unusable"),
    ("empty", " ", "unusable"),
    ("a refusal", "I'm sorry, but I can't assist with that.", "unusable"),
]


@pytest.mark.parametrize(("said", "word"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS])
async def test_what_cannot_be_compared_is_no_answer_and_still_counted(said: Any, word: str) -> None:
    calls, provider = Calls(), Provider(lambda _: said)
    with pytest.raises(NoAnswer, match=word):
        await asker(calls).line(decision_of(provider, Outcome())).again()
    assert [purpose for purpose, _ in calls.told] == ["answer"]
    assert all(response.is_closed for response in provider.responses)


async def test_a_provider_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Response):
        async def chunks(self) -> AsyncIterator[bytes]:
            await asyncio.sleep(60)
            yield b""

    class SilentProvider(Provider):
        async def send(self, request: Any) -> Response:
            self.responses.append(Silent(200, b""))
            return self.responses[-1]

    monkeypatch.setattr(asking_again, "DEADLINE_S", 0.01)
    provider = SilentProvider(lambda _: "")
    with pytest.raises(NoAnswer, match="failed"):
        await asker().line(decision_of(provider, Outcome())).again()
    assert provider.responses[0].is_closed


async def test_a_judge_at_the_callers_own_provider_is_asked_with_the_callers_credential_alone() -> None:
    provider = Provider(lambda _: "A verdict.")
    calls = Calls()
    line = asker(calls).line(decision_of(provider, Outcome()))
    assert await line.judge(Route(provider), "judge", [{"role": "user", "content": "?"}]) == "A verdict."
    (sent,) = provider.requests
    assert sent.headers == ((b"content-type", b"application/json"), KEY[0])
    assert isinstance(sent.body, bytes)
    assert orjson.loads(sent.body) == {"model": "judge", "messages": [{"role": "user", "content": "?"}]}
    assert calls.told[0][0] == "judge"


async def test_a_judge_elsewhere_never_sees_the_callers_credential() -> None:
    elsewhere = Provider(lambda _: "A verdict.")
    line = asker().line(decision_of(Provider(lambda _: ""), Outcome()))
    await line.judge(Route(elsewhere), "judge", [])
    assert elsewhere.requests[0].headers == ((b"content-type", b"application/json"),)


@pytest.mark.parametrize(
    "message",
    [
        None,
        {},
        assistant(None),
        assistant(""),
        assistant(["part"]),
        assistant("x", tool_calls=[tool_call()]),
        assistant("x", refusal="no"),
        assistant("x", function_call={"name": "f"}),
    ],
)
def test_what_is_more_or_less_than_a_text_is_not_compared(message: dict[str, Any] | None) -> None:
    assert text_of(message) is None


def test_the_text_of_a_stored_answer_is_found_in_either_form() -> None:
    assert stored_text(CHAT, orjson.dumps(answer_body(assistant("Whole.")))) == "Whole."
    chunks = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "In "}),
        chunk({"content": "pieces."}),
        chunk(),
    ]
    assert stored_text(CHAT, orjson.dumps({"chunks": chunks})) == "In pieces."
    assert stored_text(CHAT, orjson.dumps({"chunks": [chunk({})]})) is None


async def test_another_dialects_request_goes_out_again_in_that_dialect() -> None:
    said = fake_answers.message(fake_answers.text_block("An answer."))
    provider = Provider(lambda _: (200, orjson.dumps(said)))
    decision = decision_of(provider, Outcome())
    sent = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Why?"}], "stream": True}
    decision.call = dataclasses.replace(decision.call, dialect=MESSAGES, sent=sent, body=orjson.dumps(sent))
    assert await asker().line(decision).again() == "An answer."
    (asked,) = provider.requests
    assert isinstance(asked.body, bytes)
    assert asked.path == "/messages"
    assert "stream" not in orjson.loads(asked.body)
    assert stored_text(MESSAGES, orjson.dumps(said)) == "An answer."
