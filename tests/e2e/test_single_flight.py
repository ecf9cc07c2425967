"""Identical misses make one upstream call, and a caller who leaves takes only itself away."""

from __future__ import annotations

import asyncio
import time
import uuid

import httpx
import openai
import pytest

from tests.deja_process import DejaProcess
from tests.fake_upstream import FakeUpstream, chat, cut_after, error, sse, sse_chat


def _async_client(deja: DejaProcess) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=deja.base_url, api_key=f"sk-{uuid.uuid4()}", max_retries=0, timeout=30)


@pytest.mark.parametrize("delay_s", [0.0, 0.3], ids=["instant provider", "slow provider"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_hundred_identical_misses_make_one_call(
    deja: DejaProcess, upstream: FakeUpstream, delay_s: float, stream: bool
) -> None:
    upstream.script(chat("One answer for all.", after_s=delay_s))

    async def ask(client: openai.AsyncOpenAI) -> tuple[str, str]:
        raw = await client.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": "What is single flight?"}], stream=stream
        )
        parsed = raw.parse()
        if stream:
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in parsed if chunk.choices])  # type: ignore[union-attr]
        else:
            text = parsed.choices[0].message.content  # type: ignore[union-attr]
        return text, raw.headers["cache-status"]

    async with _async_client(deja) as client:
        answers = await asyncio.gather(*(ask(client) for _ in range(100)))
    assert {text for text, _ in answers} == {"One answer for all."}
    assert len(upstream.requests) == 1
    assert all(status.startswith(("deja; hit", "deja; fwd=miss")) for _, status in answers)


async def test_an_upstream_error_reaches_every_follower(deja: DejaProcess, upstream: FakeUpstream) -> None:
    slow_error = error(503)

    async def behave(exchange: object) -> None:
        await asyncio.sleep(0.3)
        await slow_error(exchange)  # type: ignore[arg-type]

    upstream.script(behave)  # type: ignore[arg-type]
    async with _async_client(deja) as client:
        calls = [
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Will this fail?"}])
            for _ in range(5)
        ]
        failures = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(failure) for failure in failures] == [openai.InternalServerError] * 5
    assert len(upstream.requests) == 1


async def test_no_store_neither_leads_nor_joins(deja: DejaProcess, upstream: FakeUpstream) -> None:
    upstream.script(chat("Mine alone.", after_s=0.3))
    async with _async_client(deja) as client:
        await asyncio.gather(
            *(
                client.chat.completions.create(
                    model="m",
                    messages=[{"role": "user", "content": "Is this kept?"}],
                    extra_headers={"Cache-Control": "no-store"},
                )
                for _ in range(3)
            )
        )
    assert len(upstream.requests) == 3


async def test_a_caller_who_leaves_cancels_the_upstream_call(deja: DejaProcess, upstream: FakeUpstream) -> None:
    upstream.script(chat("Too late.", after_s=20))
    async with _async_client(deja) as client:
        call = asyncio.ensure_future(_ask_plainly(client, "Will you wait?"))  # noqa: TID251
        await upstream.seen(lambda fake: len(fake.requests) == 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await upstream.seen(lambda fake: fake.disconnects == 1)


async def test_a_caller_who_leaves_mid_stream_cancels_the_upstream_call(
    deja: DejaProcess, upstream: FakeUpstream
) -> None:
    upstream.script(sse(sse_chat("one two three four five six seven eight"), between_s=0.5))
    async with httpx.AsyncClient(base_url=deja.base_url) as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "Count for me"}], "stream": True}
        async with client.stream("POST", "/chat/completions", json=body) as answer:
            async for _ in answer.aiter_raw():
                break
    await upstream.seen(lambda fake: fake.disconnects == 1)


async def test_a_follower_keeps_the_call_alive_when_the_leader_leaves(
    deja: DejaProcess, upstream: FakeUpstream
) -> None:
    upstream.script(chat("For whoever stayed.", after_s=1.0))
    async with _async_client(deja) as client:
        leader = asyncio.ensure_future(_ask_plainly(client, "Who stays?"))  # noqa: TID251
        await upstream.seen(lambda fake: len(fake.requests) == 1)
        follower = asyncio.ensure_future(_ask_plainly(client, "Who stays?"))  # noqa: TID251
        await asyncio.sleep(0.3)
        leader.cancel()
        assert await follower == "For whoever stayed."
    assert upstream.disconnects == 0
    assert len(upstream.requests) == 1


async def test_a_stream_arrives_as_it_is_sent(deja: DejaProcess, upstream: FakeUpstream) -> None:
    pieces = sse_chat("alpha beta gamma")
    upstream.script(sse(pieces, between_s=0.2))
    arrived: list[tuple[float, bytes]] = []
    async with httpx.AsyncClient(base_url=deja.base_url) as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "Name Greek letters"}], "stream": True}
        started = time.monotonic()
        async with client.stream("POST", "/chat/completions", json=body) as answer:
            async for piece in answer.aiter_raw():
                arrived.append((time.monotonic() - started, piece))
    assert b"".join(piece for _, piece in arrived) == b"".join(pieces)
    assert arrived[-1][0] - arrived[0][0] > 0.2 * (len(pieces) - 2)


async def test_a_stream_that_breaks_off_ends_with_an_error_event(deja: DejaProcess, upstream: FakeUpstream) -> None:
    upstream.script(cut_after(sse_chat("never finished")[:2]))
    async with _async_client(deja) as client:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Break off, please?"}], stream=True
        )
        with pytest.raises(openai.APIError) as caught:
            async for _ in stream:
                pass
    assert "broke off" in str(caught.value)


async def test_a_broken_stream_is_never_stored(deja: DejaProcess, upstream: FakeUpstream) -> None:
    upstream.script(cut_after(sse_chat("never finished")[:3]), chat("The whole answer."))
    async with _async_client(deja) as client:
        for _ in range(2):
            try:
                stream = await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "Whole or nothing?"}], stream=True
                )
                text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            except openai.APIError:
                continue
    assert text == "The whole answer."
    assert len(upstream.requests) == 2


async def _ask_plainly(client: openai.AsyncOpenAI, question: str) -> str:
    answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": question}])
    return answer.choices[0].message.content or ""
