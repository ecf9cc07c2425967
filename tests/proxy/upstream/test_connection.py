"""One connection to a provider, against a server that notes what each read of it brought."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpcore
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.upstream import connection as module
from proxy.upstream.connection import Connection

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass
class Server:
    """Answers once the body is whole."""

    reads: list[bytes] = field(default_factory=list)
    connections: int = 0
    closes_after: bool = False
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        got = b""
        while piece := await reader.read(1 << 20):
            self.reads.append(piece)
            got += piece
            head, end, body = got.partition(b"\r\n\r\n")
            if end and len(body) >= _length(head):
                got = b""
                writer.write(ANSWER)
                if self.closes_after:
                    break
        writer.close()


def _length(head: bytes) -> int:
    return next(
        (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )


Start = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    running: list[asyncio.Server] = []

    async def begin(tls: ssl.SSLContext | None = None, *, closes_after: bool = False) -> Server:
        server = Server(closes_after=closes_after)
        running.append(await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls))
        server.port = running[-1].sockets[0].getsockname()[1]
        return server

    yield begin
    for one in running:
        one.close()


def made(tls: ssl.SSLContext | None = None, keepalive_s: float = 50.0) -> Connection:
    return Connection(tls=tls or ssl.create_default_context(), keepalive_s=keepalive_s, socket_options=())


async def ask(connection: Connection, server: Server, *, body: bytes = b"{}", scheme: str = "http") -> bytes:
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), 5.0)
    method = "POST" if body else "GET"
    url = f"{scheme}://127.0.0.1:{server.port}/v1/x?y=%20z"
    response = await connection.handle_async_request(
        httpx.Request(method, url, content=body or None, extensions={"timeout": timeout})
    )
    assert isinstance(response.stream, httpx.AsyncByteStream)
    read = b"".join([piece async for piece in response.stream])
    await response.stream.aclose()
    return read


async def test_head_and_body_leave_as_one_and_the_connection_stays(start: Start) -> None:
    server, connection = await start(), made()
    for _ in range(3):
        assert await ask(connection, server) == b"ok"
    assert len(server.reads) == 3
    assert all(
        read.startswith(b"POST /v1/x?y=%20z HTTP/1.1\r\n") and read.endswith(b"\r\n\r\n{}") for read in server.reads
    )
    assert server.connections == 1
    await connection.aclose()


async def test_a_request_without_a_body_leaves_too(start: Start) -> None:
    server, connection = await start(), made()
    assert await ask(connection, server, body=b"") == b"ok"
    assert await ask(connection, server) == b"ok"
    await connection.aclose()


async def test_a_long_body_arrives_whole(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server, connection = await start(), made()
    for most in (1 << 16, 1 << 24):
        monkeypatch.setattr(module, "_JOINED_BYTES", most)
        body = bytes(range(256)) * 4096
        server.reads.clear()
        assert await ask(connection, server, body=body) == b"ok"
        assert b"".join(server.reads).partition(b"\r\n\r\n")[2] == body
    await connection.aclose()


async def test_a_body_in_pieces_arrives_as_it_is_made(start: Start) -> None:
    server, connection = await start(), made()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        async with asyncio.timeout(5):
            while not any(b"first" in read for read in server.reads):  # noqa: ASYNC110  what is waited for has no event
                await asyncio.sleep(0.001)
        yield b"second"

    request = httpx.Request(
        "POST",
        f"http://127.0.0.1:{server.port}/",
        content=pieces(),
        headers={"content-length": "11"},
        extensions={"timeout": {}},
    )
    response = await connection.handle_async_request(request)
    assert response.status_code == 200
    await connection.aclose()


async def test_a_connection_that_the_provider_closed_is_made_anew(start: Start) -> None:
    server, connection = await start(closes_after=True), made()
    for number in range(1, 4):
        assert await ask(connection, server) == b"ok"
        await asyncio.sleep(0.02)  # the provider's end of it arrives
        assert server.connections == number
    await connection.aclose()


async def test_so_is_one_that_is_too_old_and_one_to_somebody_else(start: Start) -> None:
    server, other, connection = await start(), await start(), made(keepalive_s=0.0)
    assert await ask(connection, server) == b"ok"
    assert await ask(connection, server) == b"ok"
    assert server.connections == 2
    assert await ask(connection, other) == b"ok"
    assert (server.connections, other.connections) == (2, 1)
    await connection.aclose()


async def test_nobody_there_is_httpx_s_own_error(start: Start) -> None:
    server, connection = Server(port=1), made()
    with pytest.raises(httpx.ConnectError):
        await ask(connection, server)
    there = await start()
    assert await ask(connection, there) == b"ok"  # and the next call is as good as new
    await connection.aclose()


async def test_through_tls(start: Start, tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate, key)
    server = await start(theirs)
    trusting, doubting = made(ssl.create_default_context(cafile=str(certificate))), made()
    for _ in range(2):
        assert await ask(trusting, server, scheme="https") == b"ok"
    assert [read.endswith(b"\r\n\r\n{}") for read in server.reads] == [True, True]
    with pytest.raises(httpx.ConnectError):
        await ask(doubting, server, scheme="https")
    await trusting.aclose()


@pytest.mark.parametrize("base", [httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError])
def test_each_of_httpcore_s_errors_has_one_of_httpx(base: type[Exception]) -> None:
    for error in base.__subclasses__():
        with pytest.raises(getattr(httpx, error.__name__)) as told, module._as_httpx():
            raise error("why")
        assert isinstance(told.value, httpx.TransportError)
        assert str(told.value) == "why"


def _certificate(folder: Path) -> tuple[Path, Path]:
    """For 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    no_password = serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password))
    return certificate, secret
