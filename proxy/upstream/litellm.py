"""Providers that do not speak OpenAI's HTTP API, called through LiteLLM and rendered back in the API that was asked.

LiteLLM takes some 4 s and 180 MB to import, so the import waits for the first call and runs in a thread. Chat, legacy completions,
embeddings, responses and messages go this way (`litellm_dialects.py` says how each of them does), and Anthropic's own dialect to
Anthropic without it (`anthropic.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import logging
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import orjson

from proxy.core.dialects.base import Fault
from proxy.errors import UpstreamBrokenError, UpstreamError, UpstreamTimeoutError
from proxy.ports import Headers, UpstreamRequest, UpstreamResponse
from proxy.upstream import anthropic
from proxy.upstream.deployments import SECRET_ENDINGS
from proxy.upstream.litellm_dialects import APIS, Refused, error_body
from proxy.upstream.litellm_streams import close
from proxy.upstream.openai import OpenAIUpstream

_JSON: Headers = ((b"content-type", b"application/json"),)
_EVENTS: Headers = ((b"content-type", b"text/event-stream; charset=utf-8"),)


class LiteLLMUpstream:
    """Any LiteLLM provider under one set of parameters. Implements `proxy.ports.Upstream`.

    The model, with LiteLLM's provider prefix, comes in each request's body. The caller's credential stays here; where
    the parameters hold no key, LiteLLM takes the provider's own environment variable.

    Args:
        params: `litellm_params` of the deployment, without the model, names of environment variables resolved. They
            are defaults for what the caller may set, and the only source of the rest.
        read_timeout_s: longest wait, unless the parameters hold a `timeout`.
    """

    def __init__(self, params: Mapping[str, Any], *, read_timeout_s: float) -> None:
        # The official client below LiteLLM would try twice more on its own; who called sees what happened, and decides.
        self._params = {"timeout": read_timeout_s, "max_retries": 0, **params}
        self._stream_timeout_s = self._params.pop("stream_timeout", self._params["timeout"])
        self._identity = _identity(params)
        self._module: Any = None
        self._anthropic: OpenAIUpstream | None = None

    @property
    def identity(self) -> str:
        """The API base's host, and a digest of every parameter that is no secret."""
        return self._identity

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Make the call; a provider's refusal is a normal return in the shape of the API that was asked, with `Retry-After` kept.

        Raises:
            UpstreamTimeoutError: no answer in time.
            UpstreamError: the provider cannot be reached, or LiteLLM itself failed.
        """
        if (native := anthropic.native_request(request)) is not None:
            if self._anthropic is None:
                timeout_s = float(self._params["timeout"])
                self._anthropic = anthropic.native_upstream(self._params, os.environ, read_timeout_s=timeout_s)
            return await self._anthropic.send(native)
        api = APIS.get(request.path) if request.method == "POST" else None
        if api is None or not isinstance(request.body, bytes):
            return _unserved(request.path)
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            return _refusal(request.path, 400, "The body has to be a JSON object.", code="invalid_json")
        if (refused := api.refused(body, self._params)) is not None:
            return _not_handed_over(request.path, refused)
        litellm = await self._litellm()
        times = {"timeout": self._stream_timeout_s} if body.get("stream") else {}
        try:
            answer = await api.call(litellm)(**{**self._params, **times, **api.given(body), "metadata": None})
            if body.get("stream"):
                return await _begun(answer, api.events(answer, body))
        except Exception as error:  # LiteLLM's adapters raise whatever their provider's library does
            return _as_response(request.path, error)
        return WholeAnswer(200, _JSON, orjson.dumps(api.whole(answer, body)))

    async def aclose(self) -> None:
        """Close LiteLLM's clients, if it was ever imported."""
        if self._anthropic is not None:
            await self._anthropic.aclose()
        if self._module is not None:
            await self._module.close_litellm_async_clients()
            # It would go on with closed ones: it knows an event loop by an address, which another loop may have later.
            self._module.in_memory_llm_clients_cache.flush_cache()

    async def _litellm(self) -> Any:
        if self._module is None:
            self._module = await asyncio.to_thread(_import_litellm)
        return self._module


