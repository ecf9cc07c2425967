from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import orjson
import pytest

from proxy.commands import asking
from proxy.commands.asking import AskingError


class Server(HTTPServer):
    """Answers every request with the same, and remembers what it was asked."""

    status = 200
    body = b"{}"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_a_path_is_asked_below_v1_with_the_key_and_what_was_given(server: Server) -> None:
    server.body = b'{"answer": 42}'
    assert asking.get(server.root, "cache/what-if", api_key="sk-1", limit=5, namespace=None) == {"answer": 42}
    method, path, headers, _ = server.asked[0]
    assert (method, path, headers["Authorization"]) == ("GET", "/v1/cache/what-if?limit=5", "Bearer sk-1")


def test_the_base_url_of_clients_is_as_good_as_the_root(server: Server) -> None:
    asking.get(f"{server.root}/v1/", "x", api_key=None)
    _, path, headers, _ = server.asked[0]
    assert (path, "Authorization" in headers) == ("/v1/x", False)


def test_a_body_is_sent_as_json(server: Server) -> None:
    asking.post(server.root, "cache/feedback", {"verdict": "wrong"}, api_key=None)
    method, _, headers, body = server.asked[0]
    assert (method, headers["Content-Type"], orjson.loads(body)) == ("POST", "application/json", {"verdict": "wrong"})


def test_what_deja_refuses_is_told_in_its_own_words(server: Server) -> None:
    server.status, server.body = 404, b'{"error": {"message": "There is no such decision."}}'
    with pytest.raises(AskingError, match=r"^There is no such decision\.$"):
        asking.get(server.root, "x", api_key=None)


@pytest.mark.parametrize(
    ("status", "body"), [(500, b"oops"), (404, b'{"detail": "x"}'), (200, b"<html>"), (200, b"[]")]
)
def test_something_that_is_no_deja_is_told_as_such(server: Server, status: int, body: bytes) -> None:
    server.status, server.body = status, body
    with pytest.raises(AskingError, match="no Deja"):
        asking.get(server.root, "x", api_key=None)


def test_nobody_there_is_told_with_what_to_do() -> None:
    with pytest.raises(AskingError, match="deja serve"):
        asking.get("http://127.0.0.1:1", "x", api_key=None)


@pytest.mark.parametrize("root", ["127.0.0.1:8080", "file:///etc", "ftp://x"])
def test_only_http_is_spoken(root: str) -> None:
    with pytest.raises(AskingError, match="http://"):
        asking.get(root, "x", api_key=None)
