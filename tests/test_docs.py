"""The documentation is true: every name that exists is documented, every documented name exists, links resolve, examples run."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
from pydantic import SecretStr

from proxy.__main__ import app as command_line
from proxy.api.cache_headers import cache_status, response_headers
from proxy.app import create_app
from proxy.core import directives, follow_ups, history, keys, ledger_keys, records, spaces
from proxy.core.access import keys as access
from proxy.core.coordination import keys as shared
from proxy.core.gates import GateReason
from proxy.core.memory import keys as memory_keys
from proxy.core.memory_server import keys as memory_server
from proxy.core.memory_server.working import SessionName
from proxy.core.models import Entry, Forwarded, HitKind, Mode, NotStored, Reason, WireMode
from proxy.core.outcome import Outcome
from proxy.core.routing import RouteReason
from proxy.settings import ADMIN_KEY, CLIENT_KEY, Settings, environment_names, load
from proxy.stores import embeddings, memories, responses
from proxy.telemetry import Metrics
from tests.deja_process import running_deja

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md")])
PAGE_IDS = [str(page.relative_to(REPOSITORY)) for page in PAGES]

ENTRY = Entry("ent_…", "q", b"{}", WireMode.BOTH, created_at=0.0, ttl_s=3600, usage_estimated=True)


# ── reading the pages ─────────────────────────────────────────────────────────────────────────────────────────────


def section(page: Path, heading: str) -> str:
    """What stands below a heading, up to the next one of its rank or a higher one."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if re.fullmatch(rf"#+ {re.escape(heading)}", line))
    rank = len(lines[start]) - len(lines[start].lstrip("#"))
    below = lines[start + 1 :]
    end = next((n for n, line in enumerate(below) if re.match(rf"#{{1,{rank}}} ", line)), len(below))
    return "\n".join(below[:end])


def rows(text: str) -> list[list[str]]:
    """The body rows of all tables in a text, cell by cell."""
    found: list[list[str]] = []
    for block in re.split(r"\n(?!\|)", text):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        if len(lines) > 2 and set(lines[1]) <= set("|-: "):
            found += [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return found


def names(text: str, column: int = 0) -> list[str]:
    """The names in backticks of one column, in order."""
    return [name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[column])]


def values(kind: type[StrEnum]) -> list[str]:
    return [member.value for member in kind]


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown viewer makes of a page's headings."""
    without_code = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", without_code, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def shown(default: Any) -> str:
    """A default as the reference writes it."""
    match default:
        case None:
            return "unset"
        case ():
            return "empty"
        case bool():
            return str(default).lower()
        case StrEnum():
            return default.value
        case _:
            return str(default)


def test_every_setting_is_documented_with_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no deja.yaml of the developer's
    defaults = {name: shown(field.default) for name, field in environment_names().items()}
    defaults["DEJA_DATA_DIR"] = str(load({"XDG_DATA_HOME": "$XDG_DATA_HOME"}).data_dir)
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows((REFERENCE / "settings.md").read_text())}
    assert documented == defaults


def test_the_readmes_settings_have_their_real_defaults() -> None:
    documented = {
        row[0].strip("`"): row[1].strip("`")
        for row in rows(section(REPOSITORY / "README.md", "Settings in short"))
        if "," not in row[0]
    }
    fields = environment_names()
    assert documented == {name: shown(fields[name].default) for name in documented}


def test_the_example_file_holds_every_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = REPOSITORY / "deja.example.yaml"
    given = load({"XDG_DATA_HOME": "/x"}, config=example)
    assert given == load({"XDG_DATA_HOME": "/x"}).model_copy(update={"config": given.config})
    text = example.read_text()
    for name in environment_names():
        leaf = name.removeprefix("DEJA_").lower().rpartition("__")[2]
        if leaf != "config":
            assert re.search(rf"^ *(?:# )?{leaf}:", text, flags=re.MULTILINE), f"{leaf} is not in {example.name}"


def test_every_setting_a_page_names_exists() -> None:
    for page in [*PAGES, REPOSITORY / "compose.yaml", REPOSITORY / "Dockerfile"]:
        mentioned = re.findall(r"\bDEJA_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8"))
        assert set(mentioned) <= {*environment_names(), CLIENT_KEY, ADMIN_KEY}, page.name


# ── headers and reasons ───────────────────────────────────────────────────────────────────────────────────────────


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


# ── routes, metrics, Redis, command line ──────────────────────────────────────────────────────────────────────────


async def test_every_route_is_documented(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"data_dir": tmp_path, "embedder": {"source": "hashing"}, "secret": SecretStr("s")}
    )
    app = create_app(settings, redis_url="redis://127.0.0.1:1", environ={})
    async with app.router.lifespan_context(app):  # some routes may be known only then
        plain = {getattr(route, "path", "") for route in app.router.routes} - {""}
    served = {path.replace(":path}", "}") for path in plain | set(app.openapi()["paths"])}
    assert set(names((REFERENCE / "routes.md").read_text(), column=1)) - {"limit"} == served


