"""A tenant's entries over HTTP: found, read, removed; and nobody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.deja_process import DejaProcess
from tests.e2e.asking import MODEL, ask
from tests.fake_upstream import FakeUpstream, answer, chat_completion

NewClient = Callable[..., openai.OpenAI]
CAPITAL, CODE, STORY = "What is the capital of Peru?", "How do I sort a list in Python?", "Tell me a story about a fox."


class Entries:
    """The routes, as one tenant calls them."""

    def __init__(self, deja: DejaProcess, api_key: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        self.http = httpx.Client(base_url=f"{deja.base_url}/cache", headers=headers, timeout=20)

    def list(self, **conditions: Any) -> list[dict[str, Any]]:
        told = self.http.get("/entries", params=conditions)
        assert told.status_code == 200, told.text
        return list(told.json()["data"])

    def questions(self, **conditions: Any) -> set[str]:
        return {entry["question"] for entry in self.list(**conditions)}

    def invalidate(self, **asked: Any) -> httpx.Response:
        return self.http.post("/entries/invalidate", json=asked)


@pytest.fixture
def entries(deja: DejaProcess, client: openai.OpenAI) -> Iterator[Entries]:
    made = Entries(deja, client.api_key)
    yield made
    made.http.close()


@pytest.fixture
def stored(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    """Three answers, one of them in another namespace and under another model."""
    ask(client, CAPITAL, headers={"X-Deja-Tags": "prompt:v3,doc:atlas@7"})
    ask(client, CODE, headers={"X-Deja-Tags": "prompt:v4", "X-Deja-TTL": "7200"})
    ask(client, STORY, headers={"X-Deja-Namespace": "tales"}, model="gpt-4o")


@pytest.mark.usefixtures("stored")
def test_entries_are_found_by_what_is_known_of_them(entries: Entries) -> None:
    assert entries.questions() == {CAPITAL, CODE, STORY}
    assert entries.list()[0]["question"] == CODE, "what expires last comes first"
    assert entries.questions(namespace="") == {CAPITAL, CODE}
    assert entries.questions(namespace="tales") == entries.questions(model="gpt-4o") == {STORY}
    assert entries.questions(tag="prompt:v3") == entries.questions(q="CAPITAL of") == {CAPITAL}
    assert entries.questions(tag=["prompt:v3", "prompt:v4"]) == set()
    assert entries.questions(tier="semantic", family="chat") == {CAPITAL, CODE, STORY}
    assert entries.questions(tier="exact") == entries.questions(family="embeddings") == set()


@pytest.mark.usefixtures("stored")
def test_pages_follow_each_other(entries: Entries) -> None:
    met, cursor = [], None
    while True:
        told = entries.http.get("/entries", params={"limit": 1} | ({"cursor": cursor} if cursor else {})).json()
        met += [entry["question"] for entry in told["data"]]
        cursor = told["next_cursor"]
        if cursor is None:
            break
    assert sorted(met) == sorted([CAPITAL, CODE, STORY])
    assert entries.http.get("/entries", params={"cursor": "elsewhere"}).status_code == 400


def test_an_entry_is_read_with_its_answer_under_the_id_that_the_header_told(
    client: openai.OpenAI, entries: Entries
) -> None:
    ask(client, CAPITAL)
    key = ask(client, CAPITAL).status.split('key="')[1].rstrip('"')
    told = entries.http.get(f"/entries/{key}").json()
    assert (told["id"], told["question"], told["family"], told["tier"]) == (key, CAPITAL, "chat", "semantic")
    assert told["answer"]["choices"][0]["message"]["content"] == "Answer number 1 of the provider."
    assert told["expires_at"] - told["created_at"] == 3600


def test_a_removed_entry_serves_nobody(client: openai.OpenAI, entries: Entries) -> None:
    first = ask(client, CAPITAL)
    (entry,) = entries.list()
    assert entries.http.delete(f"/entries/{entry['id']}").status_code == 204
    assert entries.http.delete(f"/entries/{entry['id']}").status_code == 404
    assert entries.http.get(f"/entries/{entry['id']}").status_code == 404
    again = ask(client, CAPITAL)
    assert "fwd=miss" in again.status
    assert again.text != first.text
    assert "hit" in ask(client, "What's the capital of Peru?").status


@pytest.mark.usefixtures("stored")
def test_invalidation_counts_first_and_removes_with_the_token_of_the_count(
    client: openai.OpenAI, entries: Entries
) -> None:
    counted = entries.invalidate(prompt_version="v3", dry_run=True).json()
    assert counted["matched"] == 1
    assert entries.questions() == {CAPITAL, CODE, STORY}, "nothing is gone yet"
    assert entries.invalidate(prompt_version="v3", dry_run=False).status_code == 400
    assert entries.invalidate(prompt_version="v4", dry_run=False, token=counted["token"]).status_code == 409
    told = entries.invalidate(tags=["prompt:v3"], dry_run=False, token=counted["token"]).json()
    assert (told["removed"], told["done"]) == (1, True)
    assert entries.questions() == {CODE, STORY}
    assert "fwd=miss" in ask(client, CAPITAL).status


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        ({"namespace": "tales"}, {CAPITAL, CODE}),
        ({"namespace": ""}, {STORY}),
        ({"model": "gpt-4o"}, {CAPITAL, CODE}),
        ({"document_version": "atlas@7"}, {CODE, STORY}),
        ({"text": "python"}, {CAPITAL, STORY}),
        ({"created_before": 1.0}, {CAPITAL, CODE, STORY}),
        ({"everything": True}, set()),
    ],
    ids=lambda given: str(given) if isinstance(given, dict) else "",
)
def test_what_is_invalidated_is_what_was_named(entries: Entries, conditions: dict[str, Any], left: set[str]) -> None:
    token = entries.invalidate(**conditions, dry_run=True).json()["token"]
    assert entries.invalidate(**conditions, dry_run=False, token=token).json()["removed"] == 3 - len(left)
    assert entries.questions() == left


@pytest.mark.parametrize(
    "asked",
    [{"dry_run": True}, {"tags": ["a"]}, {"tags": ["not a tag!"], "dry_run": True}, {"tagz": [], "dry_run": True}],
    ids=str,
)
def test_what_may_be_a_mistake_removes_nothing(entries: Entries, asked: dict[str, Any]) -> None:
    assert entries.invalidate(**asked).status_code == 400


@pytest.mark.usefixtures("stored")
def test_another_tenant_sees_reads_and_removes_nothing(
    deja: DejaProcess, entries: Entries, new_client: NewClient
) -> None:
    other = Entries(deja, new_client().api_key)
    entry_id = entries.list()[0]["id"]
    assert other.list() == []
    assert (
        other.http.get(f"/entries/{entry_id}").status_code
        == other.http.delete(f"/entries/{entry_id}").status_code
        == 404
    )
    nowhere = other.http.get("/entries/ent_" + "0" * 32)
    assert other.http.get(f"/entries/{entry_id}").json() == nowhere.json()
    token = entries.invalidate(everything=True, dry_run=True).json()["token"]
    assert other.invalidate(everything=True, dry_run=False, token=token).status_code == 409
    counted = other.invalidate(everything=True, dry_run=True).json()
    assert counted["matched"] == 0
    assert other.invalidate(everything=True, dry_run=False, token=counted["token"]).json()["removed"] == 0
    assert len(entries.list()) == 3
    other.http.close()


def test_vectors_are_entries_too(client: openai.OpenAI, upstream: FakeUpstream, entries: Entries) -> None:
    data = [{"object": "embedding", "index": index, "embedding": [0.5, 0.25]} for index in range(2)]
    upstream.script(answer({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 8}}))
    client.embeddings.create(model="m", input=["a", "b"], extra_headers={"X-Deja-Tags": "doc:faq@7"})
    found = entries.list(family="embeddings", tag="doc:faq@7")
    assert len(found) == 2
    read = entries.http.get(f"/entries/{found[0]['id']}").json()
    assert read["embedding"] == {"dimensions": 2, "form": "double", "bytes": 8, "tokens": 4}
    token = entries.invalidate(document_version="faq@7", dry_run=True).json()["token"]
    assert entries.invalidate(document_version="faq@7", dry_run=False, token=token).json()["removed"] == 2
    client.embeddings.create(model="m", input=["a", "b"])
    assert len(upstream.requests) == 2


@pytest.mark.usefixtures("stored")
def test_what_was_exported_comes_back_only_where_nobody_removed_it(entries: Entries) -> None:
    lines = entries.http.get("/entries/export").content
    assert lines.count(b"\n") == 3
    present = entries.http.post("/entries/import", content=lines).json()
    assert (present["restored"], present["present"]) == (0, 3)
    token = entries.invalidate(everything=True, dry_run=True).json()["token"]
    entries.invalidate(everything=True, dry_run=False, token=token)
    assert entries.list() == []
    altered = lines.replace(b"Peru", b"Chad")
    told = entries.http.post("/entries/import", content=altered).json()
    assert (told["restored"], told["present"], told["refused"]) == (0, 2, 1), "removed for good, and one is not ours"
    assert entries.list() == []


def test_given_answers_serve_as_if_the_provider_had_given_them(
    client: openai.OpenAI, upstream: FakeUpstream, entries: Entries
) -> None:
    request = {"model": MODEL, "messages": [{"role": "user", "content": STORY}], "temperature": 0}
    given = [
        {"messages": [{"role": "user", "content": CAPITAL}], "answer": "Lima."},
        {"request": request, "answer": chat_completion("Once upon a time.")},
        {"request": request, "answer": chat_completion("I am not", choices=[])},
        {"messages": [], "answer": "Of nothing."},
        {"request": {"input": "x"}, "answer": "x", "path": "/embeddings"},
        {"messages": [{"role": "user", "content": "Hm?"}], "answer": "x", "headers": {"X-Api-Key": "another's"}},
    ]
    told = entries.http.post(
        "/entries", json={"model": MODEL, "entries": given}, headers={"X-Deja-Tags": "warm"}
    ).json()
    assert [sorted(one) for one in told["data"]] == [["id"], ["id"], ["not_stored"], ["error"], ["error"], ["error"]]
    assert told["stored"] == 2
    assert ask(client, CAPITAL).text == ask(client, "What's the capital of Peru?").text == "Lima."
    assert ask(client, STORY, temperature=0).text == "Once upon a time."
    assert upstream.requests == []
    assert {one["id"] for one in entries.list(tag="warm")} == {one["id"] for one in told["data"][:2]}


def test_given_answers_are_for_their_giver_and_what_the_headers_name(
    client: openai.OpenAI, new_client: NewClient, entries: Entries
) -> None:
    given = {"model": MODEL, "entries": [{"messages": [{"role": "user", "content": CAPITAL}], "answer": "Lima."}]}
    entries.http.post("/entries", json=given, headers={"X-Deja-Namespace": "tales"})
    of_project = {**given["entries"][0], "answer": "Lima!", "headers": {"OpenAI-Project": "p"}}
    entries.http.post("/entries", json={"model": MODEL, "entries": [of_project]})
    assert ask(client, CAPITAL, headers={"OpenAI-Project": "p"}).text == "Lima!"
    assert ask(client, CAPITAL, headers={"X-Deja-Namespace": "tales"}).text == "Lima."
    assert "fwd=miss" in ask(client, CAPITAL).status
    assert "fwd=miss" in ask(new_client(), CAPITAL, headers={"X-Deja-Namespace": "tales"}).status


def test_too_many_given_answers_at_once_are_refused(entries: Entries) -> None:
    given = {"messages": [{"role": "user", "content": CAPITAL}], "answer": "Lima."}
    told = entries.http.post("/entries", json={"model": MODEL, "entries": [given] * 101})
    assert (told.status_code, entries.list()) == (413, [])
