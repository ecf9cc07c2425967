"""Signals over HTTP: sent by POST and WebSocket, heard by server-sent events and WebSocket."""

from __future__ import annotations

import json
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.deja_process import DejaProcess, running_deja


@pytest.fixture
def key() -> str:
    return f"sk-{uuid.uuid4()}"


@pytest.fixture
def caller(deja: DejaProcess, key: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {key}", "X-Deja-Agent": "planner"}
    with httpx.Client(base_url=deja.base_url, headers=headers, timeout=30) as client:
        yield client


def opened(deja: DejaProcess, channel: str, key: str, **options: Any) -> ClientConnection:
    url = f"ws://127.0.0.1:{deja.port}/v1/signals/{channel}"
    return connect(url, additional_headers={"Authorization": f"Bearer {key}"}, **options)


@contextmanager
def listening(caller: httpx.Client, channel: str) -> Iterator[Iterator[tuple[str, Any]]]:
    """Server-sent events of a channel as (name, data)."""
    with caller.stream("GET", f"/signals/{channel}", headers={"Accept": "text/event-stream"}) as answer:
        assert answer.status_code == 200

        def events() -> Iterator[tuple[str, Any]]:
            name = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)

        yield events()


def test_a_signal_reaches_everyone_who_listens_whichever_way(deja: DejaProcess, caller: httpx.Client, key: str) -> None:
    with listening(caller, "news/today") as events, opened(deja, "news/today", key) as ws:
        sent = caller.post("/signals/news/today", json={"n": 1}).json()
        assert sent["object"] == "signal"
        assert sent["redis_subscribers"] == 1
        name, heard = next(events)
        assert name == "signal"
        assert (heard["id"], heard["channel"], heard["agent"], heard["data"]) == (
            sent["id"],
            "news/today",
            "planner",
            {"n": 1},
        )
        assert abs(heard["at"] - time.time()) < 60
        assert json.loads(ws.recv(5)) == heard
        ws.send('["from", "a", "WebSocket"]')
        assert next(events)[1]["data"] == json.loads(ws.recv(5))["data"] == ["from", "a", "WebSocket"]


def test_a_websocket_is_told_what_was_wrong_and_stays_open(deja: DejaProcess, key: str) -> None:
    with opened(deja, "c", key) as ws:
        for wrong, code in (("{", "invalid_json"), (json.dumps("x" * 70_000), "signal_too_large")):
            ws.send(wrong)
            assert json.loads(ws.recv(5))["error"]["code"] == code
        ws.send(b"7")
        assert json.loads(ws.recv(5))["data"] == 7
        ws.ping().wait(5)
        ws.send(json.dumps("x" * 300_000))
        with pytest.raises(ConnectionClosed):
            ws.recv(5)
        assert ws.close_code == 1009


@pytest.mark.parametrize(
    ("channel", "options", "status", "code"),
    [
        ("c", {"origin": "http://evil.example"}, 403, "origin_not_allowed"),
        ("_c", {}, 400, "invalid_name"),
    ],
)
def test_a_websocket_that_may_not_be_is_refused_with_a_status(
    deja: DejaProcess, key: str, channel: str, options: dict[str, Any], status: int, code: str
) -> None:
    with pytest.raises(InvalidStatus) as caught:
        opened(deja, channel, key, **options)
    answer = caught.value.response
    assert answer.status_code == status
    assert answer.body is not None
    assert json.loads(bytes(answer.body))["error"]["code"] == code


def test_a_page_of_deja_itself_may_open_a_websocket(deja: DejaProcess, key: str) -> None:
    with opened(deja, "c", key, origin=f"http://127.0.0.1:{deja.port}") as ws:
        ws.send("1")
        assert json.loads(ws.recv(5))["data"] == 1


