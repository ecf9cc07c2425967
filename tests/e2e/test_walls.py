"""Keys, limits and the walls between tenants, on a running Deja that lets nobody in without a key."""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from loadtest.leaks import Attack
from tests.deja_process import DejaProcess, running_deja
from tests.fake_upstream import FakeUpstream

CANARY = "canary-9f31c7"
"""Stands in prompts, keys, headers and names; it must come out nowhere but in answers to whoever sent it."""
STATIC, ADMIN = f"static-{CANARY}", f"admin-{CANARY}"


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[DejaProcess, FakeUpstream]]:
    with (
        FakeUpstream() as provider,
        running_deja(
            DEJA_UPSTREAM__BASE_URL=provider.base_url,
            DEJA_UPSTREAM__API_KEY=f"provider-{CANARY}",
            DEJA_AUTH__REQUIRED="true",
            DEJA_AUTH__KEYS=STATIC,
            DEJA_AUTH__ADMIN_KEYS=ADMIN,
            DEJA_LOG_LEVEL="debug",
        ) as process,
    ):
        yield process, provider


@pytest.fixture
def deja(guarded: tuple[DejaProcess, FakeUpstream]) -> DejaProcess:
    return guarded[0]


@pytest.fixture
def upstream(guarded: tuple[DejaProcess, FakeUpstream]) -> FakeUpstream:
    guarded[1].reset()
    return guarded[1]


@pytest.fixture
def admin(deja: DejaProcess) -> Iterator[httpx.Client]:
    key = (deja.data_dir / "admin-key").read_text()
    with httpx.Client(base_url=f"{deja.root}/admin", headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


Make = Callable[..., dict[str, Any]]
_names = itertools.count()


@pytest.fixture
def make(admin: httpx.Client) -> Make:
    def made(**fields: Any) -> dict[str, Any]:
        answer = admin.post("/keys", json={"name": f"n{next(_names)}"} | fields)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    return made


def ask(deja: DejaProcess, key: str, question: str, **headers: str) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": question}]}
    sent = {"Authorization": f"Bearer {key}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{deja.base_url}/chat/completions", json=body, headers=sent, timeout=20)


def is_hit(answer: httpx.Response) -> bool:
    assert answer.status_code == 200, answer.text
    return "hit" in answer.headers["cache-status"]


def eventually(found: Callable[[], bool], within_s: float = 1.0) -> bool:
    give_up_at = time.monotonic() + within_s
    while time.monotonic() < give_up_at:
        if found():
            return True
        time.sleep(0.05)
    return False


# --- keys -------------------------------------------------------------------------------------------------------------------------


def test_a_key_works_with_the_sdk_and_never_reaches_the_provider(
    deja: DejaProcess, upstream: FakeUpstream, make: Make
) -> None:
    key = make()["key"]
    with openai.OpenAI(base_url=deja.base_url, api_key=key, max_retries=0) as client:
        told = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Is a key needed here?"}]
        )
        assert told.choices[0].message.content
    seen = upstream.requests[-1]
    assert key not in str(seen.headers)
    assert f"provider-{CANARY}" in str(seen.headers)


def test_without_a_good_key_there_is_nothing(deja: DejaProcess, upstream: FakeUpstream) -> None:
    for key in ("sk-mine", "dk_" + "0" * 80, "x", ADMIN):
        assert ask(deja, key, "Who am I?").status_code in (401, 403)
    assert httpx.get(f"{deja.base_url}/models").status_code == 401
    assert not upstream.requests
    assert httpx.get(f"{deja.root}/health").status_code == 200


