"""Agents' states over HTTP: many writers, watchers that come back, deaths, and what a plain Redis client reads."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis

from tests.deja_process import DejaProcess

Asks = Callable[..., httpx.Response]


@pytest.fixture
def key() -> str:
    return f"sk-{uuid.uuid4()}"


@pytest.fixture
def http(deja: DejaProcess, key: str) -> Iterator[httpx.Client]:
    """A client that is a tenant of its own."""
    with httpx.Client(base_url=deja.base_url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as client:
        yield client


@pytest.fixture
def other(deja: DejaProcess) -> Iterator[httpx.Client]:
    """Another tenant."""
    headers = {"Authorization": f"Bearer sk-{uuid.uuid4()}"}
    with httpx.Client(base_url=deja.base_url, headers=headers, timeout=20) as client:
        yield client


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def events(http: httpx.Client, path: str, *, last_id: str | None = None, count: int) -> list[tuple[str, str, Any]]:
    """The first events of a stream, (id, name, data) each; the connection is broken off then."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    found: list[tuple[str, str, Any]] = []
    event: dict[str, str] = {}
    with http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if line:
                event[name] = value
            elif event.keys() >= {"event", "data"}:
                found.append((event.get("id", ""), event["event"], json.loads(event["data"])))
                event = {}
            if len(found) == count:
                return found
    raise AssertionError(f"it ended after {len(found)} events")


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_state_is_created_read_patched_replaced_deleted(http: httpx.Client) -> None:
    new = http.put("/agents/team/r-1", json={"status": "working", "checkpoint": {"a": {"b": 1, "c": [1]}}, "n": "5"})
    assert (new.status_code, new.headers["etag"]) == (201, '"1"')
    read = http.get("/agents/team/r-1")
    assert read.json() == new.json()
    assert (read.headers["etag"], read.json()["n"], read.json()["assigned_by"]) == ('"1"', "5", None)
    patched = http.patch("/agents/team/r-1", json={"checkpoint": {"a": {"b": None, "d": True}}, "n": None})
    assert (patched.status_code, patched.headers["etag"]) == (200, '"2"')
    assert patched.json()["checkpoint"] == {"a": {"c": [1], "d": True}}
    assert "n" not in patched.json()
    replaced = http.put("/agents/team/r-1", json={"status": "idle"})
    assert (replaced.status_code, replaced.json()["checkpoint"]) == (200, None)
    assert http.delete("/agents/team/r-1").status_code == 204
    for gone in (
        http.get("/agents/team/r-1"),
        http.delete("/agents/team/r-1"),
        http.patch("/agents/team/r-1", json={"status": "working"}),
        http.post("/agents/team/r-1/heartbeat", json={"ttl_s": 5}),
    ):
        assert error(gone) == (404, "agent_not_found")
    assert http.put("/agents/team/r-1", json={}).headers["etag"] == '"5"'


def test_a_stale_version_writes_nothing_and_is_told_the_one_there_is(http: httpx.Client) -> None:
    http.put("/agents/a", json={"n": 1})
    http.patch("/agents/a", json={"n": 2}, headers={"If-Match": '"1"'})
    stale = {"If-Match": '"1", "7"'}
    for refused in (
        http.patch("/agents/a", json={"n": 3}, headers=stale),
        http.patch("/agents/a", json={"checkpoint": {"n": 3}}, headers=stale),
        http.put("/agents/a", json={"n": 3}, headers=stale),
        http.put("/agents/a", json={"n": 3}, headers={"If-None-Match": "*"}),
        http.delete("/agents/a", headers=stale),
        http.get("/agents/a", headers=stale),
    ):
        assert error(refused) == (412, "version_conflict")
        assert refused.headers["etag"] == '"2"'
        assert "version is 2" in refused.json()["error"]["message"]
    assert http.get("/agents/a").json()["n"] == 2
    absent = http.put("/agents/b", json={}, headers={"If-Match": "*"})
    assert error(absent) == (412, "version_conflict")
    assert "etag" not in absent.headers
    assert http.put("/agents/b", json={}, headers={"If-None-Match": "*"}).status_code == 201


