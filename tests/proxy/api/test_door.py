"""Who comes in: the middleware by itself, with an application behind it that counts who does."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.api.asgi import Message
from proxy.api.door import Door
from proxy.api.identity import CALLER, Identity
from proxy.core.access.callers import Caller
from proxy.core.access.limits import Pairs, refusal_headers, too_fast
from proxy.core.access.scopes import DATA, KeyScope
from proxy.core.access.sharing import Sharing
from proxy.services.limits import Verdict

NOW_S = 1000.0
CALLERS = {
    b"dk_all": Caller("t", "key_all"),
    b"dk_old": Caller("t", "key_old", expires_at=NOW_S),
    b"dk_chat": Caller("t", "key_chat", frozenset({KeyScope.CHAT})),
    b"dk_memory": Caller("t", "key_memory", frozenset({KeyScope.MEMORY})),
    b"dk_admin": Caller("t", "key_admin", frozenset({KeyScope.ADMIN})),
    b"dk_fast": Caller("t", "key_fast"),
    b"dk_told": Caller("t", "key_told"),
}
TOLD: Pairs = ((b"x-ratelimit-limit-requests", b"5"),)


class Minted:
    """Knows these keys."""

    levels: dict[str, Sharing] = {}  # noqa: RUF012  never written to

    async def caller(self, credential: bytes, /) -> Caller | None:
        return CALLERS.get(credential)


class Limits:
    """Refuses one key and tells another."""

    async def admit(self, caller: Caller, wanted: KeyScope | None) -> Verdict | None:
        if caller.key_id == "key_fast":
            return Verdict(too_fast(5), (*refusal_headers(3.2, is_worth_retrying=True), *TOLD))
        return Verdict(None, TOLD) if caller.key_id == "key_told" else None


class Behind:
    """What a door leads to."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.refusals: list[str] = []
        self.read = 0

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope.get(CALLER))
        headers = [(b"x-ratelimit-limit-requests", b"9999"), (b"x-other", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"in"})

    async def receive(self) -> Message:
        self.read += 1
        return {"type": "http.request", "body": b"", "more_body": False}

    async def ask(self, path: str, key: str | None = None, kind: str = "http") -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers and body that come back."""
        identity = Identity(b"secret", [], is_required=True)
        identity.use(Minted())
        door = Door(
            self.app,
            identity=identity,
            limits=Limits,  # type: ignore[arg-type]
            on_refusal=self.refusals.append,
            now=lambda: NOW_S,
        )
        headers = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
        scope = {"type": kind, "path": path, "method": "POST", "headers": headers}
        if kind == "websocket":
            scope["extensions"] = {"websocket.http.response": {}}
        told: list[Message] = []

        async def send(message: Message) -> None:
            told.append(message)

        await door(scope, self.receive, send)
        body = b"".join(message.get("body", b"") for message in told)
        return told[0]["status"], dict(told[0]["headers"]), body


@pytest.fixture
def behind() -> Behind:
    return Behind()


async def test_who_is_let_in_is_known_behind_the_door(behind: Behind) -> None:
    assert (await behind.ask("/v1/chat/completions", "dk_all"))[0] == 200
    assert behind.seen == [CALLERS[b"dk_all"]]


@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/health"])
async def test_open_paths_ask_nobody(behind: Behind, path: str) -> None:
    assert (await behind.ask(path))[0] == 200
    assert behind.seen == [None]


@pytest.mark.parametrize(
    ("path", "key", "status", "code"),
    [
        ("/v1/models", None, 401, "invalid_api_key"),
        ("/v1/models", "sk-other", 401, "invalid_api_key"),
        ("/v1/models", "dk_unknown", 401, "invalid_api_key"),
        ("/v1/models", "dk_old", 401, "key_expired"),
        ("/v1/agents", "dk_chat", 403, "insufficient_scope"),
        ("/v1/chat/completions", "dk_memory", 403, "insufficient_scope"),
        ("/v1/chat/completions", "dk_admin", 403, "insufficient_scope"),
        ("/mcp", "dk_admin", 403, "insufficient_scope"),
        ("/admin/keys", "dk_all", 403, "admin_only"),
        ("/whatever/comes/next", None, 401, "invalid_api_key"),
        ("/v1/models", "dk_fast", 429, "rate_limit_exceeded"),
    ],
)
async def test_others_are_refused_before_anything_is_read(
    behind: Behind, path: str, key: str | None, status: int, code: str
) -> None:
    found, headers, body = await behind.ask(path, key)
    assert (found, orjson.loads(body)["error"]["code"]) == (status, code)
    assert (behind.seen, behind.read, behind.refusals) == ([], 0, [code])
    assert headers[b"x-deja-request-id"].startswith(b"req_")
    assert (headers.get(b"www-authenticate") == b"Bearer") is (status == 401)
    assert (headers.get(b"retry-after") == b"4") is (status == 429)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/messages", {"type": "error", "error": {"type": "authentication_error", "code": "invalid_api_key"}}),
        ("/v1/caches/faq/entries", {"type": "/errors/authentication-failed", "status": 401}),
        ("/v1/long-term-memory/search", {"code": "invalid_api_key"}),
    ],
)
async def test_a_refusal_has_the_shape_that_clients_of_the_path_read(
    behind: Behind, path: str, shape: dict[str, Any]
) -> None:
    told = orjson.loads((await behind.ask(path))[2])
    if "error" in shape:
        told["error"].pop("message")
    assert told | shape == told


async def test_a_websocket_is_refused_with_an_answer(behind: Behind) -> None:
    status, _, body = await behind.ask("/v1/signals/news", kind="websocket")
    assert (status, orjson.loads(body)["error"]["code"]) == (401, "invalid_api_key")
    assert behind.seen == []


async def test_limits_are_told_in_place_of_the_providers(behind: Behind) -> None:
    _, headers, _ = await behind.ask("/v1/models", "dk_told")
    assert headers == {b"x-other": b"1", b"x-ratelimit-limit-requests": b"5"}
    _, headers, _ = await behind.ask("/v1/models", "dk_all")
    assert headers[b"x-ratelimit-limit-requests"] == b"9999"


async def test_a_call_of_a_tool_counts_once(behind: Behind) -> None:
    assert (await behind.ask("/mcp", "dk_fast"))[0] == 200


def test_every_data_scope_and_admin_are_there() -> None:
    assert {*DATA, KeyScope.ADMIN} == set(KeyScope)
