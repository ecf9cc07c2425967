"""LiteLLM's `model_list` dialect, read into values: which name is asked for, what is called for it. Pure.

    model_list:
      - model_name: gpt-4o                      # what callers ask for; may hold `*`
        litellm_params:
          model: openai/gpt-4o                  # provider/model; a `*` repeats what the name's `*` stood for
          api_base: https://gateway.example/v1
          api_key: os.environ/GATEWAY_KEY       # from the environment, or the key itself

A provider that speaks OpenAI's HTTP API is called over httpx, with the bare model name, unless the entry sets something
that only LiteLLM understands. Of several entries with one name, `weight` (or `rpm`, or `tpm`) and `order` say who is asked
(`journey`). Other settings of LiteLLM's router (tags, limits of a deployment) are accepted and unused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.core.prices import PRICE_FIELDS, Tariff, given_prices
from proxy.errors import ConfigError
from proxy.ports import Headers

OPENAI_BASE_URL = "https://api.openai.com/v1"
"""Where `openai/…` goes when the entry names no `api_base`."""

_OPENAI_COMPATIBLE = frozenset(
    {"openai", "custom_openai", "openai_like", "hosted_vllm", "text-completion-openai", "litellm_proxy"}
)
_OPENAI_NAMES = re.compile(r"(?:ft:)?(?:gpt-|chatgpt-|o\d|text-embedding-|omni-moderation|dall-e|whisper|tts-)")
_ROUTER_ONLY = frozenset(
    [
        "rpm",
        "tpm",
        "weight",
        "order",
        "tags",
        "max_parallel_requests",
        "cooldown_time",
        "stream_timeout",
        "num_retries",
        "use_in_pass_through",
        "input_cost_per_second",
        "output_cost_per_second",
        "base_model",
        *PRICE_FIELDS,
    ]
)
_HTTP = frozenset(
    {"model", "custom_llm_provider", "api_base", "base_url", "api_key", "timeout", "organization", "extra_headers"}
)
_ENVIRONMENT = "os.environ/"
SECRET_ENDINGS = ("_key", "_key_id", "_token", "_secret", "_password", "_credentials", "_credential")
"""Of the names of LiteLLM's parameters that hold one."""
_ADDRESS = frozenset(
    {
        *("api_base", "base_url", "api_version", "timeout", "stream_timeout", "max_retries", "organization"),
        *("region_name", "aws_region_name", "vertex_location", "vertex_project"),
    }
)
"""Parameters that say where a model is called, and how long to wait; all others may change what it answers."""
_ADDRESS_HEADERS = frozenset({b"openai-organization", b"openai-project"})


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """An OpenAI-compatible provider. Equal targets share one pool of connections."""

    base_url: str
    api_key: str | None = field(repr=False)
    timeout_s: float | None
    stream_timeout_s: float | None
    headers: Headers = field(repr=False)


@dataclass(frozen=True, slots=True)
class Deployment:
    """One entry of the list.

    Attributes:
        name: the model name that callers use; each `*` stands for any text.
        model: the model name to send; each `*` stands for what the same one in `name` stood for.
        target: where to, over httpx; None means through LiteLLM.
        params: LiteLLM's parameters without the model; empty when there is a target.
        tariff: under which prices it is called; a `*` of its model stands for what the name's stood for.
        weight: its share among deployments of the same name; LiteLLM's `weight`, or else `rpm`, or else `tpm`.
        order: among them, those of a lower one are asked first.
        label: what callers are told when it answers, where several might have.
        cooldown_s: how long it is left alone when it is away, None for the policy's.
        kind: what makes its answers its own; deployments of one name with equal ones stand for each other.
    """

    name: str
    model: str
    target: HttpTarget | None
    params: Mapping[str, Any] = field(repr=False, default_factory=dict)
    tariff: Tariff = field(default_factory=lambda: Tariff(""))
    weight: float = 1.0
    order: int = 0
    label: str = ""
    cooldown_s: float | None = None
    kind: str = ""


def parse_model_list(entries: object, environ: Mapping[str, str]) -> tuple[Deployment, ...]:
    """Read the list as YAML gave it.

    Args:
        entries: the value of `model_list`.
        environ: where `os.environ/NAME` is looked up.

    Raises:
        ConfigError: naming the entry and the field, never a value.
    """
    if not isinstance(entries, list | tuple):
        raise ConfigError("model_list has to be a list of entries with model_name and litellm_params.")
    return tuple(_entry(entry, f"model_list[{index}]", environ) for index, entry in enumerate(entries))


def _entry(entry: object, where: str, environ: Mapping[str, str]) -> Deployment:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where} has to be a mapping with model_name and litellm_params.")
    name = _text(entry, "model_name", where)
    given = entry.get("litellm_params")
    where = f"{where}.litellm_params"
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} has to be a mapping that holds at least the model.")
    params = {
        str(key): _resolved(value, f"{where}.{key}", environ)
        for key, value in given.items()
        if value is not None and key not in _ROUTER_ONLY
    }
    model = _text(params, "model", where)
    if model.count("*") > name.count("*"):
        raise ConfigError(f"{where}.model holds more '*' than model_name; each one repeats one of the name's.")
    provider, bare = _provider(model, params)
    is_http = provider in _OPENAI_COMPATIBLE and params.keys() <= _HTTP | {"max_retries"}
    tariff = _tariff(entry, bare if is_http else model, provider, params, where)
    if is_http:
        target = _http_target(provider, params, given, where, environ)
        found = Deployment(name, bare, target, tariff=tariff)
        shaping: Any = [header for header in target.headers if header[0] not in _ADDRESS_HEADERS]
    else:
        rest = {key: value for key, value in params.items() if key != "model"}
        times = {
            "timeout": _seconds(params, "timeout", where),
            "stream_timeout": _seconds(given, "stream_timeout", where),
        }
        rest |= {key: value for key, value in times.items() if value is not None}
        found = Deployment(name, model, None, rest, tariff)
        shaping = {
            key: value for key, value in rest.items() if key not in _ADDRESS and not key.endswith(SECRET_ENDINGS)
        }
    return replace(
        found,
        weight=_weight(given, where),
        order=_order(given, where),
        label=_label(entry, name),
        cooldown_s=_seconds(given, "cooldown_time", where),
        kind=f"{found.model} {shaping!r}",
    )


