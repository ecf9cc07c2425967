"""Stored questions and answers, encrypted: AES-256-GCM, one nonce of chance each, bound to the entry they belong to.

    sealed:1:<base64 of nonce, ciphertext and tag>

The first key seals; all are tried in turn to open, so a new one is put before the old, which is taken away once its entries have expired.
What cannot be opened (another key, an altered byte, a text moved to another entry) is not there: a miss, never an error.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence

MARK = b"sealed:1:"
"""No stored answer begins so when it is not sealed: those are JSON objects."""
KEY_BYTES = 32
TEXTS = frozenset({"question", "body"})
"""The fields of an entry that are sealed."""
_NONCE_BYTES = 12  # 96 bits of chance: safe for 2^32 entries under one key (NIST SP 800-38D 8.3)


class Seal:
    """Seals and opens texts.

    Args:
        keys: of `KEY_BYTES` each; the first one seals.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        # Imported where it is wanted: 10 MB and 60 ms of each start.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._refusals = (InvalidTag, ValueError)  # the latter: too short to be one
        self._ciphers = [AESGCM(key) for key in keys]

    def seal(self, text: bytes, *, entry_id: str, field: str) -> bytes:
        """Encrypt a field of an entry; an empty one says nothing, and stays."""
        if not text:
            return text
        nonce = os.urandom(_NONCE_BYTES)
        return MARK + base64.b64encode(nonce + self._ciphers[0].encrypt(nonce, text, _bound(entry_id, field)))

    def open(self, sealed: bytes, *, entry_id: str, field: str) -> bytes | None:
        """Decrypt a field of an entry; None where no key fits, something was altered, or it never was sealed."""
        if not sealed.startswith(MARK):
            return None if sealed else sealed
        try:
            raw = base64.b64decode(sealed[len(MARK) :], validate=True)
        except binascii.Error:
            return None
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bound(entry_id, field))
            except self._refusals:
                continue
        return None


class NoSeal:
    """Where nothing is encrypted: texts as they are, and what was sealed before cannot be opened."""

    def seal(self, text: bytes, *, entry_id: str, field: str) -> bytes:  # noqa: ARG002  as `Seal`
        """The text."""
        return text

    def open(self, sealed: bytes, *, entry_id: str, field: str) -> bytes | None:  # noqa: ARG002
        """The text, None if it is sealed."""
        return None if sealed.startswith(MARK) else sealed


NO_SEAL = NoSeal()


def seal_of(keys: Sequence[str]) -> Seal | NoSeal:
    """What these keys seal, each `KEY_BYTES` in base64; nothing without any.

    Raises:
        ValueError: one of them is none.
    """
    raw = [base64.b64decode(key, validate=True) for key in keys]
    if any(len(key) != KEY_BYTES for key in raw):
        raise ValueError(f"a key has {KEY_BYTES} bytes")
    return Seal(raw) if raw else NO_SEAL


def _bound(entry_id: str, field: str) -> bytes:
    return f"{field} of {entry_id}".encode()
