"""Any provider that speaks OpenAI's or Anthropic's HTTP API, over httpx. Bytes and headers pass; nothing is read or decoded here.

An `httpx.AsyncHTTPTransport` is used bare, not through `httpx.AsyncClient`. The client adds a cookie jar that all
tenants would share, redirects that would carry a key to another host, a log line with the full URL, and 40 µs a call
(441 against 481 µs measured beside an instant server); none of it is wanted in a proxy.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncIterator
from functools import lru_cache
from urllib.request import getproxies, proxy_bypass

import httpx

from proxy.errors import ConfigError, RequestError, UpstreamBrokenError, UpstreamError, UpstreamTimeoutError
from proxy.ports import Headers, UpstreamRequest
from proxy.upstream.headers import CREDENTIALS, FRAMING, end_to_end
from proxy.upstream.pool import ConnectionPool

_DOT_SEGMENT = re.compile(r"(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:$|[/\\]|%2f|%5c)", re.IGNORECASE)


class OpenAIUpstream:
    """A provider at one base URL, with a pool of kept connections. Implements `proxy.ports.Upstream`.

    Args:
        base_url: http or https, usually ending in `/v1`; no user, query or fragment.
        api_key: sent in place of any credential of the caller, as a bearer token or, where the request speaks Anthropic's API
            (`anthropic-version`), as `x-api-key`; None lets the caller's travel.
        connect_timeout_s: for the connection, and for a free place in the pool.
        read_timeout_s: longest silence allowed: before the head, and between two pieces of the body.
        stream_timeout_s: the same for requests of streams; None takes `read_timeout_s`.
        max_connections: most calls in flight at once; more wait for a place.
        extra_headers: lower-case names; they replace the caller's of the same name.
        identity: what `identity` says; None takes the base URL.
        transport: None opens real connections, through the proxy of the process environment (`HTTPS_PROXY`,
            `NO_PROXY`, as every HTTP client of that machine does) unless the host is a loopback one.

    Raises:
        ConfigError: the base URL or the key cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        connect_timeout_s: float,
        read_timeout_s: float,
        max_connections: int,
        stream_timeout_s: float | None = None,
        extra_headers: Headers = (),
        identity: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base = parse_base_url(base_url)
        self._host = self._base.netloc.decode("ascii")
        self._prefix = str(self._base)
        self._identity = self._prefix if identity is None else identity
        self._own_headers = (*_bearer(api_key), *extra_headers)
        self._own_anthropic_headers = (*_x_api_key(api_key), *extra_headers)
        self._replaced = frozenset(name for name, _ in extra_headers) | (CREDENTIALS if api_key else frozenset())
        self._timeouts = {
            "connect": connect_timeout_s,
            "pool": connect_timeout_s,
            "read": read_timeout_s,
            "write": read_timeout_s,
        }
        self._stream_timeouts = {**self._timeouts, "read": stream_timeout_s or read_timeout_s}
        self._max_connections = max_connections
        self._transport = transport or _open_pool(self._base, max_connections)
        self._plain_url = lru_cache(maxsize=64)(self._parse_url)  # parsing costs 20 µs, and few paths are hot

    @property
    def identity(self) -> str:
        """The base URL in its normal form, unless another was given."""
        return self._identity

    async def send(self, request: UpstreamRequest) -> OpenAIResponse:
        """Send the request and return once the head of the answer is there; any status is a normal return.

        Raises:
            UpstreamTimeoutError: no connection, or no head, in time.
            UpstreamError: refused, unresolvable, TLS failure, connection lost before the head.
            RequestError: the path climbs out of the base URL or is no valid URL.
        """
        outgoing = self._outgoing(request)
        try:
            response = await self._transport.handle_async_request(outgoing)
        except httpx.TransportError as error:
            raise self._translate(error, is_stream=request.is_stream) from error
        return OpenAIResponse(response, self._host)

    async def aclose(self) -> None:
        """Close all connections, those in use too."""
        await self._transport.aclose()

    def _outgoing(self, request: UpstreamRequest) -> httpx.Request:
        drop = FRAMING | self._replaced
        is_anthropic = any(name == b"anthropic-version" for name, _ in request.headers)
        own = self._own_anthropic_headers if is_anthropic else self._own_headers
        if request.method == "POST" and isinstance(request.body, bytes):
            # An answer that may be stored has to be readable without a decoder for whatever the caller accepts.
            drop |= {b"accept-encoding"}
            own = (*own, (b"accept-encoding", b"identity"))
        return httpx.Request(
            request.method,
            self._url(request.path, request.query),
            headers=[*end_to_end(request.headers, without=drop), *own],
            # None, not b"": httpx then says Content-Length: 0 where the method calls for it.
            content=request.body or None,
            extensions={"timeout": self._stream_timeouts if request.is_stream else self._timeouts},
        )

    def _url(self, path: str, query: bytes) -> httpx.URL:
        return self._parse_url(f"{path}?{query.decode('latin-1')}") if query else self._plain_url(path)

    def _parse_url(self, target: str) -> httpx.URL:
        path = target.partition("?")[0]
        if not path.startswith("/") or _DOT_SEGMENT.search(path):
            # With a configured key, `/v1/../admin` would lend that key to every other path of the host.
            raise RequestError(
                "The path may not hold '.' or '..' segments; ask for the resource by its own path.", param="path"
            )
        try:
            return httpx.URL(self._prefix + target)
        except httpx.InvalidURL as error:
            raise RequestError(
                "The path or query is not a valid URL; percent-encode what is not ASCII.", param="path"
            ) from error

    def _translate(self, error: httpx.TransportError, *, is_stream: bool) -> UpstreamError:
        timeouts = self._stream_timeouts if is_stream else self._timeouts
        host, read_s, connect_s = self._host, timeouts["read"], timeouts["connect"]
        match error:
            case httpx.PoolTimeout():
                return UpstreamTimeoutError(
                    f"All {self._max_connections} connections to {host} were busy for {connect_s:g} s; allow more.",
                    was_sent=False,
                    is_theirs=False,
                )
            case httpx.ConnectTimeout():
                return UpstreamTimeoutError(f"{host} did not take a connection within {connect_s:g} s.", was_sent=False)
            case httpx.TimeoutException():
                return UpstreamTimeoutError(f"{host} did not begin its answer within {read_s:g} s.")
            case httpx.ConnectError():
                return UpstreamError(f"Cannot connect to {host}: {error}", was_sent=False)
            case httpx.LocalProtocolError():
                return UpstreamError(
                    f"The request cannot be sent to {host} as HTTP: {error}", was_sent=False, is_theirs=False
                )
            case _:
                return UpstreamError(
                    f"The connection to {host} was lost before its answer began ({type(error).__name__})."
                )