def test_a_reader_who_knows_the_version_is_told_only_that(http: httpx.Client) -> None:
    http.put("/agents/a", json={"n": 1})
    for known in ('"1"', 'W/"1"', '"4", "1"', "*"):
        answer = http.get("/agents/a", headers={"If-None-Match": known})
        assert (answer.status_code, answer.headers["etag"], answer.content) == (304, '"1"', b"")
    assert http.get("/agents/a", headers={"If-None-Match": '"2"'}).status_code == 200


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_a_version_without_quotes_is_a_clear_error(http: httpx.Client, header: str) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = http.request(method, "/agents/a", json={}, headers={header: "7"})
        assert error(answer) == (400, "invalid_etag")
        assert answer.json()["error"]["param"] == header


def test_what_is_too_large_is_refused_and_nothing_lost(http: httpx.Client) -> None:
    http.put("/agents/a", json={"n": 1})
    kb64 = "x" * 65_536
    for refused in (
        http.patch("/agents/a", json={"n": 2, "checkpoint": kb64 + "x"}),
        http.patch("/agents/a", json={"n": 2, **{f"part-{n}": kb64 for n in range(4)}}),
        http.patch("/agents/a", json={"n": 2, **{f"field-{n}": n for n in range(64)}}),
        http.patch("/agents/a", json={"n": 2, "checkpoint": "x" * 2_000_000}),
        http.patch("/agents/a", json={"n": 2, "current_task": "x" * 5_000}),
    ):
        assert error(refused) == (413, "state_too_large")
    http.patch("/agents/a", json={"checkpoint": {"left": kb64[:40_000]}})
    assert error(http.patch("/agents/a", json={"checkpoint": {"right": kb64[:40_000]}})) == (413, "state_too_large")
    state = http.get("/agents/a").json()
    assert (state["version"], state["n"], list(state["checkpoint"])) == (2, 1, ["left"])


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"{", (400, "invalid_json")),
        (b"[1]", (400, "invalid_request")),
        (b"", (400, "invalid_json")),
        (b'{"version": 4}', (400, "reserved_field")),
        (b'{"status": "at work"}', (400, "invalid_value")),
        (b'{"a b": 1}', (400, "invalid_name")),
        (b'{"deep": ' + b"[" * 300 + b"]" * 300 + b"}", (400, "nesting_too_deep")),
        (b'{"deep": ' + b'{"a":' * 300 + b"1" + b"}" * 301, (400, "nesting_too_deep")),
    ],
)
def test_a_body_that_cannot_be_written_is_a_clear_error(
    http: httpx.Client, sent: bytes, expected: tuple[int, str]
) -> None:
    http.put("/agents/a", json={"n": 1})
    for method in ("PUT", "PATCH"):
        assert error(http.request(method, "/agents/a", content=sent)) == expected
    assert http.get("/agents/a").json()["version"] == 1


def test_a_write_in_a_session_stands_in_its_timeline(http: httpx.Client) -> None:
    session = f"session-{uuid.uuid4()}"
    named = {"X-Deja-Session": session, "X-Deja-Agent": "planner"}
    http.put("/agents/a", json={"status": "working"}, headers=named)
    http.put("/agents/a", json={"status": "working"}, headers=named)  # changes nothing
    http.patch("/agents/a", json={"status": None}, headers=named)
    http.patch("/agents/a", json={"n": 1})  # in no session
    http.delete("/agents/a", headers=named)
    told = http.get(f"/sessions/{session}/timeline").json()["events"]
    assert [(event["type"], event["target"], event["version"], event.get("status")) for event in told] == [
        ("deja.agent.created", "a", "1", "working"),
        ("deja.agent.updated", "a", "2", None),
        ("deja.agent.deleted", "a", "4", None),
    ]
    assert {event["agent"] for event in told} == {"planner"}
    assert error(http.put("/agents/a", json={}, headers={"X-Deja-Session": "a b"})) == (400, "invalid_name")
    assert http.get("/agents/a").status_code == 404


def test_names_that_end_like_routes_are_no_agents(http: httpx.Client) -> None:
    for name in ("watch", "team/watch", "team/history", "team/heartbeat", "team%2Fwatch", "a%20b", "a%2F%2Fb"):
        assert error(http.put(f"/agents/{name}", json={})) == (400, "invalid_name")
    assert http.put("/agents/watch/tower", json={}).status_code == 201
    assert http.get("/agents/watch/tower").json()["id"] == "watch/tower"
    assert http.get("/agents/watch/tower/history").json()["data"][0]["agent"] == "watch/tower"


