"""`deja tune --journal`: a tenant's own recorded decisions, read from Redis, to what each budget would have meant."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from pathlib import Path

from proxy.commands import terminal
from proxy.commands.models import open_models
from proxy.commands.redis_at_hand import redis_url
from proxy.commands.tune import make_folder
from proxy.core.confidence import EXACT_ONLY
from proxy.core.decision_log import DecisionRecord
from proxy.core.keys import tenant_of
from proxy.errors import ConfigError, StoreError
from proxy.secret import tenant_secret
from proxy.settings import Settings
from proxy.stores.client import open_client
from proxy.stores.decisions import DecisionStore
from proxy.stores.sealing import seal_of
from proxy.tuning import journal, page
from proxy.tuning.advice import percent
from proxy.tuning.journal import JournalAdvice, Recorded
from proxy.tuning.page import Section

_SHOWN = 5
_DEADLINE_MS = 10_000.0  # a person waits, no request does


def run(settings: Settings, *, namespace: str | None, api_key: str | None, budget: float, out: Path) -> None:
    """Judge what is recorded, print what matters, and write a report and a file of pairs to label.

    Args:
        settings: for Redis, models and calibration.
        namespace: only decisions of this one; None for all.
        api_key: the credential whose decisions are read; None for callers without one.
        budget: wrong hits / hits that are allowed.
        out: folder of the report; made if missing.

    Raises:
        ConfigError: Redis, the folder or a model cannot be used.
    """
    make_folder(out)
    calibration = open_models(settings).calibration
    tenant = tenant_of(api_key.encode() if api_key else None, tenant_secret(settings))
    with ExitStack() as stack:
        records = asyncio.run(_read(redis_url(settings, stack), settings, tenant, namespace))
    advice = journal.advise(records, calibration, budget)
    (out / "report.html").write_text(html(advice, namespace), "utf-8")
    (out / "report.json").write_text(json.dumps(journal.as_json(advice), indent=1) + "\n", "utf-8")
    rows = journal.label_rows(advice)
    (out / "to-label.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    _show(advice)
    if rows:
        terminal.show(
            f"{len(rows)} pairs to label, those first where a label tells most: {out / 'to-label.jsonl'}. Write true or false for "
            f"each null, and run deja tune {out / 'to-label.jsonl'}."
        )
    terminal.show(f"The report: {out / 'report.html'}")


def html(advice: JournalAdvice, namespace: str | None) -> str:
    """Write the page."""
    top = page.paragraph(journal.verdict(advice), "lead")
    votes = ", ".join(f"{count} {vote}" for vote, count in sorted(advice.votes.items())) or "none"
    top += page.cards(
        (
            ("Questions", f"{advice.questions:,}", "that reached the semantic tier"),
            ("Hits by meaning", f"{advice.hits:,}", "as they were served"),
            ("Votes", votes, "count in place of the confidence"),
        )
    )
    chosen = next(number for number, row in enumerate(advice.rows) if row.budget == advice.budget)
    budgets = page.paragraph(
        "Nothing here is labelled: what is expected rests on the calibrated confidence, and on votes where callers gave any."
    )
    budgets += page.table("What each budget would have served", _HEADING, _rows(advice), chosen)
    refused = [(reason or "below-confidence", f"{count:,}") for reason, count in advice.refused.items()]
    reading = page.quoted([_quoted(one) for one in advice.unsure], "Hits, least sure first", is_open=True)
    reading += page.quoted(
        [_quoted(one) for one in advice.nearly], "Misses that only the level refused, surest first", is_open=True
    )
    sections = [
        Section("budgets", "Budgets", budgets),
        Section("misses", "Why there was no hit", page.table("Misses by reason", ("reason", "questions"), refused)),
        Section("reading", "Worth reading", reading),
    ]
    footer = f"Made by deja tune --journal on {time.strftime('%Y-%m-%d %H:%M')}. This page quotes your users; it loads and sends nothing."
    where = "all namespaces" if namespace is None else f"namespace {namespace!r}"
    return page.page(
        "What Deja made of your traffic",
        f"{where}, at a wrong-hit budget of {percent(advice.budget)}",
        top,
        sections,
        footer,
    )


async def _read(url: str, settings: Settings, tenant: str, namespace: str | None) -> list[DecisionRecord]:
    kept, seal = settings.decisions, seal_of([key.get_secret_value() for key in settings.cache.encryption_keys])
    client = open_client(url, deadline_ms=_DEADLINE_MS)
    try:
        store = DecisionStore(client, ttl_s=kept.ttl_s, max_per_tenant=kept.max_per_tenant, now=time.time, seal=seal)
        return [record async for record in store.recent(tenant, namespace, limit=kept.max_per_tenant)]
    except StoreError as error:
        raise ConfigError(f"The decisions cannot be read: {error} Look at `deja doctor`.") from error
    finally:
        await client.aclose()


_HEADING = ("budget", "level", "hits", "of the questions", "expected wrong")


def _rows(advice: JournalAdvice) -> list[tuple[str, ...]]:
    return [
        (
            percent(row.budget),
            "exact only" if row.level >= EXACT_ONLY else f"{row.level:.4f}",
            f"{row.hits:,}",
            percent(row.hits / advice.questions) if advice.questions else "–",
            f"{row.wrong:.1f} ({percent(row.wrong / row.hits)})" if row.hits else "–",
        )
        for row in advice.rows
    ]


def _show(advice: JournalAdvice) -> None:
    terminal.show(journal.verdict(advice), "bold")
    if not advice.questions:
        return
    chosen = next(number for number, row in enumerate(advice.rows) if row.budget == advice.budget)
    terminal.show_table("What each budget would have served", _HEADING, _rows(advice), chosen)
    reasons = [(reason or "below-confidence", f"{count:,}") for reason, count in advice.refused.items()]
    terminal.show_table("Why there was no hit", ("reason", "questions"), reasons)
    terminal.show_pairs("Hits, least sure first", [_quoted(one)[:3] for one in advice.unsure[:_SHOWN]])
    terminal.show_pairs(
        "Misses that only the level refused, surest first", [_quoted(one)[:3] for one in advice.nearly[:_SHOWN]]
    )


def _quoted(one: Recorded) -> tuple[str, str, str, str]:
    vote = f" · voted {one.vote}" if one.vote else ""
    served = "served" if one.was_hit else one.why or "below the level"
    style = {"wrong": "bad", "right": "good"}.get(one.vote or "", "")
    return (
        one.stored,
        one.asked,
        f"{served} · confidence {one.confidence:.4f} · cosine {one.similarity:.3f}{vote}",
        style,
    )
