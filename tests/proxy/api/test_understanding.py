"""What a request's bytes mean; the same are read once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.api.understanding import LARGEST_BYTES, REMEMBERED_BYTES, Understanding
from proxy.core.dialects.chat import CHAT
from proxy.core.models import ChatRequest, Mode
from proxy.errors import RequestError

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "What is it?"}]}


def understanding() -> Understanding[ChatRequest]:
    return Understanding(CHAT, default_mode=Mode.SEMANTIC, key_user=True)


def scope(*headers: tuple[bytes, bytes], query: bytes = b"") -> dict[str, Any]:
    return {"headers": list(headers), "query_string": query}


def test_the_same_bytes_are_read_once_whatever_else_travels_with_them() -> None:
    read, raw = understanding(), orjson.dumps(BODY)
    first = read.of(scope((b"authorization", b"Bearer a"), (b"traceparent", b"1")), raw)
    assert read.of(scope((b"authorization", b"Bearer b"), (b"user-agent", b"x")), raw) is first


@pytest.mark.parametrize(
    "other",
    [
        scope((b"cache-control", b"no-store")),
        scope((b"x-deja-namespace", b"shop")),
        scope((b"openai-project", b"p")),
        scope((b"anthropic-beta", b"b")),
        scope(query=b"api-version=1"),
    ],
)
def test_what_changes_the_meaning_is_read_anew(other: dict[str, Any]) -> None:
    read, raw = understanding(), orjson.dumps(BODY)
    plain, changed = read.of(scope(), raw), read.of(other, raw)
    assert (plain.directives, plain.distinctions) != (changed.directives, changed.distinctions)
    assert read.of(scope(), raw) is plain


def test_what_one_tenant_sent_is_not_at_hand_for_another() -> None:
    read, raw = understanding(), orjson.dumps(BODY)
    mine = read.of(scope(), raw, "a")
    assert read.of(scope(), raw, "a") is mine
    assert read.of(scope(), raw, "b") is not mine


def test_what_is_wrong_is_said_each_time() -> None:
    read = understanding()
    for _ in range(2):
        with pytest.raises(RequestError):
            read.of(scope(), b"{")
        with pytest.raises(RequestError):
            read.of(scope((b"x-deja-mode", b"sometimes")), orjson.dumps(BODY))


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    read = understanding()
    for number in range(2 * REMEMBERED_BYTES // 8000):
        read.of(scope(), orjson.dumps({**BODY, "user": f"{number}" + "x" * 8000}))
    held = sum(len(raw) for raw, *_ in read._remembered)
    assert held <= REMEMBERED_BYTES
    large = orjson.dumps({**BODY, "user": "x" * LARGEST_BYTES})
    assert read.of(scope(), large) is not read.of(scope(), large)
