"""The documentation of what is in Redis is true: every key, and every field of what is stored."""

from __future__ import annotations

import re

from proxy.core import follow_ups, history, keys, ledger_keys, records, spaces
from proxy.core.access import keys as access
from proxy.core.coordination import keys as shared
from proxy.core.memory import keys as memory_keys
from proxy.core.memory_server import keys as memory_server
from proxy.core.memory_server.working import SessionName
from proxy.core.models import Forwarded, HitKind, Reason
from proxy.core.outcome import Outcome
from proxy.stores import embeddings, memories, responses
from tests.docs.pages import REFERENCE, names, rows, section

QUEUE_KEYS = (
    *("config", "task:task_1", "ready:5", "delayed", "leases", "deadlines", "tasks", "state:working"),
    *("children:research/task_1", "idempotency", "dead", "updates", "wake"),
)


def test_every_redis_key_is_documented() -> None:
    decisions = keys.decision_keys("0e")
    flight = keys.flight_keys("deja:v1:flight:{0a}:0b", "0f.1")
    made = [
        keys.entry_key("embedder", "0a", "ent_1"),
        keys.exact_key("0a", "0b"),
        keys.context_key("0a", "0c"),
        keys.condemned_key("0a"),
        keys.unequal_key("0a", "text"),
        follow_ups.replayed_key("0a"),
        keys.embedding_key("0a", "text"),
        keys.flight_lease(keys.Place("0a", "0b", None, ""), is_stream=True, include_usage=False),
        flight.followers,
        flight.words,
        keys.flight_inbox("0f"),
        keys.asked_key(keys.Place("0a", "0b", None, ""), "s"),
        keys.EXPIRY,
        keys.EARNED,
        keys.entries_key("0e"),
        keys.ENTRY_TENANTS,
        spaces.EMBEDDERS,
        spaces.USERS,
        spaces.MIGRATION,
        spaces.TURN,
        keys.POLICIES,
        keys.POLICIES_VERSION,
        *keys.session_keys("0d"),
        *(keys.session_key("0d", name) for name in ("data", "writes", "users")),
        *keys.recording_keys("0d"),
        *(keys.session_key("0d", name) for name in ("requests", "erased")),
        *(keys.session_index("0e", name) for name in ("active", "expiry", "ttl", "user:0f", "agent:a", "facets:s")),
        *(keys.user_key("0f", name) for name in ("requests", "erased")),
        keys.flushes_key("tenant", "faq"),
        keys.JOURNAL,
        *(getattr(decisions, name) for name in type(decisions).__slots__),
        keys.evidence_key("0f", keys.EVIDENCE_POOL),
        keys.evidence_batch_key("0a"),
        access.KEYS,
        access.HASHES,
        access.NAMESPACES,
        access.VERSION,
        access.AUDIT,
        access.requests("key_1"),
        access.tokens("0e", "2026-11-23"),
        access.tokens_batch("0e", "0a"),
        shared.agent("0e", "planner"),
        shared.agent_history("0e", "planner"),
        shared.agents_feed("0e"),
        shared.agents("0e"),
        shared.agents_of_status("0e", "working"),
        shared.agents_alive("0e"),
        shared.agents_floor("0e"),
        shared.AGENT_TENANTS,
        shared.events("0e", "orders"),
        shared.events_policy("0e", "orders"),
        shared.event_streams("0e"),
        shared.EVENT_TENANTS,
        shared.signal("0e", "news"),
        *(shared.QueueKeys("0e", "research").key(name) for name in QUEUE_KEYS),
        shared.queues("0e"),
        shared.QUEUE_TENANTS,
        shared.TASK_SYNC,
        memory_server.working_memory("0e", SessionName("s")),
        memory_server.list_prefix("0e") + memory_server.list_tag(),
        memory_server.due("0e"),
        memory_server.WAITING,
        memory_server.views("0e"),
        memory_server.view("0e", "view_1"),
        memory_server.VIEW_TENANTS,
        memory_server.view_turn("0e", "view_1"),
        memory_server.task("0e", "task_1"),
        memory_keys.memory("0e", "m1"),
        memory_keys.ids("0e"),
        memory_keys.names("0e", memory_keys.Kind.USER),
        memory_keys.texts("0e"),
        memory_keys.extraction("0f", "178-10"),
        memory_keys.extraction_taken("0f"),
        ledger_keys.usage("0e", "2026-11-23"),
        ledger_keys.spent("0e", "2026-11"),
        ledger_keys.batch("0e", "a1-2026-11-23"),
        ledger_keys.TENANTS,
        history.key("0e", history.MINUTE, 1795396860),
    ]
    documented = [row[0].strip("`") for row in rows((REFERENCE / "redis.md").read_text()) if "deja:v1:" in row[0]]
    patterns = [
        re.compile(re.sub(r"<\w+>", "[^:{}]+", name.replace("{", r"\{").replace("}", r"\}"))) for name in documented
    ]
    assert [[pattern.fullmatch(key) is not None for pattern in patterns].index(True) for key in made] == list(
        range(len(documented))
    )
    assert keys.index_name("embedder").startswith("deja:v1:index:")
    assert "deja:v1:index:<embedder>" in (REFERENCE / "redis.md").read_text()


def test_every_field_of_an_entry_is_documented() -> None:
    documented = [row[0].strip("`") for row in rows(section(REFERENCE / "redis.md", "An entry"))]
    assert documented == [*responses._FIELDS, "partition", "vector", *responses.ABOUT_FIELDS, responses.OPENS]


def test_every_field_of_a_stored_vector_is_documented() -> None:
    assert names(section(REFERENCE / "redis.md", "A stored vector")) == list(embeddings.field_names())


def test_every_field_of_a_memory_is_documented() -> None:
    text = section(REFERENCE / "redis.md", "A memory")
    assert set(names(text)) == set(memories.field_names())
    assert memory_keys.index_name("embedder").startswith("deja:v1:memory-index:")


def test_every_field_of_an_event_is_documented() -> None:
    record = records.record_of(
        at=0.0,
        tenant="t",
        request_id="req_1",
        session="s",
        agent="a",
        model="m",
        outcome=Outcome(fwd=Forwarded.BYPASS, reason=Reason.SHADOW, would_hit=HitKind.EXACT),
        status=200,
        duration_ms=1.0,
        messages=[{}],
        answered=None,
    )
    documented = [
        name for row in rows(section(REFERENCE / "redis.md", "Events")) for name in re.findall(r"`(\w+)`", row[0])
    ]
    assert documented == list(record.events[0])
