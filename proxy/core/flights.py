"""Single flight across processes: the rules, pure. Who asks the provider, who follows, and what becomes of a follower whose leader is gone.

A lease in Redis says who leads the call for one exact request. The leader goes its way whatever Redis does; it writes its answer down only
once somebody follows.

    claim ──nobody holds the lease──▶ Lead
          ──held by a call under way, or by one that has just stored its answer──▶ Follow
          ──by one that has just ended, and this request must not share an answer that is already there──▶ Alone

    following ──the leader's end or error──▶ the same end or error
              ──its lease is gone, or Redis silent, for `MISSED_BEATS` looks in a row──▶ nothing passed on yet: TakeOver (claim anew),
                                                            or Alone where Redis is silent; bytes passed on: BreakOff, never a splice

Times: a lease lives `LEASE_S` and is renewed every `BEAT_S`, so a stalled event loop or a slow Redis may miss one renewal; a follower whose
leader was killed goes on after `LEASE_S` + `MISSED_BEATS` × `BEAT_S` at most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import orjson

LEASE_S = 3.0
"""A lease that is not renewed for so long is its leader's end."""
BEAT_S = 1.0
"""Between two renewals of a lease, and between two looks of a follower."""
MISSED_BEATS = 2
"""One alone may be the moment between the leader's last word and its arrival."""
LINGER_S = 2.0
"""How long a call that stored its answer can still be followed, by requests that had looked for that answer before it was there."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who leads.

    Attributes:
        flight: id of the call.
        has_landed: its answer is complete, and stored.
    """

    flight: str
    has_landed: bool = False

    def to_wire(self) -> str:
        """As Redis holds it."""
        return f"{self.flight} landed" if self.has_landed else self.flight

    @classmethod
    def from_wire(cls, text: bytes | None) -> Lease | None:
        """The opposite; None where nobody leads."""
        if not text:
            return None
        flight, _, state = text.decode().partition(" ")
        return cls(flight, state == "landed")


class Lead:
    """Ask the provider; others will follow."""


class Alone:
    """Ask the provider, and share with nobody."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Read what this call's leader reads."""

    flight: str


LEAD: Final = Lead()
ALONE: Final = Alone()


def after_claim(held: Lease | None, *, found_nothing: bool) -> Lead | Follow | Alone:
    """Decide what a request that nothing stored could answer does.

    Args:
        held: the lease that was there, None where this request has it now.
        found_nothing: its own look-up found no entry at all. A call that has landed stored one, so the look came first and the two requests
            overlapped. A request that found an entry and could not take it (too old for it) wants an answer that is not there yet.
    """
    if held is None:
        return LEAD
    if held.has_landed and not found_nothing:
        return ALONE
    return Follow(held.flight)


class Silence:
    """Stands in place of a lease: Redis did not say."""


SILENCE: Final = Silence()


class TakeOver:
    """The leader is gone, and nothing has been passed on: claim the call anew."""


class BreakOff:
    """The leader is gone, and its first bytes have been passed on: end with an error."""


TAKE_OVER: Final = TakeOver()
BREAK_OFF: Final = BreakOff()


@dataclass(frozen=True, slots=True)
class Following:
    """What a follower knows of its leader.

    Attributes:
        flight: the call it follows.
        missed: looks in a row that did not find the leader at work.
    """

    flight: str
    missed: int = 0

    def after_look(self, seen: Lease | Silence | None, *, has_begun: bool) -> Following | TakeOver | Alone | BreakOff:
        """Go on following, or stop.

        Args:
            seen: the lease, None where nobody leads.
            has_begun: the follower has passed on some of the answer.
        """
        if isinstance(seen, Lease) and seen.flight == self.flight and not seen.has_landed:
            return replace(self, missed=0)
        # A leader that has landed has written its end before, which the follower has then read, or is reading.
        waited = replace(self, missed=self.missed + 1)
        return waited if waited.missed < MISSED_BEATS else lost(has_begun=has_begun, is_silent=seen is SILENCE)


def lost(*, has_begun: bool, is_silent: bool) -> TakeOver | Alone | BreakOff:
    """What a follower does that gets no more from its leader."""
    if has_begun:
        return BREAK_OFF
    return ALONE if is_silent else TAKE_OVER


# --- what the leader writes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """The answer has begun."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    is_event_stream: bool
    upstream_ms: float


@dataclass(frozen=True, slots=True)
class Data:
    """More of its body."""

    body: bytes


@dataclass(frozen=True, slots=True)
class End:
    """It is complete; under which entry it was stored, or why it was not."""

    entry_id: str | None
    not_stored: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """The provider failed; what kind of error it was, and its sentence."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """The leader goes on without its followers: the answer is too large to be kept for them, or Redis is full."""


Word = Head | Data | End | Failure | Dropped

_OWN_HEADERS = frozenset({b"set-cookie"})
"""Meant for the leader's caller alone, and never written down."""


def to_fields(word: Word) -> dict[str, str | bytes]:
    """A word as fields of a stream's entry."""
    match word:
        case Head():
            headers = [
                [name.decode("latin-1"), value.decode("latin-1")]
                for name, value in word.headers
                if name not in _OWN_HEADERS
            ]
            told = [word.status, headers, word.is_event_stream, word.upstream_ms]
            return {"kind": "head", "head": orjson.dumps(told)}
        case Data():
            return {"kind": "data", "data": word.body}
        case End():
            return {"kind": "end", "entry": word.entry_id or "", "not_stored": word.not_stored or ""}
        case Failure():
            return {"kind": "failure", "error": word.kind, "text": word.text}
        case Dropped():
            return {"kind": "dropped"}


def from_fields(fields: dict[str, str]) -> Word:
    """The opposite; texts are bytes read as Latin-1."""
    match fields["kind"]:
        case "head":
            status, headers, is_event_stream, upstream_ms = orjson.loads(fields["head"].encode("latin-1"))
            pairs = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers)
            return Head(status, pairs, is_event_stream, upstream_ms)
        case "data":
            return Data(fields["data"].encode("latin-1"))
        case "end":
            return End(fields["entry"] or None, fields["not_stored"] or None)
        case "failure":
            return Failure(fields["error"], fields["text"].encode("latin-1").decode("utf-8", "replace"))
        case _:
            return Dropped()
