"""Deja's embedding model behind `/v1/embeddings`, in a process of its own: for caches that need an endpoint for it.

    python -m loadtest.load.embeddings_server --port 9100

It batches as Deja does, so a cache that is measured with it has the same model at the same price, plus one request on loopback.
"""

from __future__ import annotations

import argparse
import base64
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
import uvicorn

from embeddings.batching import BatchingEmbedder
from embeddings.onnx import OnnxEmbedder
from embeddings.prepare import prepare
from loadtest.load.hosts import artifacts

MODEL = "deja-embedder"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def embeddings_app(embedder: BatchingEmbedder) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI application of two routes, `/v1/embeddings` and `/health`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        answer = await _embedded(embedder, body) if scope["path"].endswith("/embeddings") else {"status": "ok"}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)})

    return app


async def _embedded(embedder: BatchingEmbedder, body: bytes) -> dict[str, Any]:
    request = orjson.loads(body)
    given = request["input"]
    found = [await embedder.embed(text) for text in ([given] if isinstance(given, str) else given)]
    in_base64 = request.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": place,
            "embedding": base64.b64encode(each.vector.tobytes()).decode() if in_base64 else each.vector,
        }
        for place, each in enumerate(found)
    ]
    tokens = sum(each.tokens for each in found)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": request.get("model", MODEL), "usage": usage}


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=9100)
    given = parser.parse_args()
    model = OnnxEmbedder(prepare("package", artifacts(), "int8"))
    uvicorn.run(
        embeddings_app(BatchingEmbedder(model)), host="127.0.0.1", port=given.port, access_log=False, log_level="error"
    )


if __name__ == "__main__":
    main()
