"""Providers that do not speak OpenAI's HTTP API, called through LiteLLM and rendered back as OpenAI's wire format.

LiteLLM takes some 4 s and 180 MB to import, so the import waits for the first call and runs in a thread. Only chat
completions go this way, and Anthropic's own dialect to Anthropic (`anthropic.py`). What a caller may set is a list:
LiteLLM reads its own controls (`api_base`, `fallbacks`, `mock_response`, …) from the same arguments as the model's
parameters, and a caller who could set those could send the configured key to a host of their own.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import orjson

from proxy.core.dialects.base import Fault
from proxy.core.dialects.messages import MESSAGES
from proxy.core.remote_content import address_in
from proxy.errors import UpstreamBrokenError, UpstreamError, UpstreamTimeoutError
from proxy.ports import Headers, UpstreamRequest, UpstreamResponse
from proxy.upstream import anthropic
from proxy.upstream.deployments import SECRET_ENDINGS
from proxy.upstream.openai import OpenAIUpstream

CALLERS_FIELDS = frozenset(
    [
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
        "thinking",
        "top_k",
        "min_p",
        "repetition_penalty",
    ]
)
"""Body fields handed to LiteLLM: OpenAI's chat parameters (API reference, 2026), then four that other providers share.
None of them is a LiteLLM control but `metadata`, which is taken from the caller and not handed over."""

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
        """Make the call; a provider's refusal is a normal return in OpenAI's shape, with `Retry-After` kept.

        Raises:
            UpstreamTimeoutError: no answer in time.
            UpstreamError: the provider cannot be reached, or LiteLLM itself failed.
        """
        if (native := anthropic.native_request(request)) is not None:
            if self._anthropic is None:
                timeout_s = float(self._params["timeout"])
                self._anthropic = anthropic.native_upstream(self._params, os.environ, read_timeout_s=timeout_s)
            return await self._anthropic.send(native)
        if (request.method, request.path) != ("POST", "/chat/completions") or not isinstance(request.body, bytes):
            return _unserved(request.path)
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            return _refusal(400, "The body is not valid JSON.", code="invalid_json")
        if not isinstance(body, dict):
            return _refusal(400, "The body has to be a JSON object.", code="invalid_json")
        if unknown := sorted(body.keys() - CALLERS_FIELDS):
            message = f"This model is reached through LiteLLM, which is not given '{unknown[0]}'; remove it."
            return _refusal(400, message, code="unknown_parameter", param=unknown[0])
        if (where := address_in(body.get("messages"))) is not None:
            message = f"LiteLLM would fetch what '{where}' names, from where Deja runs; send it along as a data: URL in base64."
            return _refusal(400, message, code="remote_content", param=where)
        litellm = await self._litellm()
        times = {"timeout": self._stream_timeout_s} if body.get("stream") else {}
        try:
            answer = await litellm.acompletion(**{**self._params, **times, **body, "metadata": None})
            if body.get("stream"):
                # Some adapters (Gemini's) call no sooner than for the first chunk: only then is it known whether they were refused.
                return LiteLLMStream(answer, await anext(answer, None))
        except Exception as error:  # LiteLLM's adapters raise whatever their provider's library does
            return _as_response(error)
        return WholeAnswer(200, _JSON, orjson.dumps(_message(answer.model_dump(exclude_none=True))))

    async def aclose(self) -> None:
        """Close LiteLLM's clients, if it was ever imported."""
        if self._anthropic is not None:
            await self._anthropic.aclose()
        if self._module is not None:
            await self._module.close_litellm_async_clients()

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
    """LiteLLM's chunks as server-sent events. Implements `proxy.ports.UpstreamResponse`."""

    status = 200
    headers = _EVENTS
    served_by = None

    def __init__(self, stream: Any, first: Any) -> None:
        self._stream = stream
        self._first = first

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield one event per chunk as it comes, then `[DONE]`.

        Raises:
            UpstreamTimeoutError: the provider fell silent.
            UpstreamBrokenError: anything else that ended the stream early.
        """
        try:
            if self._first is not None:
                yield _event(self._first)
                async for chunk in self._stream:
                    yield _event(chunk)
        except Exception as error:  # as in send
            if _is_timeout(error):
                raise UpstreamTimeoutError("The provider fell silent in the middle of its answer.") from error
            raise UpstreamBrokenError("The provider ended its answer before the end.") from error
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        """Stop reading, which closes the connection to the provider."""
        await self._stream.aclose()


def _event(chunk: Any) -> bytes:
    return b"data: " + orjson.dumps(_delta(chunk.model_dump(exclude_none=True, exclude_unset=True))) + b"\n\n"


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
    return litellm


def _identity(params: Mapping[str, Any]) -> str:
    told = {name: value for name, value in params.items() if not name.endswith(SECRET_ENDINGS)}
    digest = hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()[:16]
    base = params.get("api_base") or params.get("base_url")
    return f"litellm:{httpx.URL(str(base)).host if base else 'default'}:{digest}"


def _refusal(status: int, message: str, *, code: str, param: str | None = None, headers: Headers = ()) -> WholeAnswer:
    kind = "invalid_request_error" if status < 429 else "rate_limit_error" if status == 429 else "server_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return WholeAnswer(status, (*_JSON, *headers), orjson.dumps({"error": error}))


def _unserved(path: str) -> WholeAnswer:
    """What a caller is told who asks for another path than chat's, in the dialect of that path."""
    message = (
        f"This model is reached through LiteLLM, which is asked for chat completions only, not for {path}. Send it as "
        "/v1/chat/completions, or configure the model with an address that speaks this API itself (`openai/…` with `api_base`)."
    )
    if path == MESSAGES.path:
        fault = Fault(400, message, "invalid_request_error", "unsupported_endpoint", "model")
        return WholeAnswer(400, _JSON, MESSAGES.error_body(fault))
    return _refusal(400, message, code="unsupported_endpoint", param="model")


def _as_response(error: Exception) -> WholeAnswer:
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
    return _refusal(status, message, code=str(code or type(error).__name__), headers=headers)


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


def _message(answer: dict[str, Any]) -> dict[str, Any]:
    """Put back the nulls that OpenAI's own answers have, and drop LiteLLM's empty additions."""
    for choice in answer.get("choices", ()):
        _drop_empty_additions(choice)
        message = choice.get("message", {})
        _drop_empty_additions(message)
        message.setdefault("content", None)
    return answer


def _delta(chunk: dict[str, Any]) -> dict[str, Any]:
    """The same for one chunk; a chunk that only tells usage has no choices in OpenAI's format."""
    choices = chunk.get("choices", [])
    for choice in choices:
        _drop_empty_additions(choice)
        _drop_empty_additions(choice.get("delta", {}))
        choice.setdefault("finish_reason", None)
    if "usage" in chunk and not any(choice.get("delta") or choice["finish_reason"] for choice in choices):
        chunk["choices"] = []
    return chunk


def _drop_empty_additions(part: dict[str, Any]) -> None:
    added = part.get("provider_specific_fields")
    if isinstance(added, dict) and not any(value is not None for value in added.values()):
        del part["provider_specific_fields"]
