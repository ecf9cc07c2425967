"""Keys that Deja mints: their form, their hash, what is kept of them.

    dk_<64 hex digits of chance><16 hex digits that only Deja can make>

What is kept is an HMAC-SHA256 under Deja's secret. A slow hash protects passwords, which can be guessed; 256 bits of chance cannot, so a
fast one is right, and the secret besides keeps a stolen Redis from being of use to check keys against. The last digits are an HMAC,
too: a key that was never minted is told from one that was without asking Redis, so guessing costs nobody but the guesser.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from proxy.core.access.callers import UNLIMITED, Allowance, Caller
from proxy.core.access.scopes import DATA, KeyScope

PREFIX = "dk_"
CHANCE_BYTES = 32
_CHECK_DIGITS = 16  # 64 bits: of 2^64 guesses one gets as far as Redis, and no further
_HINT_CHARS = len(PREFIX) + 6  # enough to tell one's keys apart, 24 of their 256 bits


def compose(chance: bytes, secret: bytes) -> str:
    """A key made of `CHANCE_BYTES` of chance."""
    body = PREFIX + chance.hex()
    return body + _check(body.encode(), secret)


def looks_minted(credential: bytes) -> bool:
    """Whether it is written as our keys are; such a one is never taken for a provider's."""
    return credential.startswith(PREFIX.encode())


def is_minted(credential: bytes, secret: bytes) -> bool:
    """Whether Deja made it, under this secret; whether it is still good is another question."""
    body, check = credential[:-_CHECK_DIGITS], credential[-_CHECK_DIGITS:]
    return hmac.compare_digest(check, _check(body, secret).encode())


def hash_of(credential: bytes, secret: bytes) -> str:
    """What is kept of a key: 64 lower-case hex digits."""
    return hmac.digest(secret, b"api-key\0" + credential, "sha256").hex()


def tenant_of_name(name: str, secret: bytes) -> str:
    """The tenant that an admin named; no credential's tenant is ever the same."""
    return hmac.digest(secret, b"named-tenant\0" + name.encode(), "sha256").hex()[:32]


def _check(body: bytes, secret: bytes) -> str:
    return hmac.digest(secret, b"key-check\0" + body, "sha256").hex()[:_CHECK_DIGITS]


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of a key.

    Attributes:
        key_id: `key_…`.
        name: for people.
        tenant: as an admin named it; keys of one name share everything.
        hash: of the key.
        hint: how the key begins.
        created_at: unix seconds.
        team: whose entries it shares where a namespace is a team's.
        scopes: what it may be used for.
        allowance: what it may use.
        expires_at: unix seconds, None for never.
        previous_hash: of the key before the last rotation, None without one.
        previous_until: until when that one is good, too.
    """

    key_id: str
    name: str
    tenant: str
    hash: str
    hint: str
    created_at: float
    team: str | None = None
    scopes: frozenset[KeyScope] = DATA
    allowance: Allowance = UNLIMITED
    expires_at: float | None = None
    previous_hash: str | None = None
    previous_until: float | None = None

    def rotated(self, key: str, hashed: str, *, previous_until: float) -> KeyRecord:
        """The record with another key; the one so far is good until then, the one before it no more."""
        return replace(
            self, hash=hashed, hint=hint_of(key), previous_hash=self.hash, previous_until=previous_until
        )  # fmt: skip

    def caller(self, hashed: str, secret: bytes) -> Caller | None:
        """Who presents the key of this hash; None if it is none of this record's."""
        if hashed == self.hash:
            expires_at = self.expires_at
        elif hashed == self.previous_hash and self.previous_until is not None:
            expires_at = min(self.previous_until, self.expires_at or self.previous_until)
        else:
            return None
        return Caller(
            tenant_of_name(self.tenant, secret), self.key_id, self.scopes, self.team, self.allowance, expires_at
        )

    def as_json(self) -> dict[str, Any]:
        """As it is kept; `shown` is what admins see."""
        return {
            "id": self.key_id,
            "name": self.name,
            "tenant": self.tenant,
            "team": self.team,
            "scopes": sorted(self.scopes),
            "limits": self.allowance.as_json(),
            "hint": self.hint,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "hash": self.hash,
            "previous_hash": self.previous_hash,
            "previous_until": self.previous_until,
        }

    def shown(self) -> dict[str, Any]:
        """As admins see it: without hashes."""
        kept = self.as_json()
        return {"object": "key"} | {name: kept[name] for name in kept if name not in ("hash", "previous_hash")}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> KeyRecord:
        """What `as_json` wrote. Raises KeyError or ValueError for anything else."""
        return cls(
            key_id=kept["id"],
            name=kept["name"],
            tenant=kept["tenant"],
            hash=kept["hash"],
            hint=kept["hint"],
            created_at=kept["created_at"],
            team=kept.get("team"),
            scopes=frozenset(map(KeyScope, kept["scopes"])),
            allowance=Allowance.from_json(kept["limits"]),
            expires_at=kept.get("expires_at"),
            previous_hash=kept.get("previous_hash"),
            previous_until=kept.get("previous_until"),
        )


def hint_of(key: str) -> str:
    """How a key begins."""
    return key[:_HINT_CHARS]
