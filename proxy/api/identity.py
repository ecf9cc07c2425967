"""Who is asking: the caller's credential, whether it may call, and the tenant it stands for.

`api.door` asks once a request, before anything else is done, and leaves the answer in the ASGI scope; routes read it there.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from proxy.core.access import api_keys
from proxy.core.access.callers import Caller
from proxy.core.access.scopes import DATA, KeyScope
from proxy.core.access.sharing import Sharing, space_of
from proxy.core.keys import tenant_of
from proxy.errors import RequestError
from proxy.ports import Headers

CREDENTIALS = (b"authorization", b"api-key", b"x-api-key")
"""Where callers put their key: OpenAI's header, Azure's, Anthropic's."""
CALLER = "deja.caller"
"""Where the door leaves who is asking, in the ASGI scope."""
CALLERS_KNOWN = 4096
"""Callers remembered; past that all are forgotten, which costs each one hash again."""

_SHOWN_DIGITS = 8  # of a configured key's hash, in the audit log: they tell keys apart and say nothing of them


class Minted(Protocol):
    """Tells callers by keys that Deja minted, and what admins decided."""

    @property
    def levels(self) -> Mapping[str, Sharing]:
        """Who shares entries, by namespace."""

    async def caller(self, credential: bytes, /) -> Caller | None:
        """Who presents it, None if it is not good; RequestError 503 where that cannot be known."""


class NoneMinted:
    """Where there are no minted keys."""

    levels: Mapping[str, Sharing] = MappingProxyType({})

    async def caller(self, _: bytes, /) -> Caller | None:
        """Nobody."""
        return None


class Identity:
    """Tells tenants apart.

    Args:
        secret: key of the tenant hash.
        keys: configured ones of callers.
        admin_keys: configured ones of administrators, by what the audit log calls them; "" for a name made of their hash.
        is_required: a caller must present a key, even if none is configured.
    """

    def __init__(
        self,
        secret: bytes,
        keys: Sequence[bytes],
        *,
        admin_keys: Sequence[tuple[bytes, str]] = (),
        is_required: bool = False,
    ) -> None:
        self._secret = secret
        self._minted: Minted = NoneMinted()
        self._known: dict[Headers, Caller] = {}
        self._is_required = is_required or bool(keys)
        # By keyed hash, as minted ones: how long a comparison takes tells nothing.
        self._configured = {self._hash(key): self._of_application(key) for key in keys}
        self._configured |= {self._hash(key): self._of_admin(key, name) for key, name in admin_keys}

    @property
    def owns_credentials(self) -> bool:
        """Whether every caller presents a key of Deja, which no provider must see."""
        return self._is_required

    def use(self, minted: Minted) -> None:
        """Let in, too, who presents a key that Deja minted."""
        self._minted = minted

    async def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Who sends a request with these headers.

        Raises:
            RequestError: 401, a key is required and no good one was presented; 503, that cannot be known now.
        """
        sent = tuple([pair for pair in headers if pair[0] in CREDENTIALS])
        known = self._known.get(sent)
        if known is not None:
            return known
        credentials = credentials_of(sent)
        for credential in credentials:
            if api_keys.looks_minted(credential) and (minted := await self._minted.caller(credential)) is not None:
                return minted  # it may be revoked: asked each time
            found = self._configured.get(self._hash(credential))
            if found is not None:
                return self._remember(sent, found)
        return self._remember(sent, self._stranger(credentials))

    def _remember(self, sent: Headers, caller: Caller) -> Caller:
        """Whose answer never changes need not be read and hashed again: 15 µs a request."""
        if len(self._known) >= CALLERS_KNOWN:
            self._known.clear()
        self._known[sent] = caller
        return caller

    def caller(self, scope: Any) -> Caller:
        """Who is asking, as the door found.

        Raises:
            RequestError: 401, there was no door, and none of the configured keys was presented where one is required.
        """
        found: Caller | None = scope.get(CALLER)
        if found is not None:
            return found
        credentials = credentials_of(scope["headers"])
        known = (self._configured.get(self._hash(credential)) for credential in credentials)
        return next((caller for caller in known if caller is not None), None) or self._stranger(credentials)

    def tenant(self, scope: Any) -> str:
        """The tenant of a request; raises as `caller`."""
        return self.caller(scope).tenant

    def space(self, caller: Caller, namespace: str) -> tuple[str, str]:
        """What stands for a caller's tenant where stored answers belong, and with whom they are shared; "" and "" for its own."""
        levels = self._minted.levels
        if not levels:
            return "", ""
        space, level = space_of(caller, namespace, levels)
        return ("", "") if level is Sharing.KEY else (space, level.value)

    def for_upstream(self, headers: Headers) -> Headers:
        """The headers without the caller's credentials where one of them is a key of Deja, which no provider must see."""
        if not self._is_required and not any(map(self._is_ours, credentials_of(headers))):
            return headers
        return tuple(pair for pair in headers if pair[0] not in CREDENTIALS)

    def _is_ours(self, credential: bytes) -> bool:
        return api_keys.looks_minted(credential) or self._hash(credential) in self._configured

    def _stranger(self, credentials: tuple[bytes, ...]) -> Caller:
        if self._is_required or any(map(api_keys.looks_minted, credentials)):
            raise _unknown()
        # By all of them: which one a provider goes by is its business, and an SDK may send a dummy beside the real one.
        return Caller(tenant_of(b"\0".join(credentials), self._secret))

    def _hash(self, credential: bytes) -> bytes:
        return hmac.digest(self._secret, b"configured-key\0" + credential, "sha256")

    def _of_application(self, key: bytes) -> Caller:
        return Caller(tenant_of(key, self._secret), f"configured-{self._shown(key)}", DATA)

    def _of_admin(self, key: bytes, name: str) -> Caller:
        name = name or f"admin-{self._shown(key)}"
        return Caller(tenant_of(key, self._secret), name, frozenset({KeyScope.ADMIN}))

    def _shown(self, key: bytes) -> str:
        return self._hash(key).hex()[:_SHOWN_DIGITS]


def credentials_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
    """The credentials a caller sent, `Bearer` taken off, each once, in an order that does not depend on the client's."""
    sent = [pair for pair in headers if pair[0] in CREDENTIALS]
    values = [value for wanted in CREDENTIALS for name, value in sent if name == wanted]
    return tuple(dict.fromkeys(token for value in values if (token := _token(value.strip()))))


def _unknown() -> RequestError:
    return RequestError(
        "Deja needs a key it knows: send `Authorization: Bearer <key>` with one that `deja keys create` made, or one of DEJA_AUTH__KEYS.",
        status=401,
        code="invalid_api_key",
        kind="authentication_error",
    )


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
