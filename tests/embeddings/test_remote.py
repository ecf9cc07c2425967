from __future__ import annotations

import json

import pytest

from embeddings.errors import RemoteEmbedderError
from embeddings.remote import connect
from tests.embeddings.embeddings_server import EmbeddingsServer

_KEY = "sk-very-secret"


def test_the_length_is_asked_of_the_server_once(embeddings_server: EmbeddingsServer) -> None:
    embedder = connect(embeddings_server.url, "m", api_key=_KEY)
    assert embedder.dim == 64
    assert len(embeddings_server.requests) == 1
    assert embeddings_server.keys == [f"Bearer {_KEY}"]
    embedder.close()


def test_a_given_length_needs_no_call(embeddings_server: EmbeddingsServer) -> None:
    embedder = connect(f"{embeddings_server.url}/embeddings", "m", dim=64)
    assert embeddings_server.requests == []
    assert len(embedder.embed(["one"])) == 1
    embedder.close()


def test_many_texts_go_in_several_requests(embeddings_server: EmbeddingsServer) -> None:
    embedder = connect(embeddings_server.url, "m", dim=64)
    assert len(embedder.embed([f"text {i}" for i in range(130)])) == 130
    assert [len(request["input"]) for request in embeddings_server.requests] == [64, 64, 2]
    embedder.close()


def test_a_server_that_read_its_limit_is_taken_to_have_cut(embeddings_server: EmbeddingsServer) -> None:
    embedder = connect(embeddings_server.url, "m", dim=64, max_tokens=100)
    row = {"index": 0, "embedding": [1.0] * 64}
    embeddings_server.instead = (200, json.dumps({"data": [row], "usage": {"prompt_tokens": 100}}).encode())
    assert embedder.embed(["short"])[0].is_truncated
    embedder.close()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"{}", "answered 401"),
        (200, b"<html>", "not answer with embeddings"),
        (200, b'{"data": []}', "0 vectors for 1 texts"),
        (200, b'{"data": [{"index": 0, "embedding": []}]}', "empty vector"),
        (200, b'{"data": [{"index": 0, "embedding": [1, 2, 3]}]}', "its model has changed"),
        (200, b'[{"index": 0}]', "not answer with embeddings"),
    ],
    ids=["refused", "no-json", "too-few", "empty-vector", "other-length", "other-shape"],
)
def test_a_wrong_answer_is_an_error_without_the_text_or_the_key(
    embeddings_server: EmbeddingsServer, status: int, body: bytes, said: str
) -> None:
    embedder = connect(embeddings_server.url, "m", api_key=_KEY, dim=64)
    embeddings_server.instead = (status, body)
    with pytest.raises(RemoteEmbedderError, match=said) as raised:
        embedder.embed(["my private text"])
    assert _KEY not in str(raised.value)
    assert "private" not in str(raised.value)
    embedder.close()


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RemoteEmbedderError, match="cannot be reached"):
        connect("http://127.0.0.1:1/v1", "m")


def test_credentials_in_the_url_are_refused_unrepeated() -> None:
    with pytest.raises(RemoteEmbedderError, match="no user and password") as raised:
        connect("http://me:hunter2@127.0.0.1/v1", "m", dim=3)
    assert "hunter2" not in str(raised.value)


def test_model_url_and_length_are_in_the_fingerprint() -> None:
    def fingerprint(url: str = "http://a/v1", model: str = "m", dim: int = 3) -> str:
        embedder = connect(url, model, dim=dim)
        embedder.close()
        return embedder.fingerprint

    others = {fingerprint(url="http://b/v1"), fingerprint(model="n"), fingerprint(dim=4), fingerprint()}
    assert len(others) == 4


def test_what_each_call_used_is_told_as_the_server_counts_it(embeddings_server: EmbeddingsServer) -> None:
    told: list[int | None] = []
    embedder = connect(embeddings_server.url, "m", dim=64, on_call=told.append)
    row = {"index": 0, "embedding": [1.0] * 64}
    for usage in ({"usage": {"prompt_tokens": 7}}, {}):
        embeddings_server.instead = (200, json.dumps({"data": [row], **usage}).encode())
        embedder.embed(["seven tokens of text, as it counts"])
    embeddings_server.instead = (500, b"{}")
    with pytest.raises(RemoteEmbedderError):
        embedder.embed(["refused, and so not told"])
    assert told == [7, None]
    embedder.close()
