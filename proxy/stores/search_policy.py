"""How the vector index is asked, so that a look-up stays cheap whatever else the index holds. No Redis here; decision 0016 has the numbers.

RediSearch answers KNN within a TAG in one of two ways: it compares every vector that bears the tag (exact, 0.13 us each), or it walks the
graph in batches, nearest first, until enough of what it met bears the tag. Left to itself it compares them all in every index of fewer than
some 40,000 entries (with our graph), be there one partition or ten thousand. So while the index is that small, we say which partitions
are worth walking for. Above that size its own choice is right, and is the safer one: it turns back from a walk that meets too
few of the partition, which a walk we ask for does not.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

OWN_CHOICE_FROM = 40_000
"""Entries in the index from which RediSearch chooses well (2.10.5, M 16: compares all at 30,000, walks at 40,000)."""
WORTH_WALKING = 3_000
"""Entries in a partition from which a walk is cheaper: 0.4 ms either way there, at 10,000 it is 0.4 against 1.0 to 1.9."""
KNOWN_FOR_S = 60.0
"""A partition grows by what is stored and shrinks by a flush; either is noticed after this."""
KNOWN_AT_MOST = 1_024
"""Partitions remembered, some 200 bytes each. In an index of fewer than 40,000 entries no more than 13 are worth walking for."""
_EF_RUNTIME = ((30_000, 32), (200_000, 64))
_EF_BEYOND = 128
"""Candidates held while walking, by entries in the index: recall@3 falls slowly as the graph grows."""


class SearchPolicy:
    """What is known of the index and its partitions, and what follows for a query.

    Args:
        now: a clock that never goes back, in seconds.

    Attributes:
        documents: entries in the index when it was last looked at.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.documents = 0
        self._now = now
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()

    def hints(self, partition: str) -> str:
        """What to write behind KNN's vector for a query in this partition."""
        ef_runtime = next((ef for below, ef in _EF_RUNTIME if self.documents < below), _EF_BEYOND)
        is_large, _ = self._known.get(partition, (False, 0.0))
        policy = "HYBRID_POLICY BATCHES " if is_large and self._is_small_index() else ""
        return f"{policy}EF_RUNTIME {ef_runtime}"

    def wants_size(self, partition: str) -> bool:
        """Whether it matters, and is not known, if the partition holds more than `WORTH_WALKING`. Only for partitions that fill a reply."""
        _, until = self._known.get(partition, (False, 0.0))
        return self.documents > WORTH_WALKING and self._is_small_index() and self._now() >= until

    def learn(self, partition: str, *, is_large: bool) -> None:
        """Remember whether the partition holds more than `WORTH_WALKING`."""
        self._known[partition] = (is_large, self._now() + KNOWN_FOR_S)
        self._known.move_to_end(partition)
        if len(self._known) > KNOWN_AT_MOST:
            self._known.popitem(last=False)

    def _is_small_index(self) -> bool:
        return self.documents < OWN_CHOICE_FROM