def test_every_metric_is_documented_with_kind_and_labels() -> None:
    documented = {
        row[0].strip("`"): (row[1], tuple(re.findall(r"`(\w+)`", row[2])))
        for row in rows((REFERENCE / "metrics.md").read_text())
    }
    counted = {}
    for collector in set(Metrics().registry._collector_to_names):
        family = next(iter(collector.collect()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        counted[name] = (family.type, tuple(collector._labelnames))  # type: ignore[attr-defined]
    assert documented == counted


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


def commands_of(group: Any, above: str = "") -> dict[str, Any]:
    """Every command of a group by its name, those of groups below it too."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        whole = f"{above}{name}"
        found |= commands_of(command, f"{whole} ") if hasattr(command, "commands") else {whole: command}
    return found


def test_every_command_and_option_is_documented() -> None:
    page = REFERENCE / "cli.md"
    commands = commands_of(typer.main.get_command(command_line))
    documented = re.findall(r"^## deja ([\w -]+)$", page.read_text(), flags=re.MULTILINE)
    assert documented == list(commands)
    for name, command in commands.items():
        options = [option for parameter in command.params for option in parameter.opts]
        assert names(section(page, f"deja {name}"), column=0) == options


def test_every_make_verb_a_page_names_exists() -> None:
    verbs = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), flags=re.MULTILINE)) <= verbs, page.name


# ── the README's table of dependencies, links, files ──────────────────────────────────────────────────────────────


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [re.match(r"[\w-]+", dependency).group() for dependency in project["dependencies"]]  # type: ignore[union-attr]
    text = section(REPOSITORY / "README.md", "Dependencies, and why each")
    assert [row[0].strip("`") for row in rows(text)] == wanted
    assert all(row[1] for row in rows(text))
    tools = (REPOSITORY / "requirements" / "dev.in").read_text().splitlines()
    assert all(f"`{tool}`" in text for tool in tools if tool and tool[0] not in "#-")


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_links_resolve(page: Path) -> None:
    without_code = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(linked), f"{target} has no such heading"


def test_every_page_can_be_found() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    }
    assert set(DOCS.rglob("*.md")) <= linked


def test_every_alert_is_documented() -> None:
    alerts = re.findall(r"- alert: (\w+)", (REPOSITORY / "deploy" / "prometheus" / "alerts.yaml").read_text())
    assert names(section(DOCS / "guide" / "deploy.md", "Dashboard and alerts")) == alerts


def test_every_manifest_is_documented() -> None:
    files = {path.name for path in (REPOSITORY / "deploy" / "kubernetes").glob("*.yaml")}
    plain = {"kustomization.yaml", "namespace.yaml", "serviceaccount.yaml"}
    assert set(names(section(DOCS / "guide" / "deploy.md", "Kubernetes"))) & files == files - plain


def test_every_attribute_of_a_span_is_documented() -> None:
    source = (REPOSITORY / "proxy" / "core" / "tracing.py").read_text()
    made = set(re.findall(r'"((?:gen_ai|deja|http)\.[a-z_.]+[a-z])"', source)) | {
        "deja.saved.input_tokens",
        "gen_ai.usage.input_tokens",
    }
    text = section(DOCS / "guide" / "observability.md", "Traces")
    documented = set(re.findall(r"`((?:gen_ai|deja|http)\.[a-z_.]+)`", text))
    assert made - {"http.request.method", "http.route"} <= documented
    words = (REPOSITORY / "proxy" / "services" / "tracing.py").read_text()
    assert {name for name in documented if name.endswith(".messages")} == set(
        re.findall(r'"(gen_ai\.[a-z.]+messages)"', words)
    )


def test_every_page_that_code_names_exists() -> None:
    sources = [path for folder in ("proxy", "embeddings", "loadtest") for path in (REPOSITORY / folder).rglob("*.py")]
    for path in sources:
        for name in re.findall(r"docs/[\w/.-]+\.md", path.read_text(encoding="utf-8")):
            assert (REPOSITORY / name).is_file(), f"{path.name} names {name}"


# ── examples ──────────────────────────────────────────────────────────────────────────────────────────────────────

EXAMPLE = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
VARYING = ((r"ent_[0-9a-f]{32}", "ent_…"), (r"emb_[0-9a-f]{32}", "emb_…"), (r"ttl=\d+", "ttl=…"))


def steady(text: str) -> str:
    """Printed text without what differs from run to run."""
    for pattern, stand_in in VARYING:
        text = re.sub(pattern, stand_in, text)
    return text


def test_every_python_example_says_what_it_prints() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^```python$", text, flags=re.MULTILINE)) == len(EXAMPLE.findall(text)), page.name


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_python_examples_print_what_the_pages_say() -> None:
    examples = [(page, *found) for page in PAGES for found in EXAMPLE.findall(page.read_text(encoding="utf-8"))]
    assert len(examples) >= 6
    with running_deja() as deja:
        for number, (page, source, printed) in enumerate(examples):
            program = source.replace("127.0.0.1:8080", f"127.0.0.1:{deja.port}")  # as http and as ws
            program = program.replace(".deja/redis/redis.sock", str(deja.data_dir / "redis" / "redis.sock"))
            for form in ('"any"', "Bearer any"):  # each example is a tenant of its own
                program = program.replace(form, form.replace("any", f"any-{number}"))
            run = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
            )
            assert run.returncode == 0, f"{page.name}:\n{run.stderr}"
            assert steady(run.stdout) == steady(printed), page.name
