"""Who is asking: the caller's credential, whether it may call, and the tenant it stands for."""

from __future__ import annotations

import base64
import binascii
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
        credentials = credentials_of(headers)
        if not self._keys:
            # By all of them: which one a provider goes by is its business, and an SDK may send a dummy beside the real one.
            return tenant_of(b"\0".join(credentials), self._secret)
        known = [credential for credential in credentials if self._is_known(credential)]
        if not known:
            raise RequestError(
                "Deja needs a key it knows: send `Authorization: Bearer <key>` with one of DEJA_AUTH__KEYS.",
                status=401,
                code="invalid_api_key",
                kind="authentication_error",
            )
        return tenant_of(known[0], self._secret)

    def _is_known(self, credential: bytes) -> bool:
        return any(hmac.compare_digest(key, credential) for key in self._keys)

    def for_upstream(self, headers: Headers) -> Headers:
        """The headers without the caller's credential where that is a key of Deja."""
        if not self.owns_credentials:
            return headers
        return tuple(pair for pair in headers if pair[0] not in _CREDENTIALS)


def credentials_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
    """The credentials a caller sent, `Bearer` taken off, each once, in an order that does not depend on the client's."""
    pairs = list(headers)
    values = [value for wanted in _CREDENTIALS for name, value in pairs if name == wanted]
    return tuple(dict.fromkeys(token for value in values if (token := _token(value.strip()))))


def _token(value: bytes) -> bytes:
    scheme, _, token = value.partition(b" ")
    if scheme.lower() == b"bearer":
        return token.strip()
    return _basic(token.strip()) or value if scheme.lower() == b"basic" else value


def _basic(token: bytes) -> bytes:
    """The key that stands alone in a URL, `http://:KEY@host` or `http://KEY@host`; nothing where there are both a user and a password."""
    try:
        user, colon, password = base64.b64decode(token, validate=True).partition(b":")
    except binascii.Error:
        return b""
    return b"" if (user and password) or not colon else user or password
