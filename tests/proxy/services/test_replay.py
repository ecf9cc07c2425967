from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from proxy.core import keys
from proxy.core.models import Candidate, ContextRecord, Directives, Entry, HitKind, WireMode
from proxy.core.outcome import Outcome
from proxy.core.recording import Recorded, Recording, Step
from proxy.core.said import answer_digest
from proxy.errors import RequestError
from proxy.services.calls import Decision
from proxy.services.recordings import Tape
from proxy.services.replay import Replay
from tests.builders import NOW_S, answer_body, assistant, chat_body, entry
from tests.proxy.services.auditing import Provider, decision_of

ROOM = "0a"
HELD_BY_MEANING = "deja:v1:entry:e:{0a}:ent_9"


def stored(text: str = "Seven.") -> dict[str, Any]:
    body = answer_body(assistant(text))
    return {name: body[name] for name in body if name not in ("id", "created")}


def recorded(number: int = 1, *, text: str = "Seven.", **told: str) -> Recorded:
    body = stored(text)
    fields = {"status": "200", "stream": "", "room": ROOM, "fingerprint": f"f{number}", "entry": ""}
    return Recorded(number, {**fields, "answer_digest": answer_digest(body), **told}, None, body)


def held(text: str = "Seven.", **fields: Any) -> Entry:
    return entry(body=orjson.dumps(stored(text)), **fields)


class Store:
    """A recording of the session `s` of the tenant `t`."""

    def __init__(self, *steps: Recorded, taken: tuple[str, ...] = ()) -> None:
        self._steps = steps
        self._taken = taken
        self.forks: list[tuple[str, int, str]] = []

    async def read(self, tenant: str, session: str, *, after: int, limit: int, with_requests: bool) -> Recording | None:
        page = tuple(step for step in self._steps if step.number > after)[:limit]
        return Recording(page, len(self._steps), 100, 0, None, 0) if (tenant, session) == ("t", "s") else None

    async def fork(self, tenant: str, session: str, *, at: int, name: str, now_s: float) -> bool:
        if name in self._taken:
            return False
        self.forks.append((session, at, name))
        return True


class Responses:
    """A cache that holds these entries, by Redis key."""

    def __init__(self, entries: Mapping[str, Entry] | None = None) -> None:
        self._entries = dict(entries or {})

    async def look_up(self, at: keys.LookUpKeys) -> tuple[Entry | None, ContextRecord | None, frozenset[str]]:
        return self._entries.get(at.exact), None, frozenset()

    async def fetch(self, redis_key: str) -> Entry | None:
        return self._entries.get(redis_key)


class Recorder:
    def __init__(self) -> None:
        self.taken: list[Any] = []

    def put(self, one: Any) -> None:
        self.taken.append(one)

    async def flush(self, *, deadline_s: float) -> None:
        return


class Timeline:
    def __init__(self) -> None:
        self.notes: list[tuple[str, str, dict[str, str]]] = []

    def note(self, tenant: str, session: str, kind: str, fields: dict[str, str]) -> None:
        self.notes.append((session, kind, fields))

    async def flush(self) -> None:
        return


class Unguarded:
    @asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield


def replay_of(store: Store, responses: Responses | None = None, timeline: Timeline | None = None) -> Replay:
    made: Any = Replay
    found: Replay = made(
        store, store, responses or Responses(), Recorder(), timeline or Timeline(), Unguarded(), now=lambda: NOW_S
    )
    return found


async def told(step: Recorded, entries: Mapping[str, Entry]) -> tuple[str, str]:
    found = await replay_of(Store(step), Responses(entries)).replay("t", "s", after=0, limit=10)
    (one,) = found.steps
    return one.verdict.value, one.source.value


EXACT = keys.exact_key(ROOM, "f1")


@pytest.mark.parametrize(
    ("step", "entries", "expected"),
    [
        (recorded(), {EXACT: held()}, ("same", "cache")),
        (recorded(), {}, ("same", "record")),
        (recorded(), {EXACT: held("Eight.")}, ("differs", "cache")),
        (recorded(), {EXACT: held(created_at=NOW_S - 99_999)}, ("same", "record")),
        (recorded(stream="1"), {EXACT: held(wire=WireMode.JSON)}, ("same", "record")),
        (recorded(entry=HELD_BY_MEANING), {HELD_BY_MEANING: held()}, ("same", "cache")),
        (recorded(entry=HELD_BY_MEANING), {HELD_BY_MEANING: held(), EXACT: held("Eight.")}, ("differs", "cache")),
        (recorded(entry=HELD_BY_MEANING), {HELD_BY_MEANING: held(created_at=NOW_S - 99_999)}, ("same", "record")),
    ],
    ids=["held", "emptied", "another", "stale", "no stream of it", "by meaning", "now exact", "by meaning, stale"],
)
async def test_a_step_is_answered_by_what_the_cache_would_answer_now(
    step: Recorded, entries: dict[str, Entry], expected: tuple[str, str]
) -> None:
    assert await told(step, entries) == expected


