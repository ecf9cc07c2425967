"""Embeddings through the real SDK: only what is not stored reaches the provider, and comes back bit for bit."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from tests.deja_process import DejaProcess
from tests.fake_upstream import Exchange, FakeUpstream, answer, error

NewClient = Callable[..., openai.OpenAI]
MODEL = "text-embedding-3-small"


def vectors(*, model: str = MODEL, dims: int = 4, ignores_base64: bool = False, **fields: Any) -> Any:
    """A provider whose every vector is new: the number of the call, that of the input, and a float32 that needs all its digits."""
    calls = itertools.count(1)

    async def behave(exchange: Exchange) -> None:
        asked, call = exchange.request.json, next(calls)
        given = asked["input"]
        texts = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
        data = []
        for index in range(len(texts)):
            vector = np.array([call, index, 0.1, 1 / 3][:dims], dtype="<f4")
            as_base64 = asked.get("encoding_format") == "base64" and not ignores_base64
            value = base64.b64encode(vector.tobytes()).decode() if as_base64 else vector.astype(float).tolist()
            data.append({"object": "embedding", "index": index, "embedding": value})
        tokens = 10 * len(texts)
        body = {
            "object": "list",
            "data": data,
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        await answer({**body, **fields})(exchange)

    return behave


@pytest.fixture
def provider_of_vectors(upstream: FakeUpstream) -> FakeUpstream:
    upstream.script(vectors())
    return upstream


class Told:
    """What came back of one request."""

    def __init__(self, raw: Any) -> None:
        parsed = raw.parse()
        self.status = raw.headers["cache-status"]
        self.headers = raw.headers
        self.usage = parsed.usage.prompt_tokens if parsed.usage else None
        self.vectors = [item.embedding for item in parsed.data]
        self.indices = [item.index for item in parsed.data]
        self.model = parsed.model

    @property
    def calls(self) -> list[int]:
        """By which call of the provider each vector was made."""
        return [int(vector[0]) for vector in self.vectors]


def embed(client: openai.OpenAI, given: Any, *, headers: dict[str, str] | None = None, **fields: Any) -> Told:
    raw = client.embeddings.with_raw_response.create(
        **{"model": MODEL, "input": given, "extra_headers": headers or {}, **fields}
    )
    return Told(raw)


@pytest.fixture
def client(provider_of_vectors: FakeUpstream, new_client: NewClient) -> openai.OpenAI:
    return new_client()


@pytest.mark.parametrize("given", ["a text", [7, 8, 9], ["one", "two"], [[1], [2, 3]]], ids=str)
def test_the_same_inputs_again_are_a_hit(client: openai.OpenAI, given: Any, provider_of_vectors: FakeUpstream) -> None:
    first, again = embed(client, given), embed(client, given)
    assert first.status.startswith("deja; fwd=miss; stored; detail=exact-only")
    assert again.status.startswith("deja; hit; detail=exact; ttl=")
    assert (again.vectors, again.indices, again.usage, again.model) == (
        first.vectors,
        first.indices,
        first.usage,
        first.model,
    )
    assert len(provider_of_vectors.requests) == 1
    assert again.headers["age"] == "0"


def test_of_a_batch_only_what_is_missing_is_asked_for_and_all_is_in_order(
    client: openai.OpenAI, provider_of_vectors: FakeUpstream
) -> None:
    embed(client, ["b", "d"])
    told = embed(client, ["a", "b", "c", "d", "a"])
    assert provider_of_vectors.requests[-1].json["input"] == ["a", "c", "a"]
    assert told.calls == [2, 1, 2, 1, 2]
    assert [vector[1] for vector in told.vectors] == [0, 0, 1, 1, 2]
    assert told.indices == [0, 1, 2, 3, 4]
    assert told.status == "deja; fwd=partial; stored; detail=exact-only"
    assert told.headers["x-deja-inputs"] == "2/5"
    assert told.usage == 50, "what two cost then and three cost now"
    assert told.headers["x-deja-usage"] == "estimated", "the provider counted the first batch as one"
    assert embed(client, ["c", "a"]).headers["x-deja-inputs"] == "2/2"


def test_a_list_of_one_is_the_text_itself(client: openai.OpenAI) -> None:
    embed(client, "alone")
    told = embed(client, ["alone"])
    assert "hit" in told.status
    assert 'key="emb_' in told.status


def test_base64_and_decimals_answer_for_each_other_bit_for_bit(
    client: openai.OpenAI, provider_of_vectors: FakeUpstream
) -> None:
    as_base64 = embed(client, "x")  # the SDK asks for base64 unless told otherwise, and decodes it
    as_decimals = embed(client, "x", encoding_format="float")
    assert provider_of_vectors.requests[0].json["encoding_format"] == "base64"
    assert "hit" in as_decimals.status
    assert as_decimals.vectors == as_base64.vectors
    embed(client, "y", encoding_format="float")
    again = embed(client, "y")
    assert "hit" in again.status
    assert len(provider_of_vectors.requests) == 2


def test_decimals_beyond_float32_are_never_sent_as_base64(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    fine = [0.1234567890123456, 2.0]
    item = {"object": "embedding", "index": 0, "embedding": fine}
    upstream.script(answer({"object": "list", "data": [item], "model": MODEL, "usage": {"prompt_tokens": 1}}))
    embed(client, "x", encoding_format="float")
    upstream.script(vectors(dims=2))
    told = embed(client, "x", encoding_format="base64")
    assert told.status == "deja; fwd=miss; stored; detail=not-renderable"


def test_a_provider_that_knows_no_base64_is_replayed_all_the_same(
    client: openai.OpenAI, upstream: FakeUpstream
) -> None:
    fine = [0.1234567890123456, 2.0]
    item = {"object": "embedding", "index": 0, "embedding": fine}
    upstream.script(answer({"object": "list", "data": [item], "model": MODEL}))
    first, again = embed(client, "x"), embed(client, "x")
    assert first.vectors == again.vectors == [fine]
    assert "hit" in again.status
    assert again.headers["x-deja-usage"] == "estimated"


@pytest.mark.parametrize(
    "other",
    [
        {"model": "text-embedding-3-large"},
        {"dimensions": 4},
        {"user": "ada"},
        {"headers": {"X-Deja-Namespace": "other"}},
        {"headers": {"OpenAI-Project": "other"}},
        {"extra_body": {"input_type": "query"}},
    ],
    ids=str,
)
def test_what_changes_vectors_or_whose_they_are_keeps_them_apart(client: openai.OpenAI, other: dict[str, Any]) -> None:
    embed(client, "x")
    assert "fwd=miss" in embed(client, "x", **other).status


def test_another_tenants_vector_is_never_served(client: openai.OpenAI, new_client: NewClient) -> None:
    embed(client, ["x", "y"])
    told = embed(new_client(), ["x", "z"])
    assert told.headers["x-deja-inputs"] == "0/2"


def test_directives_hold_as_with_chat(client: openai.OpenAI, provider_of_vectors: FakeUpstream) -> None:
    assert embed(client, "x", headers={"Cache-Control": "no-store"}).status == "deja; fwd=bypass; detail=no-store"
    assert embed(client, "x", headers={"X-Deja-Mode": "off"}).status == "deja; fwd=bypass; detail=mode-off"
    assert embed(client, "x", headers={"X-Deja-Mode": "read-only"}).status == "deja; fwd=miss; detail=exact-only"
    embed(client, "x", headers={"X-Deja-Mode": "write-only"})
    assert embed(client, "x", headers={"X-Deja-Mode": "shadow"}).status == "deja; fwd=bypass; stored; detail=shadow"
    assert "hit" in embed(client, "x", headers={"X-Deja-Mode": "read-only"}).status
    assert embed(client, "x", headers={"Cache-Control": "no-cache"}).status == "deja; fwd=request; stored"
    assert embed(client, "x", headers={"Cache-Control": "max-age=0"}).status == "deja; fwd=stale; stored"
    assert len(provider_of_vectors.requests) == 7
    embed(client, "y", headers={"X-Deja-TTL": "50"})
    assert 0 < int(embed(client, "y").status.split("ttl=")[1].split(";")[0]) <= 50
    with pytest.raises(openai.APIStatusError) as refused:
        embed(client, ["x", "never"], headers={"Cache-Control": "only-if-cached"})
    assert refused.value.status_code == 504
    assert refused.value.response.headers["cache-status"] == "deja; detail=only-if-cached"
    assert "hit" in embed(client, ["x"], headers={"Cache-Control": "only-if-cached"}).status


def test_the_providers_fields_pass_and_ours_do_not(client: openai.OpenAI, provider_of_vectors: FakeUpstream) -> None:
    embed(client, "x", dimensions=4, extra_body={"deja": {"tags": ["a"], "ttl_s": 60}, "truncate": "END"})
    sent = provider_of_vectors.requests[0].json
    assert sent == {"input": "x", "model": MODEL, "encoding_format": "base64", "dimensions": 4, "truncate": "END"}


def test_an_error_is_passed_on_and_not_stored(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.script(error(429), vectors())
    with pytest.raises(openai.RateLimitError):
        embed(client, "x")
    assert "fwd=miss; stored" in embed(client, "x").status


def test_an_error_for_the_missing_part_of_a_batch_is_passed_on(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    embed(client, "x")
    upstream.script(error(500))
    with pytest.raises(openai.InternalServerError):
        embed(client, ["x", "y"])


@pytest.mark.parametrize("newer", [{"model": "v2"}, {"dims": 3}], ids=["another model", "another length"])
def test_vectors_that_do_not_belong_together_are_asked_for_anew(
    client: openai.OpenAI, upstream: FakeUpstream, newer: dict[str, Any]
) -> None:
    embed(client, ["a", "b"])
    upstream.script(vectors(**newer))
    told = embed(client, ["a", "c"])
    assert [one.json["input"] for one in upstream.requests] == [["a", "b"], ["c"], ["a", "c"]]
    assert told.calls == [2, 2]
    assert told.headers["x-deja-inputs"] == "0/2"
    assert embed(client, ["a", "b", "c"]).headers["x-deja-inputs"] == "2/3", "the old one is not served beside the new"


def test_an_answer_with_more_in_it_than_deja_keeps_is_passed_on_whole(
    client: openai.OpenAI, upstream: FakeUpstream, deja: DejaProcess
) -> None:
    upstream.script(vectors(warnings=["shortened"]))
    raw = client.embeddings.with_raw_response.create(model=MODEL, input="x", encoding_format="float")
    assert raw.http_response.json()["warnings"] == ["shortened"]
    assert raw.headers["x-deja-not-stored"] == "malformed"
    assert raw.headers["cache-status"] == "deja; fwd=miss; detail=exact-only"


@pytest.mark.parametrize("given", [[], [{"image": "…"}], None], ids=str)
def test_inputs_that_deja_does_not_know_go_to_the_provider_as_they_are(
    client: openai.OpenAI, upstream: FakeUpstream, deja: DejaProcess, given: Any
) -> None:
    upstream.script(error(400))
    sent = {"model": MODEL, "input": given}
    told = httpx.post(f"{deja.base_url}/embeddings", json=sent, headers={"Authorization": f"Bearer {client.api_key}"})
    assert (told.status_code, told.headers["cache-status"]) == (400, "deja; fwd=bypass; detail=not-cacheable")
    assert upstream.requests[0].json == sent


def test_a_users_vectors_go_with_the_user(client: openai.OpenAI, deja: DejaProcess) -> None:
    embed(client, ["x", "y"], user="ada")
    assert "hit" in embed(client, ["x", "y"], user="ada").status
    key = {"Authorization": f"Bearer {client.api_key}"}
    assert httpx.delete(f"{deja.base_url}/users/ada", headers=key, timeout=20).status_code == 200
    assert embed(client, ["x", "y"], user="ada").headers["x-deja-inputs"] == "0/2"


def test_a_large_batch_is_stored_and_found(client: openai.OpenAI, provider_of_vectors: FakeUpstream) -> None:
    texts = [f"text {number}" for number in range(600)]
    first, again = embed(client, texts), embed(client, texts)
    assert first.vectors == again.vectors
    assert again.headers["x-deja-inputs"] == "600/600"
    assert again.usage == first.usage
