"""Labelled pairs through a running proxy: ask one wording, then the other, and read from Cache-Status whether it hit.

Each pair has a namespace of its own, so pairs never meet; entries live for minutes. Later turns are asked after one opening and its answer.
What this adds to measuring offline is everything around the judge: parsing, routing, the vector search, deadlines.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx
import numpy as np

from proxy.core.models import Reason
from proxy.core.routing import RouteReason
from proxy.errors import ConfigError
from proxy.tuning.figures import Outcome, counted
from proxy.tuning.rating import BoolArray
from proxy.tuning.scoring import LabelledPair

_TTL_S = 900  # entries go by themselves soon after
_OPENING = "Tell me about it."  # before later turns
_TIMEOUT_S = 60.0
_DECIDED = frozenset(
    {
        "", "exact", "semantic", Reason.BELOW_CONFIDENCE, Reason.VERIFIER, Reason.NO_CANDIDATE, Reason.TEXT_TOO_LONG,
        Reason.UNKNOWN_TOKENS, *RouteReason,
    }
)  # fmt: skip


Message = dict[str, str]


class _Told(NamedTuple):
    """What came back: the answer's text, and what `read_status` reads of it."""

    answer: str
    status: str


@dataclass(frozen=True, slots=True)
class ProxyResult:
    """A set through the proxy, beside the same pairs offline.

    Attributes:
        name: of the set.
        proxy: what the proxy served.
        offline: what was worked out for the same pairs.
        only_proxy: pairs that hit there alone.
        only_offline: pairs that hit here alone.
        troubles: why the proxy did not decide by meaning (a deadline missed, Redis away) -> how often; not as it should be.
    """

    name: str
    proxy: Outcome
    offline: Outcome
    only_proxy: int
    only_offline: int
    troubles: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Everything as numbers."""
        return {
            "name": self.name,
            "found": [self.proxy.found.count, self.proxy.found.of],
            "accepted": [self.proxy.accepted.count, self.proxy.accepted.of],
            "offline": {"found": self.offline.found.count, "accepted": self.offline.accepted.count},
            "only_proxy": self.only_proxy,
            "only_offline": self.only_offline,
            "troubles": self.troubles,
        }


@dataclass(frozen=True, slots=True)
class Target:
    """The proxy to ask.

    Attributes:
        url: its root, with or without /v1.
        model: the model to name in requests.
        key: a credential it takes, None for none.
        concurrency: pairs under way at once.
    """

    url: str
    model: str
    key: str | None
    concurrency: int

    @property
    def root(self) -> str:
        """The URL without /v1."""
        return self.url.rstrip("/").removesuffix("/v1")


async def upstream_of(target: Target) -> str:
    """Ask what the proxy forwards to, as its /ready tells.

    Raises:
        ConfigError: there is no Deja, or it is not ready.
    """
    async with _client(target) as client:
        try:
            told = (await client.get("/ready")).json()
            return str(told["parts"]["upstream"]["detail"])
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ConfigError(
                f"No Deja answers at {target.root} ({type(error).__name__}); start it with `deja serve`."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"What answers at {target.root} is no Deja; name the address that `deja serve` prints."
            ) from error


async def ask(target: Target, pairs: Sequence[LabelledPair], progress: Callable[[int, int], None]) -> list[str]:
    """Send the pairs; gives of each what its second question got: `hit exact`, `hit semantic`, or the reason of the miss.

    Raises:
        ConfigError: the proxy went away or refuses the requests.
    """
    run, done = secrets.token_hex(4), 0
    told = [""] * len(pairs)
    waiting = iter(range(len(pairs)))

    async def work(client: httpx.AsyncClient) -> None:
        nonlocal done
        for i in waiting:
            namespace = f"eval-{run}-{i}"
            before: list[Message] = []
            if pairs[i].is_follow_up:
                before = [_said("user", _OPENING)]
                before.append(_said("assistant", (await _post(client, target, namespace, before)).answer))
            await _post(client, target, namespace, [*before, _said("user", pairs[i].stored)])
            told[i] = (await _post(client, target, namespace, [*before, _said("user", pairs[i].asked)])).status
            done += 1
            progress(done, len(pairs))

    async with _client(target) as client:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(target.concurrency, len(pairs))):
                    group.create_task(work(client))
        except* ConfigError as errors:
            raise errors.exceptions[0] from None
    return told


def compare(name: str, pairs: Sequence[LabelledPair], told: Sequence[str], offline: BoolArray) -> ProxyResult:
    """Set what the proxy did beside what was worked out, both (n,)."""
    is_same = np.array([pair.is_same for pair in pairs], bool)
    hits = np.array([one.startswith("hit") for one in told], bool)
    reasons = [one.removeprefix("hit").strip() for one in told]
    troubles = Counter(one for one in reasons if one not in _DECIDED and not one.startswith("gate-"))
    return ProxyResult(
        name,
        counted(hits, is_same),
        counted(offline, is_same),
        int((hits & ~offline).sum()),
        int((offline & ~hits).sum()),
        dict(troubles.most_common()),
    )


def read_status(value: str) -> str:
    """Read a Cache-Status: `hit` and its kind, or the reason of a miss.

    Raises:
        ConfigError: there is no member of Deja's in it.
    """
    for member in value.split(","):
        name, *parameters = [part.strip() for part in member.split(";")]
        if name == "deja":
            detail = next((part.removeprefix("detail=") for part in parameters if part.startswith("detail=")), "")
            return f"hit {detail}".strip() if "hit" in parameters else detail
    raise ConfigError("An answer came without Deja's Cache-Status; is there another proxy in front that takes it off?")


async def _post(client: httpx.AsyncClient, target: Target, namespace: str, messages: Sequence[Message]) -> _Told:
    body = {"model": target.model, "messages": messages}
    headers = {"X-Deja-Namespace": namespace, "X-Deja-TTL": str(_TTL_S)}
    try:
        answer = await client.post("/v1/chat/completions", json=body, headers=headers)
    except httpx.HTTPError as error:
        raise ConfigError(
            f"The proxy at {target.root} stopped answering ({type(error).__name__}); look at its log."
        ) from error
    if answer.status_code != 200:
        raise ConfigError(
            f"The proxy at {target.root} answered {answer.status_code}; look at its log and, for 401, at DEJA_AUTH__KEYS."
        )
    said = answer.json()["choices"][0]["message"]["content"] or ""
    return _Told(said, read_status(answer.headers.get("cache-status", "")))


def _said(role: str, text: str) -> Message:
    return {"role": role, "content": text}


def _client(target: Target) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {target.key}"} if target.key else {}
    return httpx.AsyncClient(base_url=target.root, headers=headers, timeout=_TIMEOUT_S)