def test_another_tenant_finds_nothing_and_changes_nothing(http: httpx.Client, other: httpx.Client) -> None:
    http.put("/agents/mine", json={"status": "working"})
    for refused in (
        other.get("/agents/mine"),
        other.patch("/agents/mine", json={"status": "idle"}),
        other.delete("/agents/mine"),
        other.post("/agents/mine/heartbeat", json={"ttl_s": 5}),
        other.get("/agents/mine/watch"),
        other.get("/agents/mine/watch?after=1-0"),
        other.get("/agents/mine/history"),
    ):
        assert error(refused) == (404, "agent_not_found")
        assert refused.json() == other.get("/agents/never-was").json()
    assert other.get("/agents").json()["data"] == []
    assert other.put("/agents/mine", json={"status": "idle"}).status_code == 201
    assert http.get("/agents/mine").json()["status"] == "working"
    (told,) = events(other, "/agents/watch?after=0-0", count=1)
    assert told[2]["changed"] == {"status": "idle"}


# ── many at once ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_hundred_concurrent_writers_lose_no_version_and_tear_no_read(deja: DejaProcess, key: str) -> None:
    """Half read, add one and write under If-Match until it holds; half patch fields that belong together, and one of their own."""
    chance = random.Random(7)
    limits = httpx.Limits(max_connections=100)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=deja.base_url, headers=headers, limits=limits, timeout=30) as http:
        await http.put("/agents/shared", json={"count": 0, "left": -1, "right": -1})
        versions: list[int] = []
        conflicts = 0

        async def add_one() -> None:
            nonlocal conflicts
            while True:
                read = await http.get("/agents/shared")
                state = read.json()
                assert state["left"] == state["right"], "a torn read"
                assert read.headers["etag"] == f'"{state["version"]}"'
                body = {"count": state["count"] + 1}
                written = await http.patch("/agents/shared", json=body, headers={"If-Match": read.headers["etag"]})
                if written.status_code == 200:
                    versions.append(written.json()["version"])
                    return
                assert error(written) == (412, "version_conflict")
                conflicts += 1
                await asyncio.sleep(chance.uniform(0, 0.5))

        async def write_blindly(n: int) -> None:
            for turn in range(2):
                value = 100 * turn + n
                body = {"left": value, "right": value, "checkpoint": {f"writer-{n}": turn}}
                written = await http.patch("/agents/shared", json=body)
                assert written.status_code == 200, written.text
                versions.append(written.json()["version"])
                assert written.json()["left"] == written.json()["right"] == value

        await asyncio.gather(*(add_one() for _ in range(50)), *(write_blindly(n) for n in range(50)))
        state = (await http.get("/agents/shared")).json()
        assert conflicts > 0
        assert sorted(versions) == list(range(2, 152))
        assert (state["version"], state["count"]) == (151, 50)
        assert state["checkpoint"] == {f"writer-{n}": 1 for n in range(50)}
        history = (await http.get("/agents/shared/history?limit=1000")).json()["data"]
        assert [told["version"] for told in history] == list(range(1, 152))


def test_a_watcher_that_reconnects_sees_every_transition(http: httpx.Client, deja: DejaProcess, key: str) -> None:
    http.put("/agents/a", json={"n": 0})
    ((last, name, state),) = events(http, "/agents/a/watch", count=1)
    assert (name, state) == ("agent.state", http.get("/agents/a").json())

    def write() -> None:
        with httpx.Client(base_url=deja.base_url, headers={"Authorization": f"Bearer {key}"}) as writer:
            for n in range(1, 101):
                writer.patch("/agents/a", json={"n": n, "twice": 2 * n})

    writing = threading.Thread(target=write)
    writing.start()
    seen: list[Any] = []
    sizes = random.Random(3)
    while len(seen) < 100:
        found = events(http, "/agents/a/watch", last_id=last, count=min(sizes.randrange(1, 20), 100 - len(seen)))
        last = found[-1][0]
        seen += [data for _, _, data in found]
    writing.join()
    assert [told["version"] for told in seen] == list(range(2, 102))
    assert [told["changed"] for told in seen] == [{"n": n, "twice": 2 * n} for n in range(1, 101)]


