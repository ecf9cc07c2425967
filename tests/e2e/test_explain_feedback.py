"""Why a decision fell so, and what a caller's word about it changes: through a real process, as a user does it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.deja_process import DejaProcess, running_deja
from tests.e2e.asking import Told, ask, turns
from tests.fake_upstream import FakeUpstream

FIRST = "How do I sort a list in Python?"
REWORDED = "In Python, how do I sort a list?"
REWORDED_AGAIN = "How can I sort a list in Python?"


class Caller:
    """One tenant, asking and then asking about it."""

    def __init__(self, deja: DejaProcess, client: openai.OpenAI) -> None:
        self.client = client
        self._http = httpx.Client(
            base_url=deja.base_url, headers={"Authorization": f"Bearer {client.api_key}"}, timeout=20
        )

    def ask(self, question: str | list[dict[str, Any]], **fields: Any) -> Told:
        return ask(self.client, question, **fields)

    def explain(self, told: Told) -> dict[str, Any]:
        answer = self._http.get(f"/cache/explain/{told.headers['x-deja-request-id']}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def vote(self, told: Told, verdict: str = "wrong") -> httpx.Response:
        request_id = told.headers["x-deja-request-id"]
        return self._http.post("/cache/feedback", json={"request_id": request_id, "verdict": verdict})

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self._http.get(path, params=parameters)

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def new_caller(
    deja: DejaProcess, upstream: FakeUpstream, new_client: Callable[..., openai.OpenAI], request: pytest.FixtureRequest
) -> Callable[[], Caller]:
    def make() -> Caller:
        caller = Caller(deja, new_client())
        request.addfinalizer(caller.close)
        return caller

    return make


@pytest.fixture
def caller(new_caller: Callable[[], Caller]) -> Caller:
    return new_caller()


# --- explain -----------------------------------------------------------------------------------------------------------------------


def test_a_semantic_hit_names_the_stored_question_and_its_scores(caller: Caller) -> None:
    caller.ask(FIRST)
    hit = caller.ask(REWORDED)
    assert hit.hit == "semantic"
    found = caller.explain(hit)
    assert (found["outcome"], found["asked"]) == ("semantic", REWORDED)
    assert FIRST in found["summary"]
    assert found["neighbours"][0]["question"] == FIRST
    assert found["neighbours"][0]["chosen"]
    assert found["neighbours"][0]["similarity"] == pytest.approx(float(hit.headers["x-deja-similarity"]), abs=1e-3)
    assert found["served_entry"] in hit.status


def test_an_exact_hit_is_explained_without_its_text(caller: Caller) -> None:
    caller.ask(FIRST)
    hit = caller.ask(FIRST)
    assert hit.hit == "exact"
    found = caller.explain(hit)
    assert (found["outcome"], found["asked"], found["neighbours"]) == ("exact", None, [])


def test_a_miss_names_what_the_gate_found(caller: Caller) -> None:
    caller.ask("How do I convert 5 miles to kilometres?")
    found = caller.explain(caller.ask("How do I convert 7 miles to kilometres?"))
    assert found["reason"] == "gate-number"
    assert found["neighbours"][0]["refused_by"] == "gate-number"
    assert "numbers" in " ".join(found["sentences"])


@pytest.mark.parametrize(
    ("first", "then", "changed"),
    [
        ({"temperature": 0.1}, {"temperature": 0.9}, ["temperature"]),
        ({"model": "gpt-4o"}, {"model": "gpt-4o-mini"}, ["model"]),
        ({"headers": {"X-Deja-Namespace": "a"}}, {"headers": {"X-Deja-Namespace": "b"}}, ["namespace"]),
        ({}, {"seed": 7, "top_p": 0.5}, ["seed", "top_p"]),
    ],
    ids=["temperature", "model", "namespace", "two added"],
)
def test_where_nothing_could_be_compared_the_changed_field_is_named(
    caller: Caller, first: dict[str, Any], then: dict[str, Any], changed: list[str]
) -> None:
    caller.ask(FIRST, **first)
    found = caller.explain(caller.ask(REWORDED, **then))
    assert (found["reason"], found["changed_fields"]) == ("no-candidate", changed)


def test_a_changed_system_prompt_is_named_and_never_quoted(caller: Caller) -> None:
    caller.ask(turns(FIRST, system="You are terse."))
    found = caller.explain(caller.ask(turns(REWORDED, system="You are a pirate.")))
    assert found["changed_fields"] == ["instructions"]
    assert "the system prompt" in " ".join(found["sentences"])
    assert "pirate" not in str(found)


def test_another_conversation_is_told_apart_from_another_room(caller: Caller) -> None:
    first = caller.ask(FIRST)
    caller.ask(turns(FIRST, first.text, "And in reverse order?"))
    found = caller.explain(caller.ask(turns("What is a heap?", "A tree.", "And in reverse, what is it?")))
    assert found["reason"] == "no-candidate"
    assert "another conversation" in " ".join(found["sentences"])


def test_a_question_kept_to_the_exact_tier_says_why_and_leaves_no_text(caller: Caller) -> None:
    found = caller.explain(caller.ask("What is TSLA trading at right now?"))
    assert (found["reason"], found["asked"]) == ("volatile", None)
    assert "changes by the hour" in found["sentences"][0]


def test_another_tenants_decision_reads_like_an_unknown_one(caller: Caller, new_caller: Callable[[], Caller]) -> None:
    told = caller.ask(FIRST)
    caller.explain(told)
    other, request_id = new_caller(), told.headers["x-deja-request-id"]
    theirs, unknown = other.get(f"/cache/explain/{request_id}"), other.get("/cache/explain/req_nobody")
    assert (theirs.status_code, theirs.json()) == (unknown.status_code, unknown.json())
    assert theirs.status_code == 404
    assert other.vote(told).json() == theirs.json()


@pytest.mark.parametrize(
    "headers", [{"Cache-Control": "no-store"}, {"X-Deja-Mode": "off"}], ids=["no-store", "mode off"]
)
def test_what_asks_to_leave_no_trace_leaves_none(caller: Caller, headers: dict[str, str]) -> None:
    told = caller.ask(FIRST, headers=headers)
    assert caller.get(f"/cache/explain/{told.headers['x-deja-request-id']}").status_code == 404


# --- feedback ----------------------------------------------------------------------------------------------------------------------


def test_a_wrong_hit_is_evicted_and_the_pair_never_meets_again(caller: Caller) -> None:
    caller.ask(FIRST)
    hit = caller.ask(REWORDED)
    taken = caller.vote(hit)
    assert taken.status_code == 200
    assert taken.json() | {"entry_id": ""} == {
        "object": "cache.feedback",
        "request_id": hit.headers["x-deja-request-id"],
        "verdict": "wrong",
        "entry_id": "",
        "new": True,
        "evicted": True,
        "pair_never_equal": True,
    }
    assert caller.ask(FIRST).hit is None, "the entry is gone, and this stores another"
    refused = caller.ask(REWORDED)
    assert (refused.hit, "detail=feedback" in refused.status) == (None, True)
    found = caller.explain(refused)
    assert found["neighbours"][0]["refused_by"] == "feedback"


def test_the_pair_is_refused_the_other_way_round_and_however_it_is_written(caller: Caller) -> None:
    caller.ask(FIRST)
    caller.vote(caller.ask(REWORDED))
    caller.ask(REWORDED)
    assert "detail=feedback" in caller.ask(FIRST.upper()).status


def test_an_exact_hit_called_wrong_is_asked_anew_and_then_served_again(caller: Caller) -> None:
    first = caller.ask(FIRST)
    taken = caller.vote(caller.ask(FIRST)).json()
    assert (taken["evicted"], taken["pair_never_equal"]) == (True, False)
    again = caller.ask(FIRST)
    assert (again.hit, again.text == first.text) == (None, False)
    assert caller.ask(FIRST).text == again.text


def test_conversations_that_went_through_a_wrong_entry_part(caller: Caller) -> None:
    first = caller.ask(FIRST)
    hit = caller.ask(REWORDED)
    theirs = turns(FIRST, first.text, "And in reverse order?")
    mine = turns(REWORDED, hit.text, "And in the reverse order?")
    second = caller.ask(theirs)
    their_third = [*theirs, *turns("", second.text, "And without making a copy?")[1:]]
    my_third = [*mine, *turns("", second.text, "And without making any copy?")[1:]]
    caller.ask(their_third)
    assert [caller.ask(mine).hit, caller.ask(my_third).hit] == ["semantic", "semantic"], "the two go on as one"
    caller.vote(hit)
    assert [caller.ask(mine).hit, caller.ask(my_third).hit] == [None, None], "what followed has fallen with it"
    assert caller.ask(their_third).hit == "exact", "their very own conversation is still theirs"


def test_saying_it_twice_changes_and_counts_nothing_more(deja: DejaProcess, caller: Caller) -> None:
    def counted() -> float:
        lines = httpx.get(f"{deja.root}/metrics").text.splitlines()
        wanted = 'deja_feedback_total{tier="semantic",verdict="wrong"} '
        return next((float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted)), 0.0)

    caller.ask(FIRST)
    hit = caller.ask(REWORDED)
    before = counted()
    first, second = caller.vote(hit), caller.vote(hit)
    assert (first.json()["new"], second.json()["new"]) == (True, False)
    assert second.json()["evicted"] is False
    assert counted() == before + 1


def test_right_is_noted_and_changes_nothing(caller: Caller) -> None:
    caller.ask(FIRST)
    hit = caller.ask(REWORDED)
    taken = caller.vote(hit, "right").json()
    assert (taken["new"], taken["evicted"]) == (True, False)
    assert caller.explain(hit)["feedback"] == "right"
    assert caller.ask(REWORDED_AGAIN).hit == "semantic"
    assert caller.vote(hit).json()["evicted"], "right may turn out wrong"
    assert caller.vote(hit, "right").status_code == 409, "but not back"


def test_a_miss_cannot_be_judged(caller: Caller) -> None:
    refused = caller.vote(caller.ask(FIRST))
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_a_hit")


@pytest.mark.parametrize(
    ("body", "param"),
    [({"request_id": "req_1", "verdict": "maybe"}, "verdict"), ({"verdict": "wrong"}, "request_id")],
    ids=["verdict", "request id"],
)
def test_a_misshapen_vote_names_the_field(deja: DejaProcess, body: dict[str, str], param: str) -> None:
    answer = httpx.post(f"{deja.base_url}/cache/feedback", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


# --- shadow ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("then", "tier"), [(FIRST, "exact"), (REWORDED, "semantic")])
def test_shadow_mode_records_what_would_have_been_served_and_what_came_instead(
    caller: Caller, then: str, tier: str
) -> None:
    stored = caller.ask(FIRST)
    told = caller.ask(then, headers={"X-Deja-Mode": "shadow"})
    assert (told.hit, told.text == stored.text) == (None, False)
    found = caller.explain(told)
    assert (found["would_hit"], found["reason"]) == (tier, "shadow")
    assert found["served_entry"] == caller.explain(stored)["stored_entry"]
    assert found["stored_entry"] not in (None, found["served_entry"])
    assert caller.vote(told).status_code == 409, "the stored answer went to nobody"


# --- switched off ------------------------------------------------------------------------------------------------------------------


def test_with_the_log_switched_off_nothing_is_kept(provider: FakeUpstream) -> None:
    with (
        running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_DECISIONS__MAX_PER_TENANT="0") as deja,
        openai.OpenAI(base_url=deja.base_url, api_key=f"sk-{uuid.uuid4()}", max_retries=0) as client,
    ):
        told = ask(client, FIRST)
        time.sleep(0.1)
        answer = httpx.get(
            f"{deja.base_url}/cache/explain/{told.headers['x-deja-request-id']}",
            headers={"Authorization": f"Bearer {client.api_key}"},
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "decision_not_found")


# --- at the terminal ---------------------------------------------------------------------------------------------------------------


def deja_says(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `deja` as a person does."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DEJA_", "OPENAI_"))}
    command = [str(Path(sys.executable).with_name("deja")), *arguments]
    return subprocess.run(
        command, env=inherited | environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_commands_speak_to_a_running_deja(deja: DejaProcess, caller: Caller, tmp_path: Path) -> None:
    caller.ask(FIRST)
    request_id = caller.ask(REWORDED).headers["x-deja-request-id"]
    here = {"DEJA_PORT": str(deja.port), "DEJA_API_KEY": caller.client.api_key}
    told = deja_says("explain", request_id, cwd=tmp_path, **here)
    assert (told.returncode, FIRST in told.stdout) == (0, True)
    voted = deja_says("feedback", request_id, "wrong", "--url", deja.base_url, cwd=tmp_path, **here)
    assert (voted.returncode, "is evicted" in voted.stdout) == (0, True)
    stranger = deja_says("explain", request_id, "--api-key", "sk-other", cwd=tmp_path, DEJA_PORT=str(deja.port))
    assert (stranger.returncode, "There is no such decision" in stranger.stderr) == (1, True)


# --- without Redis -----------------------------------------------------------------------------------------------------------------


def test_without_redis_it_says_so_and_answers_go_on(provider: FakeUpstream) -> None:
    with (
        running_deja(
            until="serving", DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_REDIS__URL="redis://127.0.0.1:1"
        ) as deja,
        openai.OpenAI(base_url=deja.base_url, api_key="sk-1", max_retries=0) as client,
    ):
        told = ask(client, FIRST)
        assert "detail=redis-unavailable" in told.status
        answer = httpx.get(f"{deja.base_url}/cache/explain/{told.headers['x-deja-request-id']}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "redis_unavailable")


# --- what is known by meaning -----------------------------------------------------------------------------------------------------


def test_a_rewording_that_is_asked_again_is_at_hand_until_it_is_called_wrong(caller: Caller) -> None:
    stored = caller.ask(FIRST)
    first, again = caller.ask(REWORDED), caller.ask(REWORDED)
    assert (first.hit, again.hit) == ("semantic", "semantic")
    assert "embed" in first.headers["server-timing"]
    assert "server-timing" not in again.headers, "neither Redis nor a model was asked"
    for name in ("x-deja-similarity", "x-deja-confidence"):
        assert again.headers[name] == first.headers[name]
    assert again.text == stored.text
    found = caller.explain(again)
    assert found["neighbours"][0]["question"] == FIRST
    assert caller.vote(again).status_code == 200
    caller.ask(FIRST)
    assert "detail=feedback" in caller.ask(REWORDED).status


def test_how_sure_it_has_to_be_is_asked_each_time(caller: Caller) -> None:
    caller.ask(FIRST)
    assert [caller.ask(REWORDED).hit for _ in range(2)] == ["semantic", "semantic"]
    assert caller.ask(REWORDED, headers={"X-Deja-Confidence": "0.99999"}).hit is None


def test_a_fresher_answer_is_asked_for_though_an_older_one_is_at_hand(caller: Caller) -> None:
    caller.ask(FIRST)
    assert [caller.ask(REWORDED).hit for _ in range(2)] == ["semantic", "semantic"]
    fresh = caller.ask(REWORDED, headers={"Cache-Control": "max-age=0"})
    assert fresh.hit is None
