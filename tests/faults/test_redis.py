"""Redis killed, stopped, full, flushed, absent, restarted: what the caller sees."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from typing import Any

import httpx
import redis

from tests.deja_process import DejaProcess, running_deja
from tests.fake_upstream import FakeUpstream
from tests.redis_server import private_server


def ask(
    deja: DejaProcess, question: str, *, key: str = "sk-faults", client: httpx.Client | None = None
) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": question}]}
    headers = {"Authorization": f"Bearer {key}"}
    return (client or httpx).post(f"{deja.base_url}/chat/completions", json=body, headers=headers, timeout=20)


def status(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["cache-status"]


def until_hit(deja: DejaProcess, question: str, *, timeout_s: float = 10.0) -> None:
    """Ask until the answer is a hit."""
    give_up_at = time.monotonic() + timeout_s
    while "; hit" not in status(ask(deja, question)):
        assert time.monotonic() < give_up_at, "hits never returned"
        time.sleep(0.1)


def test_redis_killed_under_load_fails_no_request_and_hits_return(provider: FakeUpstream) -> None:
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url) as deja:
        questions = [f"What is the boiling point of element number {number}?" for number in range(20)]
        for question in questions:
            ask(deja, question)
        stop = threading.Event()
        codes: list[int] = []

        def load() -> None:
            with httpx.Client() as client:
                while not stop.is_set():
                    codes.append(ask(deja, questions[len(codes) % 20], client=client).status_code)

        workers = [threading.Thread(target=load) for _ in range(4)]
        for worker in workers:
            worker.start()
        time.sleep(0.3)
        os.kill(deja.redis_pid(), signal.SIGKILL)
        time.sleep(2.0)
        until_hit(deja, questions[0])
        stop.set()
        for worker in workers:
            worker.join()
        assert set(codes) == {200}
        assert len(codes) > 50


def test_a_stopped_redis_costs_the_deadline_and_no_more(provider: FakeUpstream) -> None:
    with (
        private_server() as server,
        running_deja(
            DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_REDIS__URL=server.url, DEJA_REDIS__DEADLINE_MS="100"
        ) as deja,
    ):
        ask(deja, "How deep is the ocean?")
        assert "; hit" in status(ask(deja, "How deep is the ocean?"))
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            took = []
            for number in range(12):
                started = time.monotonic()
                assert status(ask(deja, f"How deep is lake {number}?")) == "deja; fwd=bypass; detail=redis-unavailable"
                took.append(time.monotonic() - started)
            # Three deadlines until the breaker opens, then no waiting at all; generous for a busy machine.
            assert max(took) < 1.0
            assert sorted(took)[6] < 0.1
        finally:
            os.kill(server.pid, signal.SIGCONT)
        until_hit(deja, "How deep is the ocean?")


def test_deja_starts_and_serves_without_redis_and_hits_begin_when_it_comes(
    provider: FakeUpstream, tmp_path: Any
) -> None:
    with private_server() as server:
        url = server.url
        server.stop()
        with running_deja(until="serving", DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_REDIS__URL=url) as deja:
            assert status(ask(deja, "Is anybody there?")) == "deja; fwd=bypass; detail=redis-unavailable"
            ready = httpx.get(f"{deja.root}/ready")
            assert ready.status_code == 200
            assert ready.json()["status"] == "degraded"
            assert ready.json()["parts"]["redis"]["status"] == "degraded"


def test_a_flushed_redis_is_rebuilt_by_itself(provider: FakeUpstream) -> None:
    with (
        private_server() as server,
        running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_REDIS__URL=server.url) as deja,
        redis.Redis.from_url(server.url) as plain,
    ):
        ask(deja, "How do I reset my password?")
        plain.flushall()
        first = ask(deja, "How can I reset my password?")
        assert status(first).startswith("deja; fwd=bypass; stored; detail=index-loading")
        deja.wait_until_whole()
        give_up_at = time.monotonic() + 10
        while "detail=semantic" not in status(ask(deja, "How do I reset my password?", key="sk-faults")):
            assert time.monotonic() < give_up_at
            time.sleep(0.1)


def test_a_full_redis_serves_hits_and_says_what_it_could_not_store(provider: FakeUpstream) -> None:
    with (
        private_server() as server,
        running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_REDIS__URL=server.url) as deja,
        redis.Redis.from_url(server.url) as plain,
    ):
        ask(deja, "How tall is the Eiffel tower?")
        ask(deja, "How do I reset my password?")
        plain.config_set("maxmemory-policy", "noeviction")
        plain.config_set("maxmemory", "1mb")
        assert "; hit" in status(ask(deja, "How tall is the Eiffel tower?"))
        assert "detail=semantic" in status(ask(deja, "How can I reset my password?"))
        refused = ask(deja, "How tall is the Empire State Building?")
        assert status(refused).startswith("deja; fwd=miss")
        assert refused.headers["x-deja-not-stored"] == "store-full"


def test_kill_dash_nine_of_deja_keeps_the_cache(provider: FakeUpstream) -> None:
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url) as deja:
        ask(deja, "How do I reset my password?")
        time.sleep(1.2)  # the append-only file is flushed every second
        deja.kill()
        deja.start()
        assert "detail=exact" in status(ask(deja, "How do I reset my password?"))
        assert "detail=semantic" in status(ask(deja, "How can I reset my password?"))


def test_stopping_deja_leaves_no_process_behind(provider: FakeUpstream) -> None:
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url) as deja:
        redis_pid = deja.redis_pid()
        assert deja.stop() == 0
        assert not os.path.exists(f"/proc/{redis_pid}")  # noqa: PTH110


def test_an_answer_of_another_upstream_is_never_served() -> None:
    with FakeUpstream() as one, FakeUpstream() as other, private_server() as server:
        key = f"sk-{uuid.uuid4()}"
        secret = {"DEJA_REDIS__URL": server.url, "DEJA_SECRET": "shared-by-both"}
        with running_deja(DEJA_UPSTREAM__BASE_URL=one.base_url, **secret) as deja:
            ask(deja, "Who answers here?", key=key)
        with running_deja(DEJA_UPSTREAM__BASE_URL=other.base_url, **secret) as deja:
            assert "; hit" not in status(ask(deja, "Who answers here?", key=key))
        with running_deja(DEJA_UPSTREAM__BASE_URL=one.base_url, **secret) as deja:  # and the first is found again
            assert "; hit" in status(ask(deja, "Who answers here?", key=key))


def test_an_embedder_that_fails_leaves_the_exact_tier(provider: FakeUpstream) -> None:
    settings = {"DEJA_EMBEDDER__SOURCE": "http://127.0.0.1:9/v1", "DEJA_EMBEDDER__MODEL": "absent"}
    with running_deja(until="serving", DEJA_UPSTREAM__BASE_URL=provider.base_url, **settings) as deja:
        first = status(ask(deja, "Does it still work?"))
        assert first == "deja; fwd=miss; stored; detail=embedder-unavailable"
        assert "detail=exact" in status(ask(deja, "Does it still work?"))


def test_a_provider_that_hangs_is_504_and_a_stream_that_falls_silent_ends_with_an_error_event(
    provider: FakeUpstream,
) -> None:
    from tests.fake_upstream import hang, hang_after, sse_chat

    spoken = sse_chat("some words")[:2]
    provider.script(hang(), hang_after(spoken))
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_UPSTREAM__READ_TIMEOUT_S="0.5") as deja:
        hung = ask(deja, "How long will you take?")
        body = {"model": "m", "messages": [{"role": "user", "content": "Speak"}], "stream": True}
        silent = httpx.post(f"{deja.base_url}/chat/completions", json=body, timeout=20)
    assert hung.status_code == 504
    assert hung.json()["error"]["code"] == "upstream_timeout"
    assert silent.content.startswith(b"".join(spoken))
    assert b'"code":"upstream_broken"' in silent.content
    assert b"[DONE]" not in silent.content


def test_a_provider_that_is_not_there_is_502() -> None:
    with running_deja(DEJA_UPSTREAM__BASE_URL="http://127.0.0.1:9/v1") as deja:
        answer = ask(deja, "Anyone?")
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_unreachable"
