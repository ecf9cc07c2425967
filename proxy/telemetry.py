"""Metric names and labels, and how Deja logs: one list of each.

Labels are bounded: no tenant, no model name a caller could make up, no prompt.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from proxy.errors import where

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Bucket bounds: hits lie below 10 ms, models answer within two minutes."""

GAUGES = {
    "deja_wrong_hit_rate": "own",
    "deja_namespaces": "highest",
    "deja_entries_to_move": "highest",
    "deja_acceptance_level:loosest": "lowest",
    "deja_acceptance_level:strictest": "highest",
}
"""How gauges of several workers become one where that is not their sum (`core.metric_sums`): these are about what all of them share."""


class Metrics:
    """All metrics of one application, in a registry of its own (two applications in one process do not collide)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "deja_requests",
            "Requests of cached routes, by outcome (exact, semantic, collapsed, miss, partial, stale, request, bypass, error) and reason.",
            ["route", "outcome", "reason"],
            registry=self.registry,
        )
        self.refusals = Counter(
            "deja_refusals",
            "Requests that were not let in, by code: the key is unknown, expired or for something else, or has used up what it may.",
            ["code"],
            registry=self.registry,
        )
        self.limits_unchecked = Counter(
            "deja_limits_unchecked",
            "Times that Redis was away when use was to be counted: what came was let in.",
            registry=self.registry,
        )
        self.background_failures = Counter(
            "deja_background_failures",
            "Times that work in the background failed in a way nobody foresaw, by its name; what has to go on has begun again.",
            ["task"],
            registry=self.registry,
        )
        self.request_failures = Counter(
            "deja_request_failures",
            "Requests answered with 500 because of what nobody foresaw, by route; those of cached routes are in deja_requests.",
            ["route"],
            registry=self.registry,
        )
        self.flights_followed = Counter(
            "deja_flights_followed",
            "Calls in flight in other processes that were followed; of these, how many were taken over or broke off as that process died.",
            ["how"],
            registry=self.registry,
        )
        self.refreshes = Counter(
            "deja_refreshes",
            "Answers fetched anew in the background, by why (stale, ahead) and what came of it (stored, not-stored, failed, dropped).",
            ["why", "how"],
            registry=self.registry,
        )
        self.not_stored = Counter(
            "deja_answers_not_stored",
            "Answers that were not stored, by named reason.",
            ["reason"],
            registry=self.registry,
        )
        self.embedding_inputs = Counter(
            "deja_embedding_inputs",
            "Inputs of requests for embeddings that the cache was asked for, by who gave their vectors: stored or provider.",
            ["source"],
            registry=self.registry,
        )
        self.upstream_calls = Counter(
            "deja_upstream_calls",
            "Calls to configured providers, retries and fallbacks too, by how they went: ok, refused (4xx), busy (429), ill (408, 5xx), "
            "unreached, silent, or open (not made: the circuit breaker is open).",
            ["upstream", "result"],
            registry=self.registry,
        )
        self.fallbacks = Counter(
            "deja_fallbacks",
            "Requests that a fallback answered, by configured names.",
            ["fallback"],
            registry=self.registry,
        )
        self.upstream_open = Gauge(
            "deja_upstream_open",
            "Whether a provider is being left alone: 1 while its circuit breaker is open, 0.5 while one call tries it, else 0.",
            ["upstream"],
            registry=self.registry,
        )
        self.cost_usd = Counter(
            "deja_cost_usd",
            "List prices in USD: of calls (spent), of calls that were spared (saved_exact, saved_semantic, saved_collapsed), of Deja's own "
            "(embedding, audit, memory).",
            ["line"],
            registry=self.registry,
        )
        self.calls_unpriced = Counter(
            "deja_calls_unpriced",
            "Calls to providers whose cost is not known: no price for the model, or no usage in the answer.",
            registry=self.registry,
        )
        self.ledger_dropped = Gauge(
            "deja_ledger_dropped",
            "Counts that are missing in tenants' ledgers, for want of room.",
            registry=self.registry,
        )
        self.duration = Histogram(
            "deja_request_duration_seconds",
            "From a request's arrival to its answer's last byte.",
            ["route", "outcome"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stage = Histogram(
            "deja_stage_duration_seconds",
            "Time in one stage: memory, lookup, embed, verify, upstream (to the answer's head).",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.records_dropped = Counter(
            "deja_records_dropped",
            "Records of sessions and journal that were lost for want of room.",
            registry=self.registry,
        )
        self.agents_dead = Counter(
            "deja_agents_dead", "Agents whose heartbeat ran out, as this process wrote it down.", registry=self.registry
        )
        self.records_waiting = Gauge(
            "deja_records_waiting", "Records of sessions and journal not yet written.", registry=self.registry
        )
        self.steps_dropped = Counter(
            "deja_steps_dropped",
            "Requests that are missing in a recording, for want of room while they waited for Redis.",
            registry=self.registry,
        )
        self.journal_lost = Counter(
            "deja_journal_events_lost",
            "Events of the journal removed at its hard cap though a consumer group had not acknowledged them.",
            registry=self.registry,
        )
        self.entries_evicted = Counter(
            "deja_entries_evicted",
            "Entries removed before their time, those that saved least for their size: the cache was over its own cap, or Redis near its "
            "maxmemory (memory).",
            ["reason"],
            registry=self.registry,
        )
        self.entries_moved = Counter(
            "deja_entries_moved",
            "Entries embedded anew after a change of embedder, by this process.",
            registry=self.registry,
        )
        self.entries_to_move = Gauge(
            "deja_entries_to_move",
            "Entries of the embedder before that are still to be embedded anew; they answer by meaning meanwhile.",
            registry=self.registry,
        )
        self.decisions_dropped = Counter(
            "deja_decisions_dropped",
            "Decisions that were lost to explain, feedback and what-if for want of room.",
            registry=self.registry,
        )
        self.decisions_waiting = Gauge("deja_decisions_waiting", "Decisions not yet written.", registry=self.registry)
        self.feedback = Counter(
            "deja_feedback",
            "Votes of callers on hits, each counted once. A biased sample: not part of the measured wrong-hit rate.",
            ["verdict", "tier"],
            registry=self.registry,
        )
        self.audits = Counter(
            "deja_audits",
            "Answers compared with fresh ones, by kind (hit, shadow, below, control) and verdict (right, wrong, or why there is none).",
            ["kind", "verdict"],
            registry=self.registry,
        )
        self.audit_calls = Counter(
            "deja_audit_calls",
            "Extra calls to providers that audits made, by what for: answer or judge.",
            ["purpose"],
            registry=self.registry,
        )
        self.audit_tokens = Counter(
            "deja_audit_tokens",
            "Tokens of those calls, as the providers counted them.",
            ["purpose"],
            registry=self.registry,
        )
        self.memory_calls = Counter(
            "deja_memory_calls",
            "Calls to providers that memory made, by what for: conversation, view or extraction.",
            ["purpose"],
            registry=self.registry,
        )
        self.memory_tokens = Counter(
            "deja_memory_tokens",
            "Tokens of those calls, as the providers counted them.",
            ["purpose"],
            registry=self.registry,
        )
        self.memory_reads = Counter(
            "deja_memory_reads",
            "Requests that asked for memories, by what they got: found, none, or why none were looked for.",
            ["outcome"],
            registry=self.registry,
        )
        self.memories_told = Counter(
            "deja_memories_told", "Memories told to models with requests.", registry=self.registry
        )
        self.memory_draws = Counter(
            "deja_memory_draws",
            "Groups of messages that memories were drawn from: by a model, by rules, nothing found, or failed and tried again.",
            ["how"],
            registry=self.registry,
        )
        self.memories_drawn = Counter(
            "deja_memories_drawn",
            "Memories that came of them, before those that say the same are merged.",
            registry=self.registry,
        )
        self.turns_dropped = Counter(
            "deja_memory_turns_dropped",
            "Turns that were to be remembered and were lost for want of room while Redis was away.",
            registry=self.registry,
        )
        self.wrong_hit_rate = Gauge(
            "deja_wrong_hit_rate",
            "Wrong hits by meaning / hits by meaning over all namespaces, from audits: estimate, and low and high of its 95 % interval.",
            ["bound"],
            registry=self.registry,
        )
        self.namespaces = Gauge(
            "deja_namespaces",
            "Namespaces in use, by the state of their error budget.",
            ["state"],
            registry=self.registry,
        )
        self.acceptance_level = Gauge(
            "deja_acceptance_level",
            "Confidence a hit needs, in the loosest and the strictest namespace in use; 2 is exact hits only.",
            ["of"],
            registry=self.registry,
        )

        self.events_appended = Counter(
            "deja_events_appended", "Events appended to streams by callers.", registry=self.registry
        )
        self.events_missed = Counter(
            "deja_events_missed",
            "Events removed at a stream's hard cap before a consumer group was given them, counted for each group.",
            registry=self.registry,
        )
        self.signals_missed = Counter(
            "deja_signals_missed", "Signals left out for subscribers that were too slow.", registry=self.registry
        )
        self.signal_subscribers = Gauge(
            "deja_signal_subscribers", "Callers that listen to signals now.", registry=self.registry
        )

        self.task_steps = Counter(
            "deja_task_steps",
            "Steps of tasks, by verb (submit, claim, complete, fail, …); `due` is what came by time: leases, delays, deadlines.",
            ["step"],
            registry=self.registry,
        )
        self.tasks_dead = Counter(
            "deja_tasks_dead",
            "Tasks that failed for good, by why: attempts-used-up, not-retried, lease-expired, worker-restarted, deadline.",
            ["reason"],
            registry=self.registry,
        )
        self.task_claims_waiting = Gauge(
            "deja_task_claims_waiting", "Workers that wait for tasks now.", registry=self.registry
        )

    def show_refusal(self, code: str) -> None:
        """Count a request that was not let in."""
        self.refusals.labels(code).inc()

    def show_failure(self, route: str) -> None:
        """Count a request that failed in a way nobody foresaw."""
        self.request_failures.labels(route).inc()

    def show_memory_call(self, purpose: str, tokens: object) -> None:
        """Count a call for a summary; `tokens` as a provider wrote them, or None."""
        self.memory_calls.labels(purpose).inc()
        if isinstance(tokens, int) and tokens > 0:
            self.memory_tokens.labels(purpose).inc(tokens)

    def show_memory_read(self, found: int | str) -> None:
        """Count a request that asked for memories; how many it got, or a word for why none were looked for."""
        if isinstance(found, str):
            self.memory_reads.labels(found).inc()
            return
        self.memory_reads.labels("found" if found else "none").inc()
        self.memories_told.inc(found)

    def show_memory_draw(self, how: str, count: int) -> None:
        """Count a group that memories were drawn from, and how many came of it."""
        self.memory_draws.labels(how).inc()
        self.memories_drawn.inc(count)

    def show_audit_call(self, purpose: str, tokens: object) -> None:
        """Count a call of an audit; `tokens` as a provider wrote them, or None."""
        self.audit_calls.labels(purpose).inc()
        if isinstance(tokens, int) and tokens > 0:
            self.audit_tokens.labels(purpose).inc(tokens)

    def show_levels(self, states: Mapping[str, int], levels: Sequence[float]) -> None:
        """Show where the namespaces in use stand: how many are in each state, and their levels."""
        for state, count in states.items():
            self.namespaces.labels(state).set(count)
        if levels:
            self.acceptance_level.labels("loosest").set(min(levels))
            self.acceptance_level.labels("strictest").set(max(levels))

    def show_wrong_hit_rate(self, estimate: float | None, low: float, high: float) -> None:
        """Show the wrong-hit rate and its interval; nan where there is no estimate."""
        for bound, value in (("estimate", math.nan if estimate is None else estimate), ("low", low), ("high", high)):
            self.wrong_hit_rate.labels(bound).set(value)


_requests = logging.getLogger("deja.requests")
_PLAIN = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_BARE = re.compile(r"[\w.:/@+-]+")
_MODEL_CHARS = 200
"""Of a model's name, which is the caller's word."""
_REQUEST_ID = re.compile(r"\breq_[0-9a-f]{24}\b")


class PlacesOnly(logging.Filter):
    """Of an exception that a library logs, leaves type and places: its message may quote a prompt. The server's own, as it starts, stay."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; every one passes."""
        if record.exc_info and record.exc_info[1] is not None and not record.name.startswith("uvicorn"):
            record.exc_text = where(record.exc_info[1])
        return True


