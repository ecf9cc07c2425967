from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from proxy.errors import (
    ConfigError,
    RequestError,
    UpstreamBrokenError,
    UpstreamError,
    UpstreamTimeoutError,
)
from proxy.ports import UpstreamRequest
from proxy.upstream.openai import OpenAIUpstream, parse_base_url
from tests import fake_upstream as fakes
from tests.fake_upstream import FakeUpstream

CALL = json.dumps({"model": "fake", "messages": [{"role": "user", "content": "hi"}]}).encode()


def request(
    path: str = "/chat/completions",
    *,
    method: str = "POST",
    query: bytes = b"",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    body: bytes | AsyncIterator[bytes] = CALL,
) -> UpstreamRequest:
    return UpstreamRequest(method, path, query, headers, body)


@asynccontextmanager
async def upstream_at(
    base_url: str,
    *,
    api_key: str | None = None,
    connect_timeout_s: float = 2.0,
    read_timeout_s: float = 5.0,
    max_connections: int = 10,
    extra_headers: tuple[tuple[bytes, bytes], ...] = (),
) -> AsyncIterator[OpenAIUpstream]:
    upstream = OpenAIUpstream(
        base_url,
        api_key=api_key,
        connect_timeout_s=connect_timeout_s,
        read_timeout_s=read_timeout_s,
        max_connections=max_connections,
        extra_headers=extra_headers,
    )
    try:
        yield upstream
    finally:
        await upstream.aclose()


async def call(upstream: OpenAIUpstream, sent: UpstreamRequest | None = None) -> bytes:
    response = await upstream.send(sent or request())
    try:
        return b"".join([chunk async for chunk in response.chunks()])
    finally:
        await response.aclose()


class TestWhatTravelsUp:
    async def test_path_query_method_and_body_arrive_unaltered(self, fake_upstream: FakeUpstream) -> None:
        fake_upstream.script(fakes.answer(b"{}"))
        body = b'{"model" : "caf\xc3\xa9",  "odd": 1.0e5 }'
        async with upstream_at(fake_upstream.base_url) as upstream:
            await call(upstream, request("/files/a%2Fb%20c", method="PUT", query=b"after=x%26y&limit=2", body=body))
        (seen,) = fake_upstream.requests
        assert (seen.method, seen.target) == ("PUT", "/v1/files/a%2Fb%20c?after=x%26y&limit=2")
        assert seen.body == body

    async def test_hop_by_hop_and_deja_headers_stay_behind_and_repeated_ones_travel(
        self, fake_upstream: FakeUpstream
    ) -> None:
        headers = (
            (b"Connection", b"close, X-Only-Here"),
            (b"x-only-here", b"1"),
            (b"te", b"trailers"),
            (b"keep-alive", b"5"),
            (b"host", b"wrong.example"),
            (b"content-length", b"99999"),
            (b"expect", b"100-continue"),
            (b"X-Deja-Mode", b"off"),
            (b"openai-beta", b"a"),
            (b"openai-beta", b"b"),
            (b"content-type", b"application/json"),
        )
        async with upstream_at(fake_upstream.base_url) as upstream:
            await call(upstream, request(headers=headers))
        (seen,) = fake_upstream.requests
        assert sorted(name for name, _ in seen.headers) == [
            "accept-encoding",
            "content-length",
            "content-type",
            "host",
            "openai-beta",
            "openai-beta",
        ]
        assert seen.header("host") == fake_upstream.base_url.split("/")[2]
        assert seen.header("content-length") == str(len(CALL))
        assert seen.header("openai-beta") == "a, b"

    async def test_the_callers_credential_travels_when_no_key_is_configured(self, fake_upstream: FakeUpstream) -> None:
        async with upstream_at(fake_upstream.base_url) as upstream:
            await call(upstream, request(headers=((b"authorization", b"Bearer theirs"), (b"x-api-key", b"also"))))
        (seen,) = fake_upstream.requests
        assert (seen.header("authorization"), seen.header("x-api-key")) == ("Bearer theirs", "also")

    async def test_a_configured_key_replaces_every_credential_of_the_caller(self, fake_upstream: FakeUpstream) -> None:
        theirs = ((b"authorization", b"Bearer theirs"), (b"api-key", b"theirs"), (b"x-api-key", b"theirs"))
        async with upstream_at(fake_upstream.base_url, api_key="ours") as upstream:
            await call(upstream, request(headers=theirs))
        (seen,) = fake_upstream.requests
        assert seen.header("authorization") == "Bearer ours"
        assert "theirs" not in str(seen.headers)

    async def test_a_configured_key_goes_where_anthropics_api_looks_for_it(self, fake_upstream: FakeUpstream) -> None:
        theirs = ((b"x-api-key", b"theirs"), (b"anthropic-version", b"2023-06-01"))
        async with upstream_at(fake_upstream.base_url, api_key="ours") as upstream:
            await call(upstream, request(headers=theirs))
        (seen,) = fake_upstream.requests
        assert (seen.header("x-api-key"), seen.header("authorization")) == ("ours", None)

    async def test_configured_headers_replace_the_callers(self, fake_upstream: FakeUpstream) -> None:
        ours = ((b"openai-organization", b"org-ours"),)
        async with upstream_at(fake_upstream.base_url, extra_headers=ours) as upstream:
            await call(upstream, request(headers=((b"openai-organization", b"org-theirs"),)))
        assert fake_upstream.requests[0].header("openai-organization") == "org-ours"

    async def test_a_call_that_may_be_stored_asks_for_no_compression(self, fake_upstream: FakeUpstream) -> None:
        async with upstream_at(fake_upstream.base_url) as upstream:
            await call(upstream, request(headers=((b"accept-encoding", b"gzip, br"),)))
        assert fake_upstream.requests[0].header("accept-encoding") == "identity"

    async def test_a_body_passed_through_unread_keeps_the_callers_encodings(self, fake_upstream: FakeUpstream) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b'{"first":'
            yield b"2}"

        async with upstream_at(fake_upstream.base_url) as upstream:
            await call(upstream, request(headers=((b"accept-encoding", b"gzip, br"),), body=pieces()))
        (seen,) = fake_upstream.requests
        assert seen.header("accept-encoding") == "gzip, br"
        assert seen.body == b'{"first":2}'

    @pytest.mark.parametrize("path", ["/../admin", "/files/..", "/a/%2e%2E/b", "/a%2f..%2fb", "no-slash", "/./x"])
    async def test_a_path_may_not_climb_out_of_the_base_url(self, path: str, fake_upstream: FakeUpstream) -> None:
        async with upstream_at(fake_upstream.base_url, api_key="ours") as upstream:
            with pytest.raises(RequestError, match="segments"):
                await upstream.send(request(path))
        assert fake_upstream.requests == []

    async def test_dots_inside_a_name_are_no_climbing(self, fake_upstream: FakeUpstream) -> None:
        async with upstream_at(fake_upstream.base_url) as upstream:
            await call(upstream, request("/models/gpt-4..1", method="GET", body=b""))
        assert fake_upstream.requests[0].path == "/v1/models/gpt-4..1"


