"""Whatever arrives, a parser understands it or says what is wrong: no other exception, which would be a 500, ever leaves it.

Bodies that are right but for one spot find more than arbitrary ones: these are refused at their first field. Every spot is tried with
something of every kind, and spots drawn by chance, two at once, with more.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.api.understanding import Understanding
from proxy.core import langcache
from proxy.core.answers import Answer, Malformed
from proxy.core.coordination import events
from proxy.core.dialects import DIALECTS
from proxy.core.dialects.base import Dialect
from proxy.core.directives import parse_directives
from proxy.core.embedding_requests import read_request
from proxy.core.memory.injection import question_in
from proxy.core.models import ChatRequest, Mode
from proxy.errors import RequestError
from tests import fake_answers as fake
from tests.builders import answer_body, assistant, stream_of, text_chunks, tool_call
from tests.contract.bodies import REQUESTS, spots, with_other_values

each_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.family)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=8)
)
JUNK = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
OUTPUT = fake.reasoning(), fake.output_text("x"), fake.function_call()
BLOCKS = fake.thinking(), fake.text_block("x"), fake.tool_use()
ANSWERS: dict[str, tuple[dict[str, Any], bytes]] = {
    "chat": (answer_body(assistant("x", tool_calls=[tool_call()])), stream_of(text_chunks("some text"))),
    "completions": (fake.completion("x"), b"".join(fake.completion_events("some text"))),
    "responses": (fake.response(*OUTPUT), b"".join(fake.named(fake.response_events(*OUTPUT)))),
    "messages": (fake.message(*BLOCKS), b"".join(fake.named(fake.message_events(*BLOCKS)))),
}


@st.composite
def nearly(draw: st.DrawFn, value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with something else in one or two places, or something left out."""
    changed = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 2))):
        where = spots(changed)
        if not where:
            break
        *path, last = draw(st.sampled_from(where))
        inside: Any = changed
        for step in path:
            inside = inside[step]
        if draw(st.booleans()):
            inside[last] = draw(JUNK)
        else:
            del inside[last]
    return changed


def read_request_of(dialect: Dialect, body: dict[str, Any]) -> ChatRequest | None:
    """Read it and do with it all that is done with one; None where it is refused."""
    reader = Understanding(dialect, default_mode=Mode.SEMANTIC, key_user=True)
    try:
        understood = reader.of({"headers": [], "query_string": b""}, orjson.dumps(body))
    except RequestError:
        return None
    conversation = dialect.conversation(understood.sent)
    dialect.whole(understood.sent)
    dialect.user_of(understood.sent)
    if dialect.tells_memories and question_in(conversation):
        dialect.with_memories(understood.sent, "a memory")
    dialect.turns(understood.request, dialect.read_json(orjson.dumps(ANSWERS[dialect.family][0])))
    assert understood.prompt_chars >= 0
    return understood.request


def read_answer_of(dialect: Dialect, read: Callable[[bytes], Answer], raw: bytes) -> None:
    """The same for an answer."""
    try:
        answer = read(raw)
    except Malformed:
        return
    assert isinstance(answer.message, dict)
    request = read_request_of(dialect, REQUESTS[dialect.family])
    assert request is not None
    dialect.turns(request, answer)


@each_dialect
def test_a_request_may_hold_anything_anywhere(dialect: Dialect) -> None:
    outcomes = [read_request_of(dialect, body) for body in with_other_values(REQUESTS[dialect.family])]
    assert any(outcomes)
    assert not all(outcomes)


@each_dialect
def test_an_answer_may_hold_anything_anywhere(dialect: Dialect) -> None:
    body, stream = ANSWERS[dialect.family]
    for changed in with_other_values(body):
        read_answer_of(dialect, dialect.read_json, orjson.dumps(changed))
    pieces = stream.split(b"\n\n")
    for place, piece in enumerate(pieces):
        head, mark, told = piece.partition(b"data: ")
        if not told.startswith(b"{"):
            continue
        for changed in with_other_values(orjson.loads(told)):
            raw = b"\n\n".join([*pieces[:place], head + mark + orjson.dumps(changed), *pieces[place + 1 :]])
            read_answer_of(dialect, partial(dialect.read_stream, prompt_chars=1), raw)


