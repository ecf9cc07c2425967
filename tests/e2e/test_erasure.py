"""Erasing a session or a user: nothing of it is left anywhere in Redis, nothing of others goes, and nothing comes back."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
import redis

from tests.deja_process import DejaProcess
from tests.e2e.asking import Told, ask
from tests.fake_upstream import Exchange, FakeUpstream, chat


class Tenant:
    """One tenant: asks, reads, erases."""

    def __init__(self, deja: DejaProcess) -> None:
        key = f"sk-{uuid.uuid4()}"
        self.openai = openai.OpenAI(base_url=deja.base_url, api_key=key, max_retries=0, timeout=20)
        self.http = httpx.Client(base_url=deja.base_url, headers={"Authorization": f"Bearer {key}"}, timeout=20)

    def ask(self, question: Any, *, session: str | None = None, user: str | None = None, **more: Any) -> Told:
        headers = {"X-Deja-Session": session} if session else {}
        return ask(self.openai, question, headers=headers, **({"user": user} if user else {}), **more)

    def turns(self, session: str, count: int) -> list[dict[str, Any]]:
        """The turns, once there are so many: recording is off the hot path."""
        give_up_at = time.monotonic() + 5
        while True:
            answer = self.http.get(f"/sessions/{session}")
            turns = answer.json()["turns"] if answer.status_code == 200 else []
            if len(turns) >= count:
                return list(turns)
            assert time.monotonic() < give_up_at, answer.text
            time.sleep(0.02)

    def recorded(self, told: Told) -> int:
        """How many neighbours a decision saw, once it is written."""
        answer = self.http.get(f"/cache/explain/{told.headers['x-deja-request-id']}")
        assert answer.status_code == 200, answer.text
        return len(answer.json()["neighbours"])

    def erase(self, path: str) -> dict[str, int]:
        answer = self.http.delete(path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["erased"])


@pytest.fixture
def new_tenant(deja: DejaProcess, upstream: FakeUpstream) -> Iterator[Callable[[], Tenant]]:
    made: list[Tenant] = []

    def make() -> Tenant:
        made.append(Tenant(deja))
        return made[-1]

    yield make
    for one in made:
        one.openai.close()
        one.http.close()


@pytest.fixture
def tenant(new_tenant: Callable[[], Tenant]) -> Tenant:
    return new_tenant()


@pytest.fixture
def holds(deja: DejaProcess) -> Iterator[Callable[[str], list[str]]]:
    """Tells which keys of Redis hold a text, in their names or anywhere in them."""
    with redis.Redis(unix_socket_path=str(deja.data_dir / "redis" / "redis.sock")) as client:
        readers: dict[bytes, Callable[[bytes], Any]] = {
            b"string": client.get,
            b"hash": client.hgetall,
            b"stream": client.xrange,
            b"set": client.smembers,
            b"zset": lambda key: client.zrange(key, 0, -1),
            b"list": lambda key: client.lrange(key, 0, -1),
        }

        def search(text: str) -> list[str]:
            found, shown = [], repr(text.encode())[2:-1]
            for key in client.scan_iter(count=1000):
                read = readers.get(client.type(key))
                if shown in repr(key) or (read is not None and shown in repr(read(key))):
                    found.append(key.decode())
            return found

        yield search


def marked() -> str:
    """A word that nothing else has."""
    return f"zanzibar{uuid.uuid4().hex[:10]}"


# --- sessions ---------------------------------------------------------------------------------------------------------------------


def test_an_erased_session_is_nowhere_any_more_and_its_neighbour_is_untouched(
    new_tenant: Callable[[], Tenant], holds: Callable[[str], list[str]]
) -> None:
    tenant, other = new_tenant(), new_tenant()
    word, kept_word = marked(), marked()
    session, neighbour = f"to-go-{word}", f"to-stay-{kept_word}"
    first = tenant.ask(f"What is the capital of {word}?", session=session, user=f"user-{word}")
    tenant.ask(f"What is the capital of {word}?", session=session, user=f"user-{word}")
    tenant.ask(f"Where does the river of {kept_word} end?", session=neighbour)
    other.ask(f"Where does the river of {kept_word} end?", session=neighbour)
    tenant.http.post(
        f"/sessions/{session}/messages", json={"messages": [{"role": "user", "content": f"by API: {word}"}]}
    )
    tenant.http.put(f"/sessions/{session}/data", json={"secret": word})
    for whose, what in ((session, word), (neighbour, kept_word)):
        event = {"type": "visited", "data": {"what": what}}
        tenant.http.post("/events", json=event, headers={"X-Deja-Session": whose}).raise_for_status()
    tenant.turns(session, 5)
    for one in (tenant, other):
        one.turns(neighbour, 2)
    tenant.recorded(first)
    kept_before = len(holds(kept_word))

    erased = tenant.erase(f"/sessions/{session}")
    counts = {"sessions": 1, "messages": 5, "data": 1, "decisions": 2, "cache_entries": 1, "recordings": 2}
    counts["appended_events"] = 1
    assert {kind: erased[kind] for kind in counts} == counts
    assert erased["journal_events"] == erased["events"] == 3  # two requests, and the event appended
    assert holds(word) == []

    assert set(tenant.erase(f"/sessions/{session}").values()) == {0}
    assert tenant.http.get(f"/sessions/{session}").status_code == 404
    assert tenant.http.get(f"/cache/explain/{first.headers['x-deja-request-id']}").status_code == 404
    assert [one["id"] for one in tenant.http.get("/sessions").json()["data"]] == [neighbour]
    assert len(holds(kept_word)) == kept_before
    assert tenant.ask(f"Where does the river of {kept_word} end?").hit == "exact"
    assert tenant.ask(f"What is the capital of {word}?").hit is None


def test_an_entry_that_another_session_stored_stays_and_what_quotes_an_erased_one_forgets_its_words(
    tenant: Tenant, holds: Callable[[str], list[str]]
) -> None:
    word, shared = marked(), marked()
    tenant.ask(f"What is the capital of {shared}?", session="stays")
    tenant.ask(f"What is the capital of {shared}?", session="goes")  # a hit: the entry belongs to the other
    tenant.ask(f"How many people live in the town of {word}?", session="goes")
    near = tenant.ask("How many people live in the town of Bergen?", session="stays")
    tenant.turns("stays", 4)
    neighbours = tenant.recorded(near)
    assert holds(word) != []
    assert tenant.erase("/sessions/goes")["cache_entries"] == 1
    assert holds(word) == []
    assert tenant.recorded(near) == neighbours  # the decision of another is still there, without the words
    assert tenant.ask(f"What is the capital of {shared}?").hit == "exact"


def test_what_was_under_way_during_an_erasure_does_not_come_back(
    tenant: Tenant, upstream: FakeUpstream, holds: Callable[[str], list[str]]
) -> None:
    word, release = marked(), threading.Event()

    async def slow(exchange: Exchange) -> None:
        await asyncio.to_thread(release.wait, 10)
        await chat(f"All about {word}.")(exchange)

    upstream.script(slow)
    session = f"racing-{word}"
    asking = threading.Thread(
        target=lambda: tenant.ask(f"Tell me of {word}.", session=session, user=f"user-{word}", stream=False)
    )
    asking.start()
    upstream.wait_for(lambda fake: bool(fake.requests))
    assert tenant.erase(f"/sessions/{session}")["messages"] == 0
    release.set()
    asking.join()
    give_up_at = time.monotonic() + 5
    while left := holds(word):
        assert time.monotonic() < give_up_at, left
        time.sleep(0.05)
    time.sleep(0.2)  # and what is written last does not bring it back
    assert holds(word) == []


def test_a_session_that_begins_anew_right_after_its_erasure_is_recorded(tenant: Tenant) -> None:
    for number in range(3):
        tenant.ask(f"What is the capital of land number {number}?", session="again")
        found = tenant.turns("again", 2)
        assert len(found) == 2
        assert tenant.erase("/sessions/again")["messages"] == 2
    tenant.http.post("/sessions/again/messages", json={"messages": [{"role": "user", "content": "new"}]})
    assert len(tenant.turns("again", 1)) == 1


# --- users ------------------------------------------------------------------------------------------------------------------------


def test_an_erased_user_is_nowhere_any_more_and_who_shared_a_session_with_them_keeps_theirs(
    new_tenant: Callable[[], Tenant], holds: Callable[[str], list[str]]
) -> None:
    tenant, other = new_tenant(), new_tenant()
    word, kept_word = marked(), marked()
    user, friend = f"{word}@example.org/ö", f"{kept_word}@example.org"
    tenant.ask(f"What is the capital of {word}?", session="alone", user=user)
    tenant.ask(f"Where does the river of {word} end?", session="shared", user=user)
    tenant.ask(f"Where does the river of {kept_word} end?", session="shared", user=friend)
    tenant.ask(f"Who rules over {word}?", user=user)  # in no session
    tenant.http.put("/sessions/named", json={"user": user})
    tenant.http.post("/sessions/named/messages", json={"messages": [{"role": "user", "content": f"a note on {word}"}]})
    other.ask(f"Who rules over {kept_word}?", session="alone", user=user)
    tenant.turns("alone", 2)
    tenant.turns("shared", 4)
    other.turns("alone", 2)

    erased = tenant.erase(f"/users/{user.replace('ö', '%C3%B6')}")
    counts = {"sessions": 2, "messages": 5, "decisions": 3, "cache_entries": 3, "recordings": 2, "journal_events": 3}
    assert {kind: erased[kind] for kind in counts} == counts
    assert {key for key in holds(word) if "session" in key} == set(holds_of(other, holds, user))
    found = tenant.http.get("/sessions/shared").json()
    assert [turn["user"] for turn in found["turns"]] == [friend, friend]
    assert (found["messages"], found["user"], len(found["events"])) == (2, None, 1)
    assert [one["id"] for one in tenant.http.get("/sessions").json()["data"]] == ["shared"]
    assert tenant.http.get("/sessions", params={"user": user}).json()["data"] == []
    assert tenant.ask(f"Where does the river of {kept_word} end?", user=friend).hit == "exact"
    assert len(other.turns("alone", 2)) == 2  # the same name with another tenant is somebody else

    assert set(tenant.erase(f"/users/{user.replace('ö', '%C3%B6')}").values()) == {0}


def holds_of(other: Tenant, holds: Callable[[str], list[str]], user: str) -> list[str]:
    """Keys of another tenant's that hold a user's name."""
    tenant = next(key.split("{")[1].split("}")[0] for key in holds(user) if key.startswith("deja:v1:session:"))
    return [key for key in holds(user) if tenant in key]


def test_the_newer_name_of_the_users_field_is_understood(tenant: Tenant) -> None:
    tenant.ask("What is the capital of Laos?", session="s", extra_body={"safety_identifier": "hash-1"})
    assert {turn["user"] for turn in tenant.turns("s", 2)} == {"hash-1"}
    assert tenant.erase("/users/hash-1")["messages"] == 2


def test_another_tenants_session_and_user_cannot_be_erased(new_tenant: Callable[[], Tenant]) -> None:
    mine, theirs = new_tenant(), new_tenant()
    mine.ask("What is the capital of Oman?", session="mine", user="ann")
    mine.turns("mine", 2)
    assert set(theirs.erase("/sessions/mine").values()) == {0}
    assert set(theirs.erase("/users/ann").values()) == {0}
    assert len(mine.turns("mine", 2)) == 2
    assert mine.ask("What is the capital of Oman?", user="ann").hit == "exact"
