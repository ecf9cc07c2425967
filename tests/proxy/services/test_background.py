from __future__ import annotations

import asyncio
import gc

import pytest

from proxy.services import background as background_module
from proxy.services.background import Background


async def test_a_task_nobody_holds_runs_to_its_end() -> None:
    background, done = Background(), asyncio.Event()

    async def work() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
            gc.collect()
        done.set()

    background.spawn(work(), name="work")
    async with asyncio.timeout(60):  # collections of a whole suite's objects, on a busy machine
        await done.wait()


async def test_a_failure_is_logged_by_task_and_type_and_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()

    async def fail() -> None:
        raise ValueError("What is Bob's diagnosis?")

    task = background.spawn(fail(), name="judge")
    await asyncio.wait([task])
    await asyncio.sleep(0)
    (said,) = caplog.messages
    assert said.startswith("background task judge ended with ValueError at ")
    assert "Bob" not in caplog.text


async def test_what_still_runs_is_cancelled_at_the_end_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()
    task = background.spawn(asyncio.sleep(3600), name="sleeper")
    await asyncio.sleep(0)
    await background.aclose()
    assert task.cancelled()
    assert caplog.messages == []
    await background.aclose()


async def test_what_fails_while_being_cancelled_does_not_stop_the_others() -> None:
    background = Background()

    async def stubborn() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError

    tasks = [background.spawn(stubborn(), name="stubborn"), background.spawn(asyncio.sleep(3600), name="sleeper")]
    await asyncio.sleep(0)
    await background.aclose()
    assert all(task.done() for task in tasks)


async def test_what_is_spawned_while_closing_is_ended_too() -> None:
    background, late = Background(), []

    async def parting() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            late.append(background.spawn(asyncio.sleep(3600), name="late"))

    background.spawn(parting(), name="parting")
    await asyncio.sleep(0)
    await background.aclose()
    assert [task.cancelled() for task in late] == [True]


async def test_a_task_that_misses_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_module, "CANCEL_AGAIN_S", 0.01)
    background, missed = Background(), 0

    async def deaf() -> None:
        nonlocal missed
        while missed < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                missed += 1
        await asyncio.sleep(60)

    task = background.spawn(deaf(), name="deaf")
    await asyncio.sleep(0)
    await background.aclose()
    assert task.cancelled()


async def test_what_has_to_go_on_begins_again_after_a_pause_that_grows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background_module, "FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr(background_module, "LONGEST_PAUSE_S", 0.004)
    failed: list[str] = []
    background, rounds = Background(failed.append), 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds < 5:
            raise ValueError("What is Bob's diagnosis?")

    await background.keep(work, name="judge")
    assert rounds == 5
    assert failed == ["judge"] * 4
    pauses = [said.partition("begins again in ")[2].partition(" s: ValueError at ")[0] for said in caplog.messages]
    assert pauses == ["0.002", "0.004", "0.004", "0.004"]
    assert "Bob" not in caplog.text


async def test_what_goes_on_ends_with_the_application() -> None:
    background = Background()
    task = background.keep(lambda: asyncio.sleep(3600), name="sleeper")
    await asyncio.sleep(0)
    await background.aclose()
    assert task.cancelled()
