"""Each model API through LiteLLM: which of its functions is called, what of a request it is given, how its answers become wire format.

What a caller may set is a list: LiteLLM reads its own controls (`api_base`, `fallbacks`, `mock_response`, …) from the same arguments as
the model's parameters, and a caller who could set those could send the configured key to a host of their own. Refused is also what
LiteLLM would do from where Deja runs (fetching images, searching files, calling MCP servers), or leave out without a word.

How a call is made, and how it fails, is `litellm.py`'s.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from proxy.core import follow_ups, sse
from proxy.core.dialects import BY_PATH
from proxy.core.dialects.base import Fault
from proxy.core.dialects.chat import CHAT
from proxy.core.dialects.completions import COMPLETIONS
from proxy.core.dialects.messages import MESSAGES
from proxy.core.dialects.response_answers import ECHOED, FINAL, identity
from proxy.core.dialects.responses import RESPONSES
from proxy.core.remote_content import address_in
from proxy.errors import UpstreamBrokenError

Body = Mapping[str, Any]
Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request is not handed to LiteLLM.

    Attributes:
        message: what to do about it.
        code: a stable word.
        param: the field at fault.
    """

    message: str
    code: str
    param: str


def _nothing(_: Body, __: Params) -> None:
    """All of it can be done."""


async def _no_events(_: Any, __: Body) -> AsyncIterator[bytes]:
    raise NotImplementedError  # there is no field that asks for a stream
    yield b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One model API, as it goes through LiteLLM.

    Attributes:
        function: LiteLLM's, below the package.
        fields: that callers may set. `metadata` is taken from them, and handed to nobody: LiteLLM looks for controls in it.
        needed: those of them that LiteLLM cannot be called without, beside `model`.
        turns: the field whose contents may name what would have to be fetched; "" where there is none.
        given: a body -> the arguments.
        unable: why else a body is not handed over, from it and the deployment's parameters.
        whole: LiteLLM's answer -> JSON.
        events: LiteLLM's stream -> the bytes of server-sent events, the closing one among them.
    """

    function: str
    fields: frozenset[str]
    needed: tuple[str, ...]
    turns: str = ""
    given: Callable[[Body], dict[str, Any]] = dict
    unable: Callable[[Body, Params], Refused | None] = _nothing
    whole: Callable[[Any, Body], Mapping[str, Any]]
    events: Callable[[Any, Body], AsyncIterator[bytes]] = _no_events

    def refused(self, body: Body, params: Params) -> Refused | None:
        """Why a body is not handed over under a deployment's parameters; None where nothing is in the way."""
        if unknown := sorted(body.keys() - self.fields):
            message = f"This model is reached through LiteLLM, which is not given '{unknown[0]}'; remove it."
            return Refused(message, "unknown_parameter", unknown[0])
        if missing := [name for name in ("model", *self.needed) if body.get(name) is None]:
            return Refused(f"'{missing[0]}' is missing; send it.", "invalid_request", missing[0])
        if self.turns and (where := address_in(body.get(self.turns), self.turns)) is not None:
            message = f"LiteLLM would fetch what '{where}' names, from where Deja runs; send it along as base64."
            return Refused(message, "remote_content", where)
        return self.unable(body, params)

    def call(self, litellm: Any) -> Callable[..., Any]:
        """LiteLLM's function."""
        found = litellm
        for name in self.function.split("."):
            found = getattr(found, name)
        return found  # type: ignore[no-any-return]


def error_body(path: str, fault: Fault) -> bytes:
    """An error as the API of a path words it; OpenAI's way where the path is none that Deja knows."""
    return BY_PATH.get(path, CHAT).error_body(fault)


def _filled(body: Body) -> dict[str, Any]:
    """Without what says nothing, which some providers refuse to be told."""
    return {name: value for name, value in body.items() if value is not None and value is not False}


# --- chat ------------------------------------------------------------------------------------------------------------------------


