"""Answers, as the simulated provider and the caches in front of it give them."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from loadtest.load import answers
from loadtest.load.answers import Source
from loadtest.load.workload import Ask, Kind
from proxy.upstream.simulation import simulate

PRICE = Ask(0, Kind.NEW, "What does a kite cost?", frozenset(("What does a kite cost?", "price of a kite")))
WHY = Ask(1, Kind.FOLLOW_UP, "Why is that?", frozenset(("Why is that?", "how come?")), after=PRICE)


def answered(*questions: str, is_streamed: bool = False) -> bytes:
    """What the provider says to the last of some questions."""
    messages: list[dict[str, str]] = []
    for question in questions:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": "…"}]
    body = {"model": "m", "messages": messages[:-1], "stream": is_streamed}
    found = simulate("POST", "/chat/completions", orjson.dumps(body), call=1, now_s=0.0)
    return b"".join(found.pieces)


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("ask", "questions", "right"),
    [
        (PRICE, ["What does a kite cost?"], True),
        (PRICE, ["price of a kite"], True),
        (PRICE, ["What does a kiln cost?"], False),
        (PRICE, ["What does a kiln cost?", "What does a kite cost?"], False),
        (WHY, ["What does a kite cost?", "Why is that?"], True),
        (WHY, ["price of a kite", "how come?"], True),
        (WHY, ["What does a kiln cost?", "Why is that?"], False),
        (WHY, ["What does a kite cost?", "And a big one?"], False),
        (WHY, ["Why is that?"], False),
    ],
)
def test_an_answer_is_right_if_made_for_the_same_question_in_the_same_conversation(
    ask: Ask, questions: Sequence[str], right: bool, is_streamed: bool
) -> None:
    said = answers.read(answered(*questions, is_streamed=is_streamed), is_streamed=is_streamed)
    assert answers.is_right(ask, said.text) is right
    assert answers.question(said.text) == questions[-1]
    assert said.output_tokens > 10


@pytest.mark.parametrize(
    ("status", "head", "expected"),
    [
        (200, "Cache-Status: deja; hit; detail=exact; ttl=3540", Source.EXACT),
        (200, "cache-status: deja; hit; detail=semantic; ttl=9", Source.SEMANTIC),
        (200, "cache-status: other; hit, deja; fwd=miss; stored; detail=no-candidate", Source.MISS),
        (200, "cache-status: deja; fwd=miss; collapsed", Source.JOINED),
        (200, "cache-status: deja; fwd=bypass; detail=mode-off", Source.BYPASS),
        (200, "x-litellm-version: 1\r\nx-litellm-cache-key: 1", Source.EXACT),
        (200, "x-litellm-version: 1\r\nx-litellm-cache-key: 1\r\nx-litellm-semantic-similarity: 0.9", Source.SEMANTIC),
        (200, "x-litellm-version: 1\r\nx-litellm-semantic-similarity: 0.0", Source.MISS),
        (200, "server: uvicorn", Source.UNTOLD),
        (500, "cache-status: deja; hit; detail=exact", Source.FAILED),
    ],
)
def test_headers_tell_where_an_answer_came_from(status: int, head: str, expected: Source) -> None:
    assert answers.source(status, f"HTTP/1.1 {status} X\r\n{head}\r\n\r\n".encode()) is expected


@pytest.mark.parametrize(
    ("body", "is_streamed"),
    [
        (b"", False),
        (b'{"error": {}}', False),
        (b'data: {"choices": []}\n\n', True),
        (answered("x", is_streamed=True)[:-20], True),
    ],
)
def test_what_is_no_whole_completion_is_said_to_be_none(body: bytes, is_streamed: bool) -> None:
    with pytest.raises(answers.UnreadableError):
        answers.read(body, is_streamed=is_streamed)
