"""The routes below /v1/cache over doubles: what they ask of the services, and how they tell it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from proxy.api import cache, errors
from proxy.core.decision_log import DecisionRecord
from proxy.services import decisions as services
from tests.proxy.services.test_decisions import TENANT, Store, reader, record
from tests.proxy.services.test_feedback import Voting, semantic


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "WAIT_S", ())


def app_of(*records: DecisionRecord) -> FastAPI:
    """The routes over these decisions of the caller's."""
    app = FastAPI()
    app.include_router(cache.router)
    errors.install(app)
    app.state.services = SimpleNamespace(
        identity=SimpleNamespace(tenant=lambda headers: TENANT),
        decisions=reader(Store(*records)),
        feedback=Voting(records[0]).feedback if records else None,
        history=SimpleNamespace(voted=lambda tenant, verdict: None),
    )
    return app


@pytest.fixture
async def http(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    app = app_of(*getattr(request, "param", ()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://deja/v1/cache") as client:
        yield client


NEAR_MISSES = (record(1), record(2, namespace="n"), semantic())


@pytest.mark.parametrize("http", [NEAR_MISSES], indirect=True)
async def test_what_if_tells_both_tallies_and_every_pair(http: httpx.AsyncClient) -> None:
    told = (await http.get("/what-if", params={"max_wrong_hit_rate": 0.02})).json()
    assert (told["level"], told["exact_only"], told["decisions"]) == (pytest.approx(0.9), False, 3)
    assert told["now"] == {
        "hits": 1,
        "expected_wrong": 0.0,
        "expected_wrong_rate": None,
        "wrong_between": [0, 0],
        "hits_without_confidence": 1,
    }
    assert (told["then"]["hits"], told["then"]["wrong_between"]) == (3, [0, 1])
    assert [pair["question"] for pair in told["gained"]] == ["stored 1", "stored 2"]
    assert told["gained"][0] == {
        "asked": "asked",
        "question": "stored 1",
        "confidence": 0.93,
        "similarity": 0.9,
        "count": 1,
        "request_id": "req_1",
    }


@pytest.mark.parametrize("http", [NEAR_MISSES], indirect=True)
async def test_what_if_keeps_to_a_namespace_and_to_what_is_to_be_shown(http: httpx.AsyncClient) -> None:
    parameters = {"max_wrong_hit_rate": 0.02, "namespace": "n", "limit": 10, "show": 0}
    told = (await http.get("/what-if", params=parameters)).json()
    assert (told["namespace"], told["decisions"], told["then"]["hits"], told["gained"]) == ("n", 1, 1, [])


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({}, "max_wrong_hit_rate"),
        ({"max_wrong_hit_rate": 0}, "max_wrong_hit_rate"),
        ({"max_wrong_hit_rate": 0.6}, "max_wrong_hit_rate"),
        ({"max_wrong_hit_rate": "few"}, "max_wrong_hit_rate"),
        ({"max_wrong_hit_rate": 0.02, "limit": 0}, "limit"),
        ({"max_wrong_hit_rate": 0.02, "show": -1}, "show"),
    ],
    ids=["none", "zero", "too many", "no number", "limit", "show"],
)
async def test_what_cannot_be_replayed_names_the_parameter(
    http: httpx.AsyncClient, parameters: dict[str, Any], param: str
) -> None:
    answer = await http.get("/what-if", params=parameters)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("http", [(semantic(vote="right", level=0.97),)], indirect=True)
async def test_an_explanation_tells_every_score(http: httpx.AsyncClient) -> None:
    told = (await http.get("/explain/req_1")).json()
    assert (told["outcome"], told["level"], told["feedback"], told["reason"]) == ("semantic", 0.97, "right", None)
    assert told["neighbours"][0] == {
        "entry_id": "ent_0",
        "question": "Is it tasty?",
        "similarity": 0.95,
        "confidence": None,
        "logit": None,
        "refused_by": "gate-focus",
        "objections": [],
        "chosen": False,
        "why": told["neighbours"][0]["why"],
    }
    assert "what is asked for" in told["neighbours"][0]["why"]


async def test_an_unknown_decision_is_a_404_in_the_shape_of_all_errors(http: httpx.AsyncClient) -> None:
    answer = await http.get("/explain/req_9")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "decision_not_found")


@pytest.mark.parametrize("http", [(semantic(),)], indirect=True)
async def test_a_vote_tells_what_it_did(http: httpx.AsyncClient) -> None:
    told = (await http.post("/feedback", json={"request_id": "req_1", "verdict": "wrong"})).json()
    assert told == {
        "object": "cache.feedback",
        "request_id": "req_1",
        "verdict": "wrong",
        "entry_id": "ent_1",
        "new": True,
        "evicted": True,
        "pair_never_equal": True,
    }


async def test_a_vote_with_a_field_nobody_knows_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/feedback", json={"request_id": "req_1", "verdict": "wrong", "why": "because"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "why")