class OpenAIResponse:
    """An answer whose head has arrived. Implements `proxy.ports.UpstreamResponse`."""

    served_by = None

    def __init__(self, response: httpx.Response, host: str) -> None:
        self._stream = response.stream
        self._host = host
        self._status = response.status_code
        self._headers = end_to_end(response.headers.raw)

    @property
    def status(self) -> int:
        """HTTP status, whatever the provider sent."""
        return self._status

    @property
    def headers(self) -> Headers:
        """End-to-end headers as sent; `Content-Encoding` stays, since the body does too."""
        return self._headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, byte for byte; the connection is given back with the last piece.

        Raises:
            UpstreamTimeoutError: nothing came within the read timeout.
            UpstreamBrokenError: the connection ended before the body did.
        """
        assert isinstance(self._stream, httpx.AsyncByteStream)
        try:
            async for chunk in self._stream:
                if chunk:
                    yield chunk
        except httpx.TimeoutException as error:
            raise UpstreamTimeoutError(f"{self._host} fell silent in the middle of its answer.") from error
        except httpx.TransportError as error:
            raise UpstreamBrokenError(f"{self._host} ended the connection before the end of its answer.") from error
        await self.aclose()

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end, else close it, which the provider notices."""
        assert isinstance(self._stream, httpx.AsyncByteStream)
        await self._stream.aclose()


def parse_base_url(base_url: str) -> httpx.URL:
    """Read a provider's base URL into its normal form: lower-case host, no default port, no slash at the end.

    Raises:
        ConfigError: not http(s), no host, or it holds a user, a query or a fragment. The message never repeats the
            URL, which might hold a password.
    """
    try:
        url = httpx.URL(base_url.strip())
    except httpx.InvalidURL as error:
        raise ConfigError("The upstream base URL is not a URL; it looks like https://api.openai.com/v1") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError("The upstream base URL has to begin with http:// or https:// and a host.")
    if url.userinfo:
        raise ConfigError("The upstream base URL may not hold a user or password; give the key as api_key.")
    if url.query or url.fragment:
        raise ConfigError("The upstream base URL may not hold a query or fragment; it ends with a path such as /v1")
    return httpx.URL(str(url).rstrip("/"))


def _x_api_key(api_key: str | None) -> Headers:
    return ((b"x-api-key", api_key.encode("ascii")),) if api_key else ()


def _bearer(api_key: str | None) -> Headers:
    if not api_key:
        return ()
    if not re.fullmatch(r"[\x21-\x7e]+", api_key):
        raise ConfigError("The upstream api_key holds a space, line break or non-ASCII character; paste the key alone.")
    return ((b"authorization", b"Bearer " + api_key.encode("ascii")),)


def _open_pool(base: httpx.URL, max_connections: int) -> ConnectionPool:
    try:
        return ConnectionPool(max_connections, _environment_proxy(base))
    except ImportError as error:
        raise ConfigError(
            "The proxy of the environment is a SOCKS proxy; install httpx[socks], or set NO_PROXY."
        ) from error


def _environment_proxy(base: httpx.URL) -> httpx.Proxy | None:
    if _is_loopback(base.host) or proxy_bypass(base.host):
        return None
    found = getproxies()
    address = found.get(base.scheme) or found.get("all")
    if not address:
        return None
    try:
        return httpx.Proxy(address if "://" in address else f"http://{address}")
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigError(f"The {base.scheme.upper()}_PROXY of the environment is not a usable proxy URL.") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
