"""Whether a session asked the very same thing seconds ago, which may mean "try again".

Kept in this process and bounded: a session's repeat that meets another worker counts as a first, which costs a hit too many and no more.
"""

from __future__ import annotations

from collections import OrderedDict

MAX_REMEMBERED = 10_000


class Repeats:
    """Remembers who asked what, for a few seconds.

    Args:
        is_on: the policy is to regenerate repeats.
        window_s: how long a repeat counts as one.
    """

    def __init__(self, *, is_on: bool, window_s: float) -> None:
        self._is_on = is_on
        self._window_s = window_s
        self._asked_at: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def seen(self, tenant: str, session: str | None, fingerprint: str, *, at: float) -> bool:
        """Whether this session asked this within the window; remembers that it asks now.

        Args:
            tenant: who is asking.
            session: None when the request belongs to none, which is never a repeat.
            fingerprint: of the request.
            at: monotonic seconds.
        """
        if not self._is_on or session is None:
            return False
        key = (tenant, session, fingerprint)
        before = self._asked_at.pop(key, None)
        self._asked_at[key] = at
        while len(self._asked_at) > MAX_REMEMBERED:
            self._asked_at.popitem(last=False)
        return before is not None and at - before <= self._window_s