class TestWhatComesBack:
    @pytest.mark.parametrize("status", [200, 201, 400, 404, 429, 500, 503])
    async def test_any_status_is_a_normal_return_with_its_body(self, status: int, fake_upstream: FakeUpstream) -> None:
        fake_upstream.script(fakes.error(status))
        async with upstream_at(fake_upstream.base_url) as upstream:
            response = await upstream.send(request())
            body = b"".join([chunk async for chunk in response.chunks()])
        assert response.status == status
        assert json.loads(body)["error"]["message"] == f"fake error {status}"

    async def test_retry_after_and_repeated_headers_come_back_and_framing_does_not(
        self, fake_upstream: FakeUpstream
    ) -> None:
        headers = (("Retry-After", "7"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Deja-Request-Id", "forged"))
        fake_upstream.script(fakes.error(429, headers=headers))
        async with upstream_at(fake_upstream.base_url) as upstream:
            response = await upstream.send(request())
            await response.aclose()
        assert response.headers == (
            (b"content-type", b"application/json"),
            (b"retry-after", b"7"),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
        )

    async def test_a_stream_arrives_byte_for_byte_however_it_is_split(self, fake_upstream: FakeUpstream) -> None:
        pieces = fakes.split_oddly(fakes.sse_chat("Grüße aus Köln, 你好!"), size=5)
        fake_upstream.script(fakes.sse(pieces))
        async with upstream_at(fake_upstream.base_url) as upstream:
            response = await upstream.send(request())
            received = [chunk async for chunk in response.chunks()]
        assert b"".join(received) == b"".join(pieces)
        assert all(received)

    async def test_pieces_are_handed_on_before_the_next_ones_exist(self, fake_upstream: FakeUpstream) -> None:
        fake_upstream.script(fakes.hang_after([b"data: first\n\n"]))
        async with upstream_at(fake_upstream.base_url) as upstream:
            response = await upstream.send(request())
            assert await anext(response.chunks()) == b"data: first\n\n"
            await response.aclose()

    async def test_a_compressed_body_stays_compressed_and_says_so(self, fake_upstream: FakeUpstream) -> None:
        fake_upstream.script(fakes.gzipped({"answer": 42}))
        async with upstream_at(fake_upstream.base_url) as upstream:
            response = await upstream.send(request())
            body = b"".join([chunk async for chunk in response.chunks()])
        assert (b"content-encoding", b"gzip") in response.headers
        assert json.loads(gzip.decompress(body)) == {"answer": 42}

    async def test_a_redirect_is_handed_back_and_not_followed(self, fake_upstream: FakeUpstream) -> None:
        fake_upstream.script(fakes.answer(b"", status=307, headers=(("location", "http://127.0.0.1:9/elsewhere"),)))
        async with upstream_at(fake_upstream.base_url, api_key="ours") as upstream:
            response = await upstream.send(request())
            await response.aclose()
        assert response.status == 307
        assert len(fake_upstream.requests) == 1

    async def test_a_huge_answer_is_passed_in_pieces(self, fake_upstream: FakeUpstream) -> None:
        fake_upstream.script(fakes.huge(8_000_000))
        async with upstream_at(fake_upstream.base_url) as upstream:
            response = await upstream.send(request())
            sizes = [len(chunk) async for chunk in response.chunks()]
        assert sum(sizes) == 8_000_000
        assert max(sizes) <= 65_536


class TestConnections:
    async def test_one_connection_serves_call_after_call(self, fake_upstream: FakeUpstream) -> None:
        async with upstream_at(fake_upstream.base_url) as upstream:
            for _ in range(5):
                await call(upstream)
        assert fake_upstream.connections == 1

    async def test_the_connection_is_free_with_the_last_piece_even_before_aclose(
        self, fake_upstream: FakeUpstream
    ) -> None:
        async with upstream_at(fake_upstream.base_url, max_connections=1, connect_timeout_s=0.5) as upstream:
            first = await upstream.send(request())
            async for _ in first.chunks():
                pass
            await call(upstream)
            await first.aclose()
            await first.aclose()
        assert fake_upstream.connections == 1

    async def test_closing_an_unread_answer_reaches_the_provider_as_a_disconnect(
        self, fake_upstream: FakeUpstream
    ) -> None:
        fake_upstream.script(fakes.hang_after([b"data: first\n\n"]), fakes.chat())
        async with upstream_at(fake_upstream.base_url, max_connections=1) as upstream:
            response = await upstream.send(request())
            await response.aclose()
            await fake_upstream.seen(lambda fake: fake.disconnects == 1)
            await call(upstream)

    @pytest.mark.parametrize(
        "behaviour", [fakes.hang(), fakes.hang_after([b"data: 1\n\n"])], ids=["before the head", "in the body"]
    )
    async def test_cancelling_the_caller_cancels_the_call_and_frees_its_place(
        self, behaviour: fakes.Behaviour, fake_upstream: FakeUpstream
    ) -> None:
        fake_upstream.script(behaviour, fakes.chat())
        async with upstream_at(fake_upstream.base_url, max_connections=1) as upstream:
            task = asyncio.get_running_loop().create_task(call(upstream))
            await fake_upstream.seen(lambda fake: fake.in_flight == 1)
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await fake_upstream.seen(lambda fake: fake.disconnects == 1)
            await call(upstream)

    async def test_a_connection_that_the_provider_closed_while_idle_is_not_used_again(
        self, fake_upstream: FakeUpstream
    ) -> None:
        async def answer_then_leave(exchange: fakes.Exchange) -> None:
            await fakes.chat()(exchange)
            exchange.writer.close()

        fake_upstream.script(answer_then_leave, fakes.chat())
        async with upstream_at(fake_upstream.base_url) as upstream:
            await call(upstream)
            await asyncio.sleep(0.05)
            await call(upstream)
        assert fake_upstream.connections == 2

    async def test_the_environments_proxy_is_used_for_others_and_never_for_loopback(
        self, fake_upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", fake_upstream.base_url.removesuffix("/v1"))
        monkeypatch.setenv("http_proxy", fake_upstream.base_url.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with upstream_at("http://provider.invalid/v1") as upstream:
            await call(upstream)
        async with upstream_at(fake_upstream.base_url) as upstream:
            await call(upstream)
        targets = [seen.target for seen in fake_upstream.requests]
        assert targets == ["http://provider.invalid/v1/chat/completions", "/v1/chat/completions"]


class TestWhenItFails:
    @pytest.fixture
    def dead_port(self) -> Iterator[int]:
        with socket.socket() as bound:  # bound and not listening: nobody else gets it, and it refuses
            bound.bind(("127.0.0.1", 0))
            yield bound.getsockname()[1]

    async def test_a_refused_connection_names_the_host_and_no_credential(self, dead_port: int) -> None:
        async with upstream_at(f"http://127.0.0.1:{dead_port}/v1", api_key="sk-secret") as upstream:
            with pytest.raises(UpstreamError, match=f"127.0.0.1:{dead_port}") as caught:
                await upstream.send(request(headers=((b"authorization", b"Bearer sk-theirs"),)))
        assert not isinstance(caught.value, UpstreamTimeoutError)
        assert caught.value.__cause__ is not None
        assert "sk-" not in str(caught.value)

    async def test_no_head_in_time_is_a_timeout(self, fake_upstream: FakeUpstream) -> None:
        fake_upstream.script(fakes.hang())
        async with upstream_at(fake_upstream.base_url, read_timeout_s=0.1) as upstream:
            with pytest.raises(UpstreamTimeoutError, match="did not begin"):
                await upstream.send(request())
        await fake_upstream.seen(lambda fake: fake.disconnects == 1)

    async def test_silence_in_the_body_is_a_timeout_after_what_came(self, fake_upstream: FakeUpstream) -> None:
        fake_upstream.script(fakes.hang_after([b"data: 1\n\n"]))
        async with upstream_at(fake_upstream.base_url, read_timeout_s=0.2) as upstream:
            response = await upstream.send(request())
            chunks = response.chunks()
            assert await anext(chunks) == b"data: 1\n\n"
            with pytest.raises(UpstreamTimeoutError, match="silent"):
                await anext(chunks)
            await response.aclose()

    async def test_a_full_pool_is_a_timeout_that_says_so(self, fake_upstream: FakeUpstream) -> None:
        fake_upstream.script(fakes.hang_after([b"data: 1\n\n"]))
        async with upstream_at(fake_upstream.base_url, max_connections=1, connect_timeout_s=0.1) as upstream:
            held = await upstream.send(request())
            with pytest.raises(UpstreamTimeoutError, match="All 1 connections"):
                await upstream.send(request())
            await held.aclose()

    @pytest.mark.parametrize("behaviour", [fakes.cut_after(), fakes.garbage()], ids=["reset", "no HTTP"])
    async def test_a_line_lost_before_the_head_is_an_upstream_error(
        self, behaviour: fakes.Behaviour, fake_upstream: FakeUpstream
    ) -> None:
        fake_upstream.script(behaviour)
        async with upstream_at(fake_upstream.base_url) as upstream:
            with pytest.raises(UpstreamError, match="lost before"):
                await upstream.send(request())

    async def test_a_line_cut_in_the_body_is_broken_and_never_a_short_answer(self, fake_upstream: FakeUpstream) -> None:
        fake_upstream.script(fakes.cut_after([b"data: 1\n\n", b"data: 2\n\n"]))
        async with upstream_at(fake_upstream.base_url) as upstream:
            response = await upstream.send(request())
            received = []

            async def read() -> None:
                async for chunk in response.chunks():
                    received.append(chunk)

            with pytest.raises(UpstreamBrokenError):
                await read()
            await response.aclose()
        assert b"".join(received) == b"data: 1\n\ndata: 2\n\n"

    async def test_a_body_shorter_than_its_content_length_is_broken(self, fake_upstream: FakeUpstream) -> None:
        async def promise_more(exchange: fakes.Exchange) -> None:
            await exchange.head(200, (), length=100)
            await exchange.write(b"{}")
            exchange.writer.close()

        fake_upstream.script(promise_more)
        async with upstream_at(fake_upstream.base_url) as upstream:
            with pytest.raises(UpstreamBrokenError):
                await call(upstream)

    async def test_an_illegal_header_of_the_caller_is_an_error_of_ours(self, fake_upstream: FakeUpstream) -> None:
        async with upstream_at(fake_upstream.base_url) as upstream:
            with pytest.raises(UpstreamError, match="as HTTP"):
                await upstream.send(request(headers=((b"x-bad", b"line\nbreak"),)))
            await call(upstream)


class TestConfiguration:
    @pytest.mark.parametrize(
        ("given", "normal"),
        [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            ("HTTPS://API.OpenAI.com:443/v1/", "https://api.openai.com/v1"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
            (" http://gpu-box/openai/v1 ", "http://gpu-box/openai/v1"),
        ],
    )
    def test_spellings_of_one_base_url_are_one_identity(self, given: str, normal: str) -> None:
        assert str(parse_base_url(given)) == normal

    @pytest.mark.parametrize(
        "given",
        [
            "",
            "api.openai.com/v1",
            "ftp://host/v1",
            "http:///v1",
            "https://me:secret@host/v1",
            "https://h/v1?key=secret",
            "https://h/v1#secret",
            "http://h:port/v1",
        ],
    )
    def test_a_base_url_that_cannot_be_used_is_refused_without_repeating_it(self, given: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_base_url(given)
        assert "secret" not in str(caught.value)

    def test_a_key_that_cannot_be_a_header_is_refused_without_repeating_it(self) -> None:
        with pytest.raises(ConfigError, match="api_key") as caught:
            OpenAIUpstream(
                "http://h/v1", api_key="sk-secret\n", connect_timeout_s=1, read_timeout_s=1, max_connections=1
            )
        assert "sk-" not in str(caught.value)