async def test_an_unknown_recording_is_a_404() -> None:
    replay = replay_of(Store(recorded()))
    for tenant, session in (("t", "other"), ("other", "s")):
        for ask in (
            replay.recording(tenant, session, after=0, limit=1),
            replay.replay(tenant, session, after=0, limit=1),
            replay.fork(tenant, session, at=1, name=None),
        ):
            with pytest.raises(RequestError) as refused:
                await ask
            assert (refused.value.status, refused.value.code) == (404, "recording_not_found")


async def test_a_fork_without_a_name_gets_one_that_can_be_used_and_both_timelines_tell() -> None:
    store, timeline = Store(recorded(1), recorded(2)), Timeline()
    name = await replay_of(store, timeline=timeline).fork("t", "s", at=2, name=None)
    assert name.startswith("s.fork-")
    assert store.forks == [("s", 2, name)]
    fields = {"parent": "s", "fork": name, "step": "2"}
    assert timeline.notes == [("s", "deja.session.fork", fields), (name, "deja.session.fork", fields)]


@pytest.mark.parametrize(
    ("at", "name", "status", "code"),
    [(0, None, 400, "step_not_found"), (2, None, 400, "step_not_found"), (1, "taken", 409, "session_exists")],
)
async def test_a_fork_that_cannot_be_made_is_refused(at: int, name: str | None, status: int, code: str) -> None:
    timeline = Timeline()
    with pytest.raises(RequestError) as refused:
        await replay_of(Store(recorded(), taken=("taken",)), timeline=timeline).fork("t", "s", at=at, name=name)
    assert (refused.value.status, refused.value.code) == (status, code)
    assert timeline.notes == []


# --- the tape ----------------------------------------------------------------------------------------------------------------------


def taped(decision: Decision, *, is_on: bool = True, answer: Any = None) -> list[Step]:
    recorder = Recorder()
    made: Any = Tape
    made(recorder, is_on=is_on, now=lambda: NOW_S).put(decision, status=200, answer=answer)
    return recorder.taken


def in_session(session: str | None, outcome: Outcome | None = None) -> Decision:
    directives = Directives(session=session, agent="a", namespace="shop")
    return decision_of(Provider(lambda body: ""), outcome or Outcome(), directives, seed=7)


def test_a_request_of_a_session_is_taken_whole() -> None:
    (step,) = taped(in_session("s"), answer=stored())
    assert step.sent["seed"] == 7
    assert step.wishes == {"namespace": "shop"}
    assert orjson.loads(step.answer or b"") == stored()
    assert (step.told["agent"], step.told["status"], step.told["entry"]) == ("a", "200", "")
    assert step.told["family"] == "chat"
    assert step.size_bytes > len(step.answer or b"")
    assert step.user is None


def test_a_hit_by_meaning_names_the_entry_that_served() -> None:
    served = entry(entry_id="ent_9")
    near = Candidate(HELD_BY_MEANING, "ent_9", "q", 0.1, NOW_S, 60)
    outcome = Outcome(
        hit=HitKind.SEMANTIC, entry=served, candidates=(Candidate("k", "ent_1", "q", 0.0, NOW_S, 60), near)
    )
    (step,) = taped(in_session("s", outcome), answer=served.body)
    assert (step.told["entry"], step.answer) == (HELD_BY_MEANING, served.body)


def test_without_a_session_or_with_recordings_off_nothing_is_taken() -> None:
    assert taped(in_session(None)) == []
    assert taped(in_session("s"), is_on=False) == []


def test_nothing_of_a_recorded_request_is_changed() -> None:
    decision = in_session("s")
    before = orjson.dumps(decision.call.sent)
    taped(decision)
    assert orjson.dumps(decision.call.sent) == before
    assert chat_body().keys() <= decision.call.sent.keys()
