"""Who is asking: the caller's credential, whether it may call, and the tenant it stands for."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence

from proxy.core.keys import tenant_of
from proxy.errors import RequestError
from proxy.ports import Headers

_CREDENTIALS = (b"authorization", b"api-key", b"x-api-key")
"""Where callers put their key: OpenAI's header, Azure's, Anthropic's."""


class Identity:
    """Tells tenants apart.

    Args:
        secret: key of the tenant hash.
        keys: of which a caller must present one; empty lets anyone in.
    """

    def __init__(self, secret: bytes, keys: Sequence[bytes]) -> None:
        self._secret = secret
        self._keys = tuple(keys)

    @property
    def owns_credentials(self) -> bool:
        """Whether callers present keys of Deja, which no provider must see."""
        return bool(self._keys)

    def tenant(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The tenant of a request.

        Raises:
            RequestError: 401, a key is required and none that is known was presented.
        """
        credential = credential_of(headers)
        if self._keys and not any(hmac.compare_digest(key, credential or b"") for key in self._keys):
            raise RequestError(
                "Deja needs a key it knows: send `Authorization: Bearer <key>` with one of DEJA_AUTH__KEYS.",
                status=401,
                code="invalid_api_key",
                kind="authentication_error",
            )
        return tenant_of(credential, self._secret)

    def for_upstream(self, headers: Headers) -> Headers:
        """The headers without the caller's credential where that is a key of Deja."""
        if not self.owns_credentials:
            return headers
        return tuple(pair for pair in headers if pair[0] not in _CREDENTIALS)


def credential_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The caller's credential, `Bearer` taken off; None if there is none."""
    found = {name: value for name, value in headers if name in _CREDENTIALS}
    for name in _CREDENTIALS:
        if value := found.get(name, b"").strip():
            scheme, _, token = value.partition(b" ")
            return token.strip() if scheme.lower() == b"bearer" else value
    return None
