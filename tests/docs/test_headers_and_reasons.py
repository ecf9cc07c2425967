"""The documentation of what requests and answers say is true: headers, directives, modes, reasons, error codes."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from proxy.api.cache_headers import cache_status, response_headers
from proxy.core import directives
from proxy.core.gates import GateReason
from proxy.core.models import Entry, Forwarded, HitKind, Mode, NotStored, Reason, WireMode
from proxy.core.outcome import Outcome
from proxy.core.routing import RouteReason
from tests.docs.pages import DOCS, REFERENCE, REPOSITORY, names, rows, section

ENTRY = Entry("ent_…", "q", b"{}", WireMode.BOTH, created_at=0.0, ttl_s=3600, usage_estimated=True)


def values(kind: type[StrEnum]) -> list[str]:
    return [member.value for member in kind]


def test_every_request_control_is_documented() -> None:
    table = section(REFERENCE / "headers.md", "What a request may say").split("###")[0]
    headers = {row[0].strip("`").lower(): row[1].strip("`") for row in rows(table) if row[0]}
    assert headers == directives.HEADERS
    assert set(names(table, column=1)) == directives.BODY_FIELDS


def test_every_cache_control_directive_is_documented() -> None:
    for name in (row[0].strip("`") for row in rows(section(REFERENCE / "headers.md", "Cache-Control"))):
        asked = [(b"cache-control", name.replace("N", "5").encode())]
        told = directives.parse_directives(asked, {}, default_mode=Mode.SEMANTIC)
        assert told != directives.parse_directives([], {}, default_mode=Mode.SEMANTIC), name
    source = Path(directives.__file__).read_text()
    understood = set(re.findall(r'case "([a-z-]+)":', source))
    assert understood == {name.partition("=")[0] for name in names(section(REFERENCE / "headers.md", "Cache-Control"))}


def test_every_mode_is_documented() -> None:
    assert sorted(names(section(REFERENCE / "headers.md", "Modes"), column=0)) == sorted(values(Mode))


def test_every_field_of_litellms_dialect_is_documented() -> None:
    assert set(names(section(REFERENCE / "headers.md", "LiteLLM's dialect"))) == directives._DIALECT_FIELDS


def test_every_response_header_is_documented() -> None:
    outcome = Outcome(
        hit=HitKind.SEMANTIC,
        entry=ENTRY,
        similarity=0.9,
        confidence_clamped=True,
        usage_estimated=True,
        inputs=(1, 1),
        not_stored=NotStored.STATUS,
        memory="read=1",
        timings_ms={"lookup": 1.0},
    )
    sent = {name.decode() for name, _ in response_headers((), outcome, "req_1")}
    sources = [*(REPOSITORY / "proxy" / "api").rglob("*.py"), *(REPOSITORY / "proxy" / "upstream").rglob("*.py")]
    source = "".join(path.read_text() for path in sources)
    sent |= set(re.findall(r'b"(x-deja-[a-z-]+)"', source))
    table = section(REFERENCE / "headers.md", "What an answer says").split("###")[0]
    assert {row[0].strip("`").lower() for row in rows(table)} == sent


def outcomes() -> list[Outcome]:
    hit = Outcome()
    hit.serve(HitKind.EXACT, ENTRY, now_s=60.0)
    stale = Outcome()
    stale.serve(HitKind.EXACT, ENTRY, now_s=3612.0)
    by_meaning = Outcome()
    by_meaning.serve(HitKind.SEMANTIC, ENTRY, now_s=60.0)
    miss = Outcome(fwd=Forwarded.MISS, reason=Reason.NO_CANDIDATE, stored_as="ent_…")
    return [
        hit,
        stale,
        by_meaning,
        miss,
        Outcome(fwd=Forwarded.MISS, reason=Reason.BELOW_CONFIDENCE),
        Outcome(fwd=Forwarded.PARTIAL, reason=Reason.EXACT_ONLY, stored_as="emb_…"),
        replace(miss, is_collapsed=True),
        Outcome(fwd=Forwarded.REQUEST, reason=Reason.NO_CACHE, stored_as="ent_…"),
        Outcome(fwd=Forwarded.REQUEST, reason=Reason.WRITE_ONLY, stored_as="ent_…"),
        Outcome(fwd=Forwarded.STALE, reason=Reason.MAX_AGE, stored_as="ent_…"),
        Outcome(fwd=Forwarded.BYPASS, reason=Reason.MODE_OFF),
        Outcome(fwd=Forwarded.MISS, reason=Reason.ONLY_IF_CACHED),
    ]


def test_the_documented_cache_status_values_are_what_is_sent() -> None:
    documented = names(section(REFERENCE / "headers.md", "Cache-Status"), column=1)
    assert documented == [cache_status(outcome) for outcome in outcomes()]


def test_every_reason_is_documented() -> None:
    page = REFERENCE / "reasons.md"
    not_stored = names(section(page, "Why an answer is not stored"))
    assert not_stored == values(NotStored)
    forwarded = names(page.read_text())[: -len(not_stored)]
    assert sorted(forwarded) == sorted([*values(Reason), *values(RouteReason), *values(GateReason)])


def test_every_error_code_is_documented() -> None:
    documented = set(re.findall(r"`([a-z_]+)`", (DOCS / "guide" / "when-things-fail.md").read_text()))
    ours = [*(REPOSITORY / "proxy" / "api").rglob("*.py"), *(REPOSITORY / "proxy" / "core").rglob("*.py")]
    ours += [*(REPOSITORY / "proxy" / "services").rglob("*.py"), REPOSITORY / "proxy" / "upstream" / "registry.py"]
    raised = {code for path in ours for code in re.findall(r'code="([a-z_]+)"', path.read_text())}
    assert raised <= documented
