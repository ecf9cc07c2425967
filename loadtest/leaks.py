"""A second tenant that tries everything to read, hit, change or administer what is another's; every answer it gets is searched.

    python -m loadtest.leaks                       10,000 tries against a `deja serve` of its own; exits 1 if one succeeded
    python -m loadtest.leaks --tries 100000 --seed 7

The victim stores answers, state, events, tasks, sessions and memories, with a secret word in them. The attacker knows everything but the
key: the victim's questions word for word, names of its sessions, agents, streams, queues and caches, ids of its requests and entries. Its
tries ask with `only-if-cached`, so that none makes an answer that a later one could find. A leak is a secret word in an answer, an answer
from the cache, an administration or an invented key that is let in, or anything of the victim's that is changed afterwards.
"""

from __future__ import annotations

import argparse
import random
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

SEEDED = 20
"""Questions of the victim; the tries vary how they are asked for."""
TOPICS = ("the harbour plan", "our Q3 margin", "the merger with Acme", "Ann's diagnosis", "the launch date of Heron")
NAMES = (
    "x-deja-tenant",
    "x-tenant",
    "x-user",
    "x-forwarded-user",
    "x-forwarded-for",
    "x-real-ip",
    "x-original-url",
    "x-http-method-override",
)


@dataclass(slots=True)
class Found:
    """What came of the tries.

    Attributes:
        tries: requests of the attacker.
        leaks: what succeeded, in words.
        statuses: how the tries were answered.
    """

    tries: int = 0
    leaks: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