def test_every_route_but_the_open_ones_asks_for_a_key(deja: DejaProcess, upstream: FakeUpstream) -> None:
    paths: dict[str, dict[str, Any]] = httpx.get(f"{deja.root}/openapi.json").json()["paths"]
    asked = [(method, path) for path, methods in paths.items() for method in methods]
    asked += [
        ("post", path) for path in ("/v1/chat/completions", "/v1/anything", "/mcp", "/admin/anything", "/anything")
    ]
    with httpx.Client(base_url=deja.root) as client:
        answers = {(method, path): client.request(method, path).status_code for method, path in asked}
    let_in = {path for (_, path), status in answers.items() if status not in (401, 403)}
    page = {path for path in let_in if path.startswith("/dashboard")}  # the page itself, which asks for data with a key
    assert let_in - page <= {"/health", "/ready", "/metrics", "/v1/health"}
    assert len(answers) > 100
    assert not upstream.requests


def test_a_rotation_keeps_the_cache_and_a_revocation_is_in_force_within_a_second(
    deja: DejaProcess, upstream: FakeUpstream, make: Make, admin: httpx.Client
) -> None:
    made = make()
    ask(deja, made["key"], "What survives a rotation?")
    new = admin.post(f"/keys/{made['id']}/rotate", json={"grace_s": 60}).json()["key"]
    assert all(is_hit(ask(deja, key, "What survives a rotation?")) for key in (made["key"], new))
    assert admin.delete(f"/keys/{made['id']}").status_code == 204
    assert eventually(lambda: ask(deja, new, "What survives a rotation?").status_code == 401)
    assert ask(deja, made["key"], "What survives a rotation?").status_code == 401


def test_scopes_open_what_they_name(deja: DejaProcess, upstream: FakeUpstream, make: Make) -> None:
    key = make(scopes=["agents"])["key"]
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{deja.base_url}/agents", headers=headers).status_code == 200
    for path in ("sessions", "models", "cache/explain/req_1", "working-memory/"):
        refused = httpx.get(f"{deja.base_url}/{path}", headers=headers)
        assert refused.status_code == 403
    with pytest.raises(openai.PermissionDeniedError):
        openai.OpenAI(base_url=deja.base_url, api_key=key, max_retries=0).models.list()


