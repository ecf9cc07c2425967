"""Sessions as agents' short-term memory, through `deja serve`: messages, budget, data, lists; read with plain redis-py, too."""

from __future__ import annotations

import concurrent.futures
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
import redis

from proxy.core import keys
from tests.deja_process import DejaProcess
from tests.e2e.asking import ask
from tests.fake_upstream import FakeUpstream


@pytest.fixture
def http(deja: DejaProcess) -> Iterator[httpx.Client]:
    """A tenant of its own."""
    with httpx.Client(
        base_url=deja.base_url, headers={"Authorization": f"Bearer sk-{uuid.uuid4()}"}, timeout=20
    ) as client:
        yield client


@pytest.fixture
def stranger(deja: DejaProcess) -> Iterator[httpx.Client]:
    """Another tenant."""
    with httpx.Client(base_url=deja.base_url, headers={"Authorization": f"Bearer sk-{uuid.uuid4()}"}) as client:
        yield client


@pytest.fixture
def plain(deja: DejaProcess) -> Iterator[redis.Redis]:
    """redis-py, as anybody would use it."""
    with redis.Redis(unix_socket_path=str(deja.data_dir / "redis" / "redis.sock"), decode_responses=True) as client:
        yield client


def said(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def append(http: httpx.Client, session: str, *messages: dict[str, Any], **more: Any) -> httpx.Response:
    return http.post(f"/sessions/{session}/messages", json={"messages": list(messages), **more})


def contents(http: httpx.Client, session: str, **params: Any) -> list[Any]:
    answer = http.get(f"/sessions/{session}/messages", params=params)
    assert answer.status_code == 200, answer.text
    return [turn["message"]["content"] for turn in answer.json()["data"]]


# --- messages ---------------------------------------------------------------------------------------------------------------------


def test_messages_come_back_in_order_as_they_were_sent(http: httpx.Client) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"in": "Lima"}'}}
    messages = [
        said("system", "Be brief."),
        said("user", [{"type": "text", "text": "Weather in Lima?"}]),
        said("assistant", None, tool_calls=[call]),
        said("tool", "sunny", tool_call_id="call_1"),
        said("assistant", "Sunny.", a_field_of_tomorrow={"big": 12345678901234567890, "empty": [], "none": None}),
    ]
    answer = append(http, "trip", *messages, agent="planner")
    assert answer.status_code == 201
    found = http.get("/sessions/trip/messages").json()
    assert [turn["message"] for turn in found["data"]] == messages
    assert [turn["id"] for turn in found["data"]] == answer.json()["ids"]
    assert {turn["agent"] for turn in found["data"]} == {"planner"}
    assert found["tokens"] == found["in_session"]["tokens"] == answer.json()["tokens"] > 20


def test_what_is_recorded_and_what_is_appended_stand_in_one_session(
    http: httpx.Client, deja: DejaProcess, upstream: FakeUpstream
) -> None:
    append(http, "mixed", said("system", "Be brief."))
    with openai.OpenAI(base_url=deja.base_url, api_key=http.headers["authorization"].removeprefix("Bearer ")) as client:
        text = ask(client, "What is the capital of Peru?", headers={"X-Deja-Session": "mixed"}, user="ann").text
    give_up_at = time.monotonic() + 5
    while len(contents(http, "mixed")) < 3:
        assert time.monotonic() < give_up_at
    assert contents(http, "mixed") == ["Be brief.", "What is the capital of Peru?", text]
    about = http.get("/sessions/mixed").json()
    assert (about["user"], about["messages"]) == ("ann", 3)
    assert [turn["user"] for turn in about["turns"]] == [None, "ann", "ann"]


