from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from proxy.errors import (
    IndexMissingError,
    StoreError,
    StoreFullError,
    StoreLoadingError,
    StoreUnavailableError,
)
from proxy.stores.client import Commands, open_client, translate, translated
from proxy.stores.embedded import EmbeddedRedis, ServerFiles, ensure_binaries
from tests.redis_server import artifacts_dir, private_server

DEADLINE_MS = 100.0
PATIENT_MS = 5000.0


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with private_server() as started:
        yield started


@pytest.fixture
async def client(server: EmbeddedRedis) -> AsyncIterator[Redis]:
    opened = open_client(server.url, deadline_ms=PATIENT_MS)
    yield opened
    await opened.aclose()


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="deja-test-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def binaries() -> ServerFiles:
    return ensure_binaries(artifacts_dir(), lambda _: None)


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the bare server with these arguments: what the embedded one would never do."""
    found = binaries()
    log = (folder / "out.log").open("ab")
    with log, subprocess.Popen([found.server, *arguments], cwd=folder, env=found.environment(), stdout=log) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  what is waited for is another process
            await asyncio.sleep(0.01)


async def eventually_pings(client: Redis) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                await client.ping()
            except exceptions.RedisError:
                await asyncio.sleep(0.02)
            else:
                return


async def test_values_come_back_as_the_bytes_that_were_sent(client: Redis) -> None:
    key, value = f"deja:v1:test:{os.urandom(8).hex()}", bytes(range(256))
    await client.set(key, value, ex=10)
    assert await client.get(key) == value


async def test_a_stopped_redis_costs_the_deadline_and_no_more() -> None:
    with private_server() as stopped:
        client = open_client(stopped.url, deadline_ms=DEADLINE_MS)
        await client.ping()
        assert stopped.pid is not None
        os.kill(stopped.pid, signal.SIGSTOP)
        try:
            began = time.perf_counter()
            with pytest.raises(StoreUnavailableError), translated():
                await client.get("a")
            took_ms = (time.perf_counter() - began) * 1000
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
        assert DEADLINE_MS * 0.9 <= took_ms < DEADLINE_MS * 4  # redis-py's own retries would take seconds
        await eventually_pings(client)
        await client.aclose()


async def test_a_redis_that_is_gone_fails_at_once(folder: Path) -> None:
    client = open_client(f"unix://{folder}/none.sock", deadline_ms=PATIENT_MS)
    began = time.perf_counter()
    with pytest.raises(StoreUnavailableError), translated():
        await client.get("a")
    assert time.perf_counter() - began < 1.0
    await client.aclose()


async def test_connections_to_a_redis_that_restarted_are_replaced_unseen() -> None:
    with private_server() as restarted:
        client = open_client(restarted.url, deadline_ms=PATIENT_MS)
        await asyncio.gather(*(client.ping() for _ in range(8)))
        before = restarted.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await until(lambda: restarted.pid not in (None, before) and restarted.failure is None)
        assert all(await asyncio.gather(*(client.ping() for _ in range(8))))
        await client.aclose()


async def test_more_requests_than_connections_wait_their_turn(server: EmbeddedRedis, client: Redis) -> None:
    async with open_client(server.url, deadline_ms=PATIENT_MS, max_connections=3) as crowded:
        others = len(await client.client_list())
        assert all(await asyncio.gather(*(crowded.ping() for _ in range(100))))
        assert len(await client.client_list()) - others <= 3


async def test_a_missing_index_is_told_apart(client: Redis) -> None:
    for command in (("FT.SEARCH", "nowhere", "*"), ("FT.INFO", "nowhere")):
        with pytest.raises(IndexMissingError):
            await Commands(client).execute_command(*command)


async def test_a_full_redis_is_told_apart_in_commands_and_scripts() -> None:
    with private_server() as full:
        client = open_client(full.url, deadline_ms=PATIENT_MS)
        await client.config_set("maxmemory", 1)
        with pytest.raises(StoreFullError):
            await Commands(client).execute_command("SET", "a", "b")
        with pytest.raises(StoreFullError):
            await Commands(client).execute_command("EVAL", "return redis.call('SET', KEYS[1], 'b')", "1", "a")
        await client.aclose()


async def test_an_unknown_command_is_refused_without_repeating_its_arguments(client: Redis) -> None:
    with pytest.raises(StoreError) as refused:
        await Commands(client).execute_command("NOSUCH", "what the user typed")
    assert not isinstance(refused.value, StoreUnavailableError)
    assert "what the user typed" not in str(refused.value)


async def test_a_redis_that_is_loading_says_so(folder: Path) -> None:
    sock = folder / "redis.sock"
    arguments = ["--port", "0", "--unixsocket", str(sock), "--dir", str(folder), "--save", ""]
    client = open_client(f"unix://{sock}", deadline_ms=PATIENT_MS)
    with running(folder, *arguments):
        await eventually_pings(client)
        await client.mset({f"key{number}": "x" * 100 for number in range(2000)})
        await client.save()
    slowly = ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"]  # 2,000 keys, 2 ms each
    with running(folder, *arguments, *slowly):
        await until(sock.exists)
        with pytest.raises(StoreLoadingError):
            await Commands(client).execute_command("GET", "key1")
    await client.aclose()


async def test_an_acl_user_of_the_url_is_used_and_a_wrong_password_is_told_without_it(
    server: EmbeddedRedis, client: Redis
) -> None:
    path = server.url.removeprefix("unix://")
    await client.acl_setuser("visitor", enabled=True, passwords=["+right"], commands=["+ping", "+acl|whoami"])
    async with open_client(f"unix://visitor:right@{path}", deadline_ms=PATIENT_MS) as visitor:
        assert await visitor.acl_whoami() == "visitor"
        with pytest.raises(StoreError, match="no permissions"):
            await Commands(visitor).execute_command("GET", "a")
    async with open_client(f"unix://visitor:hunter2@{path}", deadline_ms=PATIENT_MS) as stranger:
        with pytest.raises(StoreUnavailableError, match="credentials") as refused:
            await Commands(stranger).execute_command("PING")
    assert "hunter2" not in str(refused.value)
    await client.acl_deluser("visitor")


async def test_sentinel_leads_to_the_master(folder: Path) -> None:
    master, watcher = free_port(), free_port()
    configuration = folder / "sentinel.conf"
    configuration.write_text(f"port {watcher}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master} 1\n")
    client = open_client(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{watcher}/main", deadline_ms=PATIENT_MS)
    plain = ["--port", str(master), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with running(folder, *plain), running(folder, str(configuration), "--sentinel"):
        await eventually_pings(client)
        assert (await client.info("server"))["tcp_port"] == master
    with pytest.raises(StoreUnavailableError), translated():
        await client.ping()
    await client.aclose()


@pytest.fixture(scope="module")
def certificate() -> Iterator[tuple[Path, Path]]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("making a certificate needs the openssl program")
    made = Path(tempfile.mkdtemp(prefix="deja-test-"))
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", made / "key.pem", "-out", made / "cert.pem"], check=True, capture_output=True)
    yield made / "cert.pem", made / "key.pem"
    shutil.rmtree(made)


async def test_tls_is_verified_against_the_authority_of_the_url(folder: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    port = free_port()
    tls = [
        "--tls-port",
        str(port),
        "--tls-cert-file",
        str(cert),
        "--tls-key-file",
        str(key),
        "--tls-auth-clients",
        "no",
    ]
    with running(folder, "--port", "0", "--bind", "127.0.0.1", "--save", "", "--tls-ca-cert-file", str(cert), *tls):
        trusting = open_client(f"rediss://127.0.0.1:{port}?ssl_ca_certs={cert}", deadline_ms=PATIENT_MS)
        await eventually_pings(trusting)
        unverified = open_client(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none", deadline_ms=PATIENT_MS)
        assert await unverified.ping()
        stranger = open_client(f"rediss://127.0.0.1:{port}", deadline_ms=PATIENT_MS)
        with pytest.raises(StoreUnavailableError), translated():
            await stranger.ping()
        for client in (trusting, unverified, stranger):
            await client.aclose()


def test_what_has_nothing_to_do_with_redis_passes_unchanged() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("mine")
    with pytest.raises(asyncio.CancelledError), translated():
        raise asyncio.CancelledError


def test_an_error_wrapped_by_a_library_above_is_still_recognised() -> None:
    wrapped = RuntimeError("Error while searching")
    wrapped.__cause__ = exceptions.ResponseError("Unknown index name 'x'")
    assert isinstance(translate(wrapped), IndexMissingError)


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (exceptions.TimeoutError("Timeout reading from socket"), StoreUnavailableError),
        (exceptions.MaxConnectionsError("Too many connections"), StoreUnavailableError),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), StoreLoadingError),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), StoreUnavailableError),
        (exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"), StoreUnavailableError),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), StoreUnavailableError),
        (exceptions.ResponseError("Index with name 'x' not found"), IndexMissingError),
        (exceptions.ResponseError("ERR OOM command not allowed when used memory > 'maxmemory'."), StoreFullError),
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), StoreError),
        (ConnectionResetError("reset"), StoreUnavailableError),
        (TimeoutError(), StoreUnavailableError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_each_kind_of_trouble_has_its_own_error(foreign: Exception, ours: type[StoreError]) -> None:
    assert type(translate(foreign)) is ours


@pytest.mark.parametrize(
    "arguments",
    [
        ("SET", "key", b"\x00\xff", 5, 0.1, 1795394367.837, "ü€", ""),
        ("CLIENT ID",),
        ("FT.SEARCH", "index", "x" * 100_000, memoryview(b"vector")),
        (b"GET", "key"),
    ],
)
def test_commands_travel_as_redis_py_writes_them(arguments: tuple[Any, ...]) -> None:
    pool = open_client("redis://127.0.0.1:1", deadline_ms=100).connection_pool
    connection = pool.make_connection()  # type: ignore[no-untyped-call]
    theirs = AbstractConnection.pack_command(connection, *arguments)
    assert b"".join(map(bytes, connection.pack_command(*arguments))) == b"".join(map(bytes, theirs))
    assert b"".join(connection.pack_commands([arguments, arguments])) == 2 * b"".join(map(bytes, theirs))


def test_what_cannot_travel_is_said_as_redis_py_says_it() -> None:
    connection = open_client("redis://127.0.0.1:1", deadline_ms=100).connection_pool.make_connection()  # type: ignore[no-untyped-call]
    with pytest.raises(exceptions.DataError, match="Invalid input of type: 'NoneType'"):
        connection.pack_command("SET", "key", None)
