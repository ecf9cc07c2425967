"""Which headers travel between a caller and a provider, and which belong to one connection alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.ports import Headers

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers of one hop. Source: RFC 9110 section 7.6.1, and 11.7 for the two of a proxy's own authentication."""

FRAMING = frozenset({b"host", b"content-length", b"expect"})
"""Headers each hop writes anew: httpx sets the first two from what it sends; `Expect` was answered as the body came."""

CREDENTIALS = frozenset({b"authorization", b"api-key", b"x-api-key"})
"""Where callers put a key: OpenAI's header, Azure's and Anthropic's."""

OURS = b"x-deja-"
"""Prefix of the headers between the caller and Deja; no provider sees them, none may forge them."""


def end_to_end(headers: Iterable[tuple[bytes, bytes]], *, without: frozenset[bytes] = FRAMING) -> Headers:
    """Keep what may travel on: no header of this hop, none that `Connection` names, none of Deja's own.

    Args:
        headers: pairs as they came, names in any case.
        without: further lower-case names to leave out.

    Returns:
        The pairs left, in their order, names lower-case; a repeated name stays repeated.
    """
    pairs = [(name.lower(), value) for name, value in headers]
    drop = HOP_BY_HOP | without
    for name, value in pairs:
        if name == b"connection":
            drop |= {token.strip().lower() for token in value.split(b",")}
    return tuple(pair for pair in pairs if pair[0] not in drop and not pair[0].startswith(OURS))
