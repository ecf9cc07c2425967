"""Any OpenAI-style embeddings URL as an embedder.

Its vectors are made length 1 here, whatever the server does. What such a server does not say is how much of a text its
model really reads, and many cut silently, so truncation is judged here and judged carefully: a text that might be too
long is reported as truncated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from embeddings.base import Embedding, make_fingerprint, unit_vector
from embeddings.errors import EmbedderError, RemoteEmbedderError

DEFAULT_TIMEOUT_S = 10.0  # for one call; callers who need an answer sooner stop waiting sooner
CAUTIOUS_MAX_TOKENS = 512  # what BERT-family servers read; models that read more are told so by configuration

# English has 4 to 5 bytes of UTF-8 to a token, CJK about 3, dense code and digits can have 2: the careful end.
_BYTES_PER_TOKEN = 2
_BATCH_TEXTS = 64  # servers cap their batches, the lowest default cap in common use being 32 to 64 texts


def connect(
    url: str,
    model: str,
    *,
    api_key: str | None = None,
    dim: int | None = None,
    max_tokens: int = CAUTIOUS_MAX_TOKENS,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    on_call: Callable[[int | None], None] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> RemoteEmbedder:
    """Open an embeddings URL.

    Args:
        url: ends in /embeddings, or in the /v1 before it.
        model: the name the server knows the model by.
        api_key: sent as a bearer token.
        dim: length of the vectors; None asks the server by embedding one word.
        max_tokens: tokens the model reads of one text.
        timeout_s: for one call.
        on_call: told of each answer the tokens that the server counted, None where it does not say; from whatever thread embeds.
        transport: replaces the network, for tests.

    Raises:
        RemoteEmbedderError: `dim` is None and the server did not answer.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    client = httpx.Client(headers=headers, timeout=timeout_s, transport=transport)
    wire = _Wire(client, _endpoint(url), model, on_call)
    if dim is None:
        try:
            dim = len(wire.call(["dimensions"])[0][0])
        except EmbedderError:
            client.close()
            raise
    return RemoteEmbedder(wire, dim=dim, max_tokens=max_tokens)


class RemoteEmbedder:
    """Embed through a URL; made by `connect`."""

    def __init__(self, wire: _Wire, *, dim: int, max_tokens: int) -> None:
        self._wire = wire
        self._dim = dim
        self._max_tokens = max_tokens
        self._fingerprint = make_fingerprint(
            wire.model, dim=dim, precision="remote", pooling="none", revision=f"{wire.endpoint}/{max_tokens}"
        )

    @property
    def fingerprint(self) -> str:
        """Name of the vector space: model, URL and length; credentials in the URL do not count."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """Length of every vector."""
        return self._dim

    @property
    def max_tokens(self) -> int:
        """Tokens the model is taken to read of one text."""
        return self._max_tokens

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Embed the texts, in order.

        Raises:
            RemoteEmbedderError: the server failed, or its vectors have another length than when it was opened.
        """
        embedded: list[Embedding] = []
        for start in range(0, len(texts), _BATCH_TEXTS):
            embedded.extend(self._embed_batch(texts[start : start + _BATCH_TEXTS]))
        return embedded

    def close(self) -> None:
        """Close the connections."""
        self._wire.client.close()

    def _embed_batch(self, texts: Sequence[str]) -> list[Embedding]:
        # Half a surrogate pair has no UTF-8 form, and so no JSON one that servers agree on.
        readable = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        vectors, used_tokens = self._wire.call(readable)
        if any(len(vector) != self._dim for vector in vectors):
            raise RemoteEmbedderError(
                f"{self._wire.place} now gives vectors of {len(vectors[0])} numbers, not {self._dim}: "
                "its model has changed; restart to use it"
            )
        return [
            self._judged(text, vector, used_tokens if len(texts) == 1 else None)
            for text, vector in zip(readable, vectors, strict=True)
        ]

    def _judged(self, text: str, vector: Sequence[float], used_tokens: int | None) -> Embedding:
        guess = -(-len(text.encode()) // _BYTES_PER_TOKEN)
        # A server that cuts reports the tokens it read: the whole limit. So the limit itself is suspect.
        is_truncated = guess > self._max_tokens or (used_tokens or 0) >= self._max_tokens
        tokens = min(used_tokens if used_tokens is not None else guess, self._max_tokens)
        return Embedding(unit_vector(np.asarray(vector, np.float32)), tokens, is_truncated)


class _Wire:
    """One POST and the reading of its answer; foreign errors become ours here."""

    def __init__(
        self, client: httpx.Client, endpoint: str, model: str, on_call: Callable[[int | None], None] | None
    ) -> None:
        self.client = client
        self._on_call = on_call
        self.endpoint = endpoint
        self.model = model
        self.place = f"the embeddings server at {urlsplit(endpoint).hostname}"

    def call(self, texts: Sequence[str]) -> tuple[list[list[float]], int | None]:
        """Give the vectors in the order of the texts, and the tokens of all together if the server says."""
        body = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        try:
            response = self.client.post(self.endpoint, json=body)
        except httpx.TimeoutException as error:
            raise RemoteEmbedderError(f"{self.place} did not answer in time") from error
        except httpx.HTTPError as error:
            raise RemoteEmbedderError(f"{self.place} cannot be reached ({type(error).__name__})") from error
        if response.status_code != httpx.codes.OK:
            raise RemoteEmbedderError(
                f"{self.place} answered {response.status_code} for the model {self.model!r}; check URL, model and key"
            )
        try:
            vectors, tokens = _read_answer(response.json(), len(texts))
        except (ValueError, KeyError, TypeError) as error:
            raise RemoteEmbedderError(f"{self.place} did not answer with embeddings ({error})") from error
        if self._on_call is not None:
            self._on_call(tokens)
        return vectors, tokens


def _read_answer(answer: Any, count: int) -> tuple[list[list[float]], int | None]:
    rows = sorted(answer["data"], key=lambda row: row["index"])
    if [row["index"] for row in rows] != list(range(count)):
        raise ValueError(f"{len(rows)} vectors for {count} texts")
    vectors = [[float(number) for number in row["embedding"]] for row in rows]
    if any(not vector for vector in vectors):
        raise ValueError("an empty vector")
    used = (answer.get("usage") or {}).get("prompt_tokens")
    return vectors, int(used) if used else None


def _endpoint(url: str) -> str:
    """Complete the URL. Credentials stay out of it: httpx would put them in its own errors."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise RemoteEmbedderError("an embeddings URL takes no user and password; give the key by its own setting")
    trimmed = url.rstrip("/")
    return trimmed if trimmed.endswith("/embeddings") else f"{trimmed}/embeddings"
