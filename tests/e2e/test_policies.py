"""Policies of namespaces, changed while Deja runs: in force with the next request, for their tenant alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.deja_process import DejaProcess
from tests.e2e.asking import ask
from tests.fake_upstream import FakeUpstream

NewClient = Callable[..., openai.OpenAI]
CAPITAL, REWORDED = "What is the capital of Peru?", "What's the capital of Peru?"


@pytest.fixture
def policies(deja: DejaProcess, client: openai.OpenAI) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {client.api_key}"}
    with httpx.Client(base_url=f"{deja.base_url}/cache", headers=headers, timeout=20) as made:
        yield made


def decide(policies: httpx.Client, namespace: str, **decided: Any) -> None:
    told = policies.put(f"/policies/{namespace}", json=decided)
    assert (told.status_code, told.json()) == (
        200,
        {"object": "cache.policy", "namespace": "" if namespace == "-" else namespace, **decided},
    )


def test_a_policy_holds_for_its_namespace_from_the_next_request_on(
    client: openai.OpenAI, policies: httpx.Client, upstream: FakeUpstream
) -> None:
    ask(client, CAPITAL)
    assert ask(client, REWORDED).hit == "semantic"
    decide(policies, "-", mode="exact")
    assert ask(client, CAPITAL).hit == "exact"
    assert "detail=mode-exact" in ask(client, REWORDED + " Please.").status
    assert ask(client, CAPITAL, headers={"X-Deja-Mode": "semantic"}).hit == "exact", "no request gets more"
    assert "mode-off" in ask(client, CAPITAL, headers={"X-Deja-Mode": "off"}).status, "and less it may have"
    ask(client, CAPITAL, headers={"X-Deja-Namespace": "other"})
    assert ask(client, REWORDED, headers={"X-Deja-Namespace": "other"}).hit == "semantic"
    assert policies.delete("/policies/-").status_code == 204
    assert ask(client, "Can you tell me the capital of Peru?").hit is not None


def test_a_ttl_is_the_longest_there_is(client: openai.OpenAI, policies: httpx.Client, upstream: FakeUpstream) -> None:
    decide(policies, "-", ttl_s=100)
    ask(client, CAPITAL, headers={"X-Deja-TTL": "5000"})
    ask(client, "Who wrote Faust?", headers={"X-Deja-TTL": "50"})
    left = {
        entry["question"]: entry["expires_at"] - entry["created_at"]
        for entry in policies.get("/entries").json()["data"]
    }
    assert left == {CAPITAL: 100, "Who wrote Faust?": 50}


def test_what_is_cached_can_be_chosen(client: openai.OpenAI, policies: httpx.Client, upstream: FakeUpstream) -> None:
    decide(policies, "-", families=["embeddings"])
    assert "detail=mode-off" in ask(client, CAPITAL).status
    decide(policies, "-", models=["gpt-4o"])
    assert "detail=mode-off" in ask(client, CAPITAL).status
    assert "stored" in ask(client, CAPITAL, model="gpt-4o").status


def test_an_error_budget_of_ones_own_moves_the_level_and_is_told(
    client: openai.OpenAI, policies: httpx.Client, upstream: FakeUpstream
) -> None:
    before = policies.get("/budget").json()
    decide(policies, "-", max_wrong_hit_rate=0.001)
    strict = policies.get("/budget").json()
    ask(client, CAPITAL)
    assert ask(client, REWORDED).hit is None
    decide(policies, "-", max_wrong_hit_rate=0.1)
    loose = policies.get("/budget").json()
    assert (strict["max_wrong_hit_rate"], loose["max_wrong_hit_rate"]) == (0.001, 0.1)
    assert strict["level"] is None, "nothing certifies so small a budget: exact hits only"
    assert loose["level"] < before["level"]
    assert policies.get("/budget", params={"namespace": "other"}).json()["level"] == before["level"]


def test_policies_are_listed_and_read_by_their_tenant_alone(
    deja: DejaProcess, policies: httpx.Client, new_client: NewClient
) -> None:
    decide(policies, "faq", mode="exact", ttl_s=60)
    decide(policies, "team/faq", ttl_s=60)
    assert [one["namespace"] for one in policies.get("/policies").json()["data"]] == ["faq", "team/faq"]
    assert policies.get("/policies/faq").json()["ttl_s"] == 60
    other = {"Authorization": f"Bearer {new_client().api_key}"}
    assert policies.get("/policies", headers=other).json()["data"] == []
    for verb in ("GET", "DELETE"):
        assert policies.request(verb, "/policies/faq", headers=other).json()["error"]["code"] == "policy_not_found"
    assert policies.get("/policies/-").status_code == 404


@pytest.mark.parametrize(
    "decided",
    [{}, {"mode": "fast"}, {"ttl_s": 0}, {"max_wrong_hit_rate": 0.9}, {"tll_s": 5}, {"families": "chat"}],
    ids=str,
)
def test_what_cannot_be_decided_is_refused(policies: httpx.Client, decided: dict[str, Any]) -> None:
    assert policies.put("/policies/faq", json=decided).status_code == 400
    assert policies.get("/policies").json()["data"] == []


def test_embeddings_follow_policies_too(client: openai.OpenAI, policies: httpx.Client) -> None:
    decide(policies, "-", families=["chat"])
    raw = client.embeddings.with_raw_response.create(model="m", input="x", extra_headers={"X-Deja-Mode": "exact"})
    assert "detail=mode-off" in raw.headers["cache-status"]