def _chat_whole(answer: Any, _: Body) -> dict[str, Any]:
    """Put back the nulls that OpenAI's own answers have, and drop LiteLLM's empty additions."""
    body: dict[str, Any] = answer.model_dump(exclude_none=True)
    for choice in body.get("choices", ()):
        _drop_empty_additions(choice)
        message = choice.get("message", {})
        _drop_empty_additions(message)
        message.setdefault("content", None)
    return body


async def _chat_events(stream: Any, _: Body) -> AsyncIterator[bytes]:
    async for chunk in stream:
        yield sse.event(orjson.dumps(_delta(chunk.model_dump(exclude_none=True, exclude_unset=True))))
    yield sse.event(sse.DONE)


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


# --- legacy completions ----------------------------------------------------------------------------------------------------------

_TEXT_PROVIDERS = frozenset({"openai", "text-completion-openai", "text-completion-codestral", "azure_text"})
"""Those that LiteLLM asks through a completions API of their own; all others are asked the prompt in a chat."""
_OF_TEXTS = ("best_of", "echo", "logprobs", "suffix")
"""Parameters that no chat has."""


def _text_given(body: Body) -> dict[str, Any]:
    return {**_filled(body), "prompt": _prompt(body)}


def _prompt(body: Body) -> Any:
    """One prompt, whether it comes in a list or not."""
    prompt = body.get("prompt")
    return prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt


def _text_unable(body: Body, params: Params) -> Refused | None:
    if not isinstance(_prompt(body), str):
        # LiteLLM would make several prompts one conversation.
        return Refused(
            "This model is reached through LiteLLM, one text at a time; send each `prompt` by itself.",
            "unsupported_parameter",
            "prompt",
        )
    provider = params.get("custom_llm_provider") or str(body.get("model")).partition("/")[0]
    name = next((name for name in _OF_TEXTS if body.get(name)), None)
    if name is None or provider in _TEXT_PROVIDERS:
        return None
    return Refused(f"This model is asked in a chat, which has no '{name}'; remove it.", "unsupported_parameter", name)


def _text_whole(answer: Any, _: Body) -> dict[str, Any]:
    body: dict[str, Any] = answer.model_dump(exclude_none=True)
    choices = [_text_choice(choice, choice.get("text")) for choice in body.get("choices", ())]
    return {**body, "object": "text_completion", "choices": choices}


async def _text_events(stream: Any, body: Body) -> AsyncIterator[bytes]:
    """From LiteLLM's chunks of a chat: what it makes of them itself breaks at the one that only tells the usage."""
    async for chunk in stream.completion_stream:
        told = chunk.model_dump(exclude_none=True, exclude_unset=True)
        head = {name: told[name] for name in ("id", "created", "model") if name in told}
        head["object"] = "text_completion"
        choices = [_text_choice(one, (one.get("delta") or {}).get("content")) for one in told.get("choices", ())]
        choices = [choice for choice in choices if choice["text"] or choice["finish_reason"]]
        if choices:
            yield sse.event(orjson.dumps({**head, "choices": choices}))
        if (body.get("stream_options") or {}).get("include_usage") and "usage" in told:
            yield sse.event(orjson.dumps({**head, "choices": [], "usage": told["usage"]}))
    yield sse.event(sse.DONE)


def _text_choice(choice: Body, text: Any) -> dict[str, Any]:
    return {
        "index": choice.get("index", 0),
        "text": text or "",
        "logprobs": choice.get("logprobs"),
        "finish_reason": choice.get("finish_reason"),
    }


# --- embeddings ------------------------------------------------------------------------------------------------------------------


def _embedding_given(body: Body) -> dict[str, Any]:
    """Without the format: few providers know base64, and it can be made here."""
    return {name: value for name, value in _filled(body).items() if name != "encoding_format"}


def _embedding_whole(answer: Any, body: Body) -> dict[str, Any]:
    told = answer.model_dump(exclude_none=True)
    as_base64 = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(one["embedding"], as_base64=as_base64)}
        for index, one in enumerate(told["data"])
    ]
    usage = {name: told.get("usage", {}).get(name, 0) for name in ("prompt_tokens", "total_tokens")}
    return {"object": "list", "data": data, "model": told.get("model") or body.get("model"), "usage": usage}


