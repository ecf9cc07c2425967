"""GET and DELETE of /v1/responses/{response_id}: what Deja replayed is here, every other response is with the provider."""

from __future__ import annotations

import orjson

from proxy.api import asgi
from proxy.api.asgi import Receive, Scope, Send
from proxy.api.cache_headers import REQUEST_ID
from proxy.api.errors import body_of, status_of
from proxy.api.identity import Identity
from proxy.api.passthrough import PassThrough
from proxy.core import follow_ups
from proxy.errors import DejaError
from proxy.ports import Headers
from proxy.services import ids
from proxy.services.follow_ups import FollowUps

PATH = "/responses/{response_id}"
METHODS = ("GET", "DELETE")
_JSON: Headers = ((b"content-type", b"application/json"),)


class ReplayedResponse:
    """The ASGI application of one response.

    Args:
        follow_ups: finds replays.
        identity: who is asking.
        passthrough: takes all responses that are not ours.
    """

    def __init__(self, follow_ups: FollowUps, identity: Identity, passthrough: PassThrough) -> None:
        self._follow_ups = follow_ups
        self._identity = identity
        self._passthrough = passthrough

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response_id = scope["path_params"]["response_id"]
        if not follow_ups.is_ours(response_id):
            await self._passthrough(scope, receive, send)
            return
        status = 200
        try:
            tenant = self._identity.tenant(scope)
            if scope["method"] == "DELETE":
                await self._follow_ups.delete(tenant, response_id)
                body = orjson.dumps({"id": response_id, "object": "response", "deleted": True})
            else:
                body = orjson.dumps((await self._follow_ups.find(tenant, response_id)).response)
        except DejaError as error:
            status, body = status_of(error), body_of(error)
        await asgi.send_whole(send, status, (*_JSON, (REQUEST_ID, ids.request_id().encode())), body)
