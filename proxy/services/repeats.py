"""Whether a session asked the very same thing seconds ago, which may mean "try again".

Noted in Redis, so that it makes no difference which worker the second request meets; and in this process, bounded, for while Redis is away.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from proxy.core import keys
from proxy.core.keys import Place
from proxy.errors import StoreError
from proxy.ports import Guard

MAX_REMEMBERED = 10_000


class AskedNotes(Protocol):
    """Notes that run out. Methods raise `StoreError` and its branches only."""

    async def note(self, key: str, *, ttl_ms: int) -> bool:
        """Leave a note; whether it was there already."""


class Repeats:
    """Remembers who asked what, for a few seconds.

    Args:
        notes: where all processes remember.
        guard: bounds what Redis may cost.
        is_on: the policy is to regenerate repeats.
        window_s: how long a repeat counts as one.
        deadline_s: for one note.
    """

    def __init__(self, notes: AskedNotes, guard: Guard, *, is_on: bool, window_s: float, deadline_s: float) -> None:
        self._notes = notes
        self._guard = guard
        self._deadline_s = deadline_s
        self._window_s = window_s
        self._asked_at: OrderedDict[str, float] = OrderedDict()
        self.is_on = is_on and window_s > 0

    async def seen(self, place: Place, session: str | None, *, at: float) -> bool:
        """Whether this session asked this within the window; remembers that it asks now.

        Args:
            place: of the request; tenants never share one.
            session: None when the request belongs to none, which is never a repeat.
            at: monotonic seconds.
        """
        if not self.is_on or session is None:
            return False
        key = keys.asked_key(place, session)
        before = self._asked_at.pop(key, None)
        self._asked_at[key] = at
        while len(self._asked_at) > MAX_REMEMBERED:
            self._asked_at.popitem(last=False)
        was_here = before is not None and at - before <= self._window_s
        try:
            async with self._guard.within(self._deadline_s):
                return await self._notes.note(key, ttl_ms=max(1, int(self._window_s * 1000))) or was_here
        except StoreError:
            return was_here
