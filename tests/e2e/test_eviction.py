"""A cache over its cap gives up what saved least, everywhere at once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.deja_process import DejaProcess, running_deja
from tests.e2e.asking import Told, ask
from tests.fake_answers import saying
from tests.fake_upstream import FakeUpstream

QUESTIONS = 80
LONG = "Twenty kilobytes, so that eighty of them do not fit. " * 400


@pytest.fixture
def small(provider: FakeUpstream) -> Iterator[DejaProcess]:
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_CACHE__MAX_BYTES=str(1 << 20)) as process:
        yield process


def evicted(deja: DejaProcess) -> float:
    lines = httpx.get(f"{deja.root}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith('deja_entries_evicted_total{reason="cap"}'))


def test_what_is_asked_again_outlives_what_was_asked_once(small: DejaProcess, upstream: FakeUpstream) -> None:
    upstream.script(saying(LONG))
    key = f"sk-{uuid.uuid4()}"
    with openai.OpenAI(base_url=small.base_url, api_key=key, max_retries=0, timeout=20) as client:

        def exact(question: str) -> Told:
            return ask(client, question, headers={"x-deja-mode": "exact"})

        exact("Which one is asked again?")
        assert exact("Which one is asked again?").hit == "exact"
        for number in range(QUESTIONS):
            exact(f"What is {number:03}?")
        assert exact(f"What is {QUESTIONS - 1:03}?").hit == "exact"
        give_up_at = time.monotonic() + 30
        while not evicted(small):
            assert time.monotonic() < give_up_at, small.log
            time.sleep(0.1)
        assert exact("Which one is asked again?").hit == "exact"
        assert any(exact(f"What is {number:03}?").hit is None for number in range(QUESTIONS)), "nor is it at hand"
    assert "those that saved least for their size" in small.log