# ── heartbeats ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dead_agent_is_seen_as_dead_by_readers_lists_and_watchers(http: httpx.Client) -> None:
    http.put("/agents/a", json={"status": "working"})
    http.put("/agents/silent", json={"status": "working"})
    beat = http.post("/agents/a/heartbeat", json={"ttl_s": 2})
    assert (beat.status_code, beat.headers["etag"], beat.json()["alive"]) == (200, '"2"', True)
    alive = http.get("/agents/a").json()
    assert (alive["alive"], alive["alive_until"]) == (True, beat.json()["alive_until"])
    assert [agent["id"] for agent in http.get("/agents?alive=true").json()["data"]] == ["a"]
    known = {"If-None-Match": '"2"'}
    assert http.get("/agents/a", headers=known).status_code == 304
    found = events(http, "/agents/a/watch?after=0-0", count=3)
    assert [name for _, name, _ in found] == ["agent.created", "agent.alive", "agent.dead"]
    late_s = found[-1][2]["at"] - found[-1][2]["changed"]["alive_until"]
    assert 0 <= late_s < 5
    dead = http.get("/agents/a", headers=known).json()
    assert (dead["alive"], dead["version"], dead["status"]) == (False, 3, "working")
    assert [agent["id"] for agent in http.get("/agents?alive=false&status=working").json()["data"]] == ["a"]
    assert http.get("/agents/silent").json()["alive"] is None
    # One that comes back learns that it was taken for dead.
    assert error(http.patch("/agents/a", json={"status": "done"}, headers={"If-Match": '"2"'}))[0] == 412
    assert http.post("/agents/a/heartbeat", json={"ttl_s": 60}).headers["etag"] == '"4"'
    ((_, name, told),) = events(http, "/agents/a/watch", last_id=found[-1][0], count=1)
    assert (name, told["changed"]["alive"]) == ("agent.alive", True)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"ttl_s": 0}', b'{"ttl_s": 86401}', b'{"ttl_s": 5, "x": 1}', b'{"ttl_s": "x"}']
)
def test_a_heartbeat_without_a_sensible_time_is_a_clear_error(http: httpx.Client, body: bytes) -> None:
    http.put("/agents/a", json={})
    assert http.post("/agents/a/heartbeat", content=body).status_code == 400
    assert http.get("/agents/a").json()["alive"] is None


# ── lists, history, the feed ──────────────────────────────────────────────────────────────────────────────────────


