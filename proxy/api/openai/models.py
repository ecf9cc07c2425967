"""GET /v1/models: the default provider's list, with the configured models first."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Depends, Request, Response

from proxy.api.deps import Deps, Services, tenant
from proxy.errors import UpstreamError
from proxy.ports import UpstreamRequest
from proxy.upstream.headers import end_to_end

router = APIRouter()


@router.get("/v1/models", dependencies=[Depends(tenant)])
async def list_models(request: Request, deps: Deps) -> Response:
    """The models that can be asked for; without any of our own configured, the provider's answer as it is."""
    status, headers, body = await _from_provider(request, deps)
    kept = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name != b"content-type"}
    if not deps.models:
        media_type = dict(headers).get(b"content-type", b"application/json").decode("latin-1")
        return Response(body, status_code=status, headers=kept, media_type=media_type)
    listed = _models(body) if status == 200 else []
    own = [{"id": name, "object": "model", "created": 0, "owned_by": "deja"} for name in deps.models]
    merged = own + [model for model in listed if model.get("id") not in deps.models]
    return Response(orjson.dumps({"object": "list", "data": merged}), media_type="application/json")


async def _from_provider(request: Request, deps: Services) -> tuple[int, tuple[tuple[bytes, bytes], ...], bytes]:
    upstream = deps.upstreams.resolve(None).upstream
    headers = deps.identity.for_upstream(end_to_end(request.scope["headers"]))
    try:
        response = await upstream.send(UpstreamRequest("GET", "/models", request.scope["query_string"], headers, b""))
    except UpstreamError:
        if deps.models:
            return 502, (), b""  # what is configured can still be asked for
        raise
    try:
        return response.status, response.headers, b"".join([piece async for piece in response.chunks()])
    finally:
        await response.aclose()


def _models(body: bytes) -> list[dict[str, object]]:
    try:
        data = orjson.loads(body).get("data")
    except (orjson.JSONDecodeError, AttributeError):
        return []
    return [model for model in data if isinstance(model, dict)] if isinstance(data, list) else []
