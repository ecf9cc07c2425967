"""Chat answers read and replayed as values, so that a test shows no bytes that do not matter to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from proxy.core import sse
from proxy.core.answers import Answer
from proxy.core.chat_answers import read_json, read_stream, render_json, render_stream
from tests.builders import chunk, stream_of

USAGE = {"prompt_tokens": 12, "completion_tokens": 13, "total_tokens": 25}
USAGE_CHUNK = chunk(None, usage=USAGE)


def read_body(body: Any) -> Answer:
    return read_json(orjson.dumps(body))


def read_chunks(chunks: Iterable[dict[str, Any]], *, prompt_chars: int = 40) -> Answer:
    return read_stream(stream_of(list(chunks)), prompt_chars=prompt_chars)


def replayed_json(answer: Answer, mint: Callable[[], str] | None = None) -> Any:
    return orjson.loads(render_json(orjson.dumps(answer.body), answer_id="chatcmpl-new", created=7, mint=mint))


def replayed_events(
    answer: Answer, *, include_usage: bool = False, mint: Callable[[], str] | None = None
) -> list[bytes]:
    return render_stream(
        orjson.dumps(answer.body), answer_id="chatcmpl-new", created=7, include_usage=include_usage, mint=mint
    )


def replayed_chunks(answer: Answer, **how: Any) -> list[dict[str, Any]]:
    datas = sse.events(b"".join(replayed_events(answer, **how)))
    assert datas[-1] == sse.DONE
    return [orjson.loads(data) for data in datas[:-1]]


def counter() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"call_new{next(numbers)}"
