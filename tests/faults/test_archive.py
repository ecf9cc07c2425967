"""An archive that follows the journal by consumer group, killed at its worst moments: nothing is lost, nothing stands there twice."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from proxy.core import keys
from proxy.services.journal import JournalUpkeep
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.journal import JournalStore
from tests.redis_server import REPOSITORY, private_server

EVENTS = 20_000
KILLS = 5


@pytest.fixture
def redis_path() -> Iterator[str]:
    with private_server() as server:
        yield server.url.removeprefix("unix://")


def consumer(redis_path: str, database: Path) -> str:
    """The guide's own consumer, following for ever into a file."""
    page = (REPOSITORY / "docs" / "guide" / "journal-and-replay.md").read_text(encoding="utf-8")
    (source,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def archive" in block]
    functions = source[: source.index("with redis.Redis")]
    return f"""{functions}
with redis.Redis(unix_socket_path={redis_path!r}, decode_responses=True) as source:
    target = sqlite3.connect({str(database)!r}, timeout=10)
    while True:
        archive(source, target, wait_ms=20)
"""


def archived(database: Path) -> set[str]:
    with sqlite3.connect(database, timeout=10) as target:
        return {event_id for (event_id,) in target.execute("SELECT event_id FROM events")}


def trim(redis_path: str, lost: list[int]) -> None:
    """One round of upkeep, with caps that ask for far less than is there."""

    async def once() -> None:
        client = open_client(f"unix://{redis_path}", deadline_ms=5000)
        guard = Guard(client.ping)
        store = JournalStore(client, ttl_s=60, max_session_events=100, max_events=1000, hard_max_events=EVENTS)
        await JournalUpkeep(store, guard, on_loss=lost.append).round()
        await guard.aclose()
        await client.aclose()

    asyncio.run(once())


def test_an_archive_that_is_killed_again_and_again_has_every_event_though_the_journal_is_trimmed(
    redis_path: str, tmp_path: Path
) -> None:
    database = tmp_path / "archive.db"
    lost: list[int] = []
    program = consumer(redis_path, database)
    plain = redis.Redis(unix_socket_path=redis_path)
    plain.xgroup_create(keys.JOURNAL, "archive", id="0", mkstream=True)
    started = subprocess.Popen([sys.executable, "-c", program])
    try:
        for part in range(KILLS):
            first = part * EVENTS // KILLS
            with plain.pipeline(transaction=False) as pipe:
                for number in range(first, first + EVENTS // KILLS):
                    pipe.xadd(keys.JOURNAL, {"event_id": f"evt_{number}", "type": "deja.completion", "at": "1.0"})
                pipe.execute()
            give_up_at = time.monotonic() + 10
            while not plain.xinfo_groups(keys.JOURNAL)[0]["pending"]:  # in the middle of a batch
                assert time.monotonic() < give_up_at
            started.send_signal(signal.SIGKILL)
            started.wait(10)
            trim(redis_path, lost)
            started = subprocess.Popen([sys.executable, "-c", program])
        give_up_at = time.monotonic() + 20
        while (group := plain.xinfo_groups(keys.JOURNAL)[0])["lag"] or group["pending"]:
            assert time.monotonic() < give_up_at, group
            time.sleep(0.02)
        trim(redis_path, lost)
    finally:
        started.kill()
        started.wait(10)
    assert archived(database) == {f"evt_{number}" for number in range(EVENTS)}
    assert lost == []
    assert plain.xlen(keys.JOURNAL) <= 1100, "what is archived is trimmed"
    plain.close()