def _vector(given: Any, *, as_base64: bool) -> Any:
    if as_base64 == isinstance(given, str):
        return given
    if as_base64:
        return base64.b64encode(np.asarray(given, dtype="<f4").tobytes()).decode()
    return np.frombuffer(base64.b64decode(given), dtype="<f4").tolist()


# --- responses -------------------------------------------------------------------------------------------------------------------

_KEPT_BY_PROVIDER = ("background", "conversation", "previous_response_id", "prompt")
"""Fields that need a provider which keeps something: LiteLLM leaves them out for most. An id of Deja's never comes here."""
_RESPONSE_TOOLS = re.compile(r"function\Z|custom\Z|web_search")
"""Types of tools that LiteLLM hands on; it would search files and call MCP servers by itself, with the operator's keys."""


def _response_given(body: Body) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "stream_options"}


def _response_unable(body: Body, _: Params) -> Refused | None:
    name = next((name for name in _KEPT_BY_PROVIDER if body.get(name)), None)
    if name is None:
        return _tool_unable(body, _RESPONSE_TOOLS)
    message = f"This model is reached through LiteLLM, where no provider keeps what '{name}' needs; send the conversation in `input`."
    return Refused(message, "unsupported_parameter", name)


def _tool_unable(body: Body, known: re.Pattern[str]) -> Refused | None:
    tools = body.get("tools")
    for at, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type", "custom") if isinstance(tool, Mapping) else None
        if not known.match(str(kind)):
            message = (
                f"This model is reached through LiteLLM, which is not given tools of the type {kind!r}; remove it."
            )
            return Refused(message, "unsupported_parameter", f"tools[{at}]")
    return None


def _response_whole(answer: Any, body: Body) -> dict[str, Any]:
    return _response(answer.model_dump(mode="json", warnings=False), body, _response_id())


def _response_id() -> str:
    """An id that Deja keeps a response under: nobody would know LiteLLM's again."""
    return f"{follow_ups.ID_PREFIX}{secrets.token_hex(16)}"


def _response(told: dict[str, Any], body: Body, answer_id: str) -> dict[str, Any]:
    """As OpenAI's own are: with what they repeat of their request, and details of the usage, whoever tells none."""
    own = identity(body, answer_id=answer_id, created=0)
    usage = told.get("usage")
    if usage is not None:
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        usage = _filled(usage) | {name: least | _filled(usage.get(name) or {}) for name, least in details.items()}
    return {**told, "object": "response", "usage": usage, **{name: own[name] for name in ("id", *ECHOED)}}


async def _response_events(stream: Any, body: Body) -> AsyncIterator[bytes]:
    number, answer_id = 0, _response_id()
    async for event in stream:
        told = event.model_dump(mode="json", warnings=False)
        if isinstance(told.get("response"), dict):
            told["response"] = _response(told["response"], body, answer_id)
        yield sse.named_event(told["type"], orjson.dumps({**told, "sequence_number": number}))
        number += 1
        if told["type"] in FINAL:
            return
    raise UpstreamBrokenError("The provider ended its response before the end.")


# --- Anthropic's messages --------------------------------------------------------------------------------------------------------

_MESSAGE_TOOLS = re.compile(
    r"custom\Z|(?:bash|text_editor|computer|memory|web_search|web_fetch|code_execution)_\d{8}\Z"
)
"""Types of tools that Anthropic's models know, wherever they run; others LiteLLM might take for its own."""


def _message_unable(body: Body, _: Params) -> Refused | None:
    return _tool_unable(body, _MESSAGE_TOOLS)


def _message_whole(answer: Any, _: Body) -> dict[str, Any]:
    told = answer if isinstance(answer, Mapping) else answer.model_dump()
    filled = {name: value for name, value in told.items() if value is not None and not name.startswith("_")}
    return {"type": "message", "role": "assistant", "stop_reason": None, "stop_sequence": None, **filled}