def _weight(given: Mapping[str, Any], where: str) -> float:
    for name in ("weight", "rpm", "tpm"):
        if given.get(name) is not None:
            weight = _number(given[name])
            if weight <= 0:
                raise ConfigError(f"{where}.{name} has to be a number above 0.")
            return weight
    return 1.0


def _order(given: Mapping[str, Any], where: str) -> int:
    order = given.get("order")
    if order is not None and (isinstance(order, bool) or not isinstance(order, int)):
        raise ConfigError(f"{where}.order has to be a whole number; lower ones are asked first.")
    return order or 0


def _label(entry: Mapping[str, Any], name: str) -> str:
    info = entry.get("model_info")
    given = info.get("id") if isinstance(info, Mapping) else None
    return str(given or name)


def _tariff(entry: Mapping[str, Any], model: str, provider: str, params: Mapping[str, Any], where: str) -> Tariff:
    """Whose prices hold: given ones, else those of `base_model`, else the table's for this model of this provider."""
    info, given = entry.get("model_info") or {}, entry["litellm_params"]
    if not isinstance(info, Mapping):
        raise ConfigError(f"{where.removesuffix('.litellm_params')}.model_info has to be a mapping.")
    own = {name: value for source in (given, info) for name, value in source.items() if name in PRICE_FIELDS}
    own = {name: value for name, value in own.items() if value is not None}
    base_model = info.get("base_model") or given.get("base_model")
    # What another address serves under OpenAI's protocol, or a gateway behind one name, is anybody's model.
    is_anybodys = provider == "litellm_proxy" or (provider == "openai" and "api_base" in params)
    return Tariff(
        model,
        provider="" if is_anybodys else provider,
        names=(str(base_model),) if base_model else (),
        own=tuple(sorted(given_prices(own, where).items())),
    )


def _provider(model: str, params: Mapping[str, Any]) -> tuple[str, str]:
    """Provider and bare model name; an unknown provider is "", which leaves it to LiteLLM to find out."""
    if explicit := params.get("custom_llm_provider"):
        return str(explicit), model.removeprefix(f"{explicit}/")
    prefix, slash, bare = model.partition("/")
    if slash:
        return prefix, bare
    return ("openai" if _OPENAI_NAMES.match(model) else ""), model


def _http_target(
    provider: str, params: Mapping[str, Any], given: Mapping[str, Any], where: str, environ: Mapping[str, str]
) -> HttpTarget:
    base_url = params.get("api_base") or params.get("base_url")
    api_key = params.get("api_key")
    if not base_url:
        if provider not in ("openai", "text-completion-openai"):
            raise ConfigError(f"{where}.api_base is missing; {provider}/ has no address of its own.")
        base_url = OPENAI_BASE_URL
        # LiteLLM's habit, kept for OpenAI itself alone: another host is not sent OpenAI's key unasked.
        api_key = api_key or environ.get("OPENAI_API_KEY")
    for key, value in (("api_base", base_url), ("api_key", api_key)):
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{where}.{key} has to be text; put it in quotes.")
    times = _seconds(params, "timeout", where), _seconds(given, "stream_timeout", where)
    return HttpTarget(base_url, api_key or None, *times, _headers(params, where))


def _headers(params: Mapping[str, Any], where: str) -> Headers:
    given = params.get("extra_headers", {})
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}.extra_headers has to be a mapping of header names to values.")
    named = {str(name).lower(): str(value) for name, value in given.items()}
    if organization := params.get("organization"):
        named["openai-organization"] = str(organization)
    try:
        return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in sorted(named.items()))
    except UnicodeEncodeError as error:
        raise ConfigError(f"{where}.extra_headers may hold ASCII text only.") from error


def _seconds(params: Mapping[str, Any], name: str, where: str) -> float | None:
    given = params.get(name)
    if given is None:
        return None
    seconds = _number(given)
    if seconds <= 0:
        raise ConfigError(f"{where}.{name} has to be a number of seconds above 0.")
    return seconds


def _number(given: Any) -> float:
    """A finite number, or -1 for anything else."""
    try:
        number = float(given)
    except (TypeError, ValueError):
        return -1.0
    return number if abs(number) < float("inf") else -1.0


def _text(mapping: Mapping[str, Any], key: str, where: str) -> str:
    value = mapping.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where}.{key} is missing; it has to be the name of a model.")
    return value.strip()


def _resolved(value: Any, where: str, environ: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _resolved(inner, f"{where}.{key}", environ) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, f"{where}[{index}]", environ) for index, inner in enumerate(value)]
    if not isinstance(value, str) or not value.startswith(_ENVIRONMENT):
        return value
    name = value.removeprefix(_ENVIRONMENT)
    if not environ.get(name):
        raise ConfigError(f"{where} asks for the environment variable {name}, which is not set; export it.")
    return environ[name]
