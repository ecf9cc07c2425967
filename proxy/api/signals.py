"""/v1/signals/{channel}: send to whoever listens now, listen by server-sent events or a WebSocket. Nothing is kept."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, Request, Response, WebSocket, WebSocketDisconnect
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from proxy.api import asgi, direct_writes, errors, streaming
from proxy.api.asgi import ClientLeft, UntilClientLeaves
from proxy.api.corked import TRANSPORT
from proxy.api.deps import Deps, Services, Tenant
from proxy.core import names, sse
from proxy.errors import DejaError, RequestError
from proxy.services.signals import Signals, Subscription, Write

router = APIRouter()

GOING_AWAY = 1001
"""WebSocket's code for a server that shuts down (RFC 6455, section 7.4.1)."""


class _Listening(Response):
    """Server-sent events for as long as the caller stays; the subscription ends with them, whatever happens.

    Written to ASGI itself: Starlette's StreamingResponse costs as much again for each listener and signal as the socket does.
    """

    media_type = "text/event-stream"

    def __init__(self, signals: Signals, subscription: Subscription) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        self._signals = signals
        self._subscription = subscription

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            head = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
            await asgi.send_head(send, 200, tuple(head))
            with contextlib.suppress(ClientLeft):
                async with UntilClientLeaves(receive, self._signals.background):
                    await self._write(send, direct_writes.to_events(scope.get(TRANSPORT)))
            await asgi.send_end(send)
        finally:
            self._signals.release(self._subscription)

    async def _write(self, send: Send, write: Write | None) -> None:
        # The head leaves with the first piece: the caller knows that it is heard from now on.
        await send({"type": "http.response.body", "body": sse.COMMENT, "more_body": True})
        self._subscription.write = write
        while (frames := await self._subscription.take()) is not None:
            body = b"".join([frame.event for frame in frames]) or sse.COMMENT
            await send({"type": "http.response.body", "body": body, "more_body": True})


@router.post("/v1/signals/{channel:path}")
async def publish(request: Request, channel: str, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """Send any JSON to whoever listens now."""
    channel = names.checked(channel, "channel")
    agent = _agent(request.headers)
    limit_bytes = deps.signals.message_bytes
    try:
        raw = await asgi.read_body(request.scope, request.receive, limit_bytes=limit_bytes)
    except RequestError:
        raise _too_large(limit_bytes) from None
    return await _publish(deps, raw, tenant, channel, agent)


@router.get("/v1/signals/{channel:path}")
async def listen(request: Request, channel: str, tenant: Tenant, deps: Deps) -> Response:
    """Listen by server-sent events: what is sent from now on."""
    channel = names.checked(channel, "channel")
    if not streaming.wants_events(request):
        raise RequestError(
            "Signals are not kept, so there are none to read: listen with `Accept: text/event-stream`, or open a WebSocket here.",
            status=406,
            code="not_acceptable",
            param="Accept",
        )
    return _Listening(deps.signals, await deps.signals.subscribe(tenant, channel))


@router.websocket("/v1/signals/{channel:path}")
async def converse(websocket: WebSocket, channel: str) -> None:
    """Listen by a WebSocket, and send: each text frame of JSON is published."""
    deps: Services = websocket.app.state.services
    try:
        tenant = deps.identity.tenant(websocket.scope)
        _refuse_strange_pages(websocket.headers)
        channel = names.checked(channel, "channel")
        agent = _agent(websocket.headers)
        subscription = await deps.signals.subscribe(tenant, channel)
    except DejaError as error:
        refusal = Response(errors.body_of(error), status_code=errors.status_of(error), media_type="application/json")
        await websocket.send_denial_response(refusal)
        return
    try:
        await websocket.accept()
        writer = deps.signals.background.spawn(_write(websocket, subscription), name="signals-websocket")
        try:
            await _read(websocket, deps, tenant, channel, agent)
        finally:
            writer.cancel()
    finally:
        deps.signals.release(subscription)


async def _write(websocket: WebSocket, subscription: Subscription) -> None:
    subscription.write = direct_writes.to_websocket(websocket.scope.get(TRANSPORT))
    with contextlib.suppress(WebSocketDisconnect):  # the reader is told, too
        while (frames := await subscription.take()) is not None:
            for frame in frames:
                await websocket.send_text(frame.text)
        await websocket.close(GOING_AWAY, "Deja shuts down.")


async def _read(websocket: WebSocket, deps: Services, tenant: str, channel: str, agent: str | None) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while (message := await websocket.receive())["type"] == "websocket.receive":
            raw = message.get("bytes") or (message.get("text") or "").encode()
            try:
                if len(raw) > deps.signals.message_bytes:
                    raise _too_large(deps.signals.message_bytes)
                await _publish(deps, raw, tenant, channel, agent)
            except DejaError as error:
                await websocket.send_text(errors.body_of(error).decode())


async def _publish(deps: Services, raw: bytes, tenant: str, channel: str, agent: str | None) -> dict[str, Any]:
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise RequestError(
            "The signal is no JSON in UTF-8. It was not sent.", param="body", code="invalid_json"
        ) from None
    signal_id, receivers = await deps.signals.publish(tenant, channel, data, agent=agent)
    return {"object": "signal", "id": signal_id, "channel": channel, "redis_subscribers": receivers}


def _agent(headers: Headers) -> str | None:
    agent = headers.get("x-deja-agent")
    return None if agent is None else names.checked(agent, "X-Deja-Agent")


def _refuse_strange_pages(headers: Headers) -> None:
    """A browser opens a WebSocket to anywhere for any page, and asks nobody: a page of another site must not listen here."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise RequestError(
            "A page of another site may not open a WebSocket here; connect without an Origin header, or from the same host.",
            status=403,
            code="origin_not_allowed",
            param="Origin",
        )


def _too_large(limit_bytes: int) -> RequestError:
    return RequestError(
        f"The signal is larger than {limit_bytes} bytes, and was not sent: append it as an event and send its id, "
        "or raise DEJA_SIGNALS__MESSAGE_BYTES.",
        status=413,
        code="signal_too_large",
        param="body",
    )
