"""What is acknowledged is kept: told only when it is, for as many as want to know, and never across a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from proxy.core.coordination.kept import FileStanding
from proxy.errors import RequestError, StoreError, StoreUnavailableError
from proxy.services import kept as kept_module
from proxy.services.background import Background
from proxy.services.kept import Kept
from proxy.stores.append_file import AppendFile
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from tests.redis_server import private_redis


class File:
    """An append-only file that tells what it is told to; the last standing stays."""

    def __init__(self, *standings: FileStanding | Exception) -> None:
        self.standings = list(standings)
        self.looks = 0
        self.syncs = 0
        self.is_held = asyncio.Event()
        self.is_held.set()

    async def look(self) -> FileStanding:
        self.looks += 1
        await self.is_held.wait()
        now = self.standings.pop(0) if len(self.standings) > 1 else self.standings[0]
        if isinstance(now, Exception):
            raise now
        return now

    async def sync(self, *, timeout_ms: int) -> str:
        self.syncs += 1
        standing = await self.look()
        return standing.life


def at(written: int, waiting: int = 0, life: str = "one", is_kept: bool = True) -> FileStanding:
    return FileStanding(life, is_kept, written, waiting)


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[File], Kept]]:
    background = Background()

    async def ping() -> None:
        return None

    guard = Guard(ping)
    yield lambda file: Kept(file, guard, background, deadline_s=1, patience_s=0.3)
    await background.aclose()
    await guard.aclose()


async def refusal(waiting: object) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await waiting  # type: ignore[misc]
    return caught.value


async def test_nothing_waits_so_it_is_written(opened: Callable[[File], Kept]) -> None:
    file = File(at(100))
    await opened(file).written("one")
    assert file.looks == 1


async def test_what_waits_is_written_once_the_file_has_grown_over_it(opened: Callable[[File], Kept]) -> None:
    file = File(at(100, 50), at(120, 60), at(149, 90), at(150, 1000))
    await opened(file).written("one")
    assert file.looks == 4


async def test_a_file_that_was_rewritten_is_measured_anew(opened: Callable[[File], Kept]) -> None:
    file = File(at(1000, 50), at(20, 5), at(24, 5), at(25, 5))
    await opened(file).written("one")
    assert file.looks == 4


async def test_without_a_file_there_is_nothing_to_wait_for(opened: Callable[[File], Kept]) -> None:
    await opened(File(at(0, 0, is_kept=False))).written("one")


async def test_a_restart_in_between_leaves_it_unknown(opened: Callable[[File], Kept]) -> None:
    kept = opened(File(at(1), at(1, life="two")))
    life = await kept.life()
    assert (await refusal(kept.written(life))).code == "not_confirmed"
    assert (await refusal(kept.on_disk(life))).status == 503
    await kept.written(await kept.life())  # from now on it knows better


async def test_a_file_that_does_not_grow_is_given_up(opened: Callable[[File], Kept]) -> None:
    assert (await refusal(opened(File(at(1, 5))).written("one"))).code == "not_confirmed"


async def test_an_error_is_told_to_all_who_wait_and_the_next_ones_begin_anew(opened: Callable[[File], Kept]) -> None:
    file = File(StoreUnavailableError("Redis is away."), at(1))
    kept = opened(file)
    told = await asyncio.gather(*(kept.written("one") for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in told] == [StoreUnavailableError] * 3
    await kept.written("one")


async def test_one_look_serves_all_that_came_meanwhile_and_none_that_came_after_it_began(
    opened: Callable[[File], Kept],
) -> None:
    file = File(at(1))
    kept = opened(file)
    file.is_held.clear()
    first = asyncio.gather(kept.written("one"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert file.looks == 1
    later = asyncio.gather(*(kept.written("one") for _ in range(50)))
    await asyncio.sleep(0)
    file.is_held.set()
    await first
    await later
    assert file.looks == 2


async def test_who_leaves_does_not_end_it_for_the_others(opened: Callable[[File], Kept]) -> None:
    file = File(at(1))
    kept = opened(file)
    file.is_held.clear()
    leaver, stayer = (asyncio.get_running_loop().create_task(kept.written("one")) for _ in range(2))
    await asyncio.sleep(0.01)
    leaver.cancel()
    file.is_held.set()
    await stayer
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_the_life_is_asked_for_once_in_a_while(
    opened: Callable[[File], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = File(at(1))
    kept = opened(file)
    for _ in range(10):
        await kept.life()
    assert file.looks == 1
    monkeypatch.setattr(kept_module, "LIFE_S", 0.0)
    await asyncio.sleep(0.001)
    await kept.life()
    assert file.looks == 2


async def test_whether_the_disk_can_be_waited_for_is_told_beforehand(opened: Callable[[File], Kept]) -> None:
    await opened(File(at(1))).check_disk()
    cannot = opened(File(StoreError("WAITAOF cannot be used when numlocal is set but appendonly is disabled.")))
    error = await refusal(cannot.check_disk())
    assert (error.status, error.code, error.param) == (409, "durability_unavailable", "durability")
    with pytest.raises(StoreUnavailableError):
        await opened(File(StoreUnavailableError("away"))).check_disk()


async def test_a_real_redis_tells_how_far_it_is() -> None:
    with private_redis() as url:
        client, blocking = open_client(url, deadline_ms=5000), open_client(url, deadline_ms=None, max_connections=1)
        file = AppendFile(client, blocking)
        before = await file.look()
        await client.set("k", b"x" * 1000)
        after = await file.look()
        while after.waiting_bytes:  # an fsync may be under way
            after = await file.look()
        assert after.is_kept
        assert after.written_bytes >= before.written_bytes + 1000
        assert after.life == before.life == await file.sync(timeout_ms=5000)
        await client.config_set("appendonly", "no")
        assert not (await file.look()).is_kept
        with pytest.raises(StoreError, match="appendonly"):
            await file.sync(timeout_ms=100)
        await file.aclose()
        await client.aclose()
