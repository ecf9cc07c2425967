"""A small OpenAI-style embeddings server on a free local port."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from embeddings.hashing import HashingEmbedder


class EmbeddingsServer:
    """A /v1/embeddings endpoint over a HashingEmbedder, with one answer to give instead if a test sets it."""

    def __init__(self) -> None:
        self.requests: list[dict[str, object]] = []
        self.keys: list[str | None] = []
        self.instead: tuple[int, bytes] | None = None
        self.model = HashingEmbedder(dim=64, max_tokens=10_000)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                outer.keys.append(self.headers["Authorization"])
                status, answer = outer.instead or (200, outer.answer(body["input"]))
                self.send_response(status if self.path == "/v1/embeddings" else 404)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(self, texts: list[str]) -> bytes:
        # Twice as long as a unit vector and in reverse order: both are the client's to mend.
        embedded = self.model.embed(texts)
        rows = [{"index": i, "embedding": [2 * float(x) for x in e.vector]} for i, e in enumerate(embedded)]
        return json.dumps({"data": rows[::-1], "usage": {"prompt_tokens": sum(e.tokens for e in embedded)}}).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
