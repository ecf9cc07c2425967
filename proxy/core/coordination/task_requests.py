"""What callers ask of a queue, checked and in the form that is written: submissions, claims, values.

Moments are given as unix seconds or as seconds from now; the latter are written as "+<milliseconds>" and counted by Redis' clock, so that
replicas whose clocks differ agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from proxy.core.coordination.task_lineage import checked_name, reference
from proxy.core.keys import encode
from proxy.core.names import checked as checked_plain
from proxy.errors import RequestError

MAX_BATCH = 1000
"""Tasks of one submission or one claim: some 20 ms of Redis' one thread."""
MAX_PRIORITY = 9
DEFAULT_PRIORITY = 5
MAX_ATTEMPTS = 100
MAX_LEASE_S = 86_400.0
"""A day: a worker that is silent for longer should renew."""
MAX_WAIT_S = 60.0
"""Of a claim that waits: below the 60 to 75 s after which proxies in between close a silent connection."""
MAX_DELAY_S = 366 * 86_400.0
MAX_KEY_CHARS = 255
"""Of an idempotency key, as the header's draft (draft-ietf-httpapi-idempotency-key-header) and Stripe have it."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A task as it is submitted.

    Attributes:
        task_id: its id.
        payload: JSON.
        priority: 0 to 9, 9 first.
        start: when it may begin: empty, unix ms, or "+" and ms from now.
        deadline: when it must be done, written likewise.
        max_attempts: None for the queue's.
        parent: `<queue>/<task>`, None without.
        key: idempotency key, None without.
        digest: of what was asked for; the same for the same request.
        session: None without.
        agent: who submits, None without.
        ancestors: `<queue>/<task>` of each, root first; known once the parent was looked up.
    """

    task_id: str
    payload: bytes
    priority: int
    start: str
    deadline: str
    max_attempts: int | None
    parent: str | None
    key: str | None
    digest: str
    session: str | None
    agent: str | None
    ancestors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a worker asks for.

    Attributes:
        worker: its name, one for each process.
        count: tasks at most.
        lease_s: None for the queue's.
        is_recovering: it was started anew; what it held before comes first.
    """

    worker: str
    count: int = 1
    lease_s: float | None = None
    is_recovering: bool = False


def submission(
    given: Mapping[str, Any], *, queue: str, minted_id: str, payload_bytes: int, param: str = ""
) -> Submission:
    """A task of a request, its types checked before.

    Args:
        given: field -> value, without fields that were not given.
        queue: where it is submitted.
        minted_id: its id, if it brings none.
        payload_bytes: largest payload.
        param: what its fields' names begin with in errors, such as "tasks.3.".

    Raises:
        RequestError: 400 or 413 naming the field.
    """
    key = given.get("idempotency_key")
    if key is not None and not (0 < len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable()):
        raise RequestError(
            f"`{param}idempotency_key` cannot be used: 1 to {MAX_KEY_CHARS} printable ASCII characters.",
            param=f"{param}idempotency_key",
            code="invalid_value",
        )
    parent = given.get("parent")
    return Submission(
        task_id=checked_name(given["id"], f"{param}id") if "id" in given else minted_id,
        payload=json_value(given.get("payload"), f"{param}payload", payload_bytes),
        priority=given.get("priority", DEFAULT_PRIORITY),
        start=_moment(given, "delay_s", "not_before", param),
        deadline=_moment(given, "deadline_s", "deadline_at", param),
        max_attempts=given.get("max_attempts"),
        parent=None if parent is None else reference(queue, parent, f"{param}parent"),
        key=key,
        digest=_digest({name: value for name, value in given.items() if name != "idempotency_key"}),
        session=_plain(given, "session", param),
        agent=_plain(given, "agent", param),
    )


def json_value(value: Any, param: str, limit_bytes: int) -> bytes:
    """A value as JSON, if it is not too large.

    Raises:
        RequestError: 413 or 400 naming `param`.
    """
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise RequestError(
            f"`{param}` is nested too deeply: more than 250 levels.", param=param, code="nesting_too_deep"
        ) from error
    if len(written) > limit_bytes:
        raise RequestError(
            f"`{param}` has {len(written)} bytes as JSON, of {limit_bytes} at most: keep it elsewhere and send a reference, or raise "
            "DEJA_TASKS__PAYLOAD_BYTES.",
            status=413,
            code="payload_too_large",
            param=param,
        )
    return written


def _moment(given: Mapping[str, Any], relative: str, absolute: str, param: str) -> str:
    if relative in given and absolute in given:
        raise RequestError(
            f"`{param}{relative}` and `{param}{absolute}` exclude each other: give one of them.",
            param=f"{param}{relative}",
            code="invalid_value",
        )
    if relative in given:
        return f"+{given[relative] * 1000:.0f}"
    return f"{given[absolute] * 1000:.0f}" if absolute in given else ""


def _plain(given: Mapping[str, Any], name: str, param: str) -> str | None:
    return checked_plain(given[name], f"{param}{name}") if name in given else None


def _digest(given: Mapping[str, Any]) -> str:
    return blake2b(encode(given), digest_size=16).hexdigest()