def log_of_loop(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """What asyncio has to say of an exception that nobody waited for, likewise; its own words quote arguments, too."""
    said = str(context.get("message") or "asyncio").partition("(")[0]
    error = context.get("exception")
    logging.getLogger("deja.background").error("%s: %s", said, "no exception" if error is None else where(error))


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, `request_id` where there is one, and what the line tells by name."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as one line."""
        message = record.getMessage()
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
        }
        told |= getattr(record, "told", {})
        if "request_id" not in told and (found := _REQUEST_ID.search(message)) is not None:
            told["request_id"] = found.group()
        if record.exc_info:
            told["exception"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)


def configure_logging(level: str, *, form: str = "text", has_requests: bool = False) -> None:
    """Log to standard error, one line an event: time, level, logger, sentence. Prompts and secrets are never passed in.

    Args:
        level: how much is logged.
        form: `text`, or `json` for an object a line.
        has_requests: log each request of a cached route; at `debug` they are logged in any case.
    """
    logging.basicConfig(level=level.upper(), format=_PLAIN, datefmt="%Y-%m-%dT%H:%M:%S%z")
    for handler in logging.getLogger().handlers:
        handler.addFilter(PlacesOnly())
        if form == "json":
            handler.setFormatter(JsonLines())
    if not has_requests and level != "debug":
        _requests.setLevel(logging.WARNING)
    for name in ("httpx", "mcp", "redisvl", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def log_request(
    request_id: str, route: str, model: str, outcome: str, reason: str | None, status: int, duration_s: float
) -> None:
    """Log a request that was answered, without its words; costs a look where such lines are not wanted."""
    if not _requests.isEnabledFor(logging.INFO):
        return
    told = {
        "request_id": request_id,
        "route": route,
        "model": model[:_MODEL_CHARS],
        "outcome": outcome,
        "reason": reason or "",
        "status": status,
        "duration_ms": round(duration_s * 1000, 2),
    }
    words = " ".join(f"{name}={_word(value)}" for name, value in told.items() if value != "")
    _requests.info("%s", words, extra={"told": told})


def _word(value: object) -> str:
    """A value on a line of text; a caller's word is quoted where it could be taken for more than one."""
    text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text)
