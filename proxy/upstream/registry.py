"""Which upstream answers for a model name, and under which name it knows the model."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from proxy.core.prices import Tariff
from proxy.errors import ConfigError, RequestError
from proxy.ports import Upstream, UpstreamRequest
from proxy.upstream.deployments import Deployment, HttpTarget, parse_model_list
from proxy.upstream.litellm import LiteLLMUpstream
from proxy.upstream.openai import OpenAIUpstream, parse_base_url


@dataclass(frozen=True, slots=True)
class Route:
    """Where one request goes.

    Attributes:
        upstream: what to call.
        model: the model name to send, None where the request names none.
        identity: what keeps answers apart in the cache: the upstream's own, and for a configured model also the name
            that is sent. An alias that is pointed at another model so leaves its old answers behind.
        tariff: under which prices it is called.
    """

    upstream: Upstream
    model: str | None
    identity: str
    tariff: Tariff

    def rewrite(self, request: UpstreamRequest) -> UpstreamRequest:
        """Put the model name to send into the body; the request itself, byte for byte, where it is there already."""
        if self.model is None or self.model == request.model or not isinstance(request.body, bytes):
            return request
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            return request  # the provider will say what is wrong with it
        if not isinstance(body, dict) or "model" not in body:
            return request
        return dataclasses.replace(request, body=orjson.dumps({**body, "model": self.model}), model=self.model)


class UpstreamRegistry:
    """The configured models first, exact names before patterns; everything else goes to the default.

    Args:
        default: serves every model that is not configured; None refuses them.
        routes: deployments with the upstream that serves each, in the order of the configuration. The first of equal
            names serves; balancing between them is not done here.
    """

    def __init__(self, default: Upstream | None, routes: Sequence[tuple[Deployment, Upstream]] = ()) -> None:
        self._default = default
        self._exact: dict[str, tuple[Deployment, Upstream]] = {}
        patterns: list[tuple[Deployment, Upstream]] = []
        for deployment, upstream in routes:
            if "*" in deployment.name:
                patterns.append((deployment, upstream))
            else:
                self._exact.setdefault(deployment.name, (deployment, upstream))
        patterns.sort(key=lambda route: len(route[0].name.replace("*", "")), reverse=True)  # stable: ties keep order
        self._patterns = [(_regex(deployment.name), deployment, upstream) for deployment, upstream in patterns]
        self._upstreams = {id(upstream): upstream for _, upstream in routes}
        if default is not None:
            self._upstreams[id(default)] = default

    @property
    def default(self) -> Upstream | None:
        """What serves the models that are not configured."""
        return self._default

    def models(self) -> tuple[str, ...]:
        """The configured names without a `*`, in order, for `/v1/models`."""
        return tuple(self._exact)

    def resolve(self, model: str | None) -> Route:
        """Find the upstream for a model name; None (no model in the request) means the default.

        Raises:
            RequestError: nothing is configured for it and there is no default; 404 `model_not_found`.
        """
        if model is not None:
            if found := self._exact.get(model):
                return _route(*found, ())
            for regex, deployment, upstream in self._patterns:
                if match := regex.fullmatch(model):
                    return _route(deployment, upstream, match.groups())
        if self._default is None:
            raise RequestError(
                "No upstream is configured for this model; add it to model_list, or set an upstream base URL.",
                status=404,
                code="model_not_found",
                param="model",
            )
        return Route(self._default, model, self._default.identity, Tariff(model or ""))

    async def aclose(self) -> None:
        """Close every upstream, the default too."""
        for upstream in self._upstreams.values():
            await upstream.aclose()


def build_registry(
    default: Upstream | None,
    model_list: object = (),
    *,
    environ: Mapping[str, str],
    connect_timeout_s: float,
    read_timeout_s: float,
    max_connections: int,
) -> UpstreamRegistry:
    """Open an upstream for every entry of LiteLLM's `model_list`; see `deployments.py` for the dialect.

    Args:
        default: serves what the list does not name; None refuses it.
        model_list: as YAML gave it.
        environ: where `os.environ/NAME` is looked up.
        connect_timeout_s, read_timeout_s, max_connections: as for `OpenAIUpstream`, for each address; an entry's own
            `timeout` takes the place of `read_timeout_s`.

    Raises:
        ConfigError: naming the entry and the field.
    """
    opened: dict[HttpTarget, Upstream] = {}
    routes: list[tuple[Deployment, Upstream]] = []
    for index, deployment in enumerate(parse_model_list(model_list, environ)):
        target = deployment.target
        if target is None:
            upstream: Upstream = LiteLLMUpstream(deployment.params, read_timeout_s=read_timeout_s)
        elif target in opened:
            upstream = opened[target]
        else:
            try:
                upstream = opened[target] = OpenAIUpstream(
                    target.base_url,
                    api_key=target.api_key,
                    connect_timeout_s=connect_timeout_s,
                    read_timeout_s=target.timeout_s or read_timeout_s,
                    max_connections=max_connections,
                    extra_headers=target.headers,
                    identity=_http_identity(target),
                )
            except ConfigError as error:
                raise ConfigError(f"model_list[{index}].litellm_params: {error}") from error
        routes.append((deployment, upstream))
    return UpstreamRegistry(default, routes)


def _http_identity(target: HttpTarget) -> str:
    base = str(parse_base_url(target.base_url))
    if not target.headers:
        return base
    # Headers such as the organisation or a beta change what is answered; they may hold a key, so only a digest shows.
    return f"{base}#{hashlib.sha256(repr(target.headers).encode()).hexdigest()[:16]}"


def _route(deployment: Deployment, upstream: Upstream, stood_for: Sequence[str]) -> Route:
    model, tariff = _filled(deployment.model, stood_for), deployment.tariff
    if stood_for:
        tariff = dataclasses.replace(tariff, model=_filled(tariff.model, stood_for))
    return Route(upstream, model, f"{upstream.identity}#{model}", tariff)


def _filled(pattern: str, stood_for: Sequence[str]) -> str:
    first, *rest = pattern.split("*")
    return first + "".join(text + literal for text, literal in zip(stood_for, rest, strict=False))


def _regex(name: str) -> re.Pattern[str]:
    return re.compile("(.*)".join(re.escape(part) for part in name.split("*")), re.DOTALL)