def test_the_command_line_administers_by_the_key_file_alone(deja: DejaProcess) -> None:
    def run(*arguments: str) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DEJA_")}
        environment |= {"DEJA_DATA_DIR": str(deja.data_dir), "DEJA_PORT": str(deja.port)}
        done = subprocess.run(
            [sys.executable, "-m", "proxy", "keys", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    told = run("create", "by-hand", "--team", "red", "--scope", "chat", "--expires-in", "1h", "--usd-per-day", "2.50")
    key_id, key = told.split()[0], next(line for line in told.splitlines() if line.startswith("dk_"))
    assert ask(deja, key, "Did the command line make me?").status_code == 200
    listed = run("list")
    assert "usd_per_day=2.50" in listed
    assert key not in listed
    assert "dk_" in run("rotate", key_id, "--grace", "0s")
    assert "revoked" in run("revoke", key_id)
    assert eventually(lambda: ask(deja, key, "Am I gone?").status_code == 401)
    assert stat.S_IMODE((deja.data_dir / "admin-key").stat().st_mode) == 0o600


# --- administration ---------------------------------------------------------------------------------------------------------------


def test_no_data_key_administers_and_no_admin_key_reads_data(deja: DejaProcess, make: Make) -> None:
    everything = make()["key"]
    root = make(scopes=["admin"])["key"]
    for path in ("keys", "audit", "namespaces", "keys/key_1", "whatever"):
        for key in (everything, STATIC):
            refused = httpx.get(f"{deja.root}/admin/{path}", headers={"x-api-key": key})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin_only")
    for key in (root, ADMIN):
        headers = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{deja.root}/admin/keys", headers=headers).status_code == 200
        assert httpx.get(f"{deja.base_url}/agents", headers=headers).status_code == 403
        assert ask(deja, key, "May I?").status_code == 403


def test_an_admin_sees_all_tenants_in_numbers_and_a_tenant_sees_its_own_alone(
    deja: DejaProcess, make: Make, admin: httpx.Client
) -> None:
    one, other = make(name="one", tenant="shop"), make(name="other", tenant="mill")
    for key, times in ((one, 2), (other, 1)):
        for _ in range(times):
            assert ask(deja, key["key"], f"What is in the {CANARY} overview?").status_code == 200
    give_up_at = time.monotonic() + 20
    rows: dict[str, Any] = {}
    while not {"shop", "mill"} <= rows.keys():  # counts reach Redis within two seconds
        assert time.monotonic() < give_up_at, deja.log
        time.sleep(0.1)
        told = admin.get("/overview", params={"step": "minute", "limit": 60})
        rows = {row["name"]: row for row in told.json()["tenants"] if row["requests"]}
    assert rows["shop"]["requests"] == {"exact": 1, "miss": 1}
    assert rows["shop"]["keys"] == ["one"]
    assert rows["mill"]["requests"] == {"miss": 1}
    assert told.json()["total"]["requests"]["miss"] >= 2
    assert CANARY not in told.text
    own = httpx.get(f"{deja.base_url}/cache/history", headers={"Authorization": f"Bearer {other['key']}"}).json()
    assert own["total"]["requests"] == {"miss": 1}
    for data_key in (one["key"], other["key"], STATIC):
        refused = httpx.get(f"{deja.root}/admin/overview", headers={"Authorization": f"Bearer {data_key}"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin_only")


def test_what_admins_did_is_told_and_holds_no_secret(make: Make, admin: httpx.Client) -> None:
    made = make(team="blue")
    lines = admin.get("/audit", params={"limit": 5}).json()["data"]
    assert (lines[0]["action"], lines[0]["target"], lines[0]["by"]) == ("keys.create", made["id"], "local")
    assert lines[0]["from"] == "127.0.0.1"
    assert made["key"] not in admin.get("/audit").text + admin.get("/keys").text


# --- walls ------------------------------------------------------------------------------------------------------------------------


def test_tenants_share_nothing_unless_an_admin_says_so(
    deja: DejaProcess, upstream: FakeUpstream, make: Make, admin: httpx.Client
) -> None:
    mine, colleague, stranger = make(team="red")["key"], make(team="red")["key"], make(team="blue")["key"]

    def hits(question: str, namespace: str) -> list[bool]:
        return [is_hit(ask(deja, key, question, X_Deja_Namespace=namespace)) for key in (mine, colleague, stranger)]

    assert hits("Who may read this answer?", "faq") == [False, False, False]
    for sharing, expected in (("team", [False, True, False]), ("global", [False, True, True])):
        assert admin.put("/namespaces/shared-" + sharing, json={"sharing": sharing}).status_code == 200
        time.sleep(0.6)  # every process asks four times a second
        assert hits(f"Who may read the {sharing} answer?", "shared-" + sharing) == expected
    answer = ask(deja, colleague, "Who may read the team answer?", X_Deja_Namespace="shared-team")
    path = f"{deja.base_url}/cache/explain/{answer.headers['x-deja-request-id']}"
    told = httpx.get(path, headers={"Authorization": f"Bearer {colleague}"})
    assert told.json()["sharing"] == "team"
    assert httpx.get(path, headers={"Authorization": f"Bearer {mine}"}).status_code == 404


def test_a_second_tenant_gets_at_nothing(deja: DejaProcess, upstream: FakeUpstream, make: Make) -> None:
    """The short form of loadtest/leaks.py."""
    attack = Attack(deja.root, victim=make()["key"], attacker=make(tenant="attacker")["key"], admin_key=ADMIN)
    found = attack.run(280)
    assert found.tries >= 280
    assert found.leaks == []


def test_no_url_comes_from_a_request(deja: DejaProcess, upstream: FakeUpstream) -> None:
    """A server of the attacker's is named wherever a name could be; nobody calls it."""
    with FakeUpstream() as elsewhere:
        trap = elsewhere.base_url
        body = {"model": "m", "messages": [{"role": "user", "content": "Where does this go?"}]}
        own = {"Authorization": f"Bearer {STATIC}"}
        named = (
            "api_base",
            "base_url",
            "api_url",
            "endpoint",
            "proxy",
            "custom_llm_provider",
            "api_key",
            "callback_url",
        )
        for extra in ({name: trap} for name in named):
            httpx.post(f"{deja.base_url}/chat/completions", json=body | extra, headers=own)
        forwarding = (
            "Host",
            "X-Forwarded-Host",
            "X-Original-URL",
            "Forwarded",
            "Origin",
            "X-Upstream",
            "X-LiteLLM-Api-Base",
        )
        for name in forwarding:
            httpx.post(
                f"{deja.base_url}/chat/completions", json=body, headers=own | {name: trap.removeprefix("http://")}
            )
        for path in (
            "//127.0.0.1:1/v1/models",
            "/v1/http://127.0.0.1:1/x",
            "/v1//127.0.0.1:1/x",
            "/v1/%2e%2e/admin",
            "/v1/@127.0.0.1:1/",
        ):
            with httpx.Client() as client:
                client.send(client.build_request("GET", deja.root + path, headers=own))
        assert not elsewhere.requests


# --- limits -----------------------------------------------------------------------------------------------------------------------


def test_a_limit_stops_a_key_and_no_other_of_its_tenant(deja: DejaProcess, upstream: FakeUpstream, make: Make) -> None:
    limited = make(tenant="one", limits={"requests_per_minute": 3})["key"]
    free = make(tenant="one")["key"]
    told = [ask(deja, limited, "How often may I ask?") for _ in range(5)]
    assert [answer.status_code for answer in told] == [200, 200, 200, 429, 429]
    assert told[0].headers["x-ratelimit-remaining-requests"] == "2"
    assert 1 <= int(told[-1].headers["retry-after"]) <= 20
    assert ask(deja, free, "How often may I ask?").status_code == 200
    with pytest.raises(openai.RateLimitError):
        openai.OpenAI(base_url=deja.base_url, api_key=limited, max_retries=0).models.list()


def test_a_refused_request_is_not_even_read(deja: DejaProcess, upstream: FakeUpstream) -> None:
    huge = b"[" * (11 << 20)
    for key, status in (("sk-unknown", 401), (STATIC, 413)):
        told = httpx.post(
            f"{deja.base_url}/chat/completions", content=huge, headers={"Authorization": f"Bearer {key}"}, timeout=20
        )
        assert told.status_code == status


# --- what is never told -----------------------------------------------------------------------------------------------------------


def test_no_secret_and_no_prompt_is_in_logs_metrics_or_errors(deja: DejaProcess, upstream: FakeUpstream) -> None:
    """Runs last, over the debug log of all tests above, after odd requests of its own."""
    own = {"Authorization": f"Bearer {STATIC}"}
    said: list[str] = []
    bodies = [
        f'{{"model": "{CANARY}", "messages": [{{"role": "user", "content": "{CANARY}"}}',
        f'{{"model": "m", "messages": "{CANARY}"}}',
        f'{{"model": "m", "messages": [{{"role": "{CANARY}", "content": {{"{CANARY}": 1}}}}]}}',
        f'{{"model": "m", "messages": [{{"role": "user", "content": "{CANARY}"}}], "stream": "{CANARY}"}}',
    ]
    for path in (
        "chat/completions",
        "completions",
        "messages",
        "responses",
        "embeddings",
        "caches/a/entries",
        "events",
    ):
        for body in bodies:
            said.append(httpx.post(f"{deja.base_url}/{path}", content=body, headers=own).text)
        said.append(
            httpx.post(f"{deja.base_url}/{path}", content=bodies[1], headers={"x-api-key": f"sk-{CANARY}"}).text
        )
    said.append(httpx.get(f"{deja.base_url}/models", headers={"Authorization": f"Basic {CANARY}"}).text)
    said.append(httpx.get(f"{deja.root}/admin/keys", headers={"Authorization": f"Bearer sk-{CANARY}"}).text)
    assert CANARY not in deja.log
    assert CANARY not in httpx.get(f"{deja.root}/metrics").text
    assert CANARY not in httpx.get(f"{deja.root}/ready").text
    assert STATIC not in "".join(said)
    assert ADMIN not in "".join(said)