def test_what_is_asked_wrongly_is_said(caller: httpx.Client) -> None:
    for answer, status, code in (
        (caller.get("/signals/c"), 406, "not_acceptable"),
        (caller.post("/signals/c", content=b"{"), 400, "invalid_json"),
        (caller.post("/signals/c", json="x" * 70_000), 413, "signal_too_large"),
        (caller.post("/signals/{c}", json=1), 400, "invalid_name"),
        (caller.post("/signals/c", json=1, headers={"X-Deja-Agent": "a b"}), 400, "invalid_name"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert caller.post("/signals/nobody", json=1).json()["redis_subscribers"] == 0


def test_another_tenants_signals_are_not_heard(deja: DejaProcess, caller: httpx.Client, key: str) -> None:
    stranger = {"Authorization": "Bearer sk-stranger"}
    with opened(deja, "c", key) as ws, listening(caller, "c") as events:
        assert caller.post("/signals/c", json="theirs", headers=stranger).json()["redis_subscribers"] == 0
        caller.post("/signals/c", json="mine")
        assert next(events)[1]["data"] == json.loads(ws.recv(5))["data"] == "mine"


def test_plain_redis_hears_and_sends_as_documented(deja: DejaProcess) -> None:
    channel = f"plain-{uuid.uuid4()}"
    key = f"deja:v1:signal:{{anonymous}}:{channel}"
    with (
        httpx.Client(base_url=deja.base_url) as anonymous,
        redis.Redis(unix_socket_path=str(deja.data_dir / "redis" / "redis.sock")) as plain,
        plain.pubsub() as pubsub,
        listening(anonymous, channel) as events,
    ):
        pubsub.subscribe(key)
        pubsub.get_message(timeout=5)
        assert anonymous.post(f"/signals/{channel}", json={"n": 1}).json()["redis_subscribers"] == 2
        heard = pubsub.get_message(timeout=5)
        assert heard is not None
        assert json.loads(heard["data"]) == next(events)[1]
        plain.publish(key, "any text")
        assert next(events)[1]["data"] == "any text"


def test_a_listener_that_reads_nothing_delays_nobody_and_learns_what_it_missed(
    deja: DejaProcess, caller: httpx.Client, key: str
) -> None:
    signals, payload = 380, "x" * 60_000
    with socket.socket() as slow, listening(caller, "c") as events:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        slow.connect(("127.0.0.1", deja.port))
        slow.sendall(
            f"GET /v1/signals/c HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        )
        received = slow.recv(4096)
        assert b"200 OK" in received
        slowest = 0.0
        for n in range(signals):
            began = time.monotonic()
            caller.post("/signals/c", json=[n, payload])
            assert next(events)[1]["data"][0] == n
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 5
        slow.settimeout(10)
        tail = b""
        shown, missed = 0, 0
        while shown + missed < signals:
            tail += slow.recv(1 << 20)
            *whole, tail = tail.split(b"\n\n")
            for event in whole:
                shown += b"event: signal" in event
                if b"event: missed" in event:
                    missed += json.loads(event.rpartition(b"data: ")[2])["missed"]
        assert missed > 0
        assert shown + missed == signals


def test_listeners_end_when_deja_does() -> None:
    with running_deja(DEJA_AUTH__KEYS="sk-known", DEJA_EMBEDDER__SOURCE="hashing") as own:
        with pytest.raises(InvalidStatus) as caught:
            opened(own, "c", "sk-unknown")
        assert caught.value.response.status_code == 401
        headers = {"Authorization": "Bearer sk-known"}
        with (
            httpx.Client(base_url=own.base_url, headers=headers, timeout=30) as caller,
            opened(own, "c", "sk-known") as ws,
            listening(caller, "c") as events,
        ):
            assert own.process is not None
            began = time.monotonic()
            own.process.send_signal(signal.SIGTERM)
            assert list(events) == []
            with pytest.raises(ConnectionClosed):
                ws.recv(10)
            assert ws.close_code in (1001, 1012)
            assert own.process.wait(20) == 0
            assert time.monotonic() - began < 8, "nobody is waited for until the time is over"
        assert "Traceback" not in own.log
