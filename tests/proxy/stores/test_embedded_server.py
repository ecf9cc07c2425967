from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from proxy.errors import ConfigError
from proxy.stores.embedded import EmbeddedRedis
from proxy.stores.embedded.layout import SOCKET_PATH_BYTES
from proxy.stores.embedded.ownership import identify
from proxy.stores.embedded.server import Answer, ask, backoff_s
from tests.redis_server import REPOSITORY, TEST_MEMORY_BYTES, artifacts_dir, private_server

BACK_WITHIN_S = 5.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, so that the socket lies below it."""
    made = Path(tempfile.mkdtemp(prefix="deja-test-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def embedded(folder: Path) -> EmbeddedRedis:
    return EmbeddedRedis(folder, artifacts_dir(), max_memory_bytes=TEST_MEMORY_BYTES)


def connect(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis(unix_socket_path=server.url.removeprefix("unix://"), protocol=2)


def eventually(holds: Callable[[], object], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if holds():
                return True
        except (redis.RedisError, OSError):
            pass
        time.sleep(0.01)
    return False


def has_gone(pid: int) -> bool:
    return identify(pid) is None


def test_the_server_answers_with_search_and_json_and_nothing_else_loaded() -> None:
    with private_server() as server, connect(server) as client:
        names = {module[b"name"] for module in client.execute_command("MODULE LIST")}
        assert names == {b"search", b"ReJSON"}
        settings = client.config_get("*")
    expected = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory": str(TEST_MEMORY_BYTES),
        "maxmemory-policy": "volatile-lfu",
        "save": "",
        "aof-load-truncated": "yes",
        "enable-module-command": "no",
        "enable-debug-command": "no",
    }
    assert {name: settings[name] for name in expected} == expected


def test_no_tcp_port_is_open_and_only_this_user_reaches_the_socket() -> None:
    with private_server() as server:
        path = Path(server.url.removeprefix("unix://"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert server.pid is not None
        assert _listening_tcp_sockets(server.pid) == set()


def _listening_tcp_sockets(pid: int) -> set[str]:
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    own = {match[1] for link in links if (match := re.fullmatch(r"socket:\[(\d+)\]", link))}
    assert own, "the Unix socket at least"
    rows = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()
    ]
    return {row[1] for row in rows if row[3] == "0A" and row[9] in own}


def test_nothing_of_the_users_environment_reaches_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    with private_server() as server:
        assert b"sk-of-the-user" not in Path(f"/proc/{server.pid}/environ").read_bytes()


def test_a_killed_server_is_back_with_its_data_at_the_same_address() -> None:
    with private_server() as server, connect(server) as client:
        client.set("kept", "yes")
        client.execute_command("FT.CREATE", "idx", "SCHEMA", "tag", "TAG")
        client.hset("document", "tag", "a")
        client.execute_command("WAITAOF", 1, 0, 5000)
        before = server.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        assert eventually(lambda: client.get("kept") == b"yes", BACK_WITHIN_S)
        assert server.pid not in (None, before)
        assert eventually(lambda: client.execute_command("FT.SEARCH", "idx", "@tag:{a}")[0] == 1, BACK_WITHIN_S)


def test_a_server_that_keeps_dying_keeps_coming_back() -> None:
    with private_server() as server, connect(server) as client:
        for _ in range(4):
            assert eventually(client.ping, BACK_WITHIN_S)
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
        assert eventually(client.ping, BACK_WITHIN_S)


def test_stop_ends_the_server_and_frees_the_directory(folder: Path) -> None:
    server = embedded(folder)
    server.start()
    pid = server.pid
    assert pid is not None
    with connect(server) as client:
        client.set("kept", "yes")
    server.stop()
    server.stop()
    assert has_gone(pid)
    assert server.pid is None
    with embedded(folder) as again, connect(again) as client:
        assert client.get("kept") == b"yes"


def test_a_stopped_process_is_killed_in_the_end(folder: Path) -> None:
    server = embedded(folder)
    server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    server.stop(timeout_s=0.2)
    assert has_gone(pid)


OWNER = """
    import sys, time
    from pathlib import Path
    from proxy.stores.embedded import EmbeddedRedis

    server = EmbeddedRedis(Path(sys.argv[1]), Path(sys.argv[2]), max_memory_bytes=1 << 28)
    server.start()
    print(server.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def owner(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that owns `folder`, and the pid of its server."""
    command = [sys.executable, "-c", textwrap.dedent(OWNER), str(folder), str(artifacts_dir())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_kill_nine_of_the_owner_takes_the_server_along_and_loses_nothing(
    folder: Path, owner: tuple[subprocess.Popen[str], int]
) -> None:
    process, server_pid = owner
    with redis.Redis(unix_socket_path=str(folder / "redis" / "redis.sock")) as client:
        client.set("kept", "yes")
    process.kill()
    with embedded(folder) as again, connect(again) as client:  # at once: waits for the orphan's shutdown
        assert has_gone(server_pid)
        assert client.get("kept") == b"yes"


def test_the_server_of_a_killed_owner_ends_by_itself(owner: tuple[subprocess.Popen[str], int]) -> None:
    process, server_pid = owner
    process.kill()
    assert eventually(lambda: has_gone(server_pid), 5.0)


def test_an_orphan_that_cannot_hear_the_signal_is_ended_by_the_next_owner(
    folder: Path, owner: tuple[subprocess.Popen[str], int]
) -> None:
    process, server_pid = owner
    os.kill(server_pid, signal.SIGSTOP)
    process.kill()
    process.wait()
    with embedded(folder) as again, connect(again) as client:
        assert has_gone(server_pid)
        assert client.ping()


def test_a_second_owner_is_refused_with_the_pid_of_the_first(
    folder: Path, owner: tuple[subprocess.Popen[str], int]
) -> None:
    process, server_pid = owner
    with pytest.raises(ConfigError, match=rf"pid {process.pid}\b.*DEJA_DATA_DIR"):
        embedded(folder).start()
    assert not has_gone(server_pid)


def test_a_data_directory_too_deep_for_a_socket_still_works(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    with embedded(deep) as server, connect(server) as client:
        path = Path(server.url.removeprefix("unix://"))
        assert len(os.fsencode(path)) <= SOCKET_PATH_BYTES
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert client.ping()
        url = server.url
    with embedded(deep) as server:
        assert server.url == url
    shutil.rmtree(path.parent)


def test_a_socket_folder_that_someone_else_made_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    deep = folder / ("d" * 60) / ("e" * 60)
    with embedded(deep) as server:
        place = Path(server.url.removeprefix("unix://")).parent
    shutil.rmtree(place)
    place.symlink_to(folder)
    with pytest.raises(ConfigError, match="belongs to someone else"):
        embedded(deep).start()


def _append_only_file(folder: Path) -> Path:
    return max((folder / "redis" / "appendonlydir").glob("*.incr.aof"))


def test_an_append_only_file_cut_off_in_mid_write_loads(folder: Path) -> None:
    with embedded(folder) as server, connect(server) as client:
        client.set("first", "1")
        client.set("last", "2")
    file = _append_only_file(folder)
    os.truncate(file, file.stat().st_size - 5)
    with embedded(folder) as server, connect(server) as client:
        assert client.get("first") == b"1"
        assert client.get("last") is None


def test_a_damaged_append_only_file_stops_the_start_with_the_command_that_mends_it(folder: Path) -> None:
    with embedded(folder) as server, connect(server) as client:
        client.set("zeroth", "0")
        for name in ("first", "second"):
            client.set(name, "1")
    file = _append_only_file(folder)
    file.write_bytes(file.read_bytes().replace(b"$5\r\nfirst", b"?5\r\nfirst", 1))
    with pytest.raises(ConfigError, match="redis-check-aof --fix") as refused:
        embedded(folder).start()
    command = re.search(r"with: (.+?manifest) \(", str(refused.value))
    assert command is not None
    mended = subprocess.run(["bash", "-c", command[1]], input="y\n", text=True, capture_output=True, check=False)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    with embedded(folder) as server, connect(server) as client:
        assert client.get("zeroth") == b"0"


def test_a_file_damaged_while_running_is_told_and_not_hammered(folder: Path) -> None:
    with embedded(folder) as server, connect(server) as client:
        client.set("first", "1")
        client.execute_command("WAITAOF", 1, 0, 5000)
        file = _append_only_file(folder)
        file.write_bytes(file.read_bytes().replace(b"$5\r\nfirst", b"?5\r\nfirst", 1))
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: "redis-check-aof" in (server.failure or ""), BACK_WITHIN_S)
        starts = (folder / "redis" / "redis.log").read_bytes().count(b"Redis is starting")
        time.sleep(0.5)
        assert (folder / "redis" / "redis.log").read_bytes().count(b"Redis is starting") == starts == 2


def test_a_data_directory_that_cannot_be_written_is_refused_with_a_sentence(folder: Path) -> None:
    in_the_way = folder / "file"
    in_the_way.write_text("")
    with pytest.raises(ConfigError, match="DEJA_DATA_DIR"):
        embedded(in_the_way).start()


def test_a_start_that_fails_leaves_no_process_and_no_lock(folder: Path) -> None:
    server = EmbeddedRedis(folder, artifacts_dir(), max_memory_bytes=-1)
    with pytest.raises(ConfigError, match=r"exit status 1: .*maxmemory.*argument"):
        server.start()
    assert server.pid is None
    with embedded(folder) as fine, connect(fine) as client:
        assert client.ping()


def test_the_socket_of_a_dead_server_does_not_pass_for_an_answer(folder: Path) -> None:
    (folder / "redis").mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(folder / "redis" / "redis.sock"))
    with embedded(folder) as server, connect(server) as client:
        assert client.ping()


async def test_loading_is_told_from_ready_and_from_silence(folder: Path) -> None:
    replies = [b"-LOADING Redis is loading the dataset in memory\r\n", b"+PONG\r\n", b""]
    answers = []
    for reply in replies:
        path = folder / "fake.sock"
        path.unlink(missing_ok=True)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: bytes = reply) -> None:
            await reader.readline()
            writer.write(reply)
            writer.close()

        async with await asyncio.start_unix_server(answer, path):
            answers.append(await asyncio.to_thread(ask, path))
    assert answers == [Answer.LOADING, Answer.READY, Answer.NONE]
    assert ask(folder / "nobody.sock") is Answer.NONE


def test_the_pause_between_restarts_grows_and_stays_below_the_promise() -> None:
    pauses = [backoff_s(failures) for failures in range(1, 50)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 0.1
    assert pauses[-1] == 2.0