def test_agents_are_listed_page_by_page_those_that_changed_last_first(http: httpx.Client) -> None:
    for n in range(7):
        http.put(f"/agents/team/{n}", json={"status": "working" if n % 2 else "5", "checkpoint": "x", "mood": "y"})
    http.post("/agents/team/3/heartbeat", json={"ttl_s": 60})
    found: list[str] = []
    cursor = None
    while True:
        page = http.get("/agents", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        found += [agent["id"] for agent in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [f"team/{n}" for n in (3, 6, 5, 4, 2, 1, 0)]
    assert page["object"] == "list"
    assert "checkpoint" not in page["data"][0]
    assert [agent["id"] for agent in http.get("/agents?status=5").json()["data"]] == [
        "team/6",
        "team/4",
        "team/2",
        "team/0",
    ]
    assert [agent["id"] for agent in http.get("/agents?status=working&alive=true").json()["data"]] == ["team/3"]
    assert http.get("/agents?alive=false").json()["data"] == []
    for wrong in ("limit=0", "limit=1001", "alive=maybe", "status=at%20work", "cursor=x"):
        assert http.get(f"/agents?{wrong}").status_code == 400


def test_a_list_and_the_feed_after_it_leave_no_gap(http: httpx.Client) -> None:
    http.put("/agents/a", json={"n": 1})
    listed = http.get("/agents").json()
    http.patch("/agents/a", json={"n": 2})
    http.put("/agents/b", json={"n": 1})
    http.delete("/agents/a")
    found = events(http, f"/agents/watch?after={listed['watch_after']}", count=3)
    assert [(name, data["agent"], data["version"]) for _, name, data in found] == [
        ("agent.updated", "a", 2),
        ("agent.created", "b", 1),
        ("agent.deleted", "a", 3),
    ]


def test_the_history_is_read_piece_by_piece(http: httpx.Client) -> None:
    http.put("/agents/a", json={"n": 0})
    for n in range(1, 5):
        http.patch("/agents/a", json={"n": n})
    first = http.get("/agents/a/history?limit=3").json()
    rest = http.get("/agents/a/history", params={"after": first["next_after"]}).json()
    assert [told["changed"]["n"] for told in first["data"] + rest["data"]] == [0, 1, 2, 3, 4]
    assert (first["gap"], rest["gap"]) == (False, False)
    end = http.get("/agents/a/history", params={"after": rest["next_after"]}).json()
    assert (end["data"], end["next_after"]) == ([], rest["next_after"])
    assert http.get("/agents/a/history?after=1-0").json()["gap"] is True
    for path in ("history", "watch"):
        assert error(http.get(f"/agents/a/{path}?after=yesterday")) == (400, "invalid_event_id")
    # Who watched an agent that is deleted sees that, too, and may go on waiting for it.
    http.delete("/agents/a")
    ((_, name, _),) = events(http, "/agents/a/watch", last_id=rest["next_after"], count=1)
    assert name == "agent.deleted"
    assert error(http.get("/agents/a/watch")) == (404, "agent_not_found")


def test_any_redis_client_reads_states_and_histories_as_documented(http: httpx.Client, deja: DejaProcess) -> None:
    agent = f"researcher-{uuid.uuid4()}"
    sent = {
        "status": "working",
        "current_task": "5",
        "checkpoint": {"step": 4, "ü": [None, 1.5]},
        "n": 7,
        "note": "a\nb",
    }
    http.put(f"/agents/{agent}", json=sent)
    http.patch(f"/agents/{agent}", json={"n": None, "ok": True})
    until = http.post(f"/agents/{agent}/heartbeat", json={"ttl_s": 60}).json()["alive_until"]

    def value(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text

    socket = str(deja.data_dir / "redis" / "redis.sock")
    with redis.Redis(unix_socket_path=socket, decode_responses=True) as plain:
        (name,) = plain.scan_iter(f"deja:v1:agent:*:{agent}", count=1000)
        tenant = name.split("{")[1].split("}")[0]
        raw = plain.hgetall(name)
        assert (raw["status"], raw["current_task"], raw["note"], raw["alive"]) == ("working", '"5"', "a\nb", "true")
        state = {field: value(text) for field, text in raw.items()}
        shown = http.get(f"/agents/{agent}").json()
        assert {field: shown[field] for field in state} == state
        assert {field: state[field] for field in ("status", "current_task", "checkpoint", "note", "ok", "version")} == {
            "status": "working",
            "current_task": "5",
            "checkpoint": sent["checkpoint"],
            "note": "a\nb",
            "ok": True,
            "version": 3,
        }
        history = plain.xrange(f"deja:v1:agent-history:{{{tenant}}}:{agent}")
        assert [(entry["type"], entry["version"]) for _, entry in history] == [
            ("agent.created", "1"),
            ("agent.updated", "2"),
            ("agent.alive", "3"),
        ]
        assert (history[1][1]["set:ok"], history[1][1]["unset:n"]) == ("true", "")
        assert [entry_id for entry_id, _ in history] == [
            told["id"] for told in http.get(f"/agents/{agent}/history").json()["data"]
        ]
        assert plain.zrevrange(f"deja:v1:agents:{{{tenant}}}", 0, -1) == [agent]
        assert plain.zrange(f"deja:v1:agents-status:{{{tenant}}}:working", 0, -1) == [agent]
        assert plain.zscore(f"deja:v1:agents-alive:{{{tenant}}}", agent) == pytest.approx(until * 1000)
        assert plain.xlen(f"deja:v1:agents-feed:{{{tenant}}}") == 3
        assert plain.zscore("deja:v1:agent-tenants", tenant) > time.time() * 1000
        assert plain.ttl(name) == -1
