"""Anthropic's own API for models that a `model_list` names as `anthropic/…`: asked in its own dialect over HTTP, without LiteLLM between.

LiteLLM reaches these models in chat's dialect. What comes in as `/v1/messages` need not be translated there and back: it goes out as it
came, under the bare model name and with the deployment's key. Limits as for `OpenAIUpstream`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import orjson

from proxy.ports import UpstreamRequest
from proxy.upstream.headers import CREDENTIALS
from proxy.upstream.openai import OpenAIUpstream

PATH = "/messages"
PREFIX = "anthropic/"
BASE_URL = "https://api.anthropic.com"
_VERSION = (b"anthropic-version", b"2023-06-01")
"""Of the API, which every request must name; the only one there is."""
_CONNECT_TIMEOUT_S = 10.0
_MAX_CONNECTIONS = 100


def native_upstream(params: Mapping[str, Any], environ: Mapping[str, str], *, read_timeout_s: float) -> OpenAIUpstream:
    """Anthropic as LiteLLM's parameters name it.

    Args:
        params: `api_base` (without `/v1`, as LiteLLM has it), `api_key`, `timeout`.
        environ: where ANTHROPIC_API_KEY stands, if the parameters hold no key.
        read_timeout_s: longest silence, unless the parameters hold a `timeout`.

    Raises:
        ConfigError: the address or the key cannot be used.
    """
    base = str(params.get("api_base") or params.get("base_url") or BASE_URL).rstrip("/").removesuffix("/v1")
    return OpenAIUpstream(
        f"{base}/v1",
        api_key=params.get("api_key") or environ.get("ANTHROPIC_API_KEY"),
        connect_timeout_s=_CONNECT_TIMEOUT_S,
        read_timeout_s=float(params.get("timeout") or read_timeout_s),
        max_connections=_MAX_CONNECTIONS,
    )


def native_request(request: UpstreamRequest) -> UpstreamRequest | None:
    """A request as it goes out: bare model name, API version, no credential of the caller; None where it is not for Anthropic."""
    if request.path != PATH or not isinstance(request.body, bytes):
        return None
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return None
    model = body.get("model") if isinstance(body, dict) else None
    if not isinstance(model, str) or not model.startswith(PREFIX):
        return None
    headers = [pair for pair in request.headers if pair[0] not in CREDENTIALS]
    if not any(name == _VERSION[0] for name, _ in headers):
        headers.append(_VERSION)
    bare = model.removeprefix(PREFIX)
    return dataclasses.replace(request, headers=tuple(headers), body=orjson.dumps({**body, "model": bare}), model=bare)
