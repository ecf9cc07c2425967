"""What users said and were told, encrypted: AES-256-GCM, one nonce of chance each, bound to what it belongs to.

    sealed:1:<base64 of nonce, ciphertext and tag>

The first key seals; all are tried in turn to open, so a new one is put before the old, which is taken away once what it sealed has expired.
What cannot be opened (another key, an altered byte, a text moved elsewhere) is not there: a miss, never an error.

Answers are opened by a `Seal` itself, and one that lies there in the clear is not there either: nobody can plant one. What is only kept
(turns, recordings, decisions, …) goes through a `SealedField`, which reads what was written before there were keys, too.
Which stores seal what is written down in docs/guide/keys.md, and held to it by tests/e2e/test_sealing.py.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence

_PLAIN = b"plain:1:"
"""Before a text that lies in the clear and begins as if it did not: callers write what they like."""
MARK = b"sealed:1:"
"""No stored answer begins so when it is not sealed: those are JSON objects."""
KEY_BYTES = 32
SEALED = (
    "questions and answers of entries, named caches and embeddings, the log of decisions, recordings, messages and data of sessions, "
    "working memory and summaries, answers under way between processes"
)
CLEAR = (
    "vectors of questions and the texts of long-term memories (search reads both), what agents share (state, tasks, events, signals), "
    "names, labels, digests, counts and times"
)
"""For people: what is encrypted where keys are set, and what is not. docs/guide/keys.md says it at length."""
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


class SealedField:
    """A field of records that are kept, and stay readable when keys are set later.

    Args:
        seal: what seals it.
        field: its name, a part of what each value is bound to.
    """

    def __init__(self, seal: Seal | NoSeal, field: str) -> None:
        self._seal = seal
        self._field = field

    def put(self, text: bytes, *, of: str) -> bytes:
        """A value as it is stored; it can be opened as this field of this record alone."""
        stored = self._seal.seal(text, entry_id=of, field=self._field)
        return _PLAIN + text if stored is text and text.startswith((MARK, _PLAIN)) else stored

    def get(self, stored: bytes, *, of: str) -> bytes | None:
        """A value as it was; None where it is sealed, and no key opens it."""
        if stored.startswith(MARK):
            return self._seal.open(stored, entry_id=of, field=self._field)
        return stored.removeprefix(_PLAIN)


def _bound(entry_id: str, field: str) -> bytes:
    return f"{field} of {entry_id}".encode()
