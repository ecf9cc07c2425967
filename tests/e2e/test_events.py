"""Events over HTTP, as callers append, read, follow and share them."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis

from tests.deja_process import DejaProcess


@pytest.fixture
def new_caller(deja: DejaProcess) -> Iterator[Callable[[], httpx.Client]]:
    """Makes HTTP clients, each a tenant of its own."""
    made: list[httpx.Client] = []

    def make() -> httpx.Client:
        client = httpx.Client(
            base_url=deja.base_url, headers={"Authorization": f"Bearer sk-{uuid.uuid4()}"}, timeout=30
        )
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def caller(new_caller: Callable[[], httpx.Client]) -> httpx.Client:
    return new_caller()


def numbered(first: int, count: int) -> list[dict[str, Any]]:
    return [{"type": "n", "data": n} for n in range(first, first + count)]


def error_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


def followed(answer: httpx.Response, count: int) -> list[tuple[str, Any]]:
    """The first `count` events of a tail: id and data."""
    found: list[tuple[str, Any]] = []
    event_id = ""
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            event_id = value
        elif name == "data":
            found.append((event_id, json.loads(value).get("data")))
            if len(found) == count:
                break
    return found


# ── appending and reading ─────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_appended_is_read_as_it_was_sent(caller: httpx.Client) -> None:
    event = {
        "specversion": "1.0",
        "id": "a-1",
        "source": "/shop",
        "type": "order.paid",
        "subject": "7",
        "data": {"eur": 9.5},
    }
    answer = caller.post(
        "/events", content=json.dumps(event), headers={"Content-Type": "application/cloudevents+json; charset=utf-8"}
    )
    assert answer.status_code == 201
    (event_id,) = answer.json()["event_ids"]
    read = caller.get("/events").json()
    assert read["next_after"] == event_id
    assert not read["has_more"]
    (shown,) = read["data"]
    assert abs(shown.pop("appended_at") - time.time()) < 60
    assert shown == event | {"event_id": event_id}


def test_headers_name_who_appends(caller: httpx.Client) -> None:
    caller.post("/events", json={"type": "a"}, headers={"X-Deja-Agent": "planner", "X-Deja-Session": "trip-42"})
    (shown,) = caller.get("/events").json()["data"]
    assert (shown["agent"], shown["session"], shown["source"]) == ("planner", "trip-42", "/agents/planner")
    bad = caller.post("/events", json={"type": "a"}, headers={"X-Deja-Agent": "no name"})
    assert error_of(bad) == (400, "invalid_name", "X-Deja-Agent")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(
            {"json": [{"type": "a"}, {"kind": "b"}]}, (400, "invalid_event", "events[1].type"), id="a bad one"
        ),
        pytest.param({"json": [{"type": "a"}] * 1001}, (400, "batch_too_large", "body"), id="too many"),
        pytest.param({"json": {"type": "a", "data": "x" * 300_000}}, (413, "event_too_large", "events[0]"), id="large"),
        pytest.param({"content": b"x" * 11_000_000}, (413, "request_too_large", None), id="a large body"),
        pytest.param({"content": b"{"}, (400, "invalid_json", "body"), id="no JSON"),
        pytest.param(
            {"json": {"x": 1}, "headers": {"ce-type": "a"}}, (415, "unsupported_media_type", "body"), id="binary"
        ),
        pytest.param(
            {"json": {"type": "a"}, "params": {"stream": "a b"}}, (400, "invalid_name", "stream"), id="a bad name"
        ),
    ],
)
def test_a_batch_with_anything_wrong_appends_nothing(
    caller: httpx.Client, request_: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    assert error_of(caller.post("/events", **request_)) == expected
    assert caller.get("/events").json()["data"] == []


def test_reading_pages_and_filters(caller: httpx.Client) -> None:
    sent = [{"type": f"t.{n % 2}", "agent": f"a{n % 3}", "session": "s", "data": n} for n in range(30)]
    event_ids = caller.post("/events?stream=x/y", json=sent).json()["event_ids"]

    def read(**wanted: Any) -> list[int]:
        page = caller.get("/events", params={"stream": "x/y", **wanted}).json()
        return [event["data"] for event in page["data"]]

    assert read(limit=3) == [0, 1, 2]
    assert read(after=event_ids[9], before=event_ids[13]) == [10, 11, 12]
    assert read(order="desc", limit=2) == [29, 28]
    assert read(type="t.1", agent=["a0", "a1"], limit=4) == [1, 3, 7, 9]
    assert read(type="t.*", session="other") == []
    for wrong in ({"after": "x"}, {"limit": 0}, {"order": "up"}, {"before": "1-2-3"}):
        assert caller.get("/events", params=wrong).status_code == 400


def test_another_tenant_sees_nothing_and_changes_nothing(new_caller: Callable[[], httpx.Client]) -> None:
    owner, stranger = new_caller(), new_caller()
    event_ids = owner.post("/events?stream=s", json=numbered(0, 3)).json()["event_ids"]
    owner.put("/events/groups/g?stream=s", json={"start": "beginning"})
    assert stranger.get("/events?stream=s").json()["data"] == []
    assert stranger.get("/events/streams").json()["data"] == []
    assert stranger.get("/events/groups?stream=s").json()["data"] == []
    assert error_of(stranger.get("/events/streams/s"))[:2] == (404, "stream_not_found")
    assert error_of(stranger.delete("/events/streams/s"))[:2] == (404, "stream_not_found")
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/read", {"consumer": "c"}),
        ("POST", "/ack", {"event_ids": event_ids}),
    ):
        answer = stranger.request(method, f"/events/groups/g{path}?stream=s", json=body)
        assert error_of(answer)[:2] == (404, "group_not_found"), answer.request.url
    assert stranger.post("/events/trim?stream=s", json={"max_events": 0}).json()["removed"] == 0
    stranger.put("/events/streams/s", json={"max_events": 1})
    with stranger.stream("GET", "/events/tail?stream=s&after=0-0") as tail:
        stranger.post("/events?stream=s", json={"type": "mine", "data": "mine"})
        assert followed(tail, 1)[0][1] == "mine"
    assert len(owner.get("/events?stream=s").json()["data"]) == 3
    assert owner.get("/events/groups/g?stream=s").json()["lag"] == 3
    assert owner.get("/events/streams/s").json()["max_events"] == 100_000


# ── following ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_follower_that_reconnects_again_and_again_sees_everything_once(caller: httpx.Client) -> None:
    def write() -> None:
        for n in range(0, 300, 10):
            caller.post("/events", json=numbered(n, 10))
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    found: list[tuple[str, Any]] = []
    last = "0-0"
    while len(found) < 300:
        with caller.stream("GET", "/events/tail", headers={"Last-Event-ID": last}) as tail:
            assert tail.headers["content-type"].startswith("text/event-stream")
            found += followed(tail, min(23, 300 - len(found)))
        last = found[-1][0]
    writer.join()
    assert [data for _, data in found] == list(range(300))


def test_a_follower_without_a_place_gets_what_comes_and_only_what_it_wants(caller: httpx.Client) -> None:
    caller.post("/events", json={"type": "wanted", "data": "before"})
    with caller.stream("GET", "/events?type=wanted", headers={"Accept": "text/event-stream"}) as tail:
        lines = tail.iter_lines()
        next(lines)  # connected
        time.sleep(0.2)
        caller.post("/events", json=[{"type": "other"}, {"type": "wanted", "data": "after"}])
        assert json.loads(next(line for line in lines if line.startswith("data: "))[6:])["data"] == "after"


def test_a_follower_is_told_what_was_trimmed_before_it_came_back(caller: httpx.Client) -> None:
    event_ids = caller.post("/events", json=numbered(0, 10)).json()["event_ids"]
    caller.post("/events/trim", json={"before": event_ids[5]})
    with caller.stream("GET", "/events/tail", headers={"Last-Event-ID": event_ids[1]}) as tail:
        names = (line for line in tail.iter_lines() if line.startswith("event: "))
        assert [next(names) for _ in range(2)] == ["event: gap", "event: event"]


# ── sharing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_consumers_share_and_one_that_dies_loses_nothing(caller: httpx.Client) -> None:
    made = caller.put("/events/groups/g", json={"start": "beginning"})
    assert (made.status_code, caller.put("/events/groups/g", json={}).status_code) == (201, 200)
    caller.post("/events", json=numbered(0, 20))

    def read(consumer: str, **wish: Any) -> list[dict[str, Any]]:
        answer = caller.post("/events/groups/g/read", json={"consumer": consumer, **wish})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    one, other = read("one", count=8), read("other", count=8)
    assert [event["data"] for event in one + other] == list(range(16))
    caller.post("/events/groups/g/ack", json={"event_ids": [event["event_id"] for event in one[:5]]})
    restarted = read("one", count=3, recover=True)
    assert [(event["data"], event["delivery_count"]) for event in restarted] == [(5, 2), (6, 2), (7, 2)]
    time.sleep(0.2)
    heirs = read("heir", count=100, min_idle_s=0.15)
    assert sorted(event["data"] for event in heirs) == list(range(5, 20))
    acknowledged = caller.post("/events/groups/g/ack", json={"event_ids": [event["event_id"] for event in heirs]})
    assert acknowledged.json()["acknowledged"] == 15
    about = caller.get("/events/groups/g").json()
    assert (about["lag"], about["pending"], about["missed_total"]) == (0, 0, 0)


def test_a_consumer_waits_for_the_first_event(caller: httpx.Client) -> None:
    caller.put("/events/groups/g", json={})
    later = threading.Timer(0.3, lambda: caller.post("/events", json=numbered(0, 1)))
    later.start()
    began = time.monotonic()
    answer = caller.post("/events/groups/g/read", json={"consumer": "c", "wait_s": 20})
    assert [event["data"] for event in answer.json()["data"]] == [0]
    assert time.monotonic() - began < 15
    later.join()


def test_a_consumer_that_leaves_while_it_waits_is_given_nothing(caller: httpx.Client) -> None:
    caller.put("/events/groups/g", json={})
    with pytest.raises(httpx.ReadTimeout):
        caller.post("/events/groups/g/read", json={"consumer": "gone", "wait_s": 30}, timeout=0.3)
    time.sleep(0.3)
    caller.post("/events", json=numbered(0, 1))
    time.sleep(0.3)
    about = caller.get("/events/groups/g").json()
    assert (about["pending"], about["lag"]) == (0, 1)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/events/groups/g/read", {}, (400, "invalid_request", "consumer")),
        ("/events/groups/g/read", {"consumer": "a b"}, (400, "invalid_name", "consumer")),
        ("/events/groups/g/read", {"consumer": "c", "wait_s": 61}, (400, "invalid_request", "wait_s")),
        ("/events/groups/g/read", {"consumer": "c", "typo": 1}, (400, "invalid_request", "typo")),
        ("/events/groups/g/ack", {"event_ids": []}, (400, "invalid_request", "event_ids")),
        ("/events/groups/g/ack", {"event_ids": ["x"]}, (400, "invalid_event_id", "event_ids")),
        ("/events/groups/none/read", {"consumer": "c"}, (404, "group_not_found", "group")),
        ("/events/groups/none/ack", {"event_ids": ["1-1"]}, (404, "group_not_found", "group")),
        ("/events/trim", {}, (400, "invalid_request", "body")),
        ("/events/trim", {"before": "x"}, (400, "invalid_event_id", "before")),
    ],
)
def test_what_is_asked_wrongly_is_said_by_name(
    caller: httpx.Client, path: str, body: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    caller.put("/events/groups/g", json={})
    assert error_of(caller.post(path, json=body)) == expected


# ── keeping ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stream_says_what_it_keeps_and_keeps_it(caller: httpx.Client) -> None:
    wanted = caller.put("/events/streams/s", json={"max_events": 50, "max_age_s": 60, "max_unread_events": 400})
    assert (wanted.json()["max_events"], wanted.json()["events"]) == (50, 0)
    for n in range(0, 1000, 200):
        caller.post("/events?stream=s", json=numbered(n, 200))
    give_up_at = time.monotonic() + 10
    while (about := caller.get("/events/streams/s").json())["events"] >= 150:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    assert about["last_event_id"] == caller.get("/events?stream=s&order=desc&limit=1").json()["data"][0]["event_id"]
    assert caller.get("/events/streams").json()["data"] == [{"object": "events.stream", "stream": "s"}]
    assert caller.delete("/events/streams/s").status_code == 204
    assert caller.get("/events/streams/s").status_code == 404
    assert caller.put("/events/streams/s", json={"max_events": 0}).status_code == 400


def test_a_group_holds_what_it_has_not_acknowledged_and_lets_go_when_deleted(caller: httpx.Client) -> None:
    caller.put("/events/groups/g", json={})
    caller.post("/events", json=numbered(0, 10))
    held = caller.post("/events/trim", json={"max_events": 0}).json()
    assert (held["removed"], held["left"], held["held_by"]) == (0, 10, "g")
    assert caller.delete("/events/groups/g").status_code == 204
    free = caller.post("/events/trim", json={"max_events": 3}).json()
    assert (free["removed"], free["left"], free["held_by"]) == (7, 3, None)


# ── plain Redis ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_plain_redis_reads_writes_and_consumes_as_documented(deja: DejaProcess) -> None:
    stream = f"plain-{uuid.uuid4()}"
    with (
        httpx.Client(base_url=deja.base_url) as anonymous,
        redis.Redis(unix_socket_path=str(deja.data_dir / "redis" / "redis.sock"), decode_responses=True) as plain,
    ):
        anonymous.post(f"/events?stream={stream}", json={"type": "a.b", "data": {"n": [1]}})
        key = f"deja:v1:events:{{anonymous}}:{stream}"
        ((first_id, fields),) = plain.xrange(key)
        assert json.loads(fields["data"]) == {"n": [1]}
        assert fields["type"] == "a.b"
        plain.xadd(key, {"type": "by.hand", "data": '{"n": 2}', "note": "hello"})
        shown = anonymous.get(f"/events?stream={stream}").json()["data"]
        assert (shown[0]["event_id"], shown[1]["data"], shown[1]["note"]) == (first_id, {"n": 2}, "hello")
        anonymous.put(f"/events/groups/g?stream={stream}", json={"start": "beginning"})
        assert plain.xreadgroup("g", "plain", {key: ">"}, count=1)[0][1][0][0] == first_id
        anonymous.post(f"/events/groups/g/ack?stream={stream}", json={"event_ids": [first_id]})
        assert plain.xpending(key, "g")["pending"] == 0
        assert stream in plain.smembers("deja:v1:event-streams:{anonymous}")