def test_pages_go_on_from_an_id(http: httpx.Client) -> None:
    append(http, "long", *(said("user", f"{at}") for at in range(25)))
    seen, after = [], "0-0"
    while True:
        page = http.get("/sessions/long/messages", params={"after": after, "limit": 10}).json()
        seen += [turn["message"]["content"] for turn in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert seen == [f"{at}" for at in range(25)]
    assert contents(http, "long", limit=3) == ["22", "23", "24"]


def test_a_repetition_under_the_same_key_changes_nothing_and_another_message_is_refused(http: httpx.Client) -> None:
    first = append(http, "idem", said("user", "once"), idempotency_key="k-1")
    again = append(http, "idem", said("user", "once"), idempotency_key="k-1")
    by_header = http.post(
        "/sessions/idem/messages", json={"messages": [said("user", "once")]}, headers={"Idempotency-Key": "k-1"}
    )
    assert (first.status_code, again.status_code, by_header.status_code) == (201, 200, 200)
    assert first.json()["ids"] == again.json()["ids"] == by_header.json()["ids"]
    other = append(http, "idem", said("user", "twice"), idempotency_key="k-1")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert contents(http, "idem") == ["once"]


def test_a_bad_message_among_good_ones_leaves_the_session_as_it_was(http: httpx.Client) -> None:
    append(http, "whole", said("user", "there"))
    for bad, param in [
        (said("robot", "x"), "messages.1.role"),
        (said("user", None), "messages.1.content"),
        (said("tool", "x"), "messages.1.tool_call_id"),
        ("text", "messages.1"),
    ]:
        answer = http.post("/sessions/whole/messages", json={"messages": [said("user", "new"), bad]})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    large = append(http, "whole", said("user", "new"), said("user", "x" * (1 << 20)))
    assert (large.status_code, large.json()["error"]["code"]) == (413, "message_too_large")
    many = append(http, "whole", *[said("user", "x")] * 101)
    assert (many.status_code, many.json()["error"]["param"]) == (400, "messages")
    assert contents(http, "whole") == ["there"]


def test_a_hundred_writers_at_once_lose_no_message_and_keep_each_ones_pair_together(http: httpx.Client) -> None:
    def write(number: int) -> int:
        return append(http, "crowd", said("user", f"{number} asks"), said("assistant", f"{number} hears")).status_code

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert set(pool.map(write, range(100))) == {201}
    found = contents(http, "crowd", limit=1000)
    assert len(found) == 200
    for asked, heard in zip(found[::2], found[1::2], strict=True):
        assert asked.split()[0] == heard.split()[0]
    assert http.get("/sessions/crowd").json()["messages"] == 200


# --- the budget -------------------------------------------------------------------------------------------------------------------


def test_the_share_of_the_window_is_told_and_the_newest_messages_fit(http: httpx.Client) -> None:
    assert http.put("/sessions/budget", json={"window_tokens": 1000}).status_code == 201
    append(http, "budget", said("system", "Rules stay."), *(said("user", "word " * 90) for _ in range(5)))
    about = http.get("/sessions/budget").json()
    assert about["window_used"] == pytest.approx(about["tokens"] / 1000, abs=1e-4)
    fitting = http.get("/sessions/budget/messages", params={"max_tokens": 250}).json()
    assert [turn["role"] for turn in fitting["data"]] == ["system", "user", "user"]
    assert fitting["tokens"] <= 250
    assert fitting["omitted"] == 3
    too_small = http.get("/sessions/budget/messages", params={"max_tokens": 2})
    assert (too_small.status_code, too_small.json()["error"]["code"]) == (400, "window_too_small")


# --- data -------------------------------------------------------------------------------------------------------------------------


def test_data_are_merged_and_keep_their_numbers(http: httpx.Client) -> None:
    first = http.put("/sessions/d/data", json={"n": 9007199254740993, "list": [], "in": {"a": 1, "b": 2}})
    assert first.headers["etag"] == '"1"'
    merged = http.patch("/sessions/d/data", json={"in": {"a": None, "c": {}}, "n": None, "x": 1.5})
    assert merged.json()["data"] == {"list": [], "in": {"b": 2, "c": {}}, "x": 1.5}
    assert merged.headers["etag"] == '"2"'
    found = http.get("/sessions/d/data")
    assert (found.headers["etag"], found.json()["data"]) == ('"2"', merged.json()["data"])
    assert http.get("/sessions/d/data", headers={"If-None-Match": '"2"'}).status_code == 304


def test_a_writer_of_an_older_version_is_told_so(http: httpx.Client) -> None:
    http.put("/sessions/v/data", json={"a": 1})
    http.patch("/sessions/v/data", json={"a": 2}, headers={"If-Match": '"1"'}).raise_for_status()
    stale = http.patch("/sessions/v/data", json={"a": 3}, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["error"]["code"], stale.headers["etag"]) == (412, "version_conflict", '"2"')
    created = http.put("/sessions/v/data", json={}, headers={"If-None-Match": "*"})
    assert created.status_code == 412
    assert http.get("/sessions/v/data").json()["data"] == {"a": 2}


def test_a_hundred_mergers_at_once_lose_no_member(http: httpx.Client) -> None:
    def merge(number: int) -> int:
        return http.patch("/sessions/m/data", json={"by": {f"{number}": number}}).status_code

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert set(pool.map(merge, range(100))) == {200}
    found = http.get("/sessions/m/data").json()
    assert found["version"] == 100
    assert found["data"]["by"] == {f"{number}": number for number in range(100)}


def test_data_that_are_too_large_or_no_object_change_nothing(http: httpx.Client) -> None:
    http.put("/sessions/o/data", json={"a": 1})
    large = http.patch("/sessions/o/data", json={"b": "x" * 300_000})
    assert (large.status_code, large.json()["error"]["code"]) == (413, "data_too_large")
    assert http.put("/sessions/o/data", json=[1]).status_code == 400
    assert http.patch("/sessions/o/data", json=[1]).status_code == 400
    assert http.get("/sessions/o/data").json()["data"] == {"a": 1}


# --- lists, time to live ----------------------------------------------------------------------------------------------------------


def test_sessions_are_listed_newest_first_by_user_and_by_agent(http: httpx.Client) -> None:
    for at, (user, agent) in enumerate([("ann", "a"), ("bob", "a"), ("ann", "b")]):
        append(http, f"s{at}", said("user", "hi"), user=user, agent=agent)
    http.put("/sessions/s3", json={"user": "ann"})

    def names(**params: Any) -> list[str]:
        return [about["id"] for about in http.get("/sessions", params=params).json()["data"]]

    assert names() == ["s3", "s2", "s1", "s0"]
    assert names(user="ann") == ["s3", "s2", "s0"]
    assert names(agent="a") == ["s1", "s0"]
    assert names(user="ann", agent="a") == ["s0"]
    append(http, "s0", said("user", "again"))
    assert names(user="ann") == ["s0", "s3", "s2"]
    first = http.get("/sessions", params={"limit": 3}).json()
    rest = http.get("/sessions", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [about["id"] for about in first["data"] + rest["data"]] == ["s0", "s3", "s2", "s1"]
    assert rest["next_cursor"] is None


def test_a_session_lives_as_long_as_it_says_after_each_use_and_leaves_the_list_with_it(
    http: httpx.Client, plain: redis.Redis
) -> None:
    http.put("/sessions/short", json={"ttl_s": 2, "user": "ann"})
    http.put("/sessions/short/data", json={"a": 1})
    append(http, "short", said("user", "hi"))
    tenant = next(
        plain.hget(key, "tenant")
        for key in plain.scan_iter("deja:v1:session:*:meta")
        if plain.hget(key, "session") == "short"
    )
    time.sleep(1.2)
    assert http.get("/sessions/short").json()["ttl_s"] == 2  # a use
    time.sleep(1.2)
    assert http.get("/sessions", params={"user": "ann"}).json()["data"][0]["id"] == "short"  # no use
    time.sleep(1.2)
    assert http.get("/sessions/short").status_code == 404
    assert http.get("/sessions/short/data").status_code == 404
    assert http.get("/sessions").json()["data"] == []
    assert list(plain.scan_iter(f"deja:v1:session:{{{keys.session_tag(tenant, 'short')}}}:*")) == []


# --- tenants, plain clients -------------------------------------------------------------------------------------------------------


def test_another_tenants_session_looks_like_none(http: httpx.Client, stranger: httpx.Client) -> None:
    append(http, "mine", said("user", "secret"), user="ann")
    http.put("/sessions/mine/data", json={"secret": 1})
    for method, path in [
        ("GET", "/sessions/mine"),
        ("GET", "/sessions/mine/messages"),
        ("GET", "/sessions/mine/messages?max_tokens=100"),
        ("GET", "/sessions/mine/data"),
    ]:
        theirs, nobodys = (stranger.request(method, path.replace("mine", name)) for name in ("mine", "never-was"))
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.json() == nobodys.json()
    assert stranger.get("/sessions", params={"user": "ann"}).json()["data"] == []
    # What they write and erase under the same name is theirs.
    assert append(stranger, "mine", said("user", "theirs")).json()["messages"] == 1
    assert stranger.put("/sessions/mine/data", json={}, headers={"If-None-Match": "*"}).status_code == 200
    assert stranger.put("/sessions/mine", json={"ttl_s": 5}).json()["ttl_s"] == 5
    assert stranger.patch("/sessions/mine/data", json={"x": 1}).json()["data"] == {"x": 1}
    assert stranger.delete("/sessions/mine").json()["erased"]["messages"] == 1
    assert stranger.delete("/users/ann").json()["erased"]["sessions"] == 0
    assert contents(http, "mine") == ["secret"]
    assert http.get("/sessions/mine/data").json()["data"] == {"secret": 1}


def test_plain_redis_reads_a_session_as_documented(http: httpx.Client, plain: redis.Redis) -> None:
    name = f"plain-{uuid.uuid4()}"
    append(http, name, said("user", "hello"), user="ann", agent="a")
    http.put(f"/sessions/{name}/data", json={"a": 1})
    tenant = next(
        meta["tenant"]
        for key in plain.scan_iter("deja:v1:session:*:meta")
        if (meta := plain.hgetall(key))["session"] == name
    )
    tag = keys.session_tag(tenant, name)
    ((_, turn),) = plain.xrange(f"deja:v1:session:{{{tag}}}:turns")
    assert set(turn) == {"role", "message", "tokens", "request_id", "agent", "user", "at"}
    assert plain.hget(f"deja:v1:session:{{{tag}}}:data", "data") == '{"a":1}'
    meta = plain.hgetall(f"deja:v1:session:{{{tag}}}:meta")
    assert (meta["turns"], meta["user"], meta["tokens"]) == ("1", "ann", turn["tokens"])
    assert plain.zrevrange(f"deja:v1:sessions:{{{tenant}}}:active", 0, -1) == [name]
    assert plain.ttl(f"deja:v1:session:{{{tag}}}:turns") > 86_000


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("PUT", "/sessions/x/data/data", {}, "session_id"),
        ("POST", "/sessions/-x/messages", {"messages": [{"role": "user", "content": "x"}]}, "session_id"),
        ("PUT", "/sessions/x", {"ttl_s": 0}, "ttl_s"),
        ("PUT", "/sessions/x", {"tll_s": 5}, "tll_s"),
        ("PUT", "/sessions/x", {"user": "a\nb"}, "user"),
        ("GET", "/sessions?cursor=abc", None, "cursor"),
        ("GET", "/sessions?agent=-", None, "agent"),
        ("GET", "/sessions/x/messages?after=1-0&max_tokens=5", None, "after"),
        ("DELETE", "/users/%00", None, "user"),
    ],
)
def test_what_cannot_be_is_said_with_the_field(
    http: httpx.Client, method: str, path: str, body: Any, param: str
) -> None:
    answer = http.request(method, path, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
