"""Answers past their freshness: served while a new one is fetched, or because the provider fails."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.deja_process import DejaProcess, running_deja
from tests.fake_upstream import FakeUpstream, error

STALE_S = 2


@pytest.fixture(scope="module")
def forgiving(provider: FakeUpstream) -> Iterator[DejaProcess]:
    with running_deja(
        DEJA_UPSTREAM__BASE_URL=provider.base_url,
        DEJA_CACHE__STALE_WHILE_REVALIDATE_S=str(STALE_S),
        DEJA_CACHE__STALE_IF_ERROR_S="600",
        DEJA_CACHE__REFRESH_AHEAD="0.9",
    ) as process:
        yield process


class Caller:
    """A tenant whose answers stay fresh for a second, unless it says more."""

    def __init__(self, deja: DejaProcess) -> None:
        self._deja = deja
        self._headers = {"authorization": f"Bearer sk-{uuid.uuid4()}"}

    def ask(
        self, question: str, *, ttl_s: int = 1, stream: bool = False, cache_control: str | None = None
    ) -> httpx.Response:
        headers = self._headers | {"x-deja-ttl": str(ttl_s)}
        if cache_control is not None:
            headers["cache-control"] = cache_control
        body = {"model": "m", "messages": [{"role": "user", "content": question}], "stream": stream}
        return httpx.post(f"{self._deja.base_url}/chat/completions", json=body, headers=headers, timeout=20)


@pytest.fixture
def caller(forgiving: DejaProcess, upstream: FakeUpstream) -> Caller:
    return Caller(forgiving)


def test_a_stale_answer_is_served_at_once_and_replaced(caller: Caller, upstream: FakeUpstream) -> None:
    first = caller.ask("What is stale?")
    time.sleep(1.1)
    stale = caller.ask("What is stale?")
    assert stale.json()["choices"] == first.json()["choices"]
    assert "deja; hit; detail=exact; ttl=0;" in stale.headers["cache-status"]
    upstream.wait_for(lambda fake: len(fake.requests) == 2)
    deadline = time.monotonic() + 5
    while (new := caller.ask("What is stale?")).json()["choices"] == first.json()["choices"]:
        assert time.monotonic() < deadline
    assert "hit; detail=exact; ttl=1" in new.headers["cache-status"]
    key = 'key="'
    assert new.headers["cache-status"].partition(key)[2] != stale.headers["cache-status"].partition(key)[2]


def test_a_popular_answer_is_fetched_anew_before_it_is_stale(caller: Caller, upstream: FakeUpstream) -> None:
    first = caller.ask("What is popular?", ttl_s=20)
    time.sleep(2.1)  # the last nine tenths of its time have begun
    told = [caller.ask("What is popular?", ttl_s=20).json()["choices"] for _ in range(3)]
    assert told == [first.json()["choices"]] * 3
    upstream.wait_for(lambda fake: len(fake.requests) == 2)
    deadline = time.monotonic() + 5
    while caller.ask("What is popular?", ttl_s=20).json()["choices"] == first.json()["choices"]:
        assert time.monotonic() < deadline
    assert len(upstream.requests) == 2


def test_past_that_the_provider_is_asked_and_if_it_fails_the_stale_answer_stands_in(
    caller: Caller, upstream: FakeUpstream
) -> None:
    told = {stream: caller.ask("Who stands in?", stream=stream) for stream in (False, True)}
    assert all(answer.status_code == 200 for answer in told.values())
    upstream.script(error(503))
    time.sleep(1 + STALE_S + 0.2)
    whole, streamed = (caller.ask("Who stands in?", stream=stream) for stream in (False, True))
    assert whole.status_code == streamed.status_code == 200
    assert whole.json()["choices"] == told[False].json()["choices"]
    assert "deja; hit; detail=exact; ttl=-2;" in whole.headers["cache-status"]
    assert int(whole.headers["age"]) >= 1 + STALE_S
    assert streamed.text.rstrip().endswith("data: [DONE]")
    assert len(upstream.requests) == 3
    assert caller.ask("Who stands in?", cache_control="stale-if-error=0").status_code == 503
    assert caller.ask("Who stands in?", cache_control="max-age=1").status_code == 503
    assert caller.ask("Who stands in?", cache_control="max-age=1, stale-if-error=60").status_code == 200
