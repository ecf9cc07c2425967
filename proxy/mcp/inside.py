"""Requests to routes of the same process, with the credential of the caller of a tool: the route decides whose the answer is."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote, urlencode

import orjson

from proxy.api.asgi import App, Message, Scope
from proxy.mcp.calls import Answer, Call
from proxy.services.background import Background

PASSED_ON = (b"authorization", b"api-key", b"x-api-key", b"x-deja-session", b"x-deja-agent")
"""Headers of a caller that its tools' requests carry: who it is, and where it is at work."""


class Inside:
    """Calls routes of an application.

    Args:
        app: it.
        background: where requests run, so that they end in order when the caller of a tool leaves.
        headers: of the caller, as ASGI has them.
    """

    def __init__(self, app: App, background: Background, headers: list[tuple[bytes, bytes]]) -> None:
        self._app = app
        self._background = background
        self._headers = [(name, value) for name, value in headers if name in PASSED_ON]

    async def __call__(self, call: Call, /) -> Answer:
        """What the route says."""
        body = b"" if call.body is None else orjson.dumps(call.body)
        told: list[Message] = []
        has_left = asyncio.Event()
        pieces = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if pieces:
                return pieces.pop()
            await has_left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            told.append(message)

        task = self._background.spawn(self._app(self._scope(call, body), receive, send), name="mcp-call")  # type: ignore[arg-type]
        try:
            # Shielded: a route whose caller leaves gives back what it took (claimed tasks), which one that is cancelled could not.
            await asyncio.shield(task)
        finally:
            has_left.set()
        return _answer(told)

    def _scope(self, call: Call, body: bytes) -> Scope:
        headers = [*self._headers, (b"host", b"localhost"), (b"content-length", str(len(body)).encode())]
        headers += [(b"content-type", b"application/json")] if call.body is not None else []
        headers += [(name.encode(), value.encode()) for name, value in call.headers.items()]
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": call.method,
            "scheme": "http",
            "path": unquote(call.path),
            "raw_path": call.path.encode(),
            "root_path": "",
            "query_string": urlencode(call.parameters).encode(),
            "headers": headers,
            "client": None,
            "server": None,
        }


def _answer(told: list[Message]) -> Answer:
    status = next((message["status"] for message in told if message["type"] == "http.response.start"), 500)
    body = b"".join(message.get("body", b"") for message in told if message["type"] == "http.response.body")
    value: Any = None
    if body:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            value = None
    return Answer(status, value)
