"""Ids that Deja mints: unguessable, never reused, recognisable by their first letters."""

from __future__ import annotations

import secrets


def request_id() -> str:
    """`req_…`, one per request."""
    return f"req_{secrets.token_hex(12)}"


def entry_id() -> str:
    """`ent_…`, one per stored answer; 128 bits, since conversations are told apart by it."""
    return f"ent_{secrets.token_hex(16)}"


def minted(prefix: str) -> str:
    """An id of a replayed answer or a part of it, with the letters its provider's ids begin with: `chatcmpl-…`, `call_…`, `msg_…`."""
    return prefix + secrets.token_hex(14)


def event_id() -> str:
    """`evt_…`, one per event that is no request's."""
    return f"evt_{secrets.token_hex(12)}"


def signal_id() -> str:
    """`sig_…`, one per signal."""
    return f"sig_{secrets.token_hex(12)}"


def batch_id() -> str:
    """One per batch of counts, so that one that is sent again counts once."""
    return secrets.token_hex(16)


def process_id() -> str:
    """One per start of a process: others tell it what concerns its calls."""
    return secrets.token_hex(8)
