"""LiteLLM's `router_settings` and `litellm_settings`, read into one policy: retries, fallbacks, balancing, cooldowns. Pure.

    router_settings:
      routing_strategy: least-busy          # or simple-shuffle, by weight
      num_retries: 2
      fallbacks: [{"gpt-4o": ["claude", "local"]}]
    litellm_settings:
      request_timeout: 120

Names that both know count from `router_settings`. Names of LiteLLM's that mean nothing here are told, not refused: files are shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.errors import ConfigError

STRATEGIES = ("simple-shuffle", "least-busy")
MAX_RETRIES = 10
"""More would only wait: each wait is drawn up to ten seconds."""
_ROUTER = frozenset(
    {
        "routing_strategy",
        "num_retries",
        "retry_after",
        "timeout",
        "stream_timeout",
        "allowed_fails",
        "cooldown_time",
        "disable_cooldowns",
        "fallbacks",
        "default_fallbacks",
    }
)
_LITELLM = frozenset(
    {"num_retries", "request_timeout", "allowed_fails", "cooldown_time", "fallbacks", "default_fallbacks"}
)


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """What is done beyond one call to one provider.

    Attributes:
        strategy: one of `STRATEGIES`.
        num_retries: tries after the first; None: one for each further deployment of the same name, at most two.
        retry_after_s: seconds waited before a retry at the same deployment, at least.
        timeout_s: longest silence of a provider, None for the setting of Deja's own.
        stream_timeout_s: the same for requests of streams, None for `timeout_s`.
        allowed_fails: failures in a row after which a provider is not yet left alone.
        cooldown_s: how long it is then.
        fallbacks: model name -> names to ask where it fails, in this order.
        default_fallbacks: for names without.
        unused: names in the file that mean nothing here.
    """

    strategy: str = "simple-shuffle"
    num_retries: int | None = None
    retry_after_s: float = 0.0
    timeout_s: float | None = None
    stream_timeout_s: float | None = None
    allowed_fails: int = 4
    cooldown_s: float = 5.0
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default_fallbacks: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def fallbacks_of(self, name: str) -> tuple[str, ...]:
        """Names to ask where a configured one fails; never the name itself."""
        return tuple(other for other in self.fallbacks.get(name, self.default_fallbacks) if other != name)

    def retries_for(self, deployments: int) -> int:
        """Tries after the first for a name with so many deployments."""
        return min(deployments - 1, 2) if self.num_retries is None else self.num_retries


def parse_routing(router: Mapping[str, Any], litellm: Mapping[str, Any]) -> RoutingPolicy:
    """Read the two sections as YAML gave them.

    Raises:
        ConfigError: naming section and field.
    """
    own = {name: (value, f"litellm_settings.{name}") for name, value in litellm.items() if name in _LITELLM}
    if "request_timeout" in own:
        own["timeout"] = own.pop("request_timeout")
    own |= {name: (value, f"router_settings.{name}") for name, value in router.items() if name in _ROUTER}
    given = {name: pair for name, pair in own.items() if pair[0] is not None}
    unused = [f"router_settings.{name}" for name in router.keys() - _ROUTER]
    unused += [f"litellm_settings.{name}" for name in litellm.keys() - _LITELLM]
    policy = RoutingPolicy()
    fails = _number(given, "allowed_fails", least=0)
    if _flag(given, "disable_cooldowns"):
        fails = float(1 << 30)
    retries = _number(given, "num_retries", least=0, most=MAX_RETRIES)
    cooldown_s = _number(given, "cooldown_time", least=0)
    return RoutingPolicy(
        strategy=_strategy(given),
        num_retries=None if retries is None else int(retries),
        retry_after_s=_number(given, "retry_after", least=0) or 0.0,
        timeout_s=_number(given, "timeout", least=0.001),
        stream_timeout_s=_number(given, "stream_timeout", least=0.001),
        allowed_fails=policy.allowed_fails if fails is None else int(fails),
        cooldown_s=policy.cooldown_s if cooldown_s is None else cooldown_s,
        fallbacks=_fallbacks(given),
        default_fallbacks=_names(*given["default_fallbacks"]) if "default_fallbacks" in given else (),
        unused=tuple(sorted(unused)),
    )


_Given = Mapping[str, tuple[Any, str]]


def _strategy(given: _Given) -> str:
    value, where = given.get("routing_strategy", (STRATEGIES[0], ""))
    if value not in STRATEGIES:
        raise ConfigError(
            f"{where} has to be one of {', '.join(STRATEGIES)}; the others of LiteLLM's are not known here."
        )
    return str(value)


def _number(given: _Given, name: str, *, least: float, most: float = float("inf")) -> float | None:
    if name not in given:
        return None
    value, where = given[name]
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not least <= number <= most or number == float("inf"):
        bounds = f"from {least:g} on" if most == float("inf") else f"from {least:g} to {most:g}"
        raise ConfigError(f"{where} has to be a number {bounds}.")
    return number


def _flag(given: _Given, name: str) -> bool:
    value, where = given.get(name, (False, ""))
    if not isinstance(value, bool):
        raise ConfigError(f"{where} has to be true or false.")
    return value


def _fallbacks(given: _Given) -> dict[str, tuple[str, ...]]:
    value, where = given.get("fallbacks", ([], ""))
    entries = [value] if isinstance(value, Mapping) else value
    if not isinstance(entries, list | tuple) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigError(f'{where} has to be a list such as [{{"gpt-4o": ["claude"]}}].')
    return {str(name): _names(others, f"{where}.{name}") for entry in entries for name, others in entry.items()}


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise ConfigError(f"{where} has to be a list of model names.")
    return tuple(value)
