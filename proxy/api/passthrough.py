"""Every `/v1/*` path that Deja does not answer itself: to the default upstream and back, unread and unchanged."""

from __future__ import annotations

import logging
import time

from proxy.api import asgi
from proxy.api.asgi import BodyPieces, ClientLeft, Receive, Scope, Send, UntilClientLeaves
from proxy.api.cache_headers import REQUEST_ID, response_headers
from proxy.api.errors import INTERNAL, body_at, status_of
from proxy.api.identity import Identity
from proxy.core.access.callers import check
from proxy.core.access.scopes import KeyScope
from proxy.core.models import Forwarded, Reason
from proxy.core.outcome import Outcome
from proxy.errors import DejaError, where
from proxy.ports import Headers, UpstreamRequest, Upstreams
from proxy.services import ids
from proxy.services.background import Background
from proxy.telemetry import Metrics
from proxy.upstream.headers import end_to_end

logger = logging.getLogger("deja.passthrough")

ROUTE = "passthrough"
_NOT_LENGTH = frozenset({b"host", b"expect"})


class PassThrough:
    """The ASGI application of all other paths."""

    def __init__(self, *, upstreams: Upstreams, identity: Identity, metrics: Metrics, background: Background) -> None:
        self._upstreams = upstreams
        self._identity = identity
        self._metrics = metrics
        self._background = background

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry one request."""
        request_id = ids.request_id()
        outcome = Outcome()
        outcome.forward(Forwarded.BYPASS, Reason.NOT_CACHEABLE)
        reply = _Reply(send, request_id)
        try:
            check(
                self._identity.caller(scope), KeyScope.CHAT, now_s=time.time()
            )  # below /v1/cache too, say, it is the provider's
            body = BodyPieces(receive)
            request = _request(scope, body, self._identity)
            async with UntilClientLeaves(receive, self._background, after=body.is_read):
                response = await self._upstreams.resolve(None).upstream.send(request)
                try:
                    await reply.begin(response.status, response_headers(response.headers, outcome, request_id))
                    await asgi.send_pieces(send, response.chunks())
                finally:
                    await response.aclose()
            await asgi.send_end(send)
        except ClientLeft:
            logger.debug("request %s: the caller left", request_id)
        except DejaError as error:
            await reply.fail(status_of(error), body_at(scope["path"], error))
        except Exception as error:
            logger.error("request %s failed with %s", request_id, where(error))
            await reply.fail(500, INTERNAL)
        finally:
            self._metrics.requests.labels(ROUTE, outcome.label, outcome.reason or "").inc()


class _Reply:
    """What has been sent so far."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self._has_begun = False

    async def begin(self, status: int, headers: Headers) -> None:
        self._has_begun = True
        await asgi.send_head(self._send, status, headers)

    async def fail(self, status: int, body: bytes) -> None:
        if not self._has_begun:  # else the server closes the connection, and the caller sees it cut
            headers = ((b"content-type", b"application/json"), (REQUEST_ID, self._request_id.encode()))
            await asgi.send_whole(self._send, status, headers, body)


def _request(scope: Scope, body: BodyPieces, identity: Identity) -> UpstreamRequest:
    """The request as it goes up: its raw path (escapes and all), query, headers and body unchanged.

    `Content-Length` is kept where the caller sent one, so that the body travels as it came and not in chunks."""
    raw_path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    has_body = asgi.header(scope, b"content-length") not in (None, b"0") or asgi.header(scope, b"transfer-encoding")
    headers = identity.for_upstream(end_to_end(scope["headers"], without=_NOT_LENGTH))
    if not has_body:
        body.is_read.set()
    return UpstreamRequest(
        method=scope["method"],
        path=raw_path.partition("/v1")[2],
        query=scope["query_string"],
        headers=headers,
        body=aiter(body) if has_body else b"",
    )
