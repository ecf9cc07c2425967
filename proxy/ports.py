"""What the services need from the outside, as Protocols; no code.

Stores and upstreams implement these, services call them, `app.py` joins the two. Every method that touches a
network may raise the errors named in its docstring and no others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

Headers = tuple[tuple[bytes, bytes], ...]
"""Header pairs in wire order, names lower-case; a name may repeat."""


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One HTTP request to a model provider, ready to send.

    Attributes:
        method: upper-case HTTP method.
        path: what follows the base URL's `/v1`, beginning with a slash: `/chat/completions`.
        query: raw query string without the question mark, b"" if none.
        headers: the caller's headers that may travel (hop-by-hop, Host, Content-Length and `X-Deja-*` already gone).
        body: the request body, or an iterator of it for bodies that are passed through unread.
        model: the `model` field where the body was parsed, else None.
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes | AsyncIterator[bytes]
    model: str | None = None


class UpstreamResponse(Protocol):
    """A provider's answer whose head has arrived; the body follows through `chunks`."""

    @property
    def status(self) -> int:
        """HTTP status, whatever the provider sent."""

    @property
    def headers(self) -> Headers:
        """End-to-end headers as sent; hop-by-hop ones and Content-Length removed."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, byte for byte, never empty pieces.

        Raises:
            UpstreamTimeoutError: nothing came within the read timeout.
            UpstreamBrokenError: the connection ended before the body did.
        """

    async def aclose(self) -> None:
        """Give the connection back, cancelling what has not arrived. May be called more than once."""


class Upstream(Protocol):
    """A model provider."""

    @property
    def identity(self) -> str:
        """What makes answers of this provider its own: the base URL. Part of the room, never a secret."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send the request and return once the head of the answer is there.

        Any HTTP status is a normal return. The caller must `aclose` the response.

        Raises:
            UpstreamTimeoutError: no head within the timeouts.
            UpstreamError: refused, unresolvable, TLS failure, connection lost.
        """

    async def aclose(self) -> None:
        """Close all connections."""
