"""Which upstream answers for a model name, and under which name it knows the model; of several equal ones, all of them."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from proxy.core.attempts import RetryBudget
from proxy.core.breakers import Breaker, State
from proxy.core.prices import Tariff
from proxy.errors import ConfigError, RequestError
from proxy.ports import Upstream, UpstreamRequest
from proxy.upstream.deployments import Deployment, HttpTarget, parse_model_list
from proxy.upstream.journey import Journey, Rules, Stop, weighted
from proxy.upstream.litellm import LiteLLMUpstream
from proxy.upstream.openai import OpenAIUpstream, parse_base_url
from proxy.upstream.router_settings import RoutingPolicy
from proxy.upstream.watched import Watched

DEFAULT = "default"
"""What the default upstream is called."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where one request goes.

    Attributes:
        upstream: what to call.
        model: the model name to send, None where the request names none, or the upstream chooses one.
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


Found = tuple[Deployment, Watched]


class _Name:
    """All deployments of one name: variants whose answers differ, each of deployments that stand for each other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.variants: dict[str, list[Found]] = {}
        self._count = 0

    def add(self, deployment: Deployment, upstream: Watched) -> None:
        self._count += 1
        if deployment.label == self.name and self._count > 1:  # its address is nobody's business but the operator's
            deployment = dataclasses.replace(deployment, label=f"{self.name} #{self._count}")
        self.variants.setdefault(deployment.kind, []).append((deployment, upstream))

    def stops(self, stood_for: Sequence[str], draw: float) -> list[Stop]:
        """One of the variants, by weight. The cache keeps them apart, so the choice is made before it is looked into."""
        choices = [self._stops(found, stood_for) for found in self.variants.values()]
        if len(choices) == 1:
            return choices[0]
        heads = [dataclasses.replace(stops[0], weight=sum(stop.weight for stop in stops)) for stops in choices]
        return choices[heads.index(weighted(heads, draw))]

    def _stops(self, found: Sequence[Found], stood_for: Sequence[str]) -> list[Stop]:
        stops = []
        identity = None
        for deployment, upstream in found:
            route = _route(deployment, upstream, stood_for, identity)
            identity = route.identity  # the first one's: adding a deployment keeps the cache
            stops.append(Stop(route, upstream, deployment.label, deployment.weight, deployment.order))
        return stops


class UpstreamRegistry:
    """The configured models first, exact names before patterns; everything else goes to the default.

    Args:
        default: serves every model that is not configured; None refuses them.
        routes: deployments with the upstream that serves each, in the order of the configuration.
        policy: of retries and fallbacks.
        on_fallback: told of each fallback that answered: from which name to which.

    Raises:
        ConfigError: a fallback is no model that is served.
    """

    def __init__(
        self,
        default: Watched | None,
        routes: Sequence[Found] = (),
        *,
        policy: RoutingPolicy,
        on_fallback: Callable[[str, str], None],
    ) -> None:
        self._default = default
        self._names: dict[str, _Name] = {}
        for deployment, upstream in routes:
            self._names.setdefault(deployment.name, _Name(deployment.name)).add(deployment, upstream)
        patterns = [name for name in self._names if "*" in name]
        patterns.sort(key=lambda name: len(name.replace("*", "")), reverse=True)  # stable: ties keep order
        self._patterns = [(_regex(name), self._names[name]) for name in patterns]
        self._upstreams = {id(upstream): upstream for _, upstream in routes}
        if default is not None:
            self._upstreams[id(default)] = default
        self._policy = policy
        self._rules = Rules(policy, RetryBudget(), self._stops_of, on_fallback)
        for name in {*policy.default_fallbacks, *(other for others in policy.fallbacks.values() for other in others)}:
            if not self._stops_of(name):
                raise ConfigError(f"The fallback {name!r} is no model of model_list, and there is no default provider.")

    @property
    def default(self) -> Watched | None:
        """What serves the models that are not configured."""
        return self._default

    def models(self) -> tuple[str, ...]:
        """The configured names without a `*`, in order, for `/v1/models`."""
        return tuple(name for name in self._names if "*" not in name)

    def upstreams(self) -> tuple[Watched, ...]:
        """Every upstream once."""
        return tuple(self._upstreams.values())

    def states(self) -> dict[str, State]:
        """How it stands with each upstream, by name."""
        return {upstream.name: upstream.state for upstream in self._upstreams.values()}

    def resolve(self, model: str | None) -> Route:
        """Find the upstream for a model name; None (no model in the request) means the default.

        Raises:
            RequestError: nothing is configured for it and there is no default; 404 `model_not_found`.
        """
        stops = self._stops_of(model)
        if not stops:
            raise RequestError(
                "No upstream is configured for this model; add it to model_list, or set an upstream base URL.",
                status=404,
                code="model_not_found",
                param="model",
            )
        route = stops[0].route
        assert isinstance(route, Route)
        if model is None or not self._has_choice(model, stops):
            return route
        return dataclasses.replace(route, upstream=Journey(model, stops, self._rules), model=None)

    async def aclose(self) -> None:
        """Close every upstream, the default too."""
        for upstream in self._upstreams.values():
            await upstream.aclose()

    def _stops_of(self, model: str | None) -> list[Stop]:
        if model is not None:
            if found := self._names.get(model):
                return found.stops((), random.random())  # noqa: S311  (shares of load, not secrets)
            for regex, found in self._patterns:
                if match := regex.fullmatch(model):
                    return found.stops(match.groups(), random.random())  # noqa: S311
        if self._default is None:
            return []
        route = Route(self._default, model, self._default.identity, Tariff(model or ""))
        return [Stop(route, self._default, DEFAULT)]

    def _has_choice(self, model: str, stops: Sequence[Stop]) -> bool:
        return len(stops) > 1 or self._policy.retries_for(1) > 0 or bool(self._policy.fallbacks_of(model))


def build_registry(
    default: Upstream | None,
    model_list: object = (),
    *,
    environ: Mapping[str, str],
    connect_timeout_s: float,
    read_timeout_s: float,
    max_connections: int,
    policy: RoutingPolicy | None = None,
    on_call: Callable[[str, str], None] = lambda _, __: None,
    on_fallback: Callable[[str, str], None] = lambda _, __: None,
) -> UpstreamRegistry:
    """Open an upstream for every entry of LiteLLM's `model_list`; see `deployments.py` for the dialect.

    Args:
        default: serves what the list does not name; None refuses it.
        model_list: as YAML gave it.
        environ: where `os.environ/NAME` is looked up.
        connect_timeout_s, read_timeout_s, max_connections: as for `OpenAIUpstream`, for each address; the policy's and an
            entry's own `timeout` take the place of `read_timeout_s`.
        policy: of retries, fallbacks and cooldowns; None takes the defaults.
        on_call: told of each call to an upstream, see `Watched`.
        on_fallback: told of each fallback that answered.

    Raises:
        ConfigError: naming the entry and the field.
    """
    policy = policy or RoutingPolicy()
    read_timeout_s = policy.timeout_s or read_timeout_s
    names: Counter[str] = Counter()

    def watched(upstream: Upstream, name: str, cooldown_s: float | None = None) -> Watched:
        names[name] += 1
        breaker = Breaker(policy.allowed_fails + 1, policy.cooldown_s if cooldown_s is None else cooldown_s)
        numbered = name if names[name] == 1 else f"{name} #{names[name]}"
        return Watched(upstream, name=numbered, breaker=breaker, on_call=on_call)

    opened: dict[HttpTarget, Watched] = {}
    routes: list[Found] = []
    for index, deployment in enumerate(parse_model_list(model_list, environ)):
        target = deployment.target
        if target is None:
            params = {**deployment.params}
            if policy.stream_timeout_s is not None:
                params.setdefault("stream_timeout", policy.stream_timeout_s)
            through = LiteLLMUpstream(params, read_timeout_s=read_timeout_s)
            routes.append((deployment, watched(through, deployment.model, deployment.cooldown_s)))
            continue
        if target not in opened:
            try:
                upstream = OpenAIUpstream(
                    target.base_url,
                    api_key=target.api_key,
                    connect_timeout_s=connect_timeout_s,
                    read_timeout_s=target.timeout_s or read_timeout_s,
                    stream_timeout_s=target.stream_timeout_s or target.timeout_s or policy.stream_timeout_s,
                    max_connections=max_connections,
                    extra_headers=target.headers,
                    identity=_http_identity(target),
                )
            except ConfigError as error:
                raise ConfigError(f"model_list[{index}].litellm_params: {error}") from error
            opened[target] = watched(upstream, urlsplit(target.base_url).netloc, deployment.cooldown_s)
        routes.append((deployment, opened[target]))
    serving = None if default is None else watched(default, DEFAULT)
    return UpstreamRegistry(serving, routes, policy=policy, on_fallback=on_fallback)


def _http_identity(target: HttpTarget) -> str:
    base = str(parse_base_url(target.base_url))
    if not target.headers:
        return base
    # Headers such as the organisation or a beta change what is answered; they may hold a key, so only a digest shows.
    return f"{base}#{hashlib.sha256(repr(target.headers).encode()).hexdigest()[:16]}"


def _route(deployment: Deployment, upstream: Watched, stood_for: Sequence[str], identity: str | None) -> Route:
    model, tariff = _filled(deployment.model, stood_for), deployment.tariff
    if stood_for:
        tariff = dataclasses.replace(tariff, model=_filled(tariff.model, stood_for))
    return Route(upstream, model, identity or f"{upstream.identity}#{model}", tariff)


def _filled(pattern: str, stood_for: Sequence[str]) -> str:
    first, *rest = pattern.split("*")
    return first + "".join(text + literal for text, literal in zip(stood_for, rest, strict=False))


def _regex(name: str) -> re.Pattern[str]:
    return re.compile("(.*)".join(re.escape(part) for part in name.split("*")), re.DOTALL)