class Attack:
    """One victim, one attacker.

    Args:
        root: of the Deja under attack.
        victim: key of a tenant.
        attacker: key of another.
        admin_key: whose variations the attacker tries; itself it has not.
        seed: of what is tried.
    """

    def __init__(self, root: str, *, victim: str, attacker: str, admin_key: str, seed: int = 1) -> None:
        self._root = root
        self._victim_key, self._attacker_key, self._admin_key = victim, attacker, admin_key
        self._random = random.Random(seed)
        self._known, self._secret = f"heirloom{uuid.uuid4().hex[:12]}", f"secret{uuid.uuid4().hex[:12]}"
        self._questions = [f"What did {self._known} say about {TOPICS[n % 5]}, item {n}?" for n in range(SEEDED)]
        self._request_ids: list[str] = []
        self._found = Found()

    def run(self, tries: int) -> Found:
        """Let the victim store, the attacker try, and look whether all is as it was."""
        with httpx.Client(base_url=self._root, timeout=30) as client:
            self._client = client
            self._seed()
            before = self._state()
            kinds = (self._ask, self._ask, self._ask_otherwise, self._read, self._change, self._administer, self._guess)
            while self._found.tries < tries:
                kinds[self._found.tries % len(kinds)]()
            if self._state() != before:
                self._found.leaks.append("something of the victim's is not what it was")
        return self._found

    # --- the victim ------------------------------------------------------------------------------------------------------------

    def _seed(self) -> None:
        for question in self._questions:
            told = self._victim("POST", "/v1/chat/completions", _chat(question), {"x-deja-session": "s-victim"})
            self._request_ids.append(told.headers["x-deja-request-id"])
        secret = self._secret
        self._victim("PUT", "/v1/agents/planner", {"goal": secret})
        self._victim("POST", "/v1/events", {"type": "note", "data": {"say": secret}}, parameters={"stream": "diary"})
        self._victim("PUT", "/v1/queues/jobs", {})
        self._victim("POST", "/v1/queues/jobs/tasks", {"payload": {"do": secret}})
        self._victim("POST", "/v1/sessions/s-victim/messages", {"messages": [{"role": "user", "content": secret}]})
        self._victim("PUT", "/v1/sessions/s-victim/data", {"note": secret})
        self._victim(
            "POST",
            "/v1/long-term-memory/",
            {"memories": [{"id": "m1", "text": f"The word of {self._known} is {secret}"}]},
        )
        self._victim("POST", "/v1/caches/faq/entries", {"prompt": f"What is {secret}?", "response": secret})
        self._victim("POST", "/v1/embeddings", {"model": "e", "input": secret})

    def _victim(
        self, method: str, path: str, body: Any, headers: dict[str, str] | None = None, parameters: Any = None
    ) -> httpx.Response:
        own = {"authorization": f"Bearer {self._victim_key}"} | (headers or {})
        told = self._client.request(method, path, json=body, headers=own, params=parameters)
        assert told.status_code < 500, f"{method} {path}: {told.status_code} {told.text}"
        return told

    def _state(self) -> list[object]:
        """What the victim sees of its own."""
        paths = ("agents/planner", "events?stream=diary", "sessions/s-victim/data", "sessions/s-victim/messages")
        own = {"authorization": f"Bearer {self._victim_key}"}
        seen: list[object] = [self._client.get(f"/v1/{path}", headers=own).text for path in paths]
        seen.append(self._client.get("/v1/queues/jobs", headers=own).json().get("ready"))
        cached = {"cache-control": "only-if-cached"}
        asked = (self._victim("POST", "/v1/chat/completions", _chat(each), cached) for each in self._questions[:5])
        seen += [told.status_code for told in asked]
        found = self._victim("POST", "/v1/caches/faq/entries/search", {"prompt": f"What is {self._known}?"})
        return [*seen, len(found.json().get("data", ()))]

    # --- the attacker ----------------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """The victim's question word for word, with headers that might make the tenant another."""
        name = self._random.choice(NAMES)
        tricks: list[dict[str, str]] = [
            {},
            {name: self._random.choice((self._victim_key, "admin", "127.0.0.1", "*"))},
            {"x-deja-namespace": self._random.choice(("victim", "default", "anonymous", "team-space"))},
            {"x-deja-session": "s-victim", "x-deja-agent": "planner"},
            {"x-deja-mode": self._random.choice(("exact", "semantic", "read-only", "shadow"))},
            {"x-deja-confidence": "0"},
            {"cookie": f"key={self._victim_key}"},
        ]
        body = _chat(self._random.choice(self._questions))
        body |= self._random.choice(({}, {"user": "victim"}, {"metadata": {"tenant": "victim"}}, {"stream": True}))
        self._try_cached("/v1/chat/completions", body, self._random.choice(tricks))

    def _ask_otherwise(self) -> None:
        """By meaning, through other routes, with a query of its own choice."""
        question = self._random.choice(self._questions)
        bodies: list[tuple[str, dict[str, Any]]] = [
            ("/v1/chat/completions", _chat(question.replace("What did", "Tell me what").replace(" say", " told"))),
            ("/v1/chat/completions", _chat("Anything.") | {"deja": {"query": question}}),
            ("/v1/chat/completions", _chat("Anything.") | {"deja": {"query": question, "context": self._known}}),
            ("/v1/completions", {"model": "m", "prompt": question}),
            ("/v1/messages", _chat(question) | {"max_tokens": 10}),
            ("/v1/responses", {"model": "m", "input": question}),
            ("/v1/embeddings", {"model": "e", "input": self._known}),
        ]
        path, body = self._random.choice(bodies)
        self._try_cached(path, body, {})

    def _try_cached(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        told = self._try("POST", path, body, {"cache-control": "only-if-cached"} | headers)
        if "hit" in told.headers.get("cache-status", ""):
            self._found.leaks.append(f"a hit on the victim's answer by {path} with {sorted(headers)}")

    def _read(self) -> None:
        """What the victim's names and ids lead to."""
        request_id = self._random.choice(self._request_ids)
        path = self._random.choice(
            (
                f"/v1/cache/explain/{request_id}",
                "/v1/cache/what-if?max_wrong_hit_rate=0.5",
                "/v1/cache/entries",
                "/v1/agents",
                "/v1/agents/planner",
                "/v1/agents/planner/history",
                "/v1/events?stream=diary",
                "/v1/queues",
                "/v1/queues/jobs",
                "/v1/queues/jobs/tasks",
                "/v1/sessions",
                "/v1/sessions/s-victim",
                "/v1/sessions/s-victim/messages",
                "/v1/sessions/s-victim/data",
                "/v1/sessions/s-victim/recording",
                "/v1/sessions/s-victim/replay",
                "/v1/sessions/s-victim/timeline",
                "/v1/long-term-memory/m1",
                "/v1/working-memory/s-victim",
                "/v1/usage",
                "/metrics",
                "/ready",
            )
        )
        self._try("GET", path, None, {})

    def _change(self) -> None:
        """The victim's things written, flushed, erased."""
        request_id = self._random.choice(self._request_ids)
        wrong = {"request_id": request_id, "verdict": "wrong"}
        tries: tuple[tuple[str, str, Any], ...] = (
            ("POST", "/v1/cache/feedback", wrong),
            ("POST", "/v1/caches/faq/flush", None),
            ("POST", "/v1/caches/faq/entries/search", {"prompt": f"What is {self._known}?"}),
            ("DELETE", "/v1/sessions/s-victim", None),
            ("DELETE", "/v1/users/victim", None),
            ("DELETE", "/v1/agents/planner", None),
            ("PATCH", "/v1/agents/planner", {"goal": "mine"}),
            ("POST", "/v1/queues/jobs/tasks/claim", {"worker": "w"}),
            ("DELETE", "/v1/events/streams/diary", None),
            ("POST", "/v1/long-term-memory/search", {"text": f"What is the word of {self._known}?"}),
            ("DELETE", "/v1/long-term-memory?memory_ids=m1", None),
            ("POST", "/v1/sessions/s-victim/fork", {"at": 1, "as": "mine"}),
        )
        method, path, body = self._random.choice(tries)
        self._try(method, path, body, {})

    def _administer(self) -> None:
        """Administration with a key for data."""
        method, path = self._random.choice(
            (
                ("GET", "/admin/keys"),
                ("POST", "/admin/keys"),
                ("GET", "/admin/audit"),
                ("PUT", "/admin/namespaces/-"),
                ("DELETE", "/admin/keys/key_1"),
                ("GET", "/admin/%6beys"),
                ("GET", "//admin/keys"),
                ("GET", "/v1/../admin/keys"),
                ("GET", "/V1/../ADMIN/keys"),
                ("GET", "/admin/keys/"),
            )
        )
        told = self._try(method, path, {"name": "mine", "sharing": "global", "scopes": ["admin"]}, {})
        if path.lower().endswith(("keys", "audit", "-")) and told.status_code < 300 and told.json().get("object"):
            self._found.leaks.append(f"{method} {path} answered {told.status_code}")

    def _guess(self) -> None:
        """Keys like those of others."""
        whole = self._random.choice((self._victim_key, self._admin_key))
        at = self._random.randrange(len(whole))
        sign = self._random.choice("0123456789abcdef".replace(whole[at], ""))
        guess = self._random.choice((whole[:at] + sign + whole[at + 1 :], whole[:-1], whole + "0", whole.upper()))
        headers = self._random.choice(
            ({"authorization": f"Bearer {guess}"}, {"authorization": guess}, {"x-api-key": guess}, {"api-key": guess})
        )
        told = self._send("GET", "/v1/agents/planner", None, headers)
        if told.status_code not in (401, 403):
            self._found.leaks.append(f"an invented key was answered with {told.status_code}")

    def _try(self, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        told = self._send(method, path, body, {"authorization": f"Bearer {self._attacker_key}"} | headers)
        if self._secret in told.text or self._victim_key in told.text:
            self._found.leaks.append(f"{method} {path} told a secret")
        return told

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        told = self._client.request(method, path, json=body, headers=headers)
        self._found.tries += 1
        self._found.statuses[told.status_code] += 1
        return told


def _chat(question: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": question}]}


def main() -> int:
    """Attack a Deja of its own; 1 if something leaked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tries", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    from tests.deja_process import running_deja

    with running_deja(DEJA_AUTH__REQUIRED="true", DEJA_AUTH__ADMIN_KEYS=f"root-{uuid.uuid4().hex}") as deja:
        local = {"authorization": f"Bearer {(deja.data_dir / 'admin-key').read_text()}"}
        make: Callable[[str], str] = lambda name: str(  # noqa: E731
            httpx.post(f"{deja.root}/admin/keys", json={"name": name}, headers=local).json()["key"]
        )
        attack = Attack(
            deja.root,
            victim=make("victim"),
            attacker=make("attacker"),
            admin_key=local["authorization"][7:],
            seed=given.seed,
        )
        found = attack.run(given.tries)
    print(f"{found.tries} tries, {len(found.leaks)} leaks; answers: {dict(sorted(found.statuses.items()))}")
    for leak in found.leaks[:20]:
        print(f"  {leak}")
    return 1 if found.leaks else 0


if __name__ == "__main__":
    sys.exit(main())