class WholeAnswer:
    """An answer that is all there. Implements `proxy.ports.UpstreamResponse`."""

    served_by = None

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body in one piece."""
        yield self._body

    async def aclose(self) -> None:
        """There is nothing to give back."""


class LiteLLMStream:
    """LiteLLM's chunks as server-sent events. Implements `proxy.ports.UpstreamResponse`.

    Args:
        stream: LiteLLM's own.
        events: that it is made into.
        first: of them.
    """

    status = 200
    headers = _EVENTS
    served_by = None

    def __init__(self, stream: Any, events: AsyncIterator[bytes], first: bytes) -> None:
        self._stream = stream
        self._events = events
        self._first = first

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield each event as it comes, the closing one of its API last.

        Raises:
            UpstreamTimeoutError: the provider fell silent.
            UpstreamBrokenError: anything else that ended the stream early.
        """
        yield self._first
        try:
            async for event in self._events:
                yield event
        except Exception as error:  # as in send
            if _is_timeout(error):
                raise UpstreamTimeoutError("The provider fell silent in the middle of its answer.") from error
            raise UpstreamBrokenError("The provider ended its answer before the end.") from error

    async def aclose(self) -> None:
        """Stop reading, which closes the connection to the provider."""
        await close(self._stream)


async def _begun(stream: Any, events: AsyncIterator[bytes]) -> LiteLLMStream:
    """Some adapters (Gemini's) call no sooner than for the first chunk: only then is it known whether they were refused."""
    try:
        return LiteLLMStream(stream, events, await anext(events))
    except BaseException:
        await close(stream)
        raise


def _import_litellm() -> Any:
    """Import LiteLLM without its start-up habits: fetching a price list, reading ./.env, printing advice.

    The first two are governed by environment variables that it reads while being imported, hence the one place outside
    the settings that writes to the environment. What the user has set stays.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    litellm: Any = importlib.import_module("litellm")
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)  # it logs what providers say, which may repeat prompts
    litellm.DEFAULT_MAX_RETRIES = 0  # which embeddings take a `max_retries` of 0 for
    # Anthropic's API to `openai/…` would become OpenAI's Responses API, which few other servers of that protocol speak.
    litellm.use_chat_completions_url_for_anthropic_messages = True
    return litellm


def _identity(params: Mapping[str, Any]) -> str:
    told = {name: value for name, value in params.items() if not name.endswith(SECRET_ENDINGS)}
    digest = hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()[:16]
    base = params.get("api_base") or params.get("base_url")
    return f"litellm:{httpx.URL(str(base)).host if base else 'default'}:{digest}"


def _refusal(
    path: str, status: int, message: str, *, code: str, param: str | None = None, headers: Headers = ()
) -> WholeAnswer:
    kind = "invalid_request_error" if status < 429 else "rate_limit_error" if status == 429 else "server_error"
    body = error_body(path, Fault(status, message, kind, code, param))
    return WholeAnswer(status, (*_JSON, *headers), body)


def _not_handed_over(path: str, why: Refused) -> WholeAnswer:
    return _refusal(path, 400, why.message, code=why.code, param=why.param)


def _unserved(path: str) -> WholeAnswer:
    """What a caller is told who asks for a path that LiteLLM is not asked for."""
    message = (
        f"This model is reached through LiteLLM, which is asked for {', '.join(APIS)}, and not for {path}. Configure "
        "the model with an address that speaks this API itself (`openai/…` with `api_base`)."
    )
    return _refusal(path, 400, message, code="unsupported_endpoint", param="model")


def _as_response(path: str, error: Exception) -> WholeAnswer:
    """Render a provider's refusal; raise ours for what never was an answer."""
    original = getattr(error, "original_exception", None)
    if type(error).__name__ == "MidStreamFallbackError" and isinstance(original, Exception):
        error = original  # LiteLLM's wrapping of whatever the first chunk brought
    status = getattr(error, "status_code", None)
    if _is_timeout(error):
        raise UpstreamTimeoutError("The provider did not answer in time (through LiteLLM).") from error
    was_sent = _was_sent(error)  # some adapters call a refused connection a 500
    is_status = isinstance(status, int) and 400 <= status <= 599 and type(error).__name__ != "APIConnectionError"
    if not is_status or not was_sent:
        raise UpstreamError(
            f"The provider could not be reached through LiteLLM ({type(error).__name__}).", was_sent=was_sent
        ) from error
    assert isinstance(status, int)
    told = getattr(error, "litellm_response_headers", None) or getattr(error, "headers", None) or {}
    retry_after = told.get("retry-after") or told.get("Retry-After")
    headers = ((b"retry-after", str(retry_after).encode("ascii", "ignore")),) if retry_after else ()
    code = getattr(error, "code", None)
    message = str(getattr(error, "message", error))
    return _refusal(path, status, message, code=str(code or type(error).__name__), headers=headers)


def _was_sent(error: BaseException | None) -> bool:
    """Whether the request may have arrived: not where a connection was all that failed, anywhere in the chain of causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | ConnectionRefusedError):
            return False
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return True


def _is_timeout(error: Exception) -> bool:
    """Whether it is LiteLLM's `Timeout`, which is its name for every provider's; by name, as no type is imported."""
    return type(error).__name__ == "Timeout" or isinstance(error, TimeoutError)
