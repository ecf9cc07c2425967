"""Entries kept in this process, for as long as Redis vouches for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import keys
from proxy.core.decision import Judged, Verdict
from proxy.core.models import Candidate, Entry, WireMode
from proxy.errors import StoreUnavailableError
from proxy.services.first_level import CHANGES, ENTRY_OVERHEAD_BYTES, FirstLevel, Known


def entry(name: str, body: bytes = b"{}") -> Entry:
    return Entry(f"ent_{name}", "What?", body, WireMode.BOTH, 0.0, 60)


def exact(name: str) -> str:
    return f"deja:v1:exact:{{room}}:{name}"


def redis_key(name: str) -> str:
    return f"deja:v1:entry:embedder:{{room}}:ent_{name}"


def level(max_bytes: int = 1 << 20) -> FirstLevel:
    made = FirstLevel(max_bytes)
    made.live(True)
    return made


def known(name: str) -> Known:
    candidate = Candidate(redis_key(name), f"ent_{name}", "What?", 0.1, 0.0, 60)
    return Known.of(entry(name), (candidate,), Verdict(0, None, 0.99, 0.9))


def put(first: FirstLevel, name: str, kept: Entry | Known | None = None) -> None:
    first.put(exact(name), kept or entry(name), since=first.began())


def test_what_was_read_is_there_until_its_pointer_or_its_entry_changes() -> None:
    first = level()
    put(first, "a")
    put(first, "b")
    assert first.get(exact("a")) == entry("a")
    first.changed(exact("a"))
    assert first.get(exact("a")) is None
    first.changed(redis_key("b"))
    assert first.get(exact("b")) is None
    assert first.size_bytes == 0


def test_what_changes_while_it_is_read_is_not_kept() -> None:
    for changed in (exact("a"), redis_key("a")):
        first = level()
        began = first.began()
        first.changed(changed)
        first.put(exact("a"), entry("a"), since=began)
        assert first.get(exact("a")) is None
        put(first, "a")
        assert first.get(exact("a")) is not None


def test_a_reader_from_before_all_that_is_remembered_keeps_nothing() -> None:
    first = level()
    began = first.began()
    first.changed(exact("a"))
    for number in range(CHANGES):
        first.changed(exact(f"other{number}"))
    first.put(exact("a"), entry("a"), since=began)
    assert first.get(exact("a")) is None


def test_nothing_is_kept_while_nobody_listens() -> None:
    first = FirstLevel(1 << 20)
    put(first, "a")
    assert first.get(exact("a")) is None
    first.live(True)
    put(first, "a")
    first.live(False)
    assert first.get(exact("a")) is None
    put(first, "a")
    assert first.get(exact("a")) is None


def test_a_reader_from_before_listening_began_keeps_nothing() -> None:
    first = FirstLevel(1 << 20)
    began = first.began()
    first.live(True)
    first.put(exact("a"), entry("a"), since=began)
    assert first.get(exact("a")) is None


def test_the_longest_unused_goes_first_and_what_is_too_large_is_not_kept() -> None:
    room = 2 * (ENTRY_OVERHEAD_BYTES + 100)
    first = level(room)
    put(first, "a")
    put(first, "b")
    first.get(exact("a"))
    put(first, "c")
    assert first.get(exact("b")) is None
    assert first.get(exact("a")) is not None
    put(first, "d", entry("d", b"x" * room))
    assert first.get(exact("d")) is None
    assert first.get(exact("c")) is not None


def test_what_is_known_by_meaning_goes_with_its_entry_and_with_any_word_of_a_wrong_answer() -> None:
    first = level()
    put(first, "a")
    put(first, "in other words", known("a"))
    put(first, "b", known("b"))
    assert first.get(exact("in other words")) == known("a")
    first.changed(redis_key("a"))
    assert first.get(exact("in other words")) is None
    assert first.get(exact("a")) is None
    assert first.get(exact("b")) is not None
    for told in (keys.condemned_key("room"), keys.unequal_key("room", "What?")):
        put(first, "b", known("b"))
        first._on_change(told)
        assert first.get(exact("b")) is None


def test_with_no_bytes_nothing_is_kept() -> None:
    first = level(0)
    put(first, "a")
    assert first.get(exact("a")) is None


@given(st.lists(st.tuples(st.sampled_from(["put", "pointer", "entry", "get", "clear"]), st.sampled_from("abcde"))))
def test_the_size_is_that_of_what_is_there(steps: list[tuple[str, str]]) -> None:
    first = level(3 * (ENTRY_OVERHEAD_BYTES + 60))
    for step, name in steps:
        if step == "put":
            put(first, name)
        elif step == "pointer":
            first.changed(exact(name))
        elif step == "entry":
            first.changed(redis_key(name))
        elif step == "get":
            found = first.get(exact(name))
            assert found is None or found == entry(name)
        else:
            first.clear()
    there = sum(first.get(exact(name)) is not None for name in "abcde")
    size = ENTRY_OVERHEAD_BYTES + len(exact("a")) + len(b"{}") + len("What?")
    assert first.size_bytes == there * size


class Redis:
    """Tells of changes as a script says."""

    def __init__(self) -> None:
        self.calls = 0

    async def follow(self, *, on_live: Callable[[], None], on_change: Callable[[str | None], None]) -> None:
        self.calls += 1
        if self.calls == 1:
            raise StoreUnavailableError("away")
        on_live()
        self.on_change = on_change
        await asyncio.Event().wait()


async def test_it_lives_as_long_as_redis_tells_of_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.services.first_level.RETRY_S", 0.01)
    first, redis = FirstLevel(1 << 20), Redis()
    task = asyncio.get_running_loop().create_task(first.run(redis))
    while redis.calls < 2:
        put(first, "a")
        assert first.get(exact("a")) is None
        await asyncio.sleep(0.005)
    await asyncio.sleep(0)
    put(first, "a")
    put(first, "b")
    redis.on_change(exact("a"))
    assert first.get(exact("a")) is None
    assert first.get(exact("b")) is not None
    redis.on_change(None)
    assert first.get(exact("b")) is None
    put(first, "b")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert first.get(exact("b")) is None


def test_of_what_the_index_offered_only_what_serves_is_kept() -> None:
    far, near = (Candidate(redis_key(name), f"ent_{name}", name, 0.1, 0.0, 60) for name in ("far", "near"))
    verdict = Verdict(1, None, 0.99, 0.9, (Judged(1, 0.9, confidence=0.99), Judged(0, 0.8)))
    kept = Known.of(entry("near"), (far, near), verdict)
    assert (kept.chosen, kept.verdict.chosen) == (near, 0)
    assert kept.verdict.judged == (Judged(0, 0.9, confidence=0.99),)