async def _message_events(stream: Any, _: Body) -> AsyncIterator[bytes]:
    """LiteLLM's events; those that come before the provider was asked wait for one of its own, since it may refuse."""
    ending, is_over, waiting, has_begun = MESSAGES.ending(), False, b"", False
    async for given in stream:
        piece = sse.named_event(given["type"], orjson.dumps(given)) if isinstance(given, Mapping) else given
        piece = piece.encode() if isinstance(piece, str) else piece
        if piece.startswith(b"event: error"):
            raise UpstreamBrokenError("The provider broke off its message.") if has_begun else _RefusedMessage(piece)
        is_over = is_over or ending.feed(piece)
        waiting += piece
        has_begun = has_begun or not piece.startswith(_BEFORE_IT_IS_ASKED)
        if has_begun:
            yield waiting
            waiting = b""
    if not is_over:
        raise UpstreamBrokenError("The provider ended its message before the end.")
    if waiting:
        yield waiting


_BEFORE_IT_IS_ASKED = (b"event: message_start", b"event: content_block_start", b"event: ping")
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}
"""Anthropic's error types -> HTTP status, from its API reference; all others are 500."""


class _RefusedMessage(Exception):  # noqa: N818 - like LiteLLM's own, it has a status and a message
    """A provider's refusal that LiteLLM has made an event of."""

    def __init__(self, event: bytes) -> None:
        told = orjson.loads(sse.events(event + b"\n\n")[0]).get("error") or {}
        self.code = str(told.get("type"))
        self.status_code = _STATUS.get(self.code, 500)
        self.message = str(told.get("message"))
        super().__init__(self.message)


_SAMPLING = frozenset({"model", "metadata", "stream", "temperature", "top_p", "user"})
_OF_OPENAI = _SAMPLING | {"prompt_cache_key", "safety_identifier", "service_tier", "store", "stream_options"}
_OF_COMPLETIONS = _OF_OPENAI | {"frequency_penalty", "logit_bias", "logprobs", "max_tokens", "n", "presence_penalty"}

APIS: Mapping[str, Api] = {
    CHAT.path: Api(
        function="acompletion",
        fields=_OF_COMPLETIONS
        | {
            *("audio", "function_call", "functions", "max_completion_tokens", "messages", "modalities"),
            *("parallel_tool_calls", "prediction", "reasoning_effort", "response_format", "seed", "stop"),
            *("tool_choice", "tools", "top_logprobs", "verbosity", "web_search_options"),
            *("thinking", "top_k", "min_p", "repetition_penalty"),  # not OpenAI's: several other providers share them
        },
        needed=("messages",),
        turns="messages",
        whole=_chat_whole,
        events=_chat_events,
    ),
    COMPLETIONS.path: Api(
        function="atext_completion",
        fields=_OF_COMPLETIONS | {"best_of", "echo", "prompt", "seed", "stop", "suffix"},
        needed=("prompt",),
        given=_text_given,
        unable=_text_unable,
        whole=_text_whole,
        events=_text_events,
    ),
    "/embeddings": Api(
        function="aembedding",
        fields=frozenset({"dimensions", "encoding_format", "input", "input_type", "metadata", "model", "user"}),
        needed=("input",),
        given=_embedding_given,
        whole=_embedding_whole,
    ),
    RESPONSES.path: Api(
        function="aresponses",
        fields=_OF_OPENAI
        | {
            *("background", "conversation", "include", "input", "instructions", "max_output_tokens", "max_tool_calls"),
            *("parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_retention", "reasoning"),
            *("text", "tool_choice", "tools", "top_logprobs", "truncation"),
        },
        needed=("input",),
        turns="input",
        given=_response_given,
        unable=_response_unable,
        whole=_response_whole,
        events=_response_events,
    ),
    MESSAGES.path: Api(
        function="anthropic.messages.acreate",
        fields=(_SAMPLING - {"user"})
        | {
            *("max_tokens", "messages", "service_tier", "stop_sequences", "system", "thinking", "tool_choice"),
            *("tools", "top_k", "output_config"),
        },
        needed=("messages", "max_tokens"),
        turns="messages",
        given=_filled,
        unable=_message_unable,
        whole=_message_whole,
        events=_message_events,
    ),
}
"""Path below the base URL -> how it goes through LiteLLM. The fields of OpenAI's are those of its API reference, 2026."""