@each_dialect
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_request_is_understood_or_refused(dialect: Dialect, data: st.DataObject) -> None:
    read_request_of(dialect, data.draw(nearly(REQUESTS[dialect.family])))


@each_dialect
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_an_answer_is_read_or_malformed(dialect: Dialect, data: st.DataObject) -> None:
    body, stream = ANSWERS[dialect.family]
    read_answer_of(dialect, dialect.read_json, orjson.dumps(data.draw(nearly(body))))
    read_answer_of(dialect, partial(dialect.read_stream, prompt_chars=1), data.draw(damaged(stream)))


@st.composite
def damaged(draw: st.DrawFn, stream: bytes) -> bytes:
    """A stream with one event's data made something else, or cut, or with bytes in it that nobody meant."""
    pieces = stream.split(b"\n\n")
    place = draw(st.integers(0, len(pieces) - 1))
    head, mark, told = pieces[place].partition(b"data: ")
    match draw(st.integers(0, 2)):
        case 0 if mark and told.startswith(b"{"):
            pieces[place] = head + mark + orjson.dumps(draw(nearly(orjson.loads(told))))
        case 1:
            pieces[place] = draw(st.binary(max_size=20))
        case _:
            return stream[: draw(st.integers(0, len(stream)))]
    return b"\n\n".join(pieces)


@given(name=st.sampled_from([*sorted(REQUESTS["chat"]["deja"]), "mode", "ttl", "memory", "namespace"]), value=JUNK)
def test_wishes_are_understood_or_refused(name: str, value: Any) -> None:
    understood_or_refused(lambda: parse_directives([], {"deja": {name: value}}, default_mode=Mode.SEMANTIC))


@given(st.lists(st.tuples(st.sampled_from([b"x-deja-ttl", b"x-deja-mode", b"x-deja-tags", b"x-deja-session", b"cache-control", b"x-deja-memory", b"x-deja-confidence"]), st.binary(max_size=30)), max_size=3))  # fmt: skip  # noqa: E501
def test_headers_are_understood_or_refused(headers: list[tuple[bytes, bytes]]) -> None:
    understood_or_refused(lambda: parse_directives(headers, {}, default_mode=Mode.SEMANTIC))


EVENT = {
    "type": "t",
    "source": "s",
    "id": "1",
    "time": "2026-11-23T00:00:00Z",
    "data": {"a": 1},
    "agent": "a",
    "ext": "x",
}
SEARCH = {
    "prompt": "p",
    "similarityThreshold": 0.9,
    "searchStrategies": ["exact"],
    "attributes": {"a": "b"},
    "maxResults": 1,
}


@given(nearly(EVENT))
def test_an_event_is_understood_or_refused(event: dict[str, Any]) -> None:
    defaults = events.Defaults(agent=None, session=None, mint_id=lambda: "evt_1", max_bytes=1000)
    understood_or_refused(lambda: events.fields_of(event, "events[0]", defaults))


@given(nearly(SEARCH), JUNK)
def test_a_search_is_understood_or_refused(search: dict[str, Any], junk: Any) -> None:
    understood_or_refused(lambda: langcache.read_search(search))
    understood_or_refused(lambda: langcache.read_conversation({"prompt": "p", "context": junk}))
    understood_or_refused(
        lambda: langcache.read_set({"prompt": "p", "response": "r", "ttlMillis": junk}, response_bytes=99)
    )
    understood_or_refused(lambda: langcache.read_delete(junk))


@given(nearly({"model": "m", "input": ["a", [1, 2]], "encoding_format": "base64", "dimensions": 3, "user": "u"}))
def test_a_request_for_embeddings_is_understood_or_left_to_the_provider(body: dict[str, Any]) -> None:
    understood_or_refused(lambda: read_request(body))


def understood_or_refused(parse: Callable[[], object]) -> None:
    refusal: RequestError | None = None
    try:
        parse()
    except RequestError as error:
        refusal = error
    assert refusal is None or (400 <= refusal.status < 500 and refusal.message)
